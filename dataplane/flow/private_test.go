package flow_test

import (
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/flow"
)

// TestPrivate: the edges of what no router of the Internet knows.
func TestPrivate(t *testing.T) {
	for text, want := range map[string]bool{
		"9.255.255.255": false, "10.0.0.0": true, "10.255.255.255": true, "11.0.0.0": false,
		"172.15.255.255": false, "172.16.0.0": true, "172.31.255.255": true, "172.32.0.0": false,
		"192.167.255.255": false, "192.168.0.0": true, "192.168.255.255": true, "192.169.0.0": false,
		"100.63.255.255": false, "100.64.0.0": true, "100.127.255.255": true, "100.128.0.0": false,
		"203.0.113.9": false, "0.0.0.0": false, "255.255.255.255": false,
		"fbff::1": false, "fc00::": true, "fdff:ffff::1": true, "fe00::": false, "fe80::1": false,
		"2606:4700:cf0:ffff::1": false, "2606:4700:cf1:1000::1": true, "2606:4700:cf2::": false,
		"2001:db8::1": false, "::": false, "::1": false,
	} {
		b := netip.MustParseAddr(text).As16()
		if got := flow.Private(&b); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestPrivatePrefix(t *testing.T) {
	for text, want := range map[string]bool{
		"10.0.0.0/8": true, "10.9.0.0/16": true, "8.0.0.0/6": false, "0.0.0.0/0": false, "10.0.1.5/32": true,
		"172.16.0.0/12": true, "172.16.0.0/11": false, "192.168.0.0/16": true, "192.168.0.0/15": false,
		"100.64.0.0/10": true, "100.64.0.0/9": false, "203.0.113.0/24": false,
		"fc00::/7": true, "fd00:1::/64": true, "::/0": false, "f000::/4": false, "2606:4700:cf1::/48": true, "2606:4700:cf0::/47": false, "2001:db8::/32": false,
	} {
		if got := flow.PrivatePrefix(netip.MustParsePrefix(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if flow.PrivatePrefix(netip.Prefix{}) {
		t.Error("no prefix is private")
	}
}

// TestEnds: a packet and its reply have one hash; another tenant, protocol or
// port another.
func TestEnds(t *testing.T) {
	k := flow.Key{Tenant: 1, Proto: 6, SrcPort: 40000, DstPort: 443}
	k.Src, k.Dst = netip.MustParseAddr("10.0.1.5").As16(), netip.MustParseAddr("10.9.0.10").As16()
	want := flow.Ends(7, &k)
	back := k
	back.Src, back.Dst, back.SrcPort, back.DstPort, back.Scope, back.VNet = k.Dst, k.Src, k.DstPort, k.SrcPort, 9, 3
	if got := flow.Ends(7, &back); got != want {
		t.Errorf("the reply has %x, want %x", got, want)
	}
	for name, edit := range map[string]func(*flow.Key){
		"tenant": func(k *flow.Key) { k.Tenant++ }, "protocol": func(k *flow.Key) { k.Proto++ }, "source port": func(k *flow.Key) { k.SrcPort++ },
		"destination port": func(k *flow.Key) { k.DstPort++ }, "ports changed": func(k *flow.Key) { k.SrcPort, k.DstPort = k.DstPort, k.SrcPort },
		"source": func(k *flow.Key) { k.Src[15]++ }, "destination": func(k *flow.Key) { k.Dst[15]++ },
	} {
		other := k
		edit(&other)
		if flow.Ends(7, &other) == want {
			t.Errorf("another %s has the same hash", name)
		}
	}
	if flow.Ends(8, &k) == want {
		t.Error("another seed has the same hash")
	}
}
