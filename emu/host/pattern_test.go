package host

import "testing"

// Any part of the pattern, made at any offset, is the same bytes; and a single
// changed byte is found where it is.
func TestPatternAtAnyOffset(t *testing.T) {
	p := Pattern(42)
	whole := make([]byte, 300)
	p.Fill(whole, 0)
	for off := range 40 {
		for n := range 40 {
			part := make([]byte, n)
			p.Fill(part, int64(off))
			if string(part) != string(whole[off:off+n]) {
				t.Fatalf("Fill of %d bytes at %d differs from the whole", n, off)
			}
			if got := p.Check(part, int64(off)); got != -1 {
				t.Fatalf("Check of %d bytes at %d = %d, want -1", n, off, got)
			}
			for k := range part {
				part[k] ^= 1
				if got, want := p.Check(part, int64(off)), int64(off+k); got != want {
					t.Fatalf("Check with byte %d wrong = %d", want, got)
				}
				part[k] ^= 1
			}
		}
	}
	if requestPattern(7).Check(whole[:0], 0) != -1 {
		t.Error("nothing does not match")
	}
	b := make([]byte, 64)
	requestPattern(7).Fill(b, 0)
	if responsePattern(7).Check(b, 0) == -1 {
		t.Error("an echoed request passes for a response")
	}
}

func BenchmarkPattern(b *testing.B) {
	buf := make([]byte, largeChunk)
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"fill", func() { Pattern(1).Fill(buf, 0) }},
		{"check", func() { Pattern(1).Check(buf, 0) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				c.f()
			}
		})
	}
}
