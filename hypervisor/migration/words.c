/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes and reads what the two ends of a move tell each other.
 */
#include "hypervisor/migration/words.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/version.h"

#define TAG_HELLO      STATE_TAG('H', 'E', 'L', 'O')
#define TAG_DEFINITION STATE_TAG('D', 'E', 'F', 'N')
#define TAG_MAP	       STATE_TAG('M', 'M', 'A', 'P')
#define TAG_FINDINGS   STATE_TAG('F', 'I', 'N', 'D')
#define TAG_ACCEPT     STATE_TAG('A', 'C', 'P', 'T')
#define TAG_TOOK       STATE_TAG('T', 'O', 'O', 'K')
#define TAG_FIGURES    STATE_TAG('F', 'I', 'G', 'S')
#define TAG_FAIL       STATE_TAG('F', 'A', 'I', 'L')
#define TAG_QUESTION   STATE_TAG('Q', 'U', 'E', 'S')
#define TAG_OUTCOME    STATE_TAG('O', 'U', 'T', 'C')

static void put_text(struct state_writer *writer, const char *text)
{
	state_put_blob(writer, text, strlen(text));
}

/* Text of a peer, for people: cut to fit, and no byte of it may drive a terminal. */
static void get_text(struct state_reader *reader, char *to, size_t to_bytes)
{
	size_t length = 0;
	const char *text = state_get_blob(reader, 4096, &length);

	if (!text)
		length = 0;
	if (length > to_bytes - 1)
		length = to_bytes - 1;
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)text[i];
		/* In UTF-8 0xc2 begins the control characters 0x80 to 0x9f, and little else. */
		bool control = byte < 0x20 || byte == 0x7f || byte == 0xc2 ||
			       (byte < 0xa0 && byte >= 0x80 && i > 0 &&
				(unsigned char)text[i - 1] == 0xc2);

		to[i] = (char)(control ? '?' : byte);
	}
	to[length] = '\0';
}

/* Finds the one section of that tag; others are passed over where they may be. Returns 0, or
 * -EPROTO, -EOPNOTSUPP. */
static int section_find(const void *payload, size_t length, uint32_t tag,
			struct state_reader *section)
{
	struct state_reader reader, next;
	bool found = false;
	int rc;

	state_reader_init(&reader, payload, length);
	while ((rc = state_next(&reader, &next)) == 1) {
		if (next.tag != tag)
			continue;
		rc = state_check_version(&next, 1);
		if (rc || found)
			return rc ? rc : -EPROTO;
		*section = next;
		found = true;
	}
	return rc ? rc : found ? 0 : -EPROTO;
}

/* ---- HELLO ---- */

void migration_hello_write(struct state_writer *writer, const struct migration_hello *hello)
{
	state_begin(writer, TAG_HELLO, 1, 1);
	state_put_u32(writer, MIGRATION_PROTOCOL);
	put_text(writer, LUNAR_VERSION);
	put_text(writer, hello->id);
	put_text(writer, hello->vm);
	state_put_u16(writer, hello->receive_port);
	state_put_u32(writer, hello->connections);
	state_put_u32(writer, hello->check_only ? MIGRATION_HELLO_CHECK_ONLY : 0);
	state_put_u64(writer, hello->memory_bytes);
	state_end(writer);
	state_begin(writer, TAG_DEFINITION, 1, 1);
	state_put_bytes(writer, hello->definition, hello->definition_length);
	state_end(writer);
	state_begin(writer, TAG_MAP, 1, 1);
	state_put_u32(writer, hello->region_count);
	for (uint32_t i = 0; i < hello->region_count; i++) {
		state_put_u64(writer, hello->regions[i].gpa);
		state_put_u64(writer, hello->regions[i].size_bytes);
	}
	state_end(writer);
}

static int hello_head_read(struct state_reader *section, struct migration_hello *hello)
{
	uint32_t flags;

	if (state_get_u32(section) != MIGRATION_PROTOCOL)
		return section->error ? -EPROTO : -EOPNOTSUPP;
	get_text(section, hello->program, sizeof(hello->program));
	get_text(section, hello->id, sizeof(hello->id));
	get_text(section, hello->vm, sizeof(hello->vm));
	hello->receive_port = state_get_u16(section);
	hello->connections = state_get_bounded(section, MIGRATION_MAX_CONNECTIONS);
	flags = state_get_u32(section);
	hello->check_only = flags & MIGRATION_HELLO_CHECK_ONLY;
	hello->memory_bytes = state_get_u64(section);
	return section->error || !hello->connections || !migration_id_is_valid(hello->id) ||
			       !vm_name_is_valid(hello->vm)
		       ? -EPROTO
		       : 0;
}

static int map_read(struct state_reader *section, struct migration_hello *hello)
{
	uint32_t count = state_get_bounded(section, GUEST_MEMORY_MAX_REGIONS);

	for (uint32_t i = 0; i < count; i++) {
		hello->regions[i].gpa = state_get_u64(section);
		hello->regions[i].size_bytes = state_get_u64(section);
	}
	hello->region_count = count;
	return section->error ? -EPROTO : 0;
}

int migration_hello_read(const void *payload, size_t length, struct migration_hello *hello)
{
	struct state_reader reader, section;
	bool head = false;
	int rc;

	*hello = (struct migration_hello){0};
	state_reader_init(&hello->cpu, "", 0);
	state_reader_init(&hello->portals, "", 0);
	state_reader_init(&hello->disks, "", 0);
	state_reader_init(&reader, payload, length);
	while ((rc = state_next(&reader, &section)) == 1) {
		switch (section.tag) {
		case TAG_HELLO:
			rc = state_check_version(&section, 1);
			rc = rc ? rc : hello_head_read(&section, hello);
			head = true;
			break;
		case TAG_DEFINITION:
			hello->definition_length = state_left(&section);
			hello->definition = state_get_bytes(&section, hello->definition_length);
			rc = hello->definition_length > MIGRATION_MAX_DEFINITION ? -EPROTO : 0;
			break;
		case TAG_MAP:
			rc = map_read(&section, hello);
			break;
		case MIGRATION_TAG_CPU:
			hello->cpu = section;
			rc = 0;
			break;
		case MIGRATION_TAG_PORTALS:
			hello->portals = section;
			rc = 0;
			break;
		case MIGRATION_TAG_DISKS:
			hello->disks = section;
			rc = 0;
			break;
		default:
			rc = state_check_skippable(&section);
			break;
		}
		if (rc)
			return rc;
	}
	if (rc)
		return rc;
	return head && hello->definition && hello->region_count ? 0 : -EPROTO;
}

/* ---- ACCEPT, REFUSE ---- */

void migration_findings_write(struct state_writer *writer, const struct migration_check *check)
{
	state_begin(writer, TAG_FINDINGS, 1, 1);
	state_put_u32(writer, check->count);
	for (uint32_t i = 0; i < check->count; i++) {
		state_put_u8(writer, (uint8_t)check->findings[i].severity);
		put_text(writer, check->findings[i].item);
		put_text(writer, check->findings[i].text);
	}
	state_end(writer);
}

void migration_accept_write(struct state_writer *writer, const struct migration_accept *accept)
{
	state_begin(writer, TAG_ACCEPT, 1, 1);
	state_put_u16(writer, accept->port);
	state_put_bytes(writer, accept->token, sizeof(accept->token));
	state_end(writer);
}

int migration_answer_read(const void *payload, size_t length, struct migration_check *check,
			  struct migration_accept *accept)
{
	struct migration_check found = {0};
	struct state_reader section;
	const void *token;
	int rc = section_find(payload, length, TAG_FINDINGS, &section);

	if (rc)
		return -EPROTO;
	found.count = state_get_bounded(&section, MIGRATION_MAX_CHECK_ITEMS);
	for (uint32_t i = 0; i < found.count; i++) {
		uint8_t severity = state_get_u8(&section);

		found.findings[i].severity = severity > MIGRATION_NOTES
						     ? MIGRATION_NOTES
						     : (enum migration_severity)severity;
		get_text(&section, found.findings[i].item, sizeof(found.findings[i].item));
		get_text(&section, found.findings[i].text, sizeof(found.findings[i].text));
	}
	if (section.error)
		return -EPROTO;
	if (accept) {
		if (section_find(payload, length, TAG_ACCEPT, &section))
			return -EPROTO;
		accept->port = state_get_u16(&section);
		token = state_get_bytes(&section, MIGRATION_TOKEN_BYTES);
		if (!token || !accept->port)
			return -EPROTO;
		memcpy(accept->token, token, MIGRATION_TOKEN_BYTES);
	}
	*check = found;
	return 0;
}

/* ---- the short ones ---- */

void migration_took_write(struct state_writer *writer, uint32_t ms)
{
	state_begin(writer, TAG_TOOK, 1, 1);
	state_put_u32(writer, ms);
	state_end(writer);
}

int migration_took_read(const void *payload, size_t length, uint32_t *ms)
{
	struct state_reader section;
	int rc = section_find(payload, length, TAG_TOOK, &section);

	if (rc)
		return -EPROTO;
	*ms = state_get_u32(&section);
	return section.error ? -EPROTO : 0;
}

void migration_figures_put(struct state_writer *writer, const struct migration_status *status)
{
	state_begin(writer, TAG_FIGURES, 1, 1);
	state_put_u64(writer, status->bytes_sent);
	state_put_u64(writer, status->bytes_left);
	state_put_u64(writer, status->bytes_zero);
	state_put_u64(writer, status->dirty_rate);
	state_put_u64(writer, status->rate);
	state_put_u32(writer, status->rounds);
	state_put_u32(writer, status->throttle);
	state_put_u32(writer, status->downtime_estimate_ms);
	state_put_u64(writer, (uint64_t)status->started_unix_ms);
	state_put_u32(writer, status->total_ms);
	state_put_u32(writer, status->downtime_ms);
	state_put_u32(writer, status->pause_ms);
	state_put_u32(writer, status->last_ms);
	state_put_u32(writer, status->restore_ms);
	state_put_u32(writer, status->late_frames);
	state_end(writer);
}

int migration_figures_get(const void *payload, size_t length, struct migration_status *status)
{
	struct migration_status told = *status;
	struct state_reader section;
	int rc = section_find(payload, length, TAG_FIGURES, &section);

	if (rc)
		return -EPROTO;
	told.bytes_sent = state_get_u64(&section);
	told.bytes_left = state_get_u64(&section);
	told.bytes_zero = state_get_u64(&section);
	told.dirty_rate = state_get_u64(&section);
	told.rate = state_get_u64(&section);
	told.rounds = state_get_u32(&section);
	told.throttle = state_get_bounded(&section, 100);
	told.downtime_estimate_ms = state_get_u32(&section);
	told.started_unix_ms = (int64_t)(state_get_u64(&section) & INT64_MAX);
	told.total_ms = state_get_u32(&section);
	told.downtime_ms = state_get_u32(&section);
	told.pause_ms = state_get_u32(&section);
	told.last_ms = state_get_u32(&section);
	told.restore_ms = state_get_u32(&section);
	told.late_frames = state_get_u32(&section);
	if (section.error)
		return -EPROTO;
	*status = told;
	return 0;
}

void migration_fail_write(struct state_writer *writer, const struct vm_error *error)
{
	state_begin(writer, TAG_FAIL, 1, 1);
	state_put_u32(writer, (uint32_t)error->code);
	put_text(writer, error->message);
	state_end(writer);
}

int migration_fail_read(const void *payload, size_t length, struct vm_error *error)
{
	struct vm_error told = {.code = EXIT_INTERNAL};
	struct state_reader section;
	uint32_t code;

	if (section_find(payload, length, TAG_FAIL, &section))
		return -EPROTO;
	code = state_get_u32(&section);
	if (code > EXIT_OK && code <= EXIT_BAD_STATE)
		told.code = (enum exit_code)code;
	get_text(&section, told.message, sizeof(told.message));
	if (section.error)
		return -EPROTO;
	*error = told;
	return 0;
}

void migration_question_write(struct state_writer *writer, const char *id, const char *vm)
{
	state_begin(writer, TAG_QUESTION, 1, 1);
	put_text(writer, id);
	put_text(writer, vm);
	state_end(writer);
}

int migration_question_read(const void *payload, size_t length, char id[MIGRATION_ID_BYTES],
			    char vm[VM_NAME_MAX + 1])
{
	struct state_reader section;

	if (section_find(payload, length, TAG_QUESTION, &section))
		return -EPROTO;
	get_text(&section, id, MIGRATION_ID_BYTES);
	get_text(&section, vm, VM_NAME_MAX + 1);
	return section.error || !migration_id_is_valid(id) || !vm_name_is_valid(vm) ? -EPROTO : 0;
}

void migration_outcome_write(struct state_writer *writer, enum migration_word word)
{
	state_begin(writer, TAG_OUTCOME, 1, 1);
	state_put_u32(writer, (uint32_t)word);
	state_end(writer);
}

int migration_outcome_read(const void *payload, size_t length, enum migration_word *word)
{
	struct state_reader section;
	uint32_t told;

	if (section_find(payload, length, TAG_OUTCOME, &section))
		return -EPROTO;
	told = state_get_bounded(&section, MIGRATION_WORD_COMMITTED);
	if (section.error || told == MIGRATION_WORD_LEAVING)
		return -EPROTO;
	*word = (enum migration_word)told;
	return 0;
}
