//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// none is the word that mends a link.
const none = "none"

// directions of a link; up is away from the host, toward the middle of the Internet.
var directions = [...]string{"up", "down", "both"}

func newImpair() *cobra.Command {
	var asJSON, all bool
	c := &cobra.Command{
		Use: "impair [LAB] [LINK [[up|down|both] WORD=VALUE...|none]]", Short: "Change what a link of a lab does to packets", GroupID: "lab", Args: cobra.ArbitraryArgs,
		Long: `Impair changes links of a lab that is up: delay, loss, rate and whatever else
impair: of a file can say, in the same words. Words that are not given stay as
they are, 0 takes one back, and none takes all back: the link is as the file has
it. Packets that are on their way are not concerned.

A link is named by the on-ramp that crosses it, the host or server at its end,
two ends joined by "-", its id, or its class (lan, access, internet, edge …);
shop.*.wan are many. Up is away from the host, toward the middle of the Internet.

Every link can be changed. One that the file leaves alone is a wire of the
kernel's as long as nothing is asked of it, and carries ten times as much.

Without words, impair lists what is impaired, asked and measured: how long half
of the packets took since the last change, and how many were lost.`,
		Example: `  sudo homeward up overlapping_branches
  sudo homeward impair overlapping_branches shop.1.wan delay=50ms loss=1%
  sudo homeward impair overlapping_branches 'shop.*.wan' down rate=10Mbit
  sudo homeward impair overlapping_branches
  sudo homeward impair overlapping_branches shop.1.wan none`,
		ValidArgsFunction: completeImpair,
		RunE: func(cmd *cobra.Command, args []string) error {
			lab, rest, err := labAndRest(cmd, args)
			if err != nil {
				return err
			}
			asked, err := impairArgs(rest)
			if err != nil {
				return usage(err)
			}
			return impairLinks(cmd, lab, asked, asJSON, all)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: each direction of each link that is or was impaired")
	c.Flags().BoolVar(&all, "all", false, "every row")
	return c
}

// impairArgs reads LINK [up|down|both] WORD=VALUE..., or none.
func impairArgs(args []string) (control.ImpairArgs, error) {
	var a control.ImpairArgs
	if len(args) == 0 {
		return a, nil
	}
	if strings.Contains(args[0], "=") {
		return a, fmt.Errorf("%s of which link? Want [LAB] LINK WORD=VALUE, such as shop.1.wan delay=50ms", args[0])
	}
	a.On, a.Direction, a.By = args[0], "both", who()
	words := args[1:]
	if len(words) > 0 && slices.Contains(directions[:], words[0]) {
		a.Direction, words = words[0], words[1:]
	}
	switch {
	case len(words) == 0 && a.Direction != "both":
		return a, fmt.Errorf("%s is to do what %s? Want words such as delay=50ms loss=1%%, or none", a.On, a.Direction)
	case len(words) == 0:
		return a, nil
	case len(words) == 1 && words[0] == none:
		a.None = true
		return a, nil
	case slices.Contains(words, none):
		return a, fmt.Errorf("none stands alone: it takes all words back")
	}
	var err error
	a.Impairment, a.Words, err = load.ImpairmentWords("impair", words)
	return a, err
}

// who does this, for the time line.
func who() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("user %d", os.Getuid())
}

func impairLinks(cmd *cobra.Command, lab *control.Lab, asked control.ImpairArgs, asJSON, all bool) error {
	wires := []control.Wire{}
	err := lab.Call(cmd.Context(), control.Ask{Do: control.DoImpair, Args: asked, Each: func(raw json.RawMessage) error {
		var w control.Wire
		err := json.Unmarshal(raw, &w)
		wires = append(wires, w)
		return err
	}})
	switch {
	case err != nil:
		return refusal(err)
	case asJSON:
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		return enc.Encode(wires)
	case asked.None || len(asked.Words) > 0:
		printChanged(cmd.OutOrStdout(), wires, all)
	default:
		printImpaired(cmd.OutOrStdout(), asked.On, wires, all)
	}
	return nil
}

// printChanged says what links do from now on.
func printChanged(w io.Writer, wires []control.Wire, all bool) {
	t := &table{title: "From now on", header: []string{"LINK", "UP", "DOWN", ""}}
	for i := 0; i+1 < len(wires); i += 2 { // up, then down
		note := ""
		if wires[i].Degraded || wires[i+1].Degraded {
			note = "once the fault that degrades it has healed"
		}
		t.add(wires[i].Name, askedText(&wires[i]), askedText(&wires[i+1]), note)
	}
	t.print(w, all)
}

// printImpaired lists the links that are more than plain wires, asked beside
// measured; on is what was asked about, empty for all.
func printImpaired(w io.Writer, on string, wires []control.Wire, all bool) {
	t := &table{
		title:  "Links that are no plain wires",
		header: []string{"LINK", "", "ASKED", "TOOK", "LOST", "MARKED", "OF", "UNASKED", "BY"},
		loose:  map[int]bool{3: true, 4: true, 5: true, 6: true, 7: true, 8: true},
	}
	for i := range wires {
		v := &wires[i]
		if len(v.Asked) == 0 && !v.Degraded {
			continue
		}
		t.add(v.Name, v.Direction, askedText(v), tookText(v), number(v.Lost, v.Packets > 0), number(v.Marked, v.Marked > 0), number(v.Packets, v.Packets > 0), number(v.Unasked, v.Unasked > 0), byText(v.By, v.Since))
	}
	switch {
	case len(t.rows) == 0 && on != "":
		fmt.Fprintf(w, "%s is plain: homeward impair %s delay=50ms, for example, makes it another\n", on, control.Quote(on))
		return
	case len(t.rows) == 0:
		fmt.Fprintln(w, "nothing is impaired: homeward impair LINK WORD=VALUE, such as delay=50ms")
		return
	}
	t.print(w, all)
}

// askedText are the words of a direction, in the language's order.
func askedText(v *control.Wire) string {
	var said []string
	for _, name := range spec.ImpairmentWords() {
		if value, ok := v.Asked[name]; ok {
			said = append(said, name+"="+value)
		}
	}
	text := strings.Join(said, " ")
	if text == "" {
		text = "plain"
	}
	if v.Degraded {
		text += ", and a fault degrades it"
	}
	return text
}

func tookText(v *control.Wire) string {
	if v.Measured.N == 0 {
		return ""
	}
	round := func(ns int64) string { return time.Duration(ns).Round(10 * time.Microsecond).String() }
	return fmt.Sprintf("%s (99%%: %s)", round(v.Measured.P50Ns), round(v.Measured.P99Ns))
}

// number is a count, empty where it says nothing.
func number(n uint64, is bool) string {
	if !is {
		return ""
	}
	return fmt.Sprint(n)
}

// byText says who did something by hand, and how long ago.
func byText(by string, since time.Time) string {
	if by == "" {
		return ""
	}
	return fmt.Sprintf("%s, %s ago", by, age(since))
}

// completeImpair offers labs, links, directions and words.
func completeImpair(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	lab, rest := typedLab(args)
	if lab == nil || len(rest) == 0 {
		return completeLabThen(1, linkNames)(cmd, args, typed)
	}
	words, directive := impairmentWords(rest[1:], typed)
	if slices.Contains(rest, none) || words == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var all []cobra.Completion
	if len(rest) == 1 {
		all = append(all, directions[:]...)
	}
	if !slices.ContainsFunc(rest, func(s string) bool { return strings.Contains(s, "=") }) {
		all = append(all, cobra.CompletionWithDesc(none, "as the file has it"))
	}
	return append(all, words...), directive
}

// impairmentWords offers those that were not typed yet, and nothing for a value.
func impairmentWords(rest []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if strings.Contains(typed, "=") {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var all []cobra.Completion
	for _, w := range spec.ImpairmentWords() {
		if !slices.ContainsFunc(rest, func(s string) bool { return strings.HasPrefix(s, w+"=") }) {
			all = append(all, w+"=")
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveKeepOrder
}

func linkNames(n control.Names) []cobra.Completion {
	var all []cobra.Completion
	for _, l := range n.Links {
		all = append(all, cobra.CompletionWithDesc(l.Name, string(l.Class)))
	}
	return all
}
