package hub_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"pgregory.net/rapid"
)

// TestBatchIsOneByOne: a batch decides what its packets would one by one, to the
// byte.
func TestBatchIsOneByOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := hubtest.Options{ARR: hubtest.All, Datacenters: 1, Sites: 3}
		one, err := hub.New(o.Config())
		if err != nil {
			rt.Fatal(err)
		}
		many, _ := hub.New(o.Config())
		for range rapid.IntRange(1, 4).Draw(rt, "batches") {
			now := vt.Instant(rapid.Int64Range(0, int64(time.Minute)).Draw(rt, "now"))
			var a, b []hub.Packet
			h := &history{T: rt}
			for range rapid.IntRange(0, 150).Draw(rt, "packets") / rapid.SampledFrom([]int{1, 10, 50}).Draw(rt, "divided by") {
				f := rapid.SampledFrom(hubtest.Families()).Draw(rt, "family")
				p := hubtest.IP{Src: netip.AddrPortFrom(f.Till.Addr(), rapid.Uint16Range(1, 5).Draw(rt, "sport")), Dst: f.Web}
				site := one.Config().OnRamps[rapid.IntRange(0, 2).Draw(rt, "site")]
				packet := hubtest.GRE(site.Remote, site.Local, site.Key, h.build(p))
				a, b = append(a, hub.Packet{Data: bytes.Clone(packet)}), append(b, hub.Packet{Data: bytes.Clone(packet)})
			}
			var x, y hub.Out
			for i := range a {
				one.HandlePacket(now, &a[i], &x)
			}
			many.HandleBatch(now, b, &y)
			if got, want := describe(&y), describe(&x); got != want {
				rt.Fatalf("batch:\n%s\none by one:\n%s", got, want)
			}
		}
		if one.Counters() != many.Counters() {
			rt.Fatalf("batch counts %+v, one by one %+v", many.Counters(), one.Counters())
		}
	})
}

// describe is everything that a call decided.
func describe(o *hub.Out) string {
	var b bytes.Buffer
	for _, s := range o.Send {
		fmt.Fprintf(&b, "%x %+v %+v\n", s.Data, s.Offload, s.Encap)
	}
	for _, e := range o.Events {
		fmt.Fprintf(&b, "%+v %+v\n", e.Kind, e.Tuple)
	}
	return b.String()
}
