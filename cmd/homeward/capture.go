//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/homeward-lab/homeward/emu/control"
)

type captureFlags struct {
	write  string
	filter string
	snap   int
	count  int
	limit  time.Duration
}

func newCapture() *cobra.Command {
	var f captureFlags
	c := &cobra.Command{
		Use: "capture [LAB] [NODE[:INTERFACE]...] -w FILE", Short: "Record packets of any interfaces into one pcapng file", GroupID: "lab", Args: cobra.ArbitraryArgs,
		Long: `Capture records what passes at interfaces, each by its name, into one file until
Ctrl-C, --count or --time. NODE is all interfaces of a node; without any, every
packet of the lab is recorded once per hop. -w - writes as packets pass, for
Wireshark or tshark. Packets are the kernel's: a superpacket is one packet.

--filter is tcpdump's language and looks at the outer headers; it needs tcpdump,
which compiles it.`,
		Example: `  sudo homeward capture overlapping_branches -w all.pcapng
  sudo homeward capture overlapping_branches shop.1.router:gre1 lhr.1 -w - | wireshark -k -i -
  sudo homeward capture web -w web.pcapng --filter 'tcp port 443' --count 100`,
		ValidArgsFunction: completeLabThen(0, pointCompletions),
		RunE:              func(cmd *cobra.Command, args []string) error { return captureInto(cmd, args, f) },
	}
	fl := c.Flags()
	fl.StringVarP(&f.write, "write", "w", "", "file to write; - is standard output")
	fl.StringVar(&f.filter, "filter", "", "only packets that match, in tcpdump's language")
	fl.IntVar(&f.snap, "snap", 0, "bytes kept of each packet (default all)")
	fl.IntVar(&f.count, "count", 0, "end after so many packets")
	fl.DurationVar(&f.limit, "time", 0, "end after this long")
	_ = c.MarkFlagRequired("write")
	_ = c.MarkFlagFilename("write", "pcapng")
	return c
}

func pointCompletions(n control.Names) []cobra.Completion {
	all := nodeCompletions(n)
	for _, node := range n.Nodes {
		for _, face := range node.Interfaces {
			all = append(all, node.ID+":"+face)
		}
	}
	return all
}

// captureInto runs a capture. The file is opened here, with the caller's rights and
// directory, and emptied and written by the keeper.
func captureInto(cmd *cobra.Command, args []string, f captureFlags) error {
	if f.snap < 0 || f.count < 0 || f.limit < 0 {
		return usagef("--snap, --count and --time must not be negative")
	}
	lab, rest, err := labAndRest(cmd, args)
	if err != nil {
		return err
	}
	asked := control.CaptureArgs{Snap: f.snap, Count: f.count}
	for _, r := range rest {
		node, face, _ := strings.Cut(r, ":")
		asked.Points = append(asked.Points, control.Point{Node: node, Interface: face})
	}
	if f.filter != "" {
		if asked.Filter, err = compileFilter(f.filter); err != nil {
			return err
		}
		asked.Expression = f.filter
	}
	file := os.Stdout
	if f.write == "-" {
		if term.IsTerminal(int(file.Fd())) {
			return usagef("-w - writes packets, and standard output is a terminal: pipe it, as in | wireshark -k -i -")
		}
	} else {
		if file, err = os.OpenFile(f.write, os.O_RDWR|os.O_CREATE, 0o666); err != nil {
			return usagef("-w: %w", err)
		}
		defer file.Close()
	}
	done, err := recordInto(cmd, lab, asked, f, file)
	if err != nil {
		if st, e := file.Stat(); e == nil && st.Mode().IsRegular() && st.Size() == 0 {
			_ = os.Remove(f.write) // nothing came into it
		}
		return refusal(err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s written", count(int(done.Packets), "packet"))
	if done.Dropped > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), ", %d more missed: the reader was too slow", done.Dropped)
	}
	fmt.Fprintln(cmd.ErrOrStderr())
	return nil
}

// recordInto asks the keeper, and ends the recording with the first signal or
// when its time is over.
func recordInto(cmd *cobra.Command, lab *control.Lab, asked control.CaptureArgs, f captureFlags, file *os.File) (done control.Captured, err error) {
	lend(cmd.Context())
	signals, stop := passSignals()
	defer stop()
	end := make(chan any)
	finished := make(chan struct{})
	defer close(finished)
	go func() {
		var over <-chan time.Time
		if f.limit > 0 {
			over = time.After(f.limit)
		}
		for {
			select {
			case s := <-signals:
				if !endsCapture(s) {
					continue
				}
			case <-over:
			case <-finished:
				return
			}
			select {
			case end <- struct{}{}:
			case <-finished:
				return
			}
		}
	}()
	err = lab.Call(cmd.Context(), control.Ask{Do: control.DoCapture, Args: asked, Files: []*os.File{file}, Tell: end, Each: func(raw json.RawMessage) error {
		if err := json.Unmarshal(raw, &done); err != nil {
			return err
		}
		if done.Listening && f.write != "-" {
			fmt.Fprintln(cmd.ErrOrStderr(), "recording; Ctrl-C ends it")
		}
		return nil
	}})
	return done, err
}

// endsCapture says whether a signal is meant to end things.
func endsCapture(line any) bool {
	s, ok := line.(control.Signal)
	return ok && s.Signal < 16 // not a window's new size
}

// compileFilter has tcpdump compile an expression to classic BPF.
func compileFilter(expression string) ([]control.Instruction, error) {
	path, err := exec.LookPath("tcpdump")
	if err != nil {
		return nil, lackingf("--filter needs tcpdump, which compiles it: install tcpdump, or record everything and filter later")
	}
	var out, said bytes.Buffer
	cmd := exec.Command(path, "-y", "EN10MB", "-ddd", expression)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(said.String()), "tcpdump: "))
		return nil, usagef("--filter %s: %s", expression, text)
	}
	var n int
	if _, err := fmt.Fscan(&out, &n); err != nil || n < 1 {
		return nil, judgeless(fmt.Errorf("--filter: tcpdump's program cannot be read: %q", out.String()))
	}
	program := make([]control.Instruction, n)
	var bad error
	for i := range program {
		in := &program[i]
		_, err := fmt.Fscan(&out, &in.Code, &in.Jt, &in.Jf, &in.K)
		bad = errors.Join(bad, err)
	}
	if bad != nil {
		return nil, judgeless(fmt.Errorf("--filter: tcpdump's program cannot be read: %w", bad))
	}
	return program, nil
}
