//go:build linux

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/vishvananda/netlink"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/internal/need"
)

func TestMain(m *testing.M) {
	// Tests start this binary again as the program, and labs as what serves them.
	if os.Getenv("HOMEWARD_TEST_MAIN") != "" || len(os.Args) > 1 && slices.Contains([]string{agentCommand, keeperCommand, firstCommand, pumpCommand, speakerCommand, workerCommand}, os.Args[1]) {
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	testscript.Main(m, map[string]func(){
		"homeward": func() { os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// The scripts in testdata/script are what people type and what they see. Those
// named lab_* bring labs up and need root.
func TestScripts(t *testing.T) { scripts(t, false) }

func TestLabScripts(t *testing.T) {
	need.Root(t)
	scripts(t, true)
}

func scripts(t *testing.T, lab bool) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasPrefix(filepath.Base(f), "lab_") != lab })
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts, want some (%v)", err)
	}
	testscript.Run(t, testscript.Params{
		Files: files,
		Setup: func(env *testscript.Env) error { // labs of its own, none of which outlives it
			env.Setenv(control.RuntimeEnv, filepath.Join(env.WorkDir, "rt"))
			env.Defer(func() {
				cmd := homeward("down", "--all")
				cmd.Env = append(cmd.Env, env.Vars...)
				_ = cmd.Run() // most have none
			})
			return nil
		},
		RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"hostlinks":  hostLinks,
			"judged":     judged,
			"eventually": eventually,
		},
	})
}

// hostLinks FILE writes the names of the host's interfaces: labs must not touch them.
func hostLinks(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hostlinks FILE")
	}
	links, err := netlink.LinkList()
	ts.Check(err)
	var text string
	for _, l := range links {
		text += l.Attrs().Name + "\n"
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}
