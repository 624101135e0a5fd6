// SPDX-License-Identifier: GPL-2.0
// How the card behaves and misbehaves: the module's parameters, which can be written at any time.
#include <linux/module.h>
#include <linux/moduleparam.h>
#include "nic.h"

// A line, as echo writes it, without its end. An empty one is how a text is taken away: sysfs does not see an empty write.
static int line_set(const char *value, const struct kernel_param *parameter)
{
	char line[256];
	ssize_t length = strscpy(line, value, sizeof(line));

	if (length < 0)
		return -ENOSPC;
	if (length > 0 && line[length - 1] == '\n')
		line[length - 1] = 0;
	return param_set_copystring(line, parameter);
}

static const struct kernel_param_ops line_ops = { .set = line_set, .get = param_get_string };

#define LINE_PARAMETER(name, array)                                                                                    \
	static struct kparam_string line_##name = { sizeof(array), array };                                            \
	module_param_cb(name, &line_ops, &line_##name, 0644)

char nic_driver[32] = "mlx5_core";
LINE_PARAMETER(driver, nic_driver);
MODULE_PARM_DESC(driver, "the driver that the ports say they have (mlx5_core, nfp); its words are used for refusals");

char nic_firmware[32] = "16.35.4030 (XOF0000000001)";
LINE_PARAMETER(firmware, nic_firmware);
MODULE_PARM_DESC(firmware, "the firmware that the ports say they have");

unsigned int nic_insert_delay_us;
module_param_named(insert_delay_us, nic_insert_delay_us, uint, 0644);
MODULE_PARM_DESC(insert_delay_us, "microseconds that inserting a rule takes; one command at a time");

unsigned int nic_remove_delay_us;
module_param_named(remove_delay_us, nic_remove_delay_us, uint, 0644);
MODULE_PARM_DESC(remove_delay_us, "microseconds that removing a rule takes; one command at a time");

unsigned int nic_table_size = 65536;
module_param_named(table_size, nic_table_size, uint, 0644);
MODULE_PARM_DESC(table_size, "how many rules a NIC holds");

int nic_activate_after_us;
module_param_named(activate_after_us, nic_activate_after_us, int, 0644);
MODULE_PARM_DESC(activate_after_us, "microseconds from accepting a rule to executing it; -1 for never");

bool nic_lose_counters;
module_param_named(lose_counters, nic_lose_counters, bool, 0644);
MODULE_PARM_DESC(lose_counters, "rules are executed, but their counters do not move");

bool nic_csum_required;
module_param_named(csum_required, nic_csum_required, bool, 0644);
MODULE_PARM_DESC(csum_required, "refuse rules that rewrite IP or ports without csum, as nfp does");

static char refuse[256];
LINE_PARAMETER(refuse, refuse);
MODULE_PARM_DESC(refuse,
		 "what rules must not use, separated by commas: eth, vlan, ipv4, ipv6, ports, tcp_flags, fragment, "
		 "pedit_eth, pedit_ip, pedit_ports, csum, redirect, tunnel, drop");

static int fail_inserts;
module_param(fail_inserts, int, 0644);
MODULE_PARM_DESC(fail_inserts, "how many of the next insertions fail; -1 for all. Counts down");

static int fail_errno = EIO;
module_param(fail_errno, int, 0644);
MODULE_PARM_DESC(fail_errno, "the error number of those failures");

static char fail_message[256];
LINE_PARAMETER(fail_message, fail_message);
MODULE_PARM_DESC(fail_message, "the extack text of those failures; none when empty");

static DEFINE_MUTEX(failure_lock);

static int reset_set(const char *value, const struct kernel_param *parameter)
{
	nic_reset_all();
	return 0;
}

static const struct kernel_param_ops reset_ops = { .set = reset_set };
module_param_cb(reset, &reset_ops, NULL, 0200);
MODULE_PARM_DESC(reset, "writing makes all NICs lose all rules without telling the kernel, as a reset of the firmware does");

bool nic_refuses(const char *feature)
{
	size_t length = strlen(feature);

	for (const char *word = refuse; word != NULL; word = strchr(word, ',') ? strchr(word, ',') + 1 : NULL)
		// A comma, or the end of the text.
		if (strncmp(word, feature, length) == 0 && strchr(",", word[length]) != NULL)
			return true;
	return false;
}

int nic_injected_failure(struct netlink_ext_ack *extack)
{
	int error = 0;

	mutex_lock(&failure_lock);
	if (fail_inserts != 0) {
		error = -fail_errno;
		if (fail_inserts > 0)
			fail_inserts--;
	}
	mutex_unlock(&failure_lock);
	// The text is read when the system call ends; whoever changes it meanwhile changes it for that call too.
	if (error != 0 && extack != NULL && fail_message[0] != 0)
		extack->_msg = fail_message;
	return error;
}

// The words of the drivers themselves (mlx5 en_tc.c and en/tc/act, nfp flower/offload.c and action.c), but for the full table, which
// those leave to their firmware, and mlx5's csum, which it does not ask for.
static const struct {
	const char *mlx5;
	const char *nfp;
} messages[] = {
	[NIC_TABLE_IS_FULL] = { "mlx5_core: flow table is full", "nfp: flow table is full" },
	[NIC_NO_SUCH_FIELD] = { "mlx5_core: Unsupported key", "nfp: unsupported offload: match not supported" },
	[NIC_NO_SUCH_ACTION] = { "mlx5_core: The offload action is not supported",
				 "nfp: unsupported offload: unsupported action in action list" },
	[NIC_NO_SUCH_HEADER] = { "mlx5_core: The pedit offload action is not supported",
				 "nfp: unsupported offload: pedit on unsupported header" },
	[NIC_OTHER_DEVICE] = { "mlx5_core: devices are not on same switch HW, can't offload forwarding",
			       "nfp: unsupported offload: egress interface is not an nfp port" },
	[NIC_NEEDS_CHECKSUM] = { "mlx5_core: csum is missing",
				 "nfp: unsupported offload: set actions without updating checksums are not supported" },
	[NIC_TOO_MANY_ACTIONS] = { "mlx5_core: too many pedit actions, can't offload",
				   "nfp: unsupported offload: maximum allowed number of actions exceeded" },
};

bool nic_is_nfp(void)
{
	return strcmp(nic_driver, "nfp") == 0;
}

void nic_say(struct netlink_ext_ack *extack, enum nic_message message)
{
	if (extack != NULL)
		extack->_msg = nic_is_nfp() ? messages[message].nfp : messages[message].mlx5;
}
