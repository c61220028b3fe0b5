package hubbench

import (
	"fmt"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
)

func BenchmarkHub(b *testing.B) {
	for _, six := range []bool{false, true} {
		for _, flows := range []int{small, large} {
			b.Run(fmt.Sprintf("%s/flows=%d", map[bool]string{false: "IPv4", true: "IPv6"}[six], flows), func(b *testing.B) { benchmark(b, flows, six) })
		}
	}
}

func benchmark(b *testing.B, flows int, six bool) {
	l, err := NewLoad(flows, six)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("lookup", func(b *testing.B) {
		for n := 0; n < b.N; n += Batch {
			b.StopTimer()
			l.Hits()
			b.StartTimer()
			if l.Lookups() != Batch {
				b.Fatal("a client has no route")
			}
		}
	})
	for _, path := range []struct {
		name string
		fill func()
	}{{"hit", l.Hits}, {"return", l.Returns}, {"miss", l.Misses}, {"drop", l.Drops}} {
		b.Run(path.name, func(b *testing.B) {
			for n := 0; n < b.N; n += Batch {
				b.StopTimer()
				path.fill()
				b.StartTimer()
				l.Run(Batch)
			}
		})
	}
	c := l.Hub.Counters()
	if c.Drops[drop.NoFlow] != sum(c.Drops) {
		b.Errorf("dropped %v, want replies without a flow alone", c.Drops)
	}
}

func sum(all [drop.Count]uint64) (n uint64) {
	for _, v := range all {
		n += v
	}
	return n
}
