//go:build !linux

package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/reports/stage"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// On systems other than Linux there is the simulator, and what reads results.

func labEngines(string) []engine { return nil }

func namedLab(string) (engine, bool) { return engine{}, false }

func labCommands() []*cobra.Command { return nil }

func labOnStage(*cobra.Command, *load.Doc, string, demoFlags) (stage.Show, func(context.Context) error, error) {
	return nil, nil, lackingf("a lab needs Linux; --on sim shows the same scenario here, in virtual time")
}

func rootless(*cobra.Command) (done bool, err error) { return false, nil }

func knownIO(io string) bool { return io == "" }

func ioWords() []string { return nil }

func speakers() []string { return nil }

func wirePossible(string) error { return nil }

func wireRefuses(string, *plan.Plan) error { return nil }

func speakable(string) error { return nil }

func machineCommands() []*cobra.Command {
	return []*cobra.Command{{
		Use: "doctor", Short: "Say what this machine can do, and how to get the rest", GroupID: "machine", Args: cobra.NoArgs,
		Example: "  homeward doctor",
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintf(cmd.OutOrStdout(), "ok       sim      engine: the same hub in virtual time\nmissing  emu-hub  engine: labs need Linux, this is %s\n", runtime.GOOS)
			return &exit{code: exitLack}
		},
	}}
}

// withArgs has nothing to remember for: no command is run again.
func withArgs(ctx context.Context, _ []string) context.Context { return ctx }

// askGrant has nobody to ask.
func askGrant() {}
