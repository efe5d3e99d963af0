/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Reading a frame: step 1 and half of step 2 of docs/security.md. Finding the headers is a global
 * function of each program that returns a plain number: the verifier walks it once and forgets the
 * hundred ways to get there, which it would otherwise carry through the whole decision.
 */
#ifndef GEOFILTER_PACKET_H
#define GEOFILTER_PACKET_H

#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Has the verifier forget what it knows of a number, for two instructions: ways through a program that differ
 * by nothing else it then walks as one. It does not see that xor with what it doesn't know is undone. */
#define gf_forget(number, unknown)                                                                 \
	do {                                                                                       \
		__u64 forgotten = (number);                                                        \
		asm volatile("%0 ^= %1; %0 ^= %1" : "+&r"(forgotten) : "r"((__u64)(unknown)));     \
		(number) = forgotten;                                                              \
	} while (0)

#define GF_VLAN_TAGS 2
#define GF_EXTENSION_HEADERS 8
#define GF_MAX_OFFSET 0x7fff

/* Where a frame lies: in a linear buffer, and what of it is not behind a socket buffer (TC). Always inlined
 * with one of xdp and skb constant, so that each program keeps only its own way of reading. */
struct gf_frame {
	struct xdp_md *xdp;
	struct __sk_buff *skb;
	void *data;
	void *data_end;
	__u32 length;
	__u32 interface;
	__u32 segments;
};

enum gf_transport {
	GF_UNJUDGED,   /* not UDP or TCP, or a later fragment */
	GF_PORTS,      /* UDP or TCP whose ports can be read */
	GF_UNREADABLE, /* UDP or TCP may hide behind what can't be read */
};

/* The family of a frame with more VLAN tags than are looked through. Linux takes off any number of
 * priority tags, so what is buried below them could be for the PBX. */
#define GF_BURIED 1

/* Where the headers are: network:16 | transport:16 | protocol:8 | family:8 | enum gf_transport:8, low
 * bits first. Family is 4, 6, GF_BURIED, or 0 without a readable IP header. */
#define GF_PLACE(network, transport, protocol, family, kind)                                       \
	((__u64)(network) | (__u64)(transport) << 16 | (__u64)(protocol) << 32 |                    \
	 (__u64)(family) << 40 | (__u64)(kind) << 48)

/* Whose end of a packet is the host's. */
enum gf_direction { GF_ARRIVES, GF_DEPARTS };

/* A packet as the host sees it: the address is that of the other side, in host byte order. */
struct gf_packet {
	__u32 family;
	__u32 protocol;
	__u32 transport; /* enum gf_transport */
	__u32 remote_port;
	__u32 local_port;
	__u32 offset; /* of the transport header */
	__u32 v4;
	__u64 high; /* of IPv6 */
	__u64 low;
};

static __always_inline struct gf_frame gf_describe_xdp(struct xdp_md *ctx)
{
	return (struct gf_frame){
		.xdp = ctx,
		.data = (void *)(long)ctx->data,
		.data_end = (void *)(long)ctx->data_end,
		.length = ctx->data_end - ctx->data,
		.interface = ctx->ingress_ifindex,
		.segments = 1,
	};
}

static __always_inline struct gf_frame gf_describe_skb(struct __sk_buff *skb)
{
	return (struct gf_frame){
		.skb = skb,
		.data = (void *)(long)skb->data,
		.data_end = (void *)(long)skb->data_end,
		.length = skb->len,
		.interface = skb->ifindex,
		.segments = skb->gso_segs ?: 1,
	};
}

/* Has the verifier forget how much of a frame it has seen to be there. */
static __always_inline void gf_look_again(struct gf_frame *frame)
{
	if (frame->skb) {
		barrier_var(frame->skb); /* or clang keeps what it has read */
		frame->data = (void *)(long)frame->skb->data;
		frame->data_end = (void *)(long)frame->skb->data_end;
	} else {
		barrier_var(frame->xdp);
		frame->data = (void *)(long)frame->xdp->data;
		frame->data_end = (void *)(long)frame->xdp->data_end;
	}
}

/* Copies `size` bytes at `offset`; 0 if the frame has them. */
static __always_inline int gf_read(const struct gf_frame *frame, __u32 offset, void *to, __u32 size)
{
	const void *from = frame->data + (offset & GF_MAX_OFFSET);

	if (from + size > frame->data_end)
		return frame->skb ? bpf_skb_load_bytes(frame->skb, offset & GF_MAX_OFFSET, to, size) : -1;
	/* Where these programs run a word may lie anywhere; clang would copy byte by byte. */
	if (size % 4 == 0)
		__builtin_memcpy(to, __builtin_assume_aligned(from, 4), size);
	else
		__builtin_memcpy(to, __builtin_assume_aligned(from, 2), size);
	return 0;
}

static __always_inline __u64 gf_find_transport(const struct gf_frame *frame, __u32 network,
					       __u32 transport, __u8 protocol, __u8 family)
{
	__u32 ports;

	if (protocol != IPPROTO_UDP && protocol != IPPROTO_TCP)
		return GF_PLACE(network, 0, protocol, family, GF_UNJUDGED);
	if (gf_read(frame, transport, &ports, sizeof(ports)))
		return GF_PLACE(network, 0, protocol, family, GF_UNREADABLE);
	return GF_PLACE(network, transport, protocol, family, GF_PORTS);
}

static __always_inline __u64 gf_find_in_v4(const struct gf_frame *frame, __u32 network)
{
	struct iphdr ip;

	if (gf_read(frame, network, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return 0;
	if (ip.frag_off & bpf_htons(0x1fff))
		return GF_PLACE(network, 0, ip.protocol, 4, GF_UNJUDGED);
	return gf_find_transport(frame, network, network + ip.ihl * 4, ip.protocol, 4);
}

static __always_inline int gf_is_extension(__u8 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS ||
	       next == IPPROTO_MH || next == IPPROTO_FRAGMENT || next == IPPROTO_AH;
}

/* What an extension header says: next:8 | later fragment:8 | size:16, or GF_NO_EXTENSION if it can't be read. */
#define GF_NO_EXTENSION (~0ULL)

static __always_inline __u64 gf_read_extension(const struct gf_frame *frame, __u32 offset, __u8 kind)
{
	__u8 header[4]; /* next, length, fragment offset */

	if (gf_read(frame, offset, header, sizeof(header)))
		return GF_NO_EXTENSION;
	if (kind == IPPROTO_FRAGMENT)
		return header[0] | (header[2] || header[3] & 0xf8) << 8 | 8 << 16;
	if (kind == IPPROTO_AH)
		return header[0] | (header[1] + 2) * 4 << 16;
	return header[0] | (header[1] + 1) * 8 << 16;
}

__noinline __u64 gf_extension_xdp(struct xdp_md *ctx, __u32 offset, __u32 kind)
{
	struct gf_frame frame = gf_describe_xdp(ctx);

	return gf_read_extension(&frame, offset, kind);
}

__noinline __u64 gf_extension_tc(struct __sk_buff *skb, __u32 offset, __u32 kind)
{
	struct gf_frame frame = gf_describe_skb(skb);

	return gf_read_extension(&frame, offset, kind);
}

static __always_inline __u64 gf_find_in_v6(const struct gf_frame *frame, __u32 network)
{
	struct ipv6hdr ip;
	__u32 offset = network + sizeof(ip);
	__u8 next;

	if (gf_read(frame, network, &ip, sizeof(ip)) || ip.version != 6)
		return 0;
	next = ip.nexthdr;
	for (int i = 0; i < GF_EXTENSION_HEADERS && gf_is_extension(next); i++) {
		__u64 extension = frame->skb ? gf_extension_tc(frame->skb, offset, next)
					     : gf_extension_xdp(frame->xdp, offset, next);

		if (extension == GF_NO_EXTENSION)
			break;
		if (extension >> 8 & 1)
			return GF_PLACE(network, 0, next, 6, GF_UNJUDGED);
		next = extension;
		offset += extension >> 16;
	}
	if (gf_is_extension(next))
		return GF_PLACE(network, 0, 0, 6, GF_UNREADABLE);
	return gf_find_transport(frame, network, offset, next, 6);
}

static __always_inline int gf_is_vlan(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

/* Finds the headers from the IP header at `network` on, whose ethertype is `type`. */
static __always_inline __u64 gf_find_in_ip(const struct gf_frame *frame, __u32 network, __be16 type)
{
	if (type == bpf_htons(ETH_P_IP))
		return gf_find_in_v4(frame, network);
	return type == bpf_htons(ETH_P_IPV6) ? gf_find_in_v6(frame, network) : 0;
}

/* Finds the headers of an Ethernet frame. */
static __always_inline __u64 gf_find_in_ethernet(const struct gf_frame *frame)
{
	__u32 offset = sizeof(struct ethhdr);
	__be16 type;

	if (gf_read(frame, offsetof(struct ethhdr, h_proto), &type, sizeof(type)))
		return 0;
#pragma unroll
	for (int i = 0; i < GF_VLAN_TAGS; i++) {
		if (!gf_is_vlan(type))
			break;
		if (gf_read(frame, offset + 2, &type, sizeof(type)))
			return 0;
		offset += 4;
	}
	if (gf_is_vlan(type))
		return GF_PLACE(0, 0, 0, GF_BURIED, GF_UNJUDGED);
	return gf_find_in_ip(frame, offset, type);
}

/* What nearly all frames are: IPv4 without options, and UDP or TCP. */
struct gf_plain {
	struct ethhdr ethernet;
	struct iphdr ip;
	__be16 ports[2];
} __attribute__((packed, aligned(2)));

/* Reads a plain frame, the same as is found and read of it below with more steps. 0 if it is none. */
static __always_inline int gf_read_plain(const struct gf_frame *frame, enum gf_direction direction,
					 struct gf_packet *packet)
{
	const struct gf_plain *plain = frame->data;
	const __be32 *address; /* read at once: where these programs run a word may lie anywhere */

	if ((void *)(plain + 1) > frame->data_end)
		return 0;
	if (plain->ethernet.h_proto != bpf_htons(ETH_P_IP) || *(__u8 *)&plain->ip != 0x45 ||
	    plain->ip.frag_off & bpf_htons(0x1fff))
		return 0;
	if (plain->ip.protocol != IPPROTO_UDP && plain->ip.protocol != IPPROTO_TCP)
		return 0;
	packet->family = 4;
	packet->protocol = plain->ip.protocol;
	packet->transport = GF_PORTS;
	packet->offset = offsetof(struct gf_plain, ports);
	address = (void *)plain + (direction == GF_ARRIVES ? offsetof(struct gf_plain, ip.saddr)
							   : offsetof(struct gf_plain, ip.daddr));
	packet->v4 = bpf_ntohl(*address);
	packet->remote_port = bpf_ntohs(plain->ports[direction == GF_DEPARTS]);
	packet->local_port = bpf_ntohs(plain->ports[direction == GF_ARRIVES]);
	return 1;
}

/* Reads what is judged, or learnt from, at a place that one of the functions above found. */
static __always_inline void gf_read_packet(const struct gf_frame *frame, __u64 place,
					   enum gf_direction direction, struct gf_packet *packet)
{
	__u32 network = place & GF_MAX_OFFSET;
	__be16 ports[2] = {};
	__be64 address[2] = {};

	packet->offset = (place >> 16) & GF_MAX_OFFSET;
	packet->protocol = (place >> 32) & 0xff;
	packet->family = (place >> 40) & 0xff;
	packet->transport = (place >> 48) & 0xff;
	if (packet->family == 4) {
		network += direction == GF_ARRIVES ? offsetof(struct iphdr, saddr)
						   : offsetof(struct iphdr, daddr);
		gf_read(frame, network, address, 4);
		packet->v4 = bpf_ntohl(*(__be32 *)address);
	} else if (packet->family == 6) {
		network += direction == GF_ARRIVES ? offsetof(struct ipv6hdr, saddr)
						   : offsetof(struct ipv6hdr, daddr);
		gf_read(frame, network, address, sizeof(address));
		packet->high = bpf_be64_to_cpu(address[0]);
		packet->low = bpf_be64_to_cpu(address[1]);
	}
	if (packet->transport == GF_PORTS)
		gf_read(frame, packet->offset, ports, sizeof(ports));
	packet->remote_port = bpf_ntohs(ports[direction == GF_DEPARTS]);
	packet->local_port = bpf_ntohs(ports[direction == GF_ARRIVES]);
}

#endif
