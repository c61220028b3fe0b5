package labbench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Goals: how many times faster than mininet.
const (
	goalUp100        = 25
	goalUp1000       = 15
	goalUpProcess100 = 10
	goalDown100      = 20
)

// life is what a lab took, and how many of its links carry packets.
type life struct {
	up, down float64 // ms
	settled  float64 // ms, of a lab that was killed
	links    int
}

// kind is a way to bring up a star of so many nodes.
type kind func(ctx context.Context, nodes int) (life, error)

type lives []life

func (l lives) of(get func(life) float64) float64 {
	v := make([]float64, len(l))
	for i := range l {
		v[i] = get(l[i])
	}
	return median(v)
}

// whole says whether every link of every life carried packets.
func (l lives) whole(links int) bool {
	for _, one := range l {
		if one.links != links {
			return false
		}
	}
	return len(l) > 0
}

func upTime(l life) float64   { return l.up }
func downTime(l life) float64 { return l.down }

func settledTime(l life) float64 { return l.settled }

// labRows are labs that come up and go down, beside the same by mininet.
func (b *Bench) labRows(ctx context.Context) ([]figure.Row, error) {
	absent := noMininet()
	beside := func(all ...kind) []kind {
		if absent != "" {
			return all
		}
		return append(all, mininet)
	}
	const few, many = 100, 1000
	small, err := compete(ctx, few, b.Rounds, beside(ownStar, ownProcesses))
	if err != nil {
		return nil, err
	}
	row := func(id string, nodes int, own, other lives, get func(life) float64, goal float64) figure.Row {
		sound := own.whole(nodes - 1)
		r := figure.Cost(id, own.of(get), "ms")
		if len(other) == 0 {
			return r.Beside("mininet: "+absent, 0).Checked(sound)
		}
		return r.Beside("mininet "+mininetVersion, other.of(get)).Times(goal).Checked(sound && other.whole(nodes-1))
	}
	small = append(small, nil) // mininet's, where there is none
	rows := []figure.Row{
		row("lab.up100_vs_mininet", few, small[0], small[2], upTime, goalUp100),
		row("lab.up100_process_vs_mininet", few, small[1], small[2], upTime, goalUpProcess100),
		row("lab.down100_vs_mininet", few, small[0], small[2], downTime, goalDown100),
	}
	dead, err := b.killedRows(ctx, few)
	if rows = append(rows, dead...); err != nil {
		return rows, err
	}
	least, err := b.leastRow(ctx)
	if rows = append(rows, least); err != nil || b.Short {
		return rows, err
	}
	// Mininet takes a minute for it: fewer rounds.
	large, err := compete(ctx, many, (b.Rounds+1)/2, beside(ownStar))
	if err != nil {
		return rows, err
	}
	large = append(large, nil)
	rows = append(rows, row("lab.up1000_vs_mininet", many, large[0], large[1], upTime, goalUp1000))
	dead, err = b.killedRows(ctx, many)
	if rows = append(rows, dead...); err != nil {
		return rows, err
	}
	memory, err := namespaceMemory(ctx, many)
	return append(rows, memory), err
}

// leastRow is what the kernel takes for a namespace with nothing in it: the grace
// periods of its clean-up, of which every lab that goes waits for one round at least,
// however it ends: it is the floor of lab.killed100_ms, too.
func (b *Bench) leastRow(ctx context.Context) (figure.Row, error) {
	empty, err := compete(ctx, 1, b.Rounds, []kind{ownStar})
	if err != nil {
		return figure.Row{}, err
	}
	return figure.Cost("lab.down1_ms", empty[0].of(downTime), "ms"), nil
}

// between two lives is what the kernel may take to clear up behind the first one:
// the namespace in which its end was watched goes last, and one that goes meanwhile
// would have to wait for it.
const between = 150 * time.Millisecond

// compete runs all ways in turns.
func compete(ctx context.Context, nodes, rounds int, ways []kind) ([]lives, error) {
	all := make([]lives, len(ways))
	for range rounds {
		for i, way := range ways {
			time.Sleep(between)
			one, err := way(ctx, nodes)
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], one)
		}
	}
	return all, nil
}

// star is a plan of one router in the middle and a host at the end of each link.
func star(nodes int) *plan.Plan {
	p := &plan.Plan{Scenario: "bench", Seed: 1, Nodes: []plan.Node{{ID: "hub", Kind: plan.KindHost}}}
	for i := range nodes - 1 {
		id := "h" + strconv.Itoa(i)
		near, far := starAddresses(i)
		mac := func(side byte) net.HardwareAddr { return net.HardwareAddr{2, side, 0, 0, byte(i >> 8), byte(i)} }
		p.Nodes = append(p.Nodes, plan.Node{ID: id, Kind: plan.KindHost})
		p.Links = append(p.Links, plan.Link{
			ID: "hub-" + id, MTU: 1500,
			A: plan.Endpoint{Node: "hub", Interface: "eth" + strconv.Itoa(i), MAC: mac(1), Addresses: []netip.Prefix{netip.PrefixFrom(near, 24)}, Neighbors: []netip.Addr{far}},
			B: plan.Endpoint{Node: id, Interface: "eth0", MAC: mac(2), Addresses: []netip.Prefix{netip.PrefixFrom(far, 24)}, Neighbors: []netip.Addr{near}},
		})
	}
	return p
}

// starAddresses are those of both ends of a link of a star.
func starAddresses(i int) (hub, leaf netip.Addr) {
	at := func(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), last}) }
	return at(1), at(2)
}

func ownStar(ctx context.Context, nodes int) (life, error) { return own(ctx, nodes, nil) }

// ownProcesses starts a process in every node, as mininet does.
func ownProcesses(ctx context.Context, nodes int) (life, error) {
	return own(ctx, nodes, func(l *keeper.Lab) error {
		for _, node := range l.Nodes() {
			if err := l.Spawn(node, exec.Command("sleep", "infinity")); err != nil {
				return err
			}
		}
		return nil
	})
}

// own is a life of this project's.
func own(ctx context.Context, nodes int, then func(*keeper.Lab) error) (one life, err error) {
	p := star(nodes)
	began := time.Now()
	l, err := keeper.Up(ctx, p, nil)
	if err != nil {
		return one, err
	}
	if then != nil {
		err = then(l)
	}
	one.up = milliseconds(began)
	if err == nil {
		one.links, err = pings(nodes-1, func(leaf int, do func() error) error { return l.NS(p.Nodes[leaf+1].ID).Do(do) })
	}
	began = time.Now()
	err = errors.Join(err, l.Close())
	one.down = milliseconds(began)
	return one, err
}

func milliseconds(since time.Time) float64 { return float64(time.Since(since)) / 1e6 }

// namespaceMemory is what the kernel keeps for each namespace that is wired.
func namespaceMemory(ctx context.Context, nodes int) (r figure.Row, err error) {
	before, err := kernelMemory()
	if err != nil {
		return r, err
	}
	l, err := keeper.Up(ctx, star(nodes), nil)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	after, err := kernelMemory()
	return figure.Cost("lab.namespace_bytes", float64(after-before)/float64(nodes), "bytes"), err
}

// kernelMemory is what the kernel itself uses, bytes.
func kernelMemory() (n int64, err error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "Slab", "Percpu", "VmallocUsed", "KernelStack", "PageTables":
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("meminfo %q: %w", line, err)
			}
			n += kib << 10
		}
	}
	return n, nil
}
