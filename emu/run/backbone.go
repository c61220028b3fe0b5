package run

import (
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// etherHeader is what an interface counts beside the IP packet.
const etherHeader = 14

// backbone is what came over the links between datacenters, as the kernels of
// their edges counted.
func (r *runner) backbone() ([]record.Backbone, error) {
	var all []record.Backbone
	for i := range r.plan.Links {
		l := &r.plan.Links[i]
		if l.Class != plan.ClassBackbone {
			continue
		}
		for _, e := range []struct{ from, to *plan.Endpoint }{{&l.A, &l.B}, {&l.B, &l.A}} {
			var stats *netlink.LinkStatistics
			err := r.lab.NS(e.to.Node).Do(func() error {
				link, err := netlink.LinkByName(e.to.Interface)
				if err == nil {
					stats = link.Attrs().Statistics
				}
				return err
			})
			if err != nil || stats == nil {
				return nil, fmt.Errorf("count the backbone at %s of %s: %w", e.to.Interface, e.to.Node, err)
			}
			from, _ := r.plan.Node(e.from.Node)
			to, _ := r.plan.Node(e.to.Node)
			all = append(all, record.Backbone{
				From: from.Datacenter, To: to.Datacenter,
				Packets: int64(stats.RxPackets), Bytes: int64(stats.RxBytes) - etherHeader*int64(stats.RxPackets),
			})
		}
	}
	return all, nil
}
