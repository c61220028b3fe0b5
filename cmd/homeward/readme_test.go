//go:build linux

package main

import (
	"os"
	"strings"
	"testing"
)

// What README says of a lab by hand can be typed line by line, and nothing goes
// wrong. A terminal, Wireshark, and what ends with Ctrl-C alone, are left out.
func TestReadmeByHand(t *testing.T) {
	byHand(t)
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "### A lab by hand\n\n```sh\n")
	block, _, ok := strings.Cut(section, "```")
	if !ok {
		t.Fatal("README has no commands of a lab by hand")
	}
	n := 0
	for line := range strings.Lines(block) {
		command, _, _ := strings.Cut(line, " #")
		if strings.Contains(command, " shell ") || strings.Contains(command, "wireshark") {
			continue
		}
		command = strings.ReplaceAll(strings.TrimSuffix(strings.TrimSpace(command), " --follow"), "sudo homeward", `"$0"`)
		if out, err := homewardShell(command).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", strings.TrimSpace(line), err, out)
		}
		n++
	}
	if n < 8 {
		t.Errorf("%d commands were tried, want all of a lab's life", n)
	}
}
