package dns

import (
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// optionSubnet is the EDNS option that says who asks (RFC 7871 section 6):
//
//	+0 family (1 is IPv4, 2 is IPv6)   +2 source prefix length   +3 scope prefix length   +4 address, cut to the prefix
const optionSubnet = 8

// Families of optionSubnet (IANA address family numbers).
const (
	family4 = 1
	family6 = 2
)

// ednsSize is the largest message that we say to take (RFC 6891 section 6.2.5).
const ednsSize = 1232

// Query is a question for a name's address.
type Query struct {
	ID   uint16
	Name string // without the dot of the root
	// Type is dnsmessage.TypeA or TypeAAAA.
	Type dnsmessage.Type
	// EDNS says that the message has an OPT record, as its answer has then (RFC
	// 6891 section 7); Subnet is what that says of who asks, invalid if nothing.
	EDNS   bool
	Subnet netip.Prefix
}

// Ask is the question for a name's address in the family of another address.
func Ask(id uint16, name string, like netip.Addr) Query {
	q := Query{ID: id, Name: name, Type: dnsmessage.TypeA}
	if like.Is6() {
		q.Type = dnsmessage.TypeAAAA
	}
	return q
}

// Answer is what is said to a question. Address is invalid if the name has none of
// the type.
type Answer struct {
	Query
	Code    dnsmessage.RCode
	Address netip.Addr
}

// Append appends the message. A name that none can have makes it empty.
func (q Query) Append(b []byte) []byte {
	return q.append(b, dnsmessage.Header{ID: q.ID, RecursionDesired: true}, netip.Addr{})
}

// Append likewise.
func (a Answer) Append(b []byte) []byte {
	h := dnsmessage.Header{ID: a.ID, Response: true, RecursionDesired: true, RecursionAvailable: true, RCode: a.Code}
	return a.append(b, h, a.Address)
}

func (q Query) append(b []byte, h dnsmessage.Header, address netip.Addr) []byte {
	name, err := dnsmessage.NewName(q.Name + ".")
	if err != nil {
		return b
	}
	m := dnsmessage.Message{Header: h, Questions: []dnsmessage.Question{{Name: name, Type: q.Type, Class: dnsmessage.ClassINET}}}
	if address.IsValid() {
		rr := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Type: q.Type, Class: dnsmessage.ClassINET}}
		if address.Is4() {
			rr.Body = &dnsmessage.AResource{A: address.As4()}
		} else {
			rr.Body = &dnsmessage.AAAAResource{AAAA: address.As16()}
		}
		m.Answers = append(m.Answers, rr)
	}
	if q.EDNS {
		opt := dnsmessage.Resource{Body: &dnsmessage.OPTResource{}}
		if q.Subnet.IsValid() {
			opt.Body = &dnsmessage.OPTResource{Options: []dnsmessage.Option{{Code: optionSubnet, Data: subnet(q.Subnet, h.Response)}}}
		}
		if opt.Header.SetEDNS0(ednsSize, dnsmessage.RCodeSuccess, false) != nil {
			return b // it fails for no argument of ours
		}
		m.Additionals = append(m.Additionals, opt)
	}
	if out, err := m.AppendPack(b); err == nil {
		return out
	}
	return b
}

// subnet writes the option. An answer says that it is for all of the prefix.
func subnet(p netip.Prefix, answer bool) []byte {
	p = p.Masked()
	family, scope := byte(family4), byte(0)
	if p.Addr().Is6() {
		family = family6
	}
	if answer {
		scope = byte(p.Bits())
	}
	return append([]byte{0, family, byte(p.Bits()), scope}, p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
}

// ParseQuery reads a question of one of our types; false if it is something else.
func ParseQuery(b []byte) (Query, bool) {
	m, q, ok := parse(b)
	return q, ok && !m.Response && m.OpCode == 0
}

// ParseAnswer reads an answer.
func ParseAnswer(b []byte) (Answer, bool) {
	m, q, ok := parse(b)
	if !ok || !m.Response {
		return Answer{}, false
	}
	a := Answer{Query: q, Code: m.RCode}
	for i := range m.Answers {
		switch r := m.Answers[i].Body.(type) {
		case *dnsmessage.AResource:
			a.Address = netip.AddrFrom4(r.A)
		case *dnsmessage.AAAAResource:
			a.Address = netip.AddrFrom16(r.AAAA)
		}
	}
	return a, true
}

func parse(b []byte) (m dnsmessage.Message, q Query, ok bool) {
	if m.Unpack(b) != nil || len(m.Questions) != 1 {
		return m, q, false
	}
	asked := m.Questions[0]
	if asked.Class != dnsmessage.ClassINET || asked.Type != dnsmessage.TypeA && asked.Type != dnsmessage.TypeAAAA {
		return m, q, false
	}
	q = Query{ID: m.ID, Name: plain(asked.Name), Type: asked.Type}
	for i := range m.Additionals {
		opt, edns := m.Additionals[i].Body.(*dnsmessage.OPTResource)
		if !edns {
			continue
		}
		q.EDNS = true
		for _, o := range opt.Options {
			if o.Code == optionSubnet {
				q.Subnet = parseSubnet(o.Data)
			}
		}
	}
	return m, q, true
}

// parseSubnet reads the option; invalid if it is none, or says nothing of who asks
// (a prefix of length 0).
func parseSubnet(b []byte) netip.Prefix {
	if len(b) < 4 || b[0] != 0 {
		return netip.Prefix{}
	}
	var a [16]byte
	bits, size := int(b[2]), 16
	if b[1] == family4 {
		size = 4
	} else if b[1] != family6 {
		return netip.Prefix{}
	}
	if bits == 0 || bits > 8*size || len(b)-4 != (bits+7)/8 {
		return netip.Prefix{}
	}
	copy(a[:], b[4:])
	addr, _ := netip.AddrFromSlice(a[:size])
	return netip.PrefixFrom(addr, bits).Masked()
}
