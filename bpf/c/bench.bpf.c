// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* The fast path's decisions by themselves, for BPF_PROG_TEST_RUN, which gives the
 * same frame again and again: so each program leaves it as it found it, or makes
 * another of it first. Around the maps of a fast path. */
#include "ctx_xdp.h"
#include "ingress.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Replies are drawn from so many egress addresses from the frame's on (a power of
 * two), and ports from the second slice on. */
volatile const __u32 addresses;
volatile const __u32 first_address; /* host order */

#define PORT_FIRST 2048
#define PORTS (65536 - PORT_FIRST)

static __u64 drawn;

/* draw makes the frame the reply to another flow. It returns false for what is
 * not UDP over IPv4. */
static __always_inline bool draw(const struct packet *p)
{
	struct iphdr *ip = p->data + ETH_HLEN;
	__be16 *udp = (void *)(ip + 1);
	__u64 x = mix(++drawn);

	if ((void *)(udp + 4) > p->end || ip->version != 4 || ip->protocol != IPPROTO_UDP)
		return false;
	ip->daddr = bpf_htonl(first_address + (x & (addresses - 1)));
	udp[1] = bpf_htons(PORT_FIRST + (__u32)(x >> 32) % PORTS);
	ip->check = 0;
	ip->check = ipv4_csum(ip);
	return true;
}

/* What the others do besides. */
SEC("xdp")
int draw_only(struct xdp_md *ctx)
{
	struct packet p;

	open_xdp(ctx, &p);
	return draw(&p) ? XDP_PASS : XDP_ABORTED;
}

/* A reply, and its flow found among all that there are. */
SEC("xdp")
int draw_and_decide(struct xdp_md *ctx)
{
	struct packet p;
	struct verdict v;

	open_xdp(ctx, &p);
	if (!draw(&p) || decide(&p, &v) != OUT_RETURNED)
		return XDP_ABORTED;
	return XDP_PASS;
}

/* Whatever the frame is. */
SEC("xdp")
int decide_only(struct xdp_md *ctx)
{
	struct packet p;
	struct verdict v;

	open_xdp(ctx, &p);
	return decide(&p, &v) <= OUT_HANDED_OVER ? XDP_PASS : XDP_ABORTED;
}

/* A reply that is handed over, outer header and all, which then is taken away. */
SEC("xdp")
int steer(struct xdp_md *ctx)
{
	struct packet p;
	struct verdict v;
	struct ethhdr *eth;

	open_xdp(ctx, &p);
	if (act_xdp(ctx, &v, decide(&p, &v)) != XDP_TX || bpf_xdp_adjust_head(ctx, outer_size(&v)))
		return XDP_ABORTED;
	eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	make_ethernet(eth, bpf_htons(ETH_P_IP));
	return XDP_PASS;
}
