// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* The fast path of an edge server: packets of flows that the hub has set up are
 * translated and sent on at once; the others are handed to their home or left to
 * the hub. One program at the uplink's ingress. */
#include "ctx_skb.h"
#include "ctx_xdp.h"
#include "ingress.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The counts are of the one interface. */
static __always_inline __u32 counted_from(const struct __sk_buff *skb __attribute__((unused)))
{
	return 0;
}

SEC("tcx/ingress")
int fast_path(struct __sk_buff *skb)
{
	struct packet p;
	struct verdict v;

	if (!is_ip(skb->protocol))
		return HW_NEXT;
	open_skb(skb, &p);
	return act_skb(skb, &v, decide(&p, &v));
}

SEC("xdp")
int fast_path_xdp(struct xdp_md *ctx)
{
	const struct ethhdr *eth;
	struct packet p;
	struct verdict v;

	open_xdp(ctx, &p);
	eth = p.data;
	if ((void *)(eth + 1) > p.end || !is_ip(eth->h_proto))
		return XDP_PASS;
	return act_xdp(ctx, &v, decide(&p, &v));
}
