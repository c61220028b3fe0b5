package main

import "testing"

// Help teaches with examples: every command that people see has one.
func TestEveryCommandHasExamples(t *testing.T) {
	for _, c := range newRoot().Commands() {
		if !c.Hidden && c.GroupID != "" && c.Example == "" {
			t.Errorf("%s has no example", c.Name())
		}
	}
}
