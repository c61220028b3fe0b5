package pathbench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/reports/record"
)

// Goals: shares of plain routing over as many links, with 1 and
// with 4 streams.
var (
	goalBulk    = map[int]float64{1: 0.95, 4: 0.9}
	goalHubBulk = map[int]float64{1: 0.45, 4: 0.33}
	goalOnRamp  = map[int]float64{1: 0.9}
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

// course is one way for transfers to go.
type course struct {
	name string
	up   func(ctx context.Context, b *Bench) (*path, error)
	// streams are how many connections at once are measured.
	streams []int
}

var one, oneAndFour = []int{1}, []int{1, 4}

// courses are all ways; those that lead through labs are handed over on their way,
// but for direct.
func courses() []course {
	through := func(name string, d run.Dataplane, handed, peer bool) func(context.Context, *Bench) (*path, error) {
		return func(ctx context.Context, b *Bench) (*path, error) { return b.lab(ctx, name, d, handed, peer) }
	}
	return []course{
		{"route", chain{routers: labRouters}.open, oneAndFour},
		{"often", chain{routers: labCrossings - 1}.open, oneAndFour},
		{"masquerade", chain{routers: labRouters, server: translate}.open, oneAndFour},
		{"redirect", chain{routers: labRouters, server: redirect}.open, oneAndFour},
		{"copies", chain{routers: labCrossings - 1, server: copyOn(serverNode, serverNode+1)}.open, oneAndFour},
		{"diy", through("diy", run.NFTables, false, false), oneAndFour},
		{"hub", through("hub", run.Hub, true, false), oneAndFour},
		{"ebpf", through("ebpf", run.EBPF, true, false), oneAndFour},
		{"ebpf_peer", through("ebpf_peer", run.EBPF, true, true), oneAndFour},
		{"direct", through("direct", run.EBPF, false, false), one},
		{"short", chain{routers: tunnelRouters}.open, one},
		{"onramp", chain{routers: tunnelRouters, tunnel: true}.open, one},
	}
}

// compared is a row of transfers.
type compared struct {
	id, name, base, what string
	least                map[int]float64
}

func comparisons() []compared {
	const plain = "plain kernel routing over as many links"
	return []compared{
		{"arr", "ebpf", "route", plain, goalBulk},
		{"arr_peer", "ebpf_peer", "route", plain, nil},
		{"arr", "ebpf", "often", "plain kernel routing over as many links as the hand-over crosses", nil},
		{"hub", "hub", "route", plain, goalHubBulk},
		{"hub_io", "copies", "route", plain, nil},
		{"diy", "diy", "route", plain, nil},
		{"masquerade", "masquerade", "route", plain, nil},
		{"redirect", "redirect", "route", plain, nil},
		{"handover", "ebpf", "direct", "the same, at home where it lands", nil},
		{"onramp", "onramp", "short", plain, goalOnRamp},
	}
}

// row is a comparison's with so many streams.
func (c *compared) row(of, base *path, streams int) figure.Row {
	id := fmt.Sprintf("dataplane.%s_tcp%d_vs_%s", c.id, streams, c.base)
	if c.base == "short" {
		id = "dataplane.onramp_tcp_vs_route"
	}
	return figure.Rate(id, median(of.gbits[streams]), "Gbit/s").Beside(c.what, median(base.gbits[streams])).Times(c.least[streams]).Checked(of.equal && base.equal)
}

// bulkRows are what TCP reaches from a branch to an origin.
func (b *Bench) bulkRows(ctx context.Context) (rows []figure.Row, err error) {
	by := map[string]*path{}
	defer func() {
		for _, p := range by {
			err = errors.Join(err, p.closers.close())
		}
	}()
	for _, c := range courses() {
		p, err := c.up(ctx, b)
		switch {
		case err != nil && run.Lacks(err): // the rows are not there then
		case err != nil:
			return nil, fmt.Errorf("%s: %w", c.name, err)
		default:
			by[c.name] = p
		}
	}
	for range b.Rounds {
		for _, streams := range oneAndFour {
			for _, c := range courses() {
				p := by[c.name]
				if p == nil || !slices.Contains(c.streams, streams) {
					continue
				}
				rate, err := p.transfer(streams, b.Length)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", c.name, err)
				}
				p.gbits[streams] = append(p.gbits[streams], rate)
			}
		}
	}
	for _, streams := range oneAndFour {
		for _, c := range comparisons() {
			if of, base := by[c.name], by[c.base]; of != nil && base != nil && len(of.gbits[streams]) > 0 && len(base.gbits[streams]) > 0 {
				rows = append(rows, c.row(of, base, streams))
			}
		}
	}
	return rows, nil
}

// lab is the whole network with servers of that kind, two of them, so that what
// lands at one may be at home on the other; handed says whether it should, peer
// whether servers pass by the queues of their links, which nothing shapes here.
func (b *Bench) lab(ctx context.Context, name string, d run.Dataplane, handed, peer bool) (*path, error) {
	p, err := b.Compile(2)
	if err != nil {
		return nil, err
	}
	quiet(p)
	o := b.Lab
	o.Dataplane, o.Unwatched, o.Peer = d, true, peer
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
		if err := w.choose(ctx, lab, handed); err != nil {
			return nil, errors.Join(err, w.closers.close())
		}
	}
	return w, nil
}

func newPath(name string, from, to *netns.NS, target netip.AddrPort) *path {
	return &path{name: name, from: from, to: to, target: target, port: 40000, gbits: map[int][]float64{}, equal: true}
}

// choose chooses a port of the client's whose data is handed over, because the
// server that it lands at is not its home; or for which nothing is.
func (w *path) choose(ctx context.Context, lab *run.Lab, handed bool) error {
	const tries = 64
	for range tries {
		before, err := totals(ctx, lab)
		if err != nil {
			return err
		}
		if _, err := w.transfer(1, 10*time.Millisecond); err != nil {
			return err
		}
		after, err := totals(ctx, lab)
		if err != nil {
			return err
		}
		over, data := after.HandedOver-before.HandedOver, after.Forwarded-before.Forwarded
		if handed && over >= data && data > 0 || !handed && over == 0 {
			return nil
		}
		w.port++
	}
	return fmt.Errorf("of %d flows none was one whose being handed over is %v", tries, handed)
}

// totals are the counters of all servers.
func totals(ctx context.Context, lab *run.Lab) (all hub.Counters, err error) {
	looks, err := lab.Look(ctx)
	for _, l := range looks {
		all.HandedOver += l.Counters.HandedOver
		all.Forwarded += l.Counters.Forwarded
	}
	return all, err
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
	for more := true; more; more = time.Now().Before(end) { // something, however late
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
