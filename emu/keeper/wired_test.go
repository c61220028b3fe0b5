package keeper_test

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/internal/need"
)

// inside runs f in a node's namespace.
func inside(t *testing.T, lab *keeper.Lab, node string, f func() error) {
	t.Helper()
	if err := lab.NS(node).Do(f); err != nil {
		t.Fatal(err)
	}
}

// interfaces of a node: name, number, MTU, MAC, addresses.
func interfaces(t *testing.T, lab *keeper.Lab, node string) (out []string) {
	t.Helper()
	inside(t, lab, node, func() error {
		all, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, i := range all {
			addrs, err := i.Addrs()
			if err != nil {
				return err
			}
			out = append(out, fmt.Sprint(i.Index, " ", i.Name, " ", i.MTU, " ", i.HardwareAddr, " ", addrs))
		}
		return nil
	})
	return out
}

// Names, numbers, sizes, MACs and addresses are the plan's; there is no other
// address, of IPv6 least of all.
func TestInterfacesAreThePlans(t *testing.T) {
	need.Root(t)
	p := withBranch(small())
	lab := labtest.Up(t, p)
	want := []string{
		"1 lo 65536  [127.0.0.1/8]",
		fmt.Sprintf("2 lan 1500 %v [10.0.1.1/32]", p.Links[0].B.MAC),
		fmt.Sprintf("3 s1 1600 %v [192.0.2.0/31]", p.Links[1].A.MAC),
		fmt.Sprintf("4 s2 1600 %v [192.0.2.2/31]", p.Links[2].A.MAC),
		"5 gre1 1476 02:00:00:00:09:01 [169.254.240.1/31]",
		"6 gre1x 1500 02:00:00:00:09:02 []",
	}
	if got := interfaces(t, lab, "router"); !slices.Equal(got, want) {
		t.Errorf("router has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// New namespaces inherit the host's values: each is set, whatever the host says.
func TestKernelParametersAreThePlans(t *testing.T) {
	need.Root(t)
	lab := labtest.Up(t, withBranch(small()))
	tests := []struct{ node, key, want string }{
		{"host", "net/ipv4/ip_forward", "0"},
		{"router", "net/ipv4/ip_forward", "1"},
		{"router", "net/ipv4/conf/all/rp_filter", "0"},
		{"router", "net/ipv4/conf/s1/rp_filter", "0"},
		{"router", "net/ipv4/conf/s1/send_redirects", "0"},
		{"router", "net/ipv4/conf/s1/forwarding", "1"},
		{"router", "net/ipv4/conf/s1/accept_local", "0"},
		{"router", "net/ipv4/conf/gre1/forwarding", "1"},
		{"router", "net/ipv4/conf/gre1/accept_local", "1"}, // a probe of type reply is from itself
		{"router", "net/ipv4/conf/gre1x/forwarding", "0"},  // its packets are a program's
		{"router", "net/ipv4/fib_multipath_hash_policy", "3"},
		{"router", "net/ipv4/fib_multipath_hash_fields", "55"},
		{"router", "net/ipv4/icmp_ratemask", "0"},
		{"server1", "net/ipv4/fib_multipath_hash_policy", "0"},
		{"host", "net/ipv4/ip_local_port_range", "1024\t65535"},
		{"web", "net/ipv4/tcp_mtu_probing", "0"},
	}
	for _, tt := range tests {
		inside(t, lab, tt.node, func() error {
			got, err := os.ReadFile("/proc/sys/" + tt.key)
			if strings.TrimSpace(string(got)) != tt.want {
				t.Errorf("%s: %s = %q, want %q", tt.node, tt.key, got, tt.want)
			}
			return err
		})
	}
}

// When a server's namespace goes, its hop leaves the group, and every flow goes
// to the other. A plain multipath route would be gone.
func TestRouteOutlivesOneHop(t *testing.T) {
	need.Root(t)
	labtest.Clean(t)
	lab := labtest.Up(t, small())
	echo(t, lab, "web")
	if err := lab.NS("server1").Close(); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		names := strings.Join(interfaces(t, lab, "router"), "\n")
		if !strings.Contains(names, " s1 ") {
			break
		}
		if time.Since(start) > 10*time.Second {
			t.Fatalf("10 s after its server's end the router still has\n%s", names)
		}
	}
	for range 20 {
		if err := ask(lab, "host", "203.0.113.9:7", 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
}
