package plan

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Error is one mistake that only planning can see, such as two egress prefixes
// that overlap.
type Error struct {
	// Path is where in the scenario: keys joined by dots, list items by index,
	// "sites[0].onramps[1].type", where sites and Internet hosts count as
	// written out. load.Doc.MistakeIn finds the place in the file.
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

// fail notes a mistake, once where instances of one entry share it.
func (b *builder) fail(path, format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	key := Error{b.generic(path), msg}
	if !b.told[key] {
		b.told[key] = true
		b.errs = append(b.errs, &Error{path, msg})
	}
}

// generic is a path without the instance: the same for all that were written
// out from one entry of the file.
func (b *builder) generic(path string) string {
	list, rest, ok := strings.Cut(path, "[")
	number, rest, _ := strings.Cut(rest, "]")
	i, err := strconv.Atoi(number)
	switch {
	case !ok || err != nil || i < 0:
	case list == "sites" && i < len(b.s.Sites):
		return list + "." + b.s.Sites[i].ID + rest
	case list == "devices" && i < len(b.s.Devices):
		return list + "." + b.s.Devices[i].ID + rest
	case list == "internet" && i < len(b.s.Internet):
		return list + "." + b.s.Internet[i].ID + rest
	}
	return path
}

// err joins what fail noted.
func (b *builder) err() error { return errors.Join(b.errs...) }
