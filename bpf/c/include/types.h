/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What the fast path's maps hold; bpf2go makes the Go types from these. Addresses
 * are in their 16-byte form, IPv4 mapped; ports, echo ids and server numbers are
 * in host order, as Go has them; only what goes into outer headers is big endian. */
#pragma once

#include "kernel.h"

/* address is 16 bytes in two words as they lie in memory. */
struct address {
	__u64 first, second;
};

/* flow_key is the forward key (SEMANTICS 1.5), dataplane/flow.Key to the byte. */
struct flow_key {
	struct address src, dst;
	__u32 scope;
	__u16 tenant, vnet;
	__u16 src_port, dst_port;
	__u8 proto;
	__u8 side; /* 0 */
	__u16 zero;
};
_Static_assert(sizeof(struct flow_key) == 48, "flow_key must be 48 bytes");

/* forward is where the packets of a client go whose flow is not in hashed. */
struct forward {
	struct address egress;
	__u32 serial; /* of its struct flow: another one there is not this flow's */
	__u32 slot;   /* index in returns; SLOT_FURTHER: in further */
	__u16 egress_port;
	__u16 reserved[3];
};
_Static_assert(sizeof(struct forward) == 32, "forward must be 32 bytes");

#define SLOT_FURTHER 0xffffffff

/* place_ref is an entry of hashed: the low half of a flow's hash, and where it is. */
struct place_ref {
	__u32 tag;
	__u32 slot; /* in returns, plus one; 0: never used; SLOT_GONE: no more */
};
_Static_assert(sizeof(struct place_ref) == 8, "place_ref must be 8 bytes");

#define SLOT_GONE 0xffffffff

/* flow is a flow as its replies find it, in two cache lines: who it is, then
 * what its packets have done. The second is written by the programs: up_* by
 * those of the client, down_* by those of the remote end, deadline by both. */
struct flow {
	struct address remote, client;
	__u16 egress_port, remote_port, client_port;
	__u8 proto;
	__u8 closing;  /* a FIN or RST went by: what follows is the hub's */
	__u32 serial;  /* 0: nobody is here */
	__u32 onramp;  /* where replies leave by, and its client is expected */
	__u64 timeout; /* ns of silence after which it ends */
	__u32 scope;   /* the rest of its forward key */
	__u16 tenant, vnet;

	__u64 deadline; /* CLOCK_MONOTONIC ns; from then on its packets are the hub's */
	__u64 up_bytes, down_bytes;     /* payload delivered, as dataplane/flow counts it */
	__u32 up_packets, down_packets;
	__u32 client_acked, client_end; /* TCP streams, see dataplane/flow.Progress */
	__u32 origin_acked, origin_end;
	__u64 up_seen; /* when the client was last heard */
	__u32 tag;     /* of the control side, which knows what it means */
	__u32 reserved;
};
_Static_assert(sizeof(struct flow) == 128, "flow must be 128 bytes");
_Static_assert(offsetof(struct flow, deadline) == 64, "deadline must begin the second line");

/* further_key finds a flow whose place in returns another one has: the further
 * remote endpoints of an egress port. */
struct further_key {
	struct address egress, remote;
	__u16 egress_port, remote_port;
	__u8 proto;
	__u8 zero[3];
};
_Static_assert(sizeof(struct further_key) == 40, "further_key must be 40 bytes");

/* What an address of the network is; others are none of ours. */
enum place_kind {
	PLACE_NONE,
	PLACE_KERNEL,   /* this machine's own: the kernel answers */
	PLACE_TUNNEL,   /* anycast: any server decapsulates */
	PLACE_HANDOVER, /* this server's, from the others */
	PLACE_PEER,     /* another server's */
	PLACE_EGRESS,
};

#define SLICES 32
#define SLICE_SHIFT 11 /* 2048 ports (SEMANTICS 5.1) */

/* place is one address, in places. Of an egress address, slots of returns from base on are
 * its ports under mask; without any, its flows are all in further. */
struct place {
	struct address address;
	__u8 kind; /* PLACE_NONE: there is none here */
	__u8 has_slots;
	__u16 mask;
	__u32 base;
	__u16 owner[SLICES]; /* server of each slice, 0 nobody */
};
_Static_assert(sizeof(struct place) == 88, "place must be 88 bytes");

/* tunnel_key is the outer header of what comes from a GRE on-ramp. */
struct tunnel_key {
	__be32 src, dst;
	__be32 key; /* 0 without */
	__u8 has_key;
	__u8 zero[3];
};
_Static_assert(sizeof(struct tunnel_key) == 16, "tunnel_key must be 16 bytes");

/* tunnel_entry is whose a tunnel is, in tunnels. */
struct tunnel_entry {
	__be32 src, dst, key;
	__u8 has_key;
	__u8 zero[3];
	__u32 ramp; /* 0: there is none here */
};
_Static_assert(sizeof(struct tunnel_entry) == 20, "tunnel_entry must be 20 bytes");

/* Flags of an on-ramp. */
#define RAMP_KNOWN 1   /* there is one with this number */
#define RAMP_GRE 2     /* replies can be put into it here: GRE over IPv4 */
#define RAMP_GROUPED 4 /* only the hub may move its flows (SEMANTICS 1.8) */
#define RAMP_ASK 8     /* replies are the hub's: too big for it, perhaps, or it is down */

/* onramp is one connection, by its number. */
struct onramp {
	struct address address, address6; /* the hub's own inside */
	__be32 local, remote, key;
	__u32 scope;
	__u16 tenant, vnet;
	__u16 mtu; /* of the tunnel, for packets inside */
	__u8 has_key;
	__u8 flags;
};
_Static_assert(sizeof(struct onramp) == 56, "onramp must be 56 bytes");

/* bucket says who is home for a share of all hashes; 0 is nobody. */
struct bucket {
	__u16 first, second;
};
