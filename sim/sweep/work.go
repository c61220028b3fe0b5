package sweep

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// Open makes what does a job's tasks of what the coordinator sends. It refuses a job
// that it would do otherwise than the coordinator.
type Open func(job []byte) (Do, error)

const (
	// atOnce is the time's worth of tasks that a worker fetches together: enough that
	// fetching costs little, few enough that the last ones are shared.
	atOnce = 20 * time.Millisecond
	// mostAtOnce bounds them.
	mostAtOnce = 64
	// shareOfRest is how little of what is left one worker takes: towards the end one at
	// a time, and so at the beginning of another round, whose tasks may be longer.
	shareOfRest = 8
	// idle is how long a fetch waits for tasks.
	idle = 500 * time.Millisecond
)

// Work does tasks of whatever job there is until the context ends or the connection
// is closed for good; with once, until the job is taken back. Several jobs follow one
// another.
func Work(ctx context.Context, conn *nats.Conn, open Open, workers int, once bool) error {
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	for {
		m, err := conn.RequestWithContext(ctx, jobSubject, nil)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case conn.IsClosed():
			return nil
		case err != nil && once && !errors.Is(err, nats.ErrNoResponders):
			return err
		case err != nil: // nobody has a job
			if err := sleep(ctx, idle); err != nil {
				return err
			}
			continue
		}
		do, err := open(m.Data)
		if err != nil {
			return err
		}
		id := m.Header.Get(headerTask)
		group, inner := errgroup.WithContext(ctx)
		for range max(1, workers) {
			group.Go(func() error { return (&worker{conn: conn, js: js, id: id, do: do}).run(inner) })
		}
		if err := group.Wait(); err != nil || once && conn.IsClosed() {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// worker does tasks one after another.
type worker struct {
	conn *nats.Conn
	js   jetstream.JetStream
	id   string
	do   Do
	took time.Duration // of a task, lately
	// pending is how many tasks were left for all workers at the last fetch.
	pending uint64
}

// run ends without error when the job is no longer offered.
func (w *worker) run(ctx context.Context) error {
	var c jetstream.Consumer
	missed := 0
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		var err error
		if c == nil {
			if c, err = w.js.Consumer(ctx, stream(w.id), consumer); err != nil {
				c = nil
				if gone, err := w.between(ctx, &missed); gone || err != nil {
					return err
				}
				continue
			}
		}
		n := 1
		if w.took > 0 {
			n = int(max(1, min(mostAtOnce, atOnce/w.took, time.Duration(w.pending/shareOfRest))))
		}
		batch, err := c.Fetch(n, jetstream.FetchMaxWait(idle))
		if err != nil {
			c = nil
			continue
		}
		var held []jetstream.Msg
		for m := range batch.Messages() {
			held = append(held, m)
		}
		if len(held) == 0 {
			if batch.Error() != nil {
				c = nil // the round is over, and its stream gone
			}
			continue
		}
		missed, w.pending = 0, 0
		if meta, err := held[len(held)-1].Metadata(); err == nil {
			w.pending = meta.NumPending
		}
		if err := w.all(ctx, held); err != nil {
			return err
		}
	}
}

// between waits where there is no stream: between two rounds, or after the last.
func (w *worker) between(ctx context.Context, missed *int) (gone bool, err error) {
	if w.conn.IsClosed() {
		return true, nil
	}
	if *missed++; *missed > 5 {
		m, err := w.conn.RequestWithContext(ctx, jobSubject, nil)
		if err != nil || m.Header.Get(headerTask) != w.id {
			return true, context.Cause(ctx)
		}
		*missed = 0
	}
	return false, sleep(ctx, time.Duration(min(20, 2**missed))*time.Millisecond)
}

// all does the tasks that the worker holds, and says meanwhile that it is at them.
func (w *worker) all(ctx context.Context, held []jetstream.Msg) error {
	var mu sync.Mutex
	left := held
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		tick := time.NewTicker(ackWait / 3)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				mu.Lock()
				for _, m := range left {
					_ = m.InProgress()
				}
				mu.Unlock()
			}
		}
	}()
	for i, m := range held {
		began := time.Now()
		body := w.do(ctx, m.Data())
		if err := context.Cause(ctx); err != nil {
			return err
		}
		took := time.Since(began)
		w.took = max(time.Microsecond, (3*w.took+took)/4)
		err := w.conn.PublishMsg(&nats.Msg{Subject: answerSubject(w.id), Data: body, Header: nats.Header{headerTask: {m.Headers().Get(headerTask)}, headerAck: {m.Reply()}}})
		if errors.Is(err, nats.ErrMaxPayload) {
			return fmt.Errorf("an answer of %d bytes, and the server carries %d: raise its max_payload", len(body), w.conn.MaxPayload())
		}
		if err != nil {
			return err
		}
		mu.Lock()
		left = held[i+1:]
		mu.Unlock()
	}
	return nil
}
