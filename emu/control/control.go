// Package control is how commands reach a lab that stays: a unix socket, JSON
// lines, and open files passed along.
//
// The keeper of a lab listens (Listen, Serve), each command connects (Connect,
// Call) and asks for one thing: one connection is one call. What a lab can be
// asked is the keeper's business (emu/resident); the words of it that both sides
// share are here. Its law: whoever may connect may do anything as the keeper's
// user, so the socket is that user's alone; and when either side is gone, the
// other knows at once.
//
//	→ {"version":1,"do":"exec","args":{…}}    with descriptors (SCM_RIGHTS)
//	← {"data":…}                              any number
//	→ {"signal":2}                            any number, as the call wants
//	← {"error":{…}} or {"done":true}          exactly one, the last
package control

import (
	"encoding/json"
	"fmt"
)

// Version of the protocol. Another one is refused in both directions: the lab
// was brought up by another homeward.
const Version = 1

// maxFiles is how many descriptors a call may carry.
const maxFiles = 8

// request is the first line of a connection.
type request struct {
	Version int             `json:"version"`
	Do      string          `json:"do"`
	Args    json.RawMessage `json:"args,omitempty"`
	// Files is how many descriptors came with the line.
	Files int `json:"files,omitempty"`
}

// reply is a line of the keeper's. Exactly one field is set.
type reply struct {
	Data  json.RawMessage `json:"data,omitempty"`
	Error *Error          `json:"error,omitempty"`
	Done  bool            `json:"done,omitempty"`
}

// Kind says whose fault an Error is.
type Kind string

const (
	// Usage: what was asked for is not there or makes no sense.
	Usage Kind = "usage"
	// Lack: the machine or the lab cannot do it.
	Lack Kind = "lack"
	// Failed: it was tried, and went wrong.
	Failed Kind = "failed"
)

// Error is a keeper's refusal.
type Error struct {
	Kind Kind   `json:"kind"`
	Text string `json:"text"`
}

// Error is the text.
func (e *Error) Error() string { return e.Text }

// Usagef makes a refusal of what was asked for.
func Usagef(format string, a ...any) error { return &Error{Usage, fmt.Sprintf(format, a...)} }

// Lackf makes a refusal of what cannot be done here.
func Lackf(format string, a ...any) error { return &Error{Lack, fmt.Sprintf(format, a...)} }
