// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The programs of TcRedirector, and of XdpRedirector behind the one in xdp.c:
 * xo_ingress and xo_egress on the device, xo_release on the TAP that held packets go through, and xo_from_vxlan or xo_from_ip on the
 * device at which a tunnel ends.
 *
 * No header of the client's packet above Ethernet is changed, so checksums (partial ones too) and GSO stay right. The one exception is
 * the hop limit of what is returned, which no TCP checksum covers.
 */
#include "tunnel.h"

/* Marks a packet on its way from the TAP to xo_ingress: it has been held, and is not to be held again. */
#define XO_RELEASED 0x786f7265

/* Parses the packet, and makes its headers linear first when they are not. */
static __always_inline enum xo_parsed xo_parse_skb(struct __sk_buff *skb, struct xo_packet *packet, int reverse)
{
	enum xo_parsed parsed;

	parsed = xo_parse((const __u8 *)(long)skb->data, (const __u8 *)(long)skb->data_end, packet, reverse);
	if (parsed != XO_SHORT)
		return parsed;
	if (bpf_skb_pull_data(skb, skb->len < HEADERS_MAX ? skb->len : HEADERS_MAX))
		return XO_OTHER;
	return xo_parse((const __u8 *)(long)skb->data, (const __u8 *)(long)skb->data_end, packet, reverse);
}

/* The key of a tunnel, in the place of a MAC address. */
static __always_inline __u32 xo_tunnel_of(const __u8 *mac)
{
	__u32 id;

	__builtin_memcpy(&id, mac + 2, sizeof(id));
	return id;
}

/*
 * The hops that are left to a packet that goes back to the host that steered it here: the routers on the way to it when this host is
 * behind a tunnel, and how often it may be returned. More than once is rare: the connection has come back here and left again while the
 * packet was on its way.
 */
#define XO_RETURNS 8

#define IPV4_HOP_LIMIT 8
#define IPV4_CHECKSUM 10
#define IPV6_HOP_LIMIT 7

/*
 * Takes one from the packet's hop limit, of which no more than XO_RETURNS are left. Two hosts that steer a flow to each other would pass
 * each packet to and fro for ever, at the speed of the wire: Ethernet has no hop limit. Non-zero when the packet has none left.
 */
static __always_inline int xo_take_hop(struct __sk_buff *skb, const struct xo_packet *packet)
{
	__u32 at = packet->network + (packet->family == 4 ? IPV4_HOP_LIMIT : IPV6_HOP_LIMIT);
	__u8 hops, left;

	if (bpf_skb_load_bytes(skb, at, &hops, 1) || hops <= 1)
		return -1;
	left = hops > XO_RETURNS ? XO_RETURNS : hops - 1;
	if (packet->family == 6)
		return bpf_skb_store_bytes(skb, at, &left, 1, BPF_F_RECOMPUTE_CSUM);
	/* The header's checksum makes up for the change, so the sum that a NIC made of the whole packet stays right. */
	if (bpf_l3_csum_replace(skb, packet->network + IPV4_CHECKSUM, bpf_htons(hops << 8), bpf_htons(left << 8), 2))
		return -1;
	return bpf_skb_store_bytes(skb, at, &left, 1, 0);
}

/* To the TAP, where user space stores it. A missing TAP (its process has died) drops the packet, which is what a lock must do. */
static __always_inline int xo_hold(void)
{
	const struct xo_config *config = xo_config();

	if (!config || !config->tap)
		return TC_ACT_SHOT;
	return bpf_redirect(config->tap, 0);
}

SEC("tc")
int xo_ingress(struct __sk_buff *skb)
{
	__u32 segments = 1, bytes = skb->len + (skb->vlan_present ? VLAN_HEADER_LENGTH : 0);
	__u8 action = 0, flags = 0, released = 0;
	__u8 addresses[2 * ETH_ALEN];
	struct xo_packet packet;
	struct xo_rule *rule;
	__u64 now;

	if (skb->mark == XO_RELEASED) {
		skb->mark = 0;
		released = 1;
	}
	/* Frames for another host's MAC, seen in promiscuous mode or flooded by a switch, are nobody's business here. */
	if (skb->pkt_type != 0 /* PACKET_HOST */)
		return TC_ACT_UNSPEC;
	if (xo_parse_skb(skb, &packet, 0) != XO_TCP)
		return TC_ACT_UNSPEC;
	rule = bpf_map_lookup_elem(&xo_flows_v3, &packet.flow);
	if (!rule)
		return TC_ACT_UNSPEC;

	if (skb->gso_size && skb->len > packet.headers) {
		segments = (skb->len - packet.headers + skb->gso_size - 1) / skb->gso_size;
		bytes += (segments - 1) * (bytes - skb->len + packet.headers);
	}
	now = bpf_ktime_get_ns();
#pragma unroll
	for (int attempt = 0; attempt < 2; attempt++) {
		bpf_spin_lock(&rule->lock);
		if (xo_rule_is_of(rule, &packet.flow)) {
			action = rule->action;
			flags = rule->flags;
			__builtin_memcpy(addresses, rule->mac, ETH_ALEN);
			/* What was held has been counted then. */
			if (!released || action != XO_HOLD) {
				rule->packets += segments;
				rule->bytes += bytes;
				rule->last_seen = now;
			}
		}
		bpf_spin_unlock(&rule->lock);
		if (action)
			break;
		rule = bpf_map_lookup_elem(&xo_flows_v3, &packet.flow);
		if (!rule)
			return TC_ACT_UNSPEC;
	}

	/* A released packet may be late: the kernel queues it, and by now the flow may be held again. A silent hold has no socket here that
	 * could take it. */
	if (action == XO_HOLD && (!released || (flags & XO_FLAG_SILENT))) {
		XO_COUNT(held_ingress);
		return xo_hold();
	}
	if (action != XO_STEER)
		return TC_ACT_UNSPEC;
	if ((flags & XO_FLAG_ENDED) && (packet.tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		bpf_map_delete_elem(&xo_flows_v3, &packet.flow);
		return TC_ACT_UNSPEC;
	}
	if ((flags & XO_FLAG_RETURNING) && xo_take_hop(skb, &packet)) {
		XO_COUNT(dropped_loops);
		return TC_ACT_SHOT;
	}
	if (flags & XO_FLAG_TUNNEL)
		return xo_steer_through(skb, &packet, xo_tunnel_of(addresses));
	/* PACKET_HOST: the destination is this device's own address, and becomes the source. A store by helper makes the headers
	 * private only here; direct writes would make the kernel copy the headers of every cloned packet that passes. */
	if (bpf_skb_load_bytes(skb, 0, addresses + ETH_ALEN, ETH_ALEN) || bpf_skb_store_bytes(skb, 0, addresses, sizeof(addresses), 0))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, 0);
}

SEC("tc")
int xo_egress(struct __sk_buff *skb)
{
	struct xo_packet packet;
	struct xo_rule *rule;
	__u8 action = 0, flags = 0, first;

	/* Not made by this host's stack: steered by xo_ingress, released by xo_release, or forwarded between other hosts. */
	if (skb->ingress_ifindex)
		return TC_ACT_UNSPEC;
	if (xo_parse_skb(skb, &packet, 1) != XO_TCP)
		return TC_ACT_UNSPEC;
	rule = bpf_map_lookup_elem(&xo_flows_v3, &packet.flow);
	if (!rule)
		return TC_ACT_UNSPEC;

#pragma unroll
	for (int attempt = 0; attempt < 2; attempt++) {
		bpf_spin_lock(&rule->lock);
		if (xo_rule_is_of(rule, &packet.flow)) {
			action = rule->action;
			flags = rule->flags;
			rule->egress_packets += 1;
		}
		bpf_spin_unlock(&rule->lock);
		if (action)
			break;
		rule = bpf_map_lookup_elem(&xo_flows_v3, &packet.flow);
		if (!rule)
			return TC_ACT_UNSPEC;
	}

	if (action == XO_STEER || (action == XO_HOLD && (flags & XO_FLAG_SILENT))) {
		XO_COUNT(dropped_egress);
		return TC_ACT_SHOT;
	}
	if (action != XO_HOLD)
		return TC_ACT_UNSPEC;
	if (packet.tcp_flags & TCP_RST) {
		XO_COUNT(dropped_resets);
		return TC_ACT_SHOT;
	}
	/* The group bit of a source address is 0 on every valid frame (IEEE 802.3): here it says which way the frame was going. */
	if (bpf_skb_load_bytes(skb, ETH_ALEN, &first, 1))
		return TC_ACT_SHOT;
	first |= 1;
	if (bpf_skb_store_bytes(skb, ETH_ALEN, &first, 1, 0))
		return TC_ACT_SHOT;
	XO_COUNT(held_egress);
	return xo_hold();
}

SEC("tc")
int xo_release(struct __sk_buff *skb)
{
	const struct xo_config *config = xo_config();
	__u8 addresses[2 * ETH_ALEN];

	if (!config || bpf_skb_load_bytes(skb, 0, addresses, sizeof(addresses)))
		return TC_ACT_SHOT;
	if (addresses[ETH_ALEN] & 1) {
		addresses[ETH_ALEN] &= ~1;
		if (bpf_skb_store_bytes(skb, ETH_ALEN, addresses + ETH_ALEN, 1, 0))
			return TC_ACT_SHOT;
		XO_COUNT(released_egress);
		return bpf_redirect(config->device, 0);
	}
	/* The group bit of the destination says that the rest of it is the key of a tunnel. */
	if (addresses[0] & 1) {
		struct xo_packet packet;

		XO_COUNT(released_egress);
		if (xo_parse_skb(skb, &packet, 0) != XO_TCP)
			return TC_ACT_SHOT;
		return xo_steer_through(skb, &packet, xo_tunnel_of(addresses));
	}
	XO_COUNT(released_ingress);
	/* It meets xo_ingress again: steered if that is the rule now, up to the stack otherwise. */
	skb->mark = XO_RELEASED;
	return bpf_redirect(config->device, BPF_F_INGRESS);
}

/*
 * On the device at which a tunnel ends: the packets of flows that have a rule go to the redirector's device, as if they had come in
 * there. The others, of connections that this host serves undisturbed, go up from here.
 */
SEC("tc")
int xo_from_vxlan(struct __sk_buff *skb)
{
	const struct xo_config *config = xo_config();
	struct xo_packet packet;

	if (!config || skb->pkt_type != 0 /* PACKET_HOST */ || xo_parse_skb(skb, &packet, 0) != XO_TCP ||
	    !bpf_map_lookup_elem(&xo_flows_v3, &packet.flow))
		return TC_ACT_UNSPEC;
	if (bpf_skb_store_bytes(skb, 0, config->mac, ETH_ALEN, 0))
		return TC_ACT_SHOT;
	return bpf_redirect(config->device, BPF_F_INGRESS);
}

/* The same for a tunnel that carries packets without an Ethernet header. */
SEC("tc")
int xo_from_ip(struct __sk_buff *skb)
{
	const struct xo_config *config = xo_config();
	const __u32 headers = IPV6_HEADER_LENGTH + TCP_HEADER_LENGTH;
	struct ethhdr ethernet = { .h_proto = skb->protocol };
	struct xo_packet packet;

	if (!config || bpf_skb_pull_data(skb, skb->len < headers ? skb->len : headers))
		return TC_ACT_UNSPEC;
	if (xo_parse_network((const __u8 *)(long)skb->data, (const __u8 *)(long)skb->data_end, skb->protocol, 0, &packet, 0) != XO_TCP ||
	    !bpf_map_lookup_elem(&xo_flows_v3, &packet.flow))
		return TC_ACT_UNSPEC;
	__builtin_memcpy(ethernet.h_dest, config->mac, ETH_ALEN);
	if (bpf_skb_change_head(skb, ETH_HLEN, 0) || bpf_skb_store_bytes(skb, 0, &ethernet, sizeof(ethernet), 0))
		return TC_ACT_SHOT;
	return bpf_redirect(config->device, BPF_F_INGRESS);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
