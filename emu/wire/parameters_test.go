package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// everyKind is a plan without links of several nodes of each kind that differ in
// their parameters.
func everyKind() *plan.Plan {
	p := &plan.Plan{Scenario: "kinds", Seed: 7}
	add := func(n plan.Node) {
		n.ID = fmt.Sprintf("n%d", len(p.Nodes))
		p.Nodes = append(p.Nodes, n)
	}
	v6 := []netip.Prefix{netip.MustParsePrefix("2001:db8::1/128")}
	for range 3 {
		for _, loopback := range [][]netip.Prefix{nil, v6} {
			add(plan.Node{Kind: plan.KindHost, Loopback: loopback})
			add(plan.Node{Kind: plan.KindTransit, Forward: true, Loopback: loopback})
			add(plan.Node{Kind: plan.KindTransit, Forward: true, Multipath: true, Loopback: loopback})
		}
	}
	return p
}

// Who opens connections, or is asked for them, has the buffers and the congestion
// control that virtual time has.
func TestWhoHasSockets(t *testing.T) {
	for kind, want := range map[plan.Kind]bool{
		plan.KindHost: true, plan.KindOrigin: true, plan.KindDevice: true, plan.KindServer: true,
		plan.KindBranch: false, plan.KindConnector: false, plan.KindTransit: false, plan.KindEdge: false,
	} {
		all := settings(classOf(&plan.Node{Kind: kind}, false))
		got := slices.ContainsFunc(all, func(s setting) bool { return s.key == "net.ipv4.tcp_rmem" })
		if got != want {
			t.Errorf("%s: tcp_rmem is set: %v, want %v", kind, got, want)
		}
	}
}

// Every node gets every parameter, though most are written for none but the first
// of a kind; and where the machine's defaults, which namespaces copy, were changed
// while they were made, that is found out.
func TestParametersAreInEveryNode(t *testing.T) {
	need.Root(t)
	last := len(everyKind().Nodes) - 1
	for _, tt := range []struct {
		name       string
		node       int // whose namespace began otherwise; -1: none
		key, value string
		want       error
	}{
		{"all begin alike", -1, "", "", nil},
		{"the last one began otherwise", last - 5, "net.ipv4.conf.all.rp_filter", "1", ErrChanged},
		{"the first one began otherwise", 0, "net.ipv4.conf.all.accept_redirects", "0", ErrChanged},
		{"the first router began otherwise", 1, "net.ipv4.icmp_ratemask", "0", ErrChanged},
		{"the last one began otherwise in what is written to all", last, "net.ipv6.conf.default.accept_ra", "2", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := everyKind()
			spaces := make([]*netns.NS, len(p.Nodes))
			for i := range p.Nodes {
				ns, err := netns.New()
				if err != nil {
					t.Fatal(err)
				}
				defer ns.Close()
				spaces[i] = ns
				if i == tt.node {
					if err := ns.Do(func() error { return apply([]setting{{key: tt.key, value: tt.value}}) }); err != nil {
						t.Fatal(err)
					}
				}
			}
			err := Build(t.Context(), p, func(t *netns.Thread, i int) (*netns.NS, error) { return spaces[i], t.Enter(spaces[i]) }, nil)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			for i := range p.Nodes {
				n := &p.Nodes[i]
				if err := spaces[i].Do(func() error { return asWanted(n) }); err != nil {
					t.Errorf("%s (forward %v, multipath %v, loopback %v): %v", n.ID, n.Forward, n.Multipath, n.Loopback, err)
				}
			}
		})
	}
}

// asWanted says which parameters of the calling thread's namespace are not as the
// node is to have them.
func asWanted(n *plan.Node) error {
	root, err := procfs()
	if err != nil {
		return err
	}
	f := openFiles(root)
	v6 := n.Loopback != nil
	want := make(map[string][]string) // any of them, where there are attempts
	for _, s := range settings(classOf(n, v6)) {
		want[s.key] = append(want[s.key], s.of(&place{plan: n}))
	}
	want[disable6] = []string{off6(v6)}
	want["net.ipv6.conf.default.disable_ipv6"] = want[disable6]
	for _, key := range []string{"rp_filter", "send_redirects", "accept_redirects", "accept_local"} {
		want["net.ipv4.conf.lo."+key] = []string{"0"}
	}
	if v6 && n.Forward {
		want[forward6[0].key] = []string{forward6[0].value}
	}
	var wrong []error
	for key, value := range want {
		switch got, err := f.get(key); {
		case err != nil:
			wrong = append(wrong, fmt.Errorf("%s: %w", key, err))
		case !slices.Contains(value, got):
			wrong = append(wrong, fmt.Errorf("%s is %q, want %q", key, got, value))
		}
	}
	return errors.Join(errors.Join(wrong...), f.close(), unix.Close(root))
}
