// Package unit holds the quantities people write in scenario files: sizes, bit
// rates, ratios and durations, each a type of its own so that they cannot be
// mixed up.
//
// It is text in and text out, nothing else: no arithmetic of networks. Its law,
// checked by the tests: Parse(x.String()) == x, and whatever Parse refuses it
// refuses with a sentence that shows what was wanted.
//
// Units are spelt exactly (KiB is not kib): a scenario that runs on one machine
// must not mean something else to the next reader.
package unit

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// ErrSyntax is wrapped by every error of this package.
var ErrSyntax = errors.New("bad quantity")

// Error says what text was refused and what was wanted instead.
type Error struct {
	Text string // as it came
	Want string // "a size such as 64KiB"
	Why  string // may be empty
}

// Error implements error.
func (e *Error) Error() string {
	if e.Why == "" {
		return fmt.Sprintf("%q: want %s", e.Text, e.Want)
	}
	return fmt.Sprintf("%q: %s; want %s", e.Text, e.Why, e.Want)
}

// Unwrap makes errors.Is(err, ErrSyntax) true.
func (e *Error) Unwrap() error { return ErrSyntax }

// scale is one unit name and how many of the base unit it stands for.
type scale struct {
	name string
	mul  int64
}

// split cuts a quantity into its decimal number and its unit.
func split(s string) (number, name string) {
	i := 0
	for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] == '.') {
		i++
	}
	return s[:i], s[i:]
}

// scaled parses a decimal number with one of the units into whole base units.
// Zero needs no unit, because nothing of anything is the same.
func scaled(s, want string, units []scale) (int64, error) {
	if strings.HasPrefix(s, "-") {
		return 0, &Error{Text: s, Want: want, Why: "negative"}
	}
	number, name := split(s)
	if !decimal(number) {
		return 0, &Error{Text: s, Want: want}
	}
	mul := int64(0)
	for _, u := range units {
		if u.name == name {
			mul = u.mul
		}
	}
	value, _ := new(big.Rat).SetString(number)
	switch {
	case name == "" && value.Sign() == 0:
		return 0, nil
	case name == "":
		return 0, &Error{Text: s, Want: want, Why: "no unit"}
	case mul == 0:
		return 0, &Error{Text: s, Want: want, Why: fmt.Sprintf("unknown unit %q", name)}
	}
	value.Mul(value, new(big.Rat).SetInt64(mul))
	if !value.IsInt() {
		return 0, &Error{Text: s, Want: want, Why: "not a whole number of the smallest unit"}
	}
	if !value.Num().IsInt64() {
		return 0, &Error{Text: s, Want: want, Why: "too large"}
	}
	return value.Num().Int64(), nil
}

// maxDigits bounds the numbers that are read, so that junk costs nothing.
const maxDigits = 32

// decimal reports whether s is digits with at most one inner point.
func decimal(s string) bool {
	whole, part, point := strings.Cut(s, ".")
	if whole == "" || len(s) > maxDigits || point && part == "" {
		return false
	}
	return strings.Trim(whole+part, "0123456789") == ""
}

// print writes v in the largest unit that divides it.
func print(v int64, units []scale) string {
	best := units[0]
	for _, u := range units[1:] {
		if v != 0 && v%u.mul == 0 && u.mul > best.mul {
			best = u
		}
	}
	return fmt.Sprintf("%d%s", v/best.mul, best.name)
}

// Duration is a length of time in nanoseconds, written "4ms" or "1m30s".
type Duration int64

const wantDuration = "a duration such as 4ms, 1.5s or 2m"

// ParseDuration reads a duration that is not negative.
func ParseDuration(s string) (Duration, error) {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return 0, &Error{Text: s, Want: wantDuration}
	case d < 0:
		return 0, &Error{Text: s, Want: wantDuration, Why: "negative"}
	}
	return Duration(d), nil
}

// D is the duration as the standard library knows it.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String prints the duration as ParseDuration reads it.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDuration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err == nil {
		*d = v
	}
	return err
}
