// SPDX-License-Identifier: GPL-2.0
// The two network devices of a port, and the way of a frame between them.
#include "nic.h"

static void deliver(struct net_device *device, struct sk_buff *skb)
{
	unsigned int length = skb->len;

	if (dev_forward_skb(device, skb) == NET_RX_SUCCESS)
		dev_sw_netstats_rx_add(device, length);
}

// Out of the port, to whatever is on its wire.
void nic_transmit(struct nic_port *port, struct sk_buff *skb)
{
	deliver(port->wire, skb);
}

static netdev_tx_t host_start_xmit(struct sk_buff *skb, struct net_device *device)
{
	dev_sw_netstats_tx_add(device, 1, skb->len);
	nic_transmit(nic_port_of(device), skb);
	return NETDEV_TX_OK;
}

// From the network into the port: first the rules, then the host.
static netdev_tx_t wire_start_xmit(struct sk_buff *skb, struct net_device *device)
{
	struct nic_port *port = nic_port_of(device);
	struct nic_frame frame;
	struct nic_rule *rule;

	dev_sw_netstats_tx_add(device, 1, skb->len);
	rcu_read_lock();
	nic_parse(&frame, skb);
	rule = nic_table_match(port, &frame.key);
	if (rule == NULL) {
		atomic64_inc(&port->counters.missed_packets);
		deliver(port->host, skb);
	} else if (nic_execute(port, rule, &frame) == NIC_VERDICT_HOST) {
		deliver(port->host, skb);
	}
	rcu_read_unlock();
	return NETDEV_TX_OK;
}

static int device_init(struct net_device *device)
{
	device->tstats = netdev_alloc_pcpu_stats(struct pcpu_sw_netstats);
	return device->tstats == NULL ? -ENOMEM : 0;
}

static void device_uninit(struct net_device *device)
{
	free_percpu(device->tstats);
	device->tstats = NULL;
}

static int set_features(struct net_device *device, netdev_features_t features)
{
	bool goes_off = (device->features & NETIF_F_HW_TC) != 0 && (features & NETIF_F_HW_TC) == 0;

	if (goes_off && atomic_read(&nic_port_of(device)->table.by_cookie.nelems) > 0) {
		netdev_err(device, "Active offloaded tc filters, can't turn hw_tc_offload off\n");
		return -EBUSY;
	}
	return 0;
}

// In switchdev mode the ports of a NIC are those of one switch.
static int get_port_parent_id(struct net_device *device, struct netdev_phys_item_id *id)
{
	const struct nic *nic = nic_port_of(device)->nic;

	if (!nic_is_switchdev(nic))
		return -EOPNOTSUPP;
	id->id_len = sizeof(nic->id);
	memcpy(id->id, &nic->id, sizeof(nic->id));
	return 0;
}

static struct devlink_port *get_devlink_port(struct net_device *device)
{
	return &nic_port_of(device)->devlink_port;
}

static const struct net_device_ops host_ops = {
	.ndo_init = device_init,
	.ndo_uninit = device_uninit,
	.ndo_start_xmit = host_start_xmit,
	.ndo_get_stats64 = dev_get_tstats64,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_set_features = set_features,
	.ndo_setup_tc = nic_setup_tc,
	.ndo_get_port_parent_id = get_port_parent_id,
	.ndo_get_devlink_port = get_devlink_port,
};

static const struct net_device_ops wire_ops = {
	.ndo_init = device_init,
	.ndo_uninit = device_uninit,
	.ndo_start_xmit = wire_start_xmit,
	.ndo_get_stats64 = dev_get_tstats64,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
};

bool nic_is_host_device(const struct net_device *device)
{
	return device->netdev_ops == &host_ops;
}

static struct net_device *create_device(struct nic_port *port, const char *suffix, const struct net_device_ops *ops)
{
	char name[IFNAMSIZ];
	struct net_device *device;

	snprintf(name, sizeof(name), "xn%up%u%s", port->nic->id, port->id, suffix);
	device = alloc_netdev(sizeof(struct nic_device), name, NET_NAME_PREDICTABLE, ether_setup);
	if (device == NULL)
		return NULL;
	((struct nic_device *)netdev_priv(device))->port = port;
	device->netdev_ops = ops;
	device->max_mtu = 9600;
	// Frames come here as they would be on a wire: no longer than the MTU, with all checksums.
	device->features = NETIF_F_LLTX;
	device->priv_flags |= IFF_NO_QUEUE;
	eth_hw_addr_random(device);
	return device;
}

int nic_register_port(struct nic *nic, struct nic_port *port)
{
	int error;

	port->nic = nic;
	error = nic_table_init(&port->table);
	if (error != 0)
		return error;
	error = -ENOMEM;
	port->host = create_device(port, "", &host_ops);
	if (port->host == NULL)
		goto no_host;
	port->wire = create_device(port, "w", &wire_ops);
	if (port->wire == NULL)
		goto no_wire;
	port->host->features |= NETIF_F_HW_TC;
	port->host->hw_features |= NETIF_F_HW_TC;
	port->host->ethtool_ops = &nic_ethtool_ops;
	SET_NETDEV_DEV(port->host, &nic->parent->dev);
	error = register_netdev(port->wire);
	if (error != 0)
		goto no_wire_device;
	error = register_netdev(port->host);
	if (error != 0)
		goto no_host_device;
	error = nic_devlink_add_port(port);
	if (error != 0)
		goto no_devlink_port;
	return 0;

no_devlink_port:
	unregister_netdev(port->host);
no_host_device:
	unregister_netdev(port->wire);
no_wire_device:
	free_netdev(port->wire);
no_wire:
	free_netdev(port->host);
no_host:
	nic_table_destroy(&port->table);
	return error;
}

// The caller holds the RTNL. When the devices are gone, so are their qdiscs, and with these the rules.
void nic_queue_unregister(struct nic_port *port, struct list_head *devices)
{
	unregister_netdevice_queue(port->host, devices);
	unregister_netdevice_queue(port->wire, devices);
}
