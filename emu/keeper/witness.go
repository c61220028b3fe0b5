package keeper

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/rtnl"
)

// Attributes of linux/net_namespace.h.
const (
	netnsaID = 1 // NETNSA_NSID
	netnsaFD = 3 // NETNSA_FD
)

// witness knows whether namespaces still exist after every descriptor of them
// is closed.
//
// It is a namespace of its own in which each watched one has a number. The
// number does not hold the watched namespace, and the kernel takes it back
// when the last reference (a descriptor, a process, a socket) is gone: the
// only way to see the end of something that has no name.
type witness struct {
	space *netns.NS
	conn  *rtnl.Conn
}

// newWitness makes the namespace.
func newWitness() (*witness, error) {
	space, err := netns.New()
	if err != nil {
		return nil, err
	}
	w, err := witnessIn(space)
	if err != nil {
		space.Close()
	}
	return w, err
}

// witnessIn is the witness that a namespace already is.
func witnessIn(space *netns.NS) (*witness, error) {
	w := &witness{space: space}
	err := space.Do(func() (err error) {
		w.conn, err = rtnl.Dial()
		return err
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (w *witness) close() error {
	w.conn.Close()
	return w.space.Close()
}

// watch gives a namespace the number id.
func (w *witness) watch(space *netns.NS, id int) error {
	_, err := w.conn.Ask(unix.RTM_NEWNSID, 0, nl.NewRtGenMsg(),
		nl.NewRtAttr(netnsaFD, nl.Uint32Attr(uint32(space.Fd()))), nl.NewRtAttr(netnsaID, nl.Uint32Attr(uint32(id))))
	if err != nil {
		return fmt.Errorf("number namespace: %w", err)
	}
	return nil
}

// alive are the numbers of the namespaces that still exist, of many the lowest:
// Linux 6.18 ends its answer with what fits one message, 134 of them.
func (w *witness) alive() ([]int, error) {
	for {
		msgs, err := w.conn.Ask(unix.RTM_GETNSID, unix.NLM_F_DUMP, nl.NewRtGenMsg())
		if errors.Is(err, nl.ErrDumpInterrupted) {
			continue // one went meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("list namespaces: %w", err)
		}
		var ids []int
		for _, m := range msgs {
			attrs, err := nl.ParseRouteAttr(m[nl.NewRtGenMsg().Len():])
			if err != nil {
				return nil, fmt.Errorf("list namespaces: %w", err)
			}
			for _, a := range attrs {
				if a.Attr.Type == netnsaID {
					ids = append(ids, int(int32(binary.NativeEndian.Uint32(a.Value))))
				}
			}
		}
		return ids, nil
	}
}
