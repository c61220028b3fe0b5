/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What every program needs of the kernel: uapi headers only, so that any Debian
 * regenerates the same object. Names that are younger than those headers are
 * repeated here under our own prefix. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Verdicts of a tcx program (enum tcx_action_base, Linux 6.6). */
#define HW_NEXT (-1) /* let the next program, then the kernel, decide */
#define HW_DROP 2

/* bpf_skb_adjust_room flags of Linux 6.3: what stays is an IPv4 or IPv6 packet. */
#define HW_DECAP_L3_IPV4 (1ULL << 7)
#define HW_DECAP_L3_IPV6 (1ULL << 8)

#define HW_EALREADY 114

#define IP_DF 0x4000
#define IP_FRAGMENT_MASK 0x3fff /* more-fragments and offset */
#define IP_OFFSET_MASK 0x1fff
