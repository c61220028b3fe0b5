package labbench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Links in a round: moving one takes tens of milliseconds.
const (
	placed = 40
	moved  = 4
)

// wiringRow is what a link costs to make, with each end in its place from the
// first moment, beside the way of most labs: made where the maker is, then moved.
func (b *Bench) wiringRow(ctx context.Context) (figure.Row, error) {
	var place, move []float64
	sound := true
	for range b.Rounds {
		if err := ctx.Err(); err != nil {
			return figure.Row{}, err
		}
		err := spaces(3, func(all []*netns.NS) error {
			took, err := inPlace(ctx, all[0], all[1])
			if err != nil {
				return err
			}
			place = append(place, took)
			took, err = thenMove(all[2], all[0], all[1])
			move = append(move, took)
			if err != nil {
				return err
			}
			up, err := carriers(all[:2])
			sound = sound && up == 2*(placed+moved)
			return err
		})
		if err != nil {
			return figure.Row{}, err
		}
	}
	r := figure.Cost("lab.wiring_vs_move", median(place), "µs a link")
	return r.Beside("create, then move", median(move)).Times(goalWiring).Checked(sound), nil
}

// carriers is how many ends of links there are that can carry packets.
func carriers(spaces []*netns.NS) (up int, err error) {
	for _, ns := range spaces {
		err := ns.Do(func() error {
			links, err := netlink.LinkList()
			for _, l := range links {
				if l.Type() == "veth" && l.Attrs().RawFlags&unix.IFF_LOWER_UP != 0 {
					up++
				}
			}
			return err
		})
		if err != nil {
			return up, err
		}
	}
	return up, nil
}

// spaces runs f with so many fresh namespaces.
func spaces(n int, f func([]*netns.NS) error) (err error) {
	var all []*netns.NS
	defer func() {
		for _, ns := range all {
			err = errors.Join(err, ns.Close())
		}
	}()
	for range n {
		ns, err := netns.New()
		if err != nil {
			return err
		}
		all = append(all, ns)
	}
	return f(all)
}

// inPlace is what a link costs as the lab makes it, µs.
func inPlace(ctx context.Context, a, b *netns.NS) (float64, error) {
	var began, took time.Duration
	start := time.Now()
	err := wire.Build(ctx, pair(placed, spec.Impairment{}), func(t *netns.Thread, i int) (*netns.NS, error) {
		ns := []*netns.NS{a, b}[i]
		return ns, t.Enter(ns)
	}, func(stage string, done, total int) {
		switch {
		case stage == wire.StageNodes && done == total:
			began = time.Since(start)
		case stage == wire.StageLinks && done == total:
			took = time.Since(start) - began
		}
	})
	return float64(took) / placed / 1e3, err
}

// thenMove is what a link costs that is made in a third namespace, both ends of
// it moved where they belong, and raised there, µs.
func thenMove(home, a, b *netns.NS) (float64, error) {
	start := time.Now()
	for i := range moved {
		names := [2]string{fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i)}
		err := home.Do(func() error {
			link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: names[0]}, PeerName: names[1]}
			if err := netlink.LinkAdd(link); err != nil {
				return err
			}
			for end, ns := range []*netns.NS{a, b} {
				l, err := netlink.LinkByName(names[end])
				if err != nil {
					return err
				}
				if err := netlink.LinkSetNsFd(l, ns.Fd()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return 0, fmt.Errorf("create, then move: %w", err)
		}
		for end, ns := range []*netns.NS{a, b} {
			err := ns.Do(func() error {
				l, err := netlink.LinkByName(names[end])
				if err != nil {
					return err
				}
				return netlink.LinkSetUp(l)
			})
			if err != nil {
				return 0, fmt.Errorf("create, then move: %w", err)
			}
		}
	}
	return float64(time.Since(start)) / moved / 1e3, nil
}
