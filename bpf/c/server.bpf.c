// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* The edge server's uplink, while the hub is in userspace: outer headers are
 * pushed here because the kernel refuses superpackets that userspace wrapped in
 * GRE, and what the hub has seen is kept from the kernel. */
#include "count.h"
#include "gre.h"
#include "kernel.h"
#include "own.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The counts are of the one interface. */
static __always_inline __u32 counted_from(const struct __sk_buff *skb __attribute__((unused)))
{
	return 0;
}

/* Outer headers by mark; entry 0 is never used, since mark 0 is "none". */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << 16);
	__type(key, __u32);
	__type(value, struct encap);
} encaps SEC(".maps");

SEC("tcx/egress")
int push_by_mark(struct __sk_buff *skb)
{
	__u32 mark = skb->mark;
	struct encap *entry, e;

	if (!mark)
		return HW_NEXT;
	entry = bpf_map_lookup_elem(&encaps, &mark);
	if (!entry || !entry->ttl)
		return drop(skb, COUNT_DROP_NO_ENCAP);
	e = *entry;
	if (!push_gre(skb, &e))
		return HW_DROP;
	skb->mark = 0;
	return HW_NEXT;
}

/* own_address says whether the packet is the kernel's: for an address of this
 * machine, or for a group, by which neighbours are found in IPv6. */
static __always_inline long own_address(struct __sk_buff *skb, bool *is)
{
	struct in6_addr to6;
	__be32 to;

	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, daddr), &to6, sizeof(to6)))
			return -1;
		*is = is_own6(&to6);
		return 0;
	}
	if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, daddr), &to, sizeof(to)))
		return -1;
	*is = is_own4(&to);
	return 0;
}

/* The hub's packet socket sees a packet before tcx ingress does. */
SEC("tcx/ingress")
int consume(struct __sk_buff *skb)
{
	bool own = false;

	if (!is_ip(skb->protocol))
		return HW_NEXT;
	if (own_address(skb, &own))
		return drop(skb, COUNT_DROP_STORE);
	return own ? HW_NEXT : drop(skb, COUNT_CONSUMED);
}
