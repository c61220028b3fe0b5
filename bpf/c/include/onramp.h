/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* From an on-ramp: to its home, or along its flow's stored path to the Internet
 * (SEMANTICS 1.4; hub.fromOnRamp). */
#pragma once

#include "hash.h"
#include "progress.h"

static __always_inline bool is_of(const struct flow *f, const struct flow_key *k)
{
	return f->serial && f->client_port == k->src_port && f->remote_port == k->dst_port && f->proto == k->proto &&
	       f->scope == k->scope && f->tenant == k->tenant && f->vnet == k->vnet &&
	       same_address(&f->client, &k->src) && same_address(&f->remote, &k->dst);
}

/* indexed finds a flow in returns. */
static __always_inline struct flow *indexed(struct verdict *v, const struct flow_key *k, __u64 hash)
{
	struct address *egress;
	struct place_ref *ref;
	struct flow *f;
	__u32 at, slot;

	for (int i = 0; i < INDEX_PROBES; i++) {
		at = (__u32)(hash + i) & index_mask;
		ref = bpf_map_lookup_elem(&hashed, &at);
		if (!ref || !ref->slot)
			return NULL;
		if (ref->tag != (__u32)hash || ref->slot == SLOT_GONE)
			continue;
		slot = ref->slot - 1;
		f = bpf_map_lookup_elem(&returns, &slot);
		if (!f || !is_of(f, k))
			continue;
		slot >>= SLICE_SHIFT;
		egress = bpf_map_lookup_elem(&egresses, &slot);
		if (!egress)
			return NULL;
		v->address = *egress;
		v->port = f->egress_port;
		return f;
	}
	return NULL;
}

/* flow_of finds a client's flow, and what its source becomes. */
static __always_inline struct flow *flow_of(struct verdict *v, const struct flow_key *k, __u64 hash)
{
	struct flow *f = indexed(v, k, hash);
	struct further_key key = {};
	struct forward *to;
	__u32 slot;

	if (f)
		return f;
	to = bpf_map_lookup_elem(&forwards, k);
	if (!to)
		return NULL;
	v->address = to->egress;
	v->port = to->egress_port;
	slot = to->slot;
	if (slot == SLOT_FURTHER) {
		key.egress = to->egress;
		key.remote = k->dst;
		key.egress_port = to->egress_port;
		key.remote_port = k->dst_port;
		key.proto = k->proto;
		f = bpf_map_lookup_elem(&further, &key);
	} else {
		f = bpf_map_lookup_elem(&returns, &slot);
	}
	return f && f->serial == to->serial ? f : NULL;
}

/* to_hub_itself says whether an echo request is to the hub's own address inside
 * the tunnel: whichever server got it answers. */
static __always_inline bool to_hub_itself(const struct onramp *r, const struct inner *in)
{
	return in->kind == KIND_ECHO_REQUEST && same_address(&in->dst, in->version == 4 ? &r->address : &r->address6);
}

/* pass_on decides what is not of a flow here. If the hub has found that it is of
 * one that its bucket's second hop may have, that keeps it (SEMANTICS 5.3); SYN
 * may open another. */
static __always_inline enum outcome pass_on(struct verdict *v, const struct flow_key *k, const struct arrival *a)
{
	const __u32 *to = bpf_map_lookup_elem(&passed, k);

	if (!to || v->in.flags & TCP_SYN)
		return LEFT_MISS;
	if (v->in.ttl <= 1)
		return LEFT_TTL;
	return hand_over(v, *to, a->ramp | CONTEXT_SECOND, a->hops);
}

static __always_inline enum outcome from_onramp(struct verdict *v, const struct arrival *a)
{
	const struct onramp *r = bpf_map_lookup_elem(&onramps, &a->ramp);
	const struct inner *in = &v->in;
	struct flow_key k = {};
	struct bucket *b;
	enum outcome left;
	struct flow *f;
	__u32 second = 0;
	__u64 now, hash;

	if (!r || !(r->flags & RAMP_KNOWN))
		return LEFT_RAMP;
	if (in->kind == KIND_ECHO_REPLY || to_hub_itself(r, in))
		return LEFT_ICMP;
	k.src = in->src;
	k.dst = in->dst;
	k.scope = r->scope;
	k.tenant = r->tenant;
	k.vnet = r->vnet;
	k.src_port = in->src_port;
	k.dst_port = in->dst_port;
	k.proto = in->proto;
	if (private_address(&k.dst))
		return LEFT_PRIVATE;
	hash = flow_hash(&k);
	if (!a->kept) {
		__u32 i = hash >> (64 - BUCKET_BITS);

		b = bpf_map_lookup_elem(&buckets, &i);
		if (!b || !b->first)
			return dropped(DROP_NO_OWNER);
		if (b->first == self)
			second = b->second;
		else if (!a->hops)
			return hand_over(v, b->first, a->ramp, 0);
		/* Else servers' tables differ for a moment: who has the flow keeps it
		 * (hub.strayed). */
	}
	f = flow_of(v, &k, hash);
	if (!f)
		return second ? pass_on(v, &k, a) : LEFT_MISS;
	if (r->flags & RAMP_GROUPED && f->onramp != a->ramp)
		return LEFT_RAMP;
	now = bpf_ktime_get_coarse_ns();
	left = still(f, in, now);
	if (left)
		return left;
	went_up(f, in, now);
	v->rewrite = REWRITE_SOURCE;
	return OUT_FORWARDED;
}
