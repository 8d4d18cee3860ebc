/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every payload that one end of a move takes from the other: the first byte chooses the reader.
 * What was read must be as bounded as its type says, and text printable.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "hypervisor/migration/words.h"

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

static void must_be_text(const char *text, size_t bytes)
{
	MUST(memchr(text, '\0', bytes) != NULL);
	for (; *text; text++)
		MUST((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static void read_hello(const uint8_t *data, size_t size)
{
	struct migration_hello hello;
	struct state_reader section;

	if (migration_hello_read(data, size, &hello))
		return;
	MUST(migration_id_is_valid(hello.id) && vm_name_is_valid(hello.vm));
	must_be_text(hello.program, sizeof(hello.program));
	MUST(hello.connections >= 1 && hello.connections <= MIGRATION_MAX_CONNECTIONS);
	MUST(hello.region_count >= 1 && hello.region_count <= GUEST_MEMORY_MAX_REGIONS);
	MUST(hello.definition_length <= MIGRATION_MAX_DEFINITION);
	MUST((const uint8_t *)hello.definition >= data &&
	     (const uint8_t *)hello.definition + hello.definition_length <= data + size);
	while (state_next(&hello.cpu, &section) == 1)
		MUST(section.end <= data + size);
	while (state_next(&hello.portals, &section) == 1)
		MUST(section.end <= data + size);
}

static void read_answer(const uint8_t *data, size_t size, bool accepts)
{
	static struct migration_check check;
	struct migration_accept accept;

	if (migration_answer_read(data, size, &check, accepts ? &accept : NULL))
		return;
	MUST(check.count <= MIGRATION_MAX_CHECK_ITEMS);
	for (uint32_t i = 0; i < check.count; i++) {
		MUST(check.findings[i].severity <= MIGRATION_NOTES);
		must_be_text(check.findings[i].item, sizeof(check.findings[i].item));
		must_be_text(check.findings[i].text, sizeof(check.findings[i].text));
	}
	if (accepts)
		MUST(accept.port);
}

static void read_short(uint8_t which, const uint8_t *data, size_t size)
{
	char id[MIGRATION_ID_BYTES], vm[VM_NAME_MAX + 1];
	struct migration_status status = {0};
	enum migration_word word;
	struct vm_error error;
	uint32_t ms;

	if (which == 3)
		(void)migration_took_read(data, size, &ms);
	if (which == 4 && !migration_figures_get(data, size, &status))
		MUST(status.throttle <= 100 && status.started_unix_ms >= 0);
	if (which == 5 && !migration_fail_read(data, size, &error)) {
		MUST(error.code != EXIT_OK);
		must_be_text(error.message, sizeof(error.message));
	}
	if (which == 6 && !migration_question_read(data, size, id, vm))
		MUST(migration_id_is_valid(id) && vm_name_is_valid(vm));
	if (which == 7 && !migration_outcome_read(data, size, &word))
		MUST(word <= MIGRATION_WORD_COMMITTED && word != MIGRATION_WORD_LEAVING);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;

	if (size < 1)
		return 0;
	copy = malloc(size); /* of exactly that size, for AddressSanitizer */
	if (!copy)
		return 0;
	memcpy(copy, data + 1, size - 1);
	if (data[0] == 0)
		read_hello(copy, size - 1);
	else if (data[0] <= 2)
		read_answer(copy, size - 1, data[0] == 1);
	else
		read_short(data[0], copy, size - 1);
	free(copy);
	return 0;
}
