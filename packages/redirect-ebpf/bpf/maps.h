/* SPDX-License-Identifier: MIT */
/* The maps that the programs of one redirector share. The layouts are mirrored in src/layout.ts. */
#ifndef XO_MAPS_H
#define XO_MAPS_H

#include "flow.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1048576);
	__type(key, struct xo_flow);
	__type(value, struct xo_rule);
} xo_flows_v3 SEC(".maps");

struct xo_config {
	__u32 device;
	__u32 tap;
	/* Not used here: what user space has to remember across a crash. */
	__u32 flags;
	/* The device's address. */
	__u8 mac[ETH_ALEN];
	__u8 unused[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xo_config);
} xo_config_v3 SEC(".maps");

struct xo_statistics {
	__u64 held_ingress;
	__u64 held_egress;
	__u64 dropped_resets;
	__u64 dropped_egress;
	__u64 released_ingress;
	__u64 released_egress;
	__u64 dropped_loops;
	__u64 too_big;
	__u64 dropped_tunnel;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xo_statistics);
} xo_stats_v3 SEC(".maps");

#define XO_COUNT(field)                                                                                                          \
	do {                                                                                                                     \
		__u32 zero = 0;                                                                                                  \
		struct xo_statistics *statistics = bpf_map_lookup_elem(&xo_stats_v3, &zero);                                     \
		if (statistics)                                                                                                  \
			__sync_fetch_and_add(&statistics->field, 1);                                                             \
	} while (0)

static __always_inline const struct xo_config *xo_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&xo_config_v3, &zero);
}

static __always_inline int xo_rule_is_of(const struct xo_rule *rule, const struct xo_flow *flow)
{
	return rule->check_client == flow->client[3] && rule->check_ports == *(const __be32 *)&flow->client_port;
}

#endif
