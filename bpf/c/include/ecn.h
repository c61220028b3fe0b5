/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What IP headers say of congestion (RFC 3168), and how a tunnel carries that on
 * (RFC 6040): what dataplane/tunnel does in Go. */
#pragma once

#include "csum.h"
#include "kernel.h"

#define ECN_MASK 3
#define ECN_NOT_ECT 0
#define ECN_ECT0 2
#define ECN_CE 3
#define ECN_SHIFT6 4 /* in the second byte of IPv6 */
#define ECN_DROP 4   /* what no header can say */

/* The table of RFC 6040 section 4.2, a nibble for each: of the outer header's four
 * values the highest first, in each of the inner one's. A look-up has no branches
 * for the verifier to follow. */
#define ECN_UNWRAPPED 0x3334321031103210ULL

/* unwrapped is what a packet says out of its tunnel. */
static __always_inline __u8 unwrapped(__u8 outer, __u8 inner)
{
	return ECN_UNWRAPPED >> ((outer << 2 | inner) << 2) & 7;
}

/* ecn_at is what an IP header says, by its first two bytes: of IPv6, whose version
 * has a bit that that of IPv4 has not, the traffic class straddles them. */
static __always_inline __u8 ecn_at(const __u8 *ip)
{
	return ip[1] >> (ip[0] >> 3 & ECN_SHIFT6) & ECN_MASK;
}

static __always_inline __u8 with_ecn6(__u8 second, __u8 ecn)
{
	return (second & ~(ECN_MASK << ECN_SHIFT6)) | ecn << ECN_SHIFT6;
}

/* set_ecn4 mends the header's checksum by difference (RFC 1624). */
static __always_inline void set_ecn4(struct iphdr *ip, __u8 ecn)
{
	__u8 old = ip->tos;

	ip->tos = (old & ~ECN_MASK) | ecn;
	ip->check = ~fold16((__u64)(__u16)~ip->check + (__u16)~bpf_htons(old) + bpf_htons(ip->tos));
}

/* skb_ecn is what the IP packet of a frame says. */
static __always_inline __u8 skb_ecn(struct __sk_buff *skb)
{
	__u8 *head = (void *)(long)skb->data + ETH_HLEN, copy[2] = {};

	if (head + sizeof(copy) > (__u8 *)(long)skb->data_end) {
		if (bpf_skb_load_bytes(skb, ETH_HLEN, copy, sizeof(copy)))
			return ECN_NOT_ECT;
		head = copy;
	}
	return ecn_at(head);
}

/* unwrap_ecn has the packet at offset at of a frame say what its outer header
 * said. It returns false for one that has to be dropped. */
static __always_inline bool unwrap_ecn(struct __sk_buff *skb, __u8 outer, __u32 at, bool six)
{
	struct iphdr ip;
	__u8 *second = (__u8 *)&ip + 1, is;

	if (outer == ECN_NOT_ECT || outer == ECN_ECT0)
		return true; /* nearly all: nothing happened on the way */
	if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)))
		return true;
	is = unwrapped(outer, ecn_at((__u8 *)&ip));
	if (is == ECN_DROP)
		return false;
	if (six)
		*second = with_ecn6(*second, is);
	else
		set_ecn4(&ip, is);
	return !bpf_skb_store_bytes(skb, at, &ip, sizeof(ip), 0);
}
