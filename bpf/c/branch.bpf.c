// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* A branch router's GRE tunnel, made of a veth pair: the kernel routes into
 * gre1, checks the MTU and decrements TTL; here its peer's packets get their
 * outer header, and what comes back on the WAN enters gre1 as received. */
#include "count.h"
#include "gre.h"
#include "kernel.h"
#include "mss.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

volatile const __be32 tunnel_local;   /* our WAN address */
volatile const __be32 tunnel_remote;  /* the anycast tunnel address */
volatile const __be32 tunnel_key;
volatile const __u8 tunnel_has_key;
volatile __u16 tunnel_mss;            /* MTU of the tunnel less 40; its path can lower it */
volatile __u16 tunnel_mss6;           /* less 60: of TCP over IPv6 */
volatile const __u32 wan_ifindex;
volatile const __u32 gre_ifindex;
volatile const __u8 wan_mac[ETH_ALEN], gateway_mac[ETH_ALEN];
volatile const __u8 gre_mac[ETH_ALEN], peer_mac[ETH_ALEN];

static __always_inline bool store_ethernet(struct __sk_buff *skb, const volatile __u8 *dst, const volatile __u8 *src, __be16 type)
{
	struct ethhdr eth = { .h_proto = type };

#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++) {
		eth.h_dest[i] = dst[i];
		eth.h_source[i] = src[i];
	}
	if (!bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0))
		return true;
	count(COUNT_DROP_STORE);
	return false;
}

/* On the peer of the tunnel device: what the kernel routed into the tunnel. */
SEC("tc")
int into_tunnel(struct __sk_buff *skb)
{
	struct encap e = {
		.src = tunnel_local,
		.dst = tunnel_remote,
		.key = tunnel_key,
		.has_key = tunnel_has_key,
		.ttl = 64,
	};

	if (!is_ip(skb->protocol))
		return drop(COUNT_DROP_NOT_IP);
	clamp_mss(skb, ETH_HLEN, tunnel_mss, tunnel_mss6);
	if (!push_gre(skb, &e) || !store_ethernet(skb, gateway_mac, wan_mac, bpf_htons(ETH_P_IP)))
		return HW_DROP;
	return bpf_redirect(wan_ifindex, 0);
}

/* ours says whether the packet is of this tunnel, exactly: addresses, key or
 * no key, no checksum, no sequence number, IPv4 or IPv6 inside: the Ethernet
 * type of that, or 0. ecn is what its outer header says of congestion. */
static __always_inline __be16 ours(struct __sk_buff *skb, __u8 *ecn)
{
	struct gre_header g = {};
	struct iphdr ip;

	if (skb->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return 0;
	if (ip.protocol != IPPROTO_GRE || ip.saddr != tunnel_remote || ip.daddr != tunnel_local)
		return 0;
	if (ip.version != 4 || ip.ihl != 5 || (ip.frag_off & bpf_htons(IP_FRAGMENT_MASK)))
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), &g, gre_size(tunnel_has_key)))
		return 0;
	if (!is_ip(g.protocol) || g.flags != (tunnel_has_key ? bpf_htons(GRE_KEY) : 0))
		return 0;
	if (tunnel_has_key && g.key != tunnel_key)
		return 0;
	*ecn = ip.tos & ECN_MASK;
	return g.protocol;
}

/* On the WAN: what the edge sent back. */
SEC("tc")
int from_tunnel(struct __sk_buff *skb)
{
	__u32 inner = ETH_HLEN + sizeof(struct iphdr) + gre_size(tunnel_has_key);
	__u8 ecn = ECN_NOT_ECT;
	__be16 type = ours(skb, &ecn);

	if (!type)
		return HW_NEXT;
	if (!unwrap_ecn(skb, ecn, inner, type == bpf_htons(ETH_P_IPV6)))
		return drop(COUNT_DROP_NOT_ECT);
	if (!pop_gre(skb, tunnel_has_key, type))
		return HW_DROP;
	clamp_mss(skb, ETH_HLEN, tunnel_mss, tunnel_mss6);
	if (!store_ethernet(skb, gre_mac, peer_mac, type))
		return HW_DROP;
	return bpf_redirect(gre_ifindex, BPF_F_INGRESS);
}
