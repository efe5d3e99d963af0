/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The world table: DXR, after "DXR: Towards a Billion Routing Lookups per Second in Software"
 * (Zec, Rizzo, Mikuc, 2012). The top bits of an address index a bucket; a bucket holds its own entry
 * and where its borders lie; a binary search finds the last border not after the address. The search
 * has no data-dependent branch: the verifier walks a branchy one a thousand times over. The two entry
 * points are global functions, which the verifier walks once and not for every way of reading a frame.
 */
#ifndef GEOFILTER_TABLE_H
#define GEOFILTER_TABLE_H

#include "maps.h"

static __always_inline __u64 gf_bucket_base(__u64 bucket) { return bucket & 0xffffff; }
static __always_inline __u64 gf_bucket_borders(__u64 bucket) { return (bucket >> 24) & 0xffffff; }
static __always_inline __u32 gf_bucket_entry(__u64 bucket) { return bucket >> 48; }

/* 1 if border <= key, for values below 2^63: the sign bit of border - key - 1. */
#define gf_not_after(border, key) (((__u64)(border) - (key) - 1) >> 63)

/* 1 if border <= key over all 64 bits: no borrow in key - border. */
static __always_inline __u64 gf_not_after_64(__u64 border, __u64 key)
{
	return ~(((~key & border) | ((~key | border) & (key - border))) >> 63) & 1;
}

/* Position behind the last border <= key among n borders from `base` on; n < 2^(steps). */
#define gf_search(suffix, mask, not_after, key, base, n, steps)                                    \
	({                                                                                         \
		__u64 pos = (base), left = (n);                                                    \
		for (int i = 0; i < (steps) && left > 1; i++) {                                    \
			__u64 half = left >> 1;                                                    \
			__u64 border = (suffix)[(pos + half - 1) & (mask)];                        \
			pos += half & -not_after(border, key);                                     \
			left -= half;                                                              \
		}                                                                                  \
		pos += not_after((suffix)[pos & (mask)], key);                                     \
		pos;                                                                               \
	})

static __always_inline struct gf_index *gf_get_index(__u32 table)
{
	__u32 zero = 0;
	void *inner = bpf_map_lookup_elem(&gf_index, &table);

	return inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
}

static __always_inline __u32 gf_find_v4(const struct gf_index *index, __u32 table, __u32 address)
{
	__u64 bucket = index->v4[address >> 16];
	__u64 base = gf_bucket_base(bucket), n = gf_bucket_borders(bucket), key = address & 0xffff;
	__u32 zero = 0, slot = table * GF_CHUNKS + ((base >> GF_CHUNK_BITS) & (GF_CHUNKS - 1));
	struct gf_v4_chunk *chunk;
	void *inner;
	__u64 pos;

	if (!n)
		return gf_bucket_entry(bucket);
	inner = bpf_map_lookup_elem(&gf_v4_chunks, &slot);
	chunk = inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
	if (!chunk)
		return 0;
	pos = gf_search(chunk->suffix, GF_CHUNK - 1, gf_not_after, key, base, n, 17);
	return pos == base ? gf_bucket_entry(bucket) : chunk->entry[(pos - 1) & (GF_CHUNK - 1)];
}

/* The entry inside a /64 that has finer borders. */
static __always_inline __u32 gf_find_fine(const struct gf_index *index, __u32 host, __u64 low)
{
	__u64 bucket = index->fine[host & (GF_FINE_HOSTS - 1)];
	__u64 base = gf_bucket_base(bucket);
	__u64 pos = gf_search(index->fine_suffix, GF_FINE_BORDERS - 1, gf_not_after_64, low, base,
			      gf_bucket_borders(bucket), 16);

	return pos == base ? gf_bucket_entry(bucket)
			   : index->fine_entry[(pos - 1) & (GF_FINE_BORDERS - 1)];
}

static __always_inline __u32 gf_find_v6(const struct gf_index *index, __u32 table, __u64 high,
					__u64 low)
{
	__u64 bucket, base, n, key, pos;
	struct gf_v6_chunk *chunk;
	__u32 zero = 0, slot, id;
	void *inner;

	if (high >> 61 != 1) /* 2000::/3 is all that is allocated */
		return 0;
	bucket = index->v6[(high >> GF_V6_SUFFIX) & (GF_V6_BUCKETS - 1)];
	base = gf_bucket_base(bucket);
	n = gf_bucket_borders(bucket);
	if (!n)
		return gf_bucket_entry(bucket);
	slot = table * GF_CHUNKS + ((base >> GF_CHUNK_BITS) & (GF_CHUNKS - 1));
	inner = bpf_map_lookup_elem(&gf_v6_chunks, &slot);
	chunk = inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
	if (!chunk)
		return 0;
	key = high & ((1ULL << GF_V6_SUFFIX) - 1);
	pos = gf_search(chunk->suffix, GF_CHUNK - 1, gf_not_after, key, base, n, 19);
	id = pos == base ? gf_bucket_entry(bucket) : chunk->entry[(pos - 1) & (GF_CHUNK - 1)];
	return id & GF_FINE ? gf_find_fine(index, id, low) : id;
}

/* The entry of an IPv4 address; 0, unknown, if the table is not there. */
__noinline __u32 gf_entry_v4(__u32 table, __u32 address)
{
	const struct gf_index *index = gf_get_index(table);

	return index ? index->entry[gf_find_v4(index, table, address) & (GF_ENTRIES - 1)] : 0;
}

/* The entry of an IPv6 address; 0, unknown, if the table is not there. */
__noinline __u32 gf_entry_v6(__u32 table, __u64 high, __u64 low)
{
	const struct gf_index *index = gf_get_index(table);

	return index ? index->entry[gf_find_v6(index, table, high, low) & (GF_ENTRIES - 1)] : 0;
}

#endif
