package bpf

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
)

// find is the programs' look-up.
func (x index) find(hash uint64, slot uint32) bool {
	for i := range indexProbes {
		switch e := *x.at(hash, i); {
		case e == 0:
			return false
		case e == entry(hash, slot):
			return true
		}
	}
	return false
}

// What is in the index is found, whatever came and went before, and nothing else
// is there.
func TestIndexAgainstASet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	x, set := make(index, 64), make(map[uint32]uint64) // hash by slot
	refused := 0
	for step := range 200000 {
		slot := uint32(r.IntN(40))
		hash, in := set[slot]
		switch {
		case in && r.IntN(2) == 0:
			if !x.remove(hash, slot) {
				t.Fatalf("step %d: slot %d could not be removed", step, slot)
			}
			delete(set, slot)
		case !in:
			hash = uint64(r.IntN(1 << 8)) // some share a place, and some all 32 bits
			if x.insert(hash, slot) {
				set[slot] = hash
			} else {
				refused++
			}
		}
		for s, h := range set {
			if !x.find(h, s) {
				t.Fatalf("step %d: slot %d is not found by %#x in %x", step, s, h, x)
			}
		}
	}
	if refused == 0 {
		t.Error("the index was never full: its end is not tested")
	}
	for slot, hash := range set {
		if !x.remove(hash, slot) || x.remove(hash, slot) {
			t.Errorf("slot %d was there twice, or not at all", slot)
		}
	}
	for i, e := range x {
		if e != 0 && e>>32 != slotGone {
			t.Errorf("entry %d is %#x, and everything was removed", i, e)
		}
	}
}

// Where the index has no room the flow is carried all the same.
func TestFullIndex(t *testing.T) {
	p := newPlane(t, hubtest.Options{}, Spec{Flows: 64})
	for i := range p.index {
		p.index[i] = entry(uint64(i)^1<<20, 7)
	}
	c := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}
	f := udpFlow(1, c, egressPort)
	p.install(f)
	if out, why := p.bySite(1, c.UDP()); why != Forwarded || hubtest.Decode(out).Src != egressPort {
		t.Errorf("a packet: %v", why)
	}
	p.home(hubtest.IP{Src: hubtest.Web, Dst: egressPort}.UDP(), 1, c.Src)
	if c, ok := p.Remove(f); !ok || c.Up != 1 || c.Down != 1 {
		t.Errorf("ends with %+v, %v", c, ok)
	}
	if _, why := p.bySite(1, c.UDP()); why != LeftMiss {
		t.Errorf("a packet after the end: %v", why)
	}
	if _, ok := p.Look(udpFlow(1, hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}, netip.AddrPortFrom(egressPort.Addr(), 2050))); ok {
		t.Error("a flow that never was is there")
	}
}
