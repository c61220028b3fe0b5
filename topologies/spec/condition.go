package spec

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Condition compares a measure with a number.
type Condition struct {
	Measure string
	// Op is one of < <= > >=.
	Op    string
	Bound float64
}

// ParseCondition reads "blocked < 1e-4". A bound in percent is a share.
func ParseCondition(s string) (Condition, error) {
	i := strings.IndexAny(s, "<>")
	if i < 0 {
		return Condition{}, fmt.Errorf("condition %q: want a measure, one of < <= > >=, and a number, such as blocked < 1e-4", s)
	}
	c := Condition{Measure: strings.TrimSpace(s[:i]), Op: s[i : i+1]}
	rest := s[i+1:]
	if strings.HasPrefix(rest, "=") {
		c.Op, rest = c.Op+"=", rest[1:]
	}
	if c.Measure == "" {
		return c, fmt.Errorf("condition %q: no measure stands before %s", s, c.Op)
	}
	number, percent := strings.CutSuffix(strings.TrimSpace(rest), "%")
	bound, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || math.IsNaN(bound) || math.IsInf(bound, 0) {
		return c, fmt.Errorf("condition %q: want a number after %s, not %q", s, c.Op, strings.TrimSpace(rest))
	}
	if c.Bound = bound; percent {
		c.Bound /= 100
	}
	return c, nil
}

// String is the condition as files write it.
func (c Condition) String() string {
	return c.Measure + " " + c.Op + " " + strconv.FormatFloat(c.Bound, 'g', -1, 64)
}

// Less says whether the measure must be below the bound.
func (c Condition) Less() bool { return c.Op[0] == '<' }

// Holds says whether a value fulfils it.
func (c Condition) Holds(x float64) bool {
	switch c.Op {
	case "<":
		return x < c.Bound
	case "<=":
		return x <= c.Bound
	case ">":
		return x > c.Bound
	}
	return x >= c.Bound
}

// Quantity is a number with a unit, as knobs are turned: 20ms, 1.5Gbit, 1024.
type Quantity struct {
	Value float64
	Unit  string
}

// ParseQuantity reads a number and what stands behind it.
func ParseQuantity(s string) (Quantity, error) {
	s = strings.TrimSpace(s)
	end := len(s)
	for end > 0 {
		if v, err := strconv.ParseFloat(strings.ReplaceAll(s[:end], "_", ""), 64); err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) {
			return Quantity{v, s[end:]}, nil
		}
		end--
	}
	return Quantity{}, fmt.Errorf("%q: want a number, with a unit if it has one, such as 20ms", s)
}

// String is the number with six digits, and its unit.
func (q Quantity) String() string {
	if q.Value == math.Trunc(q.Value) && math.Abs(q.Value) < 1e15 {
		return strconv.FormatFloat(q.Value, 'f', -1, 64) + q.Unit
	}
	v, _ := strconv.ParseFloat(strconv.FormatFloat(q.Value, 'g', 6, 64), 64)
	return strconv.FormatFloat(v, 'f', -1, 64) + q.Unit
}
