/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The world table: DXR, after "DXR: Towards a Billion Routing Lookups per Second in Software"
 * (Zec, Rizzo, Mikuc, 2012). The top bits of an address index a bucket; most buckets say at once what holds,
 * the others where their borders lie: a binary search finds the last border not after the address. The
 * search has no data-dependent branch: the verifier walks a branchy one a thousand times over. The two
 * entry points are global functions, which the verifier walks once and not for every way of reading a
 * frame.
 */
#ifndef GEOFILTER_TABLE_H
#define GEOFILTER_TABLE_H

#include "maps.h"

static __always_inline __u32 gf_bucket_base(__u32 bucket)
{
	return bucket & ((1 << GF_BUCKET_BASE_BITS) - 1);
}

static __always_inline __u32 gf_bucket_count(__u32 bucket)
{
	__u32 count = (bucket >> GF_BUCKET_BASE_BITS) & ((1 << GF_BUCKET_COUNT_BITS) - 1);

	return count < GF_MANY ? count : (count - GF_MANY + 1) * GF_MANY;
}

/* 1 if border <= key, for values below 2^63: the sign bit of border - key - 1. */
#define gf_not_after(border, key) (((__u64)(border) - (key) - 1) >> 63)

/* 1 if border <= key over all 64 bits: no borrow in key - border. */
static __always_inline __u64 gf_not_after_64(__u64 border, __u64 key)
{
	__u64 borrow = ((~key & border) | ((~key | border) & (key - border))) >> 63;

	barrier_var(borrow); /* or newer clangs make a branch of it */
	return borrow ^ 1;
}

#define GF_WAYS 8

/* Position of the last border <= key among `count` <= GF_WAYS^steps borders from `base` on, the first of which
 * is. A step looks at up to seven borders, none of which waits for another: what a search costs is how often
 * it waits for memory, and so it does once where there are 64 borders, not six times. */
#define gf_search(borders, mask, not_after, key, base, count, steps)                               \
	({                                                                                         \
		__u64 pos = (base), left = (count);                                                \
		for (int i = 0; i < (steps) && left > 1; i++) {                                    \
			__u64 stride = (left + GF_WAYS - 1) / GF_WAYS, at = stride, found = 0;     \
			_Pragma("unroll") for (int way = 1; way < GF_WAYS; way++, at += stride)    \
			{                                                                          \
				__u64 border = (borders)[(pos + at) & (mask)];                     \
				found += not_after(border, key) & ((at - left) >> 63);             \
			}                                                                          \
			pos += found * stride;                                                     \
			left -= found * stride;                                                    \
			left -= (left - stride) & -((stride - left) >> 63);                        \
		}                                                                                  \
		pos & (mask);                                                                      \
	})

static __always_inline struct gf_index *gf_get_index(__u32 table)
{
	__u32 zero = 0;
	void *inner = bpf_map_lookup_elem(&gf_index, &table);

	return inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
}

static __always_inline __u32 gf_chunk_slot(__u32 table, __u32 bucket)
{
	return table * GF_CHUNKS + (gf_bucket_base(bucket) >> GF_CHUNK_BITS);
}

static __always_inline __u32 gf_entry_of(const struct gf_index *index, __u32 id)
{
	return index->entry[id & (GF_ENTRIES - 1)];
}

/* What is said of an IPv4 address; 0, unknown, if the table is not there. */
__noinline __u32 gf_entry_v4(__u32 table, __u32 address)
{
	const struct gf_index *index = gf_get_index(table);
	struct gf_v4_chunk *chunk;
	__u32 bucket, zero = 0, slot;
	__u64 key, pos;
	void *inner;

	if (!index)
		return 0;
	bucket = index->v4[address >> 16];
	if (!(bucket & GF_BUCKET_BORDERS))
		return bucket;
	slot = gf_chunk_slot(table, bucket);
	inner = bpf_map_lookup_elem(&gf_v4_chunks, &slot);
	chunk = inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
	if (!chunk)
		return 0;
	key = address << 16 | 0xffff;
	pos = gf_search(chunk->border, GF_CHUNK - 1, gf_not_after, key, gf_bucket_base(bucket),
			gf_bucket_count(bucket), 6);
	return gf_entry_of(index, chunk->border[pos]);
}

/* The entry id inside a /64 that has finer borders. */
static __always_inline __u32 gf_find_fine(const struct gf_index *index, __u32 host, __u64 low)
{
	__u32 bucket = index->fine[host & (GF_FINE_HOSTS - 1)];
	__u64 pos = gf_search(index->fine_suffix, GF_FINE_BORDERS - 1, gf_not_after_64, low,
			      gf_bucket_base(bucket), gf_bucket_count(bucket), 5);

	return index->fine_entry[pos];
}

/* What is said of an IPv6 address; 0, unknown, if the table is not there. */
__noinline __u32 gf_entry_v6(__u32 table, __u64 high, __u64 low)
{
	const struct gf_index *index = gf_get_index(table);
	struct gf_v6_chunk *chunk;
	__u32 bucket, zero = 0, slot, id;
	__u64 key, pos;
	void *inner;

	if (!index || high >> 61 != 1) /* 2000::/3 is all that is allocated */
		return 0;
	bucket = index->v6[(high >> GF_V6_SUFFIX) & (GF_V6_BUCKETS - 1)];
	if (!(bucket & GF_BUCKET_BORDERS))
		return bucket;
	slot = gf_chunk_slot(table, bucket);
	inner = bpf_map_lookup_elem(&gf_v6_chunks, &slot);
	chunk = inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
	if (!chunk)
		return 0;
	key = (high & ((1ULL << GF_V6_SUFFIX) - 1)) << 16 | 0xffff;
	pos = gf_search(chunk->border, GF_CHUNK - 1, gf_not_after, key, gf_bucket_base(bucket),
			gf_bucket_count(bucket), 6);
	id = chunk->border[pos] & 0xffff;
	return gf_entry_of(index, id & GF_FINE ? gf_find_fine(index, id, low) : id);
}

#endif
