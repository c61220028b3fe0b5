package plan

import "strings"

// match is the selector grammar of the language: dotted, "*" for all instances
// of one part.
func match(selector, id string) bool {
	want, got := strings.Split(selector, "."), strings.Split(id, ".")
	if len(want) != len(got) {
		return false
	}
	for i, w := range want {
		if w != "*" && w != got[i] {
			return false
		}
	}
	return true
}

// literal counts the parts of a selector that name something: the more, the
// more specific.
func literal(selector string) int {
	n := 0
	for _, part := range strings.FieldsFunc(selector, func(r rune) bool { return r == '.' || r == '-' }) {
		if part != "*" {
			n++
		}
	}
	return n
}
