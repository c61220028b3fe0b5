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

/* clamp_options lowers every MSS option among the len bytes of options of the
 * TCP header at tcp. Junk ends the walk. */
static __always_inline void clamp_options(struct __sk_buff *skb, __u32 tcp, const __u8 *options, __u32 len, __u16 mss)
{
	__u32 at = 0;

	for (int i = 0; i < TCP_OPTIONS_MAX; i++) {
		if (at + 1 >= len)
			return;
		__u8 kind = options[at & 63], size = options[(at + 1) & 63];

		if (kind == TCP_OPTION_END)
			return;
		if (kind == TCP_OPTION_NOP) {
			at++;
			continue;
		}
		if (size < 2 || at + size > len)
			return;
		if (kind == TCP_OPTION_MSS && size == 4) {
			__u16 old = options[(at + 2) & 63] << 8 | options[(at + 3) & 63];

			if (old > mss)
				store_mss(skb, tcp, sizeof(struct tcphdr) + at + 2, old, mss);
		}
		at += size;
	}
}

/* clamp_mss lowers the MSS of a SYN or SYN-ACK whose IPv4 header is at off.
 * Anything else stays as it is. */
static __always_inline void clamp_mss(struct __sk_buff *skb, __u32 off, __u16 mss)
{
	__u8 options[64] = {}, tcp[sizeof(struct tcphdr)];
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
	if (!len || len > TCP_OPTIONS_MAX || bpf_skb_load_bytes(skb, at + sizeof(tcp), options, len))
		return;
	clamp_options(skb, at, options, len, mss);
}
