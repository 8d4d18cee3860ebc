/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A chain of commands behind lun_probe's. Only that one must succeed: a LUN that does not know a
 * page is a plain one.
 */
#include "storvsp/iscsi_facts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "iscsi-session/lun_probe.h"

#define PAGE_BYTES    252u
#define BLOCK_MAX     4096u
#define LONG_ID_BYTES 16u
#define UNMAP_WAY_MAX (1u << 30)

enum query {
	QUERY_CAPACITY,
	QUERY_ID,
	QUERY_LIMITS,
	QUERY_ROTATION,
	QUERY_CACHING,
	QUERIES,
};

struct iscsi_facts {
	struct session *session;
	struct lun_probe *probe;
	struct session_command command;
	struct iovec iov;
	uint8_t data[PAGE_BYTES];
	enum query query;
	struct disk_info info;
	bool has_id;
	iscsi_facts_fn done;
	void *ctx;
};

static bool is_page(const uint8_t *page, uint32_t length, uint8_t code)
{
	return length >= 4 && page[1] == code;
}

/* Longer names are folded, shorter ones padded. */
static void fold_id(const uint8_t *name, uint32_t length, uint8_t id[LONG_ID_BYTES])
{
	memset(id, 0, LONG_ID_BYTES);
	for (uint32_t i = 0; i < length; i++)
		id[i % LONG_ID_BYTES] = (uint8_t)(id[i % LONG_ID_BYTES] * 31 + name[i]);
}

/* NAA before EUI-64 before a vendor's own, each of the logical unit. */
static int rank_of(uint8_t type)
{
	switch (type) {
	case 3:
		return 3;
	case 2:
		return 2;
	case 1:
		return 1;
	default:
		return 0;
	}
}

void iscsi_facts_take_id(const uint8_t *page, uint32_t length, struct disk_info *info, bool *has_id)
{
	int best = 0;
	uint32_t end;

	if (!is_page(page, length, 0x83))
		return;
	end = 4u + get_be16(page + 2);
	if (end > length)
		end = length;
	for (uint32_t at = 4; at + 4 <= end; at += 4u + page[at + 3]) {
		uint8_t bytes = page[at + 3];
		bool of_lun = (page[at + 1] >> 4 & 3) == 0;
		int rank = rank_of(page[at + 1] & 0x0f);
		if (at + 4 + bytes > end)
			break;
		if (!of_lun || bytes == 0 || rank <= best)
			continue;
		best = rank;
		fold_id(page + at + 4, bytes, info->id);
		*has_id = true;
	}
}

void iscsi_facts_take_limits(const uint8_t *page, uint32_t length, struct disk_info *info)
{
	uint64_t optimal, granularity;

	if (!is_page(page, length, 0xb0) || length < 16)
		return;
	optimal = (uint64_t)get_be32(page + 12) * info->block_bytes;
	info->optimal_bytes = optimal <= UINT32_MAX ? (uint32_t)optimal : 0;
	if (length < 36 || info->unmap_granularity_bytes == 0 || get_be32(page + 20) == 0)
		return;
	granularity = (uint64_t)get_be32(page + 28) * info->block_bytes;
	if (granularity > 0 && granularity <= UNMAP_WAY_MAX)
		info->unmap_granularity_bytes = (uint32_t)granularity;
}

void iscsi_facts_take_rotation(const uint8_t *page, uint32_t length, struct disk_info *info)
{
	if (is_page(page, length, 0xb1) && length >= 6)
		info->rotational = get_be16(page + 4) > 1; /* 0: not told; 1: does not rotate */
}

void iscsi_facts_take_capacity(const uint8_t *data, uint32_t length, struct disk_info *info)
{
	uint32_t exponent;

	if (length < 16)
		return;
	exponent = data[13] & 0x0f;
	info->physical_block_bytes = info->block_bytes;
	if (exponent <= 7)
		info->physical_block_bytes <<= exponent;
	info->unmap_granularity_bytes = (data[14] & 0x80) != 0 ? info->block_bytes : 0;
	info->unmap_zeroes = (data[14] & 0xc0) == 0xc0;
}

/* MODE SENSE(6): the header says whether it is write-protected, page 08h whether writes are cached.
 */
void iscsi_facts_take_caching(const uint8_t *data, uint32_t length, struct disk_info *info)
{
	uint32_t page;

	if (length < 4)
		return;
	info->read_only = (data[2] & 0x80) != 0;
	page = 4u + data[3];
	if (page + 3 <= length && (data[page] & 0x3f) == 0x08)
		info->write_cache = (data[page + 2] & 0x04) != 0;
}

static void take_answer(struct iscsi_facts *facts)
{
	uint32_t length = facts->command.received_bytes;
	struct disk_info *info = &facts->info;

	if (length > sizeof(facts->data))
		return;
	switch (facts->query) {
	case QUERY_CAPACITY:
		iscsi_facts_take_capacity(facts->data, length, info);
		break;
	case QUERY_ID:
		iscsi_facts_take_id(facts->data, length, info, &facts->has_id);
		break;
	case QUERY_LIMITS:
		iscsi_facts_take_limits(facts->data, length, info);
		break;
	case QUERY_ROTATION:
		iscsi_facts_take_rotation(facts->data, length, info);
		break;
	case QUERY_CACHING:
		iscsi_facts_take_caching(facts->data, length, info);
		break;
	case QUERIES:
		break;
	}
}

static void ask_next(struct iscsi_facts *facts)
{
	static const struct {
		uint8_t cdb[16];
		uint8_t length;
	} queries[QUERIES] = {
		[QUERY_CAPACITY] = {{0x9e, 0x10, [13] = 32}, 16},
		[QUERY_ID] = {{0x12, 0x01, 0x83, 0, PAGE_BYTES}, 6},
		[QUERY_LIMITS] = {{0x12, 0x01, 0xb0, 0, PAGE_BYTES}, 6},
		[QUERY_ROTATION] = {{0x12, 0x01, 0xb1, 0, PAGE_BYTES}, 6},
		[QUERY_CACHING] = {{0x1a, 0x08, 0x08, 0, PAGE_BYTES}, 6},
	};
	struct session_command *command = &facts->command;

	if (facts->query == QUERIES) {
		facts->done(facts->ctx, 0, &facts->info, facts->has_id, "");
		return;
	}
	memset(facts->data, 0, sizeof(facts->data));
	memcpy(command->cdb, queries[facts->query].cdb, sizeof(command->cdb));
	command->cdb_length = queries[facts->query].length;
	command->direction = CDB_DATA_IN;
	command->data_bytes = facts->query == QUERY_CAPACITY ? 32 : PAGE_BYTES;
	facts->iov = (struct iovec){facts->data, command->data_bytes};
	command->iov = &facts->iov;
	command->iov_count = 1;
	session_submit(facts->session, command);
	session_flush(facts->session);
}

static void on_answer(struct session_command *command)
{
	struct iscsi_facts *facts =
		(struct iscsi_facts *)((char *)command - offsetof(struct iscsi_facts, command));

	if (command->status == 0)
		take_answer(facts);
	facts->query++;
	ask_next(facts);
}

static void on_probe(void *ctx, enum exit_code code, const struct lun_geometry *geometry,
		     const char *message)
{
	struct iscsi_facts *facts = ctx;

	if (code != EXIT_OK) {
		facts->done(facts->ctx, code == EXIT_NO_LUN ? -ENXIO : -EIO, NULL, false, message);
		return;
	}
	if (geometry->block_bytes > BLOCK_MAX ||
	    geometry->blocks > INT64_MAX / geometry->block_bytes) {
		facts->done(facts->ctx, -EINVAL, NULL, false,
			    "the LUN's blocks are larger than 4096 bytes, or too many");
		return;
	}
	facts->info = (struct disk_info){
		.size_bytes = geometry->blocks * geometry->block_bytes,
		.block_bytes = geometry->block_bytes,
		.physical_block_bytes = geometry->block_bytes,
		.write_cache = true,
	};
	ask_next(facts);
}

int iscsi_facts_ask(struct session *session, iscsi_facts_fn done, void *ctx,
		    struct iscsi_facts **out)
{
	struct iscsi_facts *facts = calloc(1, sizeof(*facts));
	int ret;

	if (facts == NULL)
		return -ENOMEM;
	facts->session = session;
	facts->done = done;
	facts->ctx = ctx;
	facts->command.done = on_answer;
	*out = facts;
	ret = lun_probe_start(session, on_probe, facts, &facts->probe);
	if (ret < 0) {
		*out = NULL;
		free(facts);
	}
	return ret;
}

void iscsi_facts_destroy(struct iscsi_facts *facts)
{
	if (facts == NULL)
		return;
	lun_probe_destroy(facts->probe);
	free(facts);
}
