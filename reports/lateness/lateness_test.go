package lateness

import (
	"testing"
	"time"

	"github.com/homeward-lab/homeward/reports/record"
)

const ms = int64(time.Millisecond)

// A flow of shop.1 to web by lhr.1, from 100 to 140 ms.
func flow() *record.Flow {
	return &record.Flow{Client: "shop.1.till", Server: "web", IngressDC: "lhr", EgressDC: "lhr", HomeServer: "lhr.1", EgressServer: "lhr.1", StartNs: 100 * ms, RTTNs: 40 * ms}
}

func topology() record.Topology {
	return record.Topology{Nodes: []record.TopologyNode{
		{ID: "shop.1.till", Kind: "host", Site: "shop.1"}, {ID: "shop.1.router", Kind: "branch", Site: "shop.1"}, {ID: "shop.2.router", Kind: "branch", Site: "shop.2"},
		{ID: "transit.lhr", Kind: "transit"}, {ID: "lhr.edge", Kind: "edge", Datacenter: "lhr"}, {ID: "cdg.edge", Kind: "edge", Datacenter: "cdg"},
		{ID: "lhr.1", Kind: "server", Datacenter: "lhr"}, {ID: "lhr.2", Kind: "server", Datacenter: "lhr"}, {ID: "cdg.1", Kind: "server", Datacenter: "cdg"},
		{ID: "web", Kind: "origin"}, {ID: "other", Kind: "origin"},
	}}
}

// moments are pairs of when, ms, and for how long, ms.
func moments(pairs ...int64) *record.Late {
	l := &record.Late{LeastNs: 1}
	for i := 0; i < len(pairs); i += 2 {
		l.Moments = append(l.Moments, record.LateMoment{AtNs: pairs[i] * ms, ForNs: pairs[i+1] * ms})
	}
	return l
}

func TestMet(t *testing.T) {
	link := func(from, to string, l *record.Late) record.Wire { return record.Wire{From: from, To: to, Late: l} }
	for name, c := range map[string]struct {
		nodes map[string]*record.Late
		wires []record.Wire
		inAll int64 // ms
		part  string
	}{
		"nothing known":             {},
		"nobody late":               {nodes: map[string]*record.Late{"lhr.1": moments()}},
		"its server":                {nodes: map[string]*record.Late{"lhr.1": moments(110, 3)}, inAll: 3, part: "lhr.1"},
		"another of the datacenter": {nodes: map[string]*record.Late{"lhr.2": moments(110, 3)}, inAll: 3, part: "lhr.2"},
		"before":                    {nodes: map[string]*record.Late{"lhr.1": moments(100, 9)}},
		"after":                     {nodes: map[string]*record.Late{"lhr.1": moments(150, 10)}},
		"in part before":            {nodes: map[string]*record.Late{"lhr.1": moments(104, 9)}, inAll: 4, part: "lhr.1"},
		"in part after":             {nodes: map[string]*record.Late{"lhr.1": moments(145, 9)}, inAll: 4, part: "lhr.1"},
		"longer than all of it":     {nodes: map[string]*record.Late{"lhr.1": moments(150, 80)}, inAll: 40, part: "lhr.1"},
		"another datacenter":        {nodes: map[string]*record.Late{"cdg.1": moments(110, 3)}},
		"another origin":            {nodes: map[string]*record.Late{"other": moments(110, 3)}},
		"its origin":                {nodes: map[string]*record.Late{"web": moments(110, 3)}, inAll: 3, part: "web"},
		"its line":                  {wires: []record.Wire{link("shop.1.router", "transit.lhr", moments(110, 2))}, inAll: 2, part: "the link from shop.1.router to transit.lhr"},
		"another's line":            {wires: []record.Wire{link("shop.2.router", "transit.lhr", moments(110, 2))}},
		"inside":                    {wires: []record.Wire{link("lhr.edge", "cdg.edge", moments(110, 2))}, inAll: 2, part: "the link from lhr.edge to cdg.edge"},
		"one after another":         {nodes: map[string]*record.Late{"lhr.1": moments(110, 3), "web": moments(120, 4)}, inAll: 7, part: "web"},
		"at the same time":          {nodes: map[string]*record.Late{"lhr.1": moments(110, 3), "web": moments(111, 4)}, inAll: 4, part: "web"},
		"there and back":            {nodes: map[string]*record.Late{"lhr.1": moments(110, 3, 130, 2)}, inAll: 5, part: "lhr.1"},
		"no more than twice":        {nodes: map[string]*record.Late{"lhr.1": moments(110, 1, 112, 1, 114, 1, 116, 1, 118, 1)}, inAll: 2, part: "lhr.1"},
		"a link once":               {wires: []record.Wire{link("transit.lhr", "shop.1.router", moments(110, 1, 112, 1, 114, 1))}, inAll: 1, part: "the link from transit.lhr to shop.1.router"},
		"in any order":              {nodes: map[string]*record.Late{"lhr.1": moments(130, 2, 110, 3, 128, 60)}, inAll: 30, part: "lhr.1"},
	} {
		r := &record.Records{Run: record.Run{Topology: topology(), Metrics: record.Metrics{Late: c.nodes, Wires: c.wires}}}
		if got := Of(r).Met(flow()); got.InAll != time.Duration(c.inAll*ms) || got.Part != c.part {
			t.Errorf("%s: met %v by %q, want %v by %q", name, got.InAll, got.Part, time.Duration(c.inAll*ms), c.part)
		}
	}
}

// How long the kernel took to take a flow's first packet is of its round trip.
func TestMetSend(t *testing.T) {
	r := &record.Records{Run: record.Run{Topology: topology(), Metrics: record.Metrics{Late: map[string]*record.Late{"lhr.1": moments(110, 3)}}}}
	f := flow()
	f.FoundNs, f.SendNs, f.EndNs = 5*ms, 8*ms, 300*ms
	if got, want := Of(r).Met(f).String(), "the kernel of shop.1.till came 8ms late to packets at 0.113 s"; got != want {
		t.Errorf("%q, want %q: the server was late at the same time", got, want)
	}
	f.FoundNs = 15 * ms
	if got := Of(r).Met(f); got.InAll != time.Duration(8*ms) {
		t.Errorf("met %+v, want 8ms, at 123ms", got)
	}
	if got := Of(r).Throughout(f); got.For != time.Duration(3*ms) {
		t.Errorf("met %+v throughout, want the server's 3ms", got)
	}
}

// The round trip of who asked a name server first began when that was over.
func TestMetOnceFound(t *testing.T) {
	r := &record.Records{Run: record.Run{Topology: topology(), Metrics: record.Metrics{Late: map[string]*record.Late{"lhr.1": moments(110, 3, 150, 2)}}}}
	f := flow()
	f.FoundNs = 20 * ms
	if got := Of(r).Met(f); got.InAll != time.Duration(2*ms) {
		t.Errorf("met %+v, want the 2ms at 150ms alone", got)
	}
}

// Who has no round trip met nothing.
func TestNoRoundTrip(t *testing.T) {
	r := &record.Records{Run: record.Run{Topology: topology(), Metrics: record.Metrics{Late: map[string]*record.Late{"lhr.1": moments(110, 30)}}}}
	f := flow()
	f.RTTNs = 0
	if got := Of(r).Met(f); got != (Met{}) || got.String() != "" {
		t.Errorf("met %+v: %q", got, got)
	}
}

// It is said who was late, by how much, and when.
func TestMetString(t *testing.T) {
	r := &record.Records{Run: record.Run{Topology: topology(), Metrics: record.Metrics{Late: map[string]*record.Late{"lhr.1": moments(110, 3), "web": moments(120, 1)}}}}
	if got, want := Of(r).Met(flow()).String(), "lhr.1 came 3ms late to packets at 0.110 s, all parts together 4ms"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// What a flow met throughout is of all its time, with a round trip or without.
func TestThroughout(t *testing.T) {
	r := &record.Records{Run: record.Run{Topology: topology(), Metrics: record.Metrics{Late: map[string]*record.Late{"lhr.1": moments(110, 3, 250, 7, 400, 9)}}}}
	f := flow()
	f.RTTNs, f.EndNs = 0, 300*ms
	if got := Of(r).Throughout(f); got.For != time.Duration(7*ms) || got.At != time.Duration(250*ms) {
		t.Errorf("met %+v, want the 7ms at 250ms", got)
	}
	r.Run.Metrics.LateHosts = map[string]*record.Late{"shop.1.till": moments(290, 8), "other": moments(200, 20)}
	f.RTTNs = 200 * ms
	if got, want := Of(r).Throughout(f).String(), "a program on shop.1.till came 8ms late to packets at 0.290 s, all parts together 10ms"; got != want {
		t.Errorf("met %q, want %q", got, want)
	}
	if got := Of(r).Met(f); got.Part != "lhr.1" {
		t.Errorf("a round trip met %+v, which programs are no part of", got)
	}
	if got := Of(r).Throughout(&record.Flow{Client: f.Client, Server: f.Server}); got != (Met{}) {
		t.Errorf("met %+v, want nothing", got)
	}
}
