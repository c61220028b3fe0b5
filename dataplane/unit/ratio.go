package unit

import (
	"strconv"
	"strings"
)

// Ratio is a share from 0 to 1, written "0.1%" or "0.001".
type Ratio float64

const wantRatio = "a share such as 0.1% or 0.001, from 0% to 100%"

// ParseRatio reads a share. A number above 1 without a percent sign is refused,
// because it was most likely meant as one.
func ParseRatio(s string) (Ratio, error) {
	number, percent := strings.CutSuffix(s, "%")
	if strings.HasPrefix(number, "-") {
		return 0, &Error{Text: s, Want: wantRatio, Why: "negative"}
	}
	if !decimal(number) {
		return 0, &Error{Text: s, Want: wantRatio}
	}
	if percent {
		// Scaled in text, so that 0.1% is exactly the float of 0.001.
		number += "e-2"
	}
	f, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil: // beyond what a float64 can be
		return 0, &Error{Text: s, Want: wantRatio}
	case f > 1 && !percent:
		return 0, &Error{Text: s, Want: wantRatio, Why: "more than 1 and no percent sign"}
	case f > 1:
		return 0, &Error{Text: s, Want: wantRatio, Why: "more than 100%"}
	}
	return Ratio(f), nil
}

// String prints the share in percent where that reads back as the same number,
// and as a plain number otherwise.
func (r Ratio) String() string {
	plain := strconv.FormatFloat(float64(r), 'f', -1, 64)
	percent := strconv.FormatFloat(float64(r)*100, 'f', -1, 64) + "%"
	if back, err := ParseRatio(percent); err == nil && back == r && (len(percent) <= len(plain)+1 || r == 1) {
		return percent
	}
	return plain
}

// MarshalText is String.
func (r Ratio) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseRatio.
func (r *Ratio) UnmarshalText(text []byte) error {
	v, err := ParseRatio(string(text))
	if err == nil {
		*r = v
	}
	return err
}
