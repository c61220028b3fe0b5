/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Looking up in tables that the control side writes as a whole: into the half that
 * is not in force, which then takes its turn. So a configuration is in force at
 * once, and a table is plain memory: a look-up is a few instructions, where that of
 * a hash map is a call. An entry is where its hash says or soon behind (Go: table). */
#pragma once

#include "hash.h"
#include "maps.h"

#define TABLE_PROBES 16

static __always_inline __u32 half_of(enum table t)
{
	const __u32 *half = bpf_map_lookup_elem(&halves, &t);

	return half ? *half : 0;
}

static __always_inline __u32 address_hash(const struct address *a)
{
	return (rotate(a->first, 32) * PRIME1 + rotate(a->second, 32) * PRIME2) >> 32;
}

static __always_inline __u32 tunnel_hash(const struct tunnel_key *t)
{
	return (t->src * PRIME1 + t->dst * PRIME2 + t->key * PRIME3) >> 32;
}

#define NOWHERE 0xffffffff

/* index_of is where the address is in places. */
static __always_inline __u32 index_of(const struct address *a)
{
	__u32 base = half_of(TABLE_PLACES) * (place_mask + 1), hash = address_hash(a);
	struct place *e;

	for (int i = 0; i < TABLE_PROBES; i++) {
		__u32 at = base + ((hash + i) & place_mask);

		e = bpf_map_lookup_elem(&places, &at);
		if (!e || e->kind == PLACE_NONE)
			break;
		if (same_address(&e->address, a))
			return at;
	}
	return NOWHERE;
}

/* find_place is what the address is; NULL if it is none of the network's. */
static __always_inline struct place *find_place(const struct address *a)
{
	__u32 at = index_of(a);

	return bpf_map_lookup_elem(&places, &at);
}

/* seek is index_of, and seek_place find_place, where packets are fewer: a global
 * function, which the verifier looks at once, and not for every way that leads here. */
__noinline __u32 seek(const struct address *a)
{
	return a ? index_of(a) : NOWHERE;
}

static __always_inline struct place *seek_place(const struct address *a)
{
	__u32 at = seek(a);

	return bpf_map_lookup_elem(&places, &at);
}

/* find_tunnel is the on-ramp whose tunnel it is; 0 is none. */
static __always_inline __u32 find_tunnel(const struct tunnel_key *t)
{
	__u32 base = half_of(TABLE_TUNNELS) * (tunnel_mask + 1), hash = tunnel_hash(t), ramp = 0;
	struct tunnel_entry *e;

	for (int i = 0; i < TABLE_PROBES; i++) {
		__u32 at = base + ((hash + i) & tunnel_mask);

		e = bpf_map_lookup_elem(&tunnels, &at);
		if (!e || !e->ramp)
			break;
		if (e->src == t->src && e->dst == t->dst && e->key == t->key && e->has_key == t->has_key) {
			ramp = e->ramp;
			break;
		}
	}
	return ramp;
}
