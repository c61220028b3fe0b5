// Package sweep spreads tasks over goroutines, processes and machines.
//
// A task is bytes and so is its answer, which depends on nothing else. Its law: every
// task is answered once, whoever did it and whichever worker died; what the answers
// are does not depend on how they came about.
package sweep

import (
	"context"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// Task is one piece of work.
type Task struct {
	// ID is unique within a study.
	ID   string
	Body []byte
}

// Do does a task's work. It does not fail: what cannot be done is an answer too.
type Do func(ctx context.Context, body []byte) []byte

// Sweep carries tasks to workers. Run calls done once for each task, from one
// goroutine at a time, in any order; it returns at the first error of done, or when
// the context ends.
type Sweep interface {
	Run(ctx context.Context, tasks []Task, done func(Task, []byte) error) error
}

// Local works in this process.
type Local struct {
	Do Do
	// Workers is how many at once; 0 means one for each processor.
	Workers int
}

// answer is what a worker has done.
type answer struct {
	task Task
	body []byte
}

// Run implements Sweep.
func (l Local) Run(ctx context.Context, tasks []Task, done func(Task, []byte) error) error {
	workers := l.Workers
	if workers < 1 {
		workers = runtime.GOMAXPROCS(0)
	}
	group, ctx := errgroup.WithContext(ctx)
	next, answers := make(chan Task), make(chan answer)
	group.Go(func() error {
		defer close(next)
		for _, t := range tasks {
			select {
			case next <- t:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	for range min(workers, len(tasks)) {
		group.Go(func() error {
			for t := range next {
				body := l.Do(ctx, t.Body)
				if err := context.Cause(ctx); err != nil {
					return err // what was done meanwhile may be cut short
				}
				select {
				case answers <- answer{t, body}:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		for range tasks {
			select {
			case a := <-answers:
				if err := done(a.task, a.body); err != nil {
					return err
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	return group.Wait()
}
