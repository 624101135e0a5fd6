// SPDX-License-Identifier: GPL-2.0
// From the kernel's description of a rule to the card's own, or to a reason why not.
#include <linux/tc_act/tc_csum.h>
#include <net/pkt_cls.h>
#include <net/vxlan.h>
#include "nic.h"

#define KNOWN_KEYS                                                                                                     \
	(BIT(FLOW_DISSECTOR_KEY_CONTROL) | BIT(FLOW_DISSECTOR_KEY_BASIC) | BIT(FLOW_DISSECTOR_KEY_ETH_ADDRS) |         \
	 BIT(FLOW_DISSECTOR_KEY_VLAN) | BIT(FLOW_DISSECTOR_KEY_IPV4_ADDRS) | BIT(FLOW_DISSECTOR_KEY_IPV6_ADDRS) |      \
	 BIT(FLOW_DISSECTOR_KEY_PORTS) | BIT(FLOW_DISSECTOR_KEY_TCP))

// What a rule uses of what it matches, by its name in the "refuse" knob.
static const char *const key_names[] = {
	[FLOW_DISSECTOR_KEY_ETH_ADDRS] = "eth",
	[FLOW_DISSECTOR_KEY_VLAN] = "vlan",
	[FLOW_DISSECTOR_KEY_PORTS] = "ports",
	[FLOW_DISSECTOR_KEY_TCP] = "tcp_flags",
};

static int refuse(struct netlink_ext_ack *extack, enum nic_message message)
{
	nic_say(extack, message);
	return -EOPNOTSUPP;
}

static void take_addresses(struct nic_rule *rule, const struct flow_rule *from, u16 type)
{
	// An IPv4 rule uses the IPv6 key too: they are in one place in cls_flower. Only the type tells.
	if (type == FLOW_DISSECTOR_KEY_IPV4_ADDRS) {
		struct flow_match_ipv4_addrs match;

		flow_rule_match_ipv4_addrs(from, &match);
		rule->key.source.s6_addr32[0] = match.key->src;
		rule->mask.source.s6_addr32[0] = match.mask->src;
		rule->key.destination.s6_addr32[0] = match.key->dst;
		rule->mask.destination.s6_addr32[0] = match.mask->dst;
	} else if (type == FLOW_DISSECTOR_KEY_IPV6_ADDRS) {
		struct flow_match_ipv6_addrs match;

		flow_rule_match_ipv6_addrs(from, &match);
		rule->key.source = match.key->src;
		rule->mask.source = match.mask->src;
		rule->key.destination = match.key->dst;
		rule->mask.destination = match.mask->dst;
	}
}

static void take_link(struct nic_rule *rule, const struct flow_rule *from)
{
	if (flow_rule_match_key(from, FLOW_DISSECTOR_KEY_ETH_ADDRS)) {
		struct flow_match_eth_addrs match;

		flow_rule_match_eth_addrs(from, &match);
		ether_addr_copy(rule->key.eth_dst, match.key->dst);
		ether_addr_copy(rule->mask.eth_dst, match.mask->dst);
		ether_addr_copy(rule->key.eth_src, match.key->src);
		ether_addr_copy(rule->mask.eth_src, match.mask->src);
	}
	if (flow_rule_match_key(from, FLOW_DISSECTOR_KEY_VLAN)) {
		struct flow_match_vlan match;

		flow_rule_match_vlan(from, &match);
		rule->key.vlan_tpid = match.key->vlan_tpid;
		rule->mask.vlan_tpid = match.mask->vlan_tpid;
		rule->key.vlan_tci = htons(match.key->vlan_id | match.key->vlan_priority << VLAN_PRIO_SHIFT);
		rule->mask.vlan_tci = htons(match.mask->vlan_id | match.mask->vlan_priority << VLAN_PRIO_SHIFT);
	} else if (rule->mask.protocol != 0) {
		// As in software, and as mlx5 has it: "protocol ip" is what follows the MAC addresses.
		rule->mask.vlan_tpid = htons(0xffff);
	}
}

static void take_transport(struct nic_rule *rule, const struct flow_rule *from)
{
	if (flow_rule_match_key(from, FLOW_DISSECTOR_KEY_PORTS)) {
		struct flow_match_ports match;

		flow_rule_match_ports(from, &match);
		rule->key.source_port = match.key->src;
		rule->mask.source_port = match.mask->src;
		rule->key.destination_port = match.key->dst;
		rule->mask.destination_port = match.mask->dst;
	}
	if (flow_rule_match_key(from, FLOW_DISSECTOR_KEY_TCP)) {
		struct flow_match_tcp match;

		flow_rule_match_tcp(from, &match);
		rule->key.tcp_flags = match.key->flags;
		rule->mask.tcp_flags = match.mask->flags;
	}
}

static int take_match(struct nic_rule *rule, const struct flow_rule *from, struct netlink_ext_ack *extack)
{
	u32 used = from->match.dissector->used_keys;
	struct flow_match_control control;
	struct flow_match_basic basic;

	if ((used & ~KNOWN_KEYS) != 0)
		return refuse(extack, NIC_NO_SUCH_FIELD);
	for (size_t i = 0; i < ARRAY_SIZE(key_names); i++)
		if (key_names[i] != NULL && (used & BIT(i)) != 0 && nic_refuses(key_names[i]))
			return refuse(extack, NIC_NO_SUCH_FIELD);
	if (flow_rule_match_key(from, FLOW_DISSECTOR_KEY_CONTROL)) {
		flow_rule_match_control(from, &control);
		if ((control.mask->flags & ~FLOW_DIS_IS_FRAGMENT) != 0)
			return refuse(extack, NIC_NO_SUCH_FIELD);
		if (control.mask->flags != 0 && nic_refuses("fragment"))
			return refuse(extack, NIC_NO_SUCH_FIELD);
		rule->key.is_fragment = (control.key->flags & FLOW_DIS_IS_FRAGMENT) != 0;
		rule->mask.is_fragment = (control.mask->flags & FLOW_DIS_IS_FRAGMENT) != 0;
		take_addresses(rule, from, control.key->addr_type);
	}
	if (flow_rule_match_key(from, FLOW_DISSECTOR_KEY_BASIC)) {
		flow_rule_match_basic(from, &basic);
		rule->key.protocol = basic.key->n_proto;
		rule->mask.protocol = basic.mask->n_proto;
		rule->key.ip_protocol = basic.key->ip_proto;
		rule->mask.ip_protocol = basic.mask->ip_proto;
		if (basic.key->n_proto == htons(ETH_P_IP) && nic_refuses("ipv4"))
			return refuse(extack, NIC_NO_SUCH_FIELD);
		if (basic.key->n_proto == htons(ETH_P_IPV6) && nic_refuses("ipv6"))
			return refuse(extack, NIC_NO_SUCH_FIELD);
	}
	take_link(rule, from);
	take_transport(rule, from);
	return 0;
}

static int take_mangle(struct nic_action *action, const struct flow_action_entry *entry, struct netlink_ext_ack *extack)
{
	const char *feature;

	switch (entry->mangle.htype) {
	case FLOW_ACT_MANGLE_HDR_TYPE_ETH:
		feature = "pedit_eth";
		break;
	case FLOW_ACT_MANGLE_HDR_TYPE_IP4:
	case FLOW_ACT_MANGLE_HDR_TYPE_IP6:
		feature = "pedit_ip";
		break;
	case FLOW_ACT_MANGLE_HDR_TYPE_TCP:
	case FLOW_ACT_MANGLE_HDR_TYPE_UDP:
		feature = "pedit_ports";
		break;
	default:
		return refuse(extack, NIC_NO_SUCH_HEADER);
	}
	if (nic_refuses(feature))
		return refuse(extack, NIC_NO_SUCH_HEADER);
	action->type = entry->id == FLOW_ACTION_ADD ? NIC_ADD : NIC_MANGLE;
	action->mangle.header = entry->mangle.htype;
	action->mangle.offset = entry->mangle.offset;
	action->mangle.mask = entry->mangle.mask;
	action->mangle.value = entry->mangle.val;
	return 0;
}

static int take_tunnel(struct nic_action *action, const struct flow_action_entry *entry, struct netlink_ext_ack *extack)
{
	const struct ip_tunnel_info *from = entry->tunnel;
	struct metadata_dst *tunnel;

	if (nic_refuses("tunnel") || from->options_len > 0)
		return refuse(extack, NIC_NO_SUCH_ACTION);
	tunnel = metadata_dst_alloc(0, METADATA_IP_TUNNEL, GFP_KERNEL);
	if (tunnel == NULL)
		return -ENOMEM;
	tunnel->u.tun_info.key = from->key;
	tunnel->u.tun_info.mode = IP_TUNNEL_INFO_TX | (from->mode & IP_TUNNEL_INFO_IPV6);
	action->type = NIC_TUNNEL;
	action->tunnel = tunnel;
	return 0;
}

static int take_redirect(struct nic_port *port, const struct nic_rule *rule, struct nic_action *action,
			 const struct net_device *device, struct netlink_ext_ack *extack)
{
	bool has_tunnel = false;

	if (nic_refuses("redirect"))
		return refuse(extack, NIC_NO_SUCH_ACTION);
	for (unsigned int i = 0; i < rule->action_count; i++)
		has_tunnel |= rule->actions[i].type == NIC_TUNNEL;
	if (has_tunnel) {
		if (!netif_is_vxlan(device))
			return refuse(extack, NIC_OTHER_DEVICE);
		action->type = NIC_REDIRECT_TUNNEL;
		// Not a reference: nobody would tell this module that the device is to go.
		action->ifindex = device->ifindex;
		return 0;
	}
	if (!nic_is_host_device(device) || nic_port_of(device)->nic != port->nic)
		return refuse(extack, NIC_OTHER_DEVICE);
	action->type = NIC_REDIRECT;
	action->port = nic_port_of(device);
	return 0;
}

static int take_action(struct nic_port *port, struct nic_rule *rule, const struct flow_action_entry *entry,
		       struct netlink_ext_ack *extack)
{
	struct nic_action *action = &rule->actions[rule->action_count];

	switch (entry->id) {
	case FLOW_ACTION_MANGLE:
	case FLOW_ACTION_ADD:
		return take_mangle(action, entry, extack);
	case FLOW_ACTION_CSUM:
		action->type = NIC_CHECKSUM;
		action->checksum_flags = entry->csum_flags;
		return nic_refuses("csum") ? refuse(extack, NIC_NO_SUCH_ACTION) : 0;
	case FLOW_ACTION_TUNNEL_ENCAP:
		return take_tunnel(action, entry, extack);
	case FLOW_ACTION_REDIRECT:
		return take_redirect(port, rule, action, entry->dev, extack);
	case FLOW_ACTION_DROP:
		action->type = NIC_DROP;
		return nic_refuses("drop") ? refuse(extack, NIC_NO_SUCH_ACTION) : 0;
	case FLOW_ACTION_ACCEPT:
		action->type = NIC_TO_HOST;
		return 0;
	default:
		return refuse(extack, NIC_NO_SUCH_ACTION);
	}
}

static bool lacks_checksum(const struct nic_rule *rule)
{
	bool needs = false, has = false;

	for (unsigned int i = 0; i < rule->action_count; i++) {
		const struct nic_action *action = &rule->actions[i];

		if (action->type == NIC_MANGLE || action->type == NIC_ADD)
			needs |= action->mangle.header != FLOW_ACT_MANGLE_HDR_TYPE_ETH;
		has |= action->type == NIC_CHECKSUM;
	}
	return needs && !has;
}

static int take_actions(struct nic_port *port, struct nic_rule *rule, const struct flow_rule *from,
			struct netlink_ext_ack *extack)
{
	const struct flow_action_entry *entry;
	int i;

	if (!flow_action_basic_hw_stats_check(&from->action, extack))
		return -EOPNOTSUPP;
	flow_action_for_each(i, entry, &from->action) {
		int error;

		if (rule->action_count == NIC_MAX_ACTIONS)
			return refuse(extack, NIC_TOO_MANY_ACTIONS);
		error = take_action(port, rule, entry, extack);
		if (error != 0)
			return error;
		rule->action_count++;
	}
	return nic_csum_required && lacks_checksum(rule) ? refuse(extack, NIC_NEEDS_CHECKSUM) : 0;
}

struct nic_rule *nic_rule_create(struct nic_port *port, struct flow_cls_offload *command)
{
	const struct flow_rule *from = flow_cls_offload_flow_rule(command);
	struct netlink_ext_ack *extack = command->common.extack;
	struct nic_rule *rule = kzalloc(sizeof(*rule), GFP_KERNEL);
	int error;

	if (rule == NULL)
		return ERR_PTR(-ENOMEM);
	rule->cookie = command->cookie;
	rule->priority = command->common.prio;
	error = take_match(rule, from, extack);
	if (error == 0)
		error = take_actions(port, rule, from, extack);
	if (error != 0) {
		nic_rule_free(rule);
		return ERR_PTR(error);
	}
	return rule;
}

void nic_rule_free(struct nic_rule *rule)
{
	for (unsigned int i = 0; i < rule->action_count; i++)
		if (rule->actions[i].type == NIC_TUNNEL)
			dst_release(&rule->actions[i].tunnel->dst);
	kfree(rule);
}
