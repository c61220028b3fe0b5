package run

import (
	"context"
)

// settled waits until every server knows where devices and connectors are, as
// in a network that has been up for a while. A tunnel is accepted before its
// server has told anybody: a first packet that finds its way to another server
// then, and a datagram is not sent again, would meet nobody.
func (r *runner) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, acceptLimit)
	defer cancel()
	// What a server said before it answers has reached the store, and what it
	// was told before that it knows.
	if err := r.lookAll(ctx); err != nil {
		return err
	}
	r.store.settle()
	return r.lookAll(ctx)
}

func (r *runner) lookAll(ctx context.Context) error {
	for _, a := range r.fleet.all() {
		if _, err := a.Look(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until what was told before traffic is passed on. It must not be
// called later: news may then take any time.
func (s *store) settle() { s.learning.Wait() }
