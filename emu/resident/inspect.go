package resident

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// inspect tells of nodes what the kernel has in them now, and what servers know.
func (k *keeper) inspect(ctx context.Context, c *control.Call, lab *run.Lab) error {
	var args control.NodeArgs
	if err := c.Args(&args); err != nil {
		return err
	}
	p := lab.Plan()
	var wanted []*plan.Node
	for i := range p.Nodes {
		if args.Node == "" || p.Nodes[i].ID == args.Node {
			wanted = append(wanted, &p.Nodes[i])
		}
	}
	if len(wanted) == 0 {
		return k.noNode(lab, args.Node)
	}
	looks, problem := lab.Look(ctx)
	nodes := make([]control.Node, len(wanted))
	var wait sync.WaitGroup
	room := make(chan struct{}, inspectAtOnce)
	for i, n := range wanted {
		room <- struct{}{}
		wait.Go(func() {
			nodes[i] = kernelView(n, lab.NS(n.ID))
			<-room
		})
	}
	wait.Wait()
	for i, n := range wanted {
		if n.Kind == plan.KindServer {
			if look, ok := looks[n.ID]; ok {
				nodes[i].Counters, nodes[i].Flows = run.Totals(look.Final), lab.Sessions(n.ID, look.Sessions)
			} else {
				nodes[i].Problem = "a fault has it stand still, or killed it"
				if problem != nil {
					nodes[i].Problem = problem.Error()
				}
			}
		}
		if err := c.Send(nodes[i]); err != nil {
			return err
		}
	}
	return nil
}

// inspectAtOnce is how many nodes are looked at together: each takes a thread.
const inspectAtOnce = 8

// kernelView is a node's interfaces and routes.
func kernelView(n *plan.Node, ns *netns.NS) control.Node {
	out := control.Node{ID: n.ID, Kind: n.Kind, Site: n.Site, Datacenter: n.Datacenter, Account: n.Account}
	err := ns.Do(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		names := map[int]string{}
		for _, l := range links {
			a := l.Attrs()
			names[a.Index] = a.Name
			addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
			if err != nil {
				return err
			}
			f := control.Interface{Name: a.Name, MAC: a.HardwareAddr.String(), MTU: a.MTU, Up: a.Flags&net.FlagUp != 0}
			for _, addr := range addrs {
				f.Addresses = append(f.Addresses, addr.IPNet.String())
			}
			if a.Name != "lo" || len(f.Addresses) > 0 {
				out.Interfaces = append(out.Interfaces, f)
			}
		}
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return err
		}
		for i := range routes {
			out.Routes = append(out.Routes, routeText(&routes[i], names))
		}
		return nil
	})
	if err != nil {
		out.Problem = err.Error()
	}
	return out
}

// routeText writes a route as ip-route(8) does.
func routeText(r *netlink.Route, names map[int]string) control.Route {
	out := control.Route{To: "default"}
	if r.Dst != nil {
		if ones, _ := r.Dst.Mask.Size(); ones > 0 || !r.Dst.IP.IsUnspecified() {
			out.To = r.Dst.String()
		}
	}
	switch r.Type {
	case unix.RTN_BLACKHOLE:
		out.Hops = []string{"blackhole"}
		return out
	case unix.RTN_UNREACHABLE:
		out.Hops = []string{"unreachable"}
		return out
	}
	if len(r.MultiPath) == 0 {
		out.Hops = []string{hop(r.Gw, names[r.LinkIndex], 0)}
	}
	for _, m := range r.MultiPath {
		out.Hops = append(out.Hops, hop(m.Gw, names[m.LinkIndex], m.Hops+1))
	}
	return out
}

func hop(via net.IP, dev string, weight int) string {
	var parts []string
	if via != nil {
		parts = append(parts, "via "+via.String())
	}
	parts = append(parts, "dev "+dev)
	if weight > 1 {
		parts = append(parts, fmt.Sprintf("weight %d", weight))
	}
	return strings.Join(parts, " ")
}

// noNode says what was meant, perhaps.
func (k *keeper) noNode(lab *run.Lab, id string) error {
	var ids []string
	for _, n := range lab.Plan().Nodes {
		ids = append(ids, n.ID)
	}
	return control.NoSuch("node", id, "lab "+k.start.Name, ids)
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
