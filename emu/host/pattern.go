package host

import "encoding/binary"

// Pattern is an endless payload that can be made and checked at any offset,
// so that a byte that is wrong, missing or out of place is noticed without
// keeping any. Eight-byte words of SplitMix64 (Steele, Lea, Flood 2014) over
// the word's index.
type Pattern uint64

// requestPattern and responsePattern differ, so that an echo of the request
// does not pass for a response.
func requestPattern(nonce uint64) Pattern  { return Pattern(nonce) }
func responsePattern(nonce uint64) Pattern { return Pattern(^nonce*0x9e3779b97f4a7c15 + 1) }

func (p Pattern) word(i uint64) uint64 {
	x := uint64(p) + (i+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (p Pattern) at(off int64) byte {
	return byte(p.word(uint64(off)>>3) >> (8 * (uint64(off) & 7)))
}

// Fill writes the pattern's bytes from offset off.
func (p Pattern) Fill(b []byte, off int64) {
	for len(b) > 0 && off&7 != 0 {
		b[0] = p.at(off)
		b, off = b[1:], off+1
	}
	i := uint64(off) >> 3
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, p.word(i))
		b, i, off = b[8:], i+1, off+8
	}
	for k := range b {
		b[k] = p.at(off + int64(k))
	}
}

// Check compares b with the pattern from offset off. It returns the offset of
// the first wrong byte, or -1.
func (p Pattern) Check(b []byte, off int64) int64 {
	for len(b) > 0 && off&7 != 0 {
		if b[0] != p.at(off) {
			return off
		}
		b, off = b[1:], off+1
	}
	i := uint64(off) >> 3
	for len(b) >= 8 && binary.LittleEndian.Uint64(b) == p.word(i) {
		b, i, off = b[8:], i+1, off+8
	}
	for k := range b { // the tail, or the word that differs
		if b[k] != p.at(off+int64(k)) {
			return off + int64(k)
		}
	}
	return -1
}
