package load

import (
	"cmp"
	"fmt"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/steer"
)

// homes are whose flows are at which server of a datacenter.
type homes struct {
	table *steer.Table
	// shares are the parts of all flows whose home each server is, equal but for whole
	// buckets.
	shares []float64
}

// newHomes are those of so many servers, numbered from the first.
func newHomes(hash uint64, first ident.Server, servers int) *homes {
	live := make([]steer.Server, servers)
	for i := range live {
		live[i] = steer.Server{ID: first + ident.Server(i), Live: true}
	}
	h := &homes{steer.New(hash, live), make([]float64, servers)}
	for b := range uint64(steer.Buckets) {
		h.shares[h.table.Home(b*(1<<64/steer.Buckets))-first] += 1.0 / steer.Buckets
	}
	return h
}

// homes are kept: making a table takes as long as playing some ten thousand flows,
// and points of a study have the same.
func (a *Atlas) homes(hash uint64, first ident.Server, servers int) *homes {
	h, _ := once(a, &a.tables, fmt.Sprintf("%d/%d/%d", hash, first, servers), func() (*homes, error) {
		return newHomes(hash, cmp.Or(first, 1), servers), nil
	})
	return h
}
