package probe

import (
	"net/netip"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/topologies/plan"
)

// FlowKey names a flow of a plan.
type FlowKey struct {
	Traffic string
	N       int
}

// Key is the flow's.
func Key(f *plan.Flow) FlowKey { return FlowKey{f.Traffic, f.N} }

// Delivery is whose wire a flow's replies were seen on.
type Delivery struct {
	// Node that saw a reply; empty if none did. A node that did not ask goes
	// before the one that did.
	Node string
	// Misdelivered says that Node is not the client. Own says that the client
	// saw a reply too (or alone).
	Misdelivered bool
	Own          bool
	// Others are further nodes that did not ask and saw one.
	Others []string
	// At is when Node first saw one.
	At time.Time
	// Unknown says that a tap which could have seen a reply was missing or lost
	// packets, so that "seen by nobody else" proves nothing.
	Unknown bool
}

// early is how much before its planned start a flow's SYN may seem to be sent:
// the kernel's clock and ours are read at different moments.
const early = 5 * time.Millisecond

// tuple of a flow, as its client's wire shows it.
type tuple struct{ src, dst netip.AddrPort }

// ask is a SYN, wherever its answer is seen.
type ask struct {
	tuple
	isn uint64
}

// Judge says where the replies of each flow went. taps holds the report of
// each tapped host, by node; base is the start of traffic.
//
// A TCP reply is known by what it acknowledges: one more than the initial
// sequence number that the client's own tap saw in the flow's SYN. Equal tuples
// at two hosts are told apart by that.
func Judge(flows []plan.Flow, taps map[string]Report, base time.Time) map[FlowKey]Delivery {
	out := make(map[FlowKey]Delivery, len(flows))
	lossy := false
	for _, r := range taps {
		lossy = lossy || r.Dropped > 0
	}
	byNonce := make(map[uint64]int, len(flows))
	for i := range flows {
		byNonce[flows[i].Nonce] = i
		_, tapped := taps[flows[i].Client]
		out[Key(&flows[i])] = Delivery{Unknown: lossy || !tapped}
	}
	asks := syns(flows, taps, base)
	for _, node := range sortedKeys(taps) {
		for _, o := range taps[node].Observations {
			if o.Out || !o.Answer {
				continue
			}
			if o.Proto != plan.TCP {
				if i, ok := byNonce[o.Mark]; ok && flows[i].Proto == o.Proto {
					deliver(out, &flows[i], node, o.At)
				}
				continue
			}
			owners := asks[ask{tuple{o.Dst, o.Src}, o.Mark}]
			// Two SYNs with one tuple and one sequence number: the host that
			// asked is believed to have got its own.
			if k := slices.IndexFunc(owners, func(i int) bool { return flows[i].Client == node }); k >= 0 {
				owners = owners[k : k+1]
			}
			for _, i := range owners {
				deliver(out, &flows[i], node, o.At)
			}
		}
	}
	return out
}

func sortedKeys(taps map[string]Report) []string {
	nodes := make([]string, 0, len(taps))
	for n := range taps {
		nodes = append(nodes, n)
	}
	slices.Sort(nodes)
	return nodes
}

// syns maps each SYN seen to leave a client to the flows that it may be of.
func syns(flows []plan.Flow, taps map[string]Report, base time.Time) map[ask][]int {
	type sender struct {
		node string
		tuple
	}
	bySender := map[sender][]int{}
	for i := range flows {
		if f := &flows[i]; f.Proto == plan.TCP {
			k := sender{f.Client, tuple{f.Src, f.Dst}}
			bySender[k] = append(bySender[k], i)
		}
	}
	asks := map[ask][]int{}
	for node, r := range taps {
		for _, o := range r.Observations {
			if !o.Out || o.Answer || o.Proto != plan.TCP {
				continue
			}
			t := tuple{o.Src, o.Dst}
			// A client may use one tuple again, later: a SYN is of the last flow
			// that had begun.
			flow := -1
			for _, i := range bySender[sender{node, t}] {
				begun := !o.At.Before(base.Add(flows[i].Start - early))
				if begun && (flow < 0 || flows[i].Start >= flows[flow].Start) {
					flow = i
				}
			}
			if flow >= 0 {
				k := ask{t, o.Mark}
				asks[k] = append(asks[k], flow)
			}
		}
	}
	return asks
}

func deliver(out map[FlowKey]Delivery, f *plan.Flow, node string, at time.Time) {
	k := Key(f)
	d := out[k]
	switch {
	case node == f.Client:
		d.Own = true
		if !d.Misdelivered && (d.Node == "" || at.Before(d.At)) {
			d.Node, d.At = node, at
		}
	case !d.Misdelivered:
		d.Node, d.At, d.Misdelivered = node, at, true
	case node == d.Node:
		if at.Before(d.At) {
			d.At = at
		}
	case !slices.Contains(d.Others, node):
		d.Others = append(d.Others, node)
	}
	out[k] = d
}
