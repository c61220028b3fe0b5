/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The headers that a packet leaves with: Ethernet, and the outer ones. They are
 * written in place and field by field: a struct on the stack would be built and
 * copied byte by byte. */
#pragma once

#include "verdict.h"

#define OUTER_TTL 64

/* outer_size is the size of the outer header that the verdict asks for. */
static __always_inline __u32 outer_size(const struct verdict *v)
{
	return v->outer_dst ? sizeof(struct iphdr) + gre_size(v->has_key) : 0;
}

/* words4 adds up both words of an IPv4 address. */
static __always_inline __u32 words4(__be32 a)
{
	return (__u16)a + (a >> 16);
}

/* write_outer is for an inner packet of its length: DF and id 0, an atomic
 * datagram (RFC 6864), as tunnel.Encap writes it. */
static __always_inline void write_outer(struct iphdr *ip, struct gre_header *g, const struct verdict *v)
{
	__be16 len = bpf_htons(outer_size(v) + v->in.len);
	__be16 first = bpf_htons(0x4500 | v->ecn); /* version 4, 5 words */

	*(__be16 *)ip = first;
	ip->tot_len = len;
	ip->id = 0;
	ip->frag_off = bpf_htons(IP_DF);
	ip->ttl = OUTER_TTL;
	ip->protocol = IPPROTO_GRE;
	ip->check = ~fold16((__u64)first + len + bpf_htons(IP_DF) + bpf_htons(OUTER_TTL << 8 | IPPROTO_GRE) +
			    words4(v->outer_src) + words4(v->outer_dst));
	ip->saddr = v->outer_src;
	ip->daddr = v->outer_dst;
	g->flags = v->has_key ? bpf_htons(GRE_KEY) : 0;
	g->protocol = inner_type(v);
	if (v->has_key)
		g->key = v->outer_key;
}

/* remark has the inner packet, which is behind its new head, say what its tunnel
 * said of congestion. */
static __always_inline bool remark(void *data, void *end, const struct verdict *v)
{
	struct iphdr *ip = data + at_most(63, ETH_HLEN + outer_size(v));
	__u8 *second = (void *)ip + 1;

	if ((void *)(ip + 1) > end)
		return false;
	if (v->in.version == 4)
		set_ecn4(ip, v->ecn);
	else
		*second = with_ecn6(*second, v->ecn);
	return true;
}

/* write_head writes all that stands in front of the inner packet, and what that
 * itself says of congestion. It returns false if there is no room. */
static __always_inline bool write_head(void *data, void *end, const struct verdict *v)
{
	struct iphdr *ip = data + ETH_HLEN;
	struct gre_header *g = (void *)(ip + 1);
	__u32 *addresses = data;
	__be16 *type = data + 2 * ETH_ALEN;

	if ((void *)ip > end)
		return false;
#pragma unroll
	for (int i = 0; i < 3; i++)
		addresses[i] = frame_addresses[i];
	*type = v->outer_dst ? bpf_htons(ETH_P_IP) : inner_type(v);
	if (v->ecn != v->in.ecn && !remark(data, end, v))
		return false;
	if (!v->outer_dst)
		return true;
	/* The inner packet is longer than a key that is not there. */
	if ((void *)(g + 1) > end)
		return false;
	write_outer(ip, g, v);
	return true;
}
