/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Writing an address, a port and a TTL into the inner packet, checksums by
 * difference (RFC 1624): pkt.Meta's SetSrc, SetDst and DecTTL. The transport's
 * checksum is the context's to change, which knows whether it is complete. */
#pragma once

#include "verdict.h"

/* change is what happens to a transport checksum. */
struct change {
	__u32 at;        /* offset of the field in the frame */
	__u32 address;   /* by how much the pseudo header's sum grows */
	__be16 from, to; /* the port or echo id that was and is */
	bool pseudo;     /* whether there is a pseudo header: not in ICMP */
	bool udp;        /* which knows "none" */
};

/* words adds up the 16-bit words of a 64-bit one. */
static __always_inline __u32 words(__u64 v)
{
	return (__u32)(__u16)v + (__u16)(v >> 16) + (__u16)(v >> 32) + (__u16)(v >> 48);
}

/* set_address4 writes the address and lowers the TTL, which is the first byte of
 * its word. It returns the difference. */
static __always_inline __u32 set_address4(struct iphdr *ip, const struct verdict *v)
{
	__be32 *field = v->rewrite == REWRITE_SOURCE ? &ip->saddr : &ip->daddr;
	__be32 to = v->address.second >> 32;
	__u32 difference = (__u16)~*field + (__u32)(__u16)~(*field >> 16) + (__u16)to + (__u16)(to >> 16);

	*field = to;
	ip->ttl--;
	ip->check = ~fold16((__u64)(__u16)~ip->check + difference + (__u16)~bpf_htons(0x100));
	return difference;
}

static __always_inline __u32 set_address6(struct ipv6hdr *ip, const struct verdict *v)
{
	void *field = v->rewrite == REWRITE_SOURCE ? &ip->saddr : &ip->daddr;
	struct address old;

	__builtin_memcpy(&old, field, sizeof(old));
	__builtin_memcpy(field, &v->address, sizeof(old));
	ip->hop_limit--;
	return words(~old.first) + words(~old.second) + words(v->address.first) + words(v->address.second);
}

/* translate writes all but the transport's checksum, and says how that changes.
 * It returns false if the headers are not there any more. */
static __always_inline bool translate(const struct packet *p, const struct verdict *v, struct change *c)
{
	const struct inner *in = &v->in;
	bool echo = in->kind >= KIND_ECHO_REQUEST;
	__u32 port_at = in->l4 + (echo ? 4 : v->rewrite == REWRITE_SOURCE ? 0 : 2);
	struct iphdr *ip = p->data + at_most(63, in->at);
	struct ipv6hdr *ip6 = (void *)ip;
	__be16 *port = p->data + at_most(127, port_at);

	if ((void *)(port + 1) > p->end)
		return false;
	if (in->version == 4) {
		if ((void *)(ip + 1) > p->end)
			return false;
		c->address = set_address4(ip, v);
	} else {
		if ((void *)(ip6 + 1) > p->end)
			return false;
		c->address = set_address6(ip6, v);
	}
	c->from = *port;
	c->to = bpf_htons(v->port);
	*port = c->to;
	c->udp = in->kind == KIND_UDP;
	c->pseudo = !echo || in->version == 6;
	c->at = in->l4 + (echo ? 2 : c->udp ? 6 : offsetof(struct tcphdr, check));
	return true;
}

/* mend_checksum changes a transport checksum by difference (RFC 1624). One that is
 * partial is the pseudo header's sum alone, which the sender's kernel or device
 * will add the rest to. UDP's 0 is none, and one that comes out as 0 is sent as -0
 * (RFC 768). */
static __always_inline bool mend_checksum(const struct packet *p, const struct change *c, bool partial)
{
	__u16 *sum = p->data + at_most(127, c->at);

	if ((void *)(sum + 1) > p->end)
		return false;
	if (c->udp && !*sum)
		return true;
	if (!partial)
		*sum = ~fold16((__u64)(__u16)~*sum + (c->pseudo ? c->address : 0) + (__u16)~c->from + c->to);
	else if (c->pseudo)
		*sum = fold16((__u64)*sum + c->address);
	if (c->udp && !*sum)
		*sum = 0xffff;
	return true;
}
