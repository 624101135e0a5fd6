// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The program that XdpRedirector has in front of those of tc.c: it steers what is plain, before the kernel makes a packet structure
 * of it. All else goes up to xo_ingress, which finds the same rule: held packets, the ends of connections, what is returned,
 * tunnels, partial checksums. So this program may come and go at any time: it changes the speed, and nothing else.
 */
#include "maps.h"

static __always_inline int xo_same_address(const __u8 *one, const __u8 *other)
{
	const __u16 *a = (const __u16 *)one, *b = (const __u16 *)other;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

static __always_inline int xo_steer(struct xdp_md *context)
{
	__u8 *data = (__u8 *)(long)context->data;
	__u8 *data_end = (__u8 *)(long)context->data_end;
	const struct xo_config *config = xo_config();
	struct ethhdr *ethernet = (struct ethhdr *)data;
	struct xo_packet packet;
	struct xo_rule *rule;
	__u8 flags_of_tc = XO_FLAG_RETURNING | XO_FLAG_TUNNEL;
	__u8 target[ETH_ALEN];
	__u32 bytes;
	__u64 now;
	int steer = 0;

	if (!config || data + ETH_HLEN > data_end)
		return XDP_PASS;
	/* Frames for another host's MAC, seen in promiscuous mode or flooded by a switch, are nobody's business here. */
	if (!xo_same_address(ethernet->h_dest, config->mac))
		return XDP_PASS;
	if (xo_parse(data, data_end, &packet, 0) != XO_TCP)
		return XDP_PASS;
	rule = bpf_map_lookup_elem(&xo_flows_v3, &packet.flow);
	if (!rule)
		return XDP_PASS;
	if (xo_checksum_is_partial(&packet))
		return XDP_PASS;
	if ((packet.tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		flags_of_tc |= XO_FLAG_ENDED;

	bytes = bpf_xdp_get_buff_len(context);
	/* As old as a timer tick at most. The exact time would cost as much as everything else here. */
	now = bpf_ktime_get_coarse_ns();
	bpf_spin_lock(&rule->lock);
	if (xo_rule_is_of(rule, &packet.flow) && rule->action == XO_STEER && !(rule->flags & flags_of_tc)) {
		steer = 1;
		__builtin_memcpy(target, rule->mac, ETH_ALEN);
		rule->packets += 1;
		rule->bytes += bytes;
		rule->last_seen = now;
	}
	bpf_spin_unlock(&rule->lock);
	if (!steer)
		return XDP_PASS;
	__builtin_memcpy(ethernet->h_source, config->mac, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, target, ETH_ALEN);
	return XDP_TX;
}

/* Multi-buffer frames ("frags"): the headers are in the first buffer, and nothing else is looked at. */
SEC("xdp.frags")
int xo_xdp(struct xdp_md *context)
{
	return xo_steer(context);
}

/*
 * Generic XDP. What a program for multi-buffer frames passes on, the kernel copies without `mac_len` (Linux 6.18, skb_pp_cow_data in
 * net/core/skbuff.c): tc then takes the IP header for the Ethernet header. For other programs the kernel makes packets linear.
 */
SEC("xdp")
int xo_xdp_generic(struct xdp_md *context)
{
	return xo_steer(context);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
