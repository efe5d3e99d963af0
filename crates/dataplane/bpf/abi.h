/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What the kernel programs and the agent share. Its other half is src/abi.rs; both sides assert the
 * sizes, and no other file knows the layout. Integers are in host byte order, addresses on the wire
 * in network byte order.
 */
#ifndef GEOFILTER_ABI_H
#define GEOFILTER_ABI_H

#include <linux/types.h>

#define GF_ABI 5

/* Tables: DXR, for the world and for overrides by prefix, two slots each. What they take is kept small: it
 * is the cache that a verdict waits for. */
#define GF_V4_BUCKETS (1 << 16)
#define GF_V6_BITS 19 /* after the three bits of 2000::/3 */
#define GF_V6_BUCKETS (1 << GF_V6_BITS)
#define GF_V6_SUFFIX (61 - GF_V6_BITS)
#define GF_CHUNK_BITS 18
#define GF_CHUNK (1 << GF_CHUNK_BITS) /* borders a chunk holds; no bucket crosses chunks */
#define GF_CHUNKS 8		      /* chunks a family may have */
#define GF_ENTRIES (1 << 15)
#define GF_FINE 0x8000 /* an entry id with this bit names a /64 that has finer borders */
#define GF_FINE_HOSTS (1 << 14)
#define GF_FINE_BORDERS (1 << 15)

/* A bucket is what is said of all of it; or base:21 | count:10 | 1, low bits first, of its borders, the first of
 * which is at its start. A count from GF_MANY on stands for one more than it is beyond that, in units of
 * GF_MANY. */
#define GF_BUCKET_BASE_BITS 21
#define GF_BUCKET_COUNT_BITS 10
#define GF_BUCKET_BORDERS (1U << 31)
#define GF_MANY 512

struct gf_index {
	__u32 v4[GF_V4_BUCKETS];
	__u32 v6[GF_V6_BUCKETS];
	__u32 fine[GF_FINE_HOSTS];	     /* buckets over the two arrays below */
	__u64 fine_suffix[GF_FINE_BORDERS];  /* low 64 bits */
	__u16 fine_entry[GF_FINE_BORDERS];
	__u32 entry[GF_ENTRIES]; /* what is said: primary:8 | second:8 | flags:8, or an override's own number */
};

#define GF_ENTRY_HOSTING (1 << 16)
#define GF_SLOTS 4
#define GF_OVERRIDES_SLOT 2 /* the first of the two */

/* A border: entry id:16 | low bits of its address. */
struct gf_v4_chunk {
	__u32 border[GF_CHUNK];
};

struct gf_v6_chunk {
	__u64 border[GF_CHUNK];
};

/* Overrides. The end of one is in CLOCK_BOOTTIME, ns: 0 for none, all ones for never. */
struct gf_spans {
	__u64 exempt;
	__u64 ban;
};

/* By prefix: a bit for each value of the top 16 bits below which there is an override, a closer look at 20
 * bits, and what the entries stand for. */
#define GF_FAR_BITS 16
#define GF_NEAR_BITS 20
struct gf_prefixes {
	__u64 far_v4[(1 << GF_FAR_BITS) / 64];
	__u64 far_v6[(1 << GF_FAR_BITS) / 64]; /* after the three bits of 2000::/3 */
	__u64 near_v4[(1 << GF_NEAR_BITS) / 64];
	__u64 near_v6[(1 << GF_NEAR_BITS) / 64];
	struct gf_spans spans[GF_ENTRIES];
};

/* By address: an IPv4 address, or the upper 64 bits of an IPv6 one. */
struct gf_address {
	__u64 bits;
	__u32 family; /* 4 or 6 */
	__u32 reserved;
};

#define GF_ADDRESSES (1 << 18)

/* Bloom filters of what is known of single addresses, three bits of a word for each. What is asked of every
 * packet is one line of the cache: of overrides, and of peers a byte each, since programs set it and there are
 * no atomic bits before 5.12. The larger filter of overrides behind it is asked where the line says that there
 * may be one. */
#define GF_LINE_BITS 11
#define GF_KNOWN_BITS 15
struct gf_line {
	__u64 known[4];
	__u8 peer[32];
};

struct gf_filter {
	struct gf_line line[1 << GF_LINE_BITS];
	__u64 known[1 << GF_KNOWN_BITS];
};

/* Peers, and the sources that came first. */
#define GF_PEERS (1 << 14)
#define GF_MARKS (1 << 15)
#define GF_CONTACTS (1 << 16)
#define GF_PEER_LIFETIME (2ULL * 3600 * 1000000000)

struct gf_peer_key {
	__u64 high; /* 0 for IPv4 */
	__u64 low;
	__u32 family; /* 4 or 6 */
	__u32 port;
};

struct gf_peer {
	__u64 until; /* CLOCK_BOOTTIME, ns */
};

/* Policy. */
#define GF_BANKS 4

enum gf_action { GF_ACTION_PASS, GF_ACTION_OBSERVE, GF_ACTION_ENFORCE };
enum gf_disputed { GF_DISPUTED_LENIENT, GF_DISPUTED_PRIMARY, GF_DISPUTED_STRICT };

/* A time in which a country gets the other verdict, in CLOCK_BOOTTIME, ns. */
struct gf_box {
	__u64 from;
	__u64 until;
};

#define GF_BOXES 64 /* [0] is none */

struct gf_bank {
	__u64 generation;
	__u64 deadline;	   /* CLOCK_BOOTTIME, ns: from then on the fallback counts, while timed */
	__u8 action;	   /* enum gf_action */
	__u8 disputed;	   /* enum gf_disputed */
	__u8 drop_hosting; /* 0 or 1 */
	__u8 reserved[5];
	__u8 drop[256];	   /* by country: drop:1 | box:7; [0] is the policy's unknown */
	__u64 udp[1024];   /* protected ports, a bit each */
	__u64 tcp[1024];
	struct gf_box box[GF_BOXES];
};

/* The control word: active:2 | fallback:2 | timed:1 | table:1 | overrides:1 | reserved:9 |
 * generation:48, low bits first. While timed, the fallback bank decides from the active bank's deadline on. */
#define GF_WORD_TIMED (1 << 4)
#define GF_WORD_ACTIVE(word) ((word) & 3)
#define GF_WORD_FALLBACK(word) (((word) >> 2) & 3)
#define GF_WORD_TABLE(word) (((word) >> 5) & 1)
#define GF_WORD_OVERRIDES(word) (((word) >> 6) & 1)

/* It lies in the same place in every version: by it they know each other. */
struct gf_control {
	__u64 word;
	__u64 abi; /* GF_ABI */
};

/* By interface index: what source addresses may be local there. An interface that is not in the map
 * has no local sources but link-local ones. */
#define GF_IF_PRIVATE_V4 1
#define GF_IF_PRIVATE_V6 2
#define GF_IF_LOOPBACK 4
#define GF_INTERFACES 1024

/* Counters. */
enum gf_reason {
	GF_NOT_IP,
	GF_OUT_OF_SCOPE,
	GF_LOCAL,
	GF_MARTIAN,
	GF_EXEMPTION,
	GF_PEER,
	GF_BAN,
	GF_COUNTRY,
	GF_UNKNOWN,
	GF_HOSTING,
	GF_REASONS,
};

enum gf_outcome { GF_PASSED, GF_DROPPED, GF_WOULD_DROP, GF_OUTCOMES };

struct gf_traffic {
	__u64 packets;
	__u64 bytes;
};

struct gf_counters {
	struct gf_traffic country[256][GF_OUTCOMES];
	struct gf_traffic reason[GF_REASONS][GF_OUTCOMES];
	__u64 skipped_events;
	__u64 lost_peers; /* there was no room for */
};

/* Who sent packets lately, and what may be told of them: the log is sampled by source. A source is an IPv4
 * address or the upper 64 bits of an IPv6 one. Two of them share a line of the cache; where a third comes, the
 * one that was seen longest ago goes. Two CPUs may count one source at once and lose a packet: what is exact
 * is gf_counters. */
#define GF_SOURCE_BITS 13
#define GF_TAG_SHIFT 16	  /* to the part of a source's hash that is its tag */
#define GF_TAG_SET 1	  /* every tag has this bit: no source has none of them */
#define GF_SOURCE_V4 0xffffffff00000000ULL /* no source of IPv6 has these bits */
#define GF_BURST 4     /* drops of a source that are told in a turn */
#define GF_MUCH 16     /* drops of a source untold when its next turn comes: its turns become rarer */
#define GF_RAREST 63   /* turns left out between two of a source, at most */

struct gf_source {
	__u64 key;
	__u32 passed;  /* packets */
	__u32 dropped; /* packets, or would have been */
	__u32 last;    /* the turn it was seen in */
	__u32 next;    /* the turn in which it may be told of again */
	__u32 untold;  /* drops since one was told */
	__u16 rest;    /* turns left out between two of its own */
	__u16 credit;  /* drops that may be told in its present turn */
};

struct gf_seen {
	__u64 seed; /* odd */
	__u32 turn; /* renewed by the agent about every second */
	__u32 reserved[13];
	__u64 budget[3]; /* drops that may be told of sources that are known, new and loud, renewed by the agent:
			    0 without one */
	__u64 reserved_too[5];
	__u32 tag[1 << GF_SOURCE_BITS]; /* of each source below: a flood from others reads no more than these */
	struct gf_source source[1 << GF_SOURCE_BITS];
};

/* A sampled drop. */
#define GF_PAYLOAD 512
#define GF_RING (1 << 19)

struct gf_event {
	__u64 time;	  /* CLOCK_BOOTTIME, ns */
	__u64 generation;
	__u8 source[16];  /* network byte order; an IPv4 address is the first four bytes */
	__u32 interface;
	__u32 length;
	__u16 source_port;
	__u16 destination_port;
	__u8 family;	  /* 4 or 6 */
	__u8 protocol;
	__u8 reason;	  /* enum gf_reason */
	__u8 country;
	__u8 enforced;	  /* 0 or 1 */
	__u8 reserved;
	__u16 payload_length;
	__u32 packets; /* drops of its source that this one stands for */
	__u8 payload[GF_PAYLOAD];
};

_Static_assert(sizeof(struct gf_index) == 2883584, "gf_index");
_Static_assert(sizeof(struct gf_v4_chunk) == 1048576, "gf_v4_chunk");
_Static_assert(sizeof(struct gf_v6_chunk) == 2097152, "gf_v6_chunk");
_Static_assert(sizeof(struct gf_prefixes) == 802816, "gf_prefixes");
_Static_assert(sizeof(struct gf_address) == 16, "gf_address");
_Static_assert(sizeof(struct gf_line) == 64, "gf_line");
_Static_assert(sizeof(struct gf_filter) == 393216, "gf_filter");
_Static_assert(sizeof(struct gf_peer_key) == 24, "gf_peer_key");
_Static_assert(sizeof(struct gf_bank) == 17688, "gf_bank");
_Static_assert(sizeof(struct gf_control) == 16, "gf_control");
_Static_assert(sizeof(struct gf_counters) == 12784, "gf_counters");
_Static_assert(sizeof(struct gf_source) == 32, "gf_source");
_Static_assert(sizeof(struct gf_seen) == 295040, "gf_seen");
_Static_assert(sizeof(struct gf_event) == 568, "gf_event");

#endif
