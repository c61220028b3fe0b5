package run

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// firstZone is what the script adds to an on-ramp's number (topologies/export).
const firstZone = 1000

// tracked notes each connection in a server's kernel as the session that it is:
// nothing else of NFTables knows by what address a flow left. The kernel forgets
// those that ended long ago.
func (r *runner) tracked(s *plan.Server) error {
	var text []byte
	err := r.lab.NS(s.Node).Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/nf_conntrack")
		return err
	})
	if err != nil {
		return fmt.Errorf("connections of %s: %w", s.Node, err)
	}
	at, n := vt.Instant(r.since(time.Now())), uint32(0)
	for line := range strings.Lines(string(text)) {
		session, ok := connection(line)
		if !ok {
			continue
		}
		n++
		session.Tenant, session.Start = s.Config.OnRamps[0].Tenant, at
		binary.BigEndian.PutUint32(session.ID[:], uint32(s.Config.Self))
		binary.BigEndian.PutUint32(session.ID[4:], n)
		r.journal.Hub(s.Node, &hub.Event{Kind: hub.FlowStart, At: at, Tuple: session.Tuple, OnRamp: session.OnRamp, Session: &session})
	}
	return nil
}

// connection reads a line of /proc/net/nf_conntrack: what the client sent, the
// zone of that direction, and the addresses of the reply. ok is false for one
// that came by no tunnel.
func connection(line string) (s hub.Session, ok bool) {
	f := strings.Fields(line) // family, its number, protocol, its number, timeout, …
	if len(f) < 5 {
		return s, false
	}
	proto, err := strconv.ParseUint(f[3], 10, 8)
	if err != nil {
		return s, false
	}
	first, second := map[string]string{}, map[string]string{}
	for _, word := range f[5:] {
		name, value, _ := strings.Cut(word, "=")
		if _, twice := first[name]; twice {
			second[name] = value
		} else {
			first[name] = value
		}
	}
	zone, err := strconv.ParseUint(first["zone-orig"], 10, 16)
	if err != nil || zone < firstZone {
		return s, false
	}
	from, to := first["sport"], second["dport"]
	if proto == pkt.ProtoICMP {
		from, to = first["id"], second["id"]
	}
	s.OnRamp, s.Tuple.Proto = ident.OnRamp(zone-firstZone), uint8(proto)
	s.Tuple.Src = endpoint(first["src"], from)
	s.Tuple.Dst = endpoint(first["dst"], first["dport"])
	s.Egress = endpoint(second["dst"], to)
	return s, s.Tuple.Src.IsValid() && s.Egress.IsValid()
}

// endpoint joins an address and a port; without a port that is 0.
func endpoint(addr, port string) netip.AddrPort {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.AddrPort{}
	}
	n, _ := strconv.ParseUint(port, 10, 16) // absent of ICMP
	return netip.AddrPortFrom(a, uint16(n))
}
