package run

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// told is what servers learn, with when.
type told struct {
	start time.Time
	mu    sync.Mutex
	all   []string
}

func (c *told) learner(name string, fail error) func([]hub.Attachment) error {
	return func(news []hub.Attachment) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, a := range news {
			c.all = append(c.all, fmt.Sprintf("%s learns at %v that %d is at %d", name, time.Since(c.start), a.OnRamp, a.Server))
		}
		return fail
	}
}

func (c *told) want(t *testing.T, want ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if fmt.Sprint(c.all) != fmt.Sprint(want) {
		t.Errorf("got\n%q, want\n%q", c.all, want)
	}
	c.all = nil
}

// network is a store of three servers in two datacenters, ids 1 to 3.
func network(c *told, fail func(error)) *store {
	s := newStore(map[string]time.Duration{"lhr": 300 * time.Millisecond, "cdg": 2 * time.Second}, fail)
	for i, dc := range []string{"lhr", "lhr", "cdg"} {
		id := ident.Server(i + 1)
		s.add(known{datacenter: dc, learn: c.learner(fmt.Sprintf("%s.%d", dc, id), nil), id: id})
	}
	return s
}

// Each datacenter learns what happens during traffic after its own propagation,
// and what was before at once; who told it learns nothing.
func TestStorePropagates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &told{start: time.Now()}
		s := network(c, func(err error) { t.Error(err) })
		s.tell(hub.Attachment{OnRamp: 7, Server: 1}, 1)
		synctest.Wait()
		c.mu.Lock()
		if len(c.all) != 2 {
			t.Errorf("before traffic %q, want two servers to know at once", c.all)
		}
		c.all = nil
		c.mu.Unlock()

		s.begin()
		s.tell(hub.Attachment{OnRamp: 7, Server: 2}, 2)
		time.Sleep(299 * time.Millisecond)
		c.want(t)
		time.Sleep(2 * time.Second)
		c.want(t, "lhr.1 learns at 300ms that 7 is at 2", "cdg.3 learns at 2s that 7 is at 2")
		s.close()
	})
}

// When it is closed nothing is learned any more, and nobody is waited for in vain.
func TestStoreCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &told{start: time.Now()}
		s := network(c, func(err error) { t.Error(err) })
		s.begin()
		s.tell(hub.Attachment{OnRamp: 7, Server: 1}, 1)
		time.Sleep(time.Second)
		s.close()
		s.tell(hub.Attachment{OnRamp: 8, Server: 1}, 1)
		time.Sleep(time.Minute)
		c.want(t, "lhr.2 learns at 300ms that 7 is at 1")
	})
}

func TestStoreTellsOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, gone := &told{start: time.Now()}, errors.New("gone")
		var got []error
		s := newStore(nil, func(err error) { got = append(got, err) })
		s.add(known{datacenter: "lhr", learn: c.learner("lhr.1", gone), id: 1})
		s.tell(hub.Attachment{OnRamp: 7, Server: 2}, 2)
		s.close() // waits for who learns already, or keeps it from beginning
		synctest.Wait()
		if len(got) > 1 || len(got) == 1 && !errors.Is(got[0], gone) || len(got) != len(c.all) {
			t.Errorf("failures %v of %q, want what was tried to be told", got, c.all)
		}
	})
}

// What one server tells arrives in the order in which it was told, however much of
// it there is: of how much of an address it uses the last news count (EG-7).
func TestStoreKeepsOrder(t *testing.T) {
	const most = 500
	for _, traffic := range []bool{false, true} {
		last := map[ident.Server]int{}
		var mu sync.Mutex
		s := newStore(map[string]time.Duration{"lhr": time.Millisecond}, func(err error) { t.Error(err) })
		for id := ident.Server(1); id <= 31; id++ {
			s.add(known{datacenter: "lhr", id: id, learn: func(news []hub.Attachment) error {
				mu.Lock()
				defer mu.Unlock()
				for _, a := range news {
					if a.Use.Flows != last[id]+1 {
						t.Errorf("server %d learns of %d flows after %d", id, a.Use.Flows, last[id])
					}
					last[id] = a.Use.Flows
				}
				return nil
			}})
		}
		if traffic {
			s.begin()
		}
		for n := 1; n <= most; n++ {
			s.tell(hub.Attachment{Use: &egress.Use{Server: 32, Flows: n}}, 32)
		}
		s.settle()
		s.close()
		if len(last) != 31 || last[31] != most {
			t.Errorf("%d servers know, the last of %d flows, want 31 and %d", len(last), last[31], most)
		}
	}
}

// A server that begins anew learns everything at once, instead of what was under
// way, and the others that what it used before is free.
func TestStoreRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var got []string
		s := newStore(map[string]time.Duration{"lhr": time.Second}, func(err error) { t.Error(err) })
		for id := ident.Server(1); id <= 3; id++ {
			s.add(known{datacenter: "lhr", id: id, learn: func(news []hub.Attachment) error {
				mu.Lock()
				defer mu.Unlock()
				for _, a := range news {
					if a.Use != nil {
						got = append(got, fmt.Sprintf("%d: %d has %d", id, a.Use.Server, a.Use.Flows))
					} else {
						got = append(got, fmt.Sprintf("%d: %d is at %d", id, a.OnRamp, a.Server))
					}
				}
				return nil
			}})
		}
		s.begin()
		s.tell(hub.Attachment{Use: &egress.Use{Server: 2, Flows: 5}}, 2)
		s.tell(hub.Attachment{OnRamp: 7, Server: 1}, 1)
		s.restart(2)
		time.Sleep(time.Millisecond)
		s.restart(1)
		time.Sleep(time.Minute)
		s.close()
		// Each hears in order, and which of them first is nobody's promise.
		slices.SortStableFunc(got, func(a, b string) int { return cmp.Compare(a[0], b[0]) })
		want := []string{"1: 7 is at 1", "2: 7 is at 1", "3: 2 has 5", "3: 7 is at 1", "3: 2 has 0"}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%q, want\n%q", got, want)
		}
	})
}
