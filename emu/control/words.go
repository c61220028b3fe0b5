package control

import (
	"encoding/json"
	"time"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// What a lab can be asked to do.
const (
	DoInfo    = "info"    // → Info
	DoNames   = "names"   // → Names
	DoInspect = "inspect" // NodeArgs → Node, each
	DoExec    = "exec"    // ExecArgs and three files, or one terminal → Started, Ended
	DoCapture = "capture" // CaptureArgs and one file → Captured
	DoTraffic = "traffic" // TrafficArgs → Sent, each
	DoLogs    = "logs"    // NodeArgs → Log, each
	DoEvents  = "events"  // EventsArgs → record.Event, each
	DoRecords = "records" // → Recorded, each
	DoApply   = "apply"   // ApplyArgs → Changes
	DoDown    = "down"
	DoHold    = "hold" // the lab goes down when the call ends
)

// State of a lab.
type State string

const (
	Starting State = "starting"
	Ready    State = "ready"
	Busy     State = "traffic" // traffic runs
	Degraded State = "degraded"
	Stopping State = "stopping"
)

// Info is a lab at a glance.
type Info struct {
	Name     string    `json:"name"`
	Scenario string    `json:"scenario"`
	Variant  string    `json:"variant"`
	Title    string    `json:"title,omitempty"`
	Nodes    int       `json:"nodes"`
	Links    int       `json:"links"`
	State    State     `json:"state"`
	Started  time.Time `json:"started"`
	// UpMs is how long it took to come up.
	UpMs        int64  `json:"up_ms"`
	Fingerprint string `json:"fingerprint"`
	// Lost are servers and programs that have ended, with why.
	Lost map[string]string `json:"lost,omitempty"`
}

// Names are what can be named in a lab.
type Names struct {
	// Nodes with their interfaces, in the plan's order.
	Nodes   []NodeName `json:"nodes"`
	Traffic []string   `json:"traffic"`
	// Logs are the processes that have a log.
	Logs []string `json:"logs"`
	// Links in the plan's order.
	Links []LinkName `json:"links"`
}

// LinkName is what people call a link.
type LinkName struct {
	Name  string     `json:"name"`
	ID    string     `json:"id"`
	Class plan.Class `json:"class"`
}

// NodeName is a node and its interfaces.
type NodeName struct {
	ID         string    `json:"id"`
	Kind       plan.Kind `json:"kind"`
	Interfaces []string  `json:"interfaces"`
}

// NodeArgs names a node; empty means all.
type NodeArgs struct {
	Node string `json:"node,omitempty"`
}

// Node is a node as the kernel and its server have it now.
type Node struct {
	ID         string      `json:"id"`
	Kind       plan.Kind   `json:"kind"`
	Site       string      `json:"site,omitempty"`
	Datacenter string      `json:"datacenter,omitempty"`
	Account    string      `json:"account,omitempty"`
	Interfaces []Interface `json:"interfaces"`
	Routes     []Route     `json:"routes"`
	// Of a server: its totals and live sessions.
	Counters map[string]int64 `json:"counters,omitempty"`
	Flows    []record.Session `json:"flows,omitempty"`
	// Problem says what could not be read.
	Problem string `json:"problem,omitempty"`
}

// Interface of a node.
type Interface struct {
	Name      string   `json:"name"`
	MAC       string   `json:"mac,omitempty"`
	MTU       int      `json:"mtu"`
	Up        bool     `json:"up"`
	Addresses []string `json:"addresses,omitempty"`
}

// Route of a node's kernel. Several hops are taken by hash.
type Route struct {
	To   string   `json:"to"`
	Hops []string `json:"hops"` // "via 192.0.2.1 dev wan0", "dev lan0", "blackhole"
}

// ExecArgs is a program to run in a node.
type ExecArgs struct {
	Node string   `json:"node"`
	Args []string `json:"args"`
	Env  []string `json:"env"`
	Dir  string   `json:"dir"`
	// Terminal says that the one file passed is a terminal, to be the program's own.
	Terminal bool `json:"terminal,omitempty"`
}

// ExecReply is what becomes of the program. Exactly one field is set.
type ExecReply struct {
	Pid int `json:"pid,omitempty"`
	// Exit is the exit code; 128 and the signal's number if a signal ended it.
	Exit *int `json:"exit,omitempty"`
}

// Signal is for the program that a call runs.
type Signal struct {
	Signal int `json:"signal"`
}

// CaptureArgs is what to record.
type CaptureArgs struct {
	// Points are interfaces of nodes; none means where every packet of the lab
	// is seen once per hop.
	Points []Point `json:"points,omitempty"`
	// Snap is how many bytes of a packet are kept; 0 means all.
	Snap int `json:"snap,omitempty"`
	// Filter is compiled classic BPF; empty means every packet.
	Filter []Instruction `json:"filter,omitempty"`
	// Expression is what Filter was compiled from.
	Expression string `json:"expression,omitempty"`
	// Count of packets after which it ends; 0 means never.
	Count int `json:"count,omitempty"`
}

// Point is an interface of a node; no interface means all of it.
type Point struct {
	Node      string `json:"node"`
	Interface string `json:"interface,omitempty"`
}

// Instruction of classic BPF (linux/filter.h).
type Instruction struct {
	Code uint16 `json:"code"`
	Jt   uint8  `json:"jt"`
	Jf   uint8  `json:"jf"`
	K    uint32 `json:"k"`
}

// Captured is how much has been recorded. Listening is true from the moment on
// in which nothing is missed any more.
type Captured struct {
	Listening bool   `json:"listening,omitempty"`
	Packets   uint64 `json:"packets"`
	Dropped   uint64 `json:"dropped"`
}

// TrafficArgs names traffic; none means all.
type TrafficArgs struct {
	IDs []string `json:"ids,omitempty"`
	// NoFaults leaves out the faults of the file.
	NoFaults bool `json:"no_faults,omitempty"`
}

// Sent is a piece of news of traffic. Either Flow is set or the numbers are.
type Sent struct {
	Done  int          `json:"done,omitempty"`
	Total int          `json:"total,omitempty"`
	Flow  *record.Flow `json:"flow,omitempty"`
}

// Log is what a process has said.
type Log struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// EventsArgs says which events.
type EventsArgs struct {
	Follow bool `json:"follow,omitempty"`
}

// Recorded is a piece of what has happened so far. Exactly one field is set.
type Recorded struct {
	Checks  *Checks         `json:"checks,omitempty"`
	Run     *record.Run     `json:"run,omitempty"`
	Flow    *record.Flow    `json:"flow,omitempty"`
	Session *record.Session `json:"session,omitempty"`
	Event   *record.Event   `json:"event,omitempty"`
}

// Checks are those of the lab's file.
type Checks struct {
	Traffic    []string     `json:"traffic"`
	Checks     []spec.Check `json:"checks"`
	ExpectFail []string     `json:"expect_fail"`
	// Untried is traffic that has not been sent yet.
	Untried []string `json:"untried,omitempty"`
}

// ApplyArgs is what a lab is to become.
type ApplyArgs struct {
	Plan     *plan.Plan      `json:"plan"`
	Scenario json.RawMessage `json:"scenario"` // the resolved file
	// Only, if set, is the fingerprint of the plan that is to be changed.
	Only string `json:"only,omitempty"`
	// Dry says that nothing is to be changed.
	Dry bool `json:"dry,omitempty"`
}

// Changes is what Apply does, or did.
type Changes struct {
	// From is the fingerprint of the plan that is changed.
	From    string   `json:"from"`
	Changes []Change `json:"changes"`
	// Refused are the changes that need a new lab, with why.
	Refused []Change `json:"refused,omitempty"`
	Servers int      `json:"servers"` // that are given a new configuration
}

// Change is one value of the file.
type Change struct {
	Path string `json:"path"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
	Why  string `json:"why,omitempty"`
}
