/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Who sent packets lately, and whose drops are told: each source has a few of its own in every turn, and
 * those that send much are told of ever more rarely. So a flood from one source hides nobody else, and one
 * from forged sources costs no more than this table: it hides whoever sends less than it does to a place. */
#ifndef GEOFILTER_SEEN_H
#define GEOFILTER_SEEN_H

#include "maps.h"
#include "packet.h"

/* Each has a budget of its own: however many are loud in one turn, they take nothing from the quiet ones. */
enum gf_acquaintance { GF_SOURCE_KNOWN, GF_SOURCE_NEW, GF_SOURCE_LOUD };

#define GF_SOURCE_MASK 3 /* for the verifier: 3 would lie in the reserved words behind the budgets, and never comes */

static __always_inline int gf_gives_way(const struct gf_source *source,
					const struct gf_source *other, __u32 turn)
{
	__u32 age = turn - source->last, others = turn - other->last;

	if (age != others)
		return age > others;
	return source->passed + source->dropped < other->passed + other->dropped;
}

/* The source of a packet; one that is new takes the place of another. A new one that is dropped does so only
 * while it may be told: so a flood from everywhere pushes out few of those who are known. NULL if not. */
static __always_inline struct gf_source *gf_source_of(struct gf_seen *seen,
						      const struct gf_packet *packet, __u32 drop,
						      enum gf_acquaintance *acquaintance)
{
	__u64 key = packet->family == 4 ? GF_SOURCE_V4 | packet->v4 : packet->high;
	__u64 hash = key * seen->seed, place = hash >> (64 - GF_SOURCE_BITS) & ~1ULL;
	__u32 tag = hash >> GF_TAG_SHIFT | GF_TAG_SET, *tags = &seen->tag[place];
	struct gf_source *sources = &seen->source[place];

	*acquaintance = GF_SOURCE_KNOWN;
	if (tags[0] == tag && sources[0].key == key)
		return &sources[0];
	if (tags[1] == tag && sources[1].key == key)
		return &sources[1];
	if (drop && !seen->budget[GF_SOURCE_NEW])
		return NULL;
	if (gf_gives_way(&sources[1], &sources[0], seen->turn)) {
		sources++;
		tags++;
	}
	*tags = tag;
	*sources = (struct gf_source){ .key = key };
	*acquaintance = GF_SOURCE_NEW;
	return sources;
}

/* Counts a drop of the source; how many this one stands for if it is to be told, else 0. */
static __always_inline __u32 gf_take_turn(struct gf_seen *seen, struct gf_source *source,
					  enum gf_acquaintance acquaintance, __u32 packets)
{
	__u64 *budget;
	__u32 turn = seen->turn, rest = source->rest;

	if ((__s32)(turn - source->next) >= 0) {
		rest = source->untold > GF_MUCH ? rest * 2 + 1 : rest / 2;
		if (rest > GF_RAREST)
			rest = GF_RAREST;
		source->rest = rest;
		source->credit = rest ? 1 : GF_BURST;
		source->next = turn + 1 + rest;
	}
	packets += source->untold;
	source->untold = packets;
	budget = &seen->budget[rest ? GF_SOURCE_LOUD : acquaintance & GF_SOURCE_MASK];
	if (!source->credit || !*budget)
		return 0;
	*budget -= 1;
	source->credit--;
	source->untold = 0;
	return packets;
}

#endif
