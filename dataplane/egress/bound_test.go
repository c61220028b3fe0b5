package egress_test

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// sharing are all the servers that can share an address which a tenant has to
// itself, and the news between them.
type sharing struct {
	t         *testing.T
	directory *egress.Directory
	servers   [egress.Owners]*egress.Allocator
	flows     [egress.Owners]*flow.Table
	live      [egress.Owners][]flow.Index
	own       netip.Addr
	opened    int
	total     int
	// late says in how many flows a server hears what another told.
	late func() int
	// news are under way, in the order in which they arrive.
	news []arrival
}

type arrival struct {
	egress.Use
	at int
}

// lost is how late news are that never arrive.
const lost = -1

func onTime() int { return 0 }

func newSharing(t *testing.T, late func() int) *sharing {
	t.Helper()
	assigned, err := egress.Assign(1, pool(1), numbered(egress.Owners))
	if err != nil {
		t.Fatal(err)
	}
	assigned[0].Tenant = 1
	d, err := egress.NewDirectory(assigned)
	if err != nil {
		t.Fatal(err)
	}
	s := &sharing{t: t, directory: d, own: assigned[0].Addr, late: late}
	for i := range s.servers {
		s.start(i)
	}
	return s
}

// start has a server begin, or begin anew without its flows and all that it knew.
func (s *sharing) start(server int) {
	s.servers[server] = egress.NewAllocator(7, s.directory, ident.Server(server+1))
	s.flows[server] = flows(1 << 12)
	s.total -= len(s.live[server])
	s.live[server] = nil
}

// open has a server open a flow, or one that it hands the flow on to, and says whether
// any could.
func (s *sharing) open(server int) bool {
	s.opened++
	s.deliver()
	k := key(s.opened, 17, web)
	home := ident.Server(server + 1)
	for range 3 {
		a, table := s.servers[server], s.flows[server]
		if at, ok := a.Allocate(table, &k, egress.From{Addr: s.own}, egress.Pool); ok {
			i, _ := table.Insert(0, k, at)
			s.live[server] = append(s.live[server], i)
			s.total++
			a.Took(17, at, web)
			s.ask(server)
			return true
		}
		to := a.Elsewhere(&k, egress.From{Addr: s.own}, func(other ident.Server) bool { return other != home })
		if to == 0 {
			return false
		}
		server = int(to) - 1
	}
	return false
}

// end ends the flow that a server opened first.
func (s *sharing) end(server int) {
	i := s.live[server][0]
	s.live[server] = s.live[server][1:]
	at := s.flows[server].At(i).Egress()
	s.flows[server].Remove(i)
	s.total--
	s.servers[server].Freed(17, at, web)
	s.ask(server)
}

// ask takes what a server has to tell.
func (s *sharing) ask(server int) {
	for _, u := range s.servers[server].Uses() {
		if late := s.late(); late != lost {
			s.news = append(s.news, arrival{u, s.opened + late})
		}
	}
	slices.SortStableFunc(s.news, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	s.deliver()
}

// deliver has the others learn what is due.
func (s *sharing) deliver() {
	for len(s.news) > 0 && s.news[0].at <= s.opened {
		u := s.news[0].Use
		s.news = s.news[1:]
		for _, a := range s.servers {
			a.LearnUse(&u)
		}
	}
}

// refused wants every server to refuse the next flow.
func (s *sharing) refused(when string) {
	s.t.Helper()
	for server := range s.servers {
		if s.open(server) {
			s.t.Fatalf("%s server %d opened another: %d in all", when, server+1, s.total)
		}
	}
}

// TestEG7Exact: however flows are spread over servers and time, the servers that
// share an account's address open 40,000 of them toward one remote end and not one
// more nor less, as long as each hears what the others told before the next flow
// (SEMANTICS EG-7).
func TestEG7Exact(t *testing.T) {
	const share = egress.Together / egress.Owners
	for name, next := range map[string]func(n int, r *rand.Rand) int{
		"evenly":        func(n int, _ *rand.Rand) int { return n % egress.Owners },
		"by chance":     func(_ int, r *rand.Rand) int { return r.IntN(egress.Owners) },
		"one by one":    func(n int, _ *rand.Rand) int { return min(n/share, egress.Owners-1) },
		"all to one":    func(int, *rand.Rand) int { return 4 },
		"half, in turn": func(n int, _ *rand.Rand) int { return n % 2 * (1 + n/(2*share)) % egress.Owners },
		"in bursts":     func(n int, _ *rand.Rand) int { return n / 37 % egress.Owners },
		"twenty fill":   func(n int, _ *rand.Rand) int { return min(n/2000, egress.Owners-1) },
	} {
		t.Run(name, func(t *testing.T) {
			s, r := newSharing(t, onTime), rand.New(rand.NewPCG(7, 7))
			for n := 0; s.total < egress.Together; n++ {
				if server := next(n, r); !s.open(server) {
					t.Fatalf("server %d refused with %d in all", server+1, s.total)
				}
			}
			s.refused("with all open")
			for _, server := range []int{0, 11, 30} {
				s.end(server)
				if !s.open((server + 5) % egress.Owners) {
					t.Fatalf("a flow of server %d ended, and no other took its place", server+1)
				}
				s.refused("again")
			}
		})
	}
}

// TestEG7Ending: the same while flows end: nobody refuses while there is room, and
// nobody opens where there is none.
func TestEG7Ending(t *testing.T) {
	s, r := newSharing(t, onTime), rand.New(rand.NewPCG(7, 8))
	refused := 0
	for range 200_000 {
		server := r.IntN(egress.Owners)
		ends := 20 // of a hundred, and more where many are open
		if s.total > egress.Together-200 {
			ends = 50
		}
		if r.IntN(100) < ends && len(s.live[server]) > 0 {
			s.end(server)
			continue
		}
		room := s.total < egress.Together
		if opened := s.open(server); opened != room {
			t.Fatalf("with %d in all server %d opened one: %v", s.total, server+1, opened)
		} else if !opened {
			refused++
		}
	}
	if refused < 100 {
		t.Errorf("%d were refused, want the bound to be met often", refused)
	}
}

// TestEG7AnyDelay: however late news are and in whatever order, though some are lost
// and servers begin anew knowing nothing, there are never more than the bound.
func TestEG7AnyDelay(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(7, seed))
		s := newSharing(t, func() int {
			if r.IntN(10) == 0 {
				return lost
			}
			return r.IntN(1 + 3000*int(seed))
		})
		met := 0
		for range 120_000 {
			switch server := r.IntN(egress.Owners); {
			case r.IntN(20_000) == 0:
				s.start(server)
			case r.IntN(8) == 0 && len(s.live[server]) > 0:
				s.end(server)
			case !s.open(server):
				met++
			}
			if s.total > egress.Together {
				t.Fatalf("seed %d: %d flows, want %d at most", seed, s.total, egress.Together)
			}
		}
		if met == 0 {
			t.Errorf("seed %d: nothing was ever refused, %d at the end", seed, s.total)
		}
	}
}

// TestEG7Draining: where an address was it has flows that go on: where it is now
// there is room for so many fewer.
func TestEG7Draining(t *testing.T) {
	const draining = 5000
	s := newSharing(t, onTime)
	held := map[flow.Key]ident.Server{}
	for n := range draining {
		port := uint16(egress.SliceSize + n*12)
		held[flow.ReverseKey(17, netip.AddrPortFrom(s.own, port), web)] = 99
	}
	for _, a := range s.servers {
		a.Hold(held)
	}
	for n := 0; s.open(n % egress.Owners); n++ {
	}
	if s.total != egress.Together-draining {
		t.Errorf("%d opened while %d drained, want %d in all", s.total, draining, egress.Together)
	}
}
