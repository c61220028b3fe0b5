package simbench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/sim/sweep"
)

// Goals.
const (
	goalTask       = 150 // µs
	goalEfficiency = 0.95
)

const (
	sweepWorkers = 2
	emptyTasks   = 4000
	longTasks    = 100
	longTask     = 20 * time.Millisecond
)

// sweeps is what spreading a study over NATS costs: tasks that do nothing, beside the
// same in this process, and tasks that take a while, beside the time that they would
// take if spreading were free. The long ones wait instead of computing, so that it is
// the sweep that is measured and not who else is on the machine.
func (b *Bench) sweeps(ctx context.Context) ([]figure.Row, error) {
	broker, err := sweep.NewBroker(sweep.Listen{})
	if err != nil {
		return nil, err
	}
	defer broker.Close()
	conn, err := broker.Connect()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	remote, err := sweep.NewRemote(conn, nil)
	if err != nil {
		return nil, err
	}
	do := func(_ context.Context, body []byte) []byte {
		if d, err := time.ParseDuration(string(body)); err == nil {
			time.Sleep(d)
		}
		return body
	}
	working, stop := context.WithCancel(ctx)
	var group errgroup.Group
	defer func() { stop(); _ = group.Wait() }() // they end with the context
	for range sweepWorkers {
		w, err := nats.Connect(broker.URL, nats.Token(broker.Token))
		if err != nil {
			return nil, err
		}
		defer w.Close()
		group.Go(func() error {
			return sweep.Work(working, w, func([]byte) (sweep.Do, error) { return do, nil }, 1, false)
		})
	}
	return b.measureSweeps(ctx, remote, sweep.Local{Do: do, Workers: sweepWorkers})
}

func (b *Bench) measureSweeps(ctx context.Context, remote, local sweep.Sweep) ([]figure.Row, error) {
	var far, near, efficient []float64
	equal := true
	for range b.Rounds {
		n := max(b.work(emptyTasks), 100)
		for _, of := range []struct {
			sweep sweep.Sweep
			took  *[]float64
		}{{remote, &far}, {local, &near}} {
			took, same, err := swept(ctx, of.sweep, n, 0)
			if err != nil {
				return nil, err
			}
			equal = equal && same
			*of.took = append(*of.took, took.Seconds()*1e6/float64(n))
		}
		n = max(b.work(longTasks), 10)
		took, same, err := swept(ctx, remote, n, longTask)
		if err != nil {
			return nil, err
		}
		equal = equal && same
		efficient = append(efficient, float64(n)*longTask.Seconds()/sweepWorkers/took.Seconds())
	}
	workers := fmt.Sprintf("%d workers, %v tasks", sweepWorkers, longTask)
	return []figure.Row{
		figure.Cost("sim.sweep_us_per_task", median(far), "µs").Beside("in this process", median(near)).Bound(goalTask).Checked(equal),
		figure.Rate("sim.sweep_efficiency", median(efficient), "share").Beside(workers, 1).Bound(goalEfficiency).Checked(equal),
	}, nil
}

// swept is how long n tasks take, and whether each had its own answer once.
func swept(ctx context.Context, s sweep.Sweep, n int, each time.Duration) (time.Duration, bool, error) {
	tasks := make([]sweep.Task, n)
	for i := range tasks {
		tasks[i] = sweep.Task{ID: strconv.Itoa(i), Body: []byte(strconv.Itoa(i))}
		if each > 0 {
			tasks[i].Body = []byte(each.String())
		}
	}
	answered := map[string]bool{}
	same := true
	began := time.Now()
	err := s.Run(ctx, tasks, func(t sweep.Task, body []byte) error {
		same = same && string(body) == string(t.Body) && !answered[t.ID]
		answered[t.ID] = true
		return nil
	})
	return time.Since(began), same && len(answered) == n, err
}
