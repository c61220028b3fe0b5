package run

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"
)

// abreast is how many of one kind are brought up, or taken down, at the same
// time. The kernel has each packet socket wait for all its processors more than
// once: such waits overlap, where one after the other they are most of a large
// lab's life.
const abreast = 64

// atOnce runs do(0) … do(n-1), many at the same time, until one fails or ctx
// ends, and tells how many are done, one call at a time.
func atOnce(ctx context.Context, n int, do func(i int) error, tell func(done int)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(abreast)
	var mu sync.Mutex
	done := 0
	for i := range n {
		g.Go(func() error {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if err := do(i); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			tell(done)
			return nil
		})
	}
	return g.Wait()
}

// closeAtOnce makes one closer of those that do not need each other.
func closeAtOnce(all []func() error) func() error {
	return func() error {
		errs := make([]error, len(all))
		err := atOnce(context.Background(), len(all), func(i int) error {
			errs[i] = all[i]()
			return nil
		}, func(int) {})
		return errors.Join(append(errs, err)...)
	}
}

// each brings up a stage of many that do not need each other. Down closes them
// together, too.
func (r *runner) each(ctx context.Context, n int, do func(i int) error, tell func(done int)) error {
	before := len(r.closers)
	err := atOnce(ctx, n, do, tell)
	group := append([]func() error(nil), r.closers[before:]...)
	r.closers = append(r.closers[:before], closeAtOnce(group))
	return err
}

// onDown adds what down closes. It may be called concurrently.
func (r *runner) onDown(closer func() error) {
	r.raising.Lock()
	defer r.raising.Unlock()
	r.closers = append(r.closers, closer)
}
