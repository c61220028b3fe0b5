/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The outer header that a packet leaves with, and the Ethernet header in front. */
#pragma once

#include "verdict.h"

/* head is all in front of the inner packet, with a key. */
struct head {
	struct ethhdr eth;
	struct iphdr ip;
	struct gre_header gre;
} __attribute__((packed));
_Static_assert(sizeof(struct head) == 42, "head must be 42 bytes");

/* outer_size is how much of a struct head the verdict asks for, Ethernet not
 * counted. */
static __always_inline __u32 outer_size(const struct verdict *v)
{
	return v->outer_dst ? sizeof(struct iphdr) + gre_size(v->has_key) : 0;
}

static __always_inline void make_ethernet(struct ethhdr *eth, __be16 type)
{
#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++) {
		eth->h_dest[i] = gateway_mac[i];
		eth->h_source[i] = uplink_mac[i];
	}
	eth->h_proto = type;
}

/* make_head fills h for an inner packet of its length: DF and id 0, an atomic
 * datagram (RFC 6864), as tunnel.Encap writes it. */
static __always_inline void make_head(struct head *h, const struct verdict *v)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = bpf_htons(outer_size(v) + v->in.len),
		.frag_off = bpf_htons(IP_DF),
		.ttl = 64,
		.protocol = IPPROTO_GRE,
		.saddr = v->outer_src,
		.daddr = v->outer_dst,
	};

	ip.check = ipv4_csum(&ip);
	h->ip = ip;
	h->gre.flags = v->has_key ? bpf_htons(GRE_KEY) : 0;
	h->gre.protocol = inner_type(v);
	if (v->has_key)
		h->gre.key = v->outer_key;
	make_ethernet(&h->eth, bpf_htons(ETH_P_IP));
}
