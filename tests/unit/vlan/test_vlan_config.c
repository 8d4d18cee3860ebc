/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sets and configurations in words; private VLANs' parts on one switch.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <string.h>

#include "vlan/vlan_config.h"
#include "vlan/vlan_map.h"

static void set_is_read_and_written_alike(void **state)
{
	static const struct {
		const char *text, *written;
	} cases[] = {{"10", "10"},	    {"10,20-30", "10,20-30"}, {" 3 , 1 - 2 ", "1-3"},
		     {"4094", "4094"},	    {"1-4094", "1-4094"},     {"5,5,5-6", "5-6"},
		     {"1,3,5,7", "1,3,5,7"}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vlan_set set;
		char text[64];

		assert_int_equal(vlan_set_parse(cases[i].text, 1, &set), 0);
		assert_string_equal(vlan_set_format(&set, text, sizeof(text)), cases[i].written);
	}
}

static void set_refuses_what_is_no_list(void **state)
{
	static const char *const cases[] = {"",	     ",",   "10,",  "4095", "0",     "1-",
					    "3-2",   "a",   "1 2",  "1--2", "-1",    "99999999999",
					    "1-2-3", "1;2", "0x10", "+1",   "1-4095"};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vlan_set set;

		assert_int_equal(vlan_set_parse(cases[i], 1, &set), -EINVAL);
	}
}

static void long_set_is_cut_where_it_does_not_fit(void **state)
{
	struct vlan_set set = {0};
	char text[16];

	(void)state;
	assert_string_equal(vlan_set_format(&set, text, sizeof(text)), "none");
	for (uint16_t vid = 1; vid < 100; vid = (uint16_t)(vid + 2))
		vlan_set_add(&set, vid);
	assert_string_equal(vlan_set_format(&set, text, sizeof(text)), "1,3,5,7,9...");
}

static void set_survives_its_bytes(void **state)
{
	uint8_t bytes[VLAN_SET_BYTES];
	struct vlan_set set, back;

	(void)state;
	assert_int_equal(vlan_set_parse("0,9,4094", 0, &set), 0);
	vlan_set_put(&set, bytes);
	assert_int_equal(bytes[0], 1);
	assert_int_equal(bytes[1], 2);
	assert_int_equal(bytes[511], 1 << 6);
	vlan_set_get(&back, bytes);
	assert_true(vlan_set_is_equal(&set, &back));
	assert_int_equal(vlan_set_count(&back), 3);
}

static void each_mode_is_read_from_its_words(void **state)
{
	static const struct {
		struct vlan_words words;
		const char *phrase;
	} cases[] = {
		{{.mode = "default"}, "default"},
		{{.mode = "untagged"}, "untagged"},
		{{.mode = "access", .id = "10"}, "access 10"},
		{{.mode = "trunk", .allowed = "10,20-30", .native = "1"},
		 "trunk 10,20-30 native 1"},
		{{.mode = "trunk", .allowed = "10"}, "trunk 10 native 0"},
		{{.mode = "isolated", .primary = "100", .secondary = "101"}, "isolated 100,101"},
		{{.mode = "community", .primary = "100", .secondary = "102"}, "community 100,102"},
		{{.mode = "promiscuous", .primary = "100", .secondary = "101-103"},
		 "promiscuous 100,101-103"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char message[VLAN_MESSAGE_BYTES], text[VLAN_TEXT_BYTES];
		struct vlan_config config;
		const char *key;

		assert_int_equal(vlan_config_parse(&cases[i].words, &config, &key, message), 0);
		assert_string_equal(vlan_config_format(&config, text), cases[i].phrase);
	}
}

static void wrong_words_are_named(void **state)
{
	static const struct {
		struct vlan_words words;
		const char *key, *says;
	} cases[] = {
		{{.id = "10"}, "mode", "missing"},
		{{.mode = "acces", .id = "10"}, "mode", "'acces' is not a mode"},
		{{.mode = "access"}, "id", "missing; mode access needs it"},
		{{.mode = "access", .id = "0"}, "id", "'0' is not a whole number from 1 to 4094"},
		{{.mode = "access", .id = "4095"}, "id", "from 1 to 4094"},
		{{.mode = "access", .id = "1-2"}, "id", "not a whole number"},
		{{.mode = "access", .id = "1", .native = "1"}, "native", "does not have it"},
		{{.mode = "untagged", .id = "1"}, "id", "does not have it"},
		{{.mode = "trunk", .native = "1"}, "allowed", "missing"},
		{{.mode = "trunk", .allowed = "x"}, "allowed", "no list of VLANs"},
		{{.mode = "isolated", .primary = "1"}, "secondary", "missing"},
		{{.mode = "isolated", .primary = "5", .secondary = "5"},
		 "secondary",
		 "cannot be its own secondary"},
		{{.mode = "promiscuous", .primary = "5", .secondary = "4-6"},
		 "secondary",
		 "cannot be its own secondary"},
		{{.mode = "isolated", .primary = "5", .secondary = "6,7"},
		 "secondary",
		 "not a whole number"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char message[VLAN_MESSAGE_BYTES] = "";
		struct vlan_config config;
		const char *key = "";

		assert_int_equal(vlan_config_parse(&cases[i].words, &config, &key, message),
				 -EINVAL);
		assert_string_equal(key, cases[i].key);
		assert_non_null(strstr(message, cases[i].says));
	}
}

static void configuration_of_a_peer_is_checked(void **state)
{
	struct vlan_config good = {.mode = VLAN_ACCESS, .id = 5}, bad;
	char message[VLAN_MESSAGE_BYTES];

	(void)state;
	assert_int_equal(vlan_config_check(&good, message), 0);
	bad = good;
	bad.mode = VLAN_MODE_COUNT;
	assert_int_equal(vlan_config_check(&bad, message), -EINVAL);
	bad = good;
	bad.id = 4095;
	assert_int_equal(vlan_config_check(&bad, message), -EINVAL);
	bad = good;
	bad.secondary = 6;
	assert_int_equal(vlan_config_check(&bad, message), -EINVAL);
	bad = good;
	vlan_set_add(&bad.list, 7);
	assert_int_equal(vlan_config_check(&bad, message), -EINVAL);
	bad = (struct vlan_config){.mode = VLAN_TRUNK};
	assert_int_equal(vlan_config_check(&bad, message), -EINVAL);
	vlan_set_add(&bad.list, 0);
	assert_int_equal(vlan_config_check(&bad, message), -EINVAL);
	bad = (struct vlan_config){.mode = VLAN_DEFAULT, .id = 1};
	assert_int_equal(vlan_config_check(&bad, message), -EINVAL);
}

static struct vlan_config private_config(enum vlan_mode mode, uint16_t primary, uint16_t secondary)
{
	struct vlan_config config = {.mode = mode, .id = primary};

	if (mode == VLAN_PROMISCUOUS)
		vlan_set_add(&config.list, secondary);
	else
		config.secondary = secondary;
	return config;
}

static void secondary_has_one_primary_and_one_kind(void **state)
{
	static struct vlan_map map;
	struct vlan_config isolated = private_config(VLAN_ISOLATED, 100, 101);
	struct vlan_config promiscuous = private_config(VLAN_PROMISCUOUS, 100, 101);
	struct vlan_config community = private_config(VLAN_COMMUNITY, 100, 101);
	struct vlan_config elsewhere = private_config(VLAN_ISOLATED, 200, 101);
	struct vlan_config chained = private_config(VLAN_ISOLATED, 101, 102);
	struct vlan_config upside_down = private_config(VLAN_ISOLATED, 300, 100);
	uint16_t vlan = 0;

	(void)state;
	vlan_map_init(&map);
	assert_int_equal(vlan_map_add(&map, &promiscuous, &vlan), 0);
	assert_int_equal(vlan_map_learned_as(&map, 101), 100);
	assert_int_equal(vlan_map_learned_as(&map, 100), 100);
	assert_int_equal(vlan_map_add(&map, &isolated, &vlan), 0);
	assert_int_equal(vlan_map_add(&map, &isolated, &vlan), 0);
	assert_int_equal(vlan_map_add(&map, &community, &vlan), -EEXIST);
	assert_int_equal(vlan, 101);
	assert_int_equal(vlan_map_add(&map, &elsewhere, &vlan), -EEXIST);
	assert_int_equal(vlan_map_add(&map, &chained, &vlan), -EEXIST);
	assert_int_equal(vlan_map_add(&map, &upside_down, &vlan), -EEXIST);
	assert_int_equal(vlan, 100);
	/* When the last one has gone it is free for another part. */
	vlan_map_remove(&map, &isolated);
	vlan_map_remove(&map, &isolated);
	assert_int_equal(vlan_map_add(&map, &community, &vlan), 0);
	vlan_map_remove(&map, &community);
	assert_int_equal(vlan_map_learned_as(&map, 101), 100);
	vlan_map_remove(&map, &promiscuous);
	assert_int_equal(vlan_map_learned_as(&map, 101), 101);
	assert_int_equal(vlan_map_add(&map, &elsewhere, &vlan), 0);
}

static void uplinks_must_carry_what_a_mode_needs(void **state)
{
	static const struct {
		struct vlan_words words;
		const char *needs;
	} cases[] = {
		{{.mode = "default"}, "none"},
		{{.mode = "untagged"}, "0"},
		{{.mode = "access", .id = "10"}, "10"},
		{{.mode = "trunk", .allowed = "10,12", .native = "1"}, "1,10,12"},
		{{.mode = "trunk", .allowed = "10"}, "10"},
		{{.mode = "isolated", .primary = "100", .secondary = "101"}, "100-101"},
		{{.mode = "promiscuous", .primary = "100", .secondary = "102-103"}, "100,102-103"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char message[VLAN_MESSAGE_BYTES], text[VLAN_TEXT_BYTES];
		struct vlan_config config;
		struct vlan_set needed;
		const char *key;

		assert_int_equal(vlan_config_parse(&cases[i].words, &config, &key, message), 0);
		vlan_config_needs(&config, &needed);
		assert_string_equal(vlan_set_format(&needed, text, sizeof(text)), cases[i].needs);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_is_read_and_written_alike),
		cmocka_unit_test(set_refuses_what_is_no_list),
		cmocka_unit_test(long_set_is_cut_where_it_does_not_fit),
		cmocka_unit_test(set_survives_its_bytes),
		cmocka_unit_test(each_mode_is_read_from_its_words),
		cmocka_unit_test(wrong_words_are_named),
		cmocka_unit_test(configuration_of_a_peer_is_checked),
		cmocka_unit_test(secondary_has_one_primary_and_one_kind),
		cmocka_unit_test(uplinks_must_carry_what_a_mode_needs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
