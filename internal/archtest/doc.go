// Package archtest holds the architecture to its word: who may import whom,
// that every package says what it is, and that the folder list is the map.
// It has no code of its own, only tests.
package archtest
