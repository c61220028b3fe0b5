package hubbench

import (
	"fmt"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
)

func BenchmarkHub(b *testing.B) {
	for i := range 4 {
		flows, six := []int{1000, 1 << 20}[i%2], i > 1
		l, err := NewLoad(flows, six)
		if err != nil {
			b.Fatal(err)
		}
		name := func(what string) string {
			if six {
				what += "/v6"
			}
			return fmt.Sprintf("%s/flows=%d", what, flows)
		}
		b.Run(name("lookup"), func(b *testing.B) {
			for n := 0; n < b.N; n += Batch {
				b.StopTimer()
				l.Hits()
				b.StartTimer()
				if l.Lookups() != Batch {
					b.Fatal("a client has no route")
				}
			}
		})
		for what, fill := range map[string]func(){"hit": l.Hits, "return": l.Returns, "miss": l.Misses, "drop": l.Drops} {
			b.Run(name(what), func(b *testing.B) {
				for n := 0; n < b.N; n += Batch {
					b.StopTimer()
					fill()
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
}

func sum(all [drop.Count]uint64) (n uint64) {
	for _, v := range all {
		n += v
	}
	return n
}
