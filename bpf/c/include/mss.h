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
	count(COUNT_CLAMPED);
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

/* clamp_mss lowers the MSS of a SYN or SYN-ACK whose IPv4 header is at off.
 * Anything else stays as it is. */
static __always_inline void clamp_mss(struct __sk_buff *skb, __u32 off, __u16 mss)
{
	struct walk w = { .skb = skb, .mss = mss };
	__u8 tcp[sizeof(struct tcphdr)];
	struct iphdr ip;
	__u32 at, len;

	if (bpf_skb_load_bytes(skb, off, &ip, sizeof(ip)))
		return;
	if (ip.version != 4 || ip.ihl < 5 || ip.protocol != IPPROTO_TCP || (ip.frag_off & bpf_htons(IP_FRAGMENT_MASK)))
		return;
	at = off + ip.ihl * 4;
	if (bpf_skb_load_bytes(skb, at, tcp, sizeof(tcp)) || !(tcp[13] & TCP_FLAG_SYN_BIT))
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
