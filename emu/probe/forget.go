package probe

// Forget drops what was seen so far: it belongs to flows that nobody will ask
// about any more. Packets that were missed until now are forgotten too.
func (t *Tap) Forget() {
	var drops int64
	for _, p := range t.others() {
		p.locked(func() { drops += p.drops })
	}
	t.pump.locked(func() {
		t.seen, t.order, t.over, t.missed = map[sight]*Observation{}, nil, 0, t.pump.drops+drops
	})
}
