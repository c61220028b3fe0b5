//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// faultFlags are the words of a fault beside do, on and impairment, by their names.
var faultFlags = [...]struct{ word, usage string }{
	{"for", "how long, such as 3s; then it heals by itself"},
	{"pick", "so many of what ON selects, drawn from the seed"},
	{"direction", "of blackhole: up or down; up is away from the host"},
	{"every", "period of flap, such as 500ms"},
	{"mtu", "of mtu, in bytes"},
	{"address", "of withdraw: an egress address, or tunnel; of move, release and allocate: one of IPv4"},
	{"to", "of move: the datacenter that the address goes to"},
	{"wait", "of drain: between withdrawal and stop, such as 1s; of move and release: how long flows go on"},
}

func newBreak() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "break [LAB] [DO ON [WORD=VALUE...] | FAULT]", Short: "Break something in a lab", GroupID: "lab", Args: cobra.ArbitraryArgs,
		Long: `Break has a fault happen now, in the words of faults: in a file, and prints its
id. It stays until homeward mend, or heals by itself after --for. FAULT is one
that the lab's file has. Without any, break lists what is broken and what can be.

  cut, flap, blackhole   links carry nothing; in turns; in one direction
  degrade                links do what the words say: delay=80ms loss=5%
  mtu                    tunnels, or links under them, take a smaller MTU
  partition              sites, nodes or a datacenter reach nobody else
  pause, kill, restart   servers stand still, are gone, begin anew; routers are dark
  reassign               a server's new flows are others'; those that it has go on
  withdraw, drain        a datacenter takes no address any more, or leaves in order
  move                   an egress address goes to another datacenter
  release, allocate      a datacenter gives an egress address up, or takes a spare one`,
		Example: `  sudo homeward break overlapping_branches cut shop.1.wan --for 3s
  sudo homeward break overlapping_branches kill 'lhr.*' --pick 1
  sudo homeward break overlapping_branches degrade shop.1.wan delay=80ms loss=5%
  sudo homeward break overlapping_branches
  sudo homeward mend overlapping_branches cut-1`,
		ValidArgsFunction: completeBreak,
	}
	flags := map[string]*string{}
	for _, f := range faultFlags {
		flags[f.word] = c.Flags().String(f.word, "", f.usage)
		_ = c.RegisterFlagCompletionFunc(f.word, cobra.NoFileCompletions)
	}
	_ = c.RegisterFlagCompletionFunc("direction", cobra.FixedCompletions(directions[:2], cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("address", cobra.FixedCompletions([]string{spec.TunnelAddress}, cobra.ShellCompDirectiveNoFileComp))
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		lab, rest, err := labAndRest(cmd, args)
		if err != nil {
			return err
		}
		var words []string
		for _, f := range faultFlags {
			if cmd.Flags().Changed(f.word) {
				words = append(words, f.word+"="+*flags[f.word])
			}
		}
		if len(rest) == 0 {
			if len(words) > 0 {
				return usagef("--%s of what? Want [LAB] DO ON, such as cut shop.1.wan", strings.Split(words[0], "=")[0])
			}
			return listBroken(cmd, lab, asJSON)
		}
		f, err := faultOf(rest, words)
		if err != nil {
			return usage(err)
		}
		return breakNow(cmd, lab, f, asJSON)
	}
	return c
}

func breakNow(cmd *cobra.Command, lab *control.Lab, f spec.Fault, asJSON bool) error {
	var b control.Broken
	if err := lab.Get(cmd.Context(), control.DoBreak, control.BreakArgs{Fault: f, By: who()}, &b); err != nil {
		return refusal(err)
	}
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(b)
	}
	end := fmt.Sprintf("until homeward mend %s %s", lab.Name, b.ID)
	switch {
	case b.Heals.Equal(b.Since) && !b.Heals.IsZero():
		end = "and begun anew"
	case !b.Heals.IsZero():
		end = "for " + b.For.String()
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s on %s, %s\n", b.ID, b.Do, whatText(b.What), end)
	return nil
}

// whatText names the first of many.
func whatText(what []string) string {
	const most = 4
	if len(what) <= most {
		return strings.Join(what, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(what[:most], ", "), len(what)-most)
}

func listBroken(cmd *cobra.Command, lab *control.Lab, asJSON bool) error {
	var b control.Breakable
	if err := lab.Get(cmd.Context(), control.DoBroken, nil, &b); err != nil {
		return refusal(err)
	}
	if asJSON {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		return enc.Encode(b)
	}
	printBroken(cmd.OutOrStdout(), &b)
	return nil
}

func printBroken(w io.Writer, b *control.Breakable) {
	if len(b.Broken) == 0 {
		fmt.Fprintln(w, "nothing is broken")
	}
	t := &table{title: "Broken", header: []string{"ID", "DO", "ON", "HEALS", "BY"}}
	for _, f := range b.Broken {
		heals := "when mended"
		if !f.Heals.IsZero() {
			heals = fmt.Sprintf("in %.1fs", max(0, time.Until(f.Heals).Seconds()))
		}
		t.add(f.ID, f.Do, whatText(f.What), heals, byText(f.By, f.Since))
	}
	t.print(w, true)
	t = &table{title: "Faults of the file", header: []string{"FAULT", "DO", "ON", "FOR"}}
	for _, f := range b.Faults {
		t.add(f.ID, f.Do, f.On, f.For.String())
	}
	t.print(w, true)
	t = &table{title: "What can be broken", header: []string{"DO", "ON"}}
	for _, do := range spec.FaultWords() {
		on := gatheredNames(b.On[do])
		if n := len(t.rows); n > 0 && t.rows[n-1][1] == on {
			t.rows[n-1][0] += ", " + do
			continue
		}
		t.add(do, on)
	}
	t.print(w, true)
}

// gatheredNames are names, those that differ in numbers alone as one selector.
func gatheredNames(names []string) string {
	count := map[string]int{}
	for _, n := range names {
		count[selector(n)]++
	}
	var all []string
	for _, n := range names {
		s := selector(n)
		switch count[s] {
		case 0:
			continue
		case 1:
			all = append(all, n)
		default:
			all = append(all, s)
		}
		count[s] = 0
	}
	if all == nil {
		return "nothing here"
	}
	return strings.Join(all, " ")
}

func newMend() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "mend [LAB] [ID...]", Short: "Mend what was broken in a lab", GroupID: "lab", Args: cobra.ArbitraryArgs,
		Long: `Mend heals what homeward break broke, and looks whether all is as it was before:
if not, that is an error. Where one thing alone is broken, its id can be left out.`,
		Example: `  sudo homeward mend overlapping_branches cut-1
  sudo homeward mend overlapping_branches --all`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			lab, _ := typedLab(args)
			return completeLabThen(0, func(control.Names) []cobra.Completion {
				var ids []cobra.Completion
				for _, f := range breakableOf(cmd, lab).Broken {
					ids = append(ids, cobra.CompletionWithDesc(f.ID, f.Do+" "+f.On))
				}
				return ids
			})(cmd, args, typed)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			lab, ids, err := labAndRest(cmd, args)
			if err != nil {
				return err
			}
			if all && len(ids) > 0 {
				return usagef("--all takes no ids")
			}
			return mend(cmd, lab, ids, all)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "everything that is broken")
	return c
}

func mend(cmd *cobra.Command, lab *control.Lab, ids []string, all bool) error {
	if len(ids) == 0 && !all {
		var b control.Breakable
		if err := lab.Get(cmd.Context(), control.DoBroken, nil, &b); err != nil {
			return refusal(err)
		}
		if len(b.Broken) > 1 {
			var known []string
			for _, f := range b.Broken {
				known = append(known, f.ID)
			}
			return usagef("mend which? There are %s (--all mends everything)", strings.Join(known, ", "))
		}
	}
	mended := 0
	err := lab.Call(cmd.Context(), control.Ask{Do: control.DoMend, Args: control.MendArgs{IDs: ids, By: who()}, Each: func(raw json.RawMessage) error {
		var b control.Broken
		err := json.Unmarshal(raw, &b)
		mended++
		state := "mended: all is as it was before"
		if slices.Contains([]string{spec.Move, spec.Release, spec.Allocate}, b.Do) {
			state = "over: " + b.Address + " stays where it is now"
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is %s\n", b.ID, state)
		return err
	}})
	if err == nil && mended == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "nothing is broken")
	}
	return refusal(err)
}

// breakableOf is what completion needs; empty if the lab does not answer.
func breakableOf(cmd *cobra.Command, lab *control.Lab) control.Breakable {
	var b control.Breakable
	if lab != nil {
		_ = lab.Get(cmd.Context(), control.DoBroken, nil, &b)
	}
	return b
}

// completeBreak offers labs, what can be done and the file's faults, what that
// can be on, and the words of degrade.
func completeBreak(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	lab, rest := typedLab(args)
	b := breakableOf(cmd, lab)
	switch {
	case lab == nil || len(rest) == 0:
		return completeLabThen(1, func(control.Names) []cobra.Completion {
			all := slices.DeleteFunc(spec.FaultWords(), func(do string) bool { return len(b.On[do]) == 0 })
			for _, f := range b.Faults {
				all = append(all, cobra.CompletionWithDesc(f.ID, "of the file: "+f.Do+" "+f.On))
			}
			return all
		})(cmd, args, typed)
	case len(rest) == 1:
		stars := map[string]bool{}
		for _, n := range b.On[rest[0]] {
			stars[selector(n)] = true
		}
		all := append(slices.Clone(b.On[rest[0]]), slices.Sorted(maps.Keys(stars))...)
		slices.Sort(all)
		return slices.Compact(all), cobra.ShellCompDirectiveNoFileComp
	case rest[0] == spec.Degrade:
		return impairmentWords(rest[2:], typed)
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}
