/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Doing what was decided to a frame of XDP, which is complete and single: where
 * sources are XDP frames, or packet rate is the question. On a veth it turns
 * segmentation offload off for everyone on the link. */
#pragma once

#include "outer.h"
#include "translate.h"

static __always_inline void open_xdp(struct xdp_md *ctx, struct packet *p)
{
	p->data = (void *)(long)ctx->data;
	p->end = (void *)(long)ctx->data_end;
	p->len = p->end - p->data;
	p->gso = 0;
}

static __always_inline bool rewrite_xdp(struct xdp_md *ctx, const struct verdict *v)
{
	struct packet p;
	struct change c;

	open_xdp(ctx, &p);
	return translate(&p, v, &c) && mend_checksum(&p, &c, false);
}

/* change_xdp is change_skb. */
__noinline int change_xdp(struct xdp_md *ctx, struct verdict *v)
{
	if (!v || (v->rewrite && !rewrite_xdp(ctx, v)))
		return FAULT_STORE;
	if (v->head != outer_size(v) && bpf_xdp_adjust_head(ctx, (int)v->head - (int)outer_size(v)))
		return FAULT_ROOM;
	return write_head((void *)(long)ctx->data, (void *)(long)ctx->data_end, v) ? 0 : FAULT_STORE;
}

static __always_inline int act_xdp(struct xdp_md *ctx, struct verdict *v, enum outcome outcome)
{
	int fault;

	if (outcome == KERNELS)
		return XDP_PASS;
	if (left_to_hub(outcome)) {
		tally(outcome);
		return XDP_PASS;
	}
	if (outcome >= OUT_FORWARDED) {
		fault = change_xdp(ctx, v);
		if (!fault) {
			tally(outcome);
			return XDP_TX;
		}
		outcome = fault;
	}
	tally(outcome);
	return XDP_DROP;
}
