package load

import (
	"fmt"
	"strings"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// suggest returns the candidate nearest to word, quoted, or "" if none is near.
func suggest(word string, candidates []string) string {
	if best := spec.Nearest(word, candidates); best != "" {
		return fmt.Sprintf("%q", best)
	}
	return ""
}

// oneOf lists words for an error.
func oneOf(words []string) string {
	const most = 12
	if len(words) > most {
		return strings.Join(words[:most], ", ") + ", …"
	}
	return strings.Join(words, ", ")
}
