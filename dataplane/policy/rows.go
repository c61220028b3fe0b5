package policy

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// A row is a set of rules, one bit for each: those whose selector holds for
// one value. Rows are built once and then only read, so values share them.
type row []uint64

func newRow(rules int) row { return make(row, (rules+63)/64) }

func (r row) set(rule int)   { r[rule/64] |= 1 << (rule % 64) }
func (r row) clear(rule int) { r[rule/64] &^= 1 << (rule % 64) }

func (r row) or(other row) {
	for i, w := range other {
		r[i] |= w
	}
}

// open is the rules that do not use a selector, and whether any rule does.
func open[V any](rules []Rule, selector func(*Match) []V) (row, bool) {
	r, used := newRow(len(rules)), false
	for i := range rules {
		if len(selector(&rules[i].Match)) == 0 {
			r.set(i)
		} else {
			used = true
		}
	}
	return r, used
}

// values is a selector of single values. nil means that no rule uses it.
type values[K comparable] struct {
	rows map[K]row
	// rest is the row of every value that no rule names.
	rest row
}

func newValues[K comparable](rules []Rule, selector func(*Match) []K) *values[K] {
	rest, used := open(rules, selector)
	if !used {
		return nil
	}
	v := &values[K]{rows: make(map[K]row), rest: rest}
	for i := range rules {
		for _, value := range selector(&rules[i].Match) {
			r, ok := v.rows[value]
			if !ok {
				r = slices.Clone(rest)
				v.rows[value] = r
			}
			r.set(i)
		}
	}
	return v
}

func (v *values[K]) row(value K) row {
	if r, ok := v.rows[value]; ok {
		return r
	}
	return v.rest
}

// prefixes is a selector of addresses. Each prefix's row holds the rules of
// all prefixes around it too, so that one longest match finds them all.
type prefixes struct {
	table bart.Table[row]
	rest  row
}

func newPrefixes(rules []Rule, selector func(*Match) []netip.Prefix) *prefixes {
	rest, used := open(rules, selector)
	if !used {
		return nil
	}
	own := make(map[netip.Prefix]row)
	var order []netip.Prefix
	for i := range rules {
		for _, p := range selector(&rules[i].Match) {
			p = p.Masked()
			r, ok := own[p]
			if !ok {
				r = newRow(len(rules))
				own[p] = r
				order = append(order, p)
			}
			r.set(i)
		}
	}
	// Short prefixes first: what is around a prefix is complete before it.
	slices.SortFunc(order, func(a, b netip.Prefix) int { return cmp.Compare(a.Bits(), b.Bits()) })
	s := &prefixes{rest: rest}
	for _, p := range order {
		around, ok := s.table.LookupPrefix(p)
		if !ok {
			around = rest
		}
		own[p].or(around)
		s.table.Insert(p, own[p])
	}
	return s
}

// row ignores a zone, as bart does.
func (p *prefixes) row(addr netip.Addr) row {
	if r, ok := p.table.Lookup(addr.Unmap()); ok {
		return r
	}
	return p.rest
}

// ports is a selector of port ranges: the port numbers cut at every boundary of
// a range, with one row for each piece.
type ports struct {
	// starts are the first ports of the pieces, ascending; the first is 0.
	starts []uint16
	rows   []row
	// rest is the row of protocols without ports.
	rest row
}

func newPorts(rules []Rule) *ports {
	rest, used := open(rules, func(m *Match) []PortRange { return m.Port })
	if !used {
		return nil
	}
	type edge struct{ port, rule, step int }
	edges := []edge{}
	for i := range rules {
		for _, r := range rules[i].Match.Port {
			edges = append(edges, edge{int(r.First), i, 1}, edge{int(r.Last) + 1, i, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.port, b.port) })
	p := &ports{rest: rest}
	now, depth := slices.Clone(rest), make([]int, len(rules))
	for next, port := 0, 0; port < 1<<16; {
		for ; next < len(edges) && edges[next].port == port; next++ {
			e := edges[next]
			if depth[e.rule] += e.step; depth[e.rule] > 0 {
				now.set(e.rule)
			} else {
				now.clear(e.rule)
			}
		}
		p.starts, p.rows = append(p.starts, uint16(port)), append(p.rows, slices.Clone(now))
		if next == len(edges) {
			break
		}
		port = edges[next].port
	}
	return p
}

func (p *ports) row(proto uint8, port uint16) row {
	if !hasPorts(proto) {
		return p.rest
	}
	i, exact := slices.BinarySearch(p.starts, port)
	if !exact {
		i--
	}
	return p.rows[i]
}
