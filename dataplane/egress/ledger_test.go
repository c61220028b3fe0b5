package egress_test

import (
	"math/rand/v2"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/flow"
)

// TestLedgerIsTheAllocator: over any course of flows that come and go, the ledger
// gives each the address that the allocator gives it, and refuses the same ones.
func TestLedgerIsTheAllocator(t *testing.T) {
	type live struct {
		index flow.Index
		slice int
	}
	for _, reach := range []egress.Reach{egress.Pool, egress.OneAddress} {
		a, table := allocation(t, 2)
		l := a.NewLedger(web.Addr(), egress.From{}, 0)
		r := rand.New(rand.NewPCG(1, uint64(reach)))
		var flows []live
		refused := 0
		for n := range 30_000 {
			if len(flows) > 0 && r.IntN(100) < 30 {
				i := r.IntN(len(flows))
				f := table.At(flows[i].index)
				a.Freed(6, f.Egress(), web)
				table.Remove(flows[i].index)
				l.Free(flows[i].slice)
				flows[i] = flows[len(flows)-1]
				flows = flows[:len(flows)-1]
				continue
			}
			k := key(n, 6, web)
			at, ok := a.Allocate(table, &k, egress.From{}, reach)
			slice, counted := l.Take(flow.Hash(7, &k), reach)
			if ok != counted || ok && l.Addr(slice) != at.Addr() {
				t.Fatalf("flow %d: the allocator says %v, %v, the ledger %v, %v", n, at, ok, slice, counted)
			}
			if !ok {
				refused++
				continue
			}
			i, _ := table.Insert(0, k, at)
			a.Took(6, at, web)
			flows = append(flows, live{i, slice})
		}
		if refused < 100 {
			t.Errorf("%d were refused, want the bound to be met often", refused)
		}
	}
}
