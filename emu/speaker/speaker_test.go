package speaker_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/speaker"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// roleEnv makes the test binary speak BGP for a router.
const roleEnv = "HOMEWARD_SPEAKER_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" {
		if err := speaker.Main(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// generated is a scenario of ASes with random relations around the world, with two
// or three datacenters, some with a peer beside their provider, and announcements
// that prepend or hold back.
func generated(seed uint64) *spec.Scenario {
	r := rand.New(rand.NewPCG(seed, 7))
	places := []string{"lhr", "cdg", "fra", "jfk", "nrt", "syd", "gru", "jnb", "sin", "arn"}
	r.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
	s := &spec.Scenario{Version: 1, Name: fmt.Sprintf("generated%d", seed), Seed: seed, Timers: spec.Timers{BGPHold: 1}}
	for i := range 2 + r.IntN(2) {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 32)
		p6 := netip.MustParsePrefix(fmt.Sprintf("2001:db8:10%d::/64", i))
		s.Datacenters = append(s.Datacenters, spec.Datacenter{ID: "dc" + strconv.Itoa(i), Place: places[i], Egress: []spec.Egress{{Prefix: p}, {Prefix: p6}}})
	}
	n := 4 + r.IntN(4)
	for i := range n {
		// Providers have lower numbers: nobody pays himself.
		t := spec.Transit{ID: "as" + strconv.Itoa(i), Near: spec.Near{{Code: places[i], Share: 1}}}
		for j := range i {
			switch other := "as" + strconv.Itoa(j); r.IntN(5) {
			case 0, 1:
				t.Providers = append(t.Providers, other)
			case 2:
				t.Peers = append(t.Peers, other)
			}
		}
		if i > 0 && t.Providers == nil {
			t.Providers = []string{"as" + strconv.Itoa(r.IntN(i))}
			t.Peers = slices.DeleteFunc(t.Peers, func(p string) bool { return p == t.Providers[0] })
		}
		s.Transit = append(s.Transit, t)
	}
	for _, d := range s.Datacenters {
		p := r.IntN(n)
		s.Transit[p].Customers = append(s.Transit[p].Customers, d.ID)
		if q := r.IntN(n); q != p && r.IntN(2) == 0 {
			s.Transit[q].Peers = append(s.Transit[q].Peers, d.ID)
		}
	}
	first := spec.Announce{Prefix: "tunnel", From: []string{"dc0"}}
	switch r.IntN(4) {
	case 0:
		first.Prepend = 1 + r.IntN(2)
	case 1:
		first.Communities = []string{"no_export"}
	case 2:
		first.Communities = []string{"graceful_shutdown", "64500:7"}
	}
	s.Announce = []spec.Announce{first, {Prefix: "tunnel", From: []string{"dc1"}}}
	if len(s.Datacenters) > 2 {
		s.Announce = append(s.Announce, spec.Announce{Prefix: "tunnel", From: []string{"dc2"}, Prepend: r.IntN(2)})
	}
	six := spec.Announce{Prefix: "2001:db8:100::/64", From: []string{"dc0"}, Prepend: r.IntN(3)}
	if r.IntN(3) == 0 {
		six.Communities = []string{"graceful_shutdown"}
	}
	s.Announce = append(s.Announce, six, spec.Announce{Prefix: "2001:db8:100::/64", From: []string{"dc1"}})
	s.Internet = []spec.InternetHost{{ID: "six", Address: netip.MustParseAddr("2001:db8:9::9"), Near: spec.Near{{Code: "as" + strconv.Itoa(r.IntN(n)), Share: 1}}}, {ID: "web", Address: netip.MustParseAddr("203.0.113.9"), Near: spec.Near{{Code: "as" + strconv.Itoa(r.IntN(n)), Share: 1}}}}
	return s
}

// topologies is how many are generated: three, or as many as the environment says.
func topologies(t *testing.T) uint64 {
	n, err := strconv.ParseUint(cmp.Or(os.Getenv("HOMEWARD_TOPOLOGIES"), "3"), 10, 16)
	if err != nil {
		t.Fatalf("HOMEWARD_TOPOLOGIES: %v", err)
	}
	return n
}

// expected is by whom each router has each prefix, as the path-vector says it,
// after a datacenter has withdrawn everything.
func expected(t *testing.T, p *plan.Plan, withdrawn string) map[string]map[string]string {
	t.Helper()
	w, routers, quiet := p.Network()
	for i := range p.Speakers {
		if p.Speakers[i].Node == withdrawn {
			for _, own := range p.Speakers[i].Originated() {
				w.Announce(i, own[0].Prefix, nil)
			}
		}
	}
	if !quiet || !w.Settle(1e6) {
		t.Fatal("never quiet")
	}
	all := map[string]map[string]string{}
	for i, s := range p.Speakers {
		all[s.Node] = map[string]string{}
		for _, prefix := range routers[i].Prefixes() {
			if best := routers[i].Best(prefix); best >= 0 {
				all[s.Node][prefix.String()] = s.Sessions[best].Node
			}
		}
	}
	return all
}

// Whose catchments are compared: of the address of all tunnels, and of a prefix of
// IPv6 that datacenters announce each in its own way.
const (
	tunnel = "198.18.0.1/32"
	egress = "2001:db8:100::/64"
)

// catchments is where packets for each end that enter at each AS, following the
// routers' tables.
func catchments(tables map[string]map[string]string) string {
	var all []string
	for _, prefix := range []string{tunnel, egress} {
		all = append(all, prefix+":")
		for _, at := range slices.Sorted(maps.Keys(tables)) {
			if !strings.HasPrefix(at, "transit.") {
				continue
			}
			end := at
			for range tables {
				next, ok := tables[end][prefix]
				if !ok {
					break
				}
				end = next
			}
			all = append(all, strings.TrimPrefix(at, "transit.")+"→"+strings.TrimSuffix(end, ".edge"))
		}
	}
	return strings.Join(all, " ")
}

// agree waits until all kernels have what is expected.
func agree(t *testing.T, kind speaker.Kind, f *speaker.Fleet, p *plan.Plan, want map[string]map[string]string, within time.Duration) map[string]map[string]string {
	t.Helper()
	late := time.Now().Add(within)
	for {
		got := map[string]map[string]string{}
		for _, s := range p.Speakers {
			got[s.Node] = f.Routes(s.Node)
		}
		if maps.EqualFunc(got, want, maps.Equal[map[string]string, map[string]string]) {
			return got
		}
		if time.Now().After(late) {
			for _, node := range slices.Sorted(maps.Keys(want)) {
				if !maps.Equal(got[node], want[node]) {
					t.Errorf("%s: %s has %v, want %v", kind, node, got[node], want[node])
				}
			}
			return got
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// BIRD as every router's speaker, GoBGP and the simulator's path-vector come to the
// same routes in every kernel, and so to the same catchments: on generated
// topologies, in peace, after a datacenter's withdrawal, and when it is back.
func TestCatchmentsAgree(t *testing.T) {
	need.Root(t)
	need.Tool(t, "bird")
	for seed := uint64(1); seed <= topologies(t); seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			p, err := plan.Compile(generated(seed))
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]string{}
			for _, kind := range speaker.Kinds() {
				seen[string(kind)] = live(t, p, kind)
			}
			want := catchments(expected(t, p, "")) + "; " + catchments(expected(t, p, "dc0.edge"))
			for kind, got := range seen {
				if got != want {
					t.Errorf("catchments\n%s: %s\nsim: %s", kind, got, want)
				}
			}
			t.Log(want)
		})
	}
}

// live brings the routers up and returns the catchments before and after dc0's
// withdrawal.
func live(t *testing.T, p *plan.Plan, kind speaker.Kind) string {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lab, err := keeper.Up(ctx, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	}()
	f := start(t, p, lab, kind)
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := f.Settled(ctx); err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	const away = "dc0.edge"
	s, _ := p.Speaker(away)
	before := agree(t, kind, f, p, expected(t, p, ""), 0)
	if err := f.Announce(away, nil); err != nil {
		t.Fatal(err)
	}
	after := agree(t, kind, f, p, expected(t, p, away), 10*time.Second)
	if err := f.Announce(away, s.Origins); err != nil {
		t.Fatal(err)
	}
	agree(t, kind, f, p, expected(t, p, ""), 10*time.Second)
	return catchments(before) + "; " + catchments(after)
}

func start(t *testing.T, p *plan.Plan, lab *keeper.Lab, kind speaker.Kind) *speaker.Fleet {
	t.Helper()
	f, err := speaker.Start(p, speaker.Options{
		Kind: kind, Exe: "/proc/self/exe", NS: lab.NS,
		Spawn: func(node string, cmd *exec.Cmd) error {
			cmd.Env = append(cmd.Environ(), roleEnv+"=1")
			return lab.Spawn(node, cmd)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// routers are a lab of a generated Internet in which nobody speaks yet.
func routers(t *testing.T) (*plan.Plan, *keeper.Lab) {
	t.Helper()
	p, err := plan.Compile(generated(1))
	if err != nil {
		t.Fatal(err)
	}
	lab, err := keeper.Up(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lab.Close() })
	return p, lab
}

// A speaker that is killed while routing settles is the error, at once.
func TestSpeakerLost(t *testing.T) {
	need.Root(t)
	p, lab := routers(t)
	f := start(t, p, lab, speaker.GoBGP)
	const node = "dc0.edge"
	if err := unix.Kill(f.Pids()[node], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := f.Settled(ctx); err == nil || !strings.Contains(err.Error(), "the speaker of "+node+" has ended") {
		t.Errorf("settled without a speaker: %v", err)
	}
	if err := f.Close(); err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("close: %v, want the speaker's end", err)
	}
}

// At no moment of its start has BIRD anything on the machine that whoever kills it,
// or the lab, would leave there.
func TestBIRDLeavesNothing(t *testing.T) {
	need.Root(t)
	need.Tool(t, "bird")
	t.Setenv("TMPDIR", t.TempDir())
	nothing := func(when string) {
		if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
			t.Errorf("%s there is %v in the machine's directory of temporary files, %v", when, left, err)
		}
	}
	p, lab := routers(t)
	f, err := speaker.Start(p, speaker.Options{
		Kind: speaker.BIRD, NS: lab.NS,
		Spawn: func(node string, cmd *exec.Cmd) error {
			nothing("before " + node + " starts")
			defer nothing("after " + node + " has started")
			return lab.Spawn(node, cmd)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for node, pid := range f.Pids() {
		socket := fmt.Sprintf("/proc/%d/fd/4/control", pid)
		if _, err := os.Stat(socket); err != nil {
			t.Errorf("%s has its control socket elsewhere: %v", node, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	nothing("in the end")
}
