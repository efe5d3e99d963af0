/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The maps. Tables hang in maps of maps, two slots for the world and two for overrides by prefix: one in
 * use, one empty until the next swap. */
#ifndef GEOFILTER_MAPS_H
#define GEOFILTER_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"

struct gf_index_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct gf_index));
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
};

struct gf_v4_chunk_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct gf_v4_chunk));
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
};

struct gf_v6_chunk_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct gf_v6_chunk));
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, GF_SLOTS);
	__array(values, struct gf_index_map);
} gf_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, GF_SLOTS * GF_CHUNKS);
	__array(values, struct gf_v4_chunk_map);
} gf_v4_chunks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, GF_SLOTS * GF_CHUNKS);
	__array(values, struct gf_v6_chunk_map);
} gf_v6_chunks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct gf_prefixes));
	__uint(max_entries, 2);
	__uint(map_flags, BPF_F_MMAPABLE);
} gf_prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct gf_filter));
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} gf_filter SEC(".maps");

/* Exemptions and bans of single addresses. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(key_size, sizeof(struct gf_address));
	__uint(value_size, sizeof(struct gf_spans));
	__uint(max_entries, GF_ADDRESSES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} gf_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(key_size, sizeof(struct gf_peer_key));
	__uint(value_size, sizeof(struct gf_peer));
	__uint(max_entries, GF_PEERS);
} gf_peers SEC(".maps");

/* Sources that came first; the oldest make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(key_size, sizeof(struct gf_address));
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, GF_MARKS);
} gf_marks SEC(".maps");

/* The same, told by the agent: devices that are registered at the PBX. No flood pushes these out. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(key_size, sizeof(struct gf_address));
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, GF_CONTACTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} gf_contacts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct gf_bank));
	__uint(max_entries, GF_BANKS);
	__uint(map_flags, BPF_F_MMAPABLE);
} gf_banks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct gf_control));
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} gf_control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, GF_INTERFACES);
} gf_interfaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct gf_counters));
	__uint(max_entries, 1);
} gf_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct gf_seen));
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} gf_seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, GF_RING);
} gf_events SEC(".maps");

#endif
