/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A partition's integration components as one section; tests/unit/ic has what is in it.
 */
#include "hypervisor/vm_ic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "hypervisor/engine.h"
#include "tests/unit/test_main.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/event_signal.h"
#include "vmbus/guest_memory.h"
#include "vmbus/server.h"

struct bench {
	struct event_loop *loop;
	struct guest_memory *memory;
	struct signal_table signals;
	struct vmbus_server *server;
	struct vm_ic *ic;
	struct state_writer writer;
};

static void on_post_message(void *ctx, uint32_t vp, const void *message, size_t length)
{
	(void)ctx;
	(void)vp;
	(void)message;
	(void)length;
}

static const struct vmbus_server_ops server_ops = {.post_message = on_post_message};
static const struct engine_ops no_engine = {.name = "none"};

static int prepare(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	struct vm_ic_config config = {.engine = &no_engine};

	if (!bench)
		return -1;
	*state = bench;
	bench->memory = fixture_memory(4);
	if (event_loop_create(&bench->loop) || signal_table_init(&bench->signals, -1) ||
	    vmbus_server_create(&server_ops, NULL, 1, &bench->server))
		return -1;
	config.loop = bench->loop;
	config.memory = bench->memory;
	config.signals = &bench->signals;
	config.server = bench->server;
	state_writer_init(&bench->writer);
	return vm_ic_create(&config, &bench->ic) || vm_ic_save(bench->ic, &bench->writer);
}

static int clean_up(void **state)
{
	struct bench *bench = *state;

	state_writer_fini(&bench->writer);
	vm_ic_destroy(bench->ic);
	vmbus_server_destroy(bench->server);
	event_loop_destroy(bench->loop);
	signal_table_fini(&bench->signals);
	guest_memory_destroy(bench->memory);
	free(bench);
	return 0;
}

static int restore_bytes(struct bench *bench, const void *bytes, size_t length)
{
	struct state_reader reader, section;
	int result;

	state_reader_init(&reader, bytes, length);
	result = state_next(&reader, &section);
	return result == 1 ? vm_ic_restore(bench->ic, &section) : result;
}

static void section_holds_one_of_each_component(void **state)
{
	struct bench *bench = *state;
	struct state_reader reader, section, part;

	state_reader_init(&reader, bench->writer.bytes, bench->writer.length);
	assert_int_equal(state_next(&reader, &section), 1);
	assert_int_equal(section.tag, VM_IC_STATE_TAG);
	assert_int_equal(state_next(&section, &part), 1);
	assert_int_equal(part.tag, STATE_TAG('S', 'H', 'U', 'T'));
	assert_int_equal(state_next(&section, &part), 1);
	assert_int_equal(part.tag, STATE_TAG('H', 'B', 'E', 'A'));
	assert_int_equal(state_next(&section, &part), 0);
	assert_int_equal(state_next(&reader, &section), 0);
	assert_int_equal(restore_bytes(bench, bench->writer.bytes, bench->writer.length), 0);
	vm_ic_resume(bench->ic);
}

static void cut_section_is_refused_but_between_components(void **state)
{
	struct bench *bench = *state;
	const size_t shutdown_bytes = STATE_HEADER_BYTES + 22;

	for (size_t cut = 1; cut < bench->writer.length; cut++) {
		uint8_t bytes[256];
		int result;

		memcpy(bytes, bench->writer.bytes, cut);
		if (cut >= STATE_HEADER_BYTES)
			put_le32(bytes + 8, (uint32_t)(cut - STATE_HEADER_BYTES));
		result = restore_bytes(bench, bytes, cut);
		if (cut == STATE_HEADER_BYTES || cut == STATE_HEADER_BYTES + shutdown_bytes)
			assert_int_equal(result, 0);
		else
			assert_int_equal(result, -EPROTO);
	}
}

static void component_that_we_do_not_have_may_only_be_skipped_where_it_says_so(void **state)
{
	struct bench *bench = *state;
	uint8_t *part = bench->writer.bytes + STATE_HEADER_BYTES;

	put_le32(part, STATE_TAG('T', 'I', 'M', 'E'));
	assert_int_equal(restore_bytes(bench, bench->writer.bytes, bench->writer.length),
			 -EOPNOTSUPP);
	put_le16(part + 6, STATE_SKIPPABLE);
	assert_int_equal(restore_bytes(bench, bench->writer.bytes, bench->writer.length), 0);
	put_le16(bench->writer.bytes + 6, 2);
	assert_int_equal(restore_bytes(bench, bench->writer.bytes, bench->writer.length),
			 -EOPNOTSUPP);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, prepare, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(section_holds_one_of_each_component),
		TEST(cut_section_is_refused_but_between_components),
		TEST(component_that_we_do_not_have_may_only_be_skipped_where_it_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
