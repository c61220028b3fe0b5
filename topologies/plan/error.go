package plan

import (
	"errors"
	"fmt"
)

// Error is one mistake that only planning can see, such as two egress prefixes
// that overlap.
type Error struct {
	// Path is where in the file: keys joined by dots, list items by index,
	// "sites[0].onramps[1].type". load.Doc.At finds it.
	Path string
	// Msg says what was wanted and what came.
	Msg string
}

// Error implements error.
func (e *Error) Error() string { return e.Path + ": " + e.Msg }

// Errors are the mistakes of an error that Compile returned, in file order.
func Errors(err error) []*Error {
	var one *Error
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*Error
		for _, e := range joined.Unwrap() {
			all = append(all, Errors(e)...)
		}
		return all
	}
	if errors.As(err, &one) {
		return []*Error{one}
	}
	return nil
}

// fail notes a mistake. Equal sites have equal mistakes: each is told once.
func (b *builder) fail(path, format string, args ...any) {
	e := Error{Path: path, Msg: fmt.Sprintf(format, args...)}
	if !b.told[e] {
		b.told[e] = true
		b.errs = append(b.errs, &e)
	}
}

// err joins what fail noted.
func (b *builder) err() error { return errors.Join(b.errs...) }
