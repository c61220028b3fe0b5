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

// StarMain is the life of a process that is to be killed: it brings up a star of
// so many nodes, says on out how long that took, and waits for the end of in.
func StarMain(in io.Reader, out io.Writer, nodes int) (err error) {
	began := time.Now()
	l, err := keeper.Up(context.Background(), star(nodes), nil)
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

// killedRow is what the kernel takes to clear up behind a keeper that was
// killed, beside what that keeper took to bring its lab up.
func (b *Bench) killedRow(ctx context.Context, nodes int) (r figure.Row, err error) {
	var lives lives
	for range b.Rounds {
		one, err := b.killed(ctx, nodes)
		if err != nil {
			return r, fmt.Errorf("kill a lab: %w", err)
		}
		lives = append(lives, one)
	}
	r = figure.Cost("lab.killed"+strconv.Itoa(nodes)+"_ms", lives.of(downTime), "ms")
	return r.Beside("its own up time", lives.of(upTime)).Times(1).Checked(true), nil // or there was an error
}

// killed is one such life. The process is started in a namespace of ours, in
// which it numbers those of its lab: so we see them go.
func (b *Bench) killed(ctx context.Context, nodes int) (one life, err error) {
	space, err := netns.New()
	if err != nil {
		return one, err
	}
	defer func() { err = errors.Join(err, space.Close()) }()
	cmd := exec.CommandContext(ctx, b.Pump.Exe, slices.Concat(b.Star, []string{strconv.Itoa(nodes)})...)
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
