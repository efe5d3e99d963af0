/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A packet generator: each frame that the kernel makes of a template gets the next source address and goes
 * out through an interface. And the cheapest receiver there is, to compare others with.
 */
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>

char gf_license[] SEC("license") = "Dual MIT/GPL";

#define SOURCES (1 << 16)

/* In network byte order: IPv4 addresses, or the upper 64 bits of IPv6 addresses. They take little room in
 * the cache, which is the receiver's to use. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__be32) * SOURCES);
	__uint(max_entries, 1);
} sources_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__be64) * SOURCES);
	__uint(max_entries, 1);
} sources_v6 SEC(".maps");

/* Where to. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, 1);
} interface SEC(".maps");

/* The number of the next frame. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, 1);
} next SEC(".maps");

static __always_inline __u32 next_source(void)
{
	__u32 zero = 0, *number = bpf_map_lookup_elem(&next, &zero);

	return number ? (*number)++ & (SOURCES - 1) : 0;
}

/* An internet checksum (RFC 1071) after words of what it covers have changed by this much. */
static __always_inline __u16 adjust(__u16 check, __u64 before, __u64 after)
{
	__u64 sum = (__u16)~check;

#pragma unroll
	for (int i = 0; i < 64; i += 16)
		sum += (__u16)(after >> i) + (__u16)~(before >> i);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

static __always_inline int send(void)
{
	__u32 zero = 0, *to = bpf_map_lookup_elem(&interface, &zero);

	return to ? bpf_redirect(*to, 0) : XDP_ABORTED;
}

SEC("xdp")
int fire_v4(struct xdp_md *ctx)
{
	struct iphdr *ip = (void *)(long)ctx->data + sizeof(struct ethhdr);
	__u32 zero = 0;
	const __be32 *sources = bpf_map_lookup_elem(&sources_v4, &zero);
	__be32 source;

	if (!sources || (void *)(ip + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	source = sources[next_source()];
	ip->check = adjust(ip->check, ip->saddr, source);
	ip->saddr = source;
	return send();
}

SEC("xdp")
int fire_v6(struct xdp_md *ctx)
{
	struct ipv6hdr *ip = (void *)(long)ctx->data + sizeof(struct ethhdr);
	struct udphdr *udp = (void *)(ip + 1);
	__u32 zero = 0;
	const __be64 *sources = bpf_map_lookup_elem(&sources_v6, &zero);
	__be64 source, *address = (void *)&ip->saddr;

	if (!sources || (void *)(udp + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	source = sources[next_source()];
	udp->check = adjust(udp->check, *address, source);
	*address = source;
	return send();
}

SEC("xdp")
int drop(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_DROP;
}

/* The time the kernel spends on receiving, by CPU. */
struct receiving {
	__u64 since;
	__u64 spent; /* ns */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct receiving));
	__uint(max_entries, 1);
} receiving SEC(".maps");

#define NET_RX_SOFTIRQ 3

static __always_inline struct receiving *get_receiving(const struct bpf_raw_tracepoint_args *ctx)
{
	__u32 zero = 0;

	return ctx->args[0] == NET_RX_SOFTIRQ ? bpf_map_lookup_elem(&receiving, &zero) : NULL;
}

SEC("raw_tracepoint/softirq_entry")
int begin_receiving(struct bpf_raw_tracepoint_args *ctx)
{
	struct receiving *receiving = get_receiving(ctx);

	if (receiving)
		receiving->since = bpf_ktime_get_ns();
	return 0;
}

SEC("raw_tracepoint/softirq_exit")
int end_receiving(struct bpf_raw_tracepoint_args *ctx)
{
	struct receiving *receiving = get_receiving(ctx);

	if (receiving && receiving->since)
		receiving->spent += bpf_ktime_get_ns() - receiving->since;
	return 0;
}
