// SPDX-License-Identifier: GPL-2.0
// What devlink tells of a NIC: its driver and firmware, the mode of its embedded switch, how it steers, and its ports.
#include <linux/platform_device.h>
#include <net/devlink.h>
#include "nic.h"

struct nic_devlink {
	u16 eswitch_mode;
	char steering_mode[8];
};

static int info_get(struct devlink *devlink, struct devlink_info_req *request, struct netlink_ext_ack *extack)
{
	int error = devlink_info_driver_name_put(request, nic_driver);

	return error != 0 ? error : devlink_info_version_running_put(request, "fw", nic_firmware);
}

static int eswitch_mode_get(struct devlink *devlink, u16 *mode)
{
	*mode = ((struct nic_devlink *)devlink_priv(devlink))->eswitch_mode;
	return 0;
}

static int eswitch_mode_set(struct devlink *devlink, u16 mode, struct netlink_ext_ack *extack)
{
	((struct nic_devlink *)devlink_priv(devlink))->eswitch_mode = mode;
	return 0;
}

static const struct devlink_ops operations = {
	.info_get = info_get,
	.eswitch_mode_get = eswitch_mode_get,
	.eswitch_mode_set = eswitch_mode_set,
};

static int steering_mode_get(struct devlink *devlink, u32 id, struct devlink_param_gset_ctx *context)
{
	const struct nic_devlink *state = devlink_priv(devlink);

	if (nic_is_nfp())
		return -EOPNOTSUPP;
	strscpy(context->val.vstr, state->steering_mode, sizeof(context->val.vstr));
	return 0;
}

static int steering_mode_set(struct devlink *devlink, u32 id, struct devlink_param_gset_ctx *context)
{
	struct nic_devlink *state = devlink_priv(devlink);

	strscpy(state->steering_mode, context->val.vstr, sizeof(state->steering_mode));
	return 0;
}

static int steering_mode_validate(struct devlink *devlink, u32 id, union devlink_param_value value,
				  struct netlink_ext_ack *extack)
{
	if (strcmp(value.vstr, "dmfs") == 0 || strcmp(value.vstr, "smfs") == 0 || strcmp(value.vstr, "hmfs") == 0)
		return 0;
	NL_SET_ERR_MSG_MOD(extack, "the steering mode must be dmfs, smfs or hmfs");
	return -EINVAL;
}

static const struct devlink_param parameters[] = {
	DEVLINK_PARAM_DRIVER(DEVLINK_PARAM_GENERIC_ID_MAX + 1, "flow_steering_mode", DEVLINK_PARAM_TYPE_STRING,
			     BIT(DEVLINK_PARAM_CMODE_RUNTIME), steering_mode_get, steering_mode_set,
			     steering_mode_validate),
};

int nic_devlink_create(struct nic *nic)
{
	struct nic_devlink *state;
	int error;

	nic->parent = platform_device_register_simple("xoffload_nic", nic->id, NULL, 0);
	if (IS_ERR(nic->parent))
		return PTR_ERR(nic->parent);
	nic->devlink = devlink_alloc(&operations, sizeof(*state), &nic->parent->dev);
	if (nic->devlink == NULL) {
		platform_device_unregister(nic->parent);
		return -ENOMEM;
	}
	state = devlink_priv(nic->devlink);
	state->eswitch_mode = DEVLINK_ESWITCH_MODE_LEGACY;
	strscpy(state->steering_mode, "smfs", sizeof(state->steering_mode));
	error = devlink_params_register(nic->devlink, parameters, ARRAY_SIZE(parameters));
	if (error != 0) {
		devlink_free(nic->devlink);
		platform_device_unregister(nic->parent);
		return error;
	}
	devlink_register(nic->devlink);
	return 0;
}

void nic_devlink_destroy(struct nic *nic)
{
	devlink_unregister(nic->devlink);
	for (unsigned int i = 0; i < nic->port_count; i++)
		nic_devlink_remove_port(&nic->ports[i]);
	devlink_params_unregister(nic->devlink, parameters, ARRAY_SIZE(parameters));
	devlink_free(nic->devlink);
}

int nic_devlink_add_port(struct nic_port *port)
{
	int error = devlink_port_register(port->nic->devlink, &port->devlink_port, port->id);

	if (error == 0)
		devlink_port_type_eth_set(&port->devlink_port, port->host);
	return error;
}

void nic_devlink_remove_port(struct nic_port *port)
{
	devlink_port_type_clear(&port->devlink_port);
	devlink_port_unregister(&port->devlink_port);
}

bool nic_is_switchdev(const struct nic *nic)
{
	const struct nic_devlink *state = devlink_priv(nic->devlink);

	return state->eswitch_mode == DEVLINK_ESWITCH_MODE_SWITCHDEV;
}
