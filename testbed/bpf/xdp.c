// SPDX-License-Identifier: MIT
/* XDP programs that do one thing, for the other end of a veth pair and for measurements. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* A veth device takes what XDP sends out of its peer only when it has a program itself. */
SEC("xdp.frags")
int pass(struct xdp_md *context)
{
	(void)context;
	return XDP_PASS;
}

SEC("xdp.frags")
int drop(struct xdp_md *context)
{
	(void)context;
	return XDP_DROP;
}

SEC("xdp.frags")
int transmit(struct xdp_md *context)
{
	(void)context;
	return XDP_TX;
}

/*
 * For measurements: each run takes the next flow in turn, writes its client into the frame (IPv4, no tag), and goes on with the program in
 * `next`. So a table with many flows is used as a whole, not one entry of it that is always in the processor's cache. The TCP
 * checksum is not mended.
 */
struct turns {
	__u32 flows;
	__u32 turn;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct turns);
} vary_turns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} vary_next_xdp SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} vary_next_tc SEC(".maps");

/* Far from one turn to the next, and through all flows: a prime that divides no number of flows that is measured. */
#define STRIDE 617231
#define FIRST_CLIENT 0x0a000000
#define FIRST_PORT 1024
#define PORTS 16384

static __always_inline void next_flow(__u8 *data, __u8 *data_end)
{
	__u32 zero = 0;
	struct turns *turns = bpf_map_lookup_elem(&vary_turns, &zero);
	struct iphdr *ip = (struct iphdr *)(data + ETH_HLEN);
	__be16 *port = (__be16 *)(ip + 1);

	if (!turns || !turns->flows || (__u8 *)(port + 1) > data_end)
		return;
	turns->turn = (turns->turn + STRIDE) % turns->flows;
	ip->saddr = bpf_htonl(FIRST_CLIENT + turns->turn / PORTS);
	*port = bpf_htons(FIRST_PORT + turns->turn % PORTS);
}

SEC("xdp.frags")
int vary_xdp(struct xdp_md *context)
{
	next_flow((__u8 *)(long)context->data, (__u8 *)(long)context->data_end);
	bpf_tail_call(context, &vary_next_xdp, 0);
	return XDP_ABORTED;
}

SEC("tc")
int vary_tc(struct __sk_buff *skb)
{
	next_flow((__u8 *)(long)skb->data, (__u8 *)(long)skb->data_end);
	bpf_tail_call(skb, &vary_next_tc, 0);
	return TC_ACT_SHOT;
}

/* Makes a packet look as if a redirector had released it: XO_RELEASED of packages/redirect-ebpf/bpf/tc.c. */
SEC("tc")
int mark_released(struct __sk_buff *skb)
{
	skb->mark = 0x786f7265;
	return TC_ACT_UNSPEC;
}

/* The program of tc that does nothing. */
SEC("tc")
int accept(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_OK;
}
