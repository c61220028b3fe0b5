package spec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
)

// Impairment is what a link does to packets, in each direction by itself. A zero
// field asks for nothing: a plain wire. Sizes and rates are of IP packets.
type Impairment struct {
	// Delay is a duration, or "geo" for the great-circle delay of fibre; one way.
	Delay Delay `yaml:"delay,omitempty" json:"delay,omitempty"`
	// Jitter is half the width of the uniform distribution, the standard deviation of the others. Packets keep their order.
	Jitter unit.Duration `yaml:"jitter,omitempty" json:"jitter,omitempty"`
	// JitterDistribution is uniform if not given.
	JitterDistribution string `yaml:"jitter_distribution,omitempty" json:"jitter_distribution,omitempty" jsonschema:"enum=uniform,enum=normal,enum=pareto"`
	// JitterCorrelation is that of successive packets; at most 99.9%.
	JitterCorrelation unit.Ratio `yaml:"jitter_correlation,omitempty" json:"jitter_correlation,omitempty"`
	Loss              unit.Ratio `yaml:"loss,omitempty" json:"loss,omitempty"`
	// LossBurst is the mean number of successive packets lost; not given, each is lost independently.
	LossBurst float64 `yaml:"loss_burst,omitempty" json:"loss_burst,omitempty"`
	// Reorder is the share of packets that take no delay and so overtake.
	Reorder unit.Ratio `yaml:"reorder,omitempty" json:"reorder,omitempty"`
	// ReorderGap n lets only every n-th packet overtake.
	ReorderGap int        `yaml:"reorder_gap,omitempty" json:"reorder_gap,omitempty"`
	Duplicate  unit.Ratio `yaml:"duplicate,omitempty" json:"duplicate,omitempty"`
	// Corrupt is the share of packets of which one bit is flipped.
	Corrupt unit.Ratio   `yaml:"corrupt,omitempty" json:"corrupt,omitempty"`
	Rate    unit.BitRate `yaml:"rate,omitempty" json:"rate,omitempty"`
	// Queue before the rate, dropping what comes when it is full; not given, 100 ms at the rate and at least 30 kB.
	Queue unit.Bytes `yaml:"queue,omitempty" json:"queue,omitempty"`
	// CEThreshold marks packets that wait in the queue longer than this as having met congestion (ECN), if their ends asked for that; not given, none.
	CEThreshold unit.Duration `yaml:"ce_threshold,omitempty" json:"ce_threshold,omitempty"`
	// Trace is a file of capacity over time in Mahimahi's format, instead of a rate: on each line a millisecond at which 1500 bytes can leave.
	Trace Trace `yaml:"trace,omitempty" json:"trace,omitzero"`
}

// Trace is a file in Mahimahi's format, read. The zero value is none.
type Trace struct {
	// File as written: relative to the file that names it.
	File  string        `json:"file"`
	Times *impair.Trace `json:"times"`
}

// Delay is a duration or the word geo.
type Delay struct {
	Geo   bool          `json:"geo,omitempty"`
	Fixed unit.Duration `json:"fixed,omitempty"`
}

// Impair overrides single links.
type Impair struct {
	On        string `yaml:"on" json:"on"`
	Direction string `yaml:"direction,omitempty" json:"direction,omitempty" jsonschema:"enum=both,enum=up,enum=down"`
	// The impairment itself, written beside on and direction.
	Impairment `yaml:",inline"`
}

// Word is a word of the language and its value, as a file has them.
type Word struct{ Name, Value string }

// String is the word as a command line has it.
func (w Word) String() string { return w.Name + "=" + w.Value }

// ImpairmentWords are the words of an impairment, in the language's order.
func ImpairmentWords() []string {
	t := reflect.TypeFor[Impairment]()
	names := make([]string, t.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
	}
	return names
}

// Words are those that ask for something; none are a plain wire.
func (im Impairment) Words() []Word {
	var said []Word
	v := reflect.ValueOf(im)
	for i, name := range ImpairmentWords() {
		if f := v.Field(i); !f.IsZero() {
			said = append(said, Word{name, fmt.Sprint(f.Interface())})
		}
	}
	return said
}

// With is the impairment with some words as another one has them, and the rest
// as it is. Of rate and trace, the one that is given takes the other's place.
func (im Impairment) With(other Impairment, words []string) Impairment {
	given := func(name string) bool { return slices.Contains(words, name) }
	switch {
	case given("rate") && other.Rate != 0:
		im.Trace = Trace{}
	case given("trace"):
		im.Rate = 0
	}
	to, from := reflect.ValueOf(&im).Elem(), reflect.ValueOf(other)
	for i, name := range ImpairmentWords() {
		if given(name) {
			to.Field(i).Set(from.Field(i))
		}
	}
	return im
}

// String is the delay as a file has it.
func (d Delay) String() string {
	if d.Geo {
		return "geo"
	}
	return d.Fixed.String()
}

// String is the name of the file.
func (t Trace) String() string { return t.File }
