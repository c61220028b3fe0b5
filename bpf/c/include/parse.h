/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Reading a packet, for both contexts. What is not plain is left to the hub,
 * which reads everything: nothing here has to judge it. */
#pragma once

#include "csum.h"
#include "gre.h"
#include "outcome.h"
#include "types.h"

#define ICMPV6 58
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define UDP_HEADER 8
#define ICMP_HEADER 8

/* packet is a frame. Its headers are in one piece from data on, as far as there
 * are any: see HEADERS_MAX. */
struct packet {
	void *data, *end;
	__u32 len; /* the whole frame */
	__u32 gso; /* payload per segment of a superpacket, or 0 */
};

/* The most that is looked at: Ethernet, IPv4, keyed GRE, IPv6, TCP. */
#define HEADERS_MAX (ETH_HLEN + 20 + 8 + 40 + 20)

/* at_most tells the verifier what the compiler knows already and would leave out:
 * that an offset lies within its mask. */
#define at_most(mask, offset) ({ __u64 o_ = (offset); asm volatile("%0 &= %1" : "+r"(o_) : "i"(mask)); o_; })

/* ethernet_type is read at once: struct ethhdr is packed, and read byte by byte. */
static __always_inline __be16 ethernet_type(const struct packet *p)
{
	return *(const __be16 *)(p->data + 2 * ETH_ALEN);
}

enum kind {
	KIND_TCP,
	KIND_UDP,
	KIND_ECHO_REQUEST,
	KIND_ECHO_REPLY,
};

/* inner is what matters of the packet that a client or a remote end sent. As in
 * dataplane/pkt an echo request has its id as source port and 0 as destination,
 * a reply the other way round. */
struct inner {
	struct address src, dst;
	__u32 seq, ack;
	__u32 payload;         /* bytes behind the transport header */
	__u32 at, l4;          /* where its headers are in the frame */
	__u32 len, headers;    /* from its IP header on: all, and up to the payload */
	__u16 src_port, dst_port;
	enum kind kind;
	__u8 version, proto, ttl, flags;
	__u8 ecn; /* what its header says of congestion */
};

/* MAPPED is the word above an IPv4 address in its 16-byte form. */
#define MAPPED bpf_htonl(0xffff)

static __always_inline void map_address(struct address *to, __be32 v4)
{
	to->first = 0;
	to->second = MAPPED | (__u64)v4 << 32;
}

static __always_inline bool same_address(const struct address *a, const struct address *b)
{
	return a->first == b->first && a->second == b->second;
}

static __always_inline bool is_mapped(const struct address *a)
{
	return !a->first && (__u32)a->second == MAPPED;
}

/* plain4 says whether the IPv4 header is one without options, is right, and
 * tells the length that there is. */
static __always_inline bool plain4(const struct iphdr *ip, __u32 len)
{
	return ip->version == 4 && ip->ihl == 5 && bpf_ntohs(ip->tot_len) == len && ipv4_sound(ip);
}

static __always_inline enum outcome read_tcp(const struct packet *p, struct inner *in)
{
	const struct tcphdr *tcp = p->data + in->l4;
	__u32 head;

	if ((void *)(tcp + 1) > p->end)
		return LEFT_ODD;
	head = tcp->doff * 4;
	if (head < sizeof(*tcp) || in->l4 + head > p->len)
		return LEFT_ODD;
	in->kind = KIND_TCP;
	in->src_port = bpf_ntohs(tcp->source);
	in->dst_port = bpf_ntohs(tcp->dest);
	in->seq = bpf_ntohl(tcp->seq);
	in->ack = bpf_ntohl(tcp->ack_seq);
	in->flags = ((const __u8 *)tcp)[13];
	in->headers = in->l4 + head - in->at;
	in->payload = in->len - in->headers;
	return 0;
}

static __always_inline enum outcome read_udp(const struct packet *p, struct inner *in)
{
	const __be16 *udp = p->data + in->l4;
	__u32 size;

	if ((void *)udp + UDP_HEADER > p->end)
		return LEFT_ODD;
	size = bpf_ntohs(udp[2]);
	if (size < UDP_HEADER || in->l4 + size > p->len || (in->version == 6 && !udp[3]))
		return LEFT_ODD;
	in->kind = KIND_UDP;
	in->src_port = bpf_ntohs(udp[0]);
	in->dst_port = bpf_ntohs(udp[1]);
	in->headers = in->l4 + UDP_HEADER - in->at;
	in->payload = size - UDP_HEADER;
	return 0;
}

static __always_inline enum outcome read_icmp(const struct packet *p, struct inner *in)
{
	const __u8 *icmp = p->data + in->l4;
	__u16 id;

	if ((void *)icmp + ICMP_HEADER > p->end)
		return LEFT_ODD;
	id = bpf_ntohs(*(const __be16 *)(icmp + 4));
	in->headers = in->l4 + ICMP_HEADER - in->at;
	in->payload = in->len - in->headers;
	if (icmp[1])
		return LEFT_ICMP;
	if (icmp[0] == (in->version == 4 ? 8 : 128)) {
		in->kind = KIND_ECHO_REQUEST;
		in->src_port = id;
		in->dst_port = 0;
		return 0;
	}
	if (icmp[0] == (in->version == 4 ? 0 : 129)) {
		in->kind = KIND_ECHO_REPLY;
		in->src_port = 0;
		in->dst_port = id;
		return 0;
	}
	return LEFT_ICMP;
}

static __always_inline enum outcome read_transport(const struct packet *p, struct inner *in)
{
	enum outcome left;

	if (in->proto == IPPROTO_TCP)
		left = read_tcp(p, in);
	else if (in->proto == IPPROTO_UDP)
		left = read_udp(p, in);
	else if (in->proto == (in->version == 4 ? IPPROTO_ICMP : ICMPV6))
		left = read_icmp(p, in);
	else
		return LEFT_PROTOCOL;
	if (!left && p->gso && in->kind != KIND_TCP)
		return LEFT_ODD; /* only TCP can be segmented on its way */
	return left;
}

/* read_inner reads the packet at offset at of the frame, up to whose end it
 * goes. It returns 0, or why it is left to the hub. */
static __always_inline enum outcome read_inner(const struct packet *p, __u32 at, struct inner *in)
{
	const struct iphdr *ip = p->data + at;
	const struct ipv6hdr *ip6 = p->data + at;

	in->at = at;
	in->len = p->len - at;
	in->flags = 0;
	in->ecn = 0;
	in->seq = 0;
	in->ack = 0;
	if ((void *)(ip + 1) > p->end)
		return LEFT_ODD;
	in->ecn = ecn_at((const __u8 *)ip);
	if (ip->version == 4) {
		if (!plain4(ip, in->len))
			return LEFT_ODD;
		if (ip->frag_off & bpf_htons(IP_FRAGMENT_MASK))
			return LEFT_FRAGMENT;
		map_address(&in->src, ip->saddr);
		map_address(&in->dst, ip->daddr);
		in->version = 4;
		in->proto = ip->protocol;
		in->ttl = ip->ttl;
		in->l4 = at + sizeof(*ip);
		return read_transport(p, in);
	}
	if ((void *)(ip6 + 1) > p->end || ip6->version != 6)
		return LEFT_ODD;
	if (bpf_ntohs(ip6->payload_len) + sizeof(*ip6) != in->len)
		return LEFT_ODD;
	__builtin_memcpy(&in->src, &ip6->saddr, sizeof(in->src));
	__builtin_memcpy(&in->dst, &ip6->daddr, sizeof(in->dst));
	if (is_mapped(&in->src) || is_mapped(&in->dst))
		return LEFT_ODD;
	in->version = 6;
	in->proto = ip6->nexthdr;
	in->ttl = ip6->hop_limit;
	in->l4 = at + sizeof(*ip6);
	return read_transport(p, in);
}
