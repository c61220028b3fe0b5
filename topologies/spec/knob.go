package spec

import (
	"cmp"
	"math"
	"strings"
)

// Name is what tables call the knob.
func (k Knob) Name() string {
	return cmp.Or(k.ID, k.Set[strings.LastIndexByte(k.Set, '.')+1:])
}

// Tries is how many values a knob takes in turn.
func (k Knob) Tries() int {
	if len(k.Values) > 0 {
		return len(k.Values)
	}
	return cmp.Or(k.Steps, 5)
}

// Try are the values that a knob takes in turn: those listed, or steps of the range.
func (k Knob) Try() []string {
	if len(k.Values) > 0 {
		return k.Values
	}
	steps := k.Tries()
	out := make([]string, steps)
	for i := range out {
		out[i] = k.At(float64(i) / float64(steps-1))
	}
	return out
}

// At is the value at a share of the knob's range, from 0 to 1, or of its list.
func (k Knob) At(share float64) string {
	if n := len(k.Values); n > 0 {
		return k.Values[min(n-1, int(share*float64(n)))]
	}
	from, err := ParseQuantity(k.From)
	if err != nil {
		return k.From
	}
	to, err := ParseQuantity(k.To)
	if err != nil {
		return k.To
	}
	v := from.Value + share*(to.Value-from.Value)
	if k.Log && from.Value > 0 {
		v = from.Value * math.Pow(to.Value/from.Value, share)
	}
	if whole(from.Value) && whole(to.Value) && to.Value-from.Value >= 10 {
		v = math.Round(v)
	}
	return Quantity{v, from.Unit}.String()
}

func whole(v float64) bool { return v == math.Trunc(v) }
