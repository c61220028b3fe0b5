package sweep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// How tasks are handed out.
const (
	// ackWait is how long a worker that says nothing is waited for before somebody
	// else gets its task. Workers speak three times as often (JetStream's InProgress),
	// so that long tasks are not done twice.
	ackWait = 3 * time.Second
	// tries of a task: one that kills its worker must not go on to kill all.
	tries = 5
	// jobSubject is where workers ask what there is to do.
	jobSubject = "homeward.job"
	// Headers of an answer: which task, and where its acknowledgement goes.
	headerTask = "Homeward-Task"
	headerAck  = "Homeward-Ack"
	// consumer is the name of what workers share.
	consumer = "workers"
)

// Remote has tasks done by workers that join over NATS JetStream. A task waits in a
// stream until its answer has been taken: the coordinator acknowledges it itself, so
// that no death between a worker's answer and the coordinator's disk loses one.
type Remote struct {
	conn *nats.Conn
	js   jetstream.JetStream
	id   string
	sub  *nats.Subscription
	// Alive says whether anybody can still do tasks; nil means that somebody may join.
	Alive func() error
	// Waiting is called when nobody has answered for a while. May be nil.
	Waiting func()
}

// NewRemote offers a job to workers: what they need to do its tasks.
func NewRemote(conn *nats.Conn, job []byte) (*Remote, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	r := &Remote{conn: conn, js: js, id: secret()}
	r.sub, err = conn.Subscribe(jobSubject, func(m *nats.Msg) {
		_ = m.RespondMsg(&nats.Msg{Subject: m.Reply, Data: job, Header: nats.Header{headerTask: {r.id}}})
	})
	return r, err
}

// Close takes the job back. Between two runs its stream stays, so that workers wait
// for the next tasks and not for a stream.
func (r *Remote) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := r.js.DeleteStream(ctx, stream(r.id))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = nil // nothing has run
	}
	return errors.Join(err, r.sub.Unsubscribe())
}

func taskSubject(id string) string   { return "homeward." + id + ".task" }
func answerSubject(id string) string { return "homeward." + id + ".answer" }
func stream(id string) string        { return "HOMEWARD_" + id }

// Run implements Sweep.
func (r *Remote) Run(ctx context.Context, tasks []Task, done func(Task, []byte) error) error {
	if len(tasks) == 0 {
		return context.Cause(ctx)
	}
	answered, err := r.conn.SubscribeSync(answerSubject(r.id))
	if err != nil {
		return err
	}
	defer func() { _ = answered.Unsubscribe() }()
	if err := answered.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	if err := r.publish(ctx, tasks); err != nil {
		return err
	}
	return r.collect(ctx, answered, tasks, done)
}

// publish puts all tasks into a stream of which each is handed out until it is
// acknowledged.
func (r *Remote) publish(ctx context.Context, tasks []Task) error {
	_, err := r.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: stream(r.id), Subjects: []string{taskSubject(r.id)}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.MemoryStorage,
	})
	if err != nil {
		return fmt.Errorf("the tasks' stream: %w", err)
	}
	_, err = r.js.CreateOrUpdateConsumer(ctx, stream(r.id), jetstream.ConsumerConfig{
		Durable: consumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: tries, MaxAckPending: -1,
	})
	if err != nil {
		return fmt.Errorf("the workers' consumer: %w", err)
	}
	for _, t := range tasks {
		m := &nats.Msg{Subject: taskSubject(r.id), Data: t.Body, Header: nats.Header{headerTask: {t.ID}}}
		if _, err := r.js.PublishMsgAsync(m); err != nil {
			return fmt.Errorf("task %s: %w", t.ID, err)
		}
	}
	select {
	case <-r.js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// collect takes each task's first answer; a second one is of a worker that was thought
// dead. Deduplication by the server would forget after its window.
func (r *Remote) collect(ctx context.Context, answered *nats.Subscription, tasks []Task, done func(Task, []byte) error) error {
	open := make(map[string]Task, len(tasks))
	for _, t := range tasks {
		open[t.ID] = t
	}
	for len(open) > 0 {
		wait, cancel := context.WithTimeout(ctx, ackWait)
		m, err := answered.NextMsgWithContext(wait)
		cancel()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, context.DeadlineExceeded):
			if err := r.stuck(ctx, len(open)); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		if t, ok := open[m.Header.Get(headerTask)]; ok {
			if err := done(t, m.Data); err != nil {
				return err
			}
			delete(open, t.ID)
		}
		if ack := m.Header.Get(headerAck); ack != "" {
			if err := r.conn.Publish(ack, []byte("+ACK")); err != nil {
				return err
			}
		}
	}
	return nil
}

// stuck looks why nobody answers.
func (r *Remote) stuck(ctx context.Context, open int) error {
	if r.Alive != nil {
		if err := r.Alive(); err != nil {
			return err
		}
	}
	c, err := r.js.Consumer(ctx, stream(r.id), consumer)
	if err != nil {
		return fmt.Errorf("the workers' consumer: %w", err)
	}
	info, err := c.Info(ctx)
	if err != nil {
		return fmt.Errorf("the workers' consumer: %w", err)
	}
	if info.NumPending == 0 && info.NumAckPending == 0 {
		return fmt.Errorf("%d tasks were given up: each was handed out %d times, and no worker lived to answer", open, tries)
	}
	if r.Waiting != nil && info.NumAckPending == 0 {
		r.Waiting()
	}
	return nil
}
