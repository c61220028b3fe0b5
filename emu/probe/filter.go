package probe

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/host"
)

// snapLen is what a frame keeps of a packet: Ethernet, the longest IPv4 header
// (that of IPv6 and a fragment is shorter), and 8 + 20 bytes of what follows, or
// a TCP header up to its flags.
const snapLen = 14 + 60 + 28

const (
	ldb  = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
	ldh  = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
	ldw  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	ldbx = unix.BPF_LD | unix.BPF_B | unix.BPF_IND // relative to X
	ldwx = unix.BPF_LD | unix.BPF_W | unix.BPF_IND
	ihl  = unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH // X = 4 × low nibble
	ldx  = unix.BPF_LDX | unix.BPF_IMM
	and  = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	jeq  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jset = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	ja   = unix.BPF_JMP | unix.BPF_JA // to yes, however far
	ret  = unix.BPF_RET | unix.BPF_K

	eth = 14 // offset of the IP header
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

// assemble resolves the names. A jump reaches 255 instructions forward, ja any.
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
		if target, ok := at[x.yes]; ok && x.code == ja && target > i {
			out[i].K = uint32(target - i - 1)
			continue
		}
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

// either goes on with IPv6 and jumps to "four" with IPv4; all else is dropped.
func either() []insn {
	return []insn{
		{code: ldh, k: 12},
		{code: jeq, k: unix.ETH_P_IPV6, yes: "six"},
		{code: jeq, k: unix.ETH_P_IP, no: "neither"},
		{code: ja, yes: "four"},
		{label: "neither", code: ret, k: 0},
		{label: "six", code: ldx, k: 0}, // does nothing
	}
}

// transport4 goes on at "proto" with the protocol in A and where its header is,
// from the IP header on, in X; a later fragment is dropped.
func transport4() []insn {
	return []insn{
		{code: ldh, k: eth + 6},
		{code: jset, k: 0x1fff, no: "first4"},
		{code: ret, k: 0},
		{label: "first4", code: ihl, k: eth},
		{code: ldb, k: eth + 9},
		{code: ja, yes: "proto"},
	}
}

// transport6 likewise. Of extension headers it knows that of fragments.
func transport6() []insn {
	return []insn{
		{code: ldx, k: ipv6Size},
		{code: ldb, k: eth + nextHeader},
		{code: jeq, k: unix.IPPROTO_FRAGMENT, no: "proto6"},
		{code: ldh, k: eth + ipv6Size + 2},
		{code: jset, k: 0xfff8, no: "first6"},
		{code: ret, k: 0},
		{label: "first6", code: ldx, k: ipv6Size + fragmentSize},
		{code: ldb, k: eth + ipv6Size},
		{label: "proto6", code: ja, yes: "proto"},
	}
}

// markFilter keeps SYNs and SYN-ACKs, and UDP and ICMP echo with the lab's mark.
func markFilter() []insn {
	f := append(either(), transport6()...)
	f = append(f, labelled("four", transport4())...)
	return append(f,
		insn{label: "proto", code: jeq, k: unix.IPPROTO_TCP, yes: "tcp"},
		insn{code: jeq, k: unix.IPPROTO_UDP, yes: "marked"},
		insn{code: jeq, k: unix.IPPROTO_ICMPV6, yes: "echo6"},
		insn{code: jeq, k: unix.IPPROTO_ICMP, no: "drop"},
		insn{code: ldbx, k: eth},
		insn{code: jeq, k: echoRequest, yes: "marked"},
		insn{code: jeq, k: echoReply, yes: "marked", no: "drop"},
		insn{label: "echo6", code: ldbx, k: eth},
		insn{code: jeq, k: echoRequest6, yes: "marked"},
		insn{code: jeq, k: echoReply6, yes: "marked", no: "drop"},
		insn{label: "tcp", code: ldbx, k: eth + 13},
		insn{code: jset, k: 2, yes: "keep", no: "drop"},
		insn{label: "marked", code: ldwx, k: eth + 8},
		insn{code: jeq, k: host.Magic, yes: "keep", no: "drop"},
		insn{label: "keep", code: ret, k: snapLen},
		insn{label: "drop", code: ret, k: 0},
	)
}

// labelled names the first of some instructions.
func labelled(label string, in []insn) []insn {
	in[0].label = label
	return in
}

// egressFilter keeps packets of one direction from the given sources that have
// a source port: TCP, UDP, ICMP echo requests.
func egressFilter(incoming bool, sources []netip.Prefix) ([]insn, error) {
	direction := []insn{{code: jeq, k: unix.PACKET_OUTGOING, yes: "family"}, {code: ret, k: 0}}
	if incoming {
		direction = []insn{{code: jeq, k: unix.PACKET_OUTGOING, no: "family"}, {code: ret, k: 0}}
	}
	var four, six []insn
	for i, p := range sources {
		switch {
		case !p.IsValid():
			return nil, fmt.Errorf("egress prefix %v: want a prefix", p)
		case p.Addr().Is4():
			four = append(four, within(p, eth+12, "source4", fmt.Sprint("other", i))...)
		default:
			six = append(six, within(p, eth+source6, "source6", fmt.Sprint("other", i))...)
		}
	}
	none := insn{code: ret, k: 0}
	f := append([]insn{{code: ldb, k: pktType}}, direction...)
	f = append(f, labelled("family", either())...)
	f = append(f, append(six, none)...)
	f = append(f, labelled("source6", transport6())...)
	f = append(f, labelled("four", append(four, none))...)
	f = append(f, labelled("source4", transport4())...)
	return append(f,
		insn{label: "proto", code: jeq, k: unix.IPPROTO_TCP, yes: "keep"},
		insn{code: jeq, k: unix.IPPROTO_UDP, yes: "keep"},
		insn{code: jeq, k: unix.IPPROTO_ICMPV6, yes: "echo6"},
		insn{code: jeq, k: unix.IPPROTO_ICMP, no: "drop"},
		insn{code: ldbx, k: eth},
		insn{code: jeq, k: echoRequest, yes: "keep", no: "drop"},
		insn{label: "echo6", code: ldbx, k: eth},
		insn{code: jeq, k: echoRequest6, yes: "keep", no: "drop"},
		insn{label: "keep", code: ret, k: snapLen},
		insn{label: "drop", code: ret, k: 0},
	), nil
}

// within jumps to yes if the address at the offset is in the prefix, and else
// goes on after it, where it leaves the label no.
func within(p netip.Prefix, at uint32, yes, no string) []insn {
	var f []insn
	a := p.Masked().Addr().AsSlice()
	for bits := p.Bits(); bits > 0; bits -= 32 {
		f = append(f, insn{code: ldw, k: at})
		if bits < 32 {
			f = append(f, insn{code: and, k: ^uint32(0) << (32 - bits)})
		}
		f = append(f, insn{code: jeq, k: binary.BigEndian.Uint32(a), no: no})
		a, at = a[4:], at+4
	}
	return append(f, insn{code: ja, yes: yes}, insn{label: no, code: ldx, k: 0}) // the last does nothing
}
