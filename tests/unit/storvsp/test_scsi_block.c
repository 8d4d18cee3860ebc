/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks: reads and writes of every length of CDB, their edges, FUA and flushes, comparing, filling
 * and giving back. The verdict is the bytes of the disk.
 */
#include "tests/unit/storvsp/scsi_fixture.h"

#include "tests/unit/test_main.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

#define LBA8(n)	  0, 0, 0, 0, 0, 0, (uint8_t)((n) >> 8), (uint8_t)(n)
#define LBA4(n)	  0, 0, (uint8_t)((n) >> 8), (uint8_t)(n)
#define COUNT4(n) 0, 0, (uint8_t)((n) >> 8), (uint8_t)(n)
#define BLOCKS(n) ((size_t)(n)*512)
#define COUNT2(n) (uint8_t)((n) >> 8), (uint8_t)(n)

static uint8_t pattern(size_t at, uint8_t seed)
{
	return (uint8_t)(at * 13 + (at >> 9) * 7 + seed);
}

static void fill(uint8_t *bytes, size_t length, uint8_t seed)
{
	for (size_t i = 0; i < length; i++)
		bytes[i] = pattern(i, seed);
}

static void assert_filled(const uint8_t *bytes, size_t length, uint8_t seed)
{
	for (size_t i = 0; i < length; i++)
		assert_int_equal(bytes[i], pattern(i, seed));
}

static void assert_zero(const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		assert_int_equal(bytes[i], 0);
}

static void writes_of_every_length_reach_the_disk(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t *disk = f->memory->bytes;

	fill(f->buffer, BLOCKS(5), 1);
	scsi_run_out(f, BLOCKS(5), 0x0a, 0, 0, 10, 5, 0);
	scsi_expect_good(f, BLOCKS(5));
	assert_filled(&disk[BLOCKS(10)], BLOCKS(5), 1);
	fill(f->buffer, BLOCKS(5), 2);
	scsi_run_out(f, BLOCKS(5), 0x2a, 0, LBA4(0x120), 0, COUNT2(5), 0);
	assert_filled(&disk[BLOCKS(0x120)], BLOCKS(5), 2);
	fill(f->buffer, BLOCKS(5), 3);
	scsi_run_out(f, BLOCKS(5), 0xaa, 0, LBA4(0x220), COUNT4(5), 0, 0);
	assert_filled(&disk[BLOCKS(0x220)], BLOCKS(5), 3);
	fill(f->buffer, BLOCKS(5), 4);
	scsi_run_out(f, BLOCKS(5), 0x8a, 0, LBA8(0x320), COUNT4(5), 0, 0);
	assert_filled(&disk[BLOCKS(0x320)], BLOCKS(5), 4);
	scsi_expect_good(f, BLOCKS(5));
	assert_zero(&disk[BLOCKS(0x325)], 512);
}

static void reads_of_every_length_see_the_disk(void **state)
{
	struct scsi_fixture *f = *state;

	fill(f->memory->bytes, BLOCKS(FIXTURE_BLOCKS), 9);
	scsi_run_in(f, BLOCKS(256), 0x08, 0, 0, 0, 0, 0); /* 0 is 256 */
	scsi_expect_good(f, BLOCKS(256));
	assert_memory_equal(f->buffer, f->memory->bytes, BLOCKS(256));
	scsi_run_in(f, 512, 0x28, 0, LBA4(4095), 0, COUNT2(1), 0);
	scsi_expect_good(f, 512);
	assert_memory_equal(f->buffer, &f->memory->bytes[BLOCKS(4095)], 512);
	scsi_run_in(f, 1024, 0xa8, 0, LBA4(7), COUNT4(2), 0x1f, 0);
	assert_memory_equal(f->buffer, &f->memory->bytes[BLOCKS(7)], 1024);
	scsi_run_in(f, 1024, 0x88, 0x12, LBA8(8), COUNT4(2), 0, 0);
	assert_memory_equal(f->buffer, &f->memory->bytes[BLOCKS(8)], 1024);
}

static void what_is_out_of_range_tells_the_first_block_that_is_not_there(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_run_in(f, 1024, 0x28, 0, LBA4(4095), 0, COUNT2(2), 0);
	scsi_expect_sense(f, 0x5, 0x2100);
	assert_int_equal(f->command.sense[0], 0xf0);
	assert_int_equal(get_be32(&f->command.sense[3]), 4096);
	scsi_run_out(f, 512, 0x2a, 0, 0xff, 0xff, 0xff, 0xff, 0, COUNT2(1), 0);
	scsi_expect_sense(f, 0x5, 0x2100);
	assert_int_equal(get_be32(&f->command.sense[3]), 0xffffffff);
	scsi_run_in(f, 512, 0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, COUNT4(1), 0,
		    0);
	scsi_expect_sense(f, 0x5, 0x2100);
	assert_int_equal(f->command.sense[0], 0x70); /* it does not fit */
	scsi_run_in(f, 0, 0x28, 0, LBA4(4097), 0, COUNT2(0), 0);
	scsi_expect_sense(f, 0x5, 0x2100);
	scsi_run_in(f, 0, 0x28, 0, LBA4(4096), 0, COUNT2(0), 0);
	scsi_expect_good(f, 0);
	scsi_run_none(f, 0x34, 0, LBA4(4090), 0, COUNT2(7), 0); /* PRE-FETCH */
	scsi_expect_sense(f, 0x5, 0x2100);
	scsi_run_none(f, 0x35, 0, LBA4(4090), 0, COUNT2(7), 0); /* SYNCHRONIZE CACHE */
	scsi_expect_sense(f, 0x5, 0x2100);
	scsi_run_none(f, 0x2f, 0, LBA4(4090), 0, COUNT2(7), 0); /* VERIFY */
	scsi_expect_sense(f, 0x5, 0x2100);
}

static void more_than_the_maximum_is_refused(void **state)
{
	struct scsi_fixture *f = *state;

	f->memory->info.size_bytes = 1ull << 40;
	scsi_run_in(f, 512, 0x88, 0, LBA8(0), 0, 0, 0x40, 1, 0, 0);
	scsi_expect_bad_cdb(f, 10);
	scsi_run_in(f, 512, 0xa8, 0, LBA4(0), 0, 0, 0x40, 1, 0, 0);
	scsi_expect_bad_cdb(f, 6);
}

static void a_read_fills_the_buffer_there_is_and_no_more(void **state)
{
	struct scsi_fixture *f = *state;

	fill(f->memory->bytes, 8192, 5);
	memset(f->buffer, 0xee, 10000);
	scsi_run_in(f, 10000, 0x28, 0, LBA4(0), 0, COUNT2(1), 0);
	scsi_expect_good(f, 512);
	assert_filled(f->buffer, 512, 5);
	assert_int_equal(f->buffer[512], 0xee);
	memset(f->buffer, 0xee, 10000);
	scsi_run_in(f, 700, 0x28, 0, LBA4(0), 0, COUNT2(2), 0);
	scsi_expect_good(f, 700);
	assert_filled(f->buffer, 700, 5);
	assert_int_equal(f->buffer[700], 0xee);
	assert_int_equal(f->memory->last_length, 1024);
	scsi_run_in(f, 1, 0x28, 0, LBA4(0), 0, COUNT2(2), 0);
	scsi_expect_good(f, 1);
	assert_int_equal(f->memory->last_length, 512);
	scsi_run_none(f, 0x28, 0, LBA4(0), 0, COUNT2(2), 0);
	scsi_expect_good(f, 0);
}

static void a_write_takes_its_length_of_a_longer_buffer_and_nothing_of_a_shorter(void **state)
{
	struct scsi_fixture *f = *state;

	fill(f->buffer, 10000, 6);
	scsi_run_out(f, 10000, 0x2a, 0, LBA4(3), 0, COUNT2(3), 0);
	scsi_expect_good(f, 1536);
	assert_filled(&f->memory->bytes[1536], 1536, 6);
	assert_zero(&f->memory->bytes[3072], 512);
	fill(f->buffer, 1535, 7);
	scsi_run_out(f, 1535, 0x2a, 0, LBA4(3), 0, COUNT2(3), 0);
	scsi_expect_sense(f, 0x5, 0x0e03);
	assert_filled(&f->memory->bytes[1536], 1536, 6);
}

static void fua_and_flush_mean_what_they_say(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_run_out(f, 512, 0x2a, 0, LBA4(0), 0, COUNT2(1), 0);
	assert_false(f->memory->last_fua);
	scsi_run_out(f, 512, 0x2a, 0x08, LBA4(0), 0, COUNT2(1), 0);
	assert_true(f->memory->last_fua);
	scsi_run_out(f, 512, 0x0a, 0, 0, 0, 1, 0);
	assert_false(f->memory->last_fua);
	scsi_run_none(f, 0x35, 0x02, LBA4(0), 0, COUNT2(0), 0);
	scsi_expect_good(f, 0);
	assert_int_equal(f->memory->counts[DISK_FLUSH], 1);
	scsi_run_none(f, 0x91, 0, LBA8(0), COUNT4(0), 0, 0);
	assert_int_equal(f->memory->counts[DISK_FLUSH], 2);
	/* A read from the medium: what is cached goes there first. */
	scsi_run_in(f, 512, 0x28, 0x08, LBA4(0), 0, COUNT2(1), 0);
	scsi_expect_good(f, 512);
	assert_int_equal(f->memory->counts[DISK_FLUSH], 3);
	f->memory->info.write_cache = false;
	scsi_run_out(f, 512, 0x2a, 0x08, LBA4(0), 0, COUNT2(1), 0);
	assert_false(f->memory->last_fua);
}

static void a_read_only_disk_protects_its_data(void **state)
{
	struct scsi_fixture *f = *state;

	f->memory->info.read_only = true;
	scsi_run_out(f, 512, 0x2a, 0, LBA4(0), 0, COUNT2(1), 0);
	scsi_expect_sense(f, 0x7, 0x2700);
	scsi_run_none(f, 0x41, 0x08, LBA4(0), 0, COUNT2(1), 0);
	scsi_expect_sense(f, 0x7, 0x2700);
	scsi_run_out(f, 24, 0x42, 0, 0, 0, 0, 0, 0, COUNT2(24), 0);
	scsi_expect_sense(f, 0x7, 0x2700);
	scsi_run_out(f, 1024, 0x89, 0, LBA8(0), 0, 0, 0, 1, 0, 0);
	scsi_expect_sense(f, 0x7, 0x2700);
	scsi_run_in(f, 512, 0x28, 0, LBA4(0), 0, COUNT2(1), 0);
	scsi_expect_good(f, 512);
	scsi_run_none(f, 0x35, 0, LBA4(0), 0, COUNT2(0), 0);
	scsi_expect_good(f, 0);
}

/* ---- comparing ---- */

static void verify_finds_the_byte_that_differs(void **state)
{
	struct scsi_fixture *f = *state;
	size_t length = BLOCKS(1100); /* several pieces */

	fill(f->memory->bytes, length, 3);
	fill(f->buffer, length, 3);
	scsi_run_out(f, length, 0x2f, 0x02, LBA4(0), 0, COUNT2(1100), 0);
	scsi_expect_good(f, length);
	f->buffer[length - 7] ^= 1;
	scsi_run_out(f, length, 0x8f, 0x02, LBA8(0), COUNT4(1100), 0, 0);
	scsi_expect_sense(f, 0xe, 0x1d00);
	assert_int_equal(f->command.sense[0], 0xf0);
	assert_int_equal(get_be32(&f->command.sense[3]), length - 7);
	/* Without BYTCHK what the guest sent is of no interest. */
	scsi_run_out(f, length, 0xaf, 0, LBA4(0), COUNT4(1100), 0, 0);
	scsi_expect_good(f, 0);
	scsi_run_none(f, 0x2f, 0x04, LBA4(0), 0, COUNT2(1), 0);
	scsi_expect_bad_cdb(f, 1);
	scsi_run_out(f, 511, 0x2f, 0x02, LBA4(0), 0, COUNT2(1), 0);
	scsi_expect_sense(f, 0x5, 0x0e03);
}

static void verify_of_one_block_many_times(void **state)
{
	struct scsi_fixture *f = *state;

	for (size_t i = 0; i < 600; i++)
		fill(&f->memory->bytes[BLOCKS(i)], 512, 3);
	fill(f->buffer, 512, 3);
	scsi_run_out(f, 512, 0x2f, 0x06, LBA4(0), 0, COUNT2(600), 0);
	scsi_expect_good(f, 512);
	f->memory->bytes[BLOCKS(590) + 17] ^= 1;
	scsi_run_out(f, 512, 0x2f, 0x06, LBA4(0), 0, COUNT2(600), 0);
	scsi_expect_sense(f, 0xe, 0x1d00);
	assert_int_equal(get_be32(&f->command.sense[3]), 17);
}

static void verify_reads_the_medium(void **state)
{
	struct scsi_fixture *f = *state;

	f->memory->fail[DISK_READ] = -EIO;
	scsi_run_none(f, 0x2f, 0, LBA4(0), 0, COUNT2(1), 0);
	scsi_expect_sense(f, 0x3, 0x1100);
}

static void write_and_verify_writes_through(void **state)
{
	struct scsi_fixture *f = *state;
	size_t length = BLOCKS(600);

	fill(f->buffer, length, 8);
	scsi_run_out(f, length, 0x2e, 0x02, LBA4(5), 0, COUNT2(600), 0);
	scsi_expect_good(f, length);
	assert_filled(&f->memory->bytes[BLOCKS(5)], length, 8);
	assert_int_equal(f->memory->counts[DISK_WRITE], 3);
	assert_int_equal(f->memory->counts[DISK_READ], 3);
	scsi_run_out(f, length, 0xae, 0x06, LBA4(5), COUNT4(600), 0, 0);
	scsi_expect_bad_cdb(f, 1);
	f->memory->fail[DISK_READ] = -EIO;
	scsi_run_out(f, 512, 0x8e, 0, LBA8(5), COUNT4(1), 0, 0);
	assert_int_equal(f->command.status, 2);
}

static void compare_and_write_writes_only_what_compares(void **state)
{
	struct scsi_fixture *f = *state;

	fill(&f->memory->bytes[BLOCKS(100)], BLOCKS(4), 1);
	fill(f->buffer, BLOCKS(4), 1);
	fill(&f->buffer[BLOCKS(4)], BLOCKS(4), 2);
	scsi_run_out(f, BLOCKS(8), 0x89, 0x08, LBA8(100), 0, 0, 0, 4, 0, 0);
	scsi_expect_good(f, BLOCKS(8));
	assert_true(f->memory->last_fua);
	assert_filled(&f->memory->bytes[BLOCKS(100)], BLOCKS(4), 2);
	for (size_t i = 0; i < BLOCKS(4); i += 97) {
		fill(f->buffer, BLOCKS(4), 2);
		f->buffer[i] ^= 0x80;
		scsi_run_out(f, BLOCKS(8), 0x89, 0, LBA8(100), 0, 0, 0, 4, 0, 0);
		scsi_expect_sense(f, 0xe, 0x1d00);
		assert_int_equal(f->command.sense[0], 0xf0);
		assert_int_equal(get_be32(&f->command.sense[3]), i);
	}
	assert_filled(&f->memory->bytes[BLOCKS(100)], BLOCKS(4), 2);
}

static void compare_and_write_wants_both_halves(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_run_out(f, BLOCKS(2), 0x89, 0, LBA8(0), 0, 0, 0, 2, 0, 0);
	scsi_expect_bad_cdb(f, 13);
	scsi_run_out(f, BLOCKS(4), 0x89, 0, LBA8(0), 0, 0, 0, 1, 0, 0);
	scsi_expect_bad_cdb(f, 13);
	scsi_run_out(f, BLOCKS(512), 0x89, 0, LBA8(0), 0, 0, 0, 0, 0, 0); /* meant as 256 */
	scsi_expect_bad_cdb(f, 13);
	scsi_run_none(f, 0x89, 0, LBA8(0), 0, 0, 0, 0, 0, 0);
	scsi_expect_good(f, 0);
	scsi_run_out(f, 1024, 0x89, 0, LBA8(4096), 0, 0, 0, 1, 0, 0);
	scsi_expect_sense(f, 0x5, 0x2100);
	assert_int_equal(f->memory->counts[DISK_WRITE], 0);
}

static void orwrite_adds_bits(void **state)
{
	struct scsi_fixture *f = *state;
	size_t length = BLOCKS(700);

	memset(f->memory->bytes, 0x21, length);
	memset(f->buffer, 0x84, length);
	scsi_run_out(f, length, 0x8b, 0, LBA8(0), COUNT4(700), 0, 0);
	scsi_expect_good(f, length);
	for (size_t i = 0; i < length; i++)
		assert_int_equal(f->memory->bytes[i], 0xa5);
	assert_int_equal(f->memory->bytes[length], 0);
}

/* ---- filling and giving back ---- */

static void write_same_repeats_its_block(void **state)
{
	struct scsi_fixture *f = *state;

	fill(f->buffer, 512, 4);
	scsi_run_out(f, 512, 0x93, 0, LBA8(7), COUNT4(4000), 0, 0);
	scsi_expect_good(f, 512);
	assert_zero(&f->memory->bytes[BLOCKS(6)], 512);
	for (size_t i = 7; i < 4007; i++)
		assert_memory_equal(&f->memory->bytes[BLOCKS(i)], f->buffer, 512);
	assert_zero(&f->memory->bytes[BLOCKS(4007)], 512);
	/* Data that is not zero is written, whatever UNMAP asks for. */
	scsi_run_out(f, 512, 0x41, 0x08, LBA4(4090), 0, COUNT2(6), 0);
	scsi_expect_good(f, 512);
	assert_memory_equal(&f->memory->bytes[BLOCKS(4095)], f->buffer, 512);
	assert_int_equal(f->memory->counts[DISK_WRITE_ZEROES], 0);
}

static void write_same_of_zeroes_gives_blocks_back(void **state)
{
	struct scsi_fixture *f = *state;

	memset(f->memory->bytes, 0xff, BLOCKS(4096));
	memset(f->buffer, 0, 512);
	scsi_run_out(f, 512, 0x41, 0, LBA4(16), 0, COUNT2(16), 0);
	scsi_expect_good(f, 512);
	assert_int_equal(f->memory->last_op, DISK_WRITE_ZEROES);
	assert_zero(&f->memory->bytes[BLOCKS(16)], BLOCKS(16));
	assert_int_equal(f->memory->bytes[BLOCKS(32)], 0xff);
	scsi_run_none(f, 0x93, 0x09, LBA8(64), COUNT4(8), 0, 0); /* UNMAP, NDOB */
	scsi_expect_good(f, 0);
	assert_zero(&f->memory->bytes[BLOCKS(64)], BLOCKS(8));
	/* 0 blocks: to the end. */
	scsi_run_out(f, 512, 0x41, 0x08, LBA4(4000), 0, COUNT2(0), 0);
	scsi_expect_good(f, 512);
	assert_int_equal(f->memory->bytes[BLOCKS(4000) - 1], 0xff);
	assert_zero(&f->memory->bytes[BLOCKS(4000)], BLOCKS(96));
}

static void write_same_refuses_what_it_cannot_do(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_run_out(f, 512, 0x41, 0x10, LBA4(0), 0, COUNT2(1), 0); /* ANCHOR */
	scsi_expect_bad_cdb(f, 1);
	scsi_run_out(f, 256, 0x41, 0x08, LBA4(0), 0, COUNT2(1), 0);
	scsi_expect_sense(f, 0x5, 0x0e03);
	scsi_run_out(f, 1024, 0x93, 0x08, LBA8(0), COUNT4(1), 0, 0);
	scsi_expect_sense(f, 0x5, 0x0e03);
	scsi_run_out(f, 512, 0x41, 0, LBA4(4097), 0, COUNT2(0), 0);
	scsi_expect_sense(f, 0x5, 0x2100);
	f->memory->info.size_bytes = 1ull << 40;
	scsi_run_out(f, 512, 0x93, 0, LBA8(0), 0, 1, 0, 0, 0, 0);
	scsi_expect_bad_cdb(f, 10);
	scsi_run_out(f, 512, 0x93, 0, LBA8(0), COUNT4(0), 0, 0);
	scsi_expect_bad_cdb(f, 10);
	f->memory->info.unmap_granularity_bytes = 0;
	scsi_run_out(f, 512, 0x41, 0x08, LBA4(0), 0, COUNT2(1), 0);
	scsi_expect_bad_cdb(f, 1);
}

static size_t unmap_list(uint8_t *list, size_t count)
{
	memset(list, 0, 8 + 16 * count);
	put_be16(list, (uint16_t)(6 + 16 * count));
	put_be16(&list[2], (uint16_t)(16 * count));
	return 8 + 16 * count;
}

static void unmap_range(uint8_t *list, size_t index, uint64_t lba, uint32_t blocks)
{
	put_be64(&list[8 + 16 * index], lba);
	put_be32(&list[16 + 16 * index], blocks);
}

static void unmap_gives_back_every_range(void **state)
{
	struct scsi_fixture *f = *state;
	size_t length = unmap_list(f->buffer, 3);

	memset(f->memory->bytes, 0xff, BLOCKS(4096));
	unmap_range(f->buffer, 0, 8, 8);
	unmap_range(f->buffer, 1, 4096, 0);
	unmap_range(f->buffer, 2, 4095, 1);
	scsi_run_out(f, length, 0x42, 0, 0, 0, 0, 0, 0, COUNT2(length), 0);
	scsi_expect_good(f, length);
	assert_int_equal(f->memory->counts[DISK_UNMAP], 2);
	assert_int_equal(f->memory->bytes[BLOCKS(8) - 1], 0xff);
	assert_zero(&f->memory->bytes[BLOCKS(8)], BLOCKS(8));
	assert_int_equal(f->memory->bytes[BLOCKS(16)], 0xff);
	assert_zero(&f->memory->bytes[BLOCKS(4095)], 512);
}

static void unmap_looks_at_all_before_it_does_any(void **state)
{
	struct scsi_fixture *f = *state;
	size_t length = unmap_list(f->buffer, 2);

	unmap_range(f->buffer, 0, 8, 8);
	unmap_range(f->buffer, 1, 4095, 2);
	scsi_run_out(f, length, 0x42, 0, 0, 0, 0, 0, 0, COUNT2(length), 0);
	scsi_expect_sense(f, 0x5, 0x2100);
	assert_int_equal(f->memory->counts[DISK_UNMAP], 0);
	/* A descriptor that is cut does not count. */
	scsi_run_out(f, length, 0x42, 0, 0, 0, 0, 0, 0, COUNT2(length - 1), 0);
	scsi_expect_good(f, length - 1);
	assert_int_equal(f->memory->counts[DISK_UNMAP], 1);
	scsi_run_out(f, 7, 0x42, 0, 0, 0, 0, 0, 0, COUNT2(7), 0);
	scsi_expect_sense(f, 0x5, 0x1a00);
	scsi_run_out(f, 20, 0x42, 0, 0, 0, 0, 0, 0, COUNT2(24), 0);
	scsi_expect_sense(f, 0x5, 0x1a00);
	scsi_run_none(f, 0x42, 0, 0, 0, 0, 0, 0, COUNT2(0), 0);
	scsi_expect_good(f, 0);
	scsi_run_out(f, 24, 0x42, 0x01, 0, 0, 0, 0, 0, COUNT2(24), 0); /* ANCHOR */
	scsi_expect_bad_cdb(f, 1);
}

static void unmap_keeps_to_its_limits(void **state)
{
	struct scsi_fixture *f = *state;
	size_t length = unmap_list(f->buffer, 257);

	scsi_run_out(f, length, 0x42, 0, 0, 0, 0, 0, 0, COUNT2(length), 0);
	scsi_expect_sense(f, 0x5, 0x2600);
	f->memory->info.size_bytes = 1ull << 40;
	length = unmap_list(f->buffer, 2);
	unmap_range(f->buffer, 0, 0, 0x100000);
	unmap_range(f->buffer, 1, 0x200000, 1);
	scsi_run_out(f, length, 0x42, 0, 0, 0, 0, 0, 0, COUNT2(length), 0);
	scsi_expect_sense(f, 0x5, 0x2600);
	assert_int_equal(f->memory->counts[DISK_UNMAP], 0);
}

static void lba_status_is_mapped_to_the_end(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t golden[24] = {0, 0, 0, 20, 0, 0, 0,    0,	  0, 0, 0, 0,
					   0, 0, 0, 5,	0, 0, 0x0f, 0xfb, 0, 0, 0, 0};

	scsi_run_in(f, 24, 0x9e, 0x12, LBA8(5), COUNT4(24), 0, 0);
	scsi_expect_good(f, 24);
	assert_memory_equal(f->buffer, golden, 24);
	scsi_run_in(f, 24, 0x9e, 0x12, LBA8(4096), COUNT4(24), 0, 0);
	scsi_expect_sense(f, 0x5, 0x2100);
}

#define WITH_UNIT(test)                                                                            \
	cmocka_unit_test_setup_teardown(test, scsi_fixture_setup, scsi_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_UNIT(writes_of_every_length_reach_the_disk),
		WITH_UNIT(reads_of_every_length_see_the_disk),
		WITH_UNIT(what_is_out_of_range_tells_the_first_block_that_is_not_there),
		WITH_UNIT(more_than_the_maximum_is_refused),
		WITH_UNIT(a_read_fills_the_buffer_there_is_and_no_more),
		WITH_UNIT(a_write_takes_its_length_of_a_longer_buffer_and_nothing_of_a_shorter),
		WITH_UNIT(fua_and_flush_mean_what_they_say),
		WITH_UNIT(a_read_only_disk_protects_its_data),
		WITH_UNIT(verify_finds_the_byte_that_differs),
		WITH_UNIT(verify_of_one_block_many_times),
		WITH_UNIT(verify_reads_the_medium),
		WITH_UNIT(write_and_verify_writes_through),
		WITH_UNIT(compare_and_write_writes_only_what_compares),
		WITH_UNIT(compare_and_write_wants_both_halves),
		WITH_UNIT(orwrite_adds_bits),
		WITH_UNIT(write_same_repeats_its_block),
		WITH_UNIT(write_same_of_zeroes_gives_blocks_back),
		WITH_UNIT(write_same_refuses_what_it_cannot_do),
		WITH_UNIT(unmap_gives_back_every_range),
		WITH_UNIT(unmap_looks_at_all_before_it_does_any),
		WITH_UNIT(unmap_keeps_to_its_limits),
		WITH_UNIT(lba_status_is_mapped_to_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
