/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What became of packets, counted per CPU. The numbers are those of the Go
 * type Counter (a test compares the names). */
#pragma once

#include "kernel.h"

enum counter {
	COUNT_ENCAPSULATED,    /* outer header pushed */
	COUNT_DECAPSULATED,    /* outer header popped */
	COUNT_PUSHED_AGAIN,    /* pushed without encapsulation flags, see push_gre */
	COUNT_CLAMPED,         /* MSS lowered */
	COUNT_CONSUMED,        /* kept from the kernel: the hub has it */
	COUNT_DROP_NO_ENCAP,   /* a mark without an entry */
	COUNT_DROP_TOO_LONG,   /* the outer length would not fit 16 bits */
	COUNT_DROP_PUSH,       /* bpf_skb_adjust_room refused to grow */
	COUNT_DROP_POP,        /* bpf_skb_adjust_room refused to shrink */
	COUNT_DROP_STORE,      /* a header could not be read or written */
	COUNT_DROP_NOT_IP,     /* routed into a tunnel, which carries IP only */
	COUNT_DROP_NOT_ECT,    /* marked in the tunnel, of ends that understand no marks */
	COUNTERS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/* counted_from is where in the array the counts of who runs the program begin: of
 * the program's own file. */
static __always_inline __u32 counted_from(const struct __sk_buff *skb);

static __always_inline void count(const struct __sk_buff *skb, enum counter what)
{
	__u32 key = counted_from(skb) + what;
	__u64 *n = bpf_map_lookup_elem(&counters, &key);

	if (n)
		*n += 1;
}

/* The one exit for drops. */
static __always_inline int drop(const struct __sk_buff *skb, enum counter why)
{
	count(skb, why);
	return HW_DROP;
}
