// SPDX-License-Identifier: GPL-2.0
// What the ports say of themselves.
#include <linux/ethtool.h>
#include "nic.h"

static const struct {
	char name[ETH_GSTRING_LEN];
	size_t offset;
} counters[] = {
	{ "hw_rules_inserted", offsetof(struct nic_counters, inserted) },
	{ "hw_rules_removed", offsetof(struct nic_counters, removed) },
	{ "hw_rules_refused", offsetof(struct nic_counters, refused) },
	{ "hw_packets", offsetof(struct nic_counters, hit_packets) },
	{ "hw_bytes", offsetof(struct nic_counters, hit_bytes) },
	{ "hw_missed_packets", offsetof(struct nic_counters, missed_packets) },
	{ "hw_failed_packets", offsetof(struct nic_counters, failed_packets) },
};

static void get_drvinfo(struct net_device *device, struct ethtool_drvinfo *information)
{
	const struct nic_port *port = nic_port_of(device);

	strscpy(information->driver, nic_driver, sizeof(information->driver));
	strscpy(information->fw_version, nic_firmware, sizeof(information->fw_version));
	strscpy(information->bus_info, dev_name(&port->nic->parent->dev), sizeof(information->bus_info));
}

static int get_sset_count(struct net_device *device, int set)
{
	return set == ETH_SS_STATS ? ARRAY_SIZE(counters) : -EOPNOTSUPP;
}

static void get_strings(struct net_device *device, u32 set, u8 *text)
{
	for (size_t i = 0; set == ETH_SS_STATS && i < ARRAY_SIZE(counters); i++)
		memcpy(text + i * ETH_GSTRING_LEN, counters[i].name, ETH_GSTRING_LEN);
}

static void get_ethtool_stats(struct net_device *device, struct ethtool_stats *stats, u64 *values)
{
	const char *base = (const char *)&nic_port_of(device)->counters;

	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		values[i] = atomic64_read((const atomic64_t *)(base + counters[i].offset));
}

const struct ethtool_ops nic_ethtool_ops = {
	.get_drvinfo = get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_sset_count = get_sset_count,
	.get_strings = get_strings,
	.get_ethtool_stats = get_ethtool_stats,
};
