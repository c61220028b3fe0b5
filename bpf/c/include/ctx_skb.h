/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Doing what was decided to a socket buffer: superpackets stay whole, partial
 * checksums partial. */
#pragma once

#include <bpf/bpf_core_read.h>

#include "outer.h"
#include "translate.h"

/* open_skb brings the headers into one piece. */
static __always_inline void open_skb(struct __sk_buff *skb, struct packet *p)
{
	__u32 want = skb->len < HEADERS_MAX ? skb->len : HEADERS_MAX;

	if (skb->data_end - skb->data < want)
		bpf_skb_pull_data(skb, want);
	p->data = (void *)(long)skb->data;
	p->end = (void *)(long)skb->data_end;
	p->len = skb->len;
	p->gso = skb->gso_size;
}

/* What is looked at of the kernel's own buffer, wherever the running kernel has it. */
struct sk_buff {
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *skb) __ksym;

/* Values of ip_summed (include/linux/skbuff.h). */
#define CHECKSUM_COMPLETE 2
#define CHECKSUM_PARTIAL 3

/* mend_skb changes the transport's checksum: in place, which costs a fraction of the
 * helpers. A sum of the whole packet, by a device, is changed with it by these. */
static __always_inline bool mend_skb(struct __sk_buff *skb, const struct packet *p, const struct change *c)
{
	const struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb);
	__u64 mangled = c->udp ? BPF_F_MARK_MANGLED_0 : 0;
	__u8 summed = BPF_CORE_READ_BITFIELD(kernel, ip_summed);

	if (summed != CHECKSUM_COMPLETE)
		return mend_checksum(p, c, summed == CHECKSUM_PARTIAL);
	if (c->pseudo && bpf_l4_csum_replace(skb, c->at, 0, c->address, BPF_F_PSEUDO_HDR | mangled))
		return false;
	return !bpf_l4_csum_replace(skb, c->at, c->from, c->to, 2 | mangled);
}

static __always_inline bool rewrite_skb(struct __sk_buff *skb, const struct verdict *v)
{
	struct packet p = { .data = (void *)(long)skb->data, .end = (void *)(long)skb->data_end };
	struct change c;

	return translate(&p, v, &c) && mend_skb(skb, &p, &c);
}

/* resize makes room for the outer header, or takes it away. One that is there
 * already is changed in place: a packet that was decapsulated and is then
 * encapsulated again is refused with -EALREADY. */
static __always_inline bool resize_skb(struct __sk_buff *skb, const struct verdict *v)
{
	int by = (int)outer_size(v) - (int)v->head;
	__u64 decap = v->in.version == 4 ? HW_DECAP_L3_IPV4 : HW_DECAP_L3_IPV6;

	if (!by)
		return true;
	if (!v->head)
		return !grow(skb, by);
	return !bpf_skb_adjust_room(skb, by, BPF_ADJ_ROOM_MAC, PUSH_FLAGS | (v->outer_dst ? 0 : decap));
}

/* leave_by sends the packet out of the uplink. Handing it to the link's other
 * end at once saves the way through a queue, and passes by whatever shapes the
 * link. */
static __always_inline int leave_by(__u32 ifindex)
{
	return peer_redirect ? bpf_redirect_peer(ifindex, 0) : bpf_redirect(ifindex, 0);
}

/* leave_to_hub lets the packet go on to the hub's packet sockets, which are of
 * IP and so come after this program. That it is somebody else's keeps the kernel
 * itself from it (ip_rcv drops what is for another host). */
static __always_inline int leave_to_hub(struct __sk_buff *skb)
{
	bpf_skb_change_type(skb, PACKET_OTHERHOST);
	return HW_NEXT;
}

/* change_skb does to the packet what was decided: 0, or what the kernel refused.
 * A global function: the verifier looks at it once, and not for every way that
 * leads to a decision. */
__noinline int change_skb(struct __sk_buff *skb, struct verdict *v)
{
	if (!v)
		return FAULT_STORE;
	if (v->rewrite && !rewrite_skb(skb, v))
		return FAULT_STORE;
	if (!resize_skb(skb, v))
		return FAULT_ROOM;
	return write_head((void *)(long)skb->data, (void *)(long)skb->data_end, v) ? 0 : FAULT_STORE;
}

static __always_inline int act_skb(struct __sk_buff *skb, struct verdict *v, enum outcome outcome)
{
	int fault;

	if (outcome == KERNELS)
		return HW_NEXT;
	if (left_to_hub(outcome)) {
		tally(outcome);
		return leave_to_hub(skb);
	}
	if (outcome >= OUT_FORWARDED) {
		fault = change_skb(skb, v);
		if (!fault) {
			tally(outcome);
			return leave_by(skb->ifindex);
		}
		outcome = fault;
	}
	tally(outcome);
	return HW_DROP;
}
