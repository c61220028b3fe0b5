package host

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// The lab's datagrams, network byte order. A request, and an ICMP echo's data:
//
//	0      4    5    6      8        16    20         24
//	| magic | 1  | 0  | 0    | nonce  | seq | response | request pattern ...
//
// An answer, of as many bytes as the request's "response" asks for:
//
//	0      4    5       6      8        16    20       24     40          56
//	| magic | 2  | intact | port | nonce  | seq | length | addr | signature | response pattern ...
//
// where address and port are the asker's as the origin saw them, length is the
// request's, and the signature covers the 40 bytes before it.
const (
	// Magic marks a payload as the lab's: the first four bytes.
	Magic uint32 = 0x686d7764 // "hmwd"
	// MinRequest and MinAnswer are the smallest payloads: a flow that asks for
	// less gets these.
	MinRequest = 24
	MinAnswer  = 56

	kindRequest = 1
	kindAnswer  = 2
	signedSize  = 40
)

var (
	errNotOurs   = errors.New("not one of the lab's datagrams")
	errSignature = errors.New("the answer is not signed by an origin of this run")
)

// Mark is how a tap recognises whose datagram it sees.
type Mark struct {
	Nonce  uint64
	Seq    uint32
	Answer bool // an origin's; an ICMP echo comes back as a request
}

// ParseMark reads the mark of a payload; ok is false if it has none. Twenty
// bytes are enough.
func ParseMark(b []byte) (m Mark, ok bool) {
	if len(b) < 20 || binary.BigEndian.Uint32(b) != Magic {
		return Mark{}, false
	}
	return Mark{Nonce: binary.BigEndian.Uint64(b[8:]), Seq: binary.BigEndian.Uint32(b[16:]), Answer: b[4] == kindAnswer}, true
}

// request fills b, at least MinRequest bytes, as request seq.
func request(b []byte, nonce uint64, seq uint32, response int) {
	clear(b[:MinRequest])
	binary.BigEndian.PutUint32(b, Magic)
	b[4] = kindRequest
	binary.BigEndian.PutUint64(b[8:], nonce)
	binary.BigEndian.PutUint32(b[16:], seq)
	binary.BigEndian.PutUint32(b[20:], uint32(response))
	requestPattern(nonce).Fill(b[MinRequest:], offset(seq))
}

// offset gives each datagram of a flow a part of the pattern of its own.
func offset(seq uint32) int64 { return int64(seq) << 16 }

// answer builds the answer to request req from peer in buf, and returns it and
// whether the request was intact.
func (s *signer) answer(buf, req []byte, peer netip.AddrPort) (out []byte, intact bool) {
	nonce, seq := binary.BigEndian.Uint64(req[8:]), binary.BigEndian.Uint32(req[16:])
	n := min(max(int(binary.BigEndian.Uint32(req[20:])), MinAnswer), len(buf))
	intact = requestPattern(nonce).Check(req[MinRequest:], offset(seq)) < 0
	b := buf[:n]
	binary.BigEndian.PutUint32(b, Magic)
	b[4], b[5] = kindAnswer, 0
	if intact {
		b[5] = 1
	}
	binary.BigEndian.PutUint16(b[6:], peer.Port())
	copy(b[8:20], req[8:20])
	binary.BigEndian.PutUint32(b[20:], uint32(len(req)))
	addr := peer.Addr().As16()
	copy(b[24:40], addr[:])
	sum := s.sum(b[:signedSize])
	copy(b[signedSize:MinAnswer], sum)
	responsePattern(nonce).Fill(b[MinAnswer:], offset(seq))
	return b, intact
}

// verdict of an answer.
type verdict struct {
	seq      uint32
	length   int // of the request as it arrived
	received int // of the answer
	intact   bool
	peer     netip.AddrPort
}

// verify checks an answer to one of nonce's requests, to its last byte.
func (s *signer) verify(b []byte, nonce uint64) (verdict, error) {
	m, ok := ParseMark(b)
	switch {
	case !ok || !m.Answer || len(b) < MinAnswer:
		return verdict{}, errNotOurs
	case !s.check(b[:signedSize], b[signedSize:MinAnswer]):
		return verdict{}, errSignature
	case m.Nonce != nonce:
		return verdict{}, errForeign
	}
	if responsePattern(nonce).Check(b[MinAnswer:], offset(m.Seq)) >= 0 {
		return verdict{}, errDamaged
	}
	addr := netip.AddrFrom16([16]byte(b[24:40])).Unmap()
	return verdict{
		seq: m.Seq, received: len(b),
		length: int(binary.BigEndian.Uint32(b[20:])),
		intact: b[5] == 1,
		peer:   netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[6:])),
	}, nil
}

var (
	errForeign = errors.New("the answer belongs to another flow")
	errDamaged = errors.New("the answer arrived damaged")
)
