/* SPDX-License-Identifier: MIT */
/*
 * Steering through a tunnel: VXLAN (RFC 7348) and IP in IP (RFC 2003, RFC 4213, RFC 2473), to a server in another subnet.
 *
 * What is too big for the path. TCP's segment size was agreed upon long ago, so something has to be done with full segments:
 * - A segment of several (GSO) is cut anew by the kernel, into smaller ones that fit: nobody notices.
 * - A single one is answered with ICMP (RFC 1191, RFC 8201), as every router on the way would: the client sends it again, cut in two, and
 *   never sends one as big on this path. Fragmenting the outer packet instead would cost two packets for each one, for the life of
 *   the connection, and a lost fragment loses both; and it is not to be had in IPv6 without an extension header.
 * A client that gets no ICMP is not lost as long as its segments come in bulk; who wants to be sure announces a smaller segment size.
 */
#ifndef XO_TUNNEL_H
#define XO_TUNNEL_H

#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include "maps.h"

#define XO_VXLAN 1
#define XO_IPIP 2

/* IPv4 addresses are in the last word. */
struct xo_tunnel {
	__u8 mode;
	/* Of the addresses. */
	__u8 family;
	__be16 port;
	/* As in the header of VXLAN. */
	__be32 identifier;
	__be32 source[4];
	__be32 remote[4];
	/* Where the route to `remote` leads, and the largest IP packet on it. */
	__u32 device;
	__u32 mtu;
	/* The inner frame's destination. */
	__u8 mac[ETH_ALEN];
	__u8 unused[2];
};

/* An update links a new element and unlinks the old one: a lookup in between may find neither. */
#define XO_LOOKUPS 3

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct xo_tunnel);
} xo_tunnels_v3 SEC(".maps");

struct xo_vxlan_header {
	struct udphdr udp;
	__be32 flags;
	__be32 identifier;
	struct ethhdr inner;
} __attribute__((packed));

#define VXLAN_FLAGS bpf_htonl(0x08000000)

/* The header of both ICMP errors. */
struct xo_icmp {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 mtu;
};

#define ICMP_UNREACHABLE 3
#define ICMP_FRAGMENTATION_NEEDED 4
#define ICMPV6_PACKET_TOO_BIG 2

struct xo_too_big_ipv4 {
	struct iphdr ip;
	struct xo_icmp icmp;
};

struct xo_too_big_ipv6 {
	struct ipv6hdr ip;
	struct xo_icmp icmp;
};


#define IPV6_MINIMUM_MTU 1280

static __always_inline __u64 xo_sum(const void *bytes, __u32 length, __u64 sum)
{
#pragma unroll
	for (__u32 at = 0; at < length; at += 2)
		sum += *(const __u16 *)((const __u8 *)bytes + at);
	return sum;
}

/* The sum of the quoted TCP header. With a partial checksum the device that sends the answer fills the field in: then the header and the
 * pseudo header, whose sum was there, make up zero. */
static __always_inline __u64 xo_sum_tcp(const struct xo_packet *packet, const __u8 *tcp, __u64 sum)
{
	if (xo_checksum_is_partial(packet))
		return sum + (__u16)~packet->tcp_checksum;
	return xo_sum(tcp, TCP_HEADER_LENGTH, sum);
}

/*
 * Turns the packet into the ICMP error that tells its sender what size would fit, in the name of the service, and sends it back. It is
 * never larger than what it answers.
 */
static __noinline int xo_answer_too_big(struct __sk_buff *skb, const struct xo_packet *packet, __u32 mtu,
					     const struct xo_config *config)
{
	const struct xo_flow *flow = &packet->flow;
	__u8 quoted[IPV6_HEADER_LENGTH + TCP_HEADER_LENGTH] __attribute__((aligned(4)));
	__u8 addresses[2 * ETH_ALEN];
	__u64 sum;

	if (bpf_skb_load_bytes(skb, ETH_ALEN, addresses, ETH_ALEN))
		return TC_ACT_SHOT;
	__builtin_memcpy(addresses + ETH_ALEN, config->mac, ETH_ALEN);
	if (packet->family == 4) {
		const __u32 length = IPV4_HEADER_LENGTH + TCP_HEADER_LENGTH;
		struct xo_too_big_ipv4 answer = {
			.ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_ICMP, .frag_off = bpf_htons(0x4000),
				.tot_len = bpf_htons(sizeof(answer) + length), .saddr = flow->service[3], .daddr = flow->client[3] },
			.icmp = { .type = ICMP_UNREACHABLE, .code = ICMP_FRAGMENTATION_NEEDED, .mtu = bpf_htonl(mtu) },
		};

		answer.ip.check = ~xo_fold(xo_sum(&answer.ip, sizeof(answer.ip), 0));
		if (bpf_skb_load_bytes(skb, packet->network, quoted, length))
			return TC_ACT_SHOT;
		sum = xo_sum(quoted, IPV4_HEADER_LENGTH, xo_sum(&answer.icmp, sizeof(answer.icmp), 0));
		answer.icmp.checksum = ~xo_fold(xo_sum_tcp(packet, quoted + IPV4_HEADER_LENGTH, sum));
		if (bpf_skb_change_tail(skb, packet->network + length, 0) || bpf_skb_adjust_room(skb, sizeof(answer), BPF_ADJ_ROOM_MAC, 0) ||
		    bpf_skb_store_bytes(skb, packet->network, &answer, sizeof(answer), 0))
			return TC_ACT_SHOT;
	} else {
		const __u32 length = IPV6_HEADER_LENGTH + TCP_HEADER_LENGTH;
		struct xo_too_big_ipv6 answer = {
			.ip = { .version = 6, .hop_limit = 64, .nexthdr = IPPROTO_ICMPV6,
				.payload_len = bpf_htons(sizeof(answer.icmp) + length) },
			.icmp = { .type = ICMPV6_PACKET_TOO_BIG, .mtu = bpf_htonl(mtu < IPV6_MINIMUM_MTU ? IPV6_MINIMUM_MTU : mtu) },
		};

		__builtin_memcpy(&answer.ip.saddr, flow->service, sizeof(answer.ip.saddr));
		__builtin_memcpy(&answer.ip.daddr, flow->client, sizeof(answer.ip.daddr));
		if (bpf_skb_load_bytes(skb, packet->network, quoted, length))
			return TC_ACT_SHOT;
		/* The pseudo header. */
		sum = (__u64)answer.ip.payload_len + bpf_htons(IPPROTO_ICMPV6);
		sum = xo_sum(&answer.ip.saddr, 2 * sizeof(answer.ip.saddr), sum);
		sum = xo_sum(quoted, IPV6_HEADER_LENGTH, xo_sum(&answer.icmp, sizeof(answer.icmp), sum));
		answer.icmp.checksum = ~xo_fold(xo_sum_tcp(packet, quoted + IPV6_HEADER_LENGTH, sum));
		if (bpf_skb_change_tail(skb, packet->network + length, 0) || bpf_skb_adjust_room(skb, sizeof(answer), BPF_ADJ_ROOM_MAC, 0) ||
		    bpf_skb_store_bytes(skb, packet->network, &answer, sizeof(answer), 0))
			return TC_ACT_SHOT;
	}
	if (bpf_skb_store_bytes(skb, 0, addresses, sizeof(addresses), 0))
		return TC_ACT_SHOT;
	return bpf_redirect(config->device, 0);
}

static __always_inline const struct xo_tunnel *xo_find_tunnel(__u32 id)
{
	const struct xo_tunnel *tunnel = NULL;

#pragma unroll
	for (int attempt = 0; attempt < XO_LOOKUPS; attempt++) {
		tunnel = bpf_map_lookup_elem(&xo_tunnels_v3, &id);
		if (tunnel)
			break;
	}
	return tunnel;
}

/* Writes the outer IP header. `length` is that of the whole outer packet. */
static __always_inline int xo_write_outer(struct __sk_buff *skb, const struct xo_packet *packet, const struct xo_tunnel *tunnel,
					  __u32 length, __u32 hash)
{
	__u8 next = packet->family == 4 ? IPPROTO_IPIP : IPPROTO_IPV6;

	if (tunnel->mode == XO_VXLAN)
		next = IPPROTO_UDP;
	if (tunnel->family == 4) {
		struct iphdr ip = {
			.version = 4, .ihl = 5, .tos = packet->traffic_class, .ttl = 64, .protocol = next, .frag_off = bpf_htons(0x4000),
			.tot_len = bpf_htons(length), .saddr = tunnel->source[3], .daddr = tunnel->remote[3],
		};

		ip.check = ~xo_fold(xo_sum(&ip, sizeof(ip), 0));
		return bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0);
	}
	__be32 ip[10] = {
		/* The flow label lets routers spread flows (RFC 6438). */
		bpf_htonl(6 << 28 | packet->traffic_class << 20 | (hash & 0xfffff)),
		bpf_htonl((length - IPV6_HEADER_LENGTH) << 16 | next << 8 | 64),
	};

	__builtin_memcpy(ip + 2, tunnel->source, sizeof(tunnel->source));
	__builtin_memcpy(ip + 6, tunnel->remote, sizeof(tunnel->remote));
	return bpf_skb_store_bytes(skb, ETH_HLEN, ip, sizeof(ip), 0);
}

/* Behind the outer IP header. */
static __always_inline int xo_write_vxlan(struct __sk_buff *skb, const struct xo_packet *packet, const struct xo_tunnel *tunnel,
					  __u32 length, __u32 hash, const struct xo_config *config)
{
	struct xo_vxlan_header vxlan = {
		/* No checksum, also over IPv6 (RFC 6935): the inner packet has one. */
		.udp = { .source = bpf_htons(0xc000 | (hash & 0x3fff)), .dest = tunnel->port, .len = bpf_htons(length) },
		.flags = VXLAN_FLAGS,
		.identifier = tunnel->identifier,
		.inner.h_proto = packet->family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6),
	};
	__u32 outer = tunnel->family == 4 ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH;

	__builtin_memcpy(vxlan.inner.h_dest, tunnel->mac, ETH_ALEN);
	__builtin_memcpy(vxlan.inner.h_source, config->mac, ETH_ALEN);
	return bpf_skb_store_bytes(skb, ETH_HLEN + outer, &vxlan, sizeof(vxlan), 0);
}

/* VLAN tags are those of the client's segment: they stay here. */
static __always_inline int xo_remove_tags(struct __sk_buff *skb)
{
#pragma unroll
	for (int tag = 0; tag < 3; tag++) {
		if (!skb->vlan_present && !xo_is_vlan(skb->protocol))
			return 0;
		if (bpf_skb_vlan_pop(skb))
			return -1;
	}
	return skb->vlan_present;
}

static __noinline int xo_encapsulate(struct __sk_buff *skb, const struct xo_packet *packet, __u32 id,
				     const struct xo_config *config)
{
	const struct xo_tunnel *tunnel = xo_find_tunnel(id);
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;
	__u32 hash = bpf_get_hash_recalc(skb);
	__u32 length, largest, room, outer;
	/* The route decides on the addresses; these are only to be no group's. */
	struct ethhdr ethernet = {};

	/* Without a device there is no route. */
	if (!tunnel || !tunnel->device)
		return TC_ACT_SHOT;
	outer = tunnel->family == 4 ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH;
	room = outer + (tunnel->mode == XO_VXLAN ? sizeof(struct xo_vxlan_header) : 0);
	length = skb->len - packet->network;
	largest = skb->gso_size ? packet->headers - packet->network + skb->gso_size : length;
	if (largest + room > tunnel->mtu) {
		/* The kernel takes the room from the size of a segment. */
		if (!skb->gso_size || largest > tunnel->mtu) {
			XO_COUNT(too_big);
			return xo_answer_too_big(skb, packet, tunnel->mtu - room, config);
		}
		flags = 0;
	}
	if (xo_remove_tags(skb))
		return TC_ACT_SHOT;

	flags |= tunnel->family == 4 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
	if (tunnel->mode == XO_VXLAN)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH;
	if (bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, flags))
		return TC_ACT_SHOT;
	length += room;
	ethernet.h_proto = tunnel->family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	if (bpf_skb_store_bytes(skb, 0, &ethernet, sizeof(ethernet), 0) || xo_write_outer(skb, packet, tunnel, length, hash))
		return TC_ACT_SHOT;
	if (tunnel->mode == XO_VXLAN && xo_write_vxlan(skb, packet, tunnel, length - outer, hash, config))
		return TC_ACT_SHOT;
	return bpf_redirect_neigh(tunnel->device, NULL, 0, 0);
}

/* Sends the packet through a tunnel. */
static __always_inline int xo_steer_through(struct __sk_buff *skb, const struct xo_packet *packet, __u32 id)
{
	const struct xo_config *config = xo_config();
	int verdict = config ? xo_encapsulate(skb, packet, id, config) : TC_ACT_SHOT;

	if (verdict == TC_ACT_SHOT)
		XO_COUNT(dropped_tunnel);
	return verdict;
}

#endif
