package hub

import "github.com/homeward-lab/homeward/dataplane/pkt"

// Nearly all packets are looked up by outer addresses of IPv4, and a map of
// small numbers answers in half the time of one of 16 bytes. So each family has
// its own map, and these types are all that knows.

// addr4 is an IPv4 address as a number.
type addr4 uint32

// places says what the addresses of the network are.
type places struct {
	four map[addr4]place
	six  map[pkt.Number]place
}

func makePlaces() places {
	return places{make(map[addr4]place), make(map[pkt.Number]place)}
}

// at is the place of an address; the zero place is elsewhere.
func (p *places) at(n pkt.Number) place {
	if n.Is4() {
		return p.four[addr4(n.Lo)]
	}
	return p.six[n]
}

func (p *places) set(n pkt.Number, to place) {
	if n.Is4() {
		p.four[addr4(n.Lo)] = to
		return
	}
	p.six[n] = to
}

// tunnels finds on-ramps by the outer addresses of what comes from them; those
// that differ only in the GRE key are chained.
type tunnels struct {
	four map[ends4]*onRamp
	six  map[ends6]*onRamp
}

// ends4 and ends6 are the addresses of a tunnel.
type (
	ends4 struct{ src, dst addr4 }
	ends6 struct{ src, dst pkt.Number }
)

func makeTunnels() tunnels {
	return tunnels{make(map[ends4]*onRamp), make(map[ends6]*onRamp)}
}

// at is the first on-ramp with these outer addresses, nil without one.
func (t *tunnels) at(src, dst pkt.Number) *onRamp {
	if dst.Is4() {
		return t.four[ends4{addr4(src.Lo), addr4(dst.Lo)}]
	}
	return t.six[ends6{src, dst}]
}

func (t *tunnels) set(src, dst pkt.Number, r *onRamp) {
	if dst.Is4() {
		t.four[ends4{addr4(src.Lo), addr4(dst.Lo)}] = r
		return
	}
	t.six[ends6{src, dst}] = r
}
