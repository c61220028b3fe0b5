package spec

import (
	"errors"
	"fmt"
	"strings"
)

// ErrSelector is the error of text that is no selector.
var ErrSelector = errors.New("not a selector")

// Selector names things in a scenario: segments joined by dots, each a word
// [a-z][a-z0-9_]*, the number of an instance, or "*" for every one. The same
// grammar serves traffic, routes, faults, links and settings.
//
// The ids it is matched with are "shop.1.till" (a site's host), "shop.1.wan"
// (an on-ramp), "shop.1.router" (a branch router), "lhr.1" (a server),
// "lhr.edge" (a datacenter's router), "web" (an Internet host) or "web.1" (one
// of several).
type Selector []string

// ParseSelector reads a selector.
func ParseSelector(s string) (Selector, error) {
	segments := strings.Split(s, ".")
	for _, seg := range segments {
		if seg != "*" && !IsNumber(seg) && !IsWord(seg) {
			return nil, fmt.Errorf("%w: %q; want words, numbers and * joined by dots, such as shop.1.wan or shop.*.till", ErrSelector, s)
		}
	}
	return segments, nil
}

// String is the selector as it is written.
func (s Selector) String() string { return strings.Join(s, ".") }

// Match reports whether the selector selects id. Both have the same number of
// segments, and each segment is equal or "*".
func (s Selector) Match(id string) bool {
	rest, more := id, true
	for _, seg := range s {
		if !more {
			return false
		}
		var part string
		part, rest, more = strings.Cut(rest, ".")
		if seg != "*" && seg != part {
			return false
		}
	}
	return !more
}

// Stars counts the segments that are "*": fewer is more specific.
func (s Selector) Stars() (n int) {
	for _, seg := range s {
		if seg == "*" {
			n++
		}
	}
	return n
}

// Matches reports whether pattern, a selector, selects id. Text that is no
// selector selects nothing.
func Matches(pattern, id string) bool {
	s, err := ParseSelector(pattern)
	return err == nil && s.Match(id)
}

// IsWord reports whether s is an id: [a-z][a-z0-9_]*.
func IsWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z':
		case i > 0 && (c >= '0' && c <= '9' || c == '_'):
		default:
			return false
		}
	}
	return s != ""
}

// IsNumber reports whether s numbers an instance: decimal, from 1, no leading zero.
func IsNumber(s string) bool {
	if s == "" || len(s) > 9 || s[0] == '0' {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}
