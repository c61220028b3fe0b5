/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Internet checksum (RFC 1071). */
#pragma once

#include "kernel.h"

/* ipv4_csum is the checksum of a header without options whose check is 0. */
static __always_inline __u16 ipv4_csum(const struct iphdr *ip)
{
	const __u16 *word = (const void *)ip;
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < (int)sizeof(*ip) / 2; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}
