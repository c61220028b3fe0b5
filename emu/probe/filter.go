package probe

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/host"
)

// snapLen is what a frame keeps of a packet: Ethernet, the longest IPv4 header,
// and 8 + 20 bytes of what follows, or a TCP header up to its flags.
const snapLen = 14 + 60 + 28

const (
	ldb  = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
	ldh  = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
	ldw  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	ldbx = unix.BPF_LD | unix.BPF_B | unix.BPF_IND // relative to X
	ldwx = unix.BPF_LD | unix.BPF_W | unix.BPF_IND
	ihl  = unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH // X = 4 × low nibble
	and  = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	jeq  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jset = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	ret  = unix.BPF_RET | unix.BPF_K

	eth = 14 // offset of the IPv4 header
	// pktType loads a packet's direction: SKF_AD_OFF + SKF_AD_PKTTYPE of
	// linux/filter.h, which x/sys/unix lacks.
	pktType uint32 = 0xfffff000 + 4
)

// insn is one instruction of classic BPF with named jump targets; an empty
// target is the next instruction.
type insn struct {
	label   string
	code    uint16
	k       uint32
	yes, no string
}

// assemble resolves the names. A jump reaches 255 instructions forward.
func assemble(in []insn) ([]unix.SockFilter, error) {
	at := map[string]int{}
	for i, x := range in {
		if x.label != "" {
			at[x.label] = i
		}
	}
	out := make([]unix.SockFilter, len(in))
	for i, x := range in {
		out[i] = unix.SockFilter{Code: x.code, K: x.k}
		for _, j := range []struct {
			name string
			to   *uint8
		}{{x.yes, &out[i].Jt}, {x.no, &out[i].Jf}} {
			if j.name == "" {
				continue
			}
			target, ok := at[j.name]
			if d := target - i - 1; !ok || d < 0 || d > 255 {
				return nil, fmt.Errorf("filter instruction %d cannot jump to %q", i, j.name)
			}
			*j.to = uint8(target - i - 1)
		}
	}
	return out, nil
}

// ipv4 drops all but IPv4 packets that show their L4 header, and leaves the
// header length in X.
func ipv4() []insn {
	return []insn{
		{code: ldh, k: 12},
		{code: jeq, k: unix.ETH_P_IP, no: "drop"},
		{code: ldh, k: eth + 6},
		{code: jset, k: 0x1fff, yes: "drop"}, // a later fragment
		{code: ihl, k: eth},
	}
}

// markFilter keeps SYNs and SYN-ACKs, and UDP and ICMP echo with the lab's mark.
func markFilter() []insn {
	return append(ipv4(),
		insn{code: ldb, k: eth + 9},
		insn{code: jeq, k: unix.IPPROTO_TCP, yes: "tcp"},
		insn{code: jeq, k: unix.IPPROTO_UDP, yes: "marked"},
		insn{code: jeq, k: unix.IPPROTO_ICMP, no: "drop"},
		insn{code: ldbx, k: eth},
		insn{code: jeq, k: 8, yes: "marked"},
		insn{code: jeq, k: 0, yes: "marked", no: "drop"},
		insn{label: "tcp", code: ldbx, k: eth + 13},
		insn{code: jset, k: 2, yes: "keep", no: "drop"},
		insn{label: "marked", code: ldwx, k: eth + 8},
		insn{code: jeq, k: host.Magic, yes: "keep", no: "drop"},
		insn{label: "keep", code: ret, k: snapLen},
		insn{label: "drop", code: ret, k: 0},
	)
}

// egressFilter keeps packets of one direction from the given sources that have
// a source port: TCP, UDP, ICMP echo requests.
func egressFilter(incoming bool, sources []netip.Prefix) ([]insn, error) {
	direction := insn{code: jeq, k: unix.PACKET_OUTGOING, no: "drop"}
	if incoming {
		direction = insn{code: jeq, k: unix.PACKET_OUTGOING, yes: "drop"}
	}
	f := append([]insn{{code: ldb, k: pktType}, direction}, ipv4()...)
	for _, p := range sources {
		if !p.IsValid() || !p.Addr().Is4() {
			return nil, fmt.Errorf("egress prefix %v: want IPv4", p)
		}
		a := p.Masked().Addr().As4()
		f = append(f,
			insn{code: ldw, k: eth + 12},
			insn{code: and, k: ^uint32(0) << (32 - p.Bits())},
			insn{code: jeq, k: binary.BigEndian.Uint32(a[:]), yes: "source"})
	}
	return append(f,
		insn{code: ret, k: 0},
		insn{label: "source", code: ldb, k: eth + 9},
		insn{code: jeq, k: unix.IPPROTO_TCP, yes: "keep"},
		insn{code: jeq, k: unix.IPPROTO_UDP, yes: "keep"},
		insn{code: jeq, k: unix.IPPROTO_ICMP, no: "drop"},
		insn{code: ldbx, k: eth},
		insn{code: jeq, k: 8, yes: "keep", no: "drop"},
		insn{label: "keep", code: ret, k: snapLen},
		insn{label: "drop", code: ret, k: 0},
	), nil
}
