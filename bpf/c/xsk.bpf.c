// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* The edge server's uplink, while the hub takes frames by AF_XDP: IP that is not
 * the kernel's goes to the hub's socket. */
#include "own.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The hub's socket, by queue. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

/* hubs says whether a frame is the hub's. What is too short to tell is nobody's,
 * and the kernel's to drop. */
static __always_inline bool hubs(const struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(eth + 1);
	struct ipv6hdr *ip6 = (void *)ip;
	struct in6_addr to6;
	__be32 to;

	if ((void *)(ip + 1) > end)
		return false;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		to = ip->daddr;
		return !is_own4(&to);
	}
	if (eth->h_proto != bpf_htons(ETH_P_IPV6) || (void *)(ip6 + 1) > end)
		return false;
	to6 = ip6->daddr;
	return !is_own6(&to6);
}

SEC("xdp")
int to_socket(struct xdp_md *ctx)
{
	if (!hubs(ctx))
		return XDP_PASS;
	return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_DROP);
}
