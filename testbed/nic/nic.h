/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtual NIC that offloads tc-flower rules, for tests without a card. A NIC has ports. A port is a pair of network devices: that
 * of the host, and the wire, on which the network sends to the port and hears what it sends. A frame from the wire passes the
 * port's table of rules before the host sees it, as in a real card.
 */
#ifndef XOFFLOAD_NIC_H
#define XOFFLOAD_NIC_H

#include <linux/atomic.h>
#include <linux/etherdevice.h>
#include <linux/hashtable.h>
#include <linux/ktime.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/rhashtable.h>
#include <linux/platform_device.h>
#include <net/devlink.h>
#include <net/dst_metadata.h>
#include <net/flow_offload.h>

#define NIC_MAX_ACTIONS 24
#define NIC_GROUP_BITS 10

/* The fields that rules can match. Compared as bytes: no padding, unused fields are zero. */
struct nic_key {
	u8 eth_dst[ETH_ALEN];
	u8 eth_src[ETH_ALEN];
	__be16 protocol; /* what the frame carries, behind a VLAN tag */
	__be16 vlan_tpid;
	__be16 vlan_tci;
	__be16 tcp_flags;
	__be16 source_port;
	__be16 destination_port;
	struct in6_addr source; /* an IPv4 address is in its first word */
	struct in6_addr destination;
	u8 ip_protocol;
	u8 is_fragment;
	u8 reserved[2];
};

/* A frame that was looked at. Offsets are from the Ethernet header; 0 when there is no such header. */
struct nic_frame {
	struct sk_buff *skb;
	struct nic_key key;
	unsigned int network;
	unsigned int transport;
};

enum nic_action_type {
	NIC_MANGLE,
	NIC_ADD,
	NIC_CHECKSUM,
	NIC_TUNNEL,
	NIC_REDIRECT,
	NIC_REDIRECT_TUNNEL,
	NIC_DROP,
	NIC_TO_HOST,
};

struct nic_action {
	enum nic_action_type type;
	union {
		struct {
			enum flow_action_mangle_base header;
			u32 offset;
			u32 mask; /* these bits stay */
			u32 value;
		} mangle;
		u32 checksum_flags;
		struct metadata_dst *tunnel;
		struct nic_port *port;
		int ifindex; /* in the namespace of the port that has the rule */
	};
};

/* The rules of a port with the same priority and mask. */
struct nic_group {
	struct list_head list; /* by priority */
	u32 priority;
	unsigned int rules;
	struct nic_key mask;
	struct rcu_head rcu;
	DECLARE_HASHTABLE(members, NIC_GROUP_BITS);
};

struct nic_rule {
	unsigned long cookie;
	struct rhash_head by_cookie;
	struct hlist_node member;
	struct nic_group *group; /* NULL when the card has lost the rule */
	struct nic_key key;
	struct nic_key mask;
	u32 priority;
	ktime_t active_from;
	atomic64_t packets; /* since they were last asked for */
	atomic64_t bytes;
	unsigned long last_used; /* jiffies */
	struct rcu_head rcu;
	unsigned int action_count;
	struct nic_action actions[NIC_MAX_ACTIONS];
};

struct nic_table {
	struct rhashtable by_cookie;
	struct list_head groups;
};

struct nic {
	/* Held during a command to the table, with its delay: commands of all ports wait for each other. */
	struct mutex lock;
	unsigned int id;
	unsigned int rules; /* in the tables of all ports */
	unsigned int port_count;
	struct nic_port *ports;
	struct platform_device *parent;
	struct devlink *devlink;
	struct list_head list;
};

/* Counted over the life of a port. Shown by ethtool -S. */
struct nic_counters {
	atomic64_t inserted;
	atomic64_t removed;
	atomic64_t refused;
	atomic64_t hit_packets;
	atomic64_t hit_bytes;
	atomic64_t missed_packets;
	atomic64_t failed_packets;
};

struct nic_port {
	struct nic *nic;
	unsigned int id;
	struct net_device *host;
	struct net_device *wire;
	struct devlink_port devlink_port;
	struct nic_table table;
	struct nic_counters counters;
};

struct nic_device {
	struct nic_port *port;
};

static inline struct nic_port *nic_port_of(const struct net_device *device)
{
	return ((struct nic_device *)netdev_priv(device))->port;
}

/* module.c */
void nic_reset_all(void);

/* knobs.c */
enum nic_message {
	NIC_TABLE_IS_FULL,
	NIC_NO_SUCH_FIELD,
	NIC_NO_SUCH_ACTION,
	NIC_NO_SUCH_HEADER,
	NIC_OTHER_DEVICE,
	NIC_NEEDS_CHECKSUM,
	NIC_TOO_MANY_ACTIONS,
};

extern char nic_driver[32];
extern char nic_firmware[32];
extern unsigned int nic_insert_delay_us;
extern unsigned int nic_remove_delay_us;
extern unsigned int nic_table_size;
extern int nic_activate_after_us;
extern bool nic_lose_counters;
extern bool nic_csum_required;
bool nic_is_nfp(void);
bool nic_refuses(const char *feature);
int nic_injected_failure(struct netlink_ext_ack *extack);
void nic_say(struct netlink_ext_ack *extack, enum nic_message message);

/* port.c */
int nic_register_port(struct nic *nic, struct nic_port *port);
void nic_queue_unregister(struct nic_port *port, struct list_head *devices);
bool nic_is_host_device(const struct net_device *device);
void nic_transmit(struct nic_port *port, struct sk_buff *skb);

/* devlink.c */
int nic_devlink_create(struct nic *nic);
void nic_devlink_destroy(struct nic *nic);
int nic_devlink_add_port(struct nic_port *port);
void nic_devlink_remove_port(struct nic_port *port);
bool nic_is_switchdev(const struct nic *nic);

/* ethtool.c */
extern const struct ethtool_ops nic_ethtool_ops;

/* flower.c */
int nic_setup_tc(struct net_device *device, enum tc_setup_type type, void *data);

/* rule.c */
struct nic_rule *nic_rule_create(struct nic_port *port, struct flow_cls_offload *command);
void nic_rule_free(struct nic_rule *rule);

/* table.c. The callers of those that change a table hold the NIC's lock. */
int nic_table_init(struct nic_table *table);
void nic_table_destroy(struct nic_table *table);
int nic_table_insert(struct nic_port *port, struct nic_rule *rule);
bool nic_table_remove(struct nic_port *port, unsigned long cookie);
void nic_table_reset(struct nic_port *port);
struct nic_rule *nic_table_find(struct nic_port *port, unsigned long cookie);
struct nic_rule *nic_table_match(struct nic_port *port, const struct nic_key *key);

/* frame.c */
enum nic_verdict { NIC_VERDICT_HOST, NIC_VERDICT_CONSUMED };
void nic_parse(struct nic_frame *frame, struct sk_buff *skb);
enum nic_verdict nic_execute(struct nic_port *port, struct nic_rule *rule, struct nic_frame *frame);

#endif
