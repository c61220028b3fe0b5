/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What arrives at the uplink, by its destination: egress address,
 * hand-over address, anycast address. */
#pragma once

#include "onramp.h"
#include "reply.h"
#include "table.h"

#define IPV6_GROUP 0xff /* first byte of a multicast address (RFC 4291 2.7) */

/* The kernel grows a single packet up to four pages less its own book-keeping
 * (bpf_skb_adjust_room); nobody sends such. */
#define SINGLE_MAX 15872

/* place_of finds the packet's destination; *kernel says it is the kernel's. */
static __always_inline struct place *place_of(const struct packet *p, bool *kernel)
{
	const struct iphdr *ip = p->data + ETH_HLEN;
	const struct ipv6hdr *ip6 = p->data + ETH_HLEN;
	struct address to;
	struct place *at;

	*kernel = false;
	if ((void *)(ip + 1) > p->end)
		return NULL;
	if (ethernet_type(p) == bpf_htons(ETH_P_IP)) {
		map_address(&to, ip->daddr);
	} else {
		if ((void *)(ip6 + 1) > p->end)
			return NULL;
		__builtin_memcpy(&to, &ip6->daddr, sizeof(to));
		/* By groups neighbours are found. */
		*kernel = ip6->daddr.s6_addr[0] == IPV6_GROUP;
	}
	at = find_place(&to);
	if (at && at->kind == PLACE_KERNEL)
		*kernel = true;
	return at;
}

/* outer_gre reads IPv4 and GRE in front of something, both without options. */
static __always_inline enum outcome outer_gre(const struct packet *p, struct tunnel_key *t, __be16 *type, __u8 *ecn)
{
	const struct iphdr *ip = p->data + ETH_HLEN;
	const struct gre_header *g = (const void *)(ip + 1);

	/* What is inside is longer than a key that is not there. */
	if ((void *)(g + 1) > p->end || !plain4(ip, p->len - ETH_HLEN))
		return LEFT_ODD;
	if (ip->frag_off & bpf_htons(IP_FRAGMENT_MASK))
		return LEFT_FRAGMENT;
	if (ip->protocol != IPPROTO_GRE)
		return LEFT_PROTOCOL;
	if (g->flags & ~bpf_htons(GRE_KEY) || !is_ip(g->protocol))
		return LEFT_ODD;
	t->src = ip->saddr;
	t->dst = ip->daddr;
	t->has_key = !!g->flags;
	t->key = t->has_key ? g->key : 0;
	*type = g->protocol;
	*ecn = ip->tos & ECN_MASK;
	return 0;
}

/* ramp_of is the on-ramp whose tunnel a packet came by; 0 is none. Nothing else is
 * looked at: the packet may still be odd. */
static __always_inline __u32 ramp_of(const struct packet *p)
{
	const struct iphdr *ip = p->data + ETH_HLEN;
	const struct gre_header *g = (const void *)(ip + 1);
	struct tunnel_key t = {};

	if ((void *)(g + 1) > p->end || ethernet_type(p) != bpf_htons(ETH_P_IP) || ip->protocol != IPPROTO_GRE)
		return 0;
	t.src = ip->saddr;
	t.dst = ip->daddr;
	t.has_key = !!(g->flags & bpf_htons(GRE_KEY));
	t.key = t.has_key ? g->key : 0;
	return find_tunnel(&t);
}

/* from_peer reads what another server says of a packet that it handed over. */
static __always_inline enum outcome from_peer(const struct tunnel_key *t, struct arrival *a)
{
	__u32 context = bpf_ntohl(t->key);
	struct address src;
	struct place *at;

	map_address(&src, t->src);
	at = seek_place(&src);
	if (!at || at->kind != PLACE_PEER)
		return dropped(DROP_FORGED_HANDOVER);
	a->hops = CONTEXT_HOPS(context);
	if (!t->has_key || context & CONTEXT_UNUSED || !a->hops)
		return dropped(DROP_BAD_TUNNEL);
	a->ramp = context & CONTEXT_RAMP;
	a->kept = context & CONTEXT_SECOND;
	return 0;
}

/* unwrap reads the outer header of what is at an address of ours, and in a where
 * the packet came in. */
static __always_inline enum outcome unwrap(const struct packet *p, enum place_kind kind, struct verdict *v, struct arrival *a)
{
	struct tunnel_key t = {};
	const __u8 *inner;
	enum outcome left;
	__be16 type;
	__u8 outer;

	left = outer_gre(p, &t, &type, &outer);
	if (left)
		return left;
	v->head = sizeof(struct iphdr) + gre_size(t.has_key);
	inner = p->data + ETH_HLEN + v->head;
	if ((void *)(inner + 2) > p->end)
		return LEFT_ODD;
	v->ecn = unwrapped(outer, ecn_at(inner));
	if (v->ecn == ECN_DROP)
		return LEFT_ODD; /* rare: the hub drops it, once it knows whose it is */
	left = read_inner(p, ETH_HLEN + v->head, &v->in);
	if (left)
		return left;
	if (type != inner_type(v))
		return LEFT_ODD;
	if (kind == PLACE_HANDOVER)
		return from_peer(&t, a);
	return a->ramp ? 0 : dropped(DROP_UNKNOWN_TUNNEL);
}

/* decide is the whole decision. p begins with an Ethernet header and carries
 * IPv4 or IPv6. */
static __always_inline enum outcome decide(const struct packet *p, struct verdict *v)
{
	struct place *at = NULL;
	struct arrival a = {};
	enum outcome left;
	bool kernel;

	v->head = 0;
	v->rewrite = REWRITE_NONE;
	v->outer_dst = 0;
	v->has_key = 0;
	/* Most is from a branch router, whose outer header says so. */
	a.ramp = ramp_of(p);
	if (!a.ramp) {
		at = place_of(p, &kernel);
		if (kernel)
			return KERNELS;
		if (!at)
			return LEFT_ELSEWHERE;
	}
	if (!p->gso && p->len > SINGLE_MAX)
		return LEFT_ODD;
	if (at && at->kind == PLACE_EGRESS) {
		left = read_inner(p, ETH_HLEN, &v->in);
		v->ecn = v->in.ecn;
	} else if (!at || at->kind == PLACE_TUNNEL || at->kind == PLACE_HANDOVER) {
		left = unwrap(p, at ? at->kind : PLACE_TUNNEL, v, &a);
	} else {
		return LEFT_ELSEWHERE;
	}
	if (left)
		return left;
	if (a.ramp)
		return from_onramp(v, &a);
	if (v->head)
		at = seek_place(&v->in.dst);
	if (!at) /* also an egress address that moves, of which only the hub knows */
		return LEFT_ELSEWHERE;
	if (at->kind != PLACE_EGRESS)
		return dropped(DROP_NOT_FOR_US);
	return from_internet(v, at, &a, p->gso);
}
