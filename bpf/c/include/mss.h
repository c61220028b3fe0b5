/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The MSS option (RFC 9293 3.7.1) of TCP SYNs. */
#pragma once

#include "count.h"
#include "kernel.h"

#define TCP_OPTIONS_MAX 40
#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
#define TCP_OPTION_MSS 2
#define TCP_FLAG_SYN_BIT 0x02 /* in byte 13 */

/* store_mss writes the value and mends the checksum by difference. At an odd
 * offset the value's bytes lie in two checksum words, so they swap roles. A
 * partial checksum does not cover the options yet, and the helper leaves it. */
static __always_inline void store_mss(struct __sk_buff *skb, __u32 tcp, __u32 at, __u16 old, __u16 mss)
{
	__be16 from = bpf_htons(old), to = bpf_htons(mss), value = to;

	if (at & 1) {
		from = __builtin_bswap16(from);
		to = __builtin_bswap16(to);
	}
	if (bpf_l4_csum_replace(skb, tcp + offsetof(struct tcphdr, check), from, to, 2) ||
	    bpf_skb_store_bytes(skb, tcp + at, &value, sizeof(value), 0))
		return;
	count(skb, COUNT_CLAMPED);
}

/* walk is where clamp_mss stands among the options. */
struct walk {
	struct __sk_buff *skb;
	__u32 tcp; /* offset of the header in the packet */
	__u32 at, len;
	__u16 mss;
	__u8 options[64];
};

#define WALK_ON 0
#define WALK_END 1

/* clamp_option lowers the option at w->at if it is MSS, and steps over it. Junk
 * ends the walk. A callback of bpf_loop: the verifier follows one option instead
 * of every sequence of them. */
static long clamp_option(__u32 i __attribute__((unused)), struct walk *w)
{
	__u32 at = w->at;

	if (at + 1 >= w->len)
		return WALK_END;
	__u8 kind = w->options[at & 63], size = w->options[(at + 1) & 63];

	if (kind == TCP_OPTION_END)
		return WALK_END;
	if (kind == TCP_OPTION_NOP) {
		w->at = at + 1;
		return WALK_ON;
	}
	if (size < 2 || at + size > w->len)
		return WALK_END;
	if (kind == TCP_OPTION_MSS && size == 4) {
		__u16 old = w->options[(at + 2) & 63] << 8 | w->options[(at + 3) & 63];

		if (old > w->mss)
			store_mss(w->skb, w->tcp, sizeof(struct tcphdr) + at + 2, old, w->mss);
	}
	w->at = at + size;
	return WALK_ON;
}

/* tcp_at4 is where the TCP header of the IPv4 packet at off is; 0 if it has none. */
static __always_inline __u32 tcp_at4(struct __sk_buff *skb, __u32 off)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, off, &ip, sizeof(ip)))
		return 0;
	if (ip.version != 4 || ip.ihl < 5 || ip.protocol != IPPROTO_TCP || (ip.frag_off & bpf_htons(IP_FRAGMENT_MASK)))
		return 0;
	return off + ip.ihl * 4;
}

/* Extension headers of IPv6 (RFC 8200 section 4) that are stepped over, as
 * dataplane/pkt does. A fragment is nothing to clamp. */
#define NEXT_HOP_BY_HOP 0
#define NEXT_ROUTING 43
#define NEXT_NONE 59
#define NEXT_DESTINATION 60
#define EXTENSIONS_MAX 8

/* chain is where tcp_at6 stands among the headers. */
struct chain {
	struct __sk_buff *skb;
	__u32 at; /* offset of the header in the packet */
	__u8 next; /* and what it is */
};

static long step_extension(__u32 i, struct chain *c)
{
	__u8 head[4]; /* next header, length, type, segments left */

	if (c->next != NEXT_HOP_BY_HOP && c->next != NEXT_ROUTING && c->next != NEXT_DESTINATION)
		return WALK_END;
	if (i == EXTENSIONS_MAX || (c->next == NEXT_HOP_BY_HOP && i) ||
	    bpf_skb_load_bytes(c->skb, c->at, head, sizeof(head)) || (c->next == NEXT_ROUTING && head[3])) {
		c->next = NEXT_NONE;
		return WALK_END;
	}
	c->next = head[0];
	c->at += (head[1] + 1) * 8;
	return WALK_ON;
}

/* tcp_at6 is tcp_at4 for IPv6. */
static __always_inline __u32 tcp_at6(struct __sk_buff *skb, __u32 off)
{
	struct chain c = { .skb = skb, .at = off + sizeof(struct ipv6hdr) };

	if (bpf_skb_load_bytes(skb, off + offsetof(struct ipv6hdr, nexthdr), &c.next, sizeof(c.next)))
		return 0;
	bpf_loop(EXTENSIONS_MAX + 1, step_extension, &c, 0);
	return c.next == IPPROTO_TCP ? c.at : 0;
}

/* clamp_mss lowers the MSS of a SYN or SYN-ACK whose IP header is at off, to mss
 * over IPv4 and mss6 over IPv6. Anything else stays as it is. */
static __always_inline void clamp_mss(struct __sk_buff *skb, __u32 off, __u16 mss, __u16 mss6)
{
	bool six = skb->protocol == bpf_htons(ETH_P_IPV6);
	struct walk w = { .skb = skb, .mss = six ? mss6 : mss };
	__u32 at = six ? tcp_at6(skb, off) : tcp_at4(skb, off);
	__u8 tcp[sizeof(struct tcphdr)];
	__u32 len;

	if (!at || bpf_skb_load_bytes(skb, at, tcp, sizeof(tcp)) || !(tcp[13] & TCP_FLAG_SYN_BIT))
		return;
	len = (tcp[12] >> 4) * 4;
	if (len <= sizeof(tcp))
		return;
	len = (len - sizeof(tcp)) & 63;
	if (!len || len > TCP_OPTIONS_MAX || bpf_skb_load_bytes(skb, at + sizeof(tcp), w.options, len))
		return;
	w.tcp = at;
	w.len = len;
	bpf_loop(TCP_OPTIONS_MAX, clamp_option, &w, 0);
}
