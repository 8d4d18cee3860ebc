/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The TCMU ring against a kernel played by the test: entries laid down byte for byte as
 * target_core_user does, and completions read back the way it reads them.
 */
#include "iscsi-initiator/tcmu_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "iscsi-initiator/tcmu_abi.h"
#include "tests/unit/test_main.h"

#define RING_BYTES 4096u
#define RING_AT	   128u
#define DATA_AT	   (RING_AT + RING_BYTES)
#define MAP_BYTES  (DATA_AT + 65536u)

struct kernel {
	uint8_t *map;
	struct tcmu_ring ring;
	struct tcmu_request request;
};

static void put32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static int set_up(void **state)
{
	static struct kernel k;

	memset(&k, 0, sizeof(k));
	k.map = aligned_alloc(4096, align_up(MAP_BYTES, 4096));
	memset(k.map, 0, MAP_BYTES);
	k.map[0] = 2;	 /* version */
	k.map[2] = 0x0f; /* out of order, read length, task management, keep buffer */
	put32(k.map + 4, RING_AT);
	put32(k.map + 8, RING_BYTES);
	*state = &k;
	return tcmu_ring_init(&k.ring, k.map, MAP_BYTES);
}

static int tear_down(void **state)
{
	struct kernel *k = *state;

	free(k->map);
	free(k->request.iov);
	return 0;
}

static uint8_t *at(struct kernel *k, uint32_t position)
{
	return k->map + RING_AT + position;
}

static void set_head(struct kernel *k, uint32_t head)
{
	put32(k->map + 12, head);
}

static uint32_t tail(struct kernel *k)
{
	return get32(k->map + 64);
}

/* One command with count iovecs of 4 KiB and a 16-byte CDB; returns its length. */
static uint32_t lay_command(struct kernel *k, uint32_t position, uint16_t id, uint32_t count)
{
	uint8_t *entry = at(k, position);
	uint32_t base = 48 + 16 * count < 112 ? 112 : 48 + 16 * count;
	uint32_t length = base + 16;

	memset(entry, 0, length);
	put32(entry, length | TCMU_ABI_COMMAND);
	memcpy(entry + 4, &id, sizeof(id));
	put32(entry + 8, count);
	put64(entry + 24, RING_AT + position + base);
	for (size_t i = 0; i < count; i++) {
		put64(entry + 48 + 16 * i, DATA_AT + 4096 * i);
		put64(entry + 56 + 16 * i, 4096);
	}
	entry[base] = 0x88; /* READ(16) */
	entry[base + 13] = (uint8_t)id;
	return length;
}

static int next(struct kernel *k)
{
	return tcmu_ring_next(&k->ring, &k->request);
}

static void empty_ring_gives_nothing(void **state)
{
	assert_int_equal(next(*state), 0);
}

static void command_is_copied_out(void **state)
{
	struct kernel *k = *state;
	uint32_t length = lay_command(k, 0, 7, 2);

	set_head(k, length);
	assert_int_equal(next(k), 1);
	assert_int_equal(k->request.kind, TCMU_REQUEST_COMMAND);
	assert_int_equal(k->request.id, 7);
	assert_int_equal(k->request.cdb[0], 0x88);
	assert_int_equal(k->request.cdb[13], 7);
	assert_true(k->request.cdb_available >= 16);
	assert_int_equal(k->request.iov_count, 2);
	assert_int_equal(k->request.data_bytes, 8192);
	assert_ptr_equal(k->request.iov[1].iov_base, k->map + DATA_AT + 4096);
	assert_int_equal(next(k), 0);
	assert_int_equal(tail(k), 0);
}

static void completion_is_what_the_kernel_reads(void **state)
{
	struct kernel *k = *state;
	const uint8_t sense[18] = {0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29};
	const struct tcmu_completion completion = {
		.id = 7, .status = 2, .sense = sense, .sense_length = sizeof(sense)};
	uint32_t length = lay_command(k, 0, 7, 1);

	set_head(k, length);
	assert_int_equal(next(k), 1);
	assert_int_equal(tcmu_ring_complete(&k->ring, &completion), 0);
	assert_int_equal(tail(k), length);
	assert_int_equal(get32(at(k, 0)), length | TCMU_ABI_COMMAND);
	assert_int_equal(at(k, 0)[4], 7);
	assert_int_equal(at(k, 0)[7], 0); /* user flags */
	assert_int_equal(at(k, 0)[8], 2); /* status */
	assert_memory_equal(at(k, 0) + 16, sense, sizeof(sense));
	assert_int_equal(tcmu_ring_complete(&k->ring, &completion), -EPROTO);
}

static void short_read_sets_its_length(void **state)
{
	struct kernel *k = *state;
	const struct tcmu_completion completion = {.id = 1, .read_bytes = 96};

	set_head(k, lay_command(k, 0, 1, 1));
	assert_int_equal(next(k), 1);
	assert_int_equal(tcmu_ring_complete(&k->ring, &completion), 0);
	assert_int_equal(at(k, 0)[7], TCMU_ABI_FLAG_READ_LENGTH);
	assert_int_equal(get32(at(k, 0) + 12), 96);
}

static void completions_out_of_order_carry_their_ids(void **state)
{
	struct kernel *k = *state;
	const struct tcmu_completion second = {.id = 2}, first = {.id = 1};
	uint32_t one = lay_command(k, 0, 1, 3);
	uint32_t two = lay_command(k, one, 2, 1);

	set_head(k, one + two);
	assert_int_equal(next(k), 1);
	assert_int_equal(next(k), 1);
	assert_int_equal(tcmu_ring_complete(&k->ring, &second), 0);
	assert_int_equal(tail(k), one);
	assert_int_equal(at(k, 0)[4], 2);
	assert_int_equal(tcmu_ring_complete(&k->ring, &first), 0);
	assert_int_equal(tail(k), one + two);
	assert_int_equal(at(k, one)[4], 1);
}

static void ring_wraps_over_a_pad(void **state)
{
	struct kernel *k = *state;
	const struct tcmu_completion completion = {.id = 5};
	uint32_t start = RING_BYTES - 64, length;

	/* As if all before had been done. */
	put32(k->map + 64, start);
	set_head(k, start);
	assert_int_equal(tcmu_ring_init(&k->ring, k->map, MAP_BYTES), 0);
	put32(at(k, start), 64 | TCMU_ABI_PAD);
	length = lay_command(k, 0, 5, 1);
	set_head(k, length);
	assert_int_equal(next(k), 1);
	assert_int_equal(k->request.id, 5);
	assert_int_equal(tcmu_ring_complete(&k->ring, &completion), 0);
	assert_int_equal(tail(k), length);
	assert_int_equal(at(k, 0)[4], 5);
}

static void task_management_lists_the_commands(void **state)
{
	struct kernel *k = *state;
	const uint16_t ids[3] = {4, 9, 65535};

	put32(at(k, 0), 40 | TCMU_ABI_TASK_MANAGEMENT);
	at(k, 0)[8] = TCMU_ABI_LUN_RESET;
	put32(at(k, 0) + 12, 3);
	memcpy(at(k, 0) + 32, ids, sizeof(ids));
	set_head(k, 40);
	assert_int_equal(next(k), 1);
	assert_int_equal(k->request.kind, TCMU_REQUEST_TASK_MANAGEMENT);
	assert_int_equal(k->request.function, TCMU_ABI_LUN_RESET);
	assert_int_equal(k->request.id_count, 3);
	assert_int_equal(k->request.ids[2], 65535);
}

static void completion_passes_over_task_management(void **state)
{
	struct kernel *k = *state;
	const struct tcmu_completion completion = {.id = 6};
	uint32_t length;

	put32(at(k, 0), 32 | TCMU_ABI_TASK_MANAGEMENT);
	length = lay_command(k, 32, 6, 1);
	set_head(k, 32 + length);
	assert_int_equal(next(k), 1);
	assert_int_equal(next(k), 1);
	assert_int_equal(tcmu_ring_complete(&k->ring, &completion), 0);
	assert_int_equal(tail(k), 32 + length);
}

/* Each damages one field of a good command; the ring must refuse, and never read outside. */
static void damaged_entries_are_refused(void **state)
{
	static const struct {
		uint64_t offset, value;
		size_t bytes;
	} damages[] = {
		{0, 0, 4},				/* no length */
		{0, 8 | TCMU_ABI_COMMAND, 4},		/* shorter than a response */
		{0, 0xfffffff8u | TCMU_ABI_COMMAND, 4}, /* longer than the ring */
		{0, 256 | TCMU_ABI_COMMAND, 4},		/* past head */
		{0, 144 | 7, 4},			/* unknown operation */
		{8, 0xffffffffu, 4},			/* iovecs past the entry */
		{8, 7, 4},				/* one iovec too many for the entry */
		{24, 0, 8},				/* CDB before the entry */
		{24, RING_AT + 144, 8},			/* CDB after the entry */
		{24, UINT64_MAX, 8},			/* CDB nowhere */
		{48, 0, 8},				/* data in the mailbox */
		{48, DATA_AT - 1, 8},			/* data in the ring */
		{48, MAP_BYTES - 1, 8},			/* data past the end */
		{48, UINT64_MAX - 100, 8},		/* overflow */
		{56, 0, 8},				/* empty iovec */
		{56, UINT64_MAX, 8},			/* endless iovec */
	};
	struct kernel *k = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(damages); i++) {
		uint32_t length = lay_command(k, 0, 3, 1);
		memcpy(at(k, 0) + damages[i].offset, &damages[i].value, damages[i].bytes);
		set_head(k, length);
		if (next(k) != -EPROTO)
			fail_msg("damage %zu was not seen", i);
		assert_int_equal(k->ring.next, 0);
	}
}

static void bidirectional_command_is_given_back(void **state)
{
	struct kernel *k = *state;
	uint32_t length = lay_command(k, 0, 3, 1);

	put32(at(k, 0) + 12, 1);
	set_head(k, length);
	assert_int_equal(next(k), -EOPNOTSUPP);
	assert_int_equal(k->request.id, 3);
	assert_int_equal(next(k), 0);
}

static void head_outside_the_ring_is_refused(void **state)
{
	struct kernel *k = *state;

	set_head(k, RING_BYTES);
	assert_int_equal(next(k), -EPROTO);
	set_head(k, 4);
	assert_int_equal(next(k), -EPROTO);
}

static void unknown_mailboxes_are_refused(void **state)
{
	static const struct {
		uint32_t offset, value;
	} damages[] = {
		{0, 1 | 0x0f0000}, {0, 2 | 0x020000}, {0, 2 | 0x010000}, {4, 64}, {4, 132}, {8, 0},
		{8, 4095},	   {8, 0xfffffff8},   {64, 4096},	 {64, 3},
	};
	struct kernel *k = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(damages); i++) {
		uint8_t mailbox[128];
		struct tcmu_ring ring;
		memcpy(mailbox, k->map, sizeof(mailbox));
		put32(k->map + damages[i].offset, damages[i].value);
		if (tcmu_ring_init(&ring, k->map, MAP_BYTES) != -EPROTO)
			fail_msg("damage %zu was not seen", i);
		memcpy(k->map, mailbox, sizeof(mailbox));
	}
	assert_int_equal(tcmu_ring_init(&k->ring, k->map, 100), -EPROTO);
}

#define RING_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RING_TEST(empty_ring_gives_nothing),
		RING_TEST(command_is_copied_out),
		RING_TEST(completion_is_what_the_kernel_reads),
		RING_TEST(short_read_sets_its_length),
		RING_TEST(completions_out_of_order_carry_their_ids),
		RING_TEST(ring_wraps_over_a_pad),
		RING_TEST(task_management_lists_the_commands),
		RING_TEST(completion_passes_over_task_management),
		RING_TEST(damaged_entries_are_refused),
		RING_TEST(bidirectional_command_is_given_back),
		RING_TEST(head_outside_the_ring_is_refused),
		RING_TEST(unknown_mailboxes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
