// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>
#include <linux/rtnetlink.h>
#include "nic.h"

static unsigned int nic_count = 1;
module_param_named(nics, nic_count, uint, 0444);
MODULE_PARM_DESC(nics, "how many NICs");

static unsigned int port_count = 2;
module_param_named(ports, port_count, uint, 0444);
MODULE_PARM_DESC(ports, "how many ports a NIC has");

#define MAX_NICS 8
#define MAX_PORTS 8

static LIST_HEAD(nics);
// Of the list, against a reset while the module comes and goes.
static DEFINE_MUTEX(nics_lock);

static void destroy_nic(struct nic *nic)
{
	LIST_HEAD(devices);

	nic_devlink_destroy(nic);
	rtnl_lock();
	for (unsigned int i = 0; i < nic->port_count; i++)
		nic_queue_unregister(&nic->ports[i], &devices);
	unregister_netdevice_many(&devices);
	rtnl_unlock();
	for (unsigned int i = 0; i < nic->port_count; i++) {
		nic_table_destroy(&nic->ports[i].table);
		free_netdev(nic->ports[i].host);
		free_netdev(nic->ports[i].wire);
	}
	platform_device_unregister(nic->parent);
	mutex_destroy(&nic->lock);
	kfree(nic->ports);
	kfree(nic);
}

static int create_ports(struct nic *nic)
{
	for (; nic->port_count < port_count; nic->port_count++) {
		struct nic_port *port = &nic->ports[nic->port_count];
		int error;

		port->id = nic->port_count;
		error = nic_register_port(nic, port);
		if (error != 0)
			return error;
	}
	return 0;
}

static int create_nic(unsigned int id)
{
	struct nic *nic = kzalloc(sizeof(*nic), GFP_KERNEL);
	int error = -ENOMEM;

	if (nic == NULL)
		return error;
	nic->id = id;
	mutex_init(&nic->lock);
	nic->ports = kcalloc(port_count, sizeof(*nic->ports), GFP_KERNEL);
	if (nic->ports == NULL)
		goto no_ports;
	error = nic_devlink_create(nic);
	if (error != 0)
		goto no_devlink;
	error = create_ports(nic);
	if (error != 0) {
		destroy_nic(nic);
		return error;
	}
	mutex_lock(&nics_lock);
	list_add_tail(&nic->list, &nics);
	mutex_unlock(&nics_lock);
	return 0;

no_devlink:
	kfree(nic->ports);
no_ports:
	kfree(nic);
	return error;
}

static void destroy_nics(void)
{
	struct nic *nic, *next;

	mutex_lock(&nics_lock);
	list_for_each_entry_safe(nic, next, &nics, list) {
		list_del(&nic->list);
		destroy_nic(nic);
	}
	mutex_unlock(&nics_lock);
	// Rules are freed after a grace period, by this module's code.
	rcu_barrier();
}

void nic_reset_all(void)
{
	struct nic *nic;

	mutex_lock(&nics_lock);
	list_for_each_entry(nic, &nics, list) {
		mutex_lock(&nic->lock);
		for (unsigned int i = 0; i < nic->port_count; i++)
			nic_table_reset(&nic->ports[i]);
		mutex_unlock(&nic->lock);
	}
	mutex_unlock(&nics_lock);
}

static int __init nic_module_init(void)
{
	if (nic_count < 1 || nic_count > MAX_NICS || port_count < 1 || port_count > MAX_PORTS)
		return -EINVAL;
	for (unsigned int id = 0; id < nic_count; id++) {
		int error = create_nic(id);

		if (error != 0) {
			destroy_nics();
			return error;
		}
	}
	return 0;
}

static void __exit nic_module_exit(void)
{
	destroy_nics();
}

module_init(nic_module_init);
module_exit(nic_module_exit);
MODULE_DESCRIPTION("Virtual NIC that offloads tc-flower rules");
MODULE_LICENSE("GPL");
