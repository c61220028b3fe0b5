package pathbench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Goals: shares of plain routing over as many links, with 1 and
// with 4 streams.
var (
	goalBulk    = map[int]float64{1: 0.95, 4: 0.9}
	goalHubBulk = map[int]float64{1: 0.45, 4: 0.33}
)

// path is a client and a server at the ends of one.
type path struct {
	name     string
	from, to *netns.NS
	target   netip.AddrPort
	port     uint16 // the client's first
	closers  closers
	gbits    map[int][]float64 // by streams
	equal    bool
}

// bulkPort is where the server of the transfers listens.
const bulkPort = 5001

// bulkRows are what TCP reaches from a branch to an origin.
func (b *Bench) bulkRows(ctx context.Context) (rows []figure.Row, err error) {
	var paths []*path
	defer func() {
		for _, p := range paths {
			err = errors.Join(err, p.closers.close())
		}
	}()
	lacks := map[string]string{}
	for _, open := range []struct {
		name string
		up   func() (*path, error)
	}{
		{"route", func() (*path, error) { return b.chain(ctx) }},
		{"diy", func() (*path, error) { return b.lab(ctx, "diy", run.NFTables) }},
		{"hub", func() (*path, error) { return b.lab(ctx, "hub", run.Hub) }},
		{"ebpf", func() (*path, error) { return b.lab(ctx, "ebpf", run.EBPF) }},
	} {
		p, err := open.up()
		switch {
		case err != nil && run.Lacks(err):
			lacks[open.name] = err.Error()
		case err != nil:
			return nil, fmt.Errorf("%s: %w", open.name, err)
		default:
			paths = append(paths, p)
		}
	}
	for range b.Rounds {
		for _, streams := range []int{1, 4} {
			for _, p := range paths {
				rate, err := p.transfer(streams, b.Length)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", p.name, err)
				}
				p.gbits[streams] = append(p.gbits[streams], rate)
			}
		}
	}
	by := map[string]*path{}
	for _, p := range paths {
		by[p.name] = p
	}
	for _, streams := range []int{1, 4} {
		for _, c := range []struct {
			id, name string
			least    float64
		}{{"arr", "ebpf", goalBulk[streams]}, {"hub", "hub", goalHubBulk[streams]}, {"diy", "diy", 0}} {
			if p, base := by[c.name], by["route"]; p != nil && base != nil {
				rows = append(rows, figure.Rate(fmt.Sprintf("dataplane.%s_tcp%d_vs_route", c.id, streams), median(p.gbits[streams]), "Gbit/s").
					Beside("plain kernel routing over as many links", median(base.gbits[streams])).Times(c.least).Checked(p.equal && base.equal))
			}
		}
	}
	return rows, nil
}

// lab is the whole network with servers of that kind, two of them, so that what
// lands at one may be at home on the other.
func (b *Bench) lab(ctx context.Context, name string, d run.Dataplane) (*path, error) {
	p, err := b.Compile(2)
	if err != nil {
		return nil, err
	}
	quiet(p)
	o := b.Lab
	o.Dataplane, o.Unwatched = d, true
	if d == run.NFTables {
		if o.Script, err = b.Script(p); err != nil {
			return nil, err
		}
	}
	lab, err := run.Up(ctx, p, &record.Memory{}, o)
	if err != nil {
		return nil, err
	}
	w := newPath(name, lab.NS("shop.1.till"), lab.NS("web"), netip.AddrPortFrom(p.Services[0].Address, bulkPort))
	w.closers = append(w.closers, lab.Down)
	if err := w.listen(); err != nil {
		return nil, errors.Join(err, w.closers.close())
	}
	if d != run.NFTables {
		if err := w.across(ctx, lab); err != nil {
			return nil, errors.Join(err, w.closers.close())
		}
	}
	return w, nil
}

func newPath(name string, from, to *netns.NS, target netip.AddrPort) *path {
	return &path{name: name, from: from, to: to, target: target, port: 40000, gbits: map[int][]float64{}, equal: true}
}

// across chooses a port of the client's whose flow is handed over: the server
// that its packets land at is not its home.
func (w *path) across(ctx context.Context, lab *run.Lab) error {
	handed := func() (n uint64, err error) {
		looks, err := lab.Look(ctx)
		for _, l := range looks {
			n += l.Counters.HandedOver
		}
		return n, err
	}
	const tries = 32
	for range tries {
		before, err := handed()
		if err != nil {
			return err
		}
		if _, err := w.transfer(1, 10*time.Millisecond); err != nil {
			return err
		}
		after, err := handed()
		if err != nil || after > before+8 { // more than a reply that took the other way
			return err
		}
		w.port++
	}
	return fmt.Errorf("none of %d flows was handed over", tries)
}

// listen serves transfers: it reads what comes and says at the end how much.
func (w *path) listen() error {
	return w.to.Do(func() error {
		l, err := quietly(net.ListenConfig{}).Listen(context.Background(), "tcp4", w.target.String())
		if err != nil {
			return err
		}
		w.closers = append(w.closers, l.Close)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					n, _ := io.Copy(io.Discard, c)
					fmt.Fprintf(c, "%d\n", n)
				}()
			}
		}()
		return nil
	})
}

// quietly keeps a listener plain TCP: an MPTCP one cannot be had everywhere.
func quietly(c net.ListenConfig) *net.ListenConfig {
	c.SetMultipathTCP(false)
	return &c
}

// transfer sends for so long over so many connections and returns the rate at
// which all of it arrived, Gbit/s.
func (w *path) transfer(streams int, length time.Duration) (float64, error) {
	var wait sync.WaitGroup
	var total atomic.Int64
	errs := make([]error, streams)
	start := time.Now()
	for i := range streams {
		wait.Go(func() {
			n, err := w.stream(w.port+uint16(i), start.Add(length))
			total.Add(n)
			errs[i] = err
		})
	}
	wait.Wait()
	return float64(total.Load()) * 8 / float64(time.Since(start)), errors.Join(errs...)
}

// chunk is what one write carries.
const chunk = 256 << 10

func (w *path) stream(port uint16, end time.Time) (sent int64, err error) {
	var c net.Conn
	err = w.from.Do(func() (err error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{Port: int(port)}, Timeout: 5 * time.Second, Control: reuse}
		d.SetMultipathTCP(false)
		c, err = d.Dial("tcp4", w.target.String())
		return err
	})
	if err != nil {
		return 0, err
	}
	tcp := c.(*net.TCPConn)
	defer tcp.Close()
	if err := tcp.SetLinger(0); err != nil { // the port is free again at once
		return 0, err
	}
	buffer := make([]byte, chunk)
	for time.Now().Before(end) {
		n, err := tcp.Write(buffer)
		sent += int64(n)
		if err != nil {
			return sent, err
		}
	}
	if err := tcp.CloseWrite(); err != nil {
		return sent, err
	}
	var got int64
	if err := tcp.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return sent, err
	}
	if _, err := fmt.Fscanf(tcp, "%d\n", &got); err != nil || got != sent {
		return sent, fmt.Errorf("sent %d bytes, %d arrived (%w)", sent, got, err)
	}
	return sent, nil
}

// reuse lets a port be used again, and has the congestion control be the same in
// every namespace.
func reuse(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
			unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno"))
	})
	return errors.Join(err, failed)
}

// chain is as many links as the lab's path has, and routers that only route: no
// rule, no table but the main one.
func (b *Bench) chain(ctx context.Context) (*path, error) {
	const routers = 6 // branch, transit, edge, server, edge again, transit again
	server := netip.MustParseAddr("203.0.113.9")
	p := &plan.Plan{Scenario: "chain", Seed: 1}
	add := func(id string, kind plan.Kind, forward bool) {
		p.Nodes = append(p.Nodes, plan.Node{ID: id, Kind: kind, Forward: forward})
	}
	add("n0", plan.KindHost, false)
	for i := 1; i <= routers; i++ {
		add(fmt.Sprintf("n%d", i), plan.KindTransit, true)
	}
	add(fmt.Sprintf("n%d", routers+1), plan.KindHost, false)
	for i := range routers + 1 {
		near, far := netip.AddrFrom4([4]byte{198, 18, byte(i), 0}), netip.AddrFrom4([4]byte{198, 18, byte(i), 1})
		l := plan.Link{ID: fmt.Sprintf("l%d", i), MTU: 1500}
		l.A = plan.Endpoint{Node: p.Nodes[i].ID, Interface: "right", MAC: net.HardwareAddr{2, 1, 0, 0, 0, byte(i)}, Addresses: []netip.Prefix{netip.PrefixFrom(near, 31)}, Neighbors: []netip.Addr{far}}
		l.B = plan.Endpoint{Node: p.Nodes[i+1].ID, Interface: "left", MAC: net.HardwareAddr{2, 2, 0, 0, 0, byte(i)}, Addresses: []netip.Prefix{netip.PrefixFrom(far, 31)}, Neighbors: []netip.Addr{near}}
		if i == routers {
			l.B.Addresses = append(l.B.Addresses, netip.PrefixFrom(server, 32))
		}
		p.Nodes[i].Routes = append(p.Nodes[i].Routes, plan.KernelRoute{To: netip.PrefixFrom(server, 32), Hops: []plan.Hop{{Interface: "right", Via: far}}})
		if i > 0 { // the first router is on the client's link
			p.Nodes[i+1].Routes = append(p.Nodes[i+1].Routes, plan.KernelRoute{To: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, 0, 0}), 31), Hops: []plan.Hop{{Interface: "left", Via: near}}})
		}
		p.Links = append(p.Links, l)
	}
	lab, err := keeper.Up(ctx, p, nil)
	if err != nil {
		return nil, err
	}
	w := newPath("route", lab.NS("n0"), lab.NS(p.Nodes[routers+1].ID), netip.AddrPortFrom(server, bulkPort))
	w.closers = append(w.closers, lab.Close)
	return w, w.listen()
}
