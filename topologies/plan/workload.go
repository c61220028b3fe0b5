package plan

import (
	"cmp"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const (
	// datagram is what a UDP flow of a workload has in one packet: what fits
	// everywhere (RFC 9000 14).
	datagram = 1200
	// Others say little.
	smallDatagram = 64
	maxDatagrams  = 10_000
)

// workPort is where the flows of a workload's protocol go.
func workPort(word string) (Proto, uint16) {
	switch word {
	case "udp":
		return UDP, 443
	case "dns":
		return UDP, 53
	case "icmp":
		return ICMP, 0
	}
	return TCP, 443
}

// workload draws the flows of the file's workloads from its seed, so that every
// engine has the same ones: those of each host begin by chance without memory, and
// are its own.
func (b *builder) workload(where map[string]string) {
	for i := range b.s.Workload {
		path := at("workload", i)
		w := b.s.Workload[i].Filled()
		where[w.ID] = path
		b.p.Traffic = append(b.p.Traffic, w.ID)
		from := b.selected(b.hosts, path+".from", w.From, "host of a site or connector and no device")
		to, share := b.wanted(&w, path)
		if n := float64(len(from)) * w.Expected(); n+float64(len(b.p.Flows)) > maxFlows {
			b.fail(path+".rate", "about %.0f flows, want at most %d in all: a smaller rate, fewer hosts or a shorter for", n, maxFlows)
			continue
		} else if n == 0 || len(to) == 0 {
			continue
		}
		d := &drawing{b: b, w: &w, path: path, to: to, share: share}
		for _, c := range from {
			if c.branch.nat.IsValid() {
				b.fail(path+".from", "%s is behind %s, which translates sources, and can open no flows: want source: preserve there", c.node.ID, c.branch.Site)
				continue
			}
			d.host(c)
			b.reachable(c, to, path)
			b.oneFamily(c, to, path)
		}
	}
}

// wanted are a workload's destinations, and the share of each: the hosts that it
// names, all alike, or those of the Internet by their popularity.
func (b *builder) wanted(w *spec.Workload, path string) (to []*machine, share []float64) {
	if w.To != spec.ToInternet {
		to = b.selected(slices.Concat(b.origin, b.hosts), path+".to", w.To, "host")
		return to, slices.Repeat([]float64{1 / float64(max(len(to), 1))}, len(to))
	}
	to = b.selected(b.origin, path+".to", "*", "host of internet")
	if n := w.Popularity.Number; n != 0 && n != len(to) {
		b.fail(path+".popularity", "popularity of %d destinations, want zipf(%v, %d): without a population they are the hosts of internet, in their order", n, w.Popularity.Exponent, len(to))
		return nil, nil
	}
	for i, c := range w.Crowds {
		if c.To > len(to) {
			b.fail(at(path+".crowds", i)+".to", "destination %d, want the rank of a host of internet, 1 to %d", c.To, len(to))
			return nil, nil
		}
	}
	return to, w.Popularity.Popular(len(to))
}

// drawing is a workload while its flows are drawn.
type drawing struct {
	b     *builder
	w     *spec.Workload
	path  string
	to    []*machine
	share []float64
	n     int
	// broken: a mistake that every flow would have.
	broken bool
}

// host draws what one host opens: the usual, and on top of it each crowd's.
func (d *drawing) host(c *machine) {
	d.stream(c, "usual", d.w.Rate, 0, d.w.For.D(), 0)
	for i, x := range d.w.Crowds {
		until := min(x.At.D()+x.For.D(), d.w.For.D())
		d.stream(c, "crowd"+strconv.Itoa(i), d.w.Rate*(x.Times-1), x.At.D(), until, x.To)
	}
}

// stream draws flows that begin by chance at a rate, toward the destination of a
// rank, or by popularity if that is 0.
func (d *drawing) stream(c *machine, name string, rate float64, from, until time.Duration, rank int) {
	for i, at := 0, from.Seconds(); ; i++ {
		draw := func(what string) float64 { return d.chance(what, name, c, i) }
		at += -math.Log(draw("gap")) / rate
		if at >= until.Seconds() || d.broken {
			return
		}
		k := rank - 1
		if rank == 0 {
			k = pick(d.share, draw("destination"))
		}
		if d.to[k] != c {
			d.flow(c, d.to[k], time.Duration(at*float64(time.Second)), draw)
		}
	}
}

// chance is a number between 0 and 1 of a flow's own.
func (d *drawing) chance(what, stream string, c *machine, i int) float64 {
	x := random(d.b.p.Seed, "workload "+what, d.w.ID+" "+stream, c.node.ID, strconv.Itoa(i))
	return (float64(x>>11) + 0.5) / (1 << 53)
}

// pick is the index in whose share u falls.
func pick(share []float64, u float64) int {
	for i, s := range share {
		if u -= s; u < 0 {
			return i
		}
	}
	return len(share) - 1
}

// flow adds one flow.
func (d *drawing) flow(c, to *machine, start time.Duration, draw func(string) float64) {
	w := d.w
	words := slices.Sorted(maps.Keys(w.Mix))
	shares, sum := make([]float64, len(words)), 0.0
	for _, word := range words {
		sum += w.Mix[word]
	}
	for i, word := range words {
		shares[i] = w.Mix[word] / sum
	}
	word := words[pick(shares, draw("protocol"))]
	size := max(math.Round(w.Size.Quantile(draw("size"))), 1)
	hold := time.Duration(size * 8 / float64(w.Speed) * float64(time.Second))
	if w.Holding.Given() {
		hold = time.Duration(w.Holding.Quantile(draw("holding")) * float64(time.Second))
	}
	t := spec.Traffic{ID: w.ID, TCP: 1, Close: w.Close, Start: unit.Duration(start)}
	if w.Close == "either" {
		t.Close = [...]string{"client", "server"}[int(2*draw("close"))]
	}
	proto, port := workPort(word)
	if proto != TCP {
		t.TCP, t.UDP = 0, 1
	}
	t = t.Filled()
	f := d.b.flow(&t, c, d.b.replicaNear(to, c.node.Datacenter))
	d.n++
	f.N, f.Proto, f.Dst, f.Timeout = d.n, proto, netip.AddrPortFrom(to.addr, port), f.Timeout+hold
	switch {
	case proto == TCP:
		f.Response, f.Hold = unit.Bytes(size), hold
	default:
		f.Packets, f.Request = 2, smallDatagram
		if word == "udp" {
			f.Packets, f.Request = max(int(size+datagram-1)/datagram, 2), datagram
		}
		if f.Packets > maxDatagrams {
			d.b.fail(d.path+".size", "a UDP flow of %v, want at most %v where packets are sent: cut the distribution with most=", unit.Bytes(size), unit.Bytes(maxDatagrams*datagram))
			d.broken = true
			return
		}
		f.Response, f.Interval = f.Request, cmp.Or(hold/time.Duration(f.Packets-1), time.Millisecond)
	}
	d.b.p.Flows = append(d.b.p.Flows, f)
}
