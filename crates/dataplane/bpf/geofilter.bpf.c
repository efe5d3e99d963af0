/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The programs. Each describes its frame and reads the control word once. Those for packets that arrive
 * drop what gf_judge() says: the lines that drop a packet are the XDP_DROP and TC_ACT_SHOT below. Those
 * for packets that leave only learn.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "decide.h"
#include "track.h"

char gf_license[] SEC("license") = "Dual MIT/GPL";

/* The control word, and the bank that is in force by it. */
static __always_inline const struct gf_bank *gf_in_force(__u64 *word)
{
	__u32 zero = 0;
	const volatile struct gf_control *control = bpf_map_lookup_elem(&gf_control, &zero);

	if (!control)
		return NULL;
	*word = control->word;
	return gf_get_bank(*word);
}

__noinline __u64 gf_find_xdp(struct xdp_md *ctx)
{
	struct gf_frame frame = gf_describe_xdp(ctx);

	return gf_find_in_ethernet(&frame);
}

__noinline __u64 gf_find_tc(struct __sk_buff *skb)
{
	struct gf_frame frame = gf_describe_skb(skb);

	return gf_find_in_ethernet(&frame);
}

__noinline __u64 gf_find_tc_l3(struct __sk_buff *skb)
{
	struct gf_frame frame = gf_describe_skb(skb);

	return gf_find_in_ip(&frame, 0, skb->protocol);
}

SEC("xdp")
int gf_xdp(struct xdp_md *ctx)
{
	struct gf_frame frame = gf_describe_xdp(ctx);
	struct gf_packet packet = {};
	const struct gf_bank *bank;
	__u64 word;

	bank = gf_in_force(&word);
	if (!bank)
		return XDP_PASS;
	if (!gf_read_plain(&frame, GF_ARRIVES, &packet))
		gf_read_packet(&frame, gf_find_xdp(ctx), GF_ARRIVES, &packet);
	return gf_judge(&frame, &packet, bank, word) ? XDP_DROP : XDP_PASS;
}

SEC("classifier")
int gf_tc(struct __sk_buff *skb)
{
	struct gf_frame frame = gf_describe_skb(skb);
	struct gf_packet packet = {};
	const struct gf_bank *bank;
	__u64 word;

	bank = gf_in_force(&word);
	if (!bank)
		return TC_ACT_UNSPEC;
	if (!gf_read_plain(&frame, GF_ARRIVES, &packet))
		gf_read_packet(&frame, gf_find_tc(skb), GF_ARRIVES, &packet);
	return gf_judge(&frame, &packet, bank, word) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

/* For interfaces whose packets have no Ethernet header: ppp, tun, WireGuard. */
SEC("classifier")
int gf_tc_l3(struct __sk_buff *skb)
{
	struct gf_frame frame = gf_describe_skb(skb);
	struct gf_packet packet = {};
	const struct gf_bank *bank;
	__u64 word;

	bank = gf_in_force(&word);
	if (!bank)
		return TC_ACT_UNSPEC;
	gf_read_packet(&frame, gf_find_tc_l3(skb), GF_ARRIVES, &packet);
	return gf_judge(&frame, &packet, bank, word) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

SEC("classifier")
int gf_track_tc(struct __sk_buff *skb)
{
	struct gf_frame frame = gf_describe_skb(skb);
	const struct gf_bank *bank;
	__u64 word;

	bank = gf_in_force(&word);
	if (bank)
		gf_track(&frame, gf_find_tc(skb), bank);
	return TC_ACT_UNSPEC;
}

SEC("classifier")
int gf_track_tc_l3(struct __sk_buff *skb)
{
	struct gf_frame frame = gf_describe_skb(skb);
	const struct gf_bank *bank;
	__u64 word;

	bank = gf_in_force(&word);
	if (bank)
		gf_track(&frame, gf_find_tc_l3(skb), bank);
	return TC_ACT_UNSPEC;
}
