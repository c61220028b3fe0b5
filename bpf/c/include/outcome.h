/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What became of packets, counted per CPU. The first are dataplane/drop.Reason,
 * name by name; a test compares them, and the rest with the Go type Outcome. */
#pragma once

#include "kernel.h"

enum outcome {
	DROP_NONE,
	DROP_MALFORMED,
	DROP_NOT_FOR_US,
	DROP_UNKNOWN_TUNNEL,
	DROP_BAD_TUNNEL,
	DROP_FORGED_HANDOVER,
	DROP_HOP_LIMIT,
	DROP_TTL_EXPIRED,
	DROP_UNSUPPORTED,
	DROP_FRAGMENT,
	DROP_NO_OWNER,
	DROP_NO_FLOW,
	DROP_ORPHAN,
	DROP_NULL_ROUTED,
	DROP_NO_ROUTE,
	DROP_TABLE_FULL,
	DROP_PORTS_EXHAUSTED,
	DROP_TOO_BIG,
	DROP_POLICY_DENIED,
	DROP_SPOOFED_SOURCE,
	DROP_NO_EGRESS,
	DROP_REASSEMBLY_FULL,
	DROP_OVERLAP,
	DROP_BAD_CONTEXT,
	DROP_UNATTACHED,
	DROP_ARR_REVERSE_COLLISION,
	DROP_OFF_RAMP_ONLY,
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
	LEFT_ELSEWHERE,     /* no address of the network */
	FAULT_ROOM,         /* the kernel refused to grow or shrink the packet */
	FAULT_STORE,        /* a header could not be written */
	OUTCOMES,
};

/* The outcome of what is the machine's own: nothing happens to it. */
#define KERNELS DROP_NONE

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OUTCOMES);
	__type(key, __u32);
	__type(value, __u64);
} outcomes SEC(".maps");

static __always_inline void tally(enum outcome what)
{
	__u32 key = what;
	__u64 *n = bpf_map_lookup_elem(&outcomes, &key);

	if (n)
		*n += 1;
}
