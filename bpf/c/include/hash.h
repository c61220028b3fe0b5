/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* flow.Hash and flow.Private of dataplane/flow, bit for bit: which server is
 * home must be the same wherever it is asked. */
#pragma once

#include "types.h"

#define PRIME1 0x9e3779b185ebca87ULL
#define PRIME2 0xc2b2ae3d27d4eb4fULL
#define PRIME3 0x165667b19e3779f9ULL

static __always_inline __u64 rotate(__u64 v, int by)
{
	return v << by | v >> (64 - by);
}

static __always_inline __u64 hash_round(__u64 acc, __u64 word)
{
	return rotate(acc ^ word * PRIME2, 31) * PRIME1;
}

static __always_inline __u64 mix(__u64 h)
{
	h = (h ^ h >> 33) * PRIME2;
	h = (h ^ h >> 29) * PRIME3;
	return h ^ h >> 32;
}

static __always_inline __u64 flow_hash(const struct flow_key *k)
{
	__u64 a = seed ^ PRIME1, b = seed + PRIME2;

	a = hash_round(a, k->src.first);
	b = hash_round(b, k->src.second);
	a = hash_round(a, k->dst.first);
	b = hash_round(b, k->dst.second);
	a = hash_round(a, k->scope | (__u64)k->tenant << 32 | (__u64)k->vnet << 48);
	b = hash_round(b, k->src_port | (__u64)k->dst_port << 16 | (__u64)k->proto << 32 | (__u64)k->side << 40);
	return mix(a ^ rotate(b, 27));
}

/* private_address: RFC 1918, RFC 6598, RFC 4193, and what the network keeps for
 * itself of IPv6. Where such a destination's home is, the hub knows. */
static __always_inline bool private_address(const struct address *a)
{
	__u64 hi = bpf_be64_to_cpu(a->first), lo = bpf_be64_to_cpu(a->second);

	if (hi)
		return hi >> 57 == 0xfc >> 1 || hi >> 16 == 0x260647000cf1ULL;
	if (lo >> 32 != 0xffff)
		return false;
	__u32 four = lo;

	return four >> 24 == 10 || four >> 20 == (172 << 4 | 1) || four >> 16 == (192 << 8 | 168) || four >> 22 == (100 << 2 | 1);
}
