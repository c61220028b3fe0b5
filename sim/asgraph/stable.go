package asgraph

// Unstable counts the nodes that would choose otherwise, given what the others have
// chosen. Under the rules of Gao and Rexford there is one state without any, so that
// 0 says that r is right, whoever computed it. It looks at every link, one by one.
func (r *Routes) Unstable(all []Announcement, p Preference) int {
	wrong := 0
	for v := range Node(r.g.Len()) {
		if r.best(v, all, p) != r.At(v) {
			wrong++
		}
	}
	return wrong
}

// best is what v would choose among all that its neighbours may tell it.
func (r *Routes) best(v Node, all []Announcement, p Preference) Route {
	best := Route{Next: Nowhere}
	for i, a := range all {
		if a.To == v && (a.Class > best.Class || a.Class == best.Class && a.Length < best.Length) {
			best = Route{a.Class, a.Length, Nowhere, uint16(i)}
		}
	}
	for _, from := range []struct {
		list  []Node
		class Class
	}{{r.g.Customers(v), FromCustomer}, {r.g.Peers(v), FromPeer}, {r.g.Providers(v), FromProvider}} {
		for _, w := range from.list {
			told := r.At(w)
			if told.Class == Unreachable || told.Class < FromCustomer && from.class != FromProvider {
				continue
			}
			c := Route{from.class, told.Length + 1, w, told.Entry}
			if r.prefers(v, c, best, p) && !r.passes(w, v) {
				best = c
			}
		}
	}
	return best
}

// prefers says whether v likes a neighbour's route better than what it has.
func (r *Routes) prefers(v Node, a, than Route, p Preference) bool {
	switch {
	case a.Class != than.Class:
		return a.Class > than.Class
	case a.Length != than.Length:
		return a.Length < than.Length
	}
	asn := r.g.asn
	return than.Next != Nowhere && p.rank(asn[v], asn[a.Next]) < p.rank(asn[v], asn[than.Next])
}

// passes says whether the path of from goes by v: then v hears nothing of it.
func (r *Routes) passes(from, v Node) bool {
	for steps := 0; from != Nowhere && steps <= r.g.Len(); steps++ {
		if from == v {
			return true
		}
		from = r.next[from]
	}
	return false
}
