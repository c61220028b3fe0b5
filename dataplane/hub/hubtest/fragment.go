package hubtest

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// Cut divides an IPv4 packet into fragments of at most size bytes of payload,
// a multiple of eight, with identification id.
func Cut(packet []byte, size int, id uint16) (fragments [][]byte) {
	v := Decode(packet)
	payload := v.IP.Payload
	for from := 0; from < len(payload); from += size {
		ip := *v.IP
		ip.Flags, ip.FragOffset, ip.Id = 0, uint16(from/8), id
		to := min(from+size, len(payload))
		if to < len(payload) {
			ip.Flags = layers.IPv4MoreFragments
		}
		fragments = append(fragments, serialize(&ip, gopacket.Payload(payload[from:to])))
	}
	return fragments
}

// datagram names a fragmented packet and where it was seen.
type datagram struct {
	site     ident.OnRamp
	server   ident.Server
	src, dst netip.Addr
	id       uint16
	proto    layers.IPProtocol
}

// Whole puts the fragments among the arrivals together, each datagram in the
// place of its last piece. Pieces of what is not complete, or came twice, are
// left out.
func Whole(arrived []Arrival) (all []Arrival) {
	pieces := make(map[datagram][]*layers.IPv4)
	for _, a := range arrived {
		v := Decode(a.Packet)
		if v.IP == nil || v.IP.FragOffset == 0 && v.IP.Flags&layers.IPv4MoreFragments == 0 {
			all = append(all, a)
			continue
		}
		d := datagram{a.Site, a.Server, v.Src.Addr(), v.Dst.Addr(), v.IP.Id, v.Proto}
		pieces[d] = append(pieces[d], v.IP)
		if whole := join(pieces[d]); whole != nil {
			a.Packet = whole
			all = append(all, a)
			delete(pieces, d)
		}
	}
	return all
}

// join is the whole of these pieces, nil while one is missing.
func join(pieces []*layers.IPv4) []byte {
	pieces = slices.Clone(pieces)
	slices.SortFunc(pieces, func(a, b *layers.IPv4) int { return cmp.Compare(a.FragOffset, b.FragOffset) })
	var payload []byte
	for _, p := range pieces {
		if int(p.FragOffset)*8 != len(payload) {
			return nil
		}
		payload = append(payload, p.Payload...)
	}
	if pieces[len(pieces)-1].Flags&layers.IPv4MoreFragments != 0 {
		return nil
	}
	ip := *pieces[0]
	ip.Flags, ip.FragOffset = 0, 0
	return serialize(&ip, gopacket.Payload(payload))
}
