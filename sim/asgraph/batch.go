package asgraph

import (
	"cmp"
	"slices"
)

// Lanes is how many scenarios a Batch spreads at once.
const Lanes = 8

// lane is one value of each of the eight scenarios: bytes of a word, computed
// with together (Lamport: Multiple Byte Processing with Full-Word Instructions,
// CACM 18(8), 1975). Lengths use seven bits, so that a byte never runs over.
type lane = uint64

const (
	high lane = 0x8080808080808080
	ones lane = 0x0101010101010101
	// far is the length of no route, in all lanes.
	far lane = 0x7f7f7f7f7f7f7f7f
	// Every lane.
	Every uint64 = 0xffffffffffffffff
)

// Lane is the mask of the i-th scenario.
func Lane(i int) uint64 { return 0xff << (8 * i) }

// below is 0xff in each lane in which a is less than b; both have seven bits.
func below(a, b lane) lane { return (((b | high) - a - ones) & high >> 7) * 0xff }

// state is a node's routes in all lanes.
type state struct {
	length lane
	// The entry's low and high byte.
	low, top lane
	// told is 0xff in the lanes in which peers and providers hear of the route: it
	// is from a customer or the node's own; fixed where it is not from a provider.
	told, fixed lane
}

// take replaces the lanes of mask.
func (s *state) take(mask, length, low, top lane) {
	s.length = s.length&^mask | length&mask
	s.low = s.low&^mask | low&mask
	s.top = s.top&^mask | top&mask
}

// Batch spreads announcements in eight scenarios at once, which differ in which of
// the announcements are made: single failures of 300 datacenters are 38 batches.
// In each lane it finds what Routes does. Use NewBatch. It is not safe for
// concurrent use; Spread allocates nothing.
type Batch struct {
	g     *Graph
	nodes []state
	enter []entry
	// Where routes can come from customers at all: up is these nodes, customers
	// first, and below are those of their customers that are among them too.
	up    []Node
	below adjacency // by place in up
	// Where routes can come from peers, and the peers of these that are in up.
	across []Node
	beside adjacency // by place in across
	above  adjacency // the providers of all nodes, the best liked first
}

// entry is an announcement to a node, in the order in which it is preferred.
type entry struct {
	Announcement
	index uint16
}

// NewBatch makes a batch of announcements, all of which can be made or not in a
// scenario.
func NewBatch(g *Graph, all []Announcement, p Preference) (*Batch, error) {
	if err := check(g, all); err != nil {
		return nil, err
	}
	b := &Batch{g: g, nodes: make([]state, g.Len())}
	for i, a := range all {
		b.enter = append(b.enter, entry{a, uint16(i)})
	}
	slices.SortStableFunc(b.enter, func(x, y entry) int {
		return cmp.Or(cmp.Compare(y.Class, x.Class), cmp.Compare(x.Length, y.Length))
	})
	liked := func(v Node, list []Node) {
		slices.SortFunc(list, func(x, y Node) int {
			return cmp.Compare(p.rank(g.asn[v], g.asn[x]), p.rank(g.asn[v], g.asn[y]))
		})
	}
	reached := b.climb()
	b.below = b.restrict(b.up, &g.customers, reached, liked)
	b.meet()
	b.beside = b.restrict(b.across, &g.peers, reached, liked)
	b.above = g.providers
	if p != 0 { // lists of g are in order of number, as preference 0 is
		b.above.to = slices.Clone(b.above.to)
		for v := range Node(g.Len()) {
			liked(v, b.above.of(v))
		}
	}
	return b, nil
}

// climb finds the nodes that can have customers' routes: those told by customers,
// and all above them. reached says for each node whether it is one.
func (b *Batch) climb() (reached []bool) {
	reached = make([]bool, b.g.Len())
	for _, e := range b.enter {
		if e.Class >= FromCustomer && !reached[e.To] {
			reached[e.To] = true
			b.up = append(b.up, e.To)
		}
	}
	for i := 0; i < len(b.up); i++ {
		for _, w := range b.g.Providers(b.up[i]) {
			if !reached[w] {
				reached[w] = true
				b.up = append(b.up, w)
			}
		}
	}
	slices.SortFunc(b.up, func(x, y Node) int { return cmp.Compare(y, x) })
	return reached
}

// meet finds the nodes that can have peers' routes.
func (b *Batch) meet() {
	for _, e := range b.enter {
		if e.Class == FromPeer {
			b.across = append(b.across, e.To)
		}
	}
	for _, v := range b.up {
		b.across = append(b.across, b.g.Peers(v)...)
	}
	slices.Sort(b.across)
	b.across = slices.Compact(b.across)
}

// restrict is the neighbours of nodes that are reached, the best liked first.
func (b *Batch) restrict(nodes []Node, from *adjacency, reached []bool, liked func(Node, []Node)) adjacency {
	a := adjacency{off: make([]int32, 1, len(nodes)+1)}
	for _, v := range nodes {
		for _, w := range from.of(v) {
			if reached[w] {
				a.to = append(a.to, w)
			}
		}
		liked(v, a.to[a.off[len(a.off)-1]:])
		a.off = append(a.off, int32(len(a.to)))
	}
	return a
}

// Spread finds the stable state in each lane. made has, for each announcement, the
// lanes in which it is made: Every, or some of Lane(0) to Lane(7).
func (b *Batch) Spread(made []uint64) {
	for i := range b.nodes {
		b.nodes[i] = state{length: far}
	}
	rest := b.announce(b.enter, FromCustomer, made)
	b.climbed()
	rest = b.announce(rest, FromPeer, made)
	b.crossed()
	b.announce(rest, FromProvider, made)
	b.descended()
}

// announce gives nodes the announcements of a class and above it, as far as they
// are better than what they have; the rest are of lower classes.
func (b *Batch) announce(all []entry, class Class, made []uint64) (rest []entry) {
	for i, e := range all {
		if e.Class < class {
			return all[i:]
		}
		n := &b.nodes[e.To]
		mask := made[e.index] & below(lane(e.Length)*ones, n.length) &^ n.fixed
		n.take(mask, lane(e.Length)*ones, lane(e.index&0xff)*ones, lane(e.index>>8)*ones)
	}
	return nil
}

// climbed pulls customers' routes, each node after all its customers.
func (b *Batch) climbed() {
	for i, v := range b.up {
		n := &b.nodes[v]
		for _, c := range b.below.to[b.below.off[i]:b.below.off[i+1]] {
			m := &b.nodes[c]
			// One longer, where there is one: the lengths of seven bits stay below far.
			length := m.length + ones&(below(m.length, far))
			n.take(below(length, n.length), length, m.low, m.top)
		}
		n.told = below(n.length, far)
		n.fixed = n.told
	}
}

// crossed pulls peers' routes, where no customer has told one.
func (b *Batch) crossed() {
	for i, v := range b.across {
		n := &b.nodes[v]
		if n.told == Every {
			continue
		}
		for _, w := range b.beside.to[b.beside.off[i]:b.beside.off[i+1]] {
			m := &b.nodes[w]
			length := m.length + ones&m.told
			n.take(below(length, n.length)&m.told&^n.told, length, m.low, m.top)
		}
		n.fixed = below(n.length, far)
	}
}

// descended pulls providers' routes, each node after all its providers.
func (b *Batch) descended() {
	for v := range b.nodes {
		n := &b.nodes[v]
		if n.fixed == Every {
			continue
		}
		for _, w := range b.above.to[b.above.off[v]:b.above.off[v+1]] {
			m := &b.nodes[w]
			length := m.length + ones&below(m.length, far)
			n.take(below(length, n.length)&^n.fixed, length, m.low, m.top)
		}
	}
}

// At is the route of a node in a scenario: its length, and the Announcement at its
// end; ok is false where the node cannot reach the prefix.
func (b *Batch) At(v Node, scenario int) (length uint8, entry uint16, ok bool) {
	n, shift := &b.nodes[v], 8*scenario
	length = uint8(n.length >> shift)
	return length, uint16(uint8(n.low>>shift)) | uint16(uint8(n.top>>shift))<<8, length != uint8(far&0xff)
}

// Differ is the lanes in which a node's route does not end at that announcement, or,
// with ok false, in which it has one.
func (b *Batch) Differ(v Node, entry uint16, ok bool) uint64 {
	n := &b.nodes[v]
	has := below(n.length, far)
	if !ok {
		return has
	}
	low, top := n.low^lane(entry&0xff)*ones, n.top^lane(entry>>8)*ones
	return ^has | differs(low) | differs(top)
}

// differs is 0xff in each lane in which x is not 0.
func differs(x lane) lane { return ((x&far + far | x) & high >> 7) * 0xff }
