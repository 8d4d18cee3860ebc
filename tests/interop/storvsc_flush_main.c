/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parent's storage from the guest's rings to the files, in one process and without KVM: a guest
 * with storvsc (that of the unit tests) writes batches to all its disks at once, over all channels,
 * flushes each, and says so. To be killed; what was said must then be in the images. What a batch
 * holds is as ioflush has it, with the LUN plus one as its seed: ioflush check judges.
 *
 * storvsc-flush --mib N [--crash BATCHES] IMAGE FROM [IMAGE FROM]...
 *     Until it is killed. LUN 0 is the first IMAGE; its first batch is FROM. Says "LUN flushed N".
 *     --crash: the guest is reset with its commands under way, at a random moment after so many
 *     batches of all disks, begins anew with what was not flushed, and says "crashed N".
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "storvsp/disk.h"
#include "storvsp/scsi.h"
#include "tests/tools/batch.h"
#include "tests/tools/block_pattern.h"
#include "tests/tools/stop_signal.h"
#include "tests/unit/storvsp/fake_storvsc.h"
#include "vmbus/guest_memory.h"
#include "vmbus/server.h"

#define MAX_LUNS	8
#define BATCH		8u /* as ioflush's default */
#define RING_PAGES	8
#define TRIES		16 /* of the first command: a reset is told once a unit */
#define BLOCK_SECTORS	(BLOCK_BYTES / 512)
#define BLOCKS_A_MIB	(1024 * 1024 / BLOCK_BYTES)
#define ANSWER_NS	(60 * UINT64_C(1000000000))
#define CRASH_STEPS	64 /* of the guest's loop, in each of which some of a batch is answered */
#define SYNCHRONIZE	0x35
#define TEST_UNIT_READY 0x00
#define EXIT_USAGE	2

struct lun {
	uint8_t number;
	struct disk *disk;
	struct scsi_unit *unit;
	uint32_t batch;
	bool flushing;
	unsigned int wanted; /* answers that are still to come */
	uint64_t since_ns;
};

static struct fake_storvsc guest;
static struct storvsp_controller *controller;
static struct lun luns[MAX_LUNS];
static unsigned int lun_count;
static uint64_t blocks;
static unsigned int flushed; /* batches, of all disks, since the guest began */

static void fail(const char *what, const char *detail)
{
	fprintf(stderr, "storvsc-flush: %s: %s\n", what, detail);
	exit(1);
}

/* The first is for the session's own packets. */
static uint64_t transaction_of(const struct lun *lun, unsigned int index)
{
	return 16 + (uint64_t)lun->number * (BATCH + 1) + index;
}

static void disk_add(const char *path)
{
	struct lun *lun = &luns[lun_count];
	struct disk_options options = {.path = path};
	struct scsi_unit_config config = {.kind = SCSI_DISK};
	char message[DISK_MESSAGE_BYTES];

	lun->number = (uint8_t)lun_count++;
	if (disk_open(&options, &lun->disk, message, sizeof(message)) != 0)
		fail(path, message);
	config.disk = lun->disk;
	config.id[0] = lun->number;
	if (scsi_unit_create(&config, &lun->unit) != 0)
		fail(path, "no unit");
}

/* The guest's driver begins: at first, and after each reset. */
static void guest_boot(void)
{
	const uint8_t ready[6] = {TEST_UNIT_READY};

	storvsc_connect(&guest);
	if (storvsc_open(&guest, 0, RING_PAGES) != 0 ||
	    !storvsc_begin_session(&guest, VSTOR_VERSION_6_2) ||
	    !storvsc_open_sub_channels(&guest, STORVSC_CHANNELS - 1, RING_PAGES))
		fail("boot", "the controller does not answer as it should");
	for (unsigned int i = 0; i < lun_count; i++) {
		const struct vstor_packet *answer = NULL;
		int tries = TRIES;

		do
			answer =
				storvsc_command(&guest, luns[i].number, ready, sizeof(ready), 0, 0);
		while (tries-- && answer && answer->srb.srb_status != VSTOR_SRB_SUCCESS);
		if (!answer || answer->srb.srb_status != VSTOR_SRB_SUCCESS)
			fail("boot", "a unit does not become ready");
		luns[i].wanted = 0;
		luns[i].flushing = false;
	}
}

static void batch_send(struct lun *lun)
{
	uint8_t *memory = guest_memory_region_at(guest.memory, 0)->hva;

	for (unsigned int i = 0; i < BATCH; i++) {
		const uint64_t block = batch_block(lun->number + 1u, lun->batch, i, blocks);
		const uint64_t id = transaction_of(lun, i);
		const uint64_t gpa = STORVSC_DATA_GPA + id * BLOCK_BYTES;

		block_fill(memory + gpa, block, lun->batch);
		guest.answers[id].count = 0;
		if (!storvsc_io(&guest, (unsigned int)id % STORVSC_CHANNELS, id, lun->number, true,
				(uint32_t)(block * BLOCK_SECTORS), gpa, BLOCK_BYTES))
			fail("write", "no room in the ring");
	}
	lun->wanted = BATCH;
}

static void flush_send(struct lun *lun)
{
	const uint8_t cdb[10] = {SYNCHRONIZE};
	const uint64_t id = transaction_of(lun, BATCH);
	const struct vstor_packet packet =
		storvsc_srb(lun->number, cdb, sizeof(cdb), VSTOR_DATA_NONE, 0);

	guest.answers[id].count = 0;
	if (!storvsc_send(&guest, lun->number % STORVSC_CHANNELS, id, &packet, sizeof(packet)))
		fail("flush", "no room in the ring");
	lun->wanted = 1;
}

/* Whether all that the LUN was sent last is answered, well. */
static bool is_answered(const struct lun *lun)
{
	const unsigned int first = lun->flushing ? BATCH : 0;

	for (unsigned int i = first; i < first + lun->wanted; i++) {
		const struct storvsc_answer *answer = &guest.answers[transaction_of(lun, i)];

		if (answer->count > 1)
			fail("answer", "there are two");
		if (answer->count == 0)
			return false;
		if (answer->packet.srb.srb_status != VSTOR_SRB_SUCCESS)
			fail("answer", "a command failed");
	}
	return true;
}

static void fail_lost(const struct lun *lun)
{
	const unsigned int first = lun->flushing ? BATCH : 0;
	char text[128] = "none to";

	for (unsigned int i = first; i < first + lun->wanted; i++) {
		const size_t length = strlen(text);
		const uint64_t id = transaction_of(lun, i);

		if (guest.answers[id].count == 0)
			snprintf(text + length, sizeof(text) - length, " %" PRIu64, id);
	}
	fail(lun->flushing ? "flush" : "write", text);
}

static void lun_step(struct lun *lun)
{
	if (!is_answered(lun)) {
		if (clock_ns() - lun->since_ns > ANSWER_NS)
			fail_lost(lun);
		return;
	}
	lun->since_ns = clock_ns();
	if (lun->wanted && lun->flushing) {
		printf("%u flushed %" PRIu32 "\n", lun->number, lun->batch);
		fflush(stdout);
		lun->batch++;
		flushed++;
	}
	lun->flushing = lun->wanted && !lun->flushing;
	if (lun->flushing)
		flush_send(lun);
	else
		batch_send(lun);
}

static void controller_make(void)
{
	const struct storvsp_controller_config config = {.instance_id.bytes = {1, 2, 3},
							 .max_sub_channels = STORVSC_CHANNELS - 1};

	if (storvsp_controller_create(&guest.bus, &config, &controller) != 0)
		fail("controller", "not created");
	for (unsigned int i = 0; i < lun_count; i++)
		if (storvsp_controller_add_unit(controller, i, luns[i].unit) != 0)
			fail("controller", "takes no unit");
}

/* The host has let go of every channel; those under way have ended. */
static void wait_closed(void)
{
	const uint64_t since_ns = clock_ns();

	for (unsigned int i = 0; i < STORVSC_CHANNELS; i++) {
		while (guest.channels[i].kick >= 0) {
			if (clock_ns() - since_ns > ANSWER_NS)
				fail("reset", "a channel stays open");
			event_loop_run_once(guest.loop, 1);
		}
		guest.channels[i].relid = 0;
	}
}

/* Now as a kernel that starts another one has it, now as vmwp does where a guest resets. */
static void guest_crash(unsigned int count)
{
	for (unsigned int i = 0; i < STORVSC_CHANNELS; i++)
		guest.channels[i].open = false;
	if (count % 2) {
		vmbus_server_reset(guest.server);
		wait_closed();
	} else {
		storvsp_controller_destroy(controller);
		wait_closed();
		storvsc_change_host(&guest);
		controller_make();
	}
	for (unsigned int i = 0; i < lun_count; i++)
		scsi_unit_reset(luns[i].unit);
	guest_boot();
	printf("crashed %u\n", count);
	fflush(stdout);
}

static void run(unsigned int crash_batches)
{
	unsigned int crashes = 0, steps = 0;

	for (;;) {
		for (unsigned int i = 0; i < lun_count; i++)
			lun_step(&luns[i]);
		event_loop_run_once(guest.loop, 1);
		if (!crash_batches || flushed < crash_batches)
			continue;
		if (steps == 0)
			steps = 1 + (unsigned int)(clock_ns() / 1000 % CRASH_STEPS);
		if (--steps > 0)
			continue;
		guest_crash(++crashes);
		flushed = 0;
	}
}

static int usage(void)
{
	fprintf(stderr,
		"usage: storvsc-flush --mib N [--crash BATCHES] IMAGE FROM [IMAGE FROM]...\n");
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"mib", required_argument, NULL, 'm'},
						{"crash", required_argument, NULL, 'c'},
						{NULL, 0, NULL, 0}};
	unsigned int crash_batches = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'm')
			blocks = option_number("--mib", optarg, 1, 1 << 16) * BLOCKS_A_MIB;
		else if (option == 'c')
			crash_batches = (unsigned int)option_number("--crash", optarg, 1, 60000);
		else
			return usage();
	}
	if (!blocks || optind == argc || (argc - optind) % 2 || argc - optind > 2 * MAX_LUNS)
		return usage();
	storvsc_init(&guest);
	for (int i = optind; i < argc; i += 2) {
		luns[lun_count].batch =
			(uint32_t)option_number("FROM", argv[i + 1], 1, UINT32_MAX / 2);
		disk_add(argv[i]);
	}
	controller_make();
	guest_boot();
	run(crash_batches);
}
