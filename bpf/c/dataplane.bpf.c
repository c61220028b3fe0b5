// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* The fast path of an edge server: packets of flows that the hub has set up are
 * translated and sent on at once; the others are handed to their home or left to
 * the hub. One program at the uplink's ingress. */
#include "ctx_skb.h"
#include "ingress.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tcx/ingress")
int fast_path(struct __sk_buff *skb)
{
	struct packet p;
	struct verdict v;

	if (!is_ip(skb->protocol))
		return HW_NEXT;
	open_skb(skb, &p);
	return act_skb(skb, &p, &v, decide(&p, &v));
}
