package conform_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/conform"
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// other is a hub whose results are changed by a mistake.
type other struct {
	*conform.Hub
	mistake func(*conform.Result)
	bytes   uint64
}

func (o *other) Handle(now vt.Instant, p []byte, off pkt.Offload) (conform.Result, error) {
	r, err := o.Hub.Handle(now, p, off)
	o.mistake(&r)
	return r, err
}

func (o *other) Sessions() []hub.Session {
	all := o.Hub.Sessions()
	for i := range all {
		all[i].BytesSent += o.bytes
	}
	return all
}

func compare(t *testing.T, o *other, n int) (conform.Seen, error) {
	t.Helper()
	w, err := conform.NewWorld(3, true)
	if err != nil {
		t.Fatal(err)
	}
	var hubs [2]*conform.Hub
	for i := range hubs {
		if hubs[i], err = conform.NewHub(w); err != nil {
			t.Fatal(err)
		}
	}
	o.Hub = hubs[1]
	now := vt.Instant(0)
	return conform.Run(rand.New(rand.NewPCG(3, 3)), n, w, hubs[0], o, func() vt.Instant {
		now = now.Add(time.Microsecond)
		return now
	})
}

// The law conforms to itself, and its packets are what they are said to be.
func TestLawConforms(t *testing.T) {
	seen, err := compare(t, &other{mistake: func(*conform.Result) {}}, 20000)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range conform.Cases() {
		if seen.Cases[name] == 0 {
			t.Errorf("no packet was %q", name)
		}
	}
	c := seen.Count
	for name, n := range map[string]uint64{
		"forwarded": c.Forwarded, "returned": c.Returned, "handed over": c.HandedOver, "answered": c.Answered, "failovers": c.Failovers, "started": c.Started,
		"hop limit": c.Drops[drop.HopLimit], "unknown tunnel": c.Drops[drop.UnknownTunnel], "forged": c.Drops[drop.ForgedHandover],
		"no owner": c.Drops[drop.NoOwner], "no flow": c.Drops[drop.NoFlow], "orphan": c.Drops[drop.Orphan], "malformed": c.Drops[drop.Malformed],
	} {
		if n == 0 {
			t.Errorf("nothing was %s", name)
		}
	}
}

// A difference is found: in bytes, in a count, in what was sent or told, and in
// what a session says.
func TestDifferencesAreFound(t *testing.T) {
	for name, o := range map[string]*other{
		"a byte": {mistake: func(r *conform.Result) {
			if len(r.Sent) > 0 {
				r.Sent[0].Data[len(r.Sent[0].Data)-1] ^= 1
			}
		}},
		"an offload": {mistake: func(r *conform.Result) {
			if len(r.Sent) > 0 {
				r.Sent[0].Offload.Partial = true
			}
		}},
		"a packet":  {mistake: func(r *conform.Result) { r.Sent = nil }},
		"a reason":  {mistake: func(r *conform.Result) { r.Count.Drops[drop.Orphan] = 0 }},
		"an event":  {mistake: func(r *conform.Result) { r.Events = nil }},
		"a session": {mistake: func(*conform.Result) {}, bytes: 1},
	} {
		if seen, err := compare(t, o, 5000); err == nil {
			t.Errorf("%s: %d packets did not show it", name, seen.Packets)
		}
	}
}
