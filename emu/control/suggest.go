package control

import (
	"fmt"
	"strings"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// namesShown is how many names a refusal lists.
const namesShown = 12

// partLength is how long a part of a name must be to stand for it.
const partLength = 3

// NoSuch refuses a name that is not there, with the one that was probably meant.
func NoSuch(what, got, where string, names []string) error {
	text := fmt.Sprintf("no %s %q", what, got)
	if where != "" {
		text += " in " + where
	}
	if near := nearest(got, names); near != "" {
		return Usagef("%s: did you mean %s?", text, near)
	}
	switch len(names) {
	case 0:
		return Usagef("%s: there is none", text)
	case 1:
		return Usagef("%s: there is %s", text, names[0])
	}
	shown := names[:min(namesShown, len(names))]
	text += ": there are " + strings.Join(shown, ", ")
	if more := len(names) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return Usagef("%s", text)
}

// nearest is a name written almost so, or the first that has it as a part.
func nearest(got string, names []string) string {
	if n := spec.Nearest(got, names); n != "" || len(got) < partLength {
		return n
	}
	for _, n := range names {
		if strings.Contains(n, got) {
			return n
		}
	}
	return ""
}
