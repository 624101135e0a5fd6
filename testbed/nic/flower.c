// SPDX-License-Identifier: GPL-2.0
// Commands that cls_flower gives to the port.
#include <linux/delay.h>
#include <net/pkt_cls.h>
#include "nic.h"

static LIST_HEAD(block_callbacks);

static void take_time(unsigned int microseconds)
{
	if (microseconds >= 10)
		usleep_range(microseconds, microseconds + 5);
	else
		udelay(microseconds);
}

static int insert(struct nic_port *port, struct flow_cls_offload *command)
{
	struct netlink_ext_ack *extack = command->common.extack;
	struct nic_rule *rule;
	int error;

	if (!tc_cls_can_offload_and_chain0(port->host, &command->common))
		return -EOPNOTSUPP;
	rule = nic_rule_create(port, command);
	if (IS_ERR(rule)) {
		atomic64_inc(&port->counters.refused);
		return PTR_ERR(rule);
	}
	mutex_lock(&port->nic->lock);
	take_time(nic_insert_delay_us);
	error = nic_injected_failure(extack);
	if (error == 0 && port->nic->rules >= nic_table_size) {
		nic_say(extack, NIC_TABLE_IS_FULL);
		error = -ENOSPC;
	}
	if (error == 0)
		error = nic_table_insert(port, rule);
	mutex_unlock(&port->nic->lock);
	if (error != 0)
		nic_rule_free(rule);
	atomic64_inc(error == 0 ? &port->counters.inserted : &port->counters.refused);
	return error;
}

// Also when offloading was switched off meanwhile: the kernel frees what the rule refers to.
static int destroy(struct nic_port *port, struct flow_cls_offload *command)
{
	bool found;

	mutex_lock(&port->nic->lock);
	take_time(nic_remove_delay_us);
	found = nic_table_remove(port, command->cookie);
	mutex_unlock(&port->nic->lock);
	if (found)
		atomic64_inc(&port->counters.removed);
	return found ? 0 : -ENOENT;
}

static int stats(struct nic_port *port, struct flow_cls_offload *command)
{
	struct nic_rule *rule;
	int error = -ENOENT;

	rcu_read_lock();
	rule = nic_table_find(port, command->cookie);
	if (rule != NULL) {
		error = 0;
		if (!nic_lose_counters)
			flow_stats_update(&command->stats, atomic64_xchg(&rule->bytes, 0),
					  atomic64_xchg(&rule->packets, 0), 0, READ_ONCE(rule->last_used),
					  FLOW_ACTION_HW_STATS_IMMEDIATE);
	}
	rcu_read_unlock();
	return error;
}

static int block_callback(enum tc_setup_type type, void *data, void *private)
{
	struct flow_cls_offload *command = data;

	if (type != TC_SETUP_CLSFLOWER)
		return -EOPNOTSUPP;
	switch (command->command) {
	case FLOW_CLS_REPLACE:
		return insert(private, command);
	case FLOW_CLS_DESTROY:
		return destroy(private, command);
	case FLOW_CLS_STATS:
		return stats(private, command);
	default:
		return -EOPNOTSUPP;
	}
}

int nic_setup_tc(struct net_device *device, enum tc_setup_type type, void *data)
{
	struct nic_port *port = nic_port_of(device);
	struct flow_block_offload *block = data;

	if (type != TC_SETUP_BLOCK)
		return -EOPNOTSUPP;
	// Commands come without the RTNL, as with mlx5: the NIC's own lock is what they wait for.
	block->unlocked_driver_cb = true;
	return flow_block_cb_setup_simple(block, &block_callbacks, block_callback, port, port, true);
}
