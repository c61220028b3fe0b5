/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The machine's own addresses: packets to them are the kernel's. */
#pragma once

#include "kernel.h"

#define IPV6_GROUP 0xff /* first byte of a multicast address (RFC 4291 2.7) */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __be32);
	__type(value, __u8);
} own SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct in6_addr);
	__type(value, __u8);
} own6 SEC(".maps");

static __always_inline bool is_own4(const __be32 *to)
{
	return bpf_map_lookup_elem(&own, to);
}

/* is_own6 says so too of a group, by which neighbours are found in IPv6. */
static __always_inline bool is_own6(const struct in6_addr *to)
{
	return to->s6_addr[0] == IPV6_GROUP || bpf_map_lookup_elem(&own6, to);
}
