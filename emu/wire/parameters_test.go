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

// Every node gets every parameter, though most are written for none but the first
// of a kind, and also where the machine's defaults, which namespaces copy, were
// changed while they were made.
func TestParametersAreInEveryNode(t *testing.T) {
	need.Root(t)
	last := len(everyKind().Nodes) - 1
	for _, tt := range []struct {
		name       string
		node       int // whose namespace began otherwise; -1: none
		key, value string
	}{
		{"all begin alike", -1, "", ""},
		{"the last one began otherwise", last - 5, "net.ipv4.conf.all.rp_filter", "1"},
		{"the first one began otherwise", 0, "net.ipv4.conf.all.send_redirects", "0"},
		{"the first router began otherwise", 1, "net.ipv4.icmp_ratelimit", "0"},
		{"the last router of IPv6 began otherwise", last, "net.ipv6.conf.default.accept_ra", "2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := everyKind()
			spaces := make(map[string]*netns.NS)
			for i := range p.Nodes {
				ns, err := netns.New()
				if err != nil {
					t.Fatal(err)
				}
				defer ns.Close()
				spaces[p.Nodes[i].ID] = ns
				if i == tt.node {
					if err := ns.Do(func() error { return apply([]setting{{key: tt.key, value: tt.value}}) }); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := Build(t.Context(), p, func(node string) *netns.NS { return spaces[node] }, nil); err != nil {
				t.Fatal(err)
			}
			for i := range p.Nodes {
				n := &p.Nodes[i]
				if err := spaces[n.ID].Do(func() error { return asWanted(n) }); err != nil {
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
	want := make(map[string][]string) // any of them, where there are attempts
	for _, s := range settings(n, n.Loopback != nil) {
		want[s.key] = append(want[s.key], s.value)
	}
	if n.Loopback != nil && n.Forward {
		want[forward6[0].key] = []string{forward6[0].value}
	}
	var wrong []error
	for key, value := range want {
		switch got, err := get(root, key); {
		case err != nil:
			wrong = append(wrong, fmt.Errorf("%s: %w", key, err))
		case !slices.Contains(value, got):
			wrong = append(wrong, fmt.Errorf("%s is %q, want %q", key, got, value))
		}
	}
	return errors.Join(errors.Join(wrong...), unix.Close(root))
}
