/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What is known of single sources: steps 4 to 6 of docs/security.md. Prefilters first: most packets are
 * from nobody that is known, and then nothing is searched and no clock is read. What is behind them are
 * global functions, which the verifier walks once.
 */
#ifndef GEOFILTER_SOURCES_H
#define GEOFILTER_SOURCES_H

#include "maps.h"
#include "packet.h"
#include "table.h"

#define GF_GOLDEN 0x9e3779b97f4a7c15ULL

static __always_inline struct gf_address gf_address_of(const struct gf_packet *packet)
{
	return (struct gf_address){
		.bits = packet->family == 4 ? packet->v4 : packet->high,
		.family = packet->family,
	};
}

/* Fibonacci hashing (Knuth, The Art of Computer Programming, 6.4): the upper bits are the good ones. */
static __always_inline __u64 gf_hash(const struct gf_packet *packet)
{
	struct gf_address address = gf_address_of(packet);

	return (address.bits + address.family) * GF_GOLDEN;
}

static __always_inline struct gf_filter *gf_get_filter(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&gf_filter, &zero);
}

static __always_inline struct gf_line *gf_line_of(struct gf_filter *filter, __u64 hash)
{
	return &filter->line[hash >> (64 - GF_LINE_BITS)];
}

/* Whether the three bits of a hash from `shift` on are set. */
static __always_inline __u32 gf_three(__u64 word, __u64 hash, __u32 shift)
{
	return (word >> ((hash >> (shift + 12)) & 63)) & (word >> ((hash >> (shift + 6)) & 63)) &
	       (word >> ((hash >> shift) & 63)) & 1;
}

/* Whether an address may have an override. */
static __always_inline __u32 gf_may_be_known(struct gf_filter *filter, __u64 hash)
{
	if (!gf_three(gf_line_of(filter, hash)->known[(hash >> 51) & 3], hash, 33))
		return 0;
	hash = (hash ^ hash >> 32) * GF_GOLDEN;
	return gf_three(filter->known[hash >> (64 - GF_KNOWN_BITS)], hash, 30);
}

/* Whether it may have a peer's address: a byte that is not 0. */
static __always_inline __u8 *gf_peer_slot(struct gf_filter *filter, __u64 hash)
{
	return &gf_line_of(filter, hash)->peer[(hash >> 28) & 31];
}

static __always_inline __u32 gf_bit(const __u64 *bits, __u32 number, __u32 mask)
{
	__u32 word = number >> 6;

	barrier_var(word); /* or clang drops the mask that shows older verifiers the range */
	return (bits[word & (mask >> 6)] >> (number & 63)) & 1;
}

/* Whether a prefix with an override may cover an address, by the top bits of it. */
static __always_inline __u32 gf_may_be_covered(const __u64 *far, const __u64 *near, __u32 top)
{
	return gf_bit(far, top >> (32 - GF_FAR_BITS), (1 << GF_FAR_BITS) - 1) &&
	       gf_bit(near, top >> (32 - GF_NEAR_BITS), (1 << GF_NEAR_BITS) - 1);
}

static __always_inline int gf_holds(__u64 until)
{
	return until == ~0ULL || (until && bpf_ktime_get_boot_ns() < until);
}

/* Where an override may be: bits. */
#define GF_BY_PREFIX 1
#define GF_BY_ADDRESS 2

/* What it says: bits. */
#define GF_EXEMPT 1
#define GF_BANNED 2

static __always_inline __u32 gf_ask(__u32 slot, __u32 where, __u32 entry,
				    const struct gf_address *address)
{
	const struct gf_spans *by_address = NULL;
	const struct gf_prefixes *prefixes;
	struct gf_spans spans = {};

	if (where & GF_BY_PREFIX) {
		prefixes = bpf_map_lookup_elem(&gf_prefixes, &slot);
		if (prefixes)
			spans = prefixes->spans[entry & (GF_ENTRIES - 1)];
	}
	if (where & GF_BY_ADDRESS)
		by_address = bpf_map_lookup_elem(&gf_addresses, address);
	if (by_address) {
		if (by_address->exempt > spans.exempt)
			spans.exempt = by_address->exempt;
		if (by_address->ban > spans.ban)
			spans.ban = by_address->ban;
	}
	return (gf_holds(spans.exempt) ? GF_EXEMPT : 0) | (gf_holds(spans.ban) ? GF_BANNED : 0);
}

__noinline __u32 gf_ask_v4(__u32 slot, __u32 where, __u32 source)
{
	struct gf_address address = { .bits = source, .family = 4 };
	__u32 entry = where & GF_BY_PREFIX ? gf_entry_v4(GF_OVERRIDES_SLOT + slot, source) : 0;

	return gf_ask(slot, where, entry, &address);
}

__noinline __u32 gf_ask_v6(__u32 slot, __u32 where, __u64 high, __u64 low)
{
	struct gf_address address = { .bits = high, .family = 6 };
	__u32 entry = where & GF_BY_PREFIX ? gf_entry_v6(GF_OVERRIDES_SLOT + slot, high, low) : 0;

	return gf_ask(slot, where, entry, &address);
}

/* GF_EXEMPT, GF_BANNED, both or neither. */
static __always_inline __u32 gf_overrides_of(const struct gf_packet *packet, __u64 word,
					     struct gf_filter *filter, __u64 hash)
{
	__u32 slot = GF_WORD_OVERRIDES(word), where = 0;
	const struct gf_prefixes *prefixes = bpf_map_lookup_elem(&gf_prefixes, &slot);

	if (!prefixes)
		return 0;
	if (packet->family == 4)
		where = gf_may_be_covered(prefixes->far_v4, prefixes->near_v4, packet->v4);
	else if (packet->high >> 61 == 1)
		where = gf_may_be_covered(prefixes->far_v6, prefixes->near_v6, packet->high >> 29);
	if (gf_may_be_known(filter, hash))
		where |= GF_BY_ADDRESS;
	if (!where)
		return 0;
	return packet->family == 4 ? gf_ask_v4(slot, where, packet->v4)
				   : gf_ask_v6(slot, where, packet->high, packet->low);
}

static __always_inline struct gf_peer_key gf_peer_key_of(const struct gf_packet *packet)
{
	return (struct gf_peer_key){
		.high = packet->high,
		.low = packet->family == 4 ? packet->v4 : packet->low,
		.family = packet->family,
		.port = packet->remote_port,
	};
}

__noinline __u32 gf_ask_peer(__u64 high, __u64 low, __u32 family, __u32 port)
{
	struct gf_peer_key key = { .high = high, .low = low, .family = family, .port = port };
	const struct gf_peer *peer = bpf_map_lookup_elem(&gf_peers, &key);

	return peer && gf_holds(peer->until);
}

/* Step 5. */
static __always_inline __u32 gf_is_peer(const struct gf_packet *packet, struct gf_filter *filter,
					__u64 hash)
{
	struct gf_peer_key key;

	if (packet->transport != GF_PORTS || packet->protocol != IPPROTO_UDP)
		return 0;
	if (!*gf_peer_slot(filter, hash))
		return 0;
	key = gf_peer_key_of(packet);
	return gf_ask_peer(key.high, key.low, key.family, key.port);
}

/* Says that a source came first: before any request of the PBX to it. */
__noinline __u32 gf_mark(__u64 bits, __u32 family)
{
	struct gf_address address = { .bits = bits, .family = family };
	__u32 yes = 1;

	if (!bpf_map_lookup_elem(&gf_marks, &address))
		bpf_map_update_elem(&gf_marks, &address, &yes, BPF_ANY);
	return 0;
}

__noinline __u32 gf_came_first(__u64 bits, __u32 family)
{
	struct gf_address address = { .bits = bits, .family = family };

	return bpf_map_lookup_elem(&gf_contacts, &address) ||
	       bpf_map_lookup_elem(&gf_marks, &address);
}

#endif
