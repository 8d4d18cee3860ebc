/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Integration component messages: the bytes that hv_utils reads and writes, and answers that lie.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "ic/ic_message.h"

static const struct ic_version versions[] = {{1, 0}, {3, 2}};

static void a_negotiation_is_as_hv_util_reads_it(void **state)
{
	static const uint8_t expected[] = {
		1, 0, 0, 0, 44, 0, 0, 0,	      /* pipe: data, 44 bytes */
		0, 0, 0, 0, 0,	0, 0, 0, 0, 0, 24, 0, /* no versions yet, type 0, 24 bytes */
		0, 0, 0, 0, 7,	3, 0, 0,	      /* transaction 7, a request */
		2, 0, 2, 0, 0,	0, 0, 0,	      /* two versions each */
		1, 0, 0, 0, 3,	0, 0, 0, 1, 0, 0,  0, 3, 0, 2, 0,
	};
	uint8_t bytes[IC_MAX_MESSAGE_BYTES];

	(void)state;
	assert_int_equal(ic_negotiate_build(bytes, 7, versions, 2), sizeof(expected));
	assert_memory_equal(bytes, expected, sizeof(expected));
}

static void a_request_carries_the_versions_in_force(void **state)
{
	const struct ic_versions chosen = {{3, 0}, {3, 2}};
	static const uint8_t expected[] = {
		1, 0, 0, 0, 24, 0, 0, 0, 3, 0, 0, 0, 3,	  0,   3,   0,
		2, 0, 4, 0, 0,	0, 0, 0, 9, 3, 0, 0, 'b', 'o', 'd', 'y',
	};
	uint8_t bytes[IC_MAX_MESSAGE_BYTES];

	(void)state;
	assert_int_equal(ic_message_build(bytes, IC_SHUTDOWN, &chosen, 9, "body", 4),
			 sizeof(expected));
	assert_memory_equal(bytes, expected, sizeof(expected));
}

static void bodies_that_do_not_fit_are_refused(void **state)
{
	const struct ic_versions chosen = {{3, 0}, {3, 2}};
	static uint8_t body[IC_MAX_MESSAGE_BYTES];
	uint8_t bytes[IC_MAX_MESSAGE_BYTES];
	struct ic_version many[IC_MAX_VERSIONS + 1] = {0};

	(void)state;
	assert_int_equal(ic_message_build(bytes, 1, &chosen, 9, body, sizeof(body) - 28),
			 IC_MAX_MESSAGE_BYTES);
	assert_int_equal(ic_message_build(bytes, 1, &chosen, 9, body, sizeof(body) - 27),
			 -EMSGSIZE);
	assert_int_equal(ic_message_build(bytes, 1, &chosen, 9, body, SIZE_MAX), -EMSGSIZE);
	assert_true(ic_negotiate_build(bytes, 0, many, IC_MAX_VERSIONS) > 0);
	assert_int_equal(ic_negotiate_build(bytes, 0, many, IC_MAX_VERSIONS + 1), -EMSGSIZE);
}

/* vmbus_prep_negotiate_resp() with framework 3.0 and message version 3.2. */
static const uint8_t linux_answer[] = {
	1, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0,
	0, 0, 7, 5, 0,	0, 1, 0, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 3,  0, 2, 0,
};

static void the_answer_of_linux_is_read(void **state)
{
	struct ic_versions chosen;
	struct ic_answer answer;

	(void)state;
	assert_int_equal(ic_answer_parse(linux_answer, sizeof(linux_answer), &answer), 0);
	assert_int_equal(answer.type, IC_NEGOTIATE);
	assert_int_equal(answer.transaction_id, 7);
	assert_int_equal(answer.body_bytes, 16);
	assert_int_equal(ic_negotiate_parse(&answer, versions, 2, &chosen), 0);
	assert_int_equal(chosen.framework.major, 3);
	assert_int_equal(chosen.framework.minor, 0);
	assert_int_equal(chosen.message.major, 3);
	assert_int_equal(chosen.message.minor, 2);
}

static void answers_that_lie_are_refused(void **state)
{
	uint8_t bytes[sizeof(linux_answer)];
	struct ic_versions chosen;
	struct ic_answer answer;

	(void)state;
	for (size_t length = 0; length < sizeof(linux_answer); length++)
		assert_int_equal(ic_answer_parse(linux_answer, length, &answer), -EPROTO);
	memcpy(bytes, linux_answer, sizeof(bytes));
	bytes[25] = IC_FLAG_REQUEST | IC_FLAG_TRANSACTION;
	assert_int_equal(ic_answer_parse(bytes, sizeof(bytes), &answer), -EPROTO);
	memcpy(bytes, linux_answer, sizeof(bytes));
	bytes[18] = 17; /* a body longer than the message */
	assert_int_equal(ic_answer_parse(bytes, sizeof(bytes), &answer), -EPROTO);
	for (uint8_t length = 0; length < 16; length++) {
		bytes[18] = length;
		assert_int_equal(ic_answer_parse(bytes, sizeof(bytes), &answer), 0);
		assert_int_equal(ic_negotiate_parse(&answer, versions, 2, &chosen), -EPROTO);
	}
}

static void versions_that_were_not_offered_are_refused(void **state)
{
	uint8_t bytes[sizeof(linux_answer)];
	struct ic_versions chosen;
	struct ic_answer answer;

	(void)state;
	memcpy(bytes, linux_answer, sizeof(bytes));
	assert_int_equal(ic_answer_parse(bytes, sizeof(bytes), &answer), 0);
#define ANSWER_WITH(at, value, expected)                                                           \
	memcpy(bytes, linux_answer, sizeof(bytes));                                                \
	bytes[at] = value;                                                                         \
	assert_int_equal(ic_negotiate_parse(&answer, versions, 2, &chosen), expected)
	ANSWER_WITH(36, 2, -EPROTO); /* framework 2.0 */
	ANSWER_WITH(42, 1, -EPROTO); /* message 3.1 */
	ANSWER_WITH(28, 2, -EPROTO); /* more than one */
	ANSWER_WITH(30, 0, -EPROTO); /* one of them only */
	ANSWER_WITH(43, 1, -EPROTO); /* minor 0x102 */
#undef ANSWER_WITH
	memcpy(bytes, linux_answer, sizeof(bytes));
	bytes[28] = 0;
	bytes[30] = 0;
	assert_int_equal(ic_negotiate_parse(&answer, versions, 2, &chosen), -EOPNOTSUPP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_negotiation_is_as_hv_util_reads_it),
		cmocka_unit_test(a_request_carries_the_versions_in_force),
		cmocka_unit_test(bodies_that_do_not_fit_are_refused),
		cmocka_unit_test(the_answer_of_linux_is_read),
		cmocka_unit_test(answers_that_lie_are_refused),
		cmocka_unit_test(versions_that_were_not_offered_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
