package flow

// slot of a hash table: the low half of the key's hash, and which flow. One
// cache line holds eight.
type slot struct {
	tag uint32
	ref uint32 // Index + 1; 0 is empty
}

// index is an open-addressing table from hash to flow with linear probing. It
// stores no keys: a tag that matches is checked against the flow itself. The
// position is the tag's low bits, so it can grow without reading any flow.
type index struct {
	slots []slot
	used  int
}

const indexMin = 64

func (x *index) mask() uint32 { return uint32(len(x.slots) - 1) }

// insert adds ref under the hash. The caller has made sure it is not there.
func (x *index) insert(hash uint64, ref uint32) {
	if 2*(x.used+1) > len(x.slots) { // at most half full keeps probes short
		x.grow()
	}
	x.put(slot{uint32(hash), ref})
	x.used++
}

func (x *index) put(s slot) {
	i := s.tag & x.mask()
	for x.slots[i].ref != 0 {
		i = (i + 1) & x.mask()
	}
	x.slots[i] = s
}

func (x *index) grow() {
	old := x.slots
	x.slots = make([]slot, max(indexMin, 2*len(old)))
	for _, s := range old {
		if s.ref != 0 {
			x.put(s)
		}
	}
}

// remove deletes ref, and moves back what had been pushed past its slot, so
// that no tombstones pile up.
func (x *index) remove(hash uint64, ref uint32) {
	if len(x.slots) == 0 {
		return
	}
	mask := x.mask()
	i := uint32(hash) & mask
	for x.slots[i].ref != ref {
		if x.slots[i].ref == 0 {
			return
		}
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; x.slots[j].ref != 0; j = (j + 1) & mask {
		home := x.slots[j].tag & mask
		if (j-home)&mask >= (j-i)&mask { // its probe path passes the hole
			x.slots[i] = x.slots[j]
			i = j
		}
	}
	x.slots[i] = slot{}
	x.used--
}
