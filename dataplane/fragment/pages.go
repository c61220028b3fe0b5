package fragment

import "bytes"

const (
	pageSize  = 2048
	pageUnits = pageSize / unit
	pageWords = pageUnits / 64
	// datagramPages cover the longest payload.
	datagramPages = (maxLength + pageSize) / pageSize
	// slabPages are allocated at a time, until the bound is reached.
	slabPages = 32
)

// page is a part of one datagram's payload. Its bits say which units of 8 bytes
// are here and at which of them a fragment starts: enough to tell an overlap
// and an exact copy without a list of fragments.
type page struct {
	have, starts [pageWords]uint64
	data         [pageSize]byte
	next         int32 // of the free list
}

// pages is a pool of pages; numbers start at 1, 0 is none.
type pages struct {
	slabs [][]page
	free  int32
	// made pages exist, used are given out, limit is the bound.
	made, used, limit int
}

func (p *pages) at(n int32) *page { return &p.slabs[(n-1)/slabPages][(n-1)%slabPages] }

// take gives out an empty page; the caller has checked that one is left.
func (p *pages) take() int32 {
	p.used++
	n := p.free
	if n == 0 {
		if p.made%slabPages == 0 {
			p.slabs = append(p.slabs, make([]page, slabPages))
		}
		p.made++
		return int32(p.made)
	}
	pg := p.at(n)
	p.free = pg.next
	pg.have, pg.starts, pg.next = [pageWords]uint64{}, [pageWords]uint64{}, 0
	return n
}

func (p *pages) give(n int32) {
	p.at(n).next = p.free
	p.free = n
	p.used--
}

// span is a range of bytes [from, to) within one page.
type span struct{ page, from, to int }

// spanAt is the part of [from, to) of a datagram that lies in from's page.
func spanAt(from, to int) span {
	n := from / pageSize
	return span{page: n, from: from - n*pageSize, to: min(to-n*pageSize, pageSize)}
}

// mask is the span's units in word w of a page's bits. A last fragment's odd
// bytes take a whole unit: nothing can follow them.
func (s span) mask(w int) uint64 {
	lo, hi := max(s.from/unit-w*64, 0), min((s.to+unit-1)/unit-w*64, 64)
	if lo >= hi {
		return 0
	}
	return ^uint64(0) >> (64 - (hi - lo)) << lo
}

func bit(bits *[pageWords]uint64, at int) bool { return bits[at/unit/64]>>(at/unit%64)&1 != 0 }

// missing is how many more pages the datagram needs to hold f.
func (d *datagram) missing(f *fragment) (n int) {
	for at := f.offset; at < f.end(); at += pageSize - at%pageSize {
		if d.pages[at/pageSize] == 0 {
			n++
		}
	}
	return n
}

// touches reports whether any unit of f is here.
func (p *pages) touches(d *datagram, f *fragment) bool {
	for at := f.offset; at < f.end(); {
		s := spanAt(at, f.end())
		if n := d.pages[s.page]; n != 0 {
			for w, have := range p.at(n).have {
				if have&s.mask(w) != 0 {
					return true
				}
			}
		}
		at += s.to - s.from
	}
	return false
}

// holds reports whether exactly the fragment f is here: the same bytes, from
// where one fragment starts to where it ends.
func (p *pages) holds(d *datagram, f *fragment) bool {
	if f.more == (d.total == f.end()) {
		return false
	}
	for at := f.offset; at < f.end(); {
		s := spanAt(at, f.end())
		n := d.pages[s.page]
		if n == 0 {
			return false
		}
		pg := p.at(n)
		for w := range pg.have {
			m, starts := s.mask(w), uint64(0)
			if at == f.offset && w == s.from/unit/64 {
				starts = 1 << (s.from / unit % 64)
			}
			if pg.have[w]&m != m || pg.starts[w]&m != starts {
				return false
			}
		}
		if !bytes.Equal(pg.data[s.from:s.to], f.payload[at-f.offset:][:s.to-s.from]) {
			return false
		}
		at += s.to - s.from
	}
	if !f.more {
		return true
	}
	s := spanAt(f.end(), f.end()+1)
	n := d.pages[s.page]
	return n == 0 || !bit(&p.at(n).have, s.from) || bit(&p.at(n).starts, s.from)
}

// store keeps f's bytes; the caller has checked for room and overlaps.
func (p *pages) store(d *datagram, f *fragment) {
	for at := f.offset; at < f.end(); {
		s := spanAt(at, f.end())
		if d.pages[s.page] == 0 {
			d.pages[s.page] = p.take()
		}
		pg := p.at(d.pages[s.page])
		for w := range pg.have {
			pg.have[w] |= s.mask(w)
		}
		if at == f.offset {
			pg.starts[s.from/unit/64] |= 1 << (s.from / unit % 64)
		}
		copy(pg.data[s.from:s.to], f.payload[at-f.offset:])
		at += s.to - s.from
	}
}

// appendTo appends the datagram's payload.
func (p *pages) appendTo(dst []byte, d *datagram) []byte {
	for at := 0; at < d.total; {
		s := spanAt(at, d.total)
		dst = append(dst, p.at(d.pages[s.page]).data[s.from:s.to]...)
		at += s.to - s.from
	}
	return dst
}

// release gives back all pages of the datagram.
func (p *pages) release(d *datagram) {
	for i, n := range d.pages {
		if n != 0 {
			p.give(n)
			d.pages[i] = 0
		}
	}
}
