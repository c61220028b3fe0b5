/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What a flow's packets do to it: dataplane/flow's Outbound and Inbound for
 * segments without SYN, FIN and RST, which are the hub's. Each field is written
 * by one direction alone, so that no lock is needed. */
#pragma once

#include "verdict.h"

#define WINDOW_MAX (1U << 30) /* RFC 7323 section 2.3: what is beyond is junk */

static __always_inline bool after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}

/* extend notes that the end whose stream it is has sent up to seq. */
static __always_inline void extend(const struct inner *in, __u32 acked, __u32 *end)
{
	__u32 seq = in->seq + in->payload;

	if (in->payload && after(seq, *end) && seq - acked <= WINDOW_MAX)
		*end = seq;
}

/* acknowledge moves what the receiver has confirmed and counts the payload in
 * between: a retransmission counts once. */
static __always_inline void acknowledge(const struct inner *in, __u32 *acked, __u32 end, __u64 *bytes)
{
	if (!(in->flags & TCP_ACK) || !after(in->ack, *acked) || after(in->ack, end))
		return;
	*bytes += in->ack - *acked;
	*acked = in->ack;
}

static __always_inline void touch(struct flow *f, __u64 now)
{
	if (now + f->timeout > f->deadline)
		f->deadline = now + f->timeout;
}

static __always_inline void went_up(struct flow *f, const struct inner *in, __u64 now)
{
	f->up_packets++;
	f->up_seen = now;
	touch(f, now);
	if (in->kind != KIND_TCP) {
		f->up_bytes += in->payload;
		return;
	}
	extend(in, f->client_acked, &f->client_end);
	acknowledge(in, &f->origin_acked, f->origin_end, &f->down_bytes);
}

static __always_inline void came_down(struct flow *f, const struct inner *in, __u64 now)
{
	f->down_packets++;
	if (in->kind != KIND_TCP) {
		f->down_bytes += in->payload; /* the outside must not keep a mapping alive */
		return;
	}
	touch(f, now);
	extend(in, f->origin_acked, &f->origin_end);
	acknowledge(in, &f->client_acked, f->client_end, &f->up_bytes);
}

/* still says whether the flow's packet is for this fast path, and marks the flow
 * when it is the last: 0, or why it is left to the hub. */
static __always_inline enum outcome still(struct flow *f, const struct inner *in, __u64 now)
{
	if (f->closing)
		return LEFT_CONTROL;
	if (f->deadline <= now)
		return LEFT_EXPIRED;
	if (in->ttl <= 1)
		return LEFT_TTL;
	if (in->flags & (TCP_FIN | TCP_RST))
		f->closing = 1;
	if (in->flags & (TCP_SYN | TCP_FIN | TCP_RST))
		return LEFT_CONTROL;
	return 0;
}
