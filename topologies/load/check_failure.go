package load

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// health checks that there is a tunnel to probe.
func (r *resolver) health(path string, ramp *spec.OnRamp) {
	if ramp.Health != nil && ramp.Type == string(tunnel.Interconnect) {
		r.fail(path+".health", "", "health belongs to a tunnel, and an interconnect has none to probe through")
	}
}

// group checks an on-ramp group (SEMANTICS 1.8, G1).
func (r *resolver) group(path string, o *spec.Site) {
	if o.Group == nil {
		return
	}
	path += ".group"
	ids := each(o.OnRamps, func(ramp spec.OnRamp) string { return ramp.ID })
	if o.Group.Primary == "" {
		r.missing(path, "primary", "a group without primary, want the id of an on-ramp")
	} else if !slices.Contains(ids, o.Group.Primary) {
		r.fail(path+".primary", suggest(o.Group.Primary, ids), "no on-ramp %q in this site, want one of %s", clip(o.Group.Primary), oneOf(ids))
	}
	switch {
	case len(o.Group.Backups) > 0:
	case r.present(path + ".backups"):
		r.fail(path+".backups", "", "a group of one, want a backup beside %s", o.Group.Primary)
	default:
		r.missing(path, "backups", "a group of one, want backups: [the id of another on-ramp]")
	}
	seen := map[string]bool{o.Group.Primary: true}
	for i, b := range o.Group.Backups {
		at := fmt.Sprintf("%s.backups[%d]", path, i)
		switch {
		case !slices.Contains(ids, b):
			r.fail(at, suggest(b, ids), "no on-ramp %q in this site, want one of %s", clip(b), oneOf(ids))
		case b == o.Group.Primary:
			r.fail(at, "", "on-ramp %q is the primary, want another as backup", b)
		case seen[b]:
			r.fail(at, "", "on-ramp %q is in the group twice", b)
		}
		seen[b] = true
	}
	r.only(path+".hold_down", "failback: hold-down", o.Group.Failback == "hold-down")
	r.only(path+".repin_after", "repin: after", o.Group.Repin != "immediate")
}

// only refuses a word that is given without another that gives it a meaning.
func (r *resolver) only(path, with string, meant bool) {
	if !meant && r.present(path) && r.refused(path) == "" {
		r.fail(path, "", "%s belongs to %s", lastWord(path), with)
	}
}

func lastWord(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '.' {
			return path[i+1:]
		}
	}
	return path
}

// cpe checks how a branch router chooses.
func (r *resolver) cpe(path string, o *spec.Site) {
	if o.CPE != nil && len(o.OnRamps) < 2 && o.CPE.Select == spec.ECMP {
		r.fail(path+".cpe.select", "", "ecmp over one on-ramp, want a second one in this site")
	}
}

// faults checks what goes wrong. What a fault is on, the plan knows best.
func (r *resolver) faults(ix *names) {
	for i := range r.s.Faults {
		f := &r.s.Faults[i]
		path := item("faults", i)
		if f.Do == "" {
			r.missing(path, "do", "a fault that does nothing, want do: such as cut")
		}
		if f.On == "" {
			r.missing(path, "on", "a fault on nothing, want on: such as shop.1.wan")
		} else {
			r.linkTarget(ix, path+".on", f.On)
		}
		if f.Pick < 0 {
			r.fail(path+".pick", "", "pick %d, want 1 or more", f.Pick)
		}
		if f.Do != "" {
			r.faultWords(path, f)
		}
	}
}

// faultWords checks the words that belong to some faults alone.
func (r *resolver) faultWords(path string, f *spec.Fault) {
	checkFault(f, r.givenIn(path),
		func(word, msg string) { r.fail(path+"."+word, "", "%s", msg) },
		func(word, msg string) { r.missing(path, word, msg) })
	if f.Impairment != nil {
		r.impairment(path+".impairment", *f.Impairment)
	}
}

// checkFault checks the words that belong to some faults alone, wherever the
// fault comes from; given says whether a word was.
func checkFault(f *spec.Fault, given func(word string) bool, fail, missing func(word, msg string)) {
	for _, w := range []struct {
		word string
		do   []string
		want string
	}{
		{"direction", []string{spec.Blackhole}, "direction: up or down"},
		{"every", []string{spec.Flap}, ""},
		{"mtu", []string{spec.LowerMTU}, "mtu: such as 1280"},
		{"address", []string{spec.Withdraw, spec.Move, spec.Release, spec.Allocate}, "address: one of the egress, or tunnel"},
		{"to", []string{spec.Move}, "to: the datacenter that the address goes to"},
		{"wait", []string{spec.Drain, spec.Move, spec.Release}, ""},
		{"impairment", []string{spec.Degrade}, "impairment: such as {delay: 80ms}"},
	} {
		switch meant := slices.Contains(w.do, f.Do); {
		case !meant && given(w.word):
			fail(w.word, w.word+" belongs to do: "+strings.Join(w.do, " or "))
		case meant && w.want != "" && !given(w.word):
			missing(w.word, fmt.Sprintf("%s without %s, want %s", f.Do, w.word, w.want))
		}
	}
	directory := f.Do == spec.Move || f.Do == spec.Release || f.Do == spec.Allocate
	if directory && f.Address != "" {
		if _, err := netip.ParseAddr(f.Address); err != nil {
			fail("address", fmt.Sprintf("address %q, want an egress address such as 198.51.100.1", clip(f.Address)))
		}
	}
	if directory && given("for") {
		fail("for", fmt.Sprintf("%s does not heal: want the opposite as another fault", f.Do))
	}
	if f.Do == spec.LowerMTU && given("mtu") && (f.MTU < minMTU || f.MTU > maxMTU) {
		fail("mtu", fmt.Sprintf("mtu %d, want %d to %d", f.MTU, minMTU, maxMTU))
	}
	if f.Do == spec.Withdraw && f.Address != "" && f.Address != spec.TunnelAddress {
		_, noAddr := netip.ParseAddr(f.Address)
		_, noPrefix := netip.ParsePrefix(f.Address)
		if noAddr != nil && noPrefix != nil {
			fail("address", fmt.Sprintf("address %q, want one such as 198.51.100.1, or tunnel, or the prefix of a learned route", clip(f.Address)))
		}
	}
}
