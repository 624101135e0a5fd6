// SPDX-License-Identifier: GPL-2.0
// What a frame holds, and what a rule does with it.
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tc_act/tc_csum.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/ip.h>
#include <net/ip6_checksum.h>
#include <net/ipv6.h>
#include <net/tcp.h>
#include "nic.h"

static void parse_transport(struct nic_frame *frame)
{
	if (frame->key.ip_protocol == IPPROTO_TCP) {
		struct tcphdr buffer, *tcp = skb_header_pointer(frame->skb, frame->transport, sizeof(buffer), &buffer);

		if (tcp == NULL)
			return;
		frame->key.source_port = tcp->source;
		frame->key.destination_port = tcp->dest;
		// Behind the ports and the two numbers, below the length of the header.
		frame->key.tcp_flags = ((const __be16 *)tcp)[6] & htons(0x0fff);
	} else if (frame->key.ip_protocol == IPPROTO_UDP) {
		struct udphdr buffer, *udp = skb_header_pointer(frame->skb, frame->transport, sizeof(buffer), &buffer);

		if (udp == NULL)
			return;
		frame->key.source_port = udp->source;
		frame->key.destination_port = udp->dest;
	}
}

static bool parse_ipv4(struct nic_frame *frame)
{
	struct iphdr buffer, *ip = skb_header_pointer(frame->skb, frame->network, sizeof(buffer), &buffer);

	if (ip == NULL || ip->ihl < 5)
		return false;
	frame->key.ip_protocol = ip->protocol;
	frame->key.source.s6_addr32[0] = ip->saddr;
	frame->key.destination.s6_addr32[0] = ip->daddr;
	frame->key.is_fragment = ip_is_fragment(ip);
	frame->transport = frame->network + ip->ihl * 4;
	return !frame->key.is_fragment;
}

static bool parse_ipv6(struct nic_frame *frame)
{
	struct ipv6hdr buffer, *ip = skb_header_pointer(frame->skb, frame->network, sizeof(buffer), &buffer);

	if (ip == NULL)
		return false;
	frame->key.ip_protocol = ip->nexthdr;
	frame->key.source = ip->saddr;
	frame->key.destination = ip->daddr;
	frame->key.is_fragment = ip->nexthdr == NEXTHDR_FRAGMENT;
	frame->transport = frame->network + sizeof(buffer);
	return !frame->key.is_fragment;
}

void nic_parse(struct nic_frame *frame, struct sk_buff *skb)
{
	const struct ethhdr *ethernet = (const struct ethhdr *)skb->data;
	struct vlan_hdr buffer, *tag;

	memset(frame, 0, sizeof(*frame));
	frame->skb = skb;
	ether_addr_copy(frame->key.eth_dst, ethernet->h_dest);
	ether_addr_copy(frame->key.eth_src, ethernet->h_source);
	frame->key.protocol = ethernet->h_proto;
	frame->network = ETH_HLEN;
	if (eth_type_vlan(ethernet->h_proto)) {
		tag = skb_header_pointer(skb, ETH_HLEN, sizeof(buffer), &buffer);
		if (tag == NULL)
			return;
		frame->key.vlan_tpid = ethernet->h_proto;
		frame->key.vlan_tci = tag->h_vlan_TCI & htons(VLAN_PRIO_MASK | VLAN_VID_MASK);
		frame->key.protocol = tag->h_vlan_encapsulated_proto;
		frame->network += VLAN_HLEN;
	}
	if (frame->key.protocol == htons(ETH_P_IP) ? parse_ipv4(frame) :
	    frame->key.protocol == htons(ETH_P_IPV6) && parse_ipv6(frame))
		parse_transport(frame);
}

static bool mangle(struct nic_frame *frame, const struct nic_action *action)
{
	unsigned int offset = action->mangle.offset;
	u32 word;

	switch (action->mangle.header) {
	case FLOW_ACT_MANGLE_HDR_TYPE_ETH:
		break;
	case FLOW_ACT_MANGLE_HDR_TYPE_IP4:
	case FLOW_ACT_MANGLE_HDR_TYPE_IP6:
		offset += frame->network;
		break;
	default:
		offset += frame->transport;
		break;
	}
	if (skb_copy_bits(frame->skb, offset, &word, sizeof(word)) != 0)
		return false;
	// As act_pedit computes it (net/sched/act_pedit.c).
	if (action->type == NIC_ADD)
		word = (word & action->mangle.mask) ^ ((word + action->mangle.value) & ~action->mangle.mask);
	else
		word = (word & action->mangle.mask) ^ action->mangle.value;
	return skb_store_bits(frame->skb, offset, &word, sizeof(word)) == 0;
}

static __sum16 pseudo_checksum(const struct nic_frame *frame, unsigned int length, __wsum sum)
{
	const void *header = frame->skb->data + frame->network;

	if (frame->key.protocol == htons(ETH_P_IPV6)) {
		const struct ipv6hdr *ip = header;

		return csum_ipv6_magic(&ip->saddr, &ip->daddr, length, frame->key.ip_protocol, sum);
	} else {
		const struct iphdr *ip = header;

		return csum_tcpudp_magic(ip->saddr, ip->daddr, length, frame->key.ip_protocol, sum);
	}
}

// Where the IP packet ends: a short frame is padded.
static unsigned int packet_end(const struct nic_frame *frame)
{
	const void *header = frame->skb->data + frame->network;

	if (frame->key.protocol == htons(ETH_P_IPV6))
		return frame->transport + ntohs(((const struct ipv6hdr *)header)->payload_len);
	return frame->network + ntohs(((const struct iphdr *)header)->tot_len);
}

static bool update_transport_checksum(struct nic_frame *frame, u32 flags)
{
	bool is_tcp = frame->key.ip_protocol == IPPROTO_TCP && (flags & TCA_CSUM_UPDATE_FLAG_TCP) != 0;
	bool is_udp = frame->key.ip_protocol == IPPROTO_UDP && (flags & TCA_CSUM_UPDATE_FLAG_UDP) != 0;
	unsigned int header = is_tcp ? sizeof(struct tcphdr) : sizeof(struct udphdr);
	unsigned int length = packet_end(frame) - frame->transport;
	__sum16 *field;

	if ((!is_tcp && !is_udp) || frame->key.is_fragment)
		return true;
	if (length < header || packet_end(frame) > frame->skb->len ||
	    skb_ensure_writable(frame->skb, frame->transport + header) != 0)
		return false;
	field = is_tcp ? &((struct tcphdr *)(frame->skb->data + frame->transport))->check :
			 &((struct udphdr *)(frame->skb->data + frame->transport))->check;
	if (is_udp && *field == 0)
		return true;
	*field = 0;
	*field = pseudo_checksum(frame, length, skb_checksum(frame->skb, frame->transport, length, 0));
	if (is_udp && *field == 0)
		*field = CSUM_MANGLED_0;
	return true;
}

static bool update_checksums(struct nic_frame *frame, u32 flags)
{
	if (frame->transport == 0)
		return true;
	if (skb_ensure_writable(frame->skb, frame->transport) != 0)
		return false;
	if (frame->key.protocol == htons(ETH_P_IP) && (flags & TCA_CSUM_UPDATE_FLAG_IPV4HDR) != 0)
		ip_send_check((struct iphdr *)(frame->skb->data + frame->network));
	return update_transport_checksum(frame, flags);
}

// The kernel's VXLAN device does what the card would: it puts the outer headers in front, and sends on the way to the tunnel's end.
static bool transmit_tunnel(struct nic_port *port, struct nic_frame *frame, int ifindex, struct metadata_dst *tunnel)
{
	struct net_device *device = dev_get_by_index_rcu(dev_net(port->host), ifindex);
	struct sk_buff *skb = frame->skb;

	if (device == NULL || tunnel == NULL)
		return false;
	skb_scrub_packet(skb, true);
	skb_dst_set(skb, dst_clone(&tunnel->dst));
	skb->dev = device;
	skb->protocol = ((const struct ethhdr *)skb->data)->h_proto;
	skb_reset_mac_header(skb);
	dev_queue_xmit(skb);
	return true;
}

static void count_hit(struct nic_port *port, struct nic_rule *rule, const struct nic_frame *frame)
{
	// Cards count without the Ethernet header.
	unsigned int bytes = frame->skb->len - ETH_HLEN;

	atomic64_inc(&rule->packets);
	atomic64_add(bytes, &rule->bytes);
	WRITE_ONCE(rule->last_used, jiffies);
	atomic64_inc(&port->counters.hit_packets);
	atomic64_add(bytes, &port->counters.hit_bytes);
}

enum nic_verdict nic_execute(struct nic_port *port, struct nic_rule *rule, struct nic_frame *frame)
{
	struct metadata_dst *tunnel = NULL;
	bool ok = true;

	count_hit(port, rule, frame);
	for (unsigned int i = 0; ok && i < rule->action_count; i++) {
		const struct nic_action *action = &rule->actions[i];

		switch (action->type) {
		case NIC_MANGLE:
		case NIC_ADD:
			ok = mangle(frame, action);
			break;
		case NIC_CHECKSUM:
			ok = update_checksums(frame, action->checksum_flags);
			break;
		case NIC_TUNNEL:
			tunnel = action->tunnel;
			break;
		case NIC_REDIRECT:
			nic_transmit(action->port, frame->skb);
			return NIC_VERDICT_CONSUMED;
		case NIC_REDIRECT_TUNNEL:
			ok = transmit_tunnel(port, frame, action->ifindex, tunnel);
			if (ok)
				return NIC_VERDICT_CONSUMED;
			break;
		case NIC_DROP:
			kfree_skb(frame->skb);
			return NIC_VERDICT_CONSUMED;
		case NIC_TO_HOST:
			return NIC_VERDICT_HOST;
		}
	}
	if (ok)
		return NIC_VERDICT_HOST;
	atomic64_inc(&port->counters.failed_packets);
	kfree_skb(frame->skb);
	return NIC_VERDICT_CONSUMED;
}
