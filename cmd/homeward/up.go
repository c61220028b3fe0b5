//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/emu/first"
	"github.com/homeward-lab/homeward/emu/resident"
	emurun "github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/emu/speaker"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// keeperCommand is the hidden subcommand that stays behind `up`.
const keeperCommand = "keeper"

type upFlags struct {
	name      string
	variant   string
	sets      []string
	io        string
	dataplane string
	speaker   string
	wire      string
}

func newUp() *cobra.Command {
	var f upFlags
	c := &cobra.Command{
		Use: "up SCENARIO", Short: "Bring a lab up and leave it there", GroupID: "lab", Args: cobra.ExactArgs(1), ValidArgsFunction: completeScenarios(1),
		Long: `Up builds one variant of a scenario and returns when the lab is ready. It sends
no traffic. The lab stays until homeward down takes it down; a keeper process
holds all of it, and if that is killed, nothing is left.

Any number of labs can be up at once, the same scenario under several names.
Their names are what the other commands take; where one lab alone is up, its
name can be left out.

Whatever can happen to the network can be done to the lab while it is up:
homeward impair, break, apply.`,
		Example: `  sudo homeward up overlapping_branches
  sudo homeward up my.yaml --variant routes_only --set shop.count=10 --name big
  sudo homeward up datacenter_maintenance --speaker bird
  sudo homeward exec overlapping_branches shop.1.till -- curl -s http://203.0.113.9/
  sudo homeward traffic overlapping_branches same && sudo homeward check overlapping_branches
  sudo homeward down overlapping_branches`,
		RunE: func(cmd *cobra.Command, args []string) error { return up(cmd, args[0], f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.name, "name", "", "name of the lab (default the scenario's)")
	fl.StringVar(&f.variant, "variant", spec.Base, "which variant")
	fl.StringArrayVar(&f.sets, "set", nil, "change the file: SELECTOR=VALUE, may be repeated")
	fl.StringVar(&f.io, "io", "", "how packets move: vnet, plain or xdp; default the best here")
	fl.StringVar(&f.dataplane, "dataplane", "", "what servers are: ebpf (the kernel carries flows once they are set up) or hub; default the best here")
	fl.StringVar(&f.wire, "wire", "", wireUsage)
	_ = c.RegisterFlagCompletionFunc("wire", cobra.FixedCompletions(wireWords, cobra.ShellCompDirectiveNoFileComp))
	fl.StringVar(&f.speaker, "speaker", "", "who speaks BGP for routers, where the file has transit: gobgp (default) or bird")
	_ = c.RegisterFlagCompletionFunc("speaker", cobra.FixedCompletions(speakers(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("variant", completeVariants)
	_ = c.RegisterFlagCompletionFunc("io", cobra.FixedCompletions(ioWords(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("dataplane", cobra.FixedCompletions([]string{"ebpf", "hub"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("name", cobra.NoFileCompletions)
	return c
}

func up(cmd *cobra.Command, file string, f upFlags) error {
	if !knownIO(f.io) {
		return usagef("--io %s: want vnet, plain or xdp", f.io)
	}
	if f.dataplane != "" && f.dataplane != string(emurun.EBPF) && f.dataplane != string(emurun.Hub) {
		return usagef("--dataplane %s: want ebpf or hub", f.dataplane)
	}
	if err := checkSpeaker(f.speaker); err != nil {
		return err
	}
	v, scenario, err := oneVariant(file, f.variant, f.sets)
	if err != nil {
		return err
	}
	if f.name == "" {
		f.name = v.plan.Scenario
	}
	if err := control.CheckName(f.name); err != nil {
		return usage(err)
	}
	if done, err := rootless(cmd); done {
		return err
	}
	if err := checkWire(f.wire, v.plan); err != nil {
		return err
	}
	chosen := labEngines(f.io)[0]
	if d := cmp.Or(f.dataplane, v.plan.Dataplane); d != "" {
		chosen, _ = namedLab(emurun.Dataplane(d).Engine())
	}
	if err := chosen.possible(v.plan); err != nil {
		return lacking(err)
	}
	begin(cmd.Context())
	s := newScreen(cmd.ErrOrStderr())
	info, err := resident.Launch(cmd.Context(), "/proc/self/exe", []string{keeperCommand},
		resident.Start{Name: f.name, Plan: v.plan, Scenario: scenario, IO: agent.IO(f.io), Dataplane: emurun.Dataplane(chosen.dataplane), Speaker: speaker.Kind(f.speaker), Wire: emurun.WireEngine(f.wire), Versions: versions()},
		func(stage string, done, total int) { s.progress(f.name, stage, done, total) })
	s.clear()
	if err != nil {
		return refusal(err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "lab %s is up: %s/%s, %s, %s, in %.1f s\n", info.Name, info.Scenario, info.Variant, count(info.Nodes, "node"), count(info.Links, "link"), float64(info.UpMs)/1000)
	return nil
}

// oneVariant compiles one variant of a file, which the engine must be able to
// do, and gives its resolved text.
func oneVariant(file, name string, sets []string) (*variant, json.RawMessage, error) {
	doc, err := open(file)
	if err != nil {
		return nil, nil, err
	}
	ch, err := parseChanges(sets, 0, []string{name})
	if err != nil {
		return nil, nil, err
	}
	vs, err := prepare(doc, ch)
	if err != nil {
		return nil, nil, err
	}
	if err := refuse(vs, hubEngine()); err != nil {
		return nil, nil, err
	}
	text, err := json.Marshal(vs[0].spec)
	if err != nil {
		return nil, nil, judgeless(err)
	}
	return vs[0], text, nil
}

func newKeeper() *cobra.Command {
	return &cobra.Command{
		Use: keeperCommand, Hidden: true, Args: cobra.NoArgs,
		Short: "Keep a lab (started by up)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			begin(cmd.Context())
			if err := resident.Main(cmd.Context(), os.Stdin, os.Stdout, ownCommands()); err != nil {
				return judgeless(err)
			}
			return nil
		},
	}
}

// ownCommands are this program's hidden ones, as labs start them.
func ownCommands() emurun.Options {
	return emurun.Options{AgentArgs: []string{agentCommand}, FirstArgs: []string{firstCommand}, PumpArgs: []string{pumpCommand}, SpeakerArgs: []string{speakerCommand}}
}

// firstCommand is the hidden subcommand that a host's own program runs under.
const firstCommand = "first"

func newFirst() *cobra.Command {
	return &cobra.Command{
		Use: firstCommand + " PROGRAM [ARG...]", Hidden: true, DisableFlagParsing: true,
		Short: "Run a host's own program (started by the lab)",
		RunE: func(cmd *cobra.Command, args []string) error {
			lend(cmd.Context())
			code, err := first.Main(args)
			switch {
			case err != nil:
				return judgeless(err)
			case code != 0:
				return &exit{code: code}
			}
			return nil
		},
	}
}
