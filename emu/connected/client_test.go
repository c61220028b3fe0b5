package connected

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/topologies/plan"
)

func contextOf(vnet ident.VNet) tunnel.Context {
	return tunnel.Context{Kind: tunnel.Device, Tenant: 1, VNet: vnet, Registration: [16]byte{7}}
}

func datagram(t *testing.T, c tunnel.Context) []byte {
	t.Helper()
	b, err := c.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func answerOf(a tunnel.Answer, vnet ident.VNet) []byte { return tunnel.AppendAnswer(nil, a, vnet) }

const ms = vt.Instant(time.Millisecond)

// A client's life as a list of steps: what happens at an instant, and what it
// sends then.
func TestClient(t *testing.T) {
	first, second := datagram(t, contextOf(1)), datagram(t, contextOf(2))
	packet := []byte{0x45, 0, 0, 20, 19: 0}
	type step struct {
		at      vt.Instant
		receive []byte
		verdict verdict
		begin   bool   // traffic starts at this instant
		sends   []byte // in the end
		state   state
		wake    vt.Instant
	}
	cases := []struct {
		name  string
		steps []step
	}{
		{"the context is sent again until it is answered", []step{
			{at: 0, sends: first, state: asking, wake: 250 * ms},
			{at: 100 * ms, state: asking, wake: 250 * ms},
			{at: 250 * ms, sends: first, state: asking, wake: 500 * ms},
			{at: 300 * ms, receive: answerOf(tunnel.Accepted, 1), verdict: answer, state: accepted, wake: vt.Never},
			{at: 900 * ms, state: accepted, wake: vt.Never},
		}},
		{"a refusal is final", []step{
			{at: 0, sends: first, state: asking, wake: 250 * ms},
			{at: 1 * ms, receive: answerOf(tunnel.Refused, 0), verdict: answer, state: refused, wake: vt.Never},
			{at: 2 * ms, receive: answerOf(tunnel.Accepted, 1), verdict: answer, state: refused, wake: vt.Never},
			{at: 900 * ms, state: refused, wake: vt.Never},
		}},
		{"a server that does not know the tunnel is told at once", []step{
			{at: 0, sends: first, state: asking, wake: 250 * ms},
			{at: 1 * ms, receive: answerOf(tunnel.Unknown, 0), verdict: answer, state: asking, wake: 250 * ms},
			{at: 2 * ms, receive: answerOf(tunnel.Accepted, 1), verdict: answer, state: accepted, wake: vt.Never},
			{at: 5 * ms, receive: answerOf(tunnel.Unknown, 0), verdict: answer, sends: first, state: asking, wake: 255 * ms},
			{at: 6 * ms, receive: answerOf(tunnel.Unknown, 0), verdict: answer, state: asking, wake: 255 * ms},
			{at: 7 * ms, receive: answerOf(tunnel.Accepted, 1), verdict: answer, state: accepted, wake: vt.Never},
		}},
		{"packets, and what is none", []step{
			{at: 0, sends: first, state: asking, wake: 250 * ms},
			{at: 1 * ms, receive: answerOf(tunnel.Accepted, 1), verdict: answer, state: accepted, wake: vt.Never},
			{at: 2 * ms, receive: packet, verdict: deliver, state: accepted, wake: vt.Never},
			{at: 3 * ms, receive: packet[:19], verdict: junk, state: accepted, wake: vt.Never},
			{at: 4 * ms, receive: append(bytes.Clone(packet), 0), verdict: junk, state: accepted, wake: vt.Never},
			{at: 5 * ms, receive: first, verdict: junk, state: accepted, wake: vt.Never},
			{at: 6 * ms, receive: []byte{}, verdict: junk, state: accepted, wake: vt.Never},
		}},
		{"a switch is a new beginning, counted from the start of traffic", []step{
			{at: 0, sends: first, state: asking, wake: 250 * ms},
			{at: 1 * ms, receive: answerOf(tunnel.Accepted, 1), verdict: answer, state: accepted, wake: vt.Never},
			{at: 500 * ms, begin: true, state: accepted, wake: 1500 * ms},
			{at: 1500 * ms, sends: second, state: asking, wake: 1750 * ms},
			{at: 1501 * ms, receive: answerOf(tunnel.Accepted, 2), verdict: answer, state: accepted, wake: vt.Never},
		}},
		{"a switch ends a refusal", []step{
			{at: 0, sends: first, state: asking, wake: 250 * ms},
			{at: 1 * ms, receive: answerOf(tunnel.Refused, 0), verdict: answer, state: refused, wake: vt.Never},
			{at: 2 * ms, begin: true, state: refused, wake: 1002 * ms},
			{at: 1100 * ms, sends: second, state: asking, wake: 1350 * ms},
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := contextOf(2)
			k, err := newClient(&plan.Connect{Context: contextOf(1), Switch: []plan.Reconnect{{At: time.Second, Context: s}}})
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range c.steps {
				if s.begin {
					k.begin(s.at)
				}
				if s.receive != nil {
					if got := k.receive(s.at, s.receive); got != s.verdict {
						t.Errorf("step %d: verdict %d, want %d", i, got, s.verdict)
					}
				}
				if got := k.handleTimer(s.at); !bytes.Equal(got, s.sends) {
					t.Errorf("step %d sends %x, want %x", i, got, s.sends)
				}
				if k.state != s.state || k.nextWake() != s.wake {
					t.Errorf("step %d: state %d until %v, want %d until %v", i, k.state, k.nextWake(), s.state, s.wake)
				}
			}
		})
	}
}

func TestClientKnowsTheVirtualNetworkInForce(t *testing.T) {
	k, err := newClient(&plan.Connect{Context: contextOf(0)})
	if err != nil {
		t.Fatal(err)
	}
	k.handleTimer(0)
	if k.receive(1, answerOf(tunnel.Accepted, 9)); k.vnet != 9 {
		t.Errorf("virtual network %d is in force, want 9", k.vnet)
	}
}

func TestClientRefusesBadPlans(t *testing.T) {
	cases := []struct {
		name, want string
		connect    plan.Connect
	}{
		{"no tenant", "no tenant", plan.Connect{Context: tunnel.Context{Kind: tunnel.Device, Registration: [16]byte{1}}}},
		{"a bad switch", "no registration", plan.Connect{Context: contextOf(1), Switch: []plan.Reconnect{{Context: tunnel.Context{Kind: tunnel.Device, Tenant: 1}}}}},
		{"out of order", "switch at 1s comes after one at 2s: want them in order of time", plan.Connect{Context: contextOf(1), Switch: []plan.Reconnect{
			{At: 2 * time.Second, Context: contextOf(2)}, {At: time.Second, Context: contextOf(3)}}}},
	}
	for _, c := range cases {
		if _, err := newClient(&c.connect); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}
