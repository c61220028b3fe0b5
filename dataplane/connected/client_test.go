package connected

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
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

// reconnect is a Switch by value.
type reconnect struct {
	at      time.Duration
	context tunnel.Context
}

func newClient(first tunnel.Context, later ...reconnect) (*Client, error) {
	var all []Switch
	for i := range later {
		all = append(all, Switch{later[i].at, &later[i].context})
	}
	return New(&first, all...)
}

const ms = vt.Instant(time.Millisecond)

// life is a client's: what happens at each instant, and what it sends then.
type life struct {
	name  string
	steps []step
}

type step struct {
	at      vt.Instant
	receive []byte
	verdict Verdict
	begin   bool   // traffic starts at this instant
	sends   []byte // in the end
	state   State
	wake    vt.Instant
}

// lives are of a client that begins with the first datagram, and a second after
// traffic starts with the second.
func lives(first, second []byte) []life {
	packet := []byte{0x45, 0, 0, 20, 19: 0}
	return []life{
		{"the context is sent again until it is answered", []step{
			{at: 0, sends: first, state: Asking, wake: 250 * ms},
			{at: 100 * ms, state: Asking, wake: 250 * ms},
			{at: 250 * ms, sends: first, state: Asking, wake: 500 * ms},
			{at: 300 * ms, receive: answerOf(tunnel.Accepted, 1), verdict: Answer, state: Accepted, wake: vt.Never},
			{at: 900 * ms, state: Accepted, wake: vt.Never},
		}},
		{"a refusal is final", []step{
			{at: 0, sends: first, state: Asking, wake: 250 * ms},
			{at: 1 * ms, receive: answerOf(tunnel.Refused, 0), verdict: Answer, state: Refused, wake: vt.Never},
			{at: 2 * ms, receive: answerOf(tunnel.Accepted, 1), verdict: Answer, state: Refused, wake: vt.Never},
			{at: 900 * ms, state: Refused, wake: vt.Never},
		}},
		{"a server that does not know the tunnel is told at once", []step{
			{at: 0, sends: first, state: Asking, wake: 250 * ms},
			{at: 1 * ms, receive: answerOf(tunnel.Unknown, 0), verdict: Answer, state: Asking, wake: 250 * ms},
			{at: 2 * ms, receive: answerOf(tunnel.Accepted, 1), verdict: Answer, state: Accepted, wake: vt.Never},
			{at: 5 * ms, receive: answerOf(tunnel.Unknown, 0), verdict: Answer, sends: first, state: Asking, wake: 255 * ms},
			{at: 6 * ms, receive: answerOf(tunnel.Unknown, 0), verdict: Answer, state: Asking, wake: 255 * ms},
			{at: 7 * ms, receive: answerOf(tunnel.Accepted, 1), verdict: Answer, state: Accepted, wake: vt.Never},
		}},
		{"packets, and what is none", []step{
			{at: 0, sends: first, state: Asking, wake: 250 * ms},
			{at: 1 * ms, receive: answerOf(tunnel.Accepted, 1), verdict: Answer, state: Accepted, wake: vt.Never},
			{at: 2 * ms, receive: packet, verdict: Deliver, state: Accepted, wake: vt.Never},
			{at: 3 * ms, receive: packet[:19], verdict: Junk, state: Accepted, wake: vt.Never},
			{at: 4 * ms, receive: append(bytes.Clone(packet), 0), verdict: Junk, state: Accepted, wake: vt.Never},
			{at: 5 * ms, receive: first, verdict: Junk, state: Accepted, wake: vt.Never},
			{at: 6 * ms, receive: []byte{}, verdict: Junk, state: Accepted, wake: vt.Never},
		}},
		{"a switch is a new beginning, counted from the start of traffic", []step{
			{at: 0, sends: first, state: Asking, wake: 250 * ms},
			{at: 1 * ms, receive: answerOf(tunnel.Accepted, 1), verdict: Answer, state: Accepted, wake: vt.Never},
			{at: 500 * ms, begin: true, state: Accepted, wake: 1500 * ms},
			{at: 1500 * ms, sends: second, state: Asking, wake: 1750 * ms},
			{at: 1501 * ms, receive: answerOf(tunnel.Accepted, 2), verdict: Answer, state: Accepted, wake: vt.Never},
		}},
		{"a switch ends a refusal", []step{
			{at: 0, sends: first, state: Asking, wake: 250 * ms},
			{at: 1 * ms, receive: answerOf(tunnel.Refused, 0), verdict: Answer, state: Refused, wake: vt.Never},
			{at: 2 * ms, begin: true, state: Refused, wake: 1002 * ms},
			{at: 1100 * ms, sends: second, state: Asking, wake: 1350 * ms},
		}},
	}
}

func TestClient(t *testing.T) {
	for _, l := range lives(datagram(t, contextOf(1)), datagram(t, contextOf(2))) {
		t.Run(l.name, func(t *testing.T) {
			k, err := newClient(contextOf(1), reconnect{time.Second, contextOf(2)})
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range l.steps {
				if s.begin {
					k.Begin(s.at)
				}
				if s.receive != nil {
					if got := k.Receive(s.at, s.receive); got != s.verdict {
						t.Errorf("step %d: verdict %d, want %d", i, got, s.verdict)
					}
				}
				if got := k.HandleTimer(s.at); !bytes.Equal(got, s.sends) {
					t.Errorf("step %d sends %x, want %x", i, got, s.sends)
				}
				if k.State() != s.state || k.NextWake() != s.wake {
					t.Errorf("step %d: state %d until %v, want %d until %v", i, k.State(), k.NextWake(), s.state, s.wake)
				}
			}
		})
	}
}

func TestClientKnowsTheVirtualNetworkInForce(t *testing.T) {
	k, err := newClient(contextOf(0))
	if err != nil {
		t.Fatal(err)
	}
	k.HandleTimer(0)
	if k.Receive(1, answerOf(tunnel.Accepted, 9)); k.VNet() != 9 {
		t.Errorf("virtual network %d is in force, want 9", k.VNet())
	}
}

func TestClientRefusesBadPlans(t *testing.T) {
	cases := []struct {
		name, want string
		first      tunnel.Context
		later      []reconnect
	}{
		{"no tenant", "no tenant", tunnel.Context{Kind: tunnel.Device, Registration: [16]byte{1}}, nil},
		{"a bad switch", "no registration", contextOf(1), []reconnect{{0, tunnel.Context{Kind: tunnel.Device, Tenant: 1}}}},
		{"out of order", "switch at 1s comes after one at 2s: want them in order of time", contextOf(1), []reconnect{{2 * time.Second, contextOf(2)}, {time.Second, contextOf(3)}}},
	}
	for _, c := range cases {
		if _, err := newClient(c.first, c.later...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}
