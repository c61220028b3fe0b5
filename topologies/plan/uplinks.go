package plan

import "github.com/homeward-lab/homeward/topologies/spec"

// uplinks are one for each host that an uplink of the file selects.
func (b *builder) uplinks() {
	for i, u := range b.s.Uplink {
		found := false
		for _, m := range append(append([]*machine{}, b.hosts...), b.origin...) {
			if spec.Matches(u.Host, m.node.ID) {
				found = true
				b.p.Uplinks = append(b.p.Uplinks, Uplink{Node: m.node.ID, Interface: u.Interface, Network: u.Network})
			}
		}
		if !found {
			b.fail(at("uplink", i)+".host", "%q selects no host", u.Host)
		}
	}
}
