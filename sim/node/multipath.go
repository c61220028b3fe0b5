package node

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// Equal routes are chosen among as the lab's kernel does (fib_multipath_hash_policy
// 3 with fields 55, fib_multipath_hash_seed), so that what goes which way is the
// same in both: SipHash-2-4 over the flow keys of include/net/flow_dissector.h, of
// which those fields are
//
//	 0  network protocol, not taken (2) │ protocol (1) │ padding (1)
//	 4  flow label, VLANs, key id: not taken (24)
//	28  source port (2) │ destination port (2)
//	32  ICMP: not taken (4)
//	36  source address │ destination address │ padding (4)
//
// The smaller of both addresses and of both ports goes first, so that both
// directions of a flow have one hash.
const (
	keysProto = 2
	keysPorts = 28
	keysAddrs = 36
	keysPad   = 4
	keysMax   = keysAddrs + 2*16 + keysPad
)

// multipath is which of n equal ways a packet takes.
func multipath(seed uint32, m *pkt.Meta, n int) int {
	var b [keysMax]byte
	b[keysProto] = m.Proto
	var sport, dport [2]byte
	if m.Kind == pkt.TCP || m.Kind == pkt.UDP {
		binary.BigEndian.PutUint16(sport[:], m.SrcPort)
		binary.BigEndian.PutUint16(dport[:], m.DstPort)
	}
	// The kernel compares ports, and addresses of IPv4, as words of the machine.
	if binary.LittleEndian.Uint16(dport[:]) < binary.LittleEndian.Uint16(sport[:]) {
		sport, dport = dport, sport
	}
	copy(b[keysPorts:], sport[:])
	copy(b[keysPorts+2:], dport[:])
	src, dst := m.Src.AsSlice(), m.Dst.AsSlice()
	size := len(src)
	swap := bytes.Compare(dst, src) < 0
	if size == 4 {
		swap = binary.LittleEndian.Uint32(dst) < binary.LittleEndian.Uint32(src)
	}
	if swap {
		src, dst = dst, src
	}
	copy(b[keysAddrs:], src)
	copy(b[keysAddrs+size:], dst)
	k := uint64(seed)<<32 | uint64(seed)
	hash := uint32(sipHash(k, k, b[:keysAddrs+2*size+keysPad]))
	hash = jhash(max(hash, 1), 0) // with that of fields inside a tunnel: none is taken
	// The way whose part of 31 bits the hash is in; all parts are equal.
	for i := range n - 1 {
		if bound := (uint64(i+1)<<31 + uint64(n)/2) / uint64(n); uint64(hash>>1) < bound {
			return i
		}
	}
	return n - 1
}

// jhash mixes two words as the kernel's jhash_2words does.
func jhash(a, b uint32) uint32 {
	const initial = 0xdeadbeef + 2<<2
	rot := bits.RotateLeft32
	a, b, c := a+initial, b+initial, uint32(initial)
	c = (c ^ b) - rot(b, 14)
	a = (a ^ c) - rot(c, 11)
	b = (b ^ a) - rot(a, 25)
	c = (c ^ b) - rot(b, 16)
	a = (a ^ c) - rot(c, 4)
	b = (b ^ a) - rot(a, 14)
	return (c ^ b) - rot(b, 24)
}

// sipHash is SipHash-2-4 of Aumasson and Bernstein, of whole words and a half.
func sipHash(k0, k1 uint64, b []byte) uint64 {
	v := sipState{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}
	last := uint64(len(b)) << 56
	for ; len(b) >= 8; b = b[8:] {
		v.mix(binary.LittleEndian.Uint64(b))
	}
	if len(b) >= 4 {
		last |= uint64(binary.LittleEndian.Uint32(b))
	}
	v.mix(last)
	v[2] ^= 0xff
	for range 4 {
		v.round()
	}
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

type sipState [4]uint64

func (v *sipState) mix(m uint64) {
	v[3] ^= m
	v.round()
	v.round()
	v[0] ^= m
}

func (v *sipState) round() {
	v[0] += v[1]
	v[1] = bits.RotateLeft64(v[1], 13) ^ v[0]
	v[0] = bits.RotateLeft64(v[0], 32)
	v[2] += v[3]
	v[3] = bits.RotateLeft64(v[3], 16) ^ v[2]
	v[0] += v[3]
	v[3] = bits.RotateLeft64(v[3], 21) ^ v[0]
	v[2] += v[1]
	v[1] = bits.RotateLeft64(v[1], 17) ^ v[2]
	v[2] = bits.RotateLeft64(v[2], 32)
}
