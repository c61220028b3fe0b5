// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* A branch router's GRE tunnel, made of a veth pair: the kernel routes into
 * gre1, checks the MTU and decrements TTL; here its peer's packets get their
 * outer header, and what comes back on the WAN enters gre1 as received. */
#include "count.h"
#include "gre.h"
#include "kernel.h"
#include "mss.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Tunnels of many routers share the programs: what a tunnel is, the filter says by
 * the number in its class, which it has no other use for. */
struct tunnel {
	__be32 local;  /* our WAN address */
	__be32 remote; /* the anycast tunnel address */
	__be32 key;
	__u32 wan_ifindex, gre_ifindex;
	__u16 mss;  /* MTU of the tunnel less 40; its path can lower it */
	__u16 mss6; /* less 60: of TCP over IPv6 */
	__u8 wan_mac[ETH_ALEN], gateway_mac[ETH_ALEN];
	__u8 gre_mac[ETH_ALEN], peer_mac[ETH_ALEN];
	__u8 has_key;
	__u8 reserved[3];
};
_Static_assert(sizeof(struct tunnel) == 52, "tunnel must be 52 bytes");

/* As large as a test wants it; the loader sets this, and that of the counters. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tunnel);
} tunnels SEC(".maps");

static __always_inline struct tunnel *tunnel_of(const struct __sk_buff *skb)
{
	__u32 number = skb->tc_classid;

	return bpf_map_lookup_elem(&tunnels, &number);
}

/* Each tunnel has counts of its own. */
static __always_inline __u32 counted_from(const struct __sk_buff *skb)
{
	return skb->tc_classid * COUNTERS;
}

static __always_inline bool store_ethernet(struct __sk_buff *skb, const __u8 *dst, const __u8 *src, __be16 type)
{
	struct ethhdr eth = { .h_proto = type };

#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++) {
		eth.h_dest[i] = dst[i];
		eth.h_source[i] = src[i];
	}
	if (!bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0))
		return true;
	count(skb, COUNT_DROP_STORE);
	return false;
}

/* On the peer of the tunnel device: what the kernel routed into the tunnel. */
SEC("tc")
int into_tunnel(struct __sk_buff *skb)
{
	struct tunnel *t = tunnel_of(skb);
	struct encap e = { .ttl = 64 };

	if (!t)
		return drop(skb, COUNT_DROP_NO_ENCAP);
	if (!is_ip(skb->protocol))
		return drop(skb, COUNT_DROP_NOT_IP);
	e.src = t->local;
	e.dst = t->remote;
	e.key = t->key;
	e.has_key = t->has_key;
	clamp_mss(skb, ETH_HLEN, t->mss, t->mss6);
	if (!push_gre(skb, &e) || !store_ethernet(skb, t->gateway_mac, t->wan_mac, bpf_htons(ETH_P_IP)))
		return HW_DROP;
	return bpf_redirect(t->wan_ifindex, 0);
}

/* ours says whether the packet is of this tunnel, exactly: addresses, key or
 * no key, no checksum, no sequence number, IPv4 or IPv6 inside: the Ethernet
 * type of that, or 0. ecn is what its outer header says of congestion. */
static __always_inline __be16 ours(struct __sk_buff *skb, const struct tunnel *t, __u8 *ecn)
{
	struct gre_header g = {};
	struct iphdr ip;

	if (skb->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return 0;
	if (ip.protocol != IPPROTO_GRE || ip.saddr != t->remote || ip.daddr != t->local)
		return 0;
	if (ip.version != 4 || ip.ihl != 5 || (ip.frag_off & bpf_htons(IP_FRAGMENT_MASK)))
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), &g, gre_size(t->has_key)))
		return 0;
	if (!is_ip(g.protocol) || g.flags != (t->has_key ? bpf_htons(GRE_KEY) : 0))
		return 0;
	if (t->has_key && g.key != t->key)
		return 0;
	*ecn = ip.tos & ECN_MASK;
	return g.protocol;
}

/* On the WAN: what the edge sent back. */
SEC("tc")
int from_tunnel(struct __sk_buff *skb)
{
	struct tunnel *t = tunnel_of(skb);
	__u8 ecn = ECN_NOT_ECT;
	__be16 type;
	__u32 inner;

	if (!t)
		return HW_NEXT;
	type = ours(skb, t, &ecn);
	if (!type)
		return HW_NEXT;
	inner = ETH_HLEN + sizeof(struct iphdr) + gre_size(t->has_key);
	if (!unwrap_ecn(skb, ecn, inner, type == bpf_htons(ETH_P_IPV6)))
		return drop(skb, COUNT_DROP_NOT_ECT);
	if (!pop_gre(skb, t->has_key, type))
		return HW_DROP;
	clamp_mss(skb, ETH_HLEN, t->mss, t->mss6);
	if (!store_ethernet(skb, t->gre_mac, t->peer_mac, type))
		return HW_DROP;
	return bpf_redirect(t->gre_ifindex, BPF_F_INGRESS);
}
