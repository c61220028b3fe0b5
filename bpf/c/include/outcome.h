/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What became of packets, counted per CPU. The first are dataplane/drop.Reason, of
 * which those are named that a program may decide; a test compares them, and the
 * rest with the Go type Outcome. */
#pragma once

#include "kernel.h"

enum outcome {
	DROP_NONE = 0,
	DROP_NOT_FOR_US = 2,
	DROP_UNKNOWN_TUNNEL = 3,
	DROP_BAD_TUNNEL = 4,
	DROP_FORGED_HANDOVER = 5,
	DROP_HOP_LIMIT = 6,
	DROP_NO_OWNER = 10,
	/* Room for reasons to come: what follows keeps its number. */
	OUT_FORWARDED = 64, /* on-ramp to Internet */
	OUT_RETURNED,       /* Internet to on-ramp */
	OUT_HANDED_OVER,    /* to another server */
	LEFT_MISS,          /* from here on the hub's: no flow here */
	LEFT_EXPIRED,       /* the flow's time is over */
	LEFT_CONTROL,       /* SYN, FIN or RST of a flow at home here */
	LEFT_TTL,           /* would expire here */
	LEFT_TOO_BIG,       /* for the tunnel of the reply */
	LEFT_FRAGMENT,
	LEFT_ICMP,          /* errors, and echo to the hub itself */
	LEFT_PROTOCOL,      /* another protocol, outside or inside */
	LEFT_ODD,           /* options, lengths, checksums: the hub judges */
	LEFT_PRIVATE,       /* to a private destination */
	LEFT_RAMP,          /* on-ramp unknown here, moved, or not GRE over IPv4 */
	LEFT_TRACED,        /* the hub tells what becomes of it */
	LEFT_ELSEWHERE,     /* no address of the network, or one that moves */
	FAULT_ROOM,         /* the kernel refused to grow or shrink the packet */
	FAULT_STORE,        /* a header could not be written */
	OUTCOMES,
};

/* The outcome of what is the machine's own: nothing happens to it. */
#define KERNELS DROP_NONE

static __always_inline bool left_to_hub(enum outcome o)
{
	return o >= LEFT_MISS && o < FAULT_ROOM;
}

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OUTCOMES);
	__type(key, enum outcome);
	__type(value, __u64);
} outcomes SEC(".maps");

static __always_inline void tally(enum outcome what)
{
	__u64 *n = bpf_map_lookup_elem(&outcomes, &what);

	if (n)
		*n += 1;
}
