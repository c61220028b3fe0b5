package run

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
)

// What was told before traffic is known everywhere when the store has settled,
// also to a server that takes its time to learn.
func TestStoreSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var learned atomic.Int64
		s := newStore(map[string]time.Duration{"lhr": time.Hour}, func(err error) { t.Error(err) })
		s.add(known{datacenter: "lhr", id: 1, learn: func([]hub.Attachment) error { learned.Add(1); return nil }})
		s.add(known{datacenter: "lhr", id: 2, learn: func(news []hub.Attachment) error {
			time.Sleep(time.Second)
			learned.Add(int64(len(news)))
			return nil
		}})
		s.tell(hub.Attachment{OnRamp: 7, Server: 1}, 1)
		s.tell(hub.Attachment{OnRamp: 8, Server: 1}, 1)
		s.settle()
		if n := learned.Load(); n != 2 {
			t.Errorf("%d of 2 pieces of news learned", n)
		}
		s.close()
	})
}
