package wire

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/emu/rtnl"
)

const (
	// bucketHandle is 1: of tc, root what an interface itself sends by.
	bucketHandle = 1 << 16
	root         = 1<<32 - 1
	// bucketTime is how much of its rate a bucket holds: as late as the kernel's
	// timers come on a busy machine, the rate is made up for.
	bucketTime = 4 * time.Millisecond
	// bucketLeast holds a superpacket with the headers of its segments whole.
	bucketLeast = 96 << 10
	// The kernel counts Ethernet headers, the file does not: of full packets the
	// rate comes out exact (impair.Config.Rate).
	packet, frame = 1500, 1514
)

// bucket is the options of a token bucket, tc_tbf_qopt and what goes beyond its
// 32 bits (linux/pkt_sched.h).
func bucket(c impair.Config) *nl.RtAttr {
	rate := uint64(c.Rate) / 8 * frame / packet // bytes a second
	burst := uint32(max(rate*uint64(bucketTime)/uint64(time.Second), bucketLeast))
	queue := cmp.Or(c.Queue, impair.DefaultQueue(c.Rate))
	q := nl.TcTbfQopt{Limit: uint32(min(int64(queue), 1<<31))}
	q.Rate.Rate = uint32(min(rate, 1<<32-1))
	q.Rate.Linklayer = nl.LINKLAYER_ETHERNET // no table of rates follows
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_TBF_PARMS, q.Serialize())
	if rate > 1<<32-1 {
		options.AddRtAttr(nl.TCA_TBF_RATE64, binary.NativeEndian.AppendUint64(nil, rate))
	}
	options.AddRtAttr(nl.TCA_TBF_BURST, nl.Uint32Attr(burst))
	return options
}

// shape gives what an interface sends a rate.
func shape(index int, s impair.Config) rtnl.Message {
	m := &nl.TcMsg{Family: unix.AF_UNSPEC, Ifindex: int32(index), Handle: bucketHandle, Parent: root}
	return creation(unix.RTM_NEWQDISC, m, text(nl.TCA_KIND, "tbf"), bucket(s))
}

// Shaped is how many packets an interface with a rate has sent, and how many found
// its queue full.
func (r *Routes) Shaped(name string) (sent, overflowed uint64, err error) {
	index, err := r.of(name)
	if err != nil {
		return 0, 0, err
	}
	all, err := r.conn.Ask(unix.RTM_GETQDISC, unix.NLM_F_DUMP, &nl.TcMsg{Family: unix.AF_UNSPEC, Ifindex: int32(index)})
	if err != nil {
		return 0, 0, fmt.Errorf("rate of %s: %w", name, err)
	}
	for _, b := range all {
		if m := nl.DeserializeTcMsg(b); int(m.Ifindex) != index || m.Handle != bucketHandle {
			continue
		}
		attrs, err := nl.ParseRouteAttr(b[nl.SizeofTcMsg:])
		if err != nil {
			return 0, 0, fmt.Errorf("rate of %s: %w", name, err)
		}
		for _, a := range attrs { // struct tc_stats: bytes, packets, drops, ...
			if a.Attr.Type == nl.TCA_STATS && len(a.Value) >= 16 {
				return uint64(binary.NativeEndian.Uint32(a.Value[8:])), uint64(binary.NativeEndian.Uint32(a.Value[12:])), nil
			}
		}
	}
	return 0, 0, fmt.Errorf("rate of %s: the kernel has no bucket there", name)
}
