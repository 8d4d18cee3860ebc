/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reservations of a unit with one initiator: registrations, all types, preempting oneself, and the
 * older RESERVE; and what of the unit's state moves with the VM.
 */
#include "tests/unit/storvsp/scsi_fixture.h"

#include "tests/unit/test_main.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

#define KEY 0x1122334455667788ull

enum {
	REGISTER = 0,
	RESERVE = 1,
	RELEASE = 2,
	CLEAR = 3,
	PREEMPT = 4,
	PREEMPT_AND_ABORT = 5,
	REGISTER_AND_IGNORE = 6,
};

static const uint8_t types[] = {1, 3, 5, 6, 7, 8};

static void pr_out(struct scsi_fixture *f, uint8_t action, uint8_t type, uint64_t key,
		   uint64_t action_key)
{
	memset(f->buffer, 0, 24);
	put_be64(f->buffer, key);
	put_be64(&f->buffer[8], action_key);
	scsi_run_out(f, 24, 0x5f, action, type, 0, 0, 0, 0, 0, 24, 0);
}

static void pr_in(struct scsi_fixture *f, uint8_t action)
{
	memset(f->buffer, 0xee, 64);
	scsi_run_in(f, 64, 0x5e, action, 0, 0, 0, 0, 0, 0, 64, 0);
}

/* generation; the key, or 0: none is registered. */
static void expect_keys(struct scsi_fixture *f, uint32_t generation, uint64_t key)
{
	pr_in(f, 0);
	scsi_expect_good(f, key ? 16 : 8);
	assert_int_equal(get_be32(f->buffer), generation);
	assert_int_equal(get_be32(&f->buffer[4]), key ? 8 : 0);
	if (key)
		assert_int_equal(get_be64(&f->buffer[8]), key);
}

static void expect_reservation(struct scsi_fixture *f, uint8_t type, uint64_t key)
{
	pr_in(f, 1);
	scsi_expect_good(f, type ? 24 : 8);
	if (!type)
		return;
	assert_int_equal(get_be64(&f->buffer[8]), key);
	assert_int_equal(f->buffer[21], type);
}

static void registering_wants_the_key_there_is(void **state)
{
	struct scsi_fixture *f = *state;

	expect_keys(f, 0, 0);
	pr_out(f, REGISTER, 0, KEY, KEY); /* not registered: the key is 0 */
	scsi_expect_status(f, 0x18);
	pr_out(f, REGISTER, 0, 0, KEY);
	scsi_expect_good(f, 24);
	expect_keys(f, 1, KEY);
	pr_out(f, REGISTER, 0, 0, KEY + 1);
	scsi_expect_status(f, 0x18);
	pr_out(f, REGISTER_AND_IGNORE, 0, 0, KEY + 1);
	scsi_expect_good(f, 24);
	expect_keys(f, 2, KEY + 1);
	pr_out(f, REGISTER, 0, KEY + 1, 0);
	scsi_expect_good(f, 24);
	expect_keys(f, 3, 0);
	pr_out(f, REGISTER, 0, 0, 0);
	scsi_expect_good(f, 24);
	expect_keys(f, 3, 0);
}

static void every_type_can_be_reserved_and_released(void **state)
{
	struct scsi_fixture *f = *state;

	pr_out(f, RESERVE, 1, 0, 0); /* not registered */
	scsi_expect_status(f, 0x18);
	pr_out(f, REGISTER_AND_IGNORE, 0, 0, KEY);
	for (size_t i = 0; i < ARRAY_LENGTH(types); i++) {
		uint8_t type = types[i];

		pr_out(f, RESERVE, type, KEY, 0);
		scsi_expect_good(f, 24);
		expect_reservation(f, type, type >= 7 ? 0 : KEY);
		pr_out(f, RESERVE, type, KEY, 0); /* once more */
		scsi_expect_good(f, 24);
		pr_out(f, RESERVE, type == 1 ? 3 : 1, KEY, 0);
		scsi_expect_status(f, 0x18);
		scsi_run_out(f, 512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
		scsi_expect_good(f, 512);
		pr_out(f, RELEASE, type == 1 ? 3 : 1, KEY, 0);
		scsi_expect_sense(f, 0x5, 0x2604);
		pr_out(f, RELEASE, type, KEY + 1, 0);
		scsi_expect_status(f, 0x18);
		pr_out(f, RELEASE, type, KEY, 0);
		scsi_expect_good(f, 24);
		expect_reservation(f, 0, 0);
	}
	expect_keys(f, 1, KEY); /* the generation counts no reservations */
}

static void clear_preempt_and_leaving_take_the_reservation(void **state)
{
	struct scsi_fixture *f = *state;

	pr_out(f, REGISTER_AND_IGNORE, 0, 0, KEY);
	pr_out(f, RESERVE, 3, KEY, 0);
	pr_out(f, PREEMPT, 5, KEY, KEY); /* oneself: the type changes */
	scsi_expect_good(f, 24);
	expect_reservation(f, 5, KEY);
	pr_out(f, PREEMPT_AND_ABORT, 5, KEY, KEY + 1);
	scsi_expect_status(f, 0x18);
	pr_out(f, PREEMPT, 5, KEY, 0);
	scsi_expect_sense(f, 0x5, 0x2600);
	expect_keys(f, 2, KEY);
	pr_out(f, CLEAR, 0, KEY, 0);
	scsi_expect_good(f, 24);
	expect_reservation(f, 0, 0);
	expect_keys(f, 3, 0);
	pr_out(f, REGISTER, 0, 0, KEY);
	pr_out(f, RESERVE, 7, KEY, 0);
	pr_out(f, REGISTER, 0, KEY, 0);
	expect_reservation(f, 0, 0);
}

static void what_one_initiator_cannot_have_is_refused(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t flags[] = {0x08, 0x04, 0x01}; /* SPEC_I_PT, ALL_TG_PT, APTPL */

	for (size_t i = 0; i < sizeof(flags); i++) {
		memset(f->buffer, 0, 24);
		put_be64(&f->buffer[8], KEY);
		f->buffer[20] = flags[i];
		scsi_run_out(f, 24, 0x5f, REGISTER, 0, 0, 0, 0, 0, 0, 24, 0);
		scsi_expect_sense(f, 0x5, 0x2600);
		assert_int_equal(get_be16(&f->command.sense[16]), 20);
	}
	expect_keys(f, 0, 0);
	pr_out(f, 7, 0, 0, KEY); /* REGISTER AND MOVE */
	scsi_expect_bad_cdb(f, 1);
	pr_out(f, RESERVE, 2, KEY, 0);
	scsi_expect_bad_cdb(f, 2);
	pr_out(f, RESERVE, 0x11, KEY, 0); /* a scope */
	scsi_expect_bad_cdb(f, 2);
	scsi_run_out(f, 24, 0x5f, 0, 0, 0, 0, 0, 0, 0, 23, 0);
	scsi_expect_sense(f, 0x5, 0x1a00);
	scsi_run_out(f, 20, 0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0);
	scsi_expect_sense(f, 0x5, 0x1a00);
}

static void capabilities_and_full_status_are_golden_bytes(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t capabilities[8] = {0, 8, 0, 0x80, 0xea, 0x01, 0, 0};

	pr_in(f, 2);
	scsi_expect_good(f, 8);
	assert_memory_equal(f->buffer, capabilities, 8);
	pr_in(f, 3);
	scsi_expect_good(f, 8);
	pr_out(f, REGISTER_AND_IGNORE, 0, 0, KEY);
	pr_out(f, RESERVE, 6, KEY, 0);
	pr_in(f, 3);
	scsi_expect_good(f, 56);
	assert_int_equal(get_be32(&f->buffer[4]), 48);
	assert_int_equal(get_be64(&f->buffer[8]), KEY);
	assert_int_equal(f->buffer[20], 1);
	assert_int_equal(f->buffer[21], 6);
	assert_int_equal(get_be32(&f->buffer[28]), 24);
	/* The length is told whole, whatever the allocation. */
	scsi_run_in(f, 64, 0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0);
	scsi_expect_good(f, 8);
	assert_int_equal(get_be32(&f->buffer[4]), 8);
}

static void the_two_kinds_of_reservation_do_not_mix(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_run_none(f, 0x16, 0, 0, 0, 0, 0);
	scsi_expect_good(f, 0);
	scsi_run_none(f, 0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	scsi_expect_good(f, 0);
	pr_out(f, REGISTER, 0, 0, KEY);
	scsi_expect_status(f, 0x18);
	pr_in(f, 0);
	scsi_expect_status(f, 0x18);
	scsi_unit_reset(f->unit); /* takes that kind away, and not the other */
	scsi_run_none(f, 0x00, 0, 0, 0, 0, 0);
	pr_out(f, REGISTER, 0, 0, KEY);
	scsi_expect_good(f, 24);
	scsi_run_none(f, 0x16, 0, 0, 0, 0, 0);
	scsi_expect_status(f, 0x18);
	scsi_run_none(f, 0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	scsi_expect_status(f, 0x18);
	scsi_unit_reset(f->unit);
	scsi_run_none(f, 0x00, 0, 0, 0, 0, 0);
	expect_keys(f, 1, KEY);
	scsi_run_none(f, 0x16, 0x10, 0, 0, 0, 0); /* third party */
	scsi_expect_bad_cdb(f, 1);
}

/* ---- saved state ---- */

/* Saves f's unit and restores it to another, which takes its place. */
static int move_unit(struct scsi_fixture *f, size_t flip_at, uint8_t flip)
{
	struct scsi_unit_config config = {.kind = SCSI_DISK, .disk = &f->memory->disk};
	struct scsi_unit *unit = NULL;
	struct state_writer writer;
	struct state_reader reader, section;
	int result;

	assert_int_equal(scsi_unit_create(&config, &unit), 0);
	state_writer_init(&writer);
	scsi_unit_save(f->unit, &writer);
	assert_int_equal(state_writer_result(&writer), 0);
	if (flip_at)
		writer.bytes[STATE_HEADER_BYTES + flip_at - 1] ^= flip;
	state_reader_init(&reader, writer.bytes, writer.length);
	assert_int_equal(state_next(&reader, &section), 1);
	assert_int_equal(section.tag, SCSI_UNIT_STATE_TAG);
	result = scsi_unit_restore(unit, &section);
	state_writer_fini(&writer);
	if (result) {
		scsi_unit_destroy(unit);
		return result;
	}
	scsi_unit_destroy(f->unit);
	f->unit = unit;
	return 0;
}

static void a_unit_moves_with_all_it_knows(void **state)
{
	struct scsi_fixture *f = *state;

	pr_out(f, REGISTER_AND_IGNORE, 0, 0, KEY);
	pr_out(f, RESERVE, 6, KEY, 0);
	memset(f->buffer, 0, 24);
	f->buffer[4] = 0x08;
	f->buffer[5] = 0x12;
	scsi_run_out(f, 24, 0x15, 0x10, 0, 0, 24, 0); /* no WCE */
	scsi_unit_capacity_changed(f->unit);
	assert_int_equal(move_unit(f, 0, 0), 0);
	scsi_run_none(f, 0x00, 0, 0, 0, 0, 0);
	scsi_expect_sense(f, 0x6, 0x2a09); /* that, and no reset */
	scsi_run_none(f, 0x00, 0, 0, 0, 0, 0);
	scsi_expect_good(f, 0);
	expect_keys(f, 1, KEY);
	expect_reservation(f, 6, KEY);
	scsi_run_out(f, 512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	assert_true(f->memory->last_fua);
}

static void malformed_saved_state_is_refused(void **state)
{
	struct scsi_fixture *f = *state;

	/* kind; attentions; media event; flags; type */
	assert_int_equal(move_unit(f, 1, 0x01), -EPROTO);
	assert_int_equal(move_unit(f, 1 + 1, 0x80), -EPROTO);
	assert_int_equal(move_unit(f, 1 + 5, 0x08), -EPROTO);
	assert_int_equal(move_unit(f, 1 + 9, 0x80), -EPROTO);
	assert_int_equal(move_unit(f, 1 + 25, 0x03), -EPROTO); /* a reservation without a key */
	assert_int_equal(move_unit(f, 0, 0), 0);
}

static void cut_saved_state_is_refused(void **state)
{
	struct scsi_fixture *f = *state;
	struct state_writer writer;
	struct state_reader reader, section;

	state_writer_init(&writer);
	state_begin(&writer, SCSI_UNIT_STATE_TAG, 1, 1);
	state_put_u8(&writer, 0);
	state_end(&writer);
	state_begin(&writer, SCSI_UNIT_STATE_TAG, 9, 9);
	state_end(&writer);
	state_reader_init(&reader, writer.bytes, writer.length);
	assert_int_equal(state_next(&reader, &section), 1);
	assert_int_equal(scsi_unit_restore(f->unit, &section), -EPROTO);
	assert_int_equal(state_next(&reader, &section), 1);
	assert_int_equal(scsi_unit_restore(f->unit, &section), -EOPNOTSUPP);
	state_writer_fini(&writer);
}

#define WITH_UNIT(test)                                                                            \
	cmocka_unit_test_setup_teardown(test, scsi_fixture_setup, scsi_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_UNIT(registering_wants_the_key_there_is),
		WITH_UNIT(every_type_can_be_reserved_and_released),
		WITH_UNIT(clear_preempt_and_leaving_take_the_reservation),
		WITH_UNIT(what_one_initiator_cannot_have_is_refused),
		WITH_UNIT(capabilities_and_full_status_are_golden_bytes),
		WITH_UNIT(the_two_kinds_of_reservation_do_not_mix),
		WITH_UNIT(a_unit_moves_with_all_it_knows),
		WITH_UNIT(malformed_saved_state_is_refused),
		WITH_UNIT(cut_saved_state_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
