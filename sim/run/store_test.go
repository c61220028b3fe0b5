package run

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// listener is a hub that notes what it learns, and when.
type listener struct {
	Hub
	heard []heard
}

type heard struct {
	at   vt.Instant
	what hub.Attachment
}

func (l *listener) Learn(now vt.Instant, all []hub.Attachment, out *hub.Out) {
	for _, a := range all {
		l.heard = append(l.heard, heard{now, a})
	}
	l.Hub.Learn(now, all, out)
}

// A server that begins anew is told where devices and connectors are and what the
// other servers use of addresses, in one order; what it used itself is free again, of
// which the others learn, each after its datacenter's propagation, and once
// (SEMANTICS 3.2, 5.5).
func TestRestartedServerAndItsUses(t *testing.T) {
	remote := netip.MustParseAddrPort("203.0.113.9:443")
	use := func(server ident.Server, addr string, flows int) hub.Attachment {
		return hub.Attachment{Use: &egress.Use{Addr: netip.MustParseAddr(addr), Proto: 6, Remote: remote, Server: server, Flows: flows}}
	}
	device := func(id ident.OnRamp, server ident.Server) hub.Attachment {
		return hub.Attachment{OnRamp: id, Server: server, Since: 5}
	}
	const first, second = "198.51.100.1", "198.51.100.2"
	for _, tt := range []struct {
		name  string
		where []hub.Attachment
		told  []hub.Attachment // to server 1, which restarts
		freed []hub.Attachment // of which all others learn
	}{
		{name: "nothing is known"},
		{name: "devices alone, its own too", where: []hub.Attachment{device(9, 2), device(7, 1)}, told: []hub.Attachment{device(7, 1), device(9, 2)}},
		{name: "another's use", where: []hub.Attachment{use(2, first, 3)}, told: []hub.Attachment{use(2, first, 3)}},
		{name: "its own use", where: []hub.Attachment{use(1, first, 3)}, freed: []hub.Attachment{use(1, first, 0)}},
		{
			name:  "uses of several",
			where: []hub.Attachment{use(1, second, 40_000), use(3, second, 1), use(2, first, 2), use(1, first, 7), device(7, 3)},
			told:  []hub.Attachment{use(2, first, 2), use(3, second, 1), device(7, 3)},
			freed: []hub.Attachment{use(1, first, 0), use(1, second, 0)},
		},
		{name: "told twice, the last holds", where: []hub.Attachment{use(1, first, 3), use(2, first, 8), use(2, first, 9)}, told: []hub.Attachment{use(2, first, 9)}, freed: []hub.Attachment{use(1, first, 0)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, all := listened(t)
			s := &w.store
			for i := range tt.where {
				s.where[tt.where[i].Subject()] = tt.where[i]
			}
			if told := s.restart(w, 1); !reflect.DeepEqual(told, tt.told) {
				t.Errorf("told %v, want %v", told, tt.told)
			}
			if again := s.restart(w, 1); !reflect.DeepEqual(again, tt.told) {
				t.Errorf("told %v when it restarts again, want %v", again, tt.told)
			}
			if err := w.engine.Run(w, vt.Instant(time.Second)); err != nil {
				t.Fatal(err)
			}
			for i, l := range all {
				var want []heard
				for _, a := range tt.freed {
					if x := w.servers[i]; x.plan.Config.Self != 1 {
						want = append(want, heard{vt.Instant(s.delays[x.plan.Datacenter]), a})
					}
				}
				if !reflect.DeepEqual(l.heard, want) {
					t.Errorf("server %d heard %v, want %v", i+1, l.heard, want)
				}
			}
		})
	}
}

// listened is a world of three servers in two datacenters, with traffic, and what its
// hubs hear.
func listened(t *testing.T) (*world, []*listener) {
	t.Helper()
	p := planOf(t, "address_move", "base")
	for i := range p.Datacenters {
		p.Datacenters[i].Propagation = time.Duration(100*(i+1)) * time.Millisecond
	}
	var all []*listener
	w, err := newWorld(p, Options{Watch: Watch{Hub: func(_ int, c hub.Config) (Hub, error) {
		h, err := hub.New(c)
		all = append(all, &listener{Hub: h})
		return all[len(all)-1], err
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 3 || len(p.Datacenters) < 2 || !slices.ContainsFunc(w.servers, func(s *server) bool { return s.plan.Datacenter != w.servers[0].plan.Datacenter }) {
		t.Fatalf("%d servers in %d datacenters, want three in two", len(all), len(p.Datacenters))
	}
	w.store.traffic = true
	return w, all
}
