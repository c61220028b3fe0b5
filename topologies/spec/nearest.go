package spec

import (
	"slices"
	"strings"
)

// Nearest is the candidate that was probably meant by word, "" if none is near.
func Nearest(word string, candidates []string) string {
	best, bestAt := "", 0
	limit := max(1, len(word)/3)
	sorted := slices.Sorted(slices.Values(candidates))
	for _, c := range sorted {
		if c == word || len(c) > len(word)+limit || len(word) > len(c)+limit {
			continue
		}
		d := distance(strings.ToLower(word), strings.ToLower(c))
		if d <= limit && (best == "" || d < bestAt) {
			best, bestAt = c, d
		}
	}
	return best
}

// maxSuggest bounds the words that are compared.
const maxSuggest = 64

// distance counts the insertions, deletions, replacements and swaps of
// neighbours between a and b (optimal string alignment).
func distance(a, b string) int {
	if len(a) > maxSuggest || len(b) > maxSuggest {
		return maxSuggest
	}
	before, last, now := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		now[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			now[j] = min(replace, last[j]+1, now[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
		}
		before, last, now = last, now, before
	}
	return last[len(b)]
}
