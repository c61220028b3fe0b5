package run

import (
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/pkt"
)

func TestConnection(t *testing.T) {
	at := netip.MustParseAddrPort
	for _, c := range []struct {
		line string
		want hub.Session
		ok   bool
	}{
		{"ipv4     2 tcp      6 111 TIME_WAIT src=10.0.1.5 dst=203.0.113.9 sport=45204 dport=443 zone-orig=1006 src=203.0.113.9 dst=198.51.100.1 sport=443 dport=3013 [ASSURED] mark=1006 use=2\n",
			hub.Session{OnRamp: 6, Tuple: hub.Tuple{Proto: pkt.ProtoTCP, Src: at("10.0.1.5:45204"), Dst: at("203.0.113.9:443")}, Egress: at("198.51.100.1:3013")}, true},
		{"ipv4     2 icmp     1 29 src=10.0.1.5 dst=203.0.113.9 type=8 code=0 id=7 zone-orig=1001 src=203.0.113.9 dst=198.51.100.2 type=0 code=0 id=2048 mark=1001 use=1\n",
			hub.Session{OnRamp: 1, Tuple: hub.Tuple{Proto: pkt.ProtoICMP, Src: at("10.0.1.5:7"), Dst: at("203.0.113.9:0")}, Egress: at("198.51.100.2:2048")}, true},
		{"ipv4     2 tcp      6 5 src=10.0.1.5 dst=203.0.113.9 sport=1 dport=2 src=203.0.113.9 dst=10.0.1.5 sport=2 dport=1 use=2\n", hub.Session{}, false},
		{"", hub.Session{}, false},
		{"ipv4 2 tcp six 5 zone-orig=1001\n", hub.Session{}, false},
	} {
		got, ok := connection(c.line)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%q: got %+v, %t; want %+v, %t", c.line, got, ok, c.want, c.ok)
		}
	}
}
