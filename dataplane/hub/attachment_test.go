package hub

import "testing"

// What a server says of where a device is tells the others to learn it; nothing
// else does.
func TestAttachment(t *testing.T) {
	for name, c := range map[string]struct {
		event Event
		want  Attachment
		ok    bool
	}{
		"attached": {Event{Kind: Attached, OnRamp: 7, VNet: 2, At: 5}, Attachment{OnRamp: 7, Server: 3, VNet: 2, Since: 5}, true},
		"detached": {Event{Kind: Detached, OnRamp: 7, VNet: 2, At: 5}, Attachment{OnRamp: 7, Since: 5}, true},
		"other":    {Event{Kind: FlowStart, OnRamp: 7}, Attachment{}, false},
	} {
		if got, ok := c.event.Attachment(3); got != c.want || ok != c.ok {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, ok, c.want, c.ok)
		}
	}
}
