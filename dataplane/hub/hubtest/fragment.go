package hubtest

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

const (
	header6      = 40
	fragment6    = 8
	protoPieces6 = 44
)

// Cut divides a packet into fragments of at most size bytes of payload, a
// multiple of eight, with identification id. An IPv6 packet has no extension
// headers that routers read.
func Cut(packet []byte, size int, id uint16) (fragments [][]byte) {
	v := Decode(packet)
	var payload []byte
	if v.IP != nil {
		payload = v.IP.Payload
	} else {
		payload = packet[header6:]
	}
	for from := 0; from < len(payload); from += size {
		to := min(from+size, len(payload))
		more := to < len(payload)
		if v.IP == nil {
			fragments = append(fragments, cut6(packet, payload[from:to], from, more, id))
			continue
		}
		ip := *v.IP
		ip.Flags, ip.FragOffset, ip.Id = 0, uint16(from/8), id
		if more {
			ip.Flags = layers.IPv4MoreFragments
		}
		fragments = append(fragments, serialize(&ip, gopacket.Payload(payload[from:to])))
	}
	return fragments
}

// cut6 writes one fragment: gopacket reads fragment headers, but writes none.
func cut6(packet, part []byte, from int, more bool, id uint16) []byte {
	b := slices.Clone(packet[:header6])
	field := uint16(from)
	if more {
		field |= 1
	}
	b = append(b, b[6], 0, byte(field>>8), byte(field), 0, 0, byte(id>>8), byte(id))
	b[6] = protoPieces6
	binary.BigEndian.PutUint16(b[4:], uint16(fragment6+len(part)))
	return append(b, part...)
}

// piece is a fragment, and datagram what it is one of and where it was seen.
type (
	piece struct {
		packet, payload []byte
		offset          int
		more            bool
	}
	datagram struct {
		site     ident.OnRamp
		server   ident.Server
		src, dst netip.Addr
		id       uint32
		proto    uint8
	}
)

// read reads a fragment; ok is false for a whole packet.
func read(a Arrival) (d datagram, p piece, ok bool) {
	v, b := Decode(a.Packet), a.Packet
	d = datagram{site: a.Site, server: a.Server, src: v.Src.Addr(), dst: v.Dst.Addr()}
	switch {
	case v.IP != nil && (v.IP.FragOffset != 0 || v.IP.Flags&layers.IPv4MoreFragments != 0):
		d.id, d.proto = uint32(v.IP.Id), uint8(v.IP.Protocol)
		return d, piece{b, v.IP.Payload, int(v.IP.FragOffset) * 8, v.IP.Flags&layers.IPv4MoreFragments != 0}, true
	case len(b) > header6+fragment6 && b[0]>>4 == 6 && b[6] == protoPieces6:
		d.id = binary.BigEndian.Uint32(b[header6+4:])
		field := binary.BigEndian.Uint16(b[header6+2:])
		return d, piece{b, b[header6+fragment6:], int(field &^ 7), field&1 != 0}, true
	}
	return d, p, false
}

// Whole puts the fragments among the arrivals together, each datagram in the
// place of its last piece. Pieces of what is not complete, or came twice, are
// left out.
func Whole(arrived []Arrival) (all []Arrival) {
	pieces := make(map[datagram][]piece)
	for _, a := range arrived {
		d, p, ok := read(a)
		if !ok {
			all = append(all, a)
			continue
		}
		pieces[d] = append(pieces[d], p)
		if whole := join(pieces[d]); whole != nil {
			a.Packet = whole
			all = append(all, a)
			delete(pieces, d)
		}
	}
	return all
}

// join is the whole of these pieces, nil while one is missing.
func join(pieces []piece) []byte {
	pieces = slices.Clone(pieces)
	slices.SortFunc(pieces, func(a, b piece) int { return cmp.Compare(a.offset, b.offset) })
	var payload []byte
	for _, p := range pieces {
		if p.offset != len(payload) {
			return nil
		}
		payload = append(payload, p.payload...)
	}
	if pieces[len(pieces)-1].more {
		return nil
	}
	first := pieces[0].packet
	if first[0]>>4 == 4 {
		ip := *Decode(first).IP
		ip.Flags, ip.FragOffset = 0, 0
		return serialize(&ip, gopacket.Payload(payload))
	}
	b := append(slices.Clone(first[:header6]), payload...)
	b[6] = first[header6]
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	return b
}
