package labbench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/reports/figure"
)

// killedPatience bounds the wait for the kernel to take a killed lab down.
const killedPatience = 30 * time.Second

// rest is how long a lab is up before it is killed. Of one that is killed the moment it
// is up, the kernel's clean-up begins 3 to 10 ms later than of one at rest.
const rest = 50 * time.Millisecond

// StarMain is the life of a process that is to be killed: it brings up a star of
// as many nodes as args say, says on out how long that took, and waits for the end
// of in.
func StarMain(in io.Reader, out io.Writer, args []string) (err error) {
	nodes, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("nodes of a star: %w", err)
	}
	began := time.Now()
	l, err := keeper.Up(context.Background(), star(nodes), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	took := milliseconds(began)
	if err := errors.Join(l.Watch(), watchLinks(l)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, "up", took/1e3); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// watchLinks makes a link from the calling process' namespace into every tenth node:
// it goes when the kernel takes the links of that node, and of all that it clears up
// behind together with it.
func watchLinks(l *keeper.Lab) error {
	for i, id := range l.Nodes() {
		if i%10 != 0 {
			continue
		}
		link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "w" + strconv.Itoa(i)}, PeerName: "w", PeerNamespace: netlink.NsFd(l.NS(id).Fd())}
		if err := netlink.LinkAdd(link); err != nil {
			return fmt.Errorf("watch the links of %s: %w", id, err)
		}
	}
	return nil
}

// linksGone waits until the links of watchLinks are gone from space: what is left
// then is the loopback interface.
func linksGone(space *netns.NS, patience time.Duration) error {
	return space.Do(func() error {
		for limit := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			links, err := net.Interfaces()
			if err != nil || len(links) <= 1 {
				return err
			}
			if time.Now().After(limit) {
				return fmt.Errorf("%d links still exist after %v", len(links)-1, patience)
			}
		}
	})
}

// killedRows are what is behind a keeper that was killed: how long anything of its
// lab can still be found, a process, a namespace or a link, beside what that keeper
// took to bring it up; and how long the kernel goes on to clear up.
//
// That cleans up in rounds. One takes two waits of some 15 ms each, until all processors
// have run what was put off (rcu_barrier, at 250 ticks a second), and what its links take,
// 10 ms for a hundred. The first round begins some 30 µs after the first namespace has
// nobody left, and a hundred take 200 µs to be let go: the others wait for a second round.
// Where the kernel's worker happens to begin later there is one, and all is gone in half
// the time. So the floor is what an empty namespace takes: lab.down1_ms.
func (b *Bench) killedRows(ctx context.Context, nodes int) ([]figure.Row, error) {
	all, err := compete(ctx, nodes, b.Rounds, []kind{b.killed})
	if err != nil {
		return nil, fmt.Errorf("kill a lab: %w", err)
	}
	id := "lab.killed" + strconv.Itoa(nodes)
	r := figure.Cost(id+"_ms", all[0].of(downTime), "ms")
	return []figure.Row{
		r.Beside("its own up time", all[0].of(upTime)).Times(1).Checked(true), // or there was an error
		figure.Cost(id+"_settled_ms", all[0].of(settledTime), "ms"),
	}, nil
}

// killed is one such life. The process is started in a namespace of ours, in
// which it numbers those of its lab, and to which it links them: so we see them go.
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
	time.Sleep(rest)
	began := time.Now()
	if err := errors.Join(err, cmd.Process.Kill()); err != nil {
		return one, errors.Join(err, cmd.Wait())
	}
	_ = cmd.Wait() // killed
	err = errors.Join(keeper.Gone(space, killedPatience), linksGone(space, killedPatience))
	one.down = milliseconds(began)
	err = errors.Join(err, keeper.Settled(space))
	one.settled = milliseconds(began)
	return one, err
}
