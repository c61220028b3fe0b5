/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* From the Internet: to the owner of its slice, or back along its flow into the
 * on-ramp that the flow stores, without looking at any other address
 * (SEMANTICS 1.4, 5.2; hub.fromInternet). */
#pragma once

#include "progress.h"

static __always_inline struct flow *flow_of_reply(const struct place *at, const struct inner *in)
{
	struct further_key key = {
		.egress = in->dst,
		.remote = in->src,
		.egress_port = in->dst_port,
		.remote_port = in->src_port,
		.proto = in->proto,
	};

	if (at->has_slots) {
		__u32 slot = at->base + (in->dst_port & at->mask);
		struct flow *f = bpf_map_lookup_elem(&returns, &slot);

		if (f && f->serial && f->egress_port == in->dst_port && f->remote_port == in->src_port &&
		    f->proto == in->proto && same_address(&f->remote, &in->src))
			return f;
	}
	return bpf_map_lookup_elem(&further, &key);
}

/* wire_size is the largest packet that the inner packet puts on the wire. */
static __always_inline __u32 wire_size(const struct inner *in, __u32 gso)
{
	return gso && in->headers + gso < in->len ? in->headers + gso : in->len;
}

static __always_inline enum outcome from_internet(struct verdict *v, const struct place *at, const struct arrival *a, __u32 gso)
{
	const struct inner *in = &v->in;
	struct onramp *r;
	enum outcome left;
	struct flow *f;
	__u16 owner;
	__u64 now;

	if (in->kind == KIND_ECHO_REQUEST)
		return LEFT_ICMP;
	owner = at->owner[in->dst_port >> SLICE_SHIFT & (SLICES - 1)];
	if (owner != self && !a->kept) {
		if (!owner)
			return dropped(DROP_NO_OWNER);
		return hand_over(v, owner, 0, a->hops);
	}
	f = flow_of_reply(at, in);
	if (!f)
		return LEFT_MISS;
	r = bpf_map_lookup_elem(&onramps, &f->onramp);
	if (!r || (r->flags & (RAMP_GRE | RAMP_ASK)) != RAMP_GRE)
		return LEFT_RAMP;
	if (wire_size(in, gso) > r->mtu)
		return LEFT_TOO_BIG;
	now = bpf_ktime_get_coarse_ns();
	left = still(f, in, now);
	if (left)
		return left;
	came_down(f, in, now);
	v->rewrite = REWRITE_DESTINATION;
	v->address = f->client;
	v->port = f->client_port;
	v->outer_src = r->local;
	v->outer_dst = r->remote;
	v->outer_key = r->key;
	v->has_key = r->has_key;
	return OUT_RETURNED;
}
