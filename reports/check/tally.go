package check

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// anyTraffic is the name of all flows.
const anyTraffic = "all"

// account adds up a run's records, or those of a part of it, as they come: what a
// check asks at one moment does not cost what all moments before it have cost.
type account struct {
	spec EnvSpec
	// traffic are the tallies by id, that of all flows among them.
	traffic map[string]*tally
	// peers are the nodes that saw a packet which was not theirs, by its session.
	peers map[string][]string
	// addresses that flows left by.
	addresses         map[string]bool
	sessions, refused int
}

func newAccount(spec EnvSpec) *account {
	a := &account{spec: spec, traffic: map[string]*tally{}, peers: map[string][]string{}, addresses: map[string]bool{}}
	for _, id := range append([]string{anyTraffic}, spec.Traffic...) {
		a.traffic[id] = newTally()
	}
	return a
}

func (a *account) flow(f *record.Flow) {
	a.addresses[f.EgressIP] = true
	a.traffic[anyTraffic].add(f, a.peers)
	if t := a.traffic[f.Traffic]; t != nil && f.Traffic != anyTraffic {
		t.add(f, a.peers)
	}
}

func (a *account) session(s *record.Session) {
	a.addresses[s.EgressIP] = true
	a.sessions++
}

func (a *account) event(e *record.Event) {
	switch {
	case e.Kind == "flow_refused":
		a.refused += int(max(e.Count, 1))
	case e.Kind == "misdelivered" && e.SessionID != "" && e.Peer != "":
		a.peers[e.SessionID] = append(a.peers[e.SessionID], e.Peer)
		for _, t := range a.traffic {
			for _, f := range t.bySession[e.SessionID] {
				t.scattered = t.scattered || !oneNode(f, a.peers)
			}
		}
	}
}

// values are the measures so far, with the totals of run; used names those that
// are wanted, nil meaning all. Others may be left out.
func (a *account) values(run *record.Run, used []string) values {
	v := values{}
	for id, t := range a.traffic {
		if wanted(used, id+".") {
			t.into(v, a.spec, id, used)
		}
	}
	v.totals(run, a)
	return v
}

// wanted says whether a name that begins so is among those used.
func wanted(used []string, prefix string) bool {
	return used == nil || slices.ContainsFunc(used, func(name string) bool { return strings.HasPrefix(name, prefix) })
}

// tally adds up flows.
type tally struct {
	flows                  int
	results                map[record.Result]int
	clients, served, pairs map[string]bool
	up, down               int64
	rtt, took, stalls      []int64
	// left counts where flows came in, and by what they left: "from.lhr".
	left map[string]int
	// scattered: replies of one flow were seen at more than one node.
	scattered bool
	bySession map[string][]*record.Flow
}

func newTally() *tally {
	return &tally{
		results: map[record.Result]int{}, clients: map[string]bool{}, served: map[string]bool{}, pairs: map[string]bool{},
		left: map[string]int{}, bySession: map[string][]*record.Flow{},
	}
}

func (t *tally) add(f *record.Flow, peers map[string][]string) {
	t.flows++
	t.results[f.Result]++
	t.clients[f.Client] = true
	t.up, t.down = t.up+f.BytesUp, t.down+f.BytesDown
	if f.EgressIP != "" {
		t.pairs[fmt.Sprintf("%s %d", f.EgressIP, f.EgressPort)] = true
	}
	if f.RTTNs > 0 {
		t.rtt = append(t.rtt, f.RTTNs)
	}
	if f.StallNs > 0 {
		t.stalls = append(t.stalls, f.StallNs)
	}
	if f.Result == record.OK {
		t.served[f.Client] = true
		t.took = append(t.took, f.EndNs-f.StartNs)
	}
	t.leave(f)
	if f.SessionID != "" {
		t.bySession[f.SessionID] = append(t.bySession[f.SessionID], f)
	}
	t.scattered = t.scattered || !oneNode(f, peers)
}

// leave counts where a flow came in, and by what it left: an address of its
// account's own, another datacenter than the one it came in by, an egress policy,
// and each datacenter, country and rule; and at which host of a name it ended.
func (t *tally) leave(f *record.Flow) {
	if f.EgressAccount != "" {
		t.left["dedicated"]++
	}
	if f.EgressDC != "" && f.EgressDC != f.IngressDC {
		t.left["elsewhere"]++
	}
	if f.EgressRule != "" {
		t.left["ruled"]++
	}
	if f.HomeServer != "" { // what no server has set up came in nowhere
		t.left["ingress."+f.IngressDC]++
	}
	t.left["from."+f.EgressDC]++
	t.left["as."+strings.ToLower(f.EgressCountry)]++
	t.left["by."+f.EgressRule]++
	t.left["at."+f.Server]++
}

// into writes the measures of the flows under the name id.
func (t *tally) into(v values, spec EnvSpec, id string, used []string) {
	if t.flows == 0 {
		for name := range spec.trafficMeasures() {
			v[id+"."+name] = value{err: errors.New("no flow was recorded")}
		}
		return
	}
	for r := range results() {
		v[id+"."+string(r)] = value{v: t.results[r]}
	}
	for name, n := range map[string]int64{
		"total": int64(t.flows), "clients": int64(len(t.clients)), "served": int64(len(t.served)),
		"egress_pairs": int64(len(t.pairs)), "bytes_up": t.up, "bytes_down": t.down,
	} {
		v[id+"."+name] = value{v: int(n)}
	}
	names := []string{"dedicated", "elsewhere", "ruled"}
	for prefix, list := range map[string][]string{"ingress.": spec.Datacenters, "from.": spec.Datacenters, "as.": spec.Countries, "by.": spec.Rules, "at.": spec.Names} {
		for _, name := range list {
			names = append(names, prefix+name)
		}
	}
	for _, name := range names {
		v[id+"."+name] = value{v: t.left[name]}
	}
	v[id+".consistent"] = value{v: !t.scattered}
	v[id+".misdelivered_share"] = value{v: float64(t.results[record.Misdelivered]) / float64(t.flows)}
	for _, times := range []struct {
		name string
		ns   []int64
		none string
	}{{"rtt_ms", t.rtt, "no round trip was measured"}, {"time_ms", t.took, "no flow is ok"}, {"stall_ms", t.stalls, "no stall was measured"}} {
		if prefix := id + "." + times.name + "."; wanted(used, prefix) {
			v.times(prefix, times.ns, times.none)
		}
	}
}

// oneNode reports whether all that is known of a flow's replies was seen on
// one node's wire. A flow that nobody saw an answer of is consistent.
func oneNode(f *record.Flow, misdelivered map[string][]string) bool {
	var nodes []string
	for node := range strings.SplitSeq(f.DeliveredTo, ",") {
		if node = strings.TrimSpace(node); node != "" {
			nodes = append(nodes, node)
		}
	}
	if f.SessionID != "" {
		nodes = append(nodes, misdelivered[f.SessionID]...)
	}
	slices.Sort(nodes)
	return len(slices.Compact(nodes)) <= 1
}

// times adds the quantiles (nearest rank), maximum and mean of ns, in ms. It sorts
// ns in place.
func (v values) times(prefix string, ns []int64, none string) {
	ms := func(x float64) value { return value{v: x / 1e6} }
	if len(ns) == 0 {
		ms = func(float64) value { return value{err: errors.New(none)} }
		ns = []int64{0}
	}
	slices.Sort(ns)
	rank := func(q float64) float64 { return float64(ns[max(0, int(math.Ceil(q*float64(len(ns))))-1)]) }
	sum := 0.0
	for _, x := range ns {
		sum += float64(x)
	}
	v[prefix+"p50"], v[prefix+"p90"], v[prefix+"p99"] = ms(rank(0.50)), ms(rank(0.90)), ms(rank(0.99))
	v[prefix+"max"], v[prefix+"mean"] = ms(float64(ns[len(ns)-1])), ms(sum/float64(len(ns)))
}
