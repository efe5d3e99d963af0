/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The decision, steps 2 to 7 of docs/security.md, and what is counted and told of it. */
#ifndef GEOFILTER_DECIDE_H
#define GEOFILTER_DECIDE_H

#include <linux/udp.h>

#include "maps.h"
#include "packet.h"
#include "seen.h"
#include "sources.h"
#include "table.h"

struct gf_decision {
	__u32 drop;
	__u32 reason; /* enum gf_reason */
	__u32 country;
	__u32 judged; /* by the world table: counted by country */
};

static __always_inline const struct gf_bank *gf_get_bank(__u64 word)
{
	__u32 active = GF_WORD_ACTIVE(word), fallback = GF_WORD_FALLBACK(word);
	const struct gf_bank *bank = bpf_map_lookup_elem(&gf_banks, &active);

	/* The dead-man: nobody has to be alive for the fallback to take over. */
	if (bank && word & GF_WORD_TIMED && bpf_ktime_get_boot_ns() >= bank->deadline)
		bank = bpf_map_lookup_elem(&gf_banks, &fallback);
	return bank;
}

/* Whether the host's port is a protected one. */
static __always_inline int gf_is_protected(const struct gf_bank *bank,
					   const struct gf_packet *packet)
{
	__u32 port = packet->local_port, group;
	__u64 word;

	group = port >> 6;
	barrier_var(group); /* or clang drops the mask that shows older verifiers the range */
	group &= 1023;
	word = packet->protocol == IPPROTO_UDP ? bank->udp[group] : bank->tcp[group];
	return (word >> (port & 63)) & 1;
}

static __always_inline int gf_in_scope(const struct gf_bank *bank, const struct gf_packet *packet)
{
	if (packet->transport == GF_UNREADABLE)
		return 1;
	return packet->transport != GF_UNJUDGED && gf_is_protected(bank, packet);
}

enum gf_origin { GF_GLOBAL, GF_LINK_LOCAL, GF_PRIVATE, GF_LOOPBACK, GF_MULTICAST };

static __always_inline enum gf_origin gf_origin_of(const struct gf_packet *packet)
{
	__u32 v4 = packet->v4;

	if (packet->family == 4) {
		if (v4 >> 16 == 0xa9fe)
			return GF_LINK_LOCAL;
		if (v4 >> 24 == 10 || v4 >> 20 == 0xac1 || v4 >> 16 == 0xc0a8 || v4 >> 22 == 0x191)
			return GF_PRIVATE;
		if (v4 >> 24 == 127)
			return GF_LOOPBACK;
		return v4 >> 28 == 14 ? GF_MULTICAST : GF_GLOBAL;
	}
	if (packet->high >> 61 == 1)
		return GF_GLOBAL;
	if (packet->high >> 54 == 0x3fa)
		return GF_LINK_LOCAL;
	if (packet->high >> 57 == 0x7e)
		return GF_PRIVATE;
	if (packet->high == 0 && packet->low == 1)
		return GF_LOOPBACK;
	return packet->high >> 56 == 0xff ? GF_MULTICAST : GF_GLOBAL;
}

/* Step 3. 1 if the source decided it. */
static __always_inline int gf_decide_local(const struct gf_frame *frame,
					   const struct gf_packet *packet,
					   struct gf_decision *decision)
{
	enum gf_origin origin = gf_origin_of(packet);
	__u32 interface = frame->interface, flags, *found;

	if (origin == GF_GLOBAL)
		return 0;
	decision->reason = GF_LOCAL;
	if (origin == GF_LINK_LOCAL)
		return 1;
	found = bpf_map_lookup_elem(&gf_interfaces, &interface);
	flags = found ? *found : 0;
	if (origin == GF_PRIVATE)
		return flags & (packet->family == 4 ? GF_IF_PRIVATE_V4 : GF_IF_PRIVATE_V6);
	if (origin == GF_LOOPBACK && flags & GF_IF_LOOPBACK)
		return 1;
	decision->reason = GF_MARTIAN;
	decision->drop = 1;
	return 1;
}

/* The IPv4 address inside a 6to4, NAT64 or Teredo source; 1 if it is one. */
static __always_inline int gf_inner_v4(const struct gf_packet *packet, __u32 *inner)
{
	if (packet->high >> 48 == 0x2002) {
		*inner = packet->high >> 16;
		return 1;
	}
	if (packet->high >> 32 == 0x20010000) {
		*inner = ~packet->low;
		return 1;
	}
	if (packet->high == 0x0064ff9b00000000ULL && packet->low >> 32 == 0) {
		*inner = packet->low;
		return 1;
	}
	return 0;
}

/* What a country's verdict is now: another one in its box. */
static __always_inline __u32 gf_drops(const struct gf_bank *bank, __u32 drop)
{
	const struct gf_box *box = &bank->box[(drop >> 1) & (GF_BOXES - 1)];
	__u64 now;

	if (drop < 2)
		return drop;
	now = bpf_ktime_get_boot_ns();
	return (drop & 1) ^ (box->from <= now && now < box->until);
}

/* Step 7. */
static __always_inline void gf_decide_country(const struct gf_bank *bank, __u64 word,
					      const struct gf_packet *packet,
					      struct gf_decision *decision)
{
	__u32 table = GF_WORD_TABLE(word), inner = packet->v4;
	__u32 entry, primary, second, drop, other;

	if (packet->family == 4 || gf_inner_v4(packet, &inner))
		entry = gf_entry_v4(table, inner);
	else
		entry = gf_entry_v6(table, packet->high, packet->low);
	primary = entry & 0xff;
	second = (entry >> 8) & 0xff;
	drop = gf_drops(bank, bank->drop[primary]);
	other = gf_drops(bank, bank->drop[second]);
	if (bank->disputed == GF_DISPUTED_LENIENT)
		drop &= other;
	else if (bank->disputed == GF_DISPUTED_STRICT)
		drop |= other;
	decision->reason = primary ? GF_COUNTRY : GF_UNKNOWN;
	decision->country = primary;
	decision->judged = 1;
	decision->drop = drop;
	if (!drop && entry & GF_ENTRY_HOSTING && bank->drop_hosting) {
		decision->reason = GF_HOSTING;
		decision->drop = 1;
	}
	gf_forget(decision->reason, word);
	gf_forget(decision->drop, word);
}

/* Steps 4 to 7. Geography first: its table is the one that most packets need, and the prefilters behind it
 * are read meanwhile. */
static __always_inline void gf_decide_source(const struct gf_bank *bank, __u64 word,
					     struct gf_packet *packet,
					     struct gf_decision *decision)
{
	struct gf_filter *filter = gf_get_filter();
	__u64 hash = gf_hash(packet);
	__u32 overrides, reason;

	gf_decide_country(bank, word, packet, decision);
	if (packet->family == 6)
		gf_forget(packet->high, word);
	if (!filter)
		return;
	overrides = gf_overrides_of(packet, word, filter, hash);
	if (overrides & GF_EXEMPT)
		reason = GF_EXEMPTION;
	else if (gf_is_peer(packet, filter, hash))
		reason = GF_PEER;
	else if (overrides & GF_BANNED)
		reason = GF_BAN;
	else
		return;
	decision->reason = reason;
	decision->drop = reason == GF_BAN;
	decision->judged = 0;
}

/* Where what UDP or TCP carries begins. */
static __always_inline __u32 gf_payload_offset(const struct gf_frame *frame,
					       const struct gf_packet *packet)
{
	__u8 words = 0;

	if (packet->protocol == IPPROTO_UDP)
		return packet->offset + sizeof(struct udphdr);
	gf_read(frame, packet->offset + 12, &words, sizeof(words));
	return packet->offset + (words >> 4) * 4;
}

static __always_inline void gf_tell(struct gf_frame *frame, const struct gf_packet *packet,
				    const struct gf_bank *bank, const struct gf_decision *decision,
				    __u32 packets, struct gf_counters *counters)
{
	struct gf_event *event = NULL;
	__u32 size, offset;

	if (packets)
		event = bpf_ringbuf_reserve(&gf_events, sizeof(*event), 0);
	if (!event) {
		counters->skipped_events += frame->segments;
		return;
	}
	counters->skipped_events += frame->segments - 1;
	gf_look_again(frame);
	event->time = bpf_ktime_get_boot_ns();
	event->generation = bank->generation;
	if (packet->family == 4) {
		*(__be32 *)event->source = bpf_htonl(packet->v4);
	} else {
		((__be64 *)event->source)[0] = bpf_cpu_to_be64(packet->high);
		((__be64 *)event->source)[1] = bpf_cpu_to_be64(packet->low);
	}
	event->interface = frame->interface;
	event->length = frame->length;
	event->source_port = packet->remote_port;
	event->destination_port = packet->local_port;
	event->family = packet->family;
	event->protocol = packet->protocol;
	event->reason = decision->reason;
	event->country = decision->country;
	event->enforced = bank->action == GF_ACTION_ENFORCE;
	event->reserved = 0;
	event->packets = packets;
	event->payload_length = 0;
	offset = gf_payload_offset(frame, packet);
	if (packet->transport == GF_PORTS && frame->length > offset) {
		size = frame->length - offset - 1;
		if (size >= GF_PAYLOAD)
			size = GF_PAYLOAD - 1;
		barrier_var(size); /* or clang drops the mask that shows the verifier the range */
		size = (size & (GF_PAYLOAD - 1)) + 1;
		if (frame->skb ? !bpf_skb_load_bytes(frame->skb, offset, event->payload, size)
			       : !bpf_probe_read_kernel(event->payload, size, frame->data + offset))
			event->payload_length = size;
	}
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void gf_add(struct gf_traffic *traffic, const struct gf_frame *frame)
{
	traffic->packets += frame->segments;
	traffic->bytes += frame->length;
}

/* Whether the source got as far as being judged by who it is, and is no peer. */
static __always_inline int gf_is_stranger(__u32 reason)
{
	return reason >= GF_EXEMPTION && reason != GF_PEER;
}

/* Takes note of the source; how many drops of it this one stands for if it is to be told, else 0. */
static __always_inline __u32 gf_see(const struct gf_frame *frame, const struct gf_packet *packet,
				    const struct gf_decision *decision)
{
	__u32 zero = 0;
	struct gf_seen *seen = bpf_map_lookup_elem(&gf_seen, &zero);
	enum gf_acquaintance acquaintance;
	struct gf_source *source;

	if (!seen)
		return 0;
	source = gf_source_of(seen, packet, decision->drop, &acquaintance);
	gf_forget(acquaintance, decision->reason);
	if (!source)
		return 0;
	source->last = seen->turn;
	if (!decision->drop) {
		source->passed += frame->segments;
		return 0;
	}
	source->dropped += frame->segments;
	return gf_take_turn(seen, source, acquaintance, frame->segments);
}

static __always_inline void gf_count(struct gf_frame *frame, const struct gf_packet *packet,
				     const struct gf_bank *bank,
				     const struct gf_decision *decision, __u32 outcome)
{
	__u32 zero = 0, reason = decision->reason, packets;
	struct gf_counters *counters = bpf_map_lookup_elem(&gf_counters, &zero);

	barrier_var(reason); /* or clang drops the comparisons that show older verifiers the ranges */
	barrier_var(outcome);
	if (!counters || reason >= GF_REASONS || outcome >= GF_OUTCOMES)
		return;
	gf_add(&counters->reason[reason][outcome], frame);
	if (decision->judged)
		gf_add(&counters->country[decision->country & 0xff][outcome], frame);
	if (reason < GF_MARTIAN)
		return;
	packets = gf_see(frame, packet, decision);
	if (decision->drop)
		gf_tell(frame, packet, bank, decision, packets, counters);
}

/* Judges a packet whose family is a constant to the compiler. */
static __always_inline int gf_judge_as(__u32 family, struct gf_frame *frame,
				       struct gf_packet *packet, const struct gf_bank *bank,
				       __u64 word)
{
	struct gf_decision decision = {};
	struct gf_address address;
	__u32 outcome = GF_PASSED;

	packet->family = family;
	gf_forget(packet->protocol, word);
	gf_forget(packet->transport, word);
	gf_forget(packet->offset, word);
	if (family == GF_BURIED)
		decision = (struct gf_decision){ .drop = 1, .reason = GF_MARTIAN };
	else if (!family)
		decision.reason = GF_NOT_IP;
	else if (!gf_in_scope(bank, packet))
		decision.reason = GF_OUT_OF_SCOPE;
	else if (!gf_decide_local(frame, packet, &decision))
		gf_decide_source(bank, word, packet, &decision);

	if (decision.drop)
		outcome = bank->action == GF_ACTION_ENFORCE ? GF_DROPPED : GF_WOULD_DROP;
	if (gf_is_stranger(decision.reason) && outcome != GF_DROPPED) {
		address = gf_address_of(packet);
		gf_mark(address.bits, address.family);
	}
	gf_forget(decision.reason, word);
	gf_forget(decision.country, word);
	gf_forget(outcome, word);
	if (bank->action != GF_ACTION_PASS)
		gf_count(frame, packet, bank, &decision, outcome);
	return outcome == GF_DROPPED;
}

/* 1 to drop the packet. */
static __always_inline int gf_judge(struct gf_frame *frame, struct gf_packet *packet,
				    const struct gf_bank *bank, __u64 word)
{
	switch (packet->family) {
	case 4:
		return gf_judge_as(4, frame, packet, bank, word);
	case 6:
		return gf_judge_as(6, frame, packet, bank, word);
	case GF_BURIED:
		return gf_judge_as(GF_BURIED, frame, packet, bank, word);
	default:
		return gf_judge_as(0, frame, packet, bank, word);
	}
}

#endif
