/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log. A write is in it twice: when it begins, from when on it may be on the disk, and when it
 * is done, from when on a sync that begins covers it. So is a sync.
 */
#include "tests/unit/storvsp/vhd_log_file.h"

#include "tests/unit/test_main.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PENDING 64u

enum entry_kind {
	ENTRY_WRITE, /* offset, length, bytes; bytes NULL: zeroes that do not make it longer */
	ENTRY_TRUNCATE,
	ENTRY_SYNC,
	ENTRY_DONE, /* of begun */
};

struct entry {
	enum entry_kind kind;
	uint64_t offset, length;
	uint8_t *bytes;
	bool dsync;
	size_t begun;
};

struct vhd_log_file {
	struct vhd_file file; /* first */
	uint8_t *bytes, *base;
	size_t size, base_size;
	struct entry *entries;
	size_t count, room;
	uint32_t modified;
	bool logs;
	struct pending {
		struct vhd_io *io;
		size_t begun;
	} pending[PENDING];
	size_t pending_count;
	uint32_t (*pumps)(uint32_t below); /* NULL: the test pumps */
};

struct pump_post {
	struct io_post post; /* first */
	struct vhd_log_file *log;
};

static struct vhd_log_file *log_of(struct vhd_file *file)
{
	return (struct vhd_log_file *)file;
}

static void set_size(struct vhd_log_file *log, size_t size)
{
	log->bytes = realloc(log->bytes, size + 1);
	assert_non_null(log->bytes);
	if (size > log->size)
		memset(log->bytes + log->size, 0, size - log->size);
	log->size = size;
}

static void apply(struct vhd_log_file *log, uint64_t offset, uint64_t length, const uint8_t *bytes)
{
	if (!bytes) {
		if (offset >= log->size)
			return;
		if (length > log->size - offset)
			length = log->size - offset;
		memset(log->bytes + offset, 0, length);
		return;
	}
	if (offset + length > log->size)
		set_size(log, offset + length);
	memcpy(log->bytes + offset, bytes, length);
}

static size_t add(struct vhd_log_file *log, struct entry entry)
{
	if (!log->logs)
		return 0;
	if (log->count == log->room) {
		log->room = log->room ? 2 * log->room : 256;
		log->entries = realloc(log->entries, log->room * sizeof(entry));
		assert_non_null(log->entries);
	}
	log->entries[log->count] = entry;
	return log->count++;
}

static uint8_t *copy_of(const void *bytes, size_t length)
{
	uint8_t *copy = malloc(length + 1);

	assert_non_null(copy);
	memcpy(copy, bytes, length);
	return copy;
}

static void add_done(struct vhd_log_file *log, size_t begun)
{
	add(log, (struct entry){.kind = ENTRY_DONE, .begun = begun});
}

/* ---- at once ---- */

static int log_read(struct vhd_file *file, void *bytes, size_t length, uint64_t offset)
{
	const struct vhd_log_file *log = log_of(file);

	if (offset > log->size || length > log->size - offset)
		return -ENODATA;
	memcpy(bytes, log->bytes + offset, length);
	return 0;
}

static int log_write(struct vhd_file *file, const void *bytes, size_t length, uint64_t offset)
{
	struct vhd_log_file *log = log_of(file);
	struct entry entry = {.kind = ENTRY_WRITE, .offset = offset, .length = length};

	if (log->logs)
		entry.bytes = copy_of(bytes, length);
	add_done(log, add(log, entry));
	apply(log, offset, length, bytes);
	return 0;
}

static int log_zero(struct vhd_file *file, uint64_t offset, uint64_t length)
{
	struct vhd_log_file *log = log_of(file);

	add_done(log,
		 add(log, (struct entry){.kind = ENTRY_WRITE, .offset = offset, .length = length}));
	apply(log, offset, length, NULL);
	return 0;
}

static int log_allocate(struct vhd_file *file, uint64_t offset, uint64_t length)
{
	(void)file;
	(void)offset;
	(void)length;
	return 0;
}

static int log_sync(struct vhd_file *file)
{
	struct vhd_log_file *log = log_of(file);

	add_done(log, add(log, (struct entry){.kind = ENTRY_SYNC}));
	return 0;
}

static int log_truncate(struct vhd_file *file, uint64_t size)
{
	struct vhd_log_file *log = log_of(file);

	add_done(log, add(log, (struct entry){.kind = ENTRY_TRUNCATE, .offset = size}));
	set_size(log, size);
	return 0;
}

static int log_get_size(struct vhd_file *file, uint64_t *size)
{
	*size = log_of(file)->size;
	return 0;
}

static int log_get_facts(struct vhd_file *file, struct vhd_file_facts *facts)
{
	*facts = (struct vhd_file_facts){
		.allocated_bytes = log_of(file)->size,
		.modified_unix = VHD_EPOCH_UNIX + log_of(file)->modified,
	};
	return 0;
}

static void log_close(struct vhd_file *file)
{
	assert_int_equal(log_of(file)->pending_count, 0);
}

/* ---- on a loop ---- */

static uint8_t *gather(const struct vhd_io *io)
{
	uint8_t *bytes = malloc(io->length + 1);
	size_t at = 0;

	assert_non_null(bytes);
	for (uint32_t i = 0; i < io->iov_count; i++) {
		memcpy(bytes + at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	assert_int_equal(at, io->length);
	return bytes;
}

static void on_pump(struct io_post *post)
{
	struct vhd_log_file *log = ((struct pump_post *)post)->log;

	free(post);
	vhd_log_file_pump(log, log->pumps);
}

static void pump_post(struct vhd_log_file *log, struct io_loop *loop)
{
	struct pump_post *post = calloc(1, sizeof(*post));

	assert_non_null(post);
	post->log = log;
	post->post.fn = on_pump;
	io_loop_post(loop, &post->post);
}

void vhd_log_file_set_modified(struct vhd_log_file *log, uint32_t modified)
{
	log->modified = modified;
}

void vhd_log_file_pump_by_loop(struct vhd_log_file *log, uint32_t (*random)(uint32_t below))
{
	log->pumps = random;
}

static void log_submit(struct vhd_file *file, struct vhd_io *io, struct io_loop *loop)
{
	struct vhd_log_file *log = log_of(file);
	struct entry entry = {.offset = io->offset, .length = io->length};
	struct pending *pending = &log->pending[log->pending_count++];

	assert_true(log->pending_count < PENDING);
	if (log->pumps)
		pump_post(log, loop);
	pending->io = io;
	if (io->kind == VHD_IO_READ)
		return;
	if (io->kind == VHD_IO_SYNC)
		entry.kind = ENTRY_SYNC;
	else if (io->kind == VHD_IO_WRITE)
		entry.bytes = gather(io);
	entry.dsync = io->kind == VHD_IO_WRITE && io->dsync;
	pending->begun = add(log, entry);
}

static int finish(struct vhd_log_file *log, const struct vhd_io *io, size_t begun)
{
	const struct entry *entry = &log->entries[begun];
	uint64_t at = io->offset;

	if (io->kind == VHD_IO_READ) {
		if (at > log->size || io->length > log->size - at)
			return -EIO;
		for (uint32_t i = 0; i < io->iov_count; i++) {
			memcpy(io->iov[i].iov_base, log->bytes + at, io->iov[i].iov_len);
			at += io->iov[i].iov_len;
		}
		return 0;
	}
	if (io->kind != VHD_IO_SYNC)
		apply(log, entry->offset, entry->length, entry->bytes);
	add_done(log, begun);
	return 0;
}

bool vhd_log_file_pump(struct vhd_log_file *log, uint32_t (*random)(uint32_t below))
{
	struct pending done;
	size_t index;
	int status;

	if (log->pending_count == 0)
		return false;
	index = random((uint32_t)log->pending_count);
	done = log->pending[index];
	log->pending[index] = log->pending[--log->pending_count];
	status = finish(log, done.io, done.begun);
	done.io->done(done.io, status);
	return true;
}

static const struct vhd_file_ops log_ops = {
	.read = log_read,
	.write = log_write,
	.zero = log_zero,
	.allocate = log_allocate,
	.sync = log_sync,
	.truncate = log_truncate,
	.get_size = log_get_size,
	.get_facts = log_get_facts,
	.submit = log_submit,
	.close = log_close,
};

struct vhd_log_file *vhd_log_file_create(void)
{
	struct vhd_log_file *log = calloc(1, sizeof(*log));

	assert_non_null(log);
	log->file.ops = &log_ops;
	log->modified = 1000;
	set_size(log, 0);
	return log;
}

struct vhd_file *vhd_log_file_file(struct vhd_log_file *log)
{
	return &log->file;
}

void vhd_log_file_destroy(struct vhd_log_file *log)
{
	for (size_t i = 0; i < log->count; i++)
		free(log->entries[i].bytes);
	free(log->entries);
	free(log->bytes);
	free(log->base);
	free(log);
}

void vhd_log_file_begin(struct vhd_log_file *log)
{
	for (size_t i = 0; i < log->count; i++)
		free(log->entries[i].bytes);
	log->count = 0;
	free(log->base);
	log->base = copy_of(log->bytes, log->size);
	log->base_size = log->size;
	log->logs = true;
}

size_t vhd_log_file_position(const struct vhd_log_file *log)
{
	return log->count;
}

/* ---- the cut ---- */

/* Which entries are on the disk for certain: done before a sync began that is done. */
static void find_certain(const struct vhd_log_file *log, size_t position, bool *certain)
{
	size_t sync = 0;

	for (size_t i = 0; i < position; i++)
		if (log->entries[i].kind == ENTRY_DONE &&
		    log->entries[log->entries[i].begun].kind == ENTRY_SYNC &&
		    log->entries[i].begun > sync)
			sync = log->entries[i].begun;
	for (size_t i = 0; i < position; i++) {
		const struct entry *entry = &log->entries[i];

		if (entry->kind == ENTRY_DONE && (i < sync || log->entries[entry->begun].dsync))
			certain[entry->begun] = true;
	}
}

static void apply_sectors(struct vhd_log_file *cut, const struct entry *entry,
			  uint32_t (*random)(uint32_t below))
{
	for (uint64_t at = 0; at < entry->length; at += 512) {
		uint64_t part = entry->length - at < 512 ? entry->length - at : 512;

		if (random(2))
			apply(cut, entry->offset + at, part,
			      entry->bytes ? entry->bytes + at : NULL);
	}
}

struct vhd_log_file *vhd_log_file_cut(const struct vhd_log_file *log, size_t position,
				      enum vhd_cut how, uint32_t (*random)(uint32_t below))
{
	struct vhd_log_file *cut = vhd_log_file_create();
	bool *certain = calloc(position + 1, sizeof(*certain));

	assert_non_null(certain);
	apply(cut, 0, log->base_size, log->base);
	find_certain(log, position, certain);
	for (size_t i = 0; i < position; i++) {
		const struct entry *entry = &log->entries[i];
		bool whole = certain[i] || how == VHD_CUT_ALL;

		if (entry->kind == ENTRY_TRUNCATE && (whole || (how == VHD_CUT_SOME && random(2))))
			set_size(cut, entry->offset);
		if (entry->kind != ENTRY_WRITE)
			continue;
		if (whole)
			apply(cut, entry->offset, entry->length, entry->bytes);
		else if (how == VHD_CUT_SOME)
			apply_sectors(cut, entry, random);
	}
	free(certain);
	return cut;
}
