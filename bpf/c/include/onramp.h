/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* From an on-ramp: to its home, or along its flow's stored path to the Internet
 * (SEMANTICS 1.4; hub.fromOnRamp). */
#pragma once

#include "hash.h"
#include "progress.h"

/* arrival is where a packet came in. */
struct arrival {
	__u32 ramp;
	__u32 hops;
	bool kept; /* whoever handed it over says that it stays here */
};

static __always_inline struct flow *flow_of(const struct forward *to, const struct flow_key *k)
{
	struct flow *f;

	if (to->slot == SLOT_FURTHER) {
		struct further_key key = {
			.egress = to->egress,
			.remote = k->dst,
			.egress_port = to->egress_port,
			.remote_port = k->dst_port,
			.proto = k->proto,
		};

		f = bpf_map_lookup_elem(&further, &key);
	} else {
		__u32 slot = to->slot;

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

static __always_inline enum outcome from_onramp(struct verdict *v, const struct arrival *a)
{
	const struct onramp *r = bpf_map_lookup_elem(&onramps, &a->ramp);
	const struct inner *in = &v->in;
	struct flow_key k = {};
	struct forward *to;
	struct bucket *b;
	enum outcome left;
	struct flow *f;
	__u64 now;

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
	if (!a->kept) {
		__u32 i = flow_hash(&k) >> (64 - BUCKET_BITS);

		b = bpf_map_lookup_elem(&buckets, &i);
		if (!b || !b->first)
			return dropped(DROP_NO_OWNER);
		if (b->first != self)
			return hand_over(v, b->first, a->ramp, a->hops);
	}
	to = bpf_map_lookup_elem(&forwards, &k);
	if (!to)
		return LEFT_MISS;
	f = flow_of(to, &k);
	if (!f)
		return LEFT_MISS;
	if (r->flags & RAMP_GROUPED && to->onramp != a->ramp)
		return LEFT_RAMP;
	now = bpf_ktime_get_coarse_ns();
	left = still(f, in, now);
	if (left)
		return left;
	went_up(f, in, now);
	v->rewrite = REWRITE_SOURCE;
	v->address = to->egress;
	v->port = to->egress_port;
	return OUT_FORWARDED;
}
