// SPDX-License-Identifier: GPL-2.0
// A port's rules: found by what they match, and by the cookie that the kernel knows them by. Readers hold the RCU lock.
#include <linux/jhash.h>
#include <linux/rculist.h>
#include "nic.h"

static const struct rhashtable_params cookie_parameters = {
	.head_offset = offsetof(struct nic_rule, by_cookie),
	.key_offset = offsetof(struct nic_rule, cookie),
	.key_len = sizeof_field(struct nic_rule, cookie),
	.automatic_shrinking = true,
};

int nic_table_init(struct nic_table *table)
{
	BUILD_BUG_ON(sizeof(struct nic_key) % sizeof(u32) != 0);
	INIT_LIST_HEAD(&table->groups);
	return rhashtable_init(&table->by_cookie, &cookie_parameters);
}

static void free_rule(void *rule, void *unused)
{
	nic_rule_free(rule);
}

// Nobody uses the table any more. Its rules went with the qdisc that they came from.
void nic_table_destroy(struct nic_table *table)
{
	struct nic_group *group, *next;

	list_for_each_entry_safe(group, next, &table->groups, list) {
		list_del(&group->list);
		kvfree(group);
	}
	rhashtable_free_and_destroy(&table->by_cookie, free_rule, NULL);
}

static void masked(struct nic_key *result, const struct nic_key *key, const struct nic_key *mask)
{
	for (size_t i = 0; i < sizeof(*key) / sizeof(u32); i++)
		((u32 *)result)[i] = ((const u32 *)key)[i] & ((const u32 *)mask)[i];
}

static u32 hash_of(const struct nic_key *key)
{
	return jhash2((const u32 *)key, sizeof(*key) / sizeof(u32), 0);
}

static struct nic_group *find_or_add_group(struct nic_table *table, const struct nic_rule *rule)
{
	struct nic_group *group, *added;
	struct list_head *before = &table->groups;

	list_for_each_entry(group, &table->groups, list) {
		if (group->priority == rule->priority && memcmp(&group->mask, &rule->mask, sizeof(rule->mask)) == 0)
			return group;
		if (group->priority > rule->priority && before == &table->groups)
			before = &group->list;
	}
	added = kvzalloc(sizeof(*added), GFP_KERNEL);
	if (added == NULL)
		return NULL;
	added->priority = rule->priority;
	added->mask = rule->mask;
	list_add_tail_rcu(&added->list, before);
	return added;
}

static void leave_group(struct nic_port *port, struct nic_rule *rule)
{
	struct nic_group *group = rule->group;

	if (group == NULL)
		return;
	hash_del_rcu(&rule->member);
	rule->group = NULL;
	port->nic->rules--;
	group->rules--;
	if (group->rules == 0) {
		list_del_rcu(&group->list);
		kvfree_rcu(group, rcu);
	}
}

int nic_table_insert(struct nic_port *port, struct nic_rule *rule)
{
	struct nic_key key;
	int error;

	masked(&key, &rule->key, &rule->mask);
	rule->key = key;
	rule->active_from = nic_activate_after_us < 0 ? KTIME_MAX : ktime_add_us(ktime_get(), nic_activate_after_us);
	rule->last_used = jiffies;
	error = rhashtable_lookup_insert_fast(&port->table.by_cookie, &rule->by_cookie, cookie_parameters);
	if (error != 0)
		return error;
	rule->group = find_or_add_group(&port->table, rule);
	if (rule->group == NULL) {
		rhashtable_remove_fast(&port->table.by_cookie, &rule->by_cookie, cookie_parameters);
		return -ENOMEM;
	}
	// In front: a rule that replaces another comes before that one has gone.
	hash_add_rcu(rule->group->members, &rule->member, hash_of(&rule->key));
	rule->group->rules++;
	port->nic->rules++;
	return 0;
}

static void free_after_grace_period(struct rcu_head *head)
{
	nic_rule_free(container_of(head, struct nic_rule, rcu));
}

bool nic_table_remove(struct nic_port *port, unsigned long cookie)
{
	struct nic_rule *rule = nic_table_find(port, cookie);

	if (rule == NULL)
		return false;
	rhashtable_remove_fast(&port->table.by_cookie, &rule->by_cookie, cookie_parameters);
	leave_group(port, rule);
	call_rcu(&rule->rcu, free_after_grace_period);
	return true;
}

// The card forgets what it does, but the kernel still has all rules, and will remove them.
void nic_table_reset(struct nic_port *port)
{
	struct nic_group *group, *next;

	list_for_each_entry_safe(group, next, &port->table.groups, list) {
		struct hlist_node *following;
		struct nic_rule *rule;
		int bucket;

		// The last rule to leave takes the group with it.
		group->rules++;
		hash_for_each_safe(group->members, bucket, following, rule, member)
			leave_group(port, rule);
		list_del_rcu(&group->list);
		kvfree_rcu(group, rcu);
	}
}

struct nic_rule *nic_table_find(struct nic_port *port, unsigned long cookie)
{
	return rhashtable_lookup_fast(&port->table.by_cookie, &cookie, cookie_parameters);
}

struct nic_rule *nic_table_match(struct nic_port *port, const struct nic_key *key)
{
	struct nic_group *group;

	list_for_each_entry_rcu(group, &port->table.groups, list) {
		struct nic_rule *rule;
		struct nic_key wanted;

		masked(&wanted, key, &group->mask);
		hash_for_each_possible_rcu(group->members, rule, member, hash_of(&wanted)) {
			if (memcmp(&rule->key, &wanted, sizeof(wanted)) == 0 &&
			    ktime_compare(ktime_get(), rule->active_from) >= 0)
				return rule;
		}
	}
	return NULL;
}
