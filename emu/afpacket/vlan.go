package afpacket

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Offsets of linux/filter.h at which a filter finds the tag, which the kernel
// takes out of a frame before any socket sees it.
const (
	ancillary = 0xfffff000 // SKF_AD_OFF
	vlanTag   = ancillary + 44
	vlanThere = ancillary + 48
	vlanID    = 0xfff // of the tag's 16 bits; the others are priority and eligibility
)

// ListenTagged is Listen for frames with that IEEE 802.1Q tag alone, of which
// the receiver sees nothing; VLAN 0 means frames without a tag.
func ListenTagged(ifindex, vlan int) (*Socket, error) {
	s, err := Dial(ifindex) // hears nothing before the filter is there
	if err != nil {
		return nil, err
	}
	filter := vlanFilter(vlan)
	program := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program); err != nil {
		return nil, errors.Join(fmt.Errorf("filter VLAN %d: %w", vlan, err), s.Close())
	}
	if err := s.bind(ifindex, unix.ETH_P_ALL); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func vlanFilter(vlan int) []unix.SockFilter {
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		and   = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret   = unix.BPF_RET | unix.BPF_K
		whole = 1<<32 - 1
	)
	if vlan == 0 {
		return []unix.SockFilter{
			{Code: load, K: vlanThere}, {Code: equal, K: 0, Jf: 1},
			{Code: ret, K: whole}, {Code: ret, K: 0},
		}
	}
	return []unix.SockFilter{
		{Code: load, K: vlanThere}, {Code: equal, K: 1, Jf: 4},
		{Code: load, K: vlanTag}, {Code: and, K: vlanID}, {Code: equal, K: uint32(vlan), Jf: 1},
		{Code: ret, K: whole}, {Code: ret, K: 0},
	}
}
