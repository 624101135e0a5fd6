// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Makes the link of one host bad, at the bridge's end of it: frames are lost, duplicated, and sent through a delay line.
 * faults_from_host is on the port's ingress, faults_to_host on its egress; a frame that is to wait goes to the TAP of its
 * direction, behind a struct faults_wait, and comes back without that through faults_return_*.
 *
 * What happens to a frame depends on the seed and on how many frames came before it in its direction, on nothing else.
 * The layouts are mirrored in src/faults/layout.ts.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#define FROM_HOST 0
#define TO_HOST 1
#define DIRECTIONS 2

/* Marks a frame whose fate has been decided: a copy, or one that has waited. A veth clears it on the way into a namespace. */
#define FAULTS_DECIDED 0x78666175

struct faults_config {
	__u64 seed;
	__u32 lost_per_million;
	__u32 duplicated_per_million;
	__u32 reordered_per_million;
	__u32 delay_microseconds;
	__u32 jitter_microseconds;
	/* How much longer than the others a reordered frame waits. */
	__u32 reorder_microseconds;
	/* The device that leads to the delay line. */
	__u32 tap;
	/* The port of the bridge. */
	__u32 port;
};

struct faults_state {
	struct bpf_spin_lock lock;
	__u32 padding;
	__u64 frames;
	__u64 lost;
	__u64 duplicated;
	__u64 reordered;
	/* Frames into the delay line and out of it, copies counted too. */
	__u64 delayed;
	__u64 released;
};

/* What goes before a frame on its way to the delay line. */
struct faults_wait {
	__u32 microseconds;
	/* Not 0: the frame leaves its place, and waits so much longer. */
	__u32 reorder_microseconds;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DIRECTIONS);
	__type(key, __u32);
	__type(value, struct faults_config);
} faults_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DIRECTIONS);
	__type(key, __u32);
	__type(value, struct faults_state);
} faults_state SEC(".maps");

/* What is drawn for each frame. */
enum draw { DRAW_LOSS, DRAW_DUPLICATE, DRAW_REORDER, DRAW_JITTER, DRAWS };

/* The finalizer of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014). */
static __always_inline __u64 mix(__u64 z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* A number from 0 to limit - 1. */
static __always_inline __u32 draw(__u64 seed, __u64 frame, enum draw which, __u32 limit)
{
	__u64 random = mix(mix(seed) + (frame * DRAWS + which + 1) * 0x9e3779b97f4a7c15ULL);

	return (random >> 32) * limit >> 32;
}

/* `back` are the flags that send a frame on in its direction. */
static __always_inline int decide(struct __sk_buff *skb, __u32 direction, __u64 back)
{
	struct faults_config *config = bpf_map_lookup_elem(&faults_config, &direction);
	struct faults_state *state = bpf_map_lookup_elem(&faults_state, &direction);
	int duplicated, reordered;
	__u64 frame;

	if (skb->mark == FAULTS_DECIDED) {
		skb->mark = 0;
		return TC_ACT_UNSPEC;
	}
	if (!config || !state)
		return TC_ACT_UNSPEC;
	bpf_spin_lock(&state->lock);
	frame = state->frames++;
	bpf_spin_unlock(&state->lock);

	if (draw(config->seed, frame, DRAW_LOSS, 1000000) < config->lost_per_million) {
		__sync_fetch_and_add(&state->lost, 1);
		return TC_ACT_SHOT;
	}
	duplicated = draw(config->seed, frame, DRAW_DUPLICATE, 1000000) < config->duplicated_per_million;
	reordered = draw(config->seed, frame, DRAW_REORDER, 1000000) < config->reordered_per_million;
	if (duplicated)
		__sync_fetch_and_add(&state->duplicated, 1);
	if (reordered)
		__sync_fetch_and_add(&state->reordered, 1);

	if (config->delay_microseconds || config->jitter_microseconds || reordered) {
		struct faults_wait wait = {
			.microseconds = config->delay_microseconds + draw(config->seed, frame, DRAW_JITTER, config->jitter_microseconds),
			.reorder_microseconds = reordered ? config->reorder_microseconds : 0,
		};

		if (bpf_skb_change_head(skb, sizeof(wait), 0) || bpf_skb_store_bytes(skb, 0, &wait, sizeof(wait), 0))
			return TC_ACT_SHOT;
		__sync_fetch_and_add(&state->delayed, 1 + duplicated);
		if (duplicated)
			bpf_clone_redirect(skb, config->tap, 0);
		return bpf_redirect(config->tap, 0);
	}
	if (duplicated) {
		skb->mark = FAULTS_DECIDED;
		bpf_clone_redirect(skb, config->port, back);
		skb->mark = 0;
	}
	return TC_ACT_UNSPEC;
}

static __always_inline int back_from_line(struct __sk_buff *skb, __u32 direction, __u64 back)
{
	struct faults_config *config = bpf_map_lookup_elem(&faults_config, &direction);
	struct faults_state *state = bpf_map_lookup_elem(&faults_state, &direction);

	if (!config || !state)
		return TC_ACT_SHOT;
	__sync_fetch_and_add(&state->released, 1);
	skb->mark = FAULTS_DECIDED;
	return bpf_redirect(config->port, back);
}

SEC("tc")
int faults_from_host(struct __sk_buff *skb)
{
	return decide(skb, FROM_HOST, BPF_F_INGRESS);
}

SEC("tc")
int faults_to_host(struct __sk_buff *skb)
{
	return decide(skb, TO_HOST, 0);
}

SEC("tc")
int faults_return_from_host(struct __sk_buff *skb)
{
	return back_from_line(skb, FROM_HOST, BPF_F_INGRESS);
}

SEC("tc")
int faults_return_to_host(struct __sk_buff *skb)
{
	return back_from_line(skb, TO_HOST, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
