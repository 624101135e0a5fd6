/* SPDX-License-Identifier: MIT */
/* Flows, their rules and the packet parser, shared by every program of this package. The layouts are mirrored in src/layout.ts. */
#ifndef XO_FLOW_H
#define XO_FLOW_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define XO_HOLD 1
#define XO_STEER 2

/* The connection has ended: a SYN from the client deletes the rule. */
#define XO_FLAG_ENDED 1
/* The socket here is frozen and its state was taken: what it says is dropped, not held. */
#define XO_FLAG_SILENT 2
/* `epoch` and `handoff` say which handoff the rule belongs to. */
#define XO_FLAG_HANDOFF 4
/* The target is the host that steers the flow here: what it sends back must not go round for ever. */
#define XO_FLAG_RETURNING 8
/* The target is reached through a tunnel, not on this segment. */
#define XO_FLAG_TUNNEL 16

/* FlowKey.bytes: network byte order, an IPv4 address in its IPv4-mapped IPv6 form. */
struct xo_flow {
	__be32 client[4];
	__be32 service[4];
	__be16 client_port;
	__be16 service_port;
};

struct xo_rule {
	/* An update takes this lock and changes the rule in place (BPF_F_LOCK). Without it the table would link a new element and
	 * unlink the old one, and a lookup that is already walking the bucket could find neither. */
	struct bpf_spin_lock lock;
	__u8 action;
	__u8 flags;
	/* With XO_FLAG_TUNNEL: nothing in two bytes, and in four the key of the tunnel. */
	__u8 mac[ETH_ALEN];
	/* The last word of the client's address and both ports. The memory of a deleted element may be used again at once for
	 * another flow, while a program on another CPU still holds a pointer to it; this tells. */
	__be32 check_client;
	__be32 check_ports;
	/* Not used here: what user space has to remember across a crash. */
	__u32 epoch;
	__u64 handoff;
	__u64 packets;
	__u64 bytes;
	__u64 egress_packets;
	__u64 last_seen;
};

#define VLAN_HEADER_LENGTH 4
#define IPV4_HEADER_LENGTH 20
#define IPV6_HEADER_LENGTH 40
#define TCP_HEADER_LENGTH 20
/* Two VLAN tags and IPv6. */
#define HEADERS_MAX (ETH_HLEN + 2 * VLAN_HEADER_LENGTH + IPV6_HEADER_LENGTH + TCP_HEADER_LENGTH)

/* The TCP flags' byte. */
#define TCP_FLAGS_OFFSET 13
#define TCP_CHECKSUM_OFFSET 16
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct xo_packet {
	/* As if the client had sent it: the caller swaps for packets of the service. */
	struct xo_flow flow;
	/* From the Ethernet header to the end of the TCP header. */
	__u32 headers;
	/* Where the IP header starts, and which it is: 4 or 6. */
	__u32 network;
	__u8 family;
	/* DSCP and ECN. */
	__u8 traffic_class;
	__u8 tcp_flags;
	__be16 tcp_checksum;
	/* TCP header and payload, as the IP header says. */
	__u16 tcp_length;
};

enum xo_parsed {
	/* Plain TCP over IPv4 without options, or over IPv6 without extension headers, and no fragment. */
	XO_TCP,
	/* Not ours to touch. */
	XO_OTHER,
	/* The headers are not all in the linear part. */
	XO_SHORT,
};

static __always_inline int xo_is_vlan(__be16 protocol)
{
	return protocol == bpf_htons(ETH_P_8021Q) || protocol == bpf_htons(ETH_P_8021AD);
}

static __always_inline void xo_ipv4(__be32 *mapped, __be32 address)
{
	mapped[0] = 0;
	mapped[1] = 0;
	mapped[2] = bpf_htonl(0xffff);
	mapped[3] = address;
}

/* Reads the headers between `at`, which is `network` bytes into the packet, and `data_end`. With `reverse` the packet is the service's. */
static __always_inline enum xo_parsed xo_parse_network(const __u8 *at, const __u8 *data_end, __be16 protocol, __u32 network,
						       struct xo_packet *packet, int reverse)
{
	struct xo_flow *flow = &packet->flow;
	const __u8 *tcp;
	const __be16 *ports;

	packet->network = network;
	if (protocol == bpf_htons(ETH_P_IP)) {
		const struct iphdr *ip = (const struct iphdr *)at;

		packet->family = 4;
		tcp = at + sizeof(*ip);
		if (tcp > data_end)
			return XO_SHORT;
		packet->traffic_class = ip->tos;
		packet->tcp_length = bpf_ntohs(ip->tot_len) - IPV4_HEADER_LENGTH;
		/* Options, more fragments, or an offset. */
		if (*at != 0x45 || ip->protocol != IPPROTO_TCP || (ip->frag_off & bpf_htons(0x3fff)))
			return XO_OTHER;
		if (tcp + TCP_HEADER_LENGTH > data_end)
			return XO_SHORT;
		xo_ipv4(reverse ? flow->service : flow->client, ip->saddr);
		xo_ipv4(reverse ? flow->client : flow->service, ip->daddr);
	} else if (protocol == bpf_htons(ETH_P_IPV6)) {
		const struct ipv6hdr *ip = (const struct ipv6hdr *)at;
		const __be32 *source;

		packet->family = 6;
		tcp = at + sizeof(*ip);
		if (tcp > data_end)
			return XO_SHORT;
		if (ip->nexthdr != IPPROTO_TCP)
			return XO_OTHER;
		packet->traffic_class = at[0] << 4 | at[1] >> 4;
		packet->tcp_length = bpf_ntohs(ip->payload_len);
		if (tcp + TCP_HEADER_LENGTH > data_end)
			return XO_SHORT;
		source = (const __be32 *)&ip->saddr;
		/* IPv4-mapped addresses must not be on the wire (RFC 4291), and here they would mean an IPv4 flow. */
		if (!source[0] && !source[1] && source[2] == bpf_htonl(0xffff))
			return XO_OTHER;
		__builtin_memcpy(reverse ? flow->service : flow->client, source, 16);
		__builtin_memcpy(reverse ? flow->client : flow->service, source + 4, 16);
	} else {
		return XO_OTHER;
	}
	ports = (const __be16 *)tcp;
	flow->client_port = ports[reverse ? 1 : 0];
	flow->service_port = ports[reverse ? 0 : 1];
	packet->tcp_flags = tcp[TCP_FLAGS_OFFSET];
	packet->tcp_checksum = *(const __be16 *)(tcp + TCP_CHECKSUM_OFFSET);
	packet->headers = network + (packet->family == 4 ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH) + (tcp[12] >> 4) * 4;
	return XO_TCP;
}

/* The same from the Ethernet header, at `data`. */
static __always_inline enum xo_parsed xo_parse(const __u8 *data, const __u8 *data_end, struct xo_packet *packet, int reverse)
{
	const __u8 *at = data + ETH_HLEN;
	/* Counted beside the pointer: the kernel lets no program subtract pointers that was loaded without CAP_PERFMON. */
	__u32 network = ETH_HLEN;
	__be16 protocol;

	if (at > data_end)
		return XO_SHORT;
	protocol = ((const struct ethhdr *)data)->h_proto;
#pragma unroll
	for (int tag = 0; tag < 2; tag++) {
		if (!xo_is_vlan(protocol))
			break;
		if (at + VLAN_HEADER_LENGTH > data_end)
			return XO_SHORT;
		protocol = *(const __be16 *)(at + 2);
		at += VLAN_HEADER_LENGTH;
		network += VLAN_HEADER_LENGTH;
	}
	return xo_parse_network(at, data_end, protocol, network, packet, reverse);
}

static __always_inline __u16 xo_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u64 xo_pseudo_header(const struct xo_packet *packet)
{
	const struct xo_flow *flow = &packet->flow;
	__u64 sum = (__u64)flow->client[3] + flow->service[3] + bpf_htonl(packet->tcp_length) + bpf_htonl(IPPROTO_TCP);

	if (packet->family == 6)
		sum += (__u64)flow->client[0] + flow->client[1] + flow->client[2] + flow->service[0] + flow->service[1] + flow->service[2];
	return sum;
}

/*
 * Whether the checksum field has the sum of the pseudo header only (CHECKSUM_PARTIAL): the rest is left to the device that sends the
 * packet out, and only the kernel's own structure says so. Packets of hosts on the same machine are like that, and all that GRO has
 * merged. One right checksum of 65,536 looks the same.
 */
static __always_inline int xo_checksum_is_partial(const struct xo_packet *packet)
{
	return packet->tcp_checksum == xo_fold(xo_pseudo_header(packet));
}

#endif
