/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a packet costs in the switch, by feature: one thread forwards bursts of 64-byte frames
 * between ports that do nothing, on buffers that stay in the cache, so that what is left is the
 * switch: admission, look-up, release, staging. All cases run in turn, window by window, and the
 * medians of the windows are told, so that a machine whose speed drifts favours none.
 *
 * switchbench [--rounds N] [--ms N] [--json]
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#include "base/exit_code.h"
#include "netvsp/eal.h"
#include "netvsp/mbuf_pools.h"
#include "netvsp/switch.h"

#define FRAME_BYTES 60 /* 64 on the wire, with the checksum */
#define FRAMES	    512
#define PASSES	    8	 /* between two looks at the clock */
#define MANY	    1000 /* addresses behind the uplink, a power of ten for the reader */
#define MAX_ROUNDS  1000
#define MEMORY_MB   256
#define PRIMARY	    20
#define ISOLATED    21
#define ACCESS	    10

enum end { FROM, TO, ENDS };

/* One way through the switch. */
struct bench_case {
	const char *name;
	const char *than; /* the case from which it differs by the feature alone; NULL: none */
	bool to_uplink;
	bool guarded;
	bool tagged; /* its frames come with the tag ACCESS */
	unsigned int addresses;
	struct vlan_config vlan[ENDS];

	struct vswitch *sw;
	struct switch_port *ports[ENDS];
	struct rte_mbuf *frames[FRAMES];
	uint64_t delivered;
	double *ns; /* by round, a packet */
};

static struct bench_case cases[] = {
	{.name = "forward"},
	{.name = "forward, source address checked", .than = "forward", .guarded = true},
	{.name = "forward to an uplink", .to_uplink = true},
	{.name = "forward to an uplink, 1000 addresses",
	 .than = "forward to an uplink",
	 .to_uplink = true,
	 .addresses = MANY},
	{.name = "untagged",
	 .than = "forward",
	 .vlan = {{.mode = VLAN_UNTAGGED}, {.mode = VLAN_UNTAGGED}}},
	{.name = "access",
	 .than = "forward",
	 .vlan = {{.mode = VLAN_ACCESS, .id = ACCESS}, {.mode = VLAN_ACCESS, .id = ACCESS}}},
	{.name = "access to an uplink",
	 .than = "forward to an uplink",
	 .to_uplink = true,
	 .vlan = {{.mode = VLAN_ACCESS, .id = ACCESS}, {.mode = VLAN_DEFAULT}}},
	{.name = "trunk to access",
	 .than = "forward",
	 .tagged = true,
	 .vlan = {{.mode = VLAN_TRUNK}, {.mode = VLAN_ACCESS, .id = ACCESS}}},
	{.name = "isolated to promiscuous",
	 .than = "forward",
	 .vlan = {{.mode = VLAN_ISOLATED, .id = PRIMARY, .secondary = ISOLATED},
		  {.mode = VLAN_PROMISCUOUS, .id = PRIMARY}}},
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static uint16_t count_transmit(void *ctx, struct rte_mbuf **mbufs, uint16_t count)
{
	struct bench_case *bench = ctx;

	(void)mbufs; /* they are forwarded again: nobody frees them */
	bench->delivered += count;
	return count;
}

static void count_flush(void *ctx)
{
	(void)ctx;
}

static const struct switch_port_ops counting = {.transmit = count_transmit, .flush = count_flush};

static struct rte_ether_addr address(unsigned int kind, unsigned int number)
{
	return (struct rte_ether_addr){
		.addr_bytes = {0x02, 0, (uint8_t)kind, 0, (uint8_t)(number >> 8), (uint8_t)number}};
}

static int add_port(struct bench_case *bench, enum end end)
{
	struct switch_port_config config = {
		.kind = end == TO && bench->to_uplink ? SWITCH_PORT_UPLINK : SWITCH_PORT_VNIC,
		.name = end == FROM ? "from" : "to",
		.mac = address(end, 0),
		.spoof_guard = end == FROM && bench->guarded,
		.ops = &counting,
		.ctx = bench,
	};
	int rc = vswitch_add_port(bench->sw, &config, &bench->ports[end]);

	if (rc || config.kind == SWITCH_PORT_UPLINK)
		return rc;
	switch_port_set_up(bench->sw, bench->ports[end], true);
	return bench->vlan[end].mode == VLAN_DEFAULT
		       ? 0
		       : switch_port_set_vlan(bench->sw, bench->ports[end], &bench->vlan[end]);
}

static void frame_fill(struct rte_mbuf *mbuf, struct rte_ether_addr from, struct rte_ether_addr to)
{
	struct rte_ether_hdr *header = rte_pktmbuf_mtod(mbuf, struct rte_ether_hdr *);

	memset(header, 0, FRAME_BYTES);
	*header = (struct rte_ether_hdr){to, from, rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4)};
}

/* The switch learns what is behind the uplink from frames that come in there, as it does in life.
 */
static int learn(struct bench_case *bench, struct rte_mbuf *mbuf)
{
	unsigned int count = bench->addresses ? bench->addresses : 1;

	for (unsigned int i = 0; i < count; i++) {
		bool tagged = bench->vlan[FROM].mode == VLAN_ACCESS;

		frame_fill(mbuf, address(TO, i), address(FROM, 0));
		mbuf->ol_flags = tagged ? RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED : 0;
		mbuf->vlan_tci = tagged ? ACCESS : 0;
		vswitch_forward(bench->sw, bench->ports[TO], &mbuf, 1);
		vswitch_flush(bench->sw);
	}
	return bench->delivered == count ? 0 : -EPROTO;
}

static int case_prepare(struct bench_case *bench, unsigned int number, struct mbuf_pools *pools,
			unsigned int rounds)
{
	struct vswitch_config config = {0};
	char name[12];
	int rc;

	if (bench->vlan[FROM].mode == VLAN_TRUNK)
		vlan_set_add_range(&bench->vlan[FROM].list, ACCESS, ACCESS);
	if (bench->vlan[TO].mode == VLAN_PROMISCUOUS)
		vlan_set_add_range(&bench->vlan[TO].list, ISOLATED, ISOLATED);
	snprintf(name, sizeof(name), "bench%u", number);
	rc = vswitch_create(name, &config, &bench->sw);
	rc = rc ? rc : add_port(bench, FROM);
	rc = rc ? rc : add_port(bench, TO);
	bench->ns = calloc(rounds, sizeof(double));
	if (rc || !bench->ns)
		return rc ? rc : -ENOMEM;
	for (unsigned int i = 0; i < FRAMES; i++) {
		bench->frames[i] = mbuf_pools_alloc(pools, FRAME_BYTES);
		if (!bench->frames[i] || !rte_pktmbuf_append(bench->frames[i], FRAME_BYTES))
			return -ENOMEM;
	}
	if (bench->to_uplink)
		rc = learn(bench, bench->frames[0]);
	for (unsigned int i = 0; i < FRAMES; i++)
		frame_fill(bench->frames[i], address(FROM, 0),
			   address(TO, bench->addresses ? i * 7 % bench->addresses : 0));
	return rc;
}

/* Forwards all frames once. */
static void pass(struct bench_case *bench)
{
	uint64_t flags = bench->tagged ? RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED : 0;
	uint16_t tci = bench->tagged ? ACCESS : 0;

	for (unsigned int i = 0; i < FRAMES; i += SWITCH_BURST) {
		for (unsigned int f = i; f < i + SWITCH_BURST; f++) {
			bench->frames[f]->ol_flags = flags;
			bench->frames[f]->vlan_tci = tci;
		}
		vswitch_forward(bench->sw, bench->ports[FROM], bench->frames + i, SWITCH_BURST);
		vswitch_flush(bench->sw);
	}
}

/* Of this thread: what others took of the core meanwhile does not count. */
static uint64_t own_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* One window. Returns 0 or -EPROTO: not every frame went to the far port. */
static int window(struct bench_case *bench, unsigned int round, uint64_t window_ns)
{
	uint64_t begun, now, before = bench->delivered, packets = 0;

	pass(bench);
	begun = own_ns();
	do {
		for (unsigned int i = 0; i < PASSES; i++)
			pass(bench);
		packets += PASSES * FRAMES;
		now = own_ns();
	} while (now - begun < window_ns);
	if (bench->delivered - before != packets + FRAMES)
		return -EPROTO;
	bench->ns[round] = (double)(now - begun) / (double)packets;
	return 0;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *values, unsigned int count)
{
	double sorted[MAX_ROUNDS];

	memcpy(sorted, values, count * sizeof(double));
	qsort(sorted, count, sizeof(double), compare_doubles);
	return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

/* By how much a case costs more than the one that it is compared with, round by round. */
static double feature_ns(const struct bench_case *bench, unsigned int rounds)
{
	double differences[MAX_ROUNDS];

	for (size_t i = 0; i < CASES; i++) {
		if (strcmp(cases[i].name, bench->than) != 0)
			continue;
		for (unsigned int r = 0; r < rounds; r++)
			differences[r] = bench->ns[r] - cases[i].ns[r];
	}
	return median(differences, rounds);
}

static void report(unsigned int rounds, bool json)
{
	if (!json)
		printf("%-38s %10s %10s %12s  %s\n", "64-byte frames, one core", "ns", "cycles",
		       "Mpackets/s", "feature alone");
	for (size_t i = 0; i < CASES; i++) {
		double ns = median(cases[i].ns, rounds);
		double cycles = ns * (double)rte_get_tsc_hz() / 1e9;

		if (json)
			printf("%s{\"name\": \"%s\", \"ns\": %.2f, \"cycles\": %.1f, \"mpps\": "
			       "%.2f",
			       i ? ",\n " : "[", cases[i].name, ns, cycles, 1000 / ns);
		else
			printf("%-38s %10.1f %10.0f %12.1f", cases[i].name, ns, cycles, 1000 / ns);
		if (cases[i].than)
			printf(json ? ", \"feature_ns\": %.2f, \"than\": \"%s\""
				    : "  %+.1f ns than \"%s\"",
			       feature_ns(&cases[i], rounds), cases[i].than);
		printf(json ? "}" : "\n");
	}
	if (json)
		printf("]\n");
}

static int measure(unsigned int rounds, unsigned int window_ms, struct mbuf_pools *pools)
{
	uint64_t window_ns = (uint64_t)window_ms * 1000000u;
	int rc = 0;

	for (unsigned int i = 0; i < CASES && rc == 0; i++) {
		rc = case_prepare(&cases[i], i, pools, rounds);
		if (rc)
			fprintf(stderr, "switchbench: %s: %s\n", cases[i].name, strerror(-rc));
	}
	for (unsigned int r = 0; r < rounds && rc == 0; r++)
		for (size_t i = 0; i < CASES && rc == 0; i++) {
			rc = window(&cases[i], r, window_ns);
			if (rc)
				fprintf(stderr, "switchbench: %s: frames are missing\n",
					cases[i].name);
		}
	return rc;
}

static void release(void)
{
	for (size_t i = 0; i < CASES; i++) {
		for (unsigned int f = 0; f < FRAMES; f++)
			rte_pktmbuf_free(cases[i].frames[f]);
		for (int end = 0; end < ENDS; end++)
			vswitch_remove_port(cases[i].sw, cases[i].ports[end]);
		vswitch_destroy(cases[i].sw);
		free(cases[i].ns);
	}
}

static bool read_number(const char *text, unsigned long most, unsigned int *number)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	*number = (unsigned int)value;
	return end != text && *end == '\0' && value >= 1 && value <= most;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"rounds", required_argument, NULL, 'r'},
						{"ms", required_argument, NULL, 'm'},
						{"json", no_argument, NULL, 'j'},
						{NULL, 0, NULL, 0}};
	const struct eal_options eal = {.file_prefix = "lunar-switchbench",
					.pages = EAL_PAGES_AUTO,
					.memory_megabytes = MEMORY_MB};
	struct mbuf_pools pools = {0};
	unsigned int rounds = 25, window_ms = 20;
	bool json = false, good = true;
	int option, rc;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'r')
			good = good && read_number(optarg, MAX_ROUNDS, &rounds);
		else if (option == 'm')
			good = good && read_number(optarg, 1000, &window_ms);
		else if (option == 'j')
			json = true;
		else
			good = false;
	}
	if (!good || optind != argc) {
		fprintf(stderr, "usage: switchbench [--rounds 1-1000] [--ms 1-1000] [--json]\n");
		return EXIT_USAGE;
	}
	rc = eal_start(&eal);
	rc = rc ? rc : mbuf_pools_create("bench", MBUF_POOLS_MIN_MEGABYTES, &pools);
	if (rc) {
		fprintf(stderr, "switchbench: no memory for packets: %s\n", strerror(-rc));
		return EXIT_NO_MEMORY;
	}
	rc = measure(rounds, window_ms, &pools);
	if (rc == 0)
		report(rounds, json);
	release();
	mbuf_pools_destroy(&pools);
	eal_stop();
	return rc ? EXIT_INTERNAL : EXIT_OK;
}
