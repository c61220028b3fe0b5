package dns

import (
	"net/netip"
	"testing"
)

var (
	london = netip.MustParseAddr("203.0.113.1")
	paris  = netip.MustParseAddr("203.0.113.2")
	client = netip.MustParseAddrPort("198.51.100.3:40000")
	at     = netip.MustParseAddrPort("203.0.113.53:53")
	source = netip.MustParseAddr("192.0.2.53")
	cdn    = netip.MustParseAddrPort("203.0.113.60:53")
)

// content answers Britain with London, and everybody else with Paris.
func content() *Server {
	return NewServer(&Config{Zones: []Zone{{
		Name: "cdn", Other: paris,
		Views: []View{{netip.MustParsePrefix("198.51.100.0/24"), paris}, {netip.MustParsePrefix("198.51.100.3/32"), london}},
	}}})
}

// answer is what a server says to a datagram.
func answer(t *testing.T, s *Server, payload []byte, from, to netip.AddrPort) Answer {
	t.Helper()
	d, ok := s.Handle(payload, from, to)
	a, read := ParseAnswer(d.Payload)
	if !ok || !read || d.From != to || d.To != from {
		t.Fatalf("%v, %v: want an answer from %v to %v", d, ok, to, from)
	}
	return a
}

// A name server picks by who asks, or by whom it is told of (RFC 7871).
func TestPicks(t *testing.T) {
	for _, c := range []struct {
		from, subnet string
		want         netip.Addr
	}{
		{from: "198.51.100.3:40000", want: london},
		{from: "198.51.100.4:40000", want: paris},
		{from: "192.0.2.1:40000", want: paris},
		{from: "192.0.2.1:40000", subnet: "198.51.100.3/32", want: london},
		{from: "198.51.100.3:40000", subnet: "192.0.2.0/24", want: paris},
	} {
		q := Ask(7, "CDN", london)
		if c.subnet != "" {
			q.EDNS, q.Subnet = true, netip.MustParsePrefix(c.subnet)
		}
		a := answer(t, content(), q.Append(nil), netip.MustParseAddrPort(c.from), cdn)
		if a.ID != 7 || a.Address != c.want || a.EDNS != q.EDNS || a.Subnet != q.Subnet {
			t.Errorf("from %s for %q: %+v, want %v", c.from, c.subnet, a, c.want)
		}
	}
}

// A resolver asks from its own address, and says who asked only if it is to.
func TestResolves(t *testing.T) {
	for _, tells := range []bool{false, true} {
		r := NewServer(&Config{Ask: []Delegation{{"cdn", cdn.Addr()}}, Source: source, ClientSubnet: tells})
		up, ok := r.Handle(Ask(9, "cdn", london).Append(nil), client, at)
		if !ok || up.From != netip.AddrPortFrom(source, Port) || up.To != cdn {
			t.Fatalf("%v, %v: want a question from %v to %v", up, ok, source, cdn)
		}
		down, ok := content().Handle(up.Payload, up.From, up.To)
		if !ok {
			t.Fatal("the name server says nothing")
		}
		if _, taken := r.Handle(down.Payload, client, at); taken {
			t.Error("an answer is taken from somebody who was not asked")
		}
		d, ok := r.Handle(down.Payload, down.From, down.To)
		a, _ := ParseAnswer(d.Payload)
		want := paris
		if tells {
			want = london
		}
		if !ok || d.From != at || d.To != client || a.ID != 9 || a.Address != want {
			t.Errorf("tells %v: %+v from %v to %v, want %v", tells, a, d.From, d.To, want)
		}
		if _, again := r.Handle(down.Payload, down.From, down.To); again {
			t.Error("the same answer is taken twice")
		}
	}
}

// Questions whose answers get lost do not keep a resolver from asking later ones:
// the oldest of them is forgotten.
func TestLostAnswers(t *testing.T) {
	r := NewServer(&Config{Ask: []Delegation{{"cdn", cdn.Addr()}}, Source: source})
	var first, last Datagram
	for n := range 1 << 17 { // beyond all ids
		up, ok := r.Handle(Ask(uint16(n), "cdn", london).Append(nil), client, at)
		if !ok || up.To != cdn {
			t.Fatalf("question %d: %v, %v; want it to be asked", n+1, up, ok)
		}
		if last = up; n == 0 {
			first = up
		}
	}
	if len(r.pending) != maxPending {
		t.Errorf("%d questions wait, want %d", len(r.pending), maxPending)
	}
	for name, up := range map[string]Datagram{"first": first, "last": last} {
		down, _ := content().Handle(up.Payload, up.From, up.To)
		if _, ok := r.Handle(down.Payload, down.From, down.To); ok != (name == "last") {
			t.Errorf("the answer to the %s question is taken: %v", name, ok)
		}
	}
}

// What nobody knows is refused, and a name has no address of the other family.
func TestUnknown(t *testing.T) {
	if a := answer(t, content(), Ask(1, "web", london).Append(nil), client, cdn); a.Code == 0 || a.Address.IsValid() {
		t.Errorf("%+v, want a refusal", a)
	}
	q := Ask(1, "cdn", netip.MustParseAddr("2001:db8::1"))
	if a := answer(t, content(), q.Append(nil), client, cdn); a.Code != 0 || a.Address.IsValid() {
		t.Errorf("%+v, want no address and no error", a)
	}
}

// Junk has no answer, and what a message says is what is read.
func FuzzHandle(f *testing.F) {
	q := Ask(7, "cdn", london)
	f.Add(q.Append(nil))
	q.EDNS, q.Subnet = true, netip.MustParsePrefix("198.51.100.3/32")
	f.Add(q.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := content()
		s.config.Ask = []Delegation{{"other", cdn.Addr()}}
		s.Handle(b, client, cdn)
		if q, ok := ParseQuery(b); ok {
			if again, ok := ParseQuery(q.Append(nil)); len(q.Name) > 0 && (!ok || again != q) {
				t.Errorf("%+v is read back as %+v, %v", q, again, ok)
			}
		}
	})
}
