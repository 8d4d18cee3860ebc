/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Answers of a guest's integration services.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "ic/ic_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ic_version versions[] = {{1, 0}, {3, 0}, {3, 2}};
	struct ic_versions chosen;
	struct ic_answer answer;

	if (ic_answer_parse(data, size, &answer) < 0)
		return 0;
	if (answer.body < data || answer.body + answer.body_bytes > data + size)
		abort();
	if (ic_negotiate_parse(&answer, versions, ARRAY_LENGTH(versions), &chosen) == 0 &&
	    (chosen.message.major == 0 || chosen.framework.major == 0))
		abort();
	return 0;
}
