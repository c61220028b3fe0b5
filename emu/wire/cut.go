package wire

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Middle is the id under which space gives Build the namespace in which the
// halves of impaired links meet; no node can be called that.
const Middle = "(wires)"

// Cut is an impaired link: where in Middle its halves end.
type Cut struct {
	Link *plan.Link
	// A is the index of the interface toward the link's end A, B of that toward B.
	A, B int
}

// Ends are the interfaces of the link's ends A and B, by which they send.
func (c Cut) Ends() [2]Watched {
	a, b := Watched{c.Link.A.Node, c.Link.A.Interface, c.Link.A.Interface}, Watched{c.Link.B.Node, c.Link.B.Interface, c.Link.B.Interface}
	if c.Link.VLAN != 0 {
		a.Sees += TrunkSuffix
	}
	return [2]Watched{a, b}
}

// Cuts are the impaired links of a plan, in its order.
func Cuts(p *plan.Plan) []Cut {
	var all []Cut
	for i := range p.Links {
		if l := &p.Links[i]; l.Impaired() {
			at := loopback + 1 + 2*len(all)
			all = append(all, Cut{Link: l, A: at, B: at + 1})
		}
	}
	return all
}

// middle adds the place in which impaired links are cut, if there are any, and
// says what pairs each link is made of.
func (b *builder) middle(p *plan.Plan) func(l *plan.Link, whole pair) []pair {
	cuts := make(map[*plan.Link]Cut)
	for _, c := range Cuts(p) {
		cuts[c.Link] = c
	}
	middle := newPlace(&plan.Node{ID: Middle}, len(b.places))
	if len(cuts) > 0 {
		b.places = append(b.places, middle)
	}
	return func(l *plan.Link, whole pair) []pair {
		if c, cut := cuts[l]; cut {
			return c.halves(whole, middle)
		}
		return []pair{whole}
	}
}

// Prepare makes a fresh namespace fit to be Middle, as Build does.
func Prepare(ns *netns.NS) error {
	return ns.Do(func() error {
		c := classOf(&plan.Node{ID: Middle}, false)
		return apply(append(settings(c), setting{disable6, off6(c.v6), true}))
	})
}

// halves are the two pairs that a link is cut into. Their order is that in which
// Cuts numbers the inner ends, which are called after their numbers.
func (c Cut) halves(whole pair, middle *place) []pair {
	half := func(outer, far side, index int) pair {
		if outer.neighborMAC == nil {
			outer.neighborMAC = far.mac
		}
		outer.whole = true
		inner := side{end: end{name: fmt.Sprintf("w%d", index), mtu: c.Link.MTU}, node: middle}
		return pair{what: "half of " + whole.what, a: outer, b: inner}
	}
	return []pair{half(whole.a, whole.b, c.A), half(whole.b, whole.a, c.B)}
}

// Commands of SIOCETHTOOL (linux/ethtool.h).
const (
	setTxChecksum = 0x17
	setTSO        = 0x1f
	setGSO        = 0x24
)

// StopOffloads makes the interface of the calling thread's namespace send what a
// wire would carry: no superpackets, and no checksums left to fill in.
func StopOffloads(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, command := range []uint32{setTSO, setGSO, setTxChecksum} {
		// struct ethtool_value, and struct ifreq that points to it.
		value := struct{ command, data uint32 }{command, 0}
		request := struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}{data: unsafe.Pointer(&value)}
		copy(request.name[:unix.IFNAMSIZ-1], name)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
			return fmt.Errorf("ethtool command %#x: %w", command, errno)
		}
	}
	return nil
}
