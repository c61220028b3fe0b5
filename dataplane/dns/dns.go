// Package dns is names and who answers for them: a name server that picks its
// answer by where it is asked from, as content networks do, and a resolver that
// asks it on behalf of others.
//
// It is sans-IO: datagrams go in and come out, so that the lab's hosts and the
// simulator's say the same bytes. It caches nothing, because an answer would then
// depend on who asked before. Its law: a message is answered at most once, to who
// asked.
package dns

import (
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Port of name servers and resolvers (RFC 1035 section 4.2).
const Port = 53

// Zone is a name and its addresses.
type Zone struct {
	Name string `json:"name"` // "cdn", without the dot of the root
	// Views are whom to send where; the longest prefix that holds who asks wins.
	Views []View `json:"views"`
	// Other is the answer to everybody else.
	Other netip.Addr `json:"other"`
}

// View is the answer to those who ask from a prefix.
type View struct {
	From   netip.Prefix `json:"from"`
	Answer netip.Addr   `json:"answer"`
}

// Pick is the answer to who asks from an address.
func (z *Zone) Pick(from netip.Addr) netip.Addr {
	best := View{Answer: z.Other}
	for _, v := range z.Views {
		if v.From.Contains(from) && (!best.From.IsValid() || v.From.Bits() > best.From.Bits()) {
			best = v
		}
	}
	return best.Answer
}

// Delegation says who answers for a name.
type Delegation struct {
	Name   string     `json:"name"`
	Server netip.Addr `json:"server"`
}

// Config is what a server of names does. The zero value refuses everything.
type Config struct {
	// Zones that it answers for by itself.
	Zones []Zone `json:"zones,omitempty"`
	// Ask are the names that it asks others for, from Source.
	Ask    []Delegation `json:"ask,omitempty"`
	Source netip.Addr   `json:"source,omitzero"`
	// ClientSubnet tells those others who it is that asks (RFC 7871).
	ClientSubnet bool `json:"client_subnet,omitempty"`
}

// maxPending bounds the questions that wait for somebody else's answer. For one
// more the oldest is forgotten: its answer got lost, or is late.
const maxPending = 4096

// Server answers. Not safe for concurrent use. Use NewServer.
type Server struct {
	config *Config
	// pending are by the id that they were asked with, last the latest of those.
	pending map[uint16]pending
	last    uint16
}

// pending is a question that somebody else was asked.
type pending struct {
	query  Query
	client netip.AddrPort
	local  netip.AddrPort
	server netip.AddrPort
}

// NewServer returns a server, which only reads its configuration.
func NewServer(c *Config) *Server { return &Server{config: c, pending: map[uint16]pending{}} }

// Datagram is what is to be sent.
type Datagram struct {
	From, To netip.AddrPort
	Payload  []byte
}

// Handle takes a datagram that came from one address to another; false if it has
// no answer.
func (s *Server) Handle(payload []byte, from, to netip.AddrPort) (Datagram, bool) {
	if q, ok := ParseQuery(payload); ok {
		return s.asked(q, from, to)
	}
	a, ok := ParseAnswer(payload)
	p, waiting := s.pending[a.ID]
	if !ok || !waiting || from != p.server || a.Name != p.query.Name {
		return Datagram{}, false
	}
	delete(s.pending, a.ID)
	a.ID, a.Subnet, a.EDNS = p.query.ID, p.query.Subnet, p.query.EDNS
	return Datagram{p.local, p.client, a.Append(nil)}, true
}

// asked answers a question, or asks who can.
func (s *Server) asked(q Query, from, to netip.AddrPort) (Datagram, bool) {
	a := Answer{Query: q}
	for i := range s.config.Zones {
		z := &s.config.Zones[i]
		if z.Name != q.Name {
			continue
		}
		who := from.Addr()
		if q.Subnet.IsValid() {
			who = q.Subnet.Addr()
		}
		if pick := z.Pick(who); pick.IsValid() && pick.Is4() == (q.Type == dnsmessage.TypeA) {
			a.Address = pick
		}
		return Datagram{to, from, a.Append(nil)}, true
	}
	for _, d := range s.config.Ask {
		if d.Name == q.Name {
			return s.ask(q, from, to, netip.AddrPortFrom(d.Server, Port)), true
		}
	}
	a.Code = dnsmessage.RCodeRefused
	return Datagram{to, from, a.Append(nil)}, true
}

// ask makes a question of our own of somebody else's.
func (s *Server) ask(q Query, from, to, server netip.AddrPort) Datagram {
	s.last++
	delete(s.pending, s.last-maxPending)
	s.pending[s.last] = pending{q, from, to, server}
	up := Query{ID: s.last, Name: q.Name, Type: q.Type}
	if s.config.ClientSubnet {
		up.Subnet = q.Subnet
		if !up.Subnet.IsValid() {
			up.Subnet = netip.PrefixFrom(from.Addr(), from.Addr().BitLen())
		}
		up.EDNS = true
	}
	return Datagram{netip.AddrPortFrom(s.config.Source, Port), server, up.Append(nil)}
}

// plain is a name as the file has it: without the dot of the root, and in lower
// case, for names know none (RFC 4343).
func plain(n dnsmessage.Name) string { return strings.ToLower(strings.TrimSuffix(n.String(), ".")) }
