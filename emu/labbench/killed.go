package labbench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/reports/figure"
)

// killedPatience bounds the wait for the kernel to take a killed lab down.
const killedPatience = 30 * time.Second

// emptyWord asks for nodes with nothing in them.
const emptyWord = "empty"

// StarMain is the life of a process that is to be killed: it brings up a star of
// as many nodes as args say, says on out how long that took, and waits for the end
// of in.
func StarMain(in io.Reader, out io.Writer, args []string) (err error) {
	nodes, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("nodes of a star: %w", err)
	}
	p := star(nodes)
	if slices.Contains(args, emptyWord) {
		p.Links = nil
	}
	began := time.Now()
	l, err := keeper.Up(context.Background(), p, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	took := milliseconds(began)
	if err := l.Watch(); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, "up", took/1e3); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// killedRows are what the kernel takes to clear up behind a keeper that was
// killed, beside what that keeper took to bring its lab up; and, as what no lab can
// be faster than, behind one of as many namespaces with nothing in them.
//
// The kernel cleans up in rounds, each of which waits for all processors twice, some
// 30 ms at 250 ticks a second. The first one begins some 30 µs after the first
// namespace has nobody left, and a hundred take 200 µs to be let go: the others wait
// for a second round, unless the machine is busy and begins the first one late.
func (b *Bench) killedRows(ctx context.Context, nodes int) ([]figure.Row, error) {
	dying := func(words ...string) kind {
		return func(ctx context.Context, nodes int) (life, error) { return b.killed(ctx, nodes, words) }
	}
	all, err := compete(ctx, nodes, b.Rounds, []kind{dying(), dying(emptyWord)})
	if err != nil {
		return nil, fmt.Errorf("kill a lab: %w", err)
	}
	whole, empty := all[0], all[1]
	id := "lab.killed" + strconv.Itoa(nodes)
	r := figure.Cost(id+"_ms", whole.of(downTime), "ms")
	return []figure.Row{
		r.Beside("its own up time", whole.of(upTime)).Times(1).Checked(true), // or there was an error
		figure.Cost(id+"_empty_ms", empty.of(downTime), "ms"),
	}, nil
}

// killed is one such life. The process is started in a namespace of ours, in
// which it numbers those of its lab: so we see them go.
func (b *Bench) killed(ctx context.Context, nodes int, words []string) (one life, err error) {
	space, err := netns.New()
	if err != nil {
		return one, err
	}
	defer func() { err = errors.Join(err, space.Close()) }()
	cmd := exec.CommandContext(ctx, b.Pump.Exe, slices.Concat(b.Star, []string{strconv.Itoa(nodes)}, words)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return one, err
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return one, err
	}
	if err := space.Do(cmd.Start); err != nil {
		return one, err
	}
	one.up, err = seconds(bufio.NewReader(out), "up")
	if err == nil {
		one.links, err = keeper.AliveIn(space)
	}
	if err == nil && one.links == 0 {
		err = errors.New("there is none of its namespaces")
	}
	began := time.Now()
	if err := errors.Join(err, cmd.Process.Kill()); err != nil {
		return one, errors.Join(err, cmd.Wait())
	}
	_ = cmd.Wait() // killed
	err = keeper.Gone(space, killedPatience)
	one.down = milliseconds(began)
	return one, err
}
