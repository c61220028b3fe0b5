package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/load"
)

func newFit() *cobra.Command {
	var cdf string
	c := &cobra.Command{
		Use: "fit SESSIONS", Short: "Make a workload of a session log", GroupID: "write", Args: cobra.ExactArgs(1),
		Long: `Fit reads a Network Session Log (sessions.jsonl of a run, or a network's own export in
the same fields) and prints a workload for a scenario: how many flows begin, by which
protocols, how long they last and what they carry, as the distribution that is
nearest to what was logged. How long they last is asked of TCP alone, where there is
any: the others' sessions last until their timers have run out. The distance is the greatest difference of cumulative
shares. With --cdf what was logged is written to files that a workload can use as it
is: holding: file(PREFIX.holding.txt).`,
		Example: `  homeward fit out/DIR/merger/base/sim/sessions.jsonl
  homeward fit sessions.jsonl --cdf measured`,
		RunE: func(cmd *cobra.Command, args []string) error { return fitLog(cmd.OutOrStdout(), args[0], cdf) },
	}
	c.Flags().StringVar(&cdf, "cdf", "", "write PREFIX.holding.txt and PREFIX.size.txt too")
	return c
}

// logged is what a session log says of flows.
type logged struct {
	holding, size []float64 // seconds, bytes
	untilIdle     []float64 // seconds of sessions that ended by their timers
	mix           map[string]int
	client        int // closed first by the client
	closed        int
	from, to      int64
	all, refused  int
}

func fitLog(out io.Writer, path, cdf string) error {
	l, err := readLogged(path)
	if err != nil {
		return usage(err)
	}
	if err := l.print(out); err != nil {
		return usage(fmt.Errorf("%s: %w", path, err))
	}
	if cdf == "" {
		return nil
	}
	return errors.Join(writeShares(cdf+".holding.txt", l.holding), writeShares(cdf+".size.txt", l.size))
}

// readLogged reads a log of JSON lines. Refused sessions say how many were tried, and
// nothing of how long flows last.
func readLogged(path string) (*logged, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l := &logged{mix: map[string]int{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for at := 1; lines.Scan(); at++ {
		if len(strings.TrimSpace(lines.Text())) == 0 {
			continue
		}
		var s record.Session
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return nil, fmt.Errorf("%s:%d: no session record: %w", path, at, err)
		}
		if s.SessionEndTime < s.SessionStartTime || s.SessionStartTime == 0 {
			return nil, fmt.Errorf("%s:%d: a session from %d to %d, want Unix nanoseconds", path, at, s.SessionStartTime, s.SessionEndTime)
		}
		l.add(&s)
	}
	if len(l.holding) == 0 { // nothing better
		l.holding = l.untilIdle
	}
	return l, lines.Err()
}

func (l *logged) add(s *record.Session) {
	if l.all == 0 || s.SessionStartTime < l.from {
		l.from = s.SessionStartTime
	}
	l.to = max(l.to, s.SessionStartTime)
	l.all++
	if s.ConnectionCloseReason == "EGRESS_PORT_ALLOCATION_ERROR" {
		l.refused++
		return
	}
	const dns = 53
	word := strings.TrimSuffix(strings.ToLower(s.Protocol), "v6")
	if word == "udp" && s.OriginPort == dns {
		word = "dns"
	}
	l.mix[word]++
	switch took := float64(s.SessionEndTime-s.SessionStartTime) / 1e9; {
	case took <= 0:
	case word == "tcp":
		l.holding = append(l.holding, took)
	default:
		l.untilIdle = append(l.untilIdle, took)
	}
	if s.BytesReceived > 0 {
		l.size = append(l.size, float64(s.BytesReceived))
	}
	switch s.ConnectionCloseReason {
	case "CLIENT_CLOSED":
		l.client++
		l.closed++
	case "ORIGIN_CLOSED":
		l.closed++
	}
}

// print writes the workload.
func (l *logged) print(out io.Writer) error {
	holding, err := load.Fit(l.holding)
	if err != nil {
		return fmt.Errorf("times of sessions: %w", err)
	}
	size, err := load.Fit(l.size)
	if err != nil {
		return fmt.Errorf("bytes received: %w", err)
	}
	fmt.Fprintf(out, "# of %d sessions, %d of them refused\nworkload:\n  - id: fitted\n    from: population\n    to: internet\n", l.all, l.refused)
	if took := float64(l.to-l.from) / 1e9; took > 0 {
		fmt.Fprintf(out, "    rate: %.4g  # of all clients together: divide by their number\n", float64(l.all-1)/took)
	}
	var words []string
	for w := range l.mix {
		words = append(words, w)
	}
	slices.Sort(words)
	for i, w := range words {
		words[i] = fmt.Sprintf("%s: %.4g", w, float64(l.mix[w])/float64(l.all-l.refused))
	}
	fmt.Fprintf(out, "    mix: {%s}\n", strings.Join(words, ", "))
	for _, d := range []struct {
		word  string
		fits  []load.Fitted
		write func(load.Fitted) string
	}{
		{"size", size, func(f load.Fitted) string { return load.Bytes(f.Draw) }},
		{"holding", holding, func(f load.Fitted) string { return load.Seconds(f.Draw) }},
	} {
		fmt.Fprintf(out, "    %s: %s  # distance %.3f\n", d.word, d.write(d.fits[0]), d.fits[0].Distance)
		for _, f := range d.fits[1:] {
			fmt.Fprintf(out, "    # or %s, distance %.3f\n", d.write(f), f.Distance)
		}
	}
	who := "either"
	switch share := float64(l.client) / float64(max(l.closed, 1)); {
	case share > 0.75:
		who = "client"
	case share < 0.25 && l.closed > 0:
		who = "server"
	}
	_, err = fmt.Fprintf(out, "    close: %s\n", who)
	return err
}

// writeShares writes lines of a value and the share of those that are not greater.
func writeShares(path string, values []float64) error {
	values = slices.Sorted(slices.Values(values))
	var b strings.Builder
	for i, v := range values {
		if i+1 < len(values) && values[i+1] == v {
			continue
		}
		fmt.Fprintf(&b, "%g %g\n", v, float64(i+1)/float64(len(values)))
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		return usagef("--cdf: %w", err)
	}
	return nil
}
