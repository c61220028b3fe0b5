package egress_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// sharing are all the servers that can share an address which a tenant has to
// itself, and the news between them.
type sharing struct {
	t       *testing.T
	servers [egress.Owners]*egress.Allocator
	flows   [egress.Owners]*flow.Table
	live    [egress.Owners][]flow.Index
	own     netip.Addr
	opened  int
	total   int
	// late is how many flows open before a server hears what another told.
	late int
	// news are under way, with when they arrive, in flows.
	news []arrival
}

type arrival struct {
	egress.Use
	at int
}

func newSharing(t *testing.T, late int) *sharing {
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
	s := &sharing{t: t, own: assigned[0].Addr, late: late}
	for i := range s.servers {
		s.servers[i] = egress.NewAllocator(7, d, ident.Server(i+1))
		s.flows[i] = flows(1 << 12)
	}
	return s
}

// open has a server open a flow, and says whether it could.
func (s *sharing) open(server int) bool {
	a, table := s.servers[server], s.flows[server]
	s.opened++
	s.deliver()
	k := key(s.opened, 17, web)
	at, ok := a.Allocate(table, &k, egress.From{Addr: s.own}, egress.Pool)
	if !ok {
		return false
	}
	i, _ := table.Insert(0, k, at)
	s.live[server] = append(s.live[server], i)
	s.total++
	a.Took(17, at, web)
	s.ask(server)
	return true
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
		s.news = append(s.news, arrival{u, s.opened + s.late})
	}
	if s.late == 0 {
		s.deliver()
	}
}

// deliver has the others learn what is due.
func (s *sharing) deliver() {
	for len(s.news) > 0 && s.news[0].at <= s.opened {
		u := s.news[0].Use
		s.news = s.news[1:]
		for _, a := range s.servers {
			a.LearnUse(&u)
			for _, more := range a.Uses() {
				s.news = append(s.news, arrival{more, s.opened + s.late})
			}
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
		"half, in turn": func(n int, _ *rand.Rand) int { return n % 2 * (1 + n/(2*share)) % egress.Owners },
		"in bursts":     func(n int, _ *rand.Rand) int { return n / 37 % egress.Owners },
		"twenty fill":   func(n int, _ *rand.Rand) int { return min(n/2000, egress.Owners-1) },
	} {
		t.Run(name, func(t *testing.T) {
			s, r := newSharing(t, 0), rand.New(rand.NewPCG(7, 7))
			for n := 0; s.total < egress.Together; n++ {
				if server := next(n, r); len(s.live[server]) < egress.SliceSize && !s.open(server) {
					t.Fatalf("server %d refused with %d in all", server+1, s.total)
				}
			}
			s.refused("with all open")
			for _, server := range []int{0, 11, 30} {
				if len(s.live[server]) == 0 {
					continue
				}
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
	s, r := newSharing(t, 0), rand.New(rand.NewPCG(7, 8))
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
		if len(s.live[server]) == egress.SliceSize {
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

// TestEG7Late: what goes beyond the bound are at most the flows whose news are under
// way: those that opened since, and of earlier ones, which nobody had told before, at
// most as many again.
func TestEG7Late(t *testing.T) {
	for _, late := range []int{1, 30, 300} {
		s, r := newSharing(t, late), rand.New(rand.NewPCG(7, 9))
		for range egress.Together + 10*late {
			s.open(r.IntN(egress.Owners))
		}
		if s.total < egress.Together || s.total > egress.Together+2*late {
			t.Errorf("with news %d flows late %d opened, want %d, or %d more", late, s.total, egress.Together, 2*late)
		}
		s.refused("after that")
	}
}
