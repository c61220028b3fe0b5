package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/impair"
)

// Of linux/pkt_sched.h: the place of an interface's own queue.
const rootQueue = 0xffffffff

// queue is the head of a message about an interface's queue, struct tcmsg.
func queue(index int) header {
	h := header{unix.AF_UNSPEC, 0, 0, 0}
	h = binary.NativeEndian.AppendUint32(h, uint32(index))
	h = binary.NativeEndian.AppendUint32(h, 0)
	h = binary.NativeEndian.AppendUint32(h, rootQueue)
	return binary.NativeEndian.AppendUint32(h, 0)
}

// Mute has an interface send nothing from now on, and nobody is told: its carrier
// stays, and what the kernel, its programs and packet sockets send vanishes. It
// is a queue without room, so that no eBPF is needed; a sender that asks
// (IP_RECVERR) hears of it as of a full queue.
func (r *Routes) Mute(name string) error {
	return r.muteBoth(name, true)
}

// muteBoth mutes or unmutes an end and, where a splice has given it one, its
// second interface, by which it sends then.
func (r *Routes) muteBoth(name string, mute bool) error {
	index, err := r.of(name)
	if err != nil {
		return err
	}
	if err := r.muteOne(index, mute); err != nil {
		return fmt.Errorf("mute %s: %w", name, err)
	}
	extra, err := r.conn.named(extraName(index))
	if err != nil || extra == 0 {
		return err
	}
	if err := r.muteOne(extra, mute); err != nil {
		return fmt.Errorf("mute %s: %w", extraName(index), err)
	}
	return nil
}

func (r *Routes) muteOne(index int, mute bool) error {
	if !mute {
		_, err := r.conn.Ask(unix.RTM_DELQDISC, 0, queue(index))
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EINVAL) {
			return nil
		}
		return err
	}
	room := nl.NewRtAttr(nl.TCA_OPTIONS, binary.NativeEndian.AppendUint32(nil, 0)) // struct tc_fifo_qopt
	_, err := r.conn.Ask(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, queue(index), text(nl.TCA_KIND, "pfifo"), room)
	return err
}

// Unmute lets an interface send again. It is no error if it does already.
func (r *Routes) Unmute(name string) error { return r.muteBoth(name, false) }

// Shape gives what an interface sends a rate again, which Unmute takes away.
func (r *Routes) Shape(name string, c impair.Config) error {
	index, err := r.of(name)
	if err != nil {
		return err
	}
	return r.conn.Send(explained(shape(index, c), "rate %v on %s", c.Rate, name))
}

// Muted says whether the kernel has the interface send nothing.
func (r *Routes) Muted(name string) (bool, error) {
	index, err := r.of(name)
	if err != nil {
		return false, err
	}
	all, err := r.conn.Ask(unix.RTM_GETQDISC, unix.NLM_F_DUMP, queue(0))
	if err != nil {
		return false, fmt.Errorf("queues of %s: %w", name, err)
	}
	for _, m := range all {
		const head = 20 // struct tcmsg
		if len(m) < head || int(binary.NativeEndian.Uint32(m[4:])) != index {
			continue
		}
		attrs, err := nl.ParseRouteAttr(m[head:])
		if err != nil {
			return false, fmt.Errorf("queues of %s: %w", name, err)
		}
		for _, a := range attrs {
			if a.Attr.Type == nl.TCA_KIND && string(a.Value) == "pfifo\x00" {
				return true, nil
			}
		}
	}
	return false, nil
}

// SetMTU changes the MTU of an interface.
func (r *Routes) SetMTU(name string, mtu int) error {
	index, err := r.of(name)
	if err != nil {
		return err
	}
	if _, err := r.conn.Ask(unix.RTM_SETLINK, 0, ifinfo(index), u32(unix.IFLA_MTU, uint32(mtu))); err != nil {
		return fmt.Errorf("MTU %d of %s: %w", mtu, name, err)
	}
	return nil
}

// MTU is what the kernel says of an interface.
func (r *Routes) MTU(name string) (int, error) {
	index, err := r.of(name)
	if err != nil {
		return 0, err
	}
	all, err := r.conn.Ask(unix.RTM_GETLINK, 0, ifinfo(index))
	if err != nil || len(all) != 1 {
		return 0, fmt.Errorf("MTU of %s: %d answers, %w", name, len(all), err)
	}
	attrs, err := nl.ParseRouteAttr(all[0][unix.SizeofIfInfomsg:])
	if err != nil {
		return 0, fmt.Errorf("MTU of %s: %w", name, err)
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.IFLA_MTU {
			return int(binary.NativeEndian.Uint32(a.Value)), nil
		}
	}
	return 0, fmt.Errorf("MTU of %s: the kernel does not say", name)
}
