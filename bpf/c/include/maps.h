/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The fast path's maps and knobs. Sizes are those of a test; the loader sets
 * them, and every knob, before the programs are loaded. */
#pragma once

#include "types.h"

/* Tables that are written as a whole. */
enum table {
	TABLE_PLACES,
	TABLE_TUNNELS,
	TABLES,
};

volatile const __u64 seed;         /* of flow.Hash */
volatile const __u32 index_mask;   /* entries of hashed less one */
volatile const __u32 place_mask;   /* entries of a half of places less one */
volatile const __u32 tunnel_mask;  /* and of tunnels */
volatile const __u16 self;         /* this server's number */
volatile const __u8 trace;         /* packets whose fate the hub would tell are the hub's */
volatile const __u8 peer_redirect; /* hand packets to the uplink's other end at once, see leave_by */
volatile const __u32 frame_addresses[3]; /* the gateway's MAC address and the uplink's, as they lie in a frame */

/* Live flows in returns by the hash of their forward key: from its low bits on, up
 * to INDEX_PROBES entries further. The hash is there already, because it finds the
 * home, and the flow holds its whole key. */
#define INDEX_PROBES 8

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << 10);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct place_ref);
} hashed SEC(".maps");

/* The others: those in further, and those for which hashed had no room. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 10);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct flow_key);
	__type(value, struct forward);
} forwards SEC(".maps");

/* TCP connections that are not here, by their forward key, and the server whose
 * the bucket was before it was reassigned, which may have them. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 10);
	__type(key, struct flow_key);
	__type(value, __u32);
} passed SEC(".maps");

/* Live flows by [egress address][port]: the first remote endpoint of each. An
 * index costs one cache miss where a hash of a million costs many (and Go reads
 * and writes it as memory). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << 11);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct flow);
} returns SEC(".maps");

/* The egress addresses of returns, each 2048 slots. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct address);
} egresses SEC(".maps");

/* Those of further remote endpoints. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 10);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct further_key);
	__type(value, struct flow);
} further SEC(".maps");

/* The network's addresses, and on-ramps by outer header: tables that are written as
 * a whole, see table.h. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 << 6);
	__type(key, __u32);
	__type(value, struct place);
} places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 << 6);
	__type(key, __u32);
	__type(value, struct tunnel_entry);
} tunnels SEC(".maps");

/* The half of each table that is in force. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TABLES);
	__type(key, enum table);
	__type(value, __u32);
} halves SEC(".maps");

/* On-ramps by number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << 10);
	__type(key, __u32);
	__type(value, struct onramp);
} onramps SEC(".maps");

/* Hand-over addresses of servers, by number; 0 is none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << 8);
	__type(key, __u32);
	__type(value, __be32);
} servers SEC(".maps");

/* Homes, by the top bits of the hash (dataplane/steer). */
#define BUCKET_BITS 12

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << BUCKET_BITS);
	__type(key, __u32);
	__type(value, struct bucket);
} buckets SEC(".maps");
