package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/sim/asgraph"
	"github.com/homeward-lab/homeward/sim/catchment"
	"github.com/homeward-lab/homeward/topologies/place"
)

type catchmentFlags struct {
	ases, members int
	seed          uint64
	relations     string
	users         string
	fail          []string
	json, fit     bool
	svg           string
}

func newCatchment() *cobra.Command {
	var f catchmentFlags
	c := &cobra.Command{
		Use: "catchment PLACE...", Short: "Say who lands in which datacenter, over a graph like the Internet", GroupID: "run",
		Args: cobra.MinimumNArgs(1),
		Long: `Catchment announces one anycast prefix from places, which are IATA codes, over a
graph of autonomous systems, and says how many users land at each, how sure that is,
and who takes them over if it fails.

The graph is drawn to be like the Internet in its counts, or read from a file of AS
relationships as CAIDA writes them. Each place buys transit from the same three of
the greatest providers and peers with networks near it; all that is a model. An
ensemble of guesses at what nobody outside can know, such as which of two equally
good routes a network takes, gives a range. Such models find a third of the
Internet's paths exactly, and five of six once the first hop is known.`,
		Example: `  homeward catchment lhr fra iad sjc gru nrt sin syd
  homeward catchment lhr cdg fra --fail lhr --svg map.svg
  homeward catchment lhr iad --as-rel 20250901.as-rel2.txt.bz2 --users asn-users.csv
  homeward catchment lhr iad --json | jq '.sites[].share'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return findCatchments(cmd.OutOrStdout(), cmd.ErrOrStderr(), args, f)
		},
	}
	fl := c.Flags()
	fl.IntVar(&f.ases, "ases", asgraph.Internet().ASes, "how many networks to draw")
	fl.StringVar(&f.relations, "as-rel", "", "read the graph from this file: CAIDA's serial-1 or serial-2, plain, bz2, xz or gz")
	fl.StringVar(&f.users, "users", "", "CSV file with the columns asn, country and users of networks, for --as-rel")
	fl.IntVar(&f.members, "ensemble", 20, "how many guesses to make")
	fl.Uint64Var(&f.seed, "seed", 1, "of all that is drawn")
	fl.StringSliceVar(&f.fail, "fail", nil, "places that are down")
	fl.BoolVar(&f.json, "json", false, "print JSON")
	fl.BoolVar(&f.fit, "fit", false, "print the graph's counts beside those published of the Internet, and nothing else")
	fl.StringVar(&f.svg, "svg", "", "write a map to this file; - is standard output")
	c.MarkFlagsMutuallyExclusive("as-rel", "ases")
	c.MarkFlagsMutuallyExclusive("json", "svg")
	_ = c.MarkFlagFilename("svg", "svg")
	return c
}

// landing is what the command found.
type landing struct {
	Sites []landingSite `json:"sites"`
	// Unreachable are the users that reach no site.
	Unreachable float64 `json:"unreachable"`
	ASes        int     `json:"ases"`
	Ensemble    int     `json:"ensemble"`
	Seed        uint64  `json:"seed"`
	Note        string  `json:"note"`
}

type landingSite struct {
	ID       string  `json:"id"`
	City     string  `json:"city"`
	Down     bool    `json:"down,omitempty"`
	Sessions int     `json:"sessions"`
	Users    float64 `json:"users"`
	Share    float64 `json:"share"`
	// Low and High are the least and greatest share in the ensemble.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// Heirs are where the users would land if this site failed too, as shares of them.
	Heirs []heir `json:"if_fails,omitempty"`
}

type heir struct {
	Site  string  `json:"site"`
	Share float64 `json:"share"`
}

const catchmentNote = "A model, not a measurement: such models find 34 % of AS paths exactly, 84 % once the first hop is known."

func findCatchments(out, errs io.Writer, codes []string, f catchmentFlags) error {
	if f.members < 1 || f.members > 1000 {
		return usagef("--ensemble %d, want 1 to 1000", f.members)
	}
	places, down, err := placesOf(codes, f.fail)
	if err != nil {
		return err
	}
	w, err := f.world(errs)
	if err != nil {
		return err
	}
	if f.fit {
		_, err := io.WriteString(out, w.Graph.Fit().Against(asgraph.Internet()))
		return err
	}
	sites, err := w.Attach(codes, places, catchment.Attach{Seed: f.seed})
	if err != nil {
		return judgeless(err)
	}
	scenarios := []catchment.Scenario{down}
	for i := range sites {
		s := slices.Clone(down)
		s[i] = true
		scenarios = append(scenarios, s)
	}
	c, err := catchment.Find(w, sites, scenarios, catchment.Ensemble{Members: f.members, Seed: f.seed})
	if err != nil {
		return judgeless(err)
	}
	l := newLanding(w, sites, down, c, f)
	switch {
	case f.json:
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(l)
	case f.svg == "-":
		return drawLanding(out, w, sites, c, l)
	case f.svg != "":
		var svg bytes.Buffer
		if err := drawLanding(&svg, w, sites, c, l); err != nil {
			return judgeless(err)
		}
		if err := os.WriteFile(f.svg, svg.Bytes(), 0o644); err != nil {
			return usagef("--svg: %w", err)
		}
	}
	return l.print(out)
}

// placesOf looks codes up, and which of them are down.
func placesOf(codes, fail []string) ([]place.Place, catchment.Scenario, error) {
	places, down := make([]place.Place, len(codes)), make(catchment.Scenario, len(codes))
	for i, code := range codes {
		p, ok := place.Lookup(code)
		if !ok {
			hint := "an IATA code such as lhr"
			if s := place.Suggest(code); s != "" {
				hint = s
			}
			return nil, nil, usagef("no place %s, want %s", code, hint)
		}
		if k := slices.Index(codes, code); k < i {
			return nil, nil, usagef("place %s twice", code)
		}
		places[i] = p
	}
	for _, code := range fail {
		i := slices.Index(codes, code)
		if i < 0 {
			return nil, nil, usagef("--fail %s: want one of %s", code, strings.Join(codes, " "))
		}
		down[i] = true
	}
	return places, down, nil
}

// world is drawn or read.
func (f *catchmentFlags) world(errs io.Writer) (*catchment.World, error) {
	if f.relations == "" {
		if f.users != "" {
			return nil, usagef("--users is of --as-rel: drawn networks have drawn users")
		}
		w, err := catchment.Draw(f.ases, f.seed)
		if err != nil {
			return nil, usagef("--ases %d: %w", f.ases, err)
		}
		return w, nil
	}
	g, err := asgraph.Open(f.relations)
	if err != nil {
		return nil, usagef("--as-rel: %w", err)
	}
	var known map[asgraph.ASN]catchment.Known
	if f.users != "" {
		file, err := os.Open(f.users)
		if err != nil {
			return nil, usagef("--users: %w", err)
		}
		defer file.Close()
		if known, err = catchment.ReadKnown(f.users, file); err != nil {
			return nil, usagef("--users: %w", err)
		}
		f.tellUnknown(errs, g, known)
	}
	return catchment.Of(g, known, f.seed), nil
}

// mostUnknown ASes are named; the rest is counted.
const mostUnknown = 5

// tellUnknown says which ASes of the file of users are not in the graph.
func (f *catchmentFlags) tellUnknown(errs io.Writer, g *asgraph.Graph, known map[asgraph.ASN]catchment.Known) {
	lost := catchment.Unknown(g, known)
	for _, n := range lost[:min(len(lost), mostUnknown)] {
		fmt.Fprintf(errs, "%s:%d: %v is not in %s, and its users are not counted\n", f.users, known[n].Line, n, f.relations)
	}
	if more := len(lost) - mostUnknown; more > 0 {
		fmt.Fprintf(errs, "%s: %d more are not\n", f.users, more)
	}
}
