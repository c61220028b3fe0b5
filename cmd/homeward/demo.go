package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/reports/stage"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

type demoFlags struct {
	on      string
	name    string
	variant string
	sets    []string
	port    uint16
}

// demoWords are what --on takes here.
var demoWords = []string{"emu", "emu-hub", "emu-ebpf", "sim"}

func newDemo() *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use: "demo SCENARIO", Short: "Show a network live in a browser, to be broken on stage", GroupID: "run", Args: cobra.ExactArgs(1), ValidArgsFunction: completeScenarios(1),
		Long: `Demo brings a lab up and serves one page that shows it: the network, the ways of
the latest flows and of their replies, and how many came home. While somebody
looks, the file's traffic is sent again and again. A click on a site, a server
or a datacenter offers what can be broken there; the file's variants are buttons.

The page is served to this machine alone, at an address that nobody can guess.
Ctrl-C ends it and takes the lab down. All the other commands for labs work on
it too: homeward exec, capture, impair, break.

With --on sim the same is simulated, on any system and without rights: every
round is a run of its own, and what is broken is so from its beginning.`,
		Example: `  sudo homeward demo overlapping-branches
  sudo homeward demo branch_failover --port 8080
  homeward demo my.yaml --set shop.count=5        # without root: in a user namespace
  homeward demo soft_unicast --on sim             # macOS and Windows too`,
		RunE: func(cmd *cobra.Command, args []string) error { return demo(cmd, args[0], f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.on, "on", "emu", "what is shown: "+strings.Join(demoWords, ", ")+"; emu is the best lab here")
	fl.StringVar(&f.name, "name", "", "name of the lab (default the scenario's)")
	fl.StringVar(&f.variant, "variant", spec.Base, "which variant comes first")
	fl.StringArrayVar(&f.sets, "set", nil, "change the file: SELECTOR=VALUE, may be repeated")
	fl.Uint16Var(&f.port, "port", 0, "port of the page; 0 is any that is free")
	_ = c.RegisterFlagCompletionFunc("on", cobra.FixedCompletions(demoWords, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("variant", completeVariants)
	_ = c.RegisterFlagCompletionFunc("name", cobra.NoFileCompletions)
	return c
}

func demo(cmd *cobra.Command, file string, f demoFlags) error {
	if !slices.Contains(demoWords, f.on) {
		return usagef("--on %s: want %s", f.on, strings.Join(demoWords, ", "))
	}
	doc, err := open(file)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(f.port))))
	if err != nil {
		return lacking(err)
	}
	defer l.Close()
	begin(cmd.Context())
	raise := labOnStage
	if f.on == "sim" {
		raise = simOnStage
	}
	show, down, err := raise(cmd, doc, file, f)
	if err != nil {
		return err
	}
	st := stage.New(show, rand.Text())
	fmt.Fprintf(cmd.OutOrStdout(), "open http://%s%s\nCtrl-C ends it\n", l.Addr(), st.Path())
	// What has come up goes down, also when the command's context has ended.
	return errors.Join(coded(st.Serve(cmd.Context(), l)), down(context.WithoutCancel(cmd.Context())))
}

// coded is an error that keeps its exit code.
func coded(err error) error {
	if err == nil || errors.As(err, new(*exit)) {
		return err
	}
	return judgeless(err)
}

// stageVariants are the file's.
func stageVariants(doc *load.Doc) []stage.Variant {
	about := map[string]string{}
	for _, v := range doc.Spec.Variants {
		about[v.Name] = v.Title
	}
	var all []stage.Variant
	for _, name := range doc.Variants() {
		all = append(all, stage.Variant{Name: name, About: about[name]})
	}
	return all
}

// stageTricks are what a click can break.
func stageTricks(p *plan.Plan) []stage.Trick {
	var all []stage.Trick
	on := p.Breakable()
	for _, do := range spec.FaultWords() {
		words, ok := stageWords[do]
		if !ok {
			continue
		}
		for _, what := range on[do] {
			all = append(all, stage.Trick{Do: do, On: what, Words: words})
		}
	}
	return all
}

// stageFaults are what the file has happen.
func stageFaults(p *plan.Plan) []stage.Trick {
	var all []stage.Trick
	for _, f := range p.Faults {
		all = append(all, stage.Trick{Fault: f.ID, Do: f.Do, On: f.On})
	}
	return all
}

// stageWords are the faults that a click can have happen, and what must be said
// of them. The others are about an address, which a picture does not show.
var stageWords = map[string][]string{
	spec.Cut: nil, spec.Flap: nil, spec.Blackhole: {"direction=up"}, spec.Degrade: {"delay=80ms", "loss=5%"},
	spec.Partition: nil, spec.Pause: nil, spec.Kill: nil, spec.Restart: nil, spec.Reassign: nil, spec.Withdraw: nil, spec.Drain: nil,
}

// faultOfTrick is what a click means, in the words of homeward break.
func faultOfTrick(how stage.Trick) (spec.Fault, error) {
	switch {
	case how.Fault != "":
		return faultOf([]string{how.Fault}, nil)
	case how.Do == spec.Degrade:
		return faultOf(append([]string{how.Do, how.On}, how.Words...), nil)
	}
	return faultOf([]string{how.Do, how.On}, how.Words)
}
