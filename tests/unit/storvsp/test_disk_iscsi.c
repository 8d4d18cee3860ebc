/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk on a LUN of a target over loopback, which runs on a thread of its own with a LUN in
 * memory. What was done is told by the LUN's bytes and by what the target saw.
 */
#include "storvsp/disk_iscsi.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "tests/unit/iscsi-session/fake_target.h"
#include "tests/unit/storvsp/disk_fixture.h"
#include "tests/unit/test_main.h"

#define LUN_BYTES  (1u << 20)
#define BLOCK	   512u
#define INITIATOR  "iqn.2026-01.org.example:parent"
#define MANY	   300u
#define DATA_BYTES ((size_t)128 * 1024)
#define WORK_BYTES ((size_t)64 * 1024)
#define CHECK	   0x02
#define WAIT_MS	   20000u

struct world {
	struct disk_fixture *f;
	struct event_loop *loop;
	struct fake_target target;
	pthread_t thread;
	char url[128];
	/* The target's thread. */
	uint8_t bytes[LUN_BYTES];
	uint32_t blocks;
	uint8_t last_cdb[16];
	int flushes, unmaps, fua_writes, attentions;
	bool no_lun;
	uint8_t sense_key, sense_asc, sense_ascq; /* of writes, where the key is not 0 */
	/* From one thread to the other. */
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	void (*call)(struct world *w);
	bool called;
};

/* ---- the LUN ---- */

static uint8_t check(uint8_t sense[18], uint8_t key, uint8_t asc, uint8_t ascq)
{
	memset(sense, 0, 18);
	sense[0] = 0x70;
	sense[2] = key;
	sense[7] = 10;
	sense[12] = asc;
	sense[13] = ascq;
	return CHECK;
}

static void inquire(const struct world *w, const uint8_t *cdb, uint8_t *in, uint32_t *in_bytes)
{
	static const uint8_t id[] = {0x00, 0x83, 0, 20, 0x01, 0x03, 0,	16, 0x60, 1,  2,  3,
				     4,	   5,	 6, 7,	8,    9,    10, 11, 12,	  13, 14, 15};
	static const uint8_t limits[64] = {0, 0xb0, 0, 0x3c, 0, 0, 0, 8, 0, 0, 0, 64, 0, 0, 0, 64,
					   0, 0,    0, 0,    0, 0, 1, 0, 0, 0, 0, 1,  0, 0, 0, 16};
	static const uint8_t rotation[64] = {0, 0xb1, 0, 0x3c, 0x1c, 0x20};
	static const uint8_t name[] = {'L', 'U', 'N', 'A', 'R', ' ', ' ', ' ', 'T'};
	uint32_t length = 96;

	memset(in, 0, *in_bytes);
	if (w->no_lun)
		in[0] = 0x7f;
	if (cdb[1] == 0)
		memcpy(in + 8, name, sizeof(name));
	else if (cdb[2] == 0x83)
		memcpy(in, id, length = sizeof(id));
	else if (cdb[2] == 0xb0)
		memcpy(in, limits, length = sizeof(limits));
	else if (cdb[2] == 0xb1)
		memcpy(in, rotation, length = sizeof(rotation));
	if (*in_bytes > length)
		*in_bytes = length;
}

static uint8_t transfer(struct world *w, const uint8_t *cdb, const uint8_t *out, uint32_t out_bytes,
			uint8_t *in, uint32_t *in_bytes, uint8_t *sense)
{
	uint64_t lba = get_be64(cdb + 2), count = get_be32(cdb + 10);

	if (!range_fits(lba, count, w->blocks))
		return check(sense, 5, 0x21, 0);
	if (cdb[0] == 0x88) {
		*in_bytes = (uint32_t)count * BLOCK;
		memcpy(in, w->bytes + lba * BLOCK, *in_bytes);
		return 0;
	}
	if (w->sense_key != 0)
		return check(sense, w->sense_key, w->sense_asc, w->sense_ascq);
	if (cdb[0] == 0x8a && out_bytes == count * BLOCK) {
		w->fua_writes += (cdb[1] & 0x08) != 0;
		memcpy(w->bytes + lba * BLOCK, out, out_bytes);
		return 0;
	}
	if (cdb[0] == 0x93 && out_bytes == BLOCK) {
		for (uint64_t i = 0; i < count; i++)
			memcpy(w->bytes + (lba + i) * BLOCK, out, BLOCK);
		return 0;
	}
	return check(sense, 5, 0x24, 0);
}

static uint8_t unmap(struct world *w, const uint8_t *out, uint32_t out_bytes, uint8_t *sense)
{
	if (out_bytes != 24 || get_be16(out) != 22 || get_be16(out + 2) != 16 ||
	    !range_fits(get_be64(out + 8), get_be32(out + 16), w->blocks))
		return check(sense, 5, 0x26, 0);
	memset(w->bytes + get_be64(out + 8) * BLOCK, 0, (size_t)get_be32(out + 16) * BLOCK);
	w->unmaps++;
	return 0;
}

static uint8_t unit(void *ctx, const uint8_t cdb[16], const uint8_t *out, uint32_t out_bytes,
		    uint8_t *in, uint32_t *in_bytes, uint8_t sense[18])
{
	struct world *w = ctx;

	memcpy(w->last_cdb, cdb, 16);
	if (w->attentions > 0) {
		w->attentions--;
		return check(sense, 6, 0x29, 0);
	}
	switch (cdb[0]) {
	case 0x12:
		inquire(w, cdb, in, in_bytes);
		return 0;
	case 0x1a:
		memset(in, 0, *in_bytes);
		in[0] = 23;
		in[4] = 0x08; /* caching: WCE */
		in[5] = 18;
		in[6] = 0x04;
		*in_bytes = 24;
		return 0;
	case 0x9e:
		memset(in, 0, 32);
		put_be64(in, w->blocks - 1);
		put_be32(in + 8, BLOCK);
		in[13] = 3;
		in[14] = 0xc0;
		return 0;
	case 0x35:
		w->flushes++;
		return 0;
	case 0x42:
		return unmap(w, out, out_bytes, sense);
	case 0x88:
	case 0x8a:
	case 0x93:
		return transfer(w, cdb, out, out_bytes, in, in_bytes, sense);
	case 0x00:
		return 0;
	default:
		return check(sense, 5, 0x20, 0);
	}
}

/* ---- the target's thread ---- */

static void *run_target(void *arg)
{
	struct world *w = arg;

	event_loop_run(w->loop);
	return NULL;
}

static void on_call(void *ctx)
{
	struct world *w = ctx;

	pthread_mutex_lock(&w->mutex);
	w->call(w);
	w->called = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->mutex);
}

/* Runs call on the target's thread, and waits for it: also the way to look at what it saw. */
static void on_target(struct world *w, void (*call)(struct world *w))
{
	pthread_mutex_lock(&w->mutex);
	w->call = call;
	w->called = false;
	assert_int_equal(event_loop_post(w->loop, on_call, w), 0);
	while (!w->called)
		pthread_cond_wait(&w->cond, &w->mutex);
	pthread_mutex_unlock(&w->mutex);
}

static void nothing(struct world *w)
{
	(void)w;
}

static void drop(struct world *w)
{
	fake_target_drop(&w->target);
}

static void go_away(struct world *w)
{
	fake_target_listen(&w->target, false);
	fake_target_drop(&w->target);
}

static void come_back(struct world *w)
{
	fake_target_listen(&w->target, true);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	disk_fixture_setup((void **)&w->f);
	pthread_mutex_init(&w->mutex, NULL);
	pthread_cond_init(&w->cond, NULL);
	w->blocks = LUN_BYTES / BLOCK;
	assert_int_equal(event_loop_create(&w->loop), 0);
	assert_int_equal(fake_target_create(w->loop, &w->target), 0);
	w->target.unit = unit;
	w->target.unit_ctx = w;
	snprintf(w->url, sizeof(w->url), "iscsi://%s/iqn.2026-01.org.example:%u/3",
		 w->target.portal, (unsigned int)getpid());
	assert_int_equal(pthread_create(&w->thread, NULL, run_target, w), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	event_loop_stop(w->loop);
	pthread_join(w->thread, NULL);
	fake_target_destroy(&w->target);
	event_loop_destroy(w->loop);
	disk_fixture_teardown((void **)&w->f);
	pthread_cond_destroy(&w->cond);
	pthread_mutex_destroy(&w->mutex);
	free(w);
	return 0;
}

static int try_open(struct world *w, bool deferred, bool read_only, struct disk **disk)
{
	const struct disk_options options = {.path = w->url,
					     .initiator = INITIATOR,
					     .deferred = deferred,
					     .read_only = read_only};

	return disk_iscsi_open(&options, disk, w->f->message, sizeof(w->f->message));
}

static struct disk *open_disk(struct world *w)
{
	struct disk *disk = NULL;
	int ret = try_open(w, false, false, &disk);

	if (ret != 0)
		fail_msg("%d: %s", ret, w->f->message);
	return disk;
}

/* ---- tests ---- */

static void info_is_what_the_lun_says(void **state)
{
	static const uint8_t id[16] = {0x60, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	struct world *w = *state;
	struct disk_info info;
	struct disk *disk = open_disk(w);

	disk_get_info(disk, &info);
	assert_int_equal(info.size_bytes, LUN_BYTES);
	assert_int_equal(info.block_bytes, 512);
	assert_int_equal(info.physical_block_bytes, 4096);
	assert_int_equal(info.optimal_bytes, 64 * 512);
	assert_int_equal(info.unmap_granularity_bytes, 16 * 512);
	assert_true(info.unmap_zeroes);
	assert_true(info.rotational);
	assert_true(info.write_cache);
	assert_true(info.passes_scsi);
	assert_false(info.read_only);
	assert_string_equal(info.kind, "iscsi");
	assert_memory_equal(info.id, id, 16);
	disk_close(disk);
}

static void data_goes_there_and_back(void **state)
{
	struct world *w = *state;
	uint8_t *buffer = malloc(200001), *got = malloc(200001);
	const struct iovec iov[] = {{buffer + 1, 100}, {buffer + 200, 4096 - 100}};
	struct disk *disk = open_disk(w);

	for (uint32_t i = 0; i < 200001; i++)
		buffer[i] = disk_fixture_byte(i);
	assert_int_equal(disk_fixture_io(w->f, disk, DISK_WRITE, 8192, buffer, DATA_BYTES), 0);
	assert_int_equal(disk_fixture_iov(w->f, disk, DISK_WRITE, true, 512, iov, 2), 0);
	assert_int_equal(disk_fixture_io(w->f, disk, DISK_FLUSH, 0, NULL, 0), 0);
	on_target(w, nothing);
	assert_memory_equal(w->bytes + 8192, buffer, DATA_BYTES);
	assert_memory_equal(w->bytes + 512, buffer + 1, 100);
	assert_memory_equal(w->bytes + 612, buffer + 200, 4096 - 100);
	assert_int_equal(w->fua_writes, 1);
	assert_int_equal(w->flushes, 1);
	assert_int_equal(disk_fixture_io(w->f, disk, DISK_READ, 8192, got, DATA_BYTES), 0);
	assert_memory_equal(got, buffer, DATA_BYTES);
	disk_close(disk);
	free(buffer);
	free(got);
}

static void zeroes_and_unmaps_reach_the_lun(void **state)
{
	struct world *w = *state;
	struct disk *disk = open_disk(w);

	memset(w->bytes, 0xff, sizeof(w->bytes));
	assert_int_equal(disk_fixture_io(w->f, disk, DISK_WRITE_ZEROES, 1024, NULL, 2048), 0);
	assert_int_equal(disk_fixture_io(w->f, disk, DISK_UNMAP, 8192, NULL, 8192), 0);
	on_target(w, nothing);
	for (uint32_t i = 0; i < 32768; i++)
		assert_int_equal(w->bytes[i],
				 (i >= 1024 && i < 3072) || (i >= 8192 && i < 16384) ? 0 : 0xff);
	assert_int_equal(w->unmaps, 1);
	disk_close(disk);
}

static void commands_pass_with_their_sense_and_what_was_transferred(void **state)
{
	struct world *w = *state;
	struct disk *disk = open_disk(w);
	uint8_t page[252];
	struct disk_scsi inquiry = {
		.cdb = {0x12, 1, 0xb1, 0, 252}, .cdb_bytes = 6, .direction = DISK_FROM_DEVICE};
	struct disk_scsi vendor = {.cdb = {0xc1, 0xaa, 0xbb}, .cdb_bytes = 10};

	assert_int_equal(disk_fixture_scsi(w->f, disk, &inquiry, page, sizeof(page)), 0);
	assert_int_equal(inquiry.status, 0);
	assert_int_equal(inquiry.transferred, 64);
	assert_int_equal(page[1], 0xb1);
	assert_int_equal(disk_fixture_scsi(w->f, disk, &vendor, NULL, 0), 0);
	assert_int_equal(vendor.status, CHECK);
	assert_int_equal(vendor.sense_bytes, 18);
	assert_int_equal(vendor.sense[2], 5);
	assert_int_equal(vendor.sense[12], 0x20);
	on_target(w, nothing);
	assert_memory_equal(w->last_cdb, vendor.cdb, 10);
	disk_close(disk);
}

/* To the guest a unit attention is news; to an operation of ours it is not. */
static void unit_attention_passes_but_does_not_fail_an_operation(void **state)
{
	struct world *w = *state;
	struct disk *disk = open_disk(w);
	struct disk_scsi ready = {.cdb_bytes = 6};
	uint8_t buffer[512];

	w->attentions = 2;
	assert_int_equal(disk_fixture_io(w->f, disk, DISK_READ, 0, buffer, 512), 0);
	on_target(w, nothing);
	w->attentions = 1;
	assert_int_equal(disk_fixture_scsi(w->f, disk, &ready, NULL, 0), 0);
	assert_int_equal(ready.status, CHECK);
	assert_int_equal(ready.sense[2], 6);
	ready = (struct disk_scsi){.cdb_bytes = 6};
	assert_int_equal(disk_fixture_scsi(w->f, disk, &ready, NULL, 0), 0);
	assert_int_equal(ready.status, 0);
	disk_close(disk);
}

static void errors_of_the_lun_are_told_apart(void **state)
{
	static const struct {
		uint8_t key, asc, ascq;
		int status;
	} cases[] = {
		{7, 0x27, 0x07, -ENOSPC}, {7, 0x27, 0, -EROFS}, {3, 0x0c, 0, -EIO},
		{2, 0x04, 0, -ENODEV},	  {4, 0x44, 0, -EIO},	{5, 0x24, 0, -EIO},
	};
	struct world *w = *state;
	struct disk *disk = open_disk(w);
	uint8_t buffer[512];

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		on_target(w, nothing);
		w->sense_key = cases[i].key;
		w->sense_asc = cases[i].asc;
		w->sense_ascq = cases[i].ascq;
		assert_int_equal(disk_fixture_io(w->f, disk, DISK_WRITE, 0, buffer, 512),
				 cases[i].status);
	}
	assert_int_equal(disk_fixture_io(w->f, disk, DISK_READ, LUN_BYTES, buffer, 512), -EIO);
	disk_close(disk);
}

static void requests_wait_for_a_target_that_is_away(void **state)
{
	struct world *w = *state;
	struct disk *disk = open_disk(w);
	static struct waited_request waited[20];
	static uint8_t buffers[20][4096];

	on_target(w, go_away);
	for (uint32_t i = 0; i < 20; i++) {
		memset(buffers[i], (int)i + 1, sizeof(buffers[i]));
		disk_fixture_start(w->f, disk, DISK_WRITE, i * UINT64_C(4096), buffers[i], 4096,
				   &waited[i]);
	}
	assert_false(disk_fixture_wait(w->f, &waited[0], 300));
	on_target(w, come_back);
	for (uint32_t i = 0; i < 20; i++) {
		assert_true(disk_fixture_wait(w->f, &waited[i], WAIT_MS));
		assert_int_equal(waited[i].status, 0);
	}
	on_target(w, nothing);
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(w->bytes[i * 4096 + 100], i + 1);
	disk_close(disk);
}

static void connections_that_break_lose_no_write(void **state)
{
	struct world *w = *state;
	struct disk *disk = open_disk(w);
	static struct waited_request waited[MANY];
	static uint8_t buffers[MANY][2048];

	for (uint32_t i = 0; i < MANY; i++) {
		memset(buffers[i], (int)(i % 251) + 1, sizeof(buffers[i]));
		disk_fixture_start(w->f, disk, DISK_WRITE, i * UINT64_C(2048), buffers[i], 2048,
				   &waited[i]);
		if (i % 100 == 50)
			on_target(w, drop);
	}
	for (uint32_t i = 0; i < MANY; i++) {
		assert_true(disk_fixture_wait(w->f, &waited[i], WAIT_MS));
		assert_int_equal(waited[i].status, 0);
	}
	on_target(w, nothing);
	for (uint32_t i = 0; i < MANY; i++)
		assert_int_equal(w->bytes[i * 2048 + 2047], i % 251 + 1);
	assert_true(w->target.connections > 1);
	disk_close(disk);
}

static void read_only_disk_sends_no_writes(void **state)
{
	struct world *w = *state;
	struct disk_scsi scsi = {
		.cdb = {0x8a, [13] = 1}, .cdb_bytes = 16, .direction = DISK_TO_DEVICE};
	struct disk_info info;
	uint8_t buffer[512];
	struct disk *disk;

	assert_int_equal(try_open(w, false, true, &disk), 0);
	disk_get_info(disk, &info);
	assert_true(info.read_only);
	memset(buffer, 0x99, sizeof(buffer));
	assert_int_equal(disk_fixture_io(w->f, disk, DISK_WRITE, 0, buffer, 512), -EROFS);
	assert_int_equal(disk_fixture_scsi(w->f, disk, &scsi, buffer, 512), -EROFS);
	assert_int_equal(disk_fixture_io(w->f, disk, DISK_READ, 0, buffer, 512), 0);
	on_target(w, nothing);
	assert_int_equal(w->bytes[0], 0);
	disk_close(disk);
}

/* A move between hosts that share the name of the initiator. */
static void release_flushes_and_logs_out_and_reopen_is_the_same_nexus(void **state)
{
	struct world *w = *state;
	struct disk *source = open_disk(w), *target;
	uint8_t isid[6], buffer[512];
	struct disk_info info;

	on_target(w, nothing);
	memcpy(isid, w->target.login_header + 8, 6);
	/* The other host looks: by another nexus, so that this one keeps its session. */
	assert_int_equal(try_open(w, true, false, &target), 0);
	on_target(w, nothing);
	assert_memory_not_equal(w->target.login_header + 8, isid, 6);
	assert_int_equal(w->target.logouts, 1);
	assert_int_equal(disk_fixture_io(w->f, target, DISK_READ, 0, buffer, 512), -ENODEV);

	assert_int_equal(source->ops->release(source), 0);
	on_target(w, nothing);
	assert_int_equal(w->flushes, 1);
	assert_int_equal(w->target.logouts, 2);
	assert_int_equal(disk_fixture_io(w->f, source, DISK_READ, 0, buffer, 512), -ENODEV);
	w->blocks /= 2;
	assert_int_equal(target->ops->reopen(target, w->f->message, sizeof(w->f->message)), 0);
	on_target(w, nothing);
	assert_memory_equal(w->target.login_header + 8, isid, 6);
	disk_get_info(target, &info);
	assert_int_equal(info.size_bytes, LUN_BYTES / 2);
	assert_int_equal(disk_fixture_io(w->f, target, DISK_READ, 0, buffer, 512), 0);
	disk_close(source);
	disk_close(target);
}

static void second_vm_with_the_same_name_is_refused(void **state)
{
	struct world *w = *state;
	struct disk *disk = open_disk(w), *second;
	uint8_t buffer[512];

	assert_int_equal(try_open(w, false, false, &second), -EBUSY);
	assert_non_null(strstr(w->f->message, "in use by another VM"));
	assert_int_equal(disk_fixture_io(w->f, disk, DISK_READ, 0, buffer, 512), 0);
	disk_close(disk);
	assert_int_equal(try_open(w, false, false, &second), 0);
	disk_close(second);
}

static void refresh_sees_a_lun_that_grew(void **state)
{
	struct world *w = *state;
	struct disk_info info;
	struct disk *disk;

	w->blocks = 1000;
	disk = open_disk(w);
	on_target(w, nothing);
	w->blocks = 2000;
	assert_int_equal(disk->ops->refresh(disk), 0);
	disk_get_info(disk, &info);
	assert_int_equal(info.size_bytes, 2000 * 512);
	disk_close(disk);
}

static void what_cannot_be_opened_says_why(void **state)
{
	struct world *w = *state;
	struct disk *disk;

	w->no_lun = true;
	assert_int_equal(try_open(w, false, false, &disk), -ENXIO);
	assert_non_null(strstr(w->f->message, "no such LUN"));
	on_target(w, nothing);
	w->target.login_status = 0x0202;
	assert_int_equal(try_open(w, false, false, &disk), -EACCES);
	assert_non_null(strstr(w->f->message, INITIATOR));
	on_target(w, nothing);
	w->target.login_status = 0x0203;
	assert_int_equal(try_open(w, false, false, &disk), -ENOENT);
	on_target(w, go_away);
	assert_int_equal(try_open(w, false, false, &disk), -EHOSTUNREACH);
	on_target(w, come_back);
}

static void secrets_and_names_are_checked_before_anything_is_sent(void **state)
{
	struct world *w = *state;
	struct disk_options options = {.path = w->url, .initiator = "host1"};
	struct disk *disk;

	assert_int_equal(disk_iscsi_open(&options, &disk, w->f->message, sizeof(w->f->message)),
			 -EINVAL);
	assert_non_null(strstr(w->f->message, "host1"));
	options.initiator = INITIATOR;
	options.secret_path = "/nonexistent";
	assert_int_equal(disk_iscsi_open(&options, &disk, w->f->message, sizeof(w->f->message)),
			 -EINVAL);
	options.path = "iscsi://bob@127.0.0.1:1/iqn.2026-01.x:y/0";
	assert_int_equal(disk_iscsi_open(&options, &disk, w->f->message, sizeof(w->f->message)),
			 -ENOENT);
	assert_non_null(strstr(w->f->message, "/nonexistent"));
	options.secret_path = NULL;
	assert_int_equal(disk_iscsi_open(&options, &disk, w->f->message, sizeof(w->f->message)),
			 -EINVAL);
	on_target(w, nothing);
	assert_int_equal(w->target.connections, 0);
}

/* Two channels' workers use one disk; each gets its own answers. */
struct worker {
	struct disk *disk;
	pthread_t thread;
	uint32_t base;
	int wrong;
};

struct worker_request {
	struct disk_request request; /* first */
	int *left, *wrong;
};

static void on_worker_done(struct disk_request *request, int status)
{
	struct worker_request *r = (struct worker_request *)request;

	(*r->left)--;
	*r->wrong += status != 0;
}

static void *run_worker(void *arg)
{
	struct worker *worker = arg;
	static _Thread_local struct worker_request requests[64];
	static _Thread_local struct iovec iov[64];
	uint8_t *bytes = malloc(WORK_BYTES);
	struct io_loop *loop;

	if (bytes == NULL || io_loop_create(16, &loop) < 0) {
		free(bytes);
		worker->wrong = 1000;
		return NULL;
	}
	for (int round = 0; round < 20; round++) {
		int left = 64;
		bool writes = round % 2 == 0;
		if (writes)
			memset(bytes, (int)worker->base + round, WORK_BYTES);
		for (uint32_t i = 0; i < 64; i++) {
			iov[i] = (struct iovec){bytes + (size_t)i * 1024, 1024};
			requests[i] = (struct worker_request){
				{.op = writes ? DISK_WRITE : DISK_READ,
				 .offset = worker->base * UINT64_C(131072) + i * UINT64_C(1024),
				 .length = 1024,
				 .iov = &iov[i],
				 .iov_count = 1,
				 .loop = loop,
				 .done = on_worker_done},
				&left,
				&worker->wrong};
			disk_submit(worker->disk, &requests[i].request);
		}
		while (left > 0)
			io_loop_run(loop, 1000);
		for (uint32_t i = 0; i < WORK_BYTES; i++)
			worker->wrong += bytes[i] != (uint8_t)(worker->base + (uint32_t)round -
							       (writes ? 0u : 1u));
	}
	io_loop_destroy(loop);
	free(bytes);
	return NULL;
}

static void requests_of_several_threads_do_not_mix(void **state)
{
	struct world *w = *state;
	struct worker workers[3] = {0};
	struct disk *disk = open_disk(w);

	for (uint32_t i = 0; i < 3; i++) {
		workers[i].disk = disk;
		workers[i].base = i + 1;
		assert_int_equal(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]),
				 0);
	}
	for (uint32_t i = 0; i < 3; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_int_equal(workers[i].wrong, 0);
	}
	disk_close(disk);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(info_is_what_the_lun_says),
		TEST(data_goes_there_and_back),
		TEST(zeroes_and_unmaps_reach_the_lun),
		TEST(commands_pass_with_their_sense_and_what_was_transferred),
		TEST(unit_attention_passes_but_does_not_fail_an_operation),
		TEST(errors_of_the_lun_are_told_apart),
		TEST(requests_wait_for_a_target_that_is_away),
		TEST(connections_that_break_lose_no_write),
		TEST(read_only_disk_sends_no_writes),
		TEST(release_flushes_and_logs_out_and_reopen_is_the_same_nexus),
		TEST(second_vm_with_the_same_name_is_refused),
		TEST(refresh_sees_a_lun_that_grew),
		TEST(what_cannot_be_opened_says_why),
		TEST(secrets_and_names_are_checked_before_anything_is_sent),
		TEST(requests_of_several_threads_do_not_mix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
