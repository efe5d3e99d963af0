/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The tracker: learns peers from the SIP requests that leave a protected port. The other half of step 5
 * of docs/security.md.
 */
#ifndef GEOFILTER_TRACK_H
#define GEOFILTER_TRACK_H

#include <linux/udp.h>

#include "decide.h"

enum gf_method {
	GF_NO_REQUEST, /* a response, a keep-alive, STUN, media */
	GF_REGISTER,   /* the PBX logs in: its own wish, whoever contacted whom before */
	GF_OPENING,    /* may be the first request between two parties */
	GF_FOLLOWING,  /* follows another, which may have come from outside */
};

#define GF_START 16 /* bytes that are looked at; no request is shorter */
#define GF_SHORTEST_METHOD 3
#define GF_LONGEST_METHOD 13

static __always_inline enum gf_method gf_named(__u64 name)
{
	switch (name) {
	case 0x5245474953544552: /* REGISTER */
		return GF_REGISTER;
	case 0x41434b:	     /* ACK */
	case 0x425945:	     /* BYE */
	case 0x43414e43454c: /* CANCEL */
	case 0x505241434b:   /* PRACK */
	case 0x555044415445: /* UPDATE */
	case 0x494e464f:     /* INFO */
	case 0x4e4f54494659: /* NOTIFY */
	case 0x5245464552:   /* REFER */
		return GF_FOLLOWING;
	}
	return GF_OPENING;
}

/* Capital letters, a space, and the letter a URI begins with. */
static __always_inline enum gf_method gf_method_of(const __u8 start[GF_START])
{
	__u64 name = 0;

#pragma unroll
	for (int i = 0; i <= GF_LONGEST_METHOD; i++) {
		__u8 letter = start[i], next = start[i + 1] | 0x20;

		if (letter >= 'A' && letter <= 'Z') {
			name = name << 8 | letter;
			continue;
		}
		if (letter != ' ' || i < GF_SHORTEST_METHOD || next < 'a' || next > 'z')
			return GF_NO_REQUEST;
		return i > 8 ? GF_OPENING : gf_named(name);
	}
	return GF_NO_REQUEST;
}

__noinline __u32 gf_read_method(struct __sk_buff *skb, __u32 offset)
{
	__u8 start[GF_START];

	if (bpf_skb_load_bytes(skb, offset, start, sizeof(start)))
		return GF_NO_REQUEST;
	return gf_method_of(start);
}

static __always_inline void gf_lose_peer(void)
{
	__u32 zero = 0;
	struct gf_counters *counters = bpf_map_lookup_elem(&gf_counters, &zero);

	if (counters)
		counters->lost_peers++;
}

/* Makes or keeps a peer of where a request goes. */
static __always_inline void gf_learn(const struct gf_packet *packet, enum gf_method method)
{
	struct gf_peer_key key = gf_peer_key_of(packet);
	struct gf_peer *peer = bpf_map_lookup_elem(&gf_peers, &key), fresh;
	struct gf_address address = gf_address_of(packet);
	__u64 now = bpf_ktime_get_boot_ns();
	struct gf_filter *filter = gf_get_filter();

	fresh.until = now + GF_PEER_LIFETIME;
	if (peer && now < peer->until) {
		peer->until = fresh.until;
		return;
	}
	if (method == GF_FOLLOWING)
		return;
	if (method == GF_OPENING && gf_came_first(address.bits, address.family))
		return;
	if (filter)
		*gf_peer_slot(filter, gf_hash(packet)) = 1;
	if (bpf_map_update_elem(&gf_peers, &key, &fresh, BPF_ANY))
		gf_lose_peer();
}

/* Learns from a packet that leaves, whose headers are at `place`. */
static __always_inline void gf_track(const struct gf_frame *frame, __u64 place,
				     const struct gf_bank *bank)
{
	struct gf_packet packet = {};
	enum gf_method method;

	gf_read_packet(frame, place, GF_DEPARTS, &packet);
	if (packet.transport != GF_PORTS || packet.protocol != IPPROTO_UDP)
		return;
	if (!gf_is_protected(bank, &packet) || gf_origin_of(&packet) != GF_GLOBAL)
		return;
	method = gf_read_method(frame->skb, packet.offset + sizeof(struct udphdr));
	if (method != GF_NO_REQUEST)
		gf_learn(&packet, method);
}

#endif
