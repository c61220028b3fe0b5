/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What is decided about a packet, before anything is done to it. */
#pragma once

#include "maps.h"
#include "parse.h"

enum rewrite {
	REWRITE_NONE,
	REWRITE_SOURCE,
	REWRITE_DESTINATION,
};

struct verdict {
	struct inner in;
	__u32 head;          /* bytes of outer headers that it came with */
	enum rewrite rewrite; /* of the inner packet, whose TTL falls by one with it */
	struct address address; /* and what is written */
	__u16 port;
	__be32 outer_src, outer_dst, outer_key; /* the outer header to leave with; dst 0: none */
	__u8 has_key;
	__u8 ecn; /* what it says of congestion when it leaves, inside and outside */
};

/* arrival is where a packet came in. */
struct arrival {
	__u32 ramp; /* 0: the Internet */
	__u32 hops;
	bool kept; /* whoever handed it over says that it stays here */
};

/* inner_type is the Ethernet type of the inner packet. */
static __always_inline __be16 inner_type(const struct verdict *v)
{
	return v->in.version == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
}

/* Hand-over contexts in the GRE key (dataplane/steer). */
#define HOPS_MAX 3
#define CONTEXT_RAMP 0xffffffU
#define CONTEXT_HOPS(key) ((key) >> 24 & 3)
#define CONTEXT_SECOND (1U << 26)
#define CONTEXT_UNUSED (~((1U << 27) - 1))

static __always_inline enum outcome dropped(enum outcome why)
{
	return trace ? LEFT_TRACED : why;
}

/* told says whether the hub would tell of a packet's being handed over: of one
 * that may open a flow, or answer one (hub.traceHandover). */
static __always_inline bool told(const struct inner *in)
{
	return trace && (in->kind != KIND_TCP || in->flags & TCP_SYN);
}

/* hand_over sends the packet to another server. hops counts those before. */
static __always_inline enum outcome hand_over(struct verdict *v, __u32 to, __u32 ramp, __u32 hops)
{
	__u32 from = self;
	const __be32 *src = bpf_map_lookup_elem(&servers, &from);
	const __be32 *dst = bpf_map_lookup_elem(&servers, &to);

	if (hops >= HOPS_MAX)
		return dropped(DROP_HOP_LIMIT);
	if (!src || !dst || !*src || !*dst)
		return LEFT_RAMP; /* not over IPv4, or unknown: the hub says which */
	if (told(&v->in))
		return LEFT_TRACED;
	v->outer_src = *src;
	v->outer_dst = *dst;
	v->outer_key = bpf_htonl(ramp | (hops + 1) << 24);
	v->has_key = 1;
	return OUT_HANDED_OVER;
}
