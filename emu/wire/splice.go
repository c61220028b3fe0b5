package wire

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Splice is a way through Middle for a link that was built as a plain wire: made
// while the lab is up, it leaves the link's own interfaces as they are, with
// their addresses, routes, neighbours, programs and sockets. Beside each end
// stands a second one, whose other half is in Middle. While the splice leads,
// what the end sends leaves by the second one, and what the second one receives
// arrives at the end:
//
//	eth0 ─(clsact egress: mirred)─▶ splice2 ──▶ Middle ──▶ splice5 ─(clsact ingress: mirred)─▶ eth0
//
// Packet sockets on the end see what arrives; what is sent they see no more,
// because the kernel asks egress filters first: Ends says where it is seen.
//
// It is not safe for concurrent use.
type Splice struct {
	Cut
	ends  [2]beside // of A and of B
	leads bool
}

// beside is the second interface of a link's end.
type beside struct {
	space      *netns.NS
	node       string
	name, sees string // of the end, as the plan calls it and as it sends; the second one
	end, extra int    // indexes
}

// MakeSplice makes the second ends of a link, which leads nothing yet. In Middle
// they get the index at and the next one.
func MakeSplice(l *plan.Link, at int, space func(node string) *netns.NS) (*Splice, error) {
	s := &Splice{Cut: Cut{Link: l, A: at, B: at + 1}}
	middle := space(Middle)
	inside, err := dialIn(middle)
	if err != nil {
		return nil, fmt.Errorf("splice %s: %w", l.ID, err)
	}
	defer inside.Close()
	for i, e := range s.Cut.Ends() {
		b := &s.ends[i]
		b.space, b.node, b.name = space(e.Node), e.Node, e.Sees
		if err := b.make(at+i, l.MTU, middle, inside); err != nil {
			return nil, fmt.Errorf("splice %s at %s of %s: %w", l.ID, b.name, b.node, err)
		}
	}
	return s, nil
}

func dialIn(ns *netns.NS) (c *conn, err error) {
	err = ns.Do(func() error { c, err = dial(); return err })
	return c, err
}

// make makes the second end. It has the address of the first: the kernel tells
// by it for whom a packet is as it arrives.
func (b *beside) make(inner, mtu int, middle *netns.NS, inside *conn) error {
	return b.space.Do(func() error {
		own, err := net.InterfaceByName(b.name)
		if err != nil {
			return err
		}
		c, err := dial()
		if err != nil {
			return err
		}
		defer c.Close()
		b.end, b.sees = own.Index, extraName(own.Index)
		outer := end{name: b.sees, mac: own.HardwareAddr, mtu: mtu}
		if err := c.Send(veth(outer, end{name: fmt.Sprintf("w%d", inner), index: inner, mtu: mtu}, middle.Fd())); err != nil {
			return err
		}
		if b.extra, err = netns.Index(b.sees); err != nil {
			return err
		}
		if err := errors.Join(c.Send(quiet(b.extra)), StopOffloads(b.sees), redirect(b.extra, netlink.HANDLE_MIN_INGRESS, b.end, netlink.TCA_INGRESS_REDIR)); err != nil {
			return err
		}
		if err := errors.Join(c.Send(up(b.extra)), inside.Send(up(inner))); err != nil {
			return err
		}
		return errors.Join(c.ready(b.extra), inside.ready(inner))
	})
}

// extraName is what the second interface of an end is called.
func extraName(index int) string { return fmt.Sprintf("splice%d", index) }

// Lead has the link's packets go through Middle, in both directions.
func (s *Splice) Lead() error {
	if s.leads {
		return nil
	}
	s.leads = true
	for i := range s.ends {
		b := &s.ends[i]
		err := b.space.Do(func() error {
			return redirect(b.end, netlink.HANDLE_MIN_EGRESS, b.extra, netlink.TCA_EGRESS_REDIR)
		})
		if err == nil {
			err = b.muteAlike()
		}
		if err != nil {
			return fmt.Errorf("lead link %s through the pump at %s of %s: %w", s.Link.ID, b.name, b.node, err)
		}
	}
	return nil
}

// Release has packets cross the link itself again. What is on its way in Middle
// still arrives.
func (s *Splice) Release() error {
	if !s.leads {
		return nil
	}
	s.leads = false
	for i := range s.ends {
		b := &s.ends[i]
		err := b.space.Do(func() error {
			return netlink.FilterDel(&netlink.U32{FilterAttrs: filterOf(b.end, netlink.HANDLE_MIN_EGRESS)})
		})
		if err != nil {
			return fmt.Errorf("lead link %s past the pump at %s of %s: %w", s.Link.ID, b.name, b.node, err)
		}
	}
	return nil
}

// Ends is where to see what both ends send while the splice leads: of A and of
// B, and there what they receive, too.
func (s *Splice) Ends() [2]Watched {
	var all [2]Watched
	for i, b := range s.ends {
		all[i] = Watched{Node: b.node, Interface: b.name, Sees: b.sees}
	}
	return all
}

// Watched is an interface of a node whose packets are seen on another one.
type Watched struct{ Node, Interface, Sees string }

// muteAlike has the second end send nothing where the first was muted, and send
// where it was not, also if somebody changes his mind meanwhile.
func (b *beside) muteAlike() error {
	r, err := OpenRoutes(b.space)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		first, err := r.Muted(b.name)
		if err != nil {
			return err
		}
		if err := r.muteOne(b.extra, first); err != nil {
			return err
		}
		if again, err := r.Muted(b.name); err != nil || again == first {
			return err
		}
	}
}

// Join has all that arrives at one interface of a namespace leave by another one.
func Join(ns *netns.NS, from, to int) error {
	return ns.Do(func() error { return redirect(from, netlink.HANDLE_MIN_INGRESS, to, netlink.TCA_EGRESS_REDIR) })
}

// priority of the one filter that an interface gets.
const priority = 1

func filterOf(index int, side uint32) netlink.FilterAttrs {
	return netlink.FilterAttrs{LinkIndex: index, Parent: side, Priority: priority, Protocol: unix.ETH_P_ALL}
}

// redirect has everything that passes one side of an interface of the calling
// thread's namespace go on at another one.
//
// u32 without a condition takes every packet, and is older than matchall.
func redirect(from int, side uint32, to int, how netlink.MirredAct) error {
	hook := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: from, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
	if err := netlink.QdiscAdd(hook); err != nil && !errors.Is(err, syscall.EEXIST) {
		return Needs("CONFIG_NET_SCH_INGRESS (sch_ingress)", err)
	}
	action := netlink.NewMirredAction(to)
	action.MirredAction = how
	err := netlink.FilterAdd(&netlink.U32{FilterAttrs: filterOf(from, side), Actions: []netlink.Action{action}})
	return Needs("CONFIG_NET_CLS_U32 and CONFIG_NET_ACT_MIRRED (cls_u32, act_mirred)", err)
}
