package run

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
