/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hash by the values that Microsoft publishes.
 */
#include "tests/unit/test_main.h"

#include <string.h>

#include "base/bytes.h"
#include "nlb/nlb_toeplitz.h"

/* "Verifying the RSS Hash Calculation", Windows drivers' documentation. */
static void hash_is_that_of_every_nic(void **state)
{
	static const struct {
		uint8_t source[4], destination[4];
		uint16_t source_port, destination_port;
		uint32_t addresses, all;
	} v4[] = {
		{{66, 9, 149, 187}, {161, 142, 100, 80}, 2794, 1766, 0x323e8fc2, 0x51ccc178},
		{{199, 92, 111, 2}, {65, 69, 140, 83}, 14230, 4739, 0xd718262a, 0xc626b0ea},
		{{24, 19, 198, 95}, {12, 22, 207, 184}, 12898, 38024, 0xd2d0a5de, 0x5c2b394a},
		{{38, 27, 205, 30}, {209, 142, 163, 6}, 48228, 2217, 0x82989176, 0xafc7327f},
		{{153, 39, 163, 191}, {202, 188, 127, 2}, 44251, 1303, 0x5d1809c5, 0x10e828a2},
	};
	static const struct {
		uint16_t source[8], destination[8];
		uint16_t source_port, destination_port;
		uint32_t addresses, all;
	} v6[] = {
		{{0x3ffe, 0x2501, 0x200, 0x1fff, 0, 0, 0, 7},
		 {0x3ffe, 0x2501, 0x200, 3, 0, 0, 0, 1},
		 2794,
		 1766,
		 0x2cc18cd5,
		 0x40207d3d},
		{{0x3ffe, 0x501, 8, 0, 0x260, 0x97ff, 0xfe40, 0xefab},
		 {0xff02, 0, 0, 0, 0, 0, 0, 1},
		 14230,
		 4739,
		 0x0f0c461c,
		 0xdde51bbf},
		{{0x3ffe, 0x1900, 0x4545, 3, 0x200, 0xf8ff, 0xfe21, 0x67cf},
		 {0xfe80, 0, 0, 0, 0x200, 0xf8ff, 0xfe21, 0x67cf},
		 44251,
		 38024,
		 0x4b61e985,
		 0x02d1feef},
	};
	struct nlb_toeplitz toeplitz;
	uint8_t input[NLB_TOEPLITZ_INPUT_BYTES];

	(void)state;
	nlb_toeplitz_init(&toeplitz, nlb_toeplitz_default_key);
	for (size_t i = 0; i < ARRAY_LENGTH(v4); i++) {
		memcpy(input, v4[i].source, 4);
		memcpy(input + 4, v4[i].destination, 4);
		put_be16(input + 8, v4[i].source_port);
		put_be16(input + 10, v4[i].destination_port);
		assert_int_equal(nlb_toeplitz_hash(&toeplitz, input, 8), v4[i].addresses);
		assert_int_equal(nlb_toeplitz_hash(&toeplitz, input, 12), v4[i].all);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(v6); i++) {
		for (size_t k = 0; k < 8; k++) {
			put_be16(input + 2 * k, v6[i].source[k]);
			put_be16(input + 16 + 2 * k, v6[i].destination[k]);
		}
		put_be16(input + 32, v6[i].source_port);
		put_be16(input + 34, v6[i].destination_port);
		assert_int_equal(nlb_toeplitz_hash(&toeplitz, input, 32), v6[i].addresses);
		assert_int_equal(nlb_toeplitz_hash(&toeplitz, input, 36), v6[i].all);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_is_that_of_every_nic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
