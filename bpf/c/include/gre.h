/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* GRE over IPv4 (RFC 2784) with an optional key (RFC 2890):
 *
 *	 0                   1                   2                   3
 *	|C| |K|S| Reserved0       | Ver |         Protocol Type         |
 *	|                         Key (optional)                        |
 *
 * The kernel's own tunnel device is not used: superpackets must go through
 * whole, and many tunnels share one device. */
#pragma once

#include "count.h"
#include "csum.h"
#include "ecn.h"
#include "kernel.h"

#define GRE_KEY 0x2000 /* K bit of the first 16 */

struct gre_header {
	__be16 flags;
	__be16 protocol;
	__be32 key; /* there only with GRE_KEY */
};
_Static_assert(sizeof(struct gre_header) == 8, "gre_header must be 8 bytes");

/* An outer header to push. The same layout as the Go type encapEntry. */
struct encap {
	__be32 src, dst;
	__be32 key;
	__u8 has_key;
	__u8 ttl; /* 0: no such entry */
	__u8 reserved[2];
};
_Static_assert(sizeof(struct encap) == 16, "encap must be 16 bytes");

/* is_ip says whether a tunnel carries what an Ethernet type names. */
static __always_inline bool is_ip(__be16 type)
{
	return type == bpf_htons(ETH_P_IP) || type == bpf_htons(ETH_P_IPV6);
}

static __always_inline __u32 gre_size(bool has_key)
{
	return has_key ? 8 : 4;
}

#define PUSH_FLAGS (BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET)
#define PUSH_GRE (BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_GRE)

/* grow makes room for an outer header. A packet that was decapsulated on this
 * machine may still carry skb->encapsulation; then the kernel refuses the
 * encapsulation flags with -EALREADY, and the room alone will do. */
static __always_inline long grow(struct __sk_buff *skb, __u32 room)
{
	long err = bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, PUSH_FLAGS | PUSH_GRE);

	if (err != -HW_EALREADY)
		return err;
	count(skb, COUNT_PUSHED_AGAIN);
	return bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, PUSH_FLAGS);
}

/* push_gre puts IPv4 and GRE in front of an IPv4 or IPv6 packet. It returns
 * false with the packet counted as dropped. */
static __always_inline bool push_gre(struct __sk_buff *skb, const struct encap *e)
{
	__u32 gre = gre_size(e->has_key), room = sizeof(struct iphdr) + gre;
	__u32 total = skb->len - ETH_HLEN + room;
	struct gre_header g = {
		.flags = e->has_key ? bpf_htons(GRE_KEY) : 0,
		.protocol = skb->protocol,
		.key = e->key,
	};
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tos = skb_ecn(skb),
		.frag_off = bpf_htons(IP_DF),
		.ttl = e->ttl,
		.protocol = IPPROTO_GRE,
		.saddr = e->src,
		.daddr = e->dst,
	};

	__be16 outer = bpf_htons(ETH_P_IP);

	if (total > 0xffff) {
		count(skb, COUNT_DROP_TOO_LONG);
		return false;
	}
	ip.tot_len = bpf_htons(total);
	ip.check = ipv4_csum(&ip);
	if (grow(skb, room)) {
		count(skb, COUNT_DROP_PUSH);
		return false;
	}
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(ip), &g, gre, 0) ||
	    bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &outer, sizeof(outer), 0)) {
		count(skb, COUNT_DROP_STORE);
		return false;
	}
	count(skb, COUNT_ENCAPSULATED);
	return true;
}

/* pop_gre takes IPv4 and GRE away from in front of a packet of the given
 * Ethernet type. It returns false with the packet counted as dropped. */
static __always_inline bool pop_gre(struct __sk_buff *skb, bool has_key, __be16 type)
{
	__u64 flags = PUSH_FLAGS | (type == bpf_htons(ETH_P_IPV6) ? HW_DECAP_L3_IPV6 : HW_DECAP_L3_IPV4);
	int room = sizeof(struct iphdr) + gre_size(has_key);

	if (bpf_skb_adjust_room(skb, -room, BPF_ADJ_ROOM_MAC, flags)) {
		count(skb, COUNT_DROP_POP);
		return false;
	}
	count(skb, COUNT_DECAPSULATED);
	return true;
}
