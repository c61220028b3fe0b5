package load

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Mistake is one thing that is wrong with a file, and where.
type Mistake struct {
	// File as it was named when it was opened; "--set" for a setting from outside.
	File string
	// Line and Col count from 1, Col in characters; 0 when the file as a whole is meant.
	Line, Col int
	// Msg says what is wrong and what was wanted.
	Msg string
	// Hint says what was probably meant; may be empty.
	Hint string
	// Source is the line of the file; may be empty.
	Source string
}

// maxSource is the longest piece of a source line that an error shows.
const maxSource = 120

// Error is the mistake with its source line and a caret under the place.
func (m *Mistake) Error() string {
	var b strings.Builder
	b.WriteString(m.File)
	if m.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", m.Line, m.Col)
	}
	b.WriteString(": " + m.Msg)
	if m.Hint != "" {
		b.WriteString("; did you mean " + m.Hint + "?")
	}
	if m.Source != "" && m.Line > 0 {
		line, col := excerpt(m.Source, m.Col)
		fmt.Fprintf(&b, "\n    %s\n    %s^", line, strings.Repeat(" ", col))
	}
	return b.String()
}

// excerpt cuts a long line around col (from 1) and returns the caret's offset.
// Control characters become spaces, so that the caret stands where it should.
func excerpt(line string, col int) (string, int) {
	runes := []rune(strings.Map(func(r rune) rune {
		if r < ' ' || r == utf8.RuneError || r == 0x7f {
			return ' '
		}
		return r
	}, line))
	at := min(max(col-1, 0), len(runes))
	start := 0
	if at > maxSource*2/3 {
		start = at - maxSource/2
	}
	end := min(len(runes), start+maxSource)
	return strings.TrimRight(string(runes[start:end]), " "), at - start
}

// Errors are all mistakes of a file, sorted by position.
type Errors []*Mistake

// Error lists every mistake.
func (e Errors) Error() string {
	text := make([]string, len(e))
	for i, m := range e {
		text[i] = m.Error()
	}
	return strings.Join(text, "\n")
}

// Unwrap gives the mistakes to errors.As.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, m := range e {
		errs[i] = m
	}
	return errs
}

// sorted returns the mistakes in order of position, each once.
func (e Errors) sorted() Errors {
	out := slices.Clone(e)
	slices.SortStableFunc(out, func(a, b *Mistake) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	seen := map[Mistake]bool{}
	return slices.DeleteFunc(out, func(m *Mistake) bool {
		twice := seen[*m]
		seen[*m] = true
		return twice
	})
}

// err is nil without mistakes.
func (e Errors) err() error {
	if len(e) == 0 {
		return nil
	}
	return e.sorted()
}
