package spec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

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
