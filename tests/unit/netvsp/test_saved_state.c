/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vNIC's saved state as bytes: those of version 1 never change their meaning, and bytes that are
 * cut, altered or of another version are read or refused as base/state.h says.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/state.h"
#include "netvsp/saved_state.h"

static struct held_section held[] = {{3, 0, 7}, {1, 1, 2}};
static struct saved_message messages[] = {{false, 3, {0xa, 0xb, 0xc}}};

static struct saved_nic sample(void)
{
	return (struct saved_nic){
		.mac = {2, 0, 0, 0, 0, 1},
		.nvsp = {.version = NVSP_VERSION_61,
			 .mtu = 1500,
			 .capabilities = 0x11,
			 .attached = {true, false},
			 .layouts = {{.gpadl_id = 0xe1e10,
				      .id = 0xcafe,
				      .section_bytes = 1728,
				      .section_count = 9}},
			 .granted = 1,
			 .table_sent = true},
		.rndis = {.state = RNDIS_STATE_OPERATIONAL,
			  .packet_filter = 0xb,
			  .address = {2, 0, 0, 0, 0, 1},
			  .link_up = true,
			  .link_speed_mbps = 10000,
			  .offloads = {.tx_checksum = true, .rx_checksum = true, .lso4 = true},
			  .rss = {.enabled = true,
				  .hash_types = 0x500,
				  .key = {0x6d},
				  .table_entries = 2,
				  .table = {0, 1}},
			  .multicast_count = 1,
			  .multicast = {{1, 0, 0x5e, 0, 0, 1}}},
		.open_channels = 3,
		.held_count = ARRAY_LENGTH(held),
		.held = held,
		.message_count = ARRAY_LENGTH(messages),
		.messages = messages,
		.counters = {1, 2, 3, 4, 5, 6, 7, 8, 0},
		.vlan_count = 1,
		.vlans = {100},
		.portal_count = 1,
		.portals = {{.address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 9},
			     .next_hop = {2, 0, 0, 0, 0, 9},
			     .port = 3260,
			     .vlan = 100}},
	};
}

/* Version 1. */
static const uint8_t golden[] = {
	'N',  'I',  'C',  '_',	1,    0,    1,	  0,	14,   0,   0,	 0, /* */
	2,    0,    0,	  0,	0,    1,				    /* MAC */
	3,    0,    0,	  0,	0,    0,    0,	  0,			    /* open channels */
	'N',  'V',  'S',  'P',	1,    0,    1,	  0,	37,   0,   0,	 0, /* */
	1,    0,    6,	  0,	0xdc, 5,    0,	  0,			    /* version, MTU */
	0x11, 0,    0,	  0,	0,    0,    0,	  0,			    /* capabilities */
	1,    0,    0,	  0,	1,		     /* granted, table sent */
	1,    0x10, 0x1e, 0x0e, 0,    0xfe, 0xca,    /* receive buffer: GPADL, id */
	0xc0, 6,    0,	  0,	9,    0,    0,	  0, /* section bytes and count */
	0,					     /* no send buffer */
	'R',  'N',  'D',  'S',	1,    0,    1,	  0,	78,   0,   0,	 0, /* */
	2,    0x0b, 0,	  0,	0,					    /* state, filter */
	2,    0,    0,	  0,	0,    1,    1,	  0x10, 0x27, 0,   0, /* address, link up, speed */
	7,							      /* offloads */
	1,    0,    5,	  0,	0,				      /* RSS on, hash types */
	0x6d, 0,    0,	  0,	0,    0,    0,	  0,	0,    0,      /* key */
	0,    0,    0,	  0,	0,    0,    0,	  0,	0,    0,      /* */
	0,    0,    0,	  0,	0,    0,    0,	  0,	0,    0,      /* */
	0,    0,    0,	  0,	0,    0,    0,	  0,	0,    0,      /* */
	2,    0,    0,	  0,	1,    0,			      /* table */
	1,    0,    0,	  0,	1,    0,    0x5e, 0,	0,    1,      /* multicast */
	'H',  'E',  'L',  'D',	1,    0,    1,	  0,	20,   0,   0,	 0, /* */
	2,    0,    0,	  0,						    /* two sections: */
	3,    0,    0,	  0,	0,    0,    7,	  0, /* section, channel, transaction */
	1,    0,    0,	  0,	1,    0,    2,	  0, /* */
	'C',  'T',  'R',  'L',	1,    0,    1,	  0,	12,   0,   0,	 0,   /* */
	1,    0,    0,	  0,	0,    3,    0,	  0,	0,    0xa, 0xb,	 0xc, /* one message:
										 in-band */
	'S',  'T',  'A',  'T',	1,    0,    0,	  0,	64,   0,   0,	 0,   /* counters */
	1,    0,    0,	  0,	0,    0,    0,	  0,	2,    0,   0,	 0,    0,
	0,    0,    0, /* */
	3,    0,    0,	  0,	0,    0,    0,	  0,	4,    0,   0,	 0,    0,
	0,    0,    0, /* */
	5,    0,    0,	  0,	0,    0,    0,	  0,	6,    0,   0,	 0,    0,
	0,    0,    0, /* */
	7,    0,    0,	  0,	0,    0,    0,	  0,	8,    0,   0,	 0,    0,
	0,    0,    0,							    /* */
	'V',  'L',  'A',  'N',	1,    0,    0,	  0,	6,    0,   0,	 0, /* */
	1,    0,    0,	  0,	100,  0,				    /* */
	'P',  'R',  'T',  'L',	1,    0,    0,	  0,	30,   0,   0,	 0, /* */
	1,    0,    0,	  0,						    /* one portal */
	0,    0,    0,	  0,	0,    0,    0,	  0,	0,    0,   0xff, 0xff, 10,
	0,    0,    9,						 /* address */
	2,    0,    0,	  0,	0,    9,    0xbc, 0x0c, 100,  0, /* next hop, port, VLAN */
};

static void sample_is_written_as_version_1_has_it(void **state)
{
	struct saved_nic saved = sample();
	struct state_writer writer;

	(void)state;
	state_writer_init(&writer);
	saved_nic_write(&saved, &writer);
	assert_int_equal(state_writer_result(&writer), 0);
	assert_int_equal(writer.length, sizeof(golden));
	assert_memory_equal(writer.bytes, golden, sizeof(golden));
	state_writer_fini(&writer);
}

static void version_1_is_read_back_whole(void **state)
{
	struct saved_nic saved, expected = sample();
	struct state_writer writer;

	(void)state;
	assert_int_equal(saved_nic_read(&saved, golden, sizeof(golden)), 0);
	assert_memory_equal(saved.mac, expected.mac, 6);
	assert_int_equal(saved.open_channels, 3);
	assert_int_equal(saved.nvsp.layouts[0].gpadl_id, 0xe1e10);
	assert_int_equal(saved.rndis.rss.table[1], 1);
	assert_true(saved.rndis.offloads.lso4);
	assert_false(saved.rndis.offloads.lso6);
	assert_int_equal(saved.held_count, 2);
	assert_int_equal(saved.held[1].id, 2);
	assert_int_equal(saved.counters.out_dropped, 8);
	assert_int_equal(saved.vlans[0], 100);
	assert_int_equal(saved.portals[0].port, 3260);
	/* Nothing was lost: it is written as it was. */
	state_writer_init(&writer);
	saved_nic_write(&saved, &writer);
	assert_int_equal(writer.length, sizeof(golden));
	assert_memory_equal(writer.bytes, golden, sizeof(golden));
	state_writer_fini(&writer);
	saved_nic_fini(&saved);
}

/* Each section's start. */
static size_t section_at(uint32_t tag)
{
	size_t at = 0;

	while (get_le32(golden + at) != tag)
		at += STATE_HEADER_BYTES + get_le32(golden + at + 8);
	return at;
}

static void every_cut_is_refused_or_leaves_out_whole_skippable_sections(void **state)
{
	size_t required = section_at(STATE_TAG('S', 'T', 'A', 'T'));

	(void)state;
	for (size_t length = 0; length < sizeof(golden); length++) {
		uint8_t *bytes = malloc(length ? length : 1);
		struct saved_nic saved;
		int err;

		memcpy(bytes, golden, length);
		err = saved_nic_read(&saved, bytes, length);
		if (length == required || length == section_at(STATE_TAG('V', 'L', 'A', 'N')) ||
		    length == section_at(STATE_TAG('P', 'R', 'T', 'L'))) {
			assert_int_equal(err, 0);
			saved_nic_fini(&saved);
		} else {
			assert_int_equal(err, -EPROTO);
		}
		free(bytes);
	}
}

static void every_altered_byte_is_refused_or_stays_in_bounds(void **state)
{
	static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
	uint8_t bytes[sizeof(golden)];

	(void)state;
	for (size_t at = 0; at < sizeof(golden); at++) {
		for (size_t v = 0; v < ARRAY_LENGTH(values); v++) {
			struct saved_nic saved;

			memcpy(bytes, golden, sizeof(golden));
			bytes[at] = values[v];
			if (saved_nic_read(&saved, bytes, sizeof(bytes)))
				continue;
			assert_in_range(saved.rndis.rss.table_entries, 0, 128);
			assert_in_range(saved.rndis.multicast_count, 0, RNDIS_MAX_MULTICAST);
			assert_in_range(saved.vlan_count, 0, SAVED_MAX_VLANS);
			assert_in_range(saved.portal_count, 0, VSP_MAX_PORTALS);
			assert_true(saved.rndis.state <= RNDIS_STATE_OPERATIONAL);
			for (uint32_t i = 0; i < saved.held_count; i++)
				assert_in_range(saved.held[i].sub_index, 0, NVSP_MAX_CHANNELS - 1);
			saved_nic_fini(&saved);
		}
	}
}

static void next_version_is_read_where_it_says_so(void **state)
{
	static const uint8_t unknown[13] = {'N', 'E', 'W', '_', 3, 0, 0, 0, 1, 0, 0, 0, 0x77};
	uint8_t bytes[sizeof(golden) + 13];
	const size_t portals = section_at(STATE_TAG('P', 'R', 'T', 'L'));
	struct saved_nic saved;

	(void)state;
	/* A section of version 2 with one byte more. */
	memcpy(bytes, golden, sizeof(golden));
	bytes[sizeof(golden)] = 0x55;
	put_le16(bytes + portals + 4, 2);
	put_le32(bytes + portals + 8, get_le32(golden + portals + 8) + 1);
	assert_int_equal(saved_nic_read(&saved, bytes, sizeof(golden) + 1), 0);
	assert_int_equal(saved.portal_count, 1);
	saved_nic_fini(&saved);
	/* One that version 1 cannot make sense of. */
	put_le16(bytes + portals + 6, 2);
	assert_int_equal(saved_nic_read(&saved, bytes, sizeof(golden) + 1), -EOPNOTSUPP);

	/* A section that nobody knows, to be passed over or not. */
	memcpy(bytes, golden, sizeof(golden));
	memcpy(bytes + sizeof(golden), unknown, sizeof(unknown));
	assert_int_equal(saved_nic_read(&saved, bytes, sizeof(bytes)), 0);
	saved_nic_fini(&saved);
	put_le16(bytes + sizeof(golden) + 6, 1);
	assert_int_equal(saved_nic_read(&saved, bytes, sizeof(bytes)), -EOPNOTSUPP);
}

static void section_that_comes_twice_or_not_at_all_is_refused(void **state)
{
	const size_t nvsp = section_at(STATE_TAG('N', 'V', 'S', 'P'));
	const size_t rndis = section_at(STATE_TAG('R', 'N', 'D', 'S'));
	uint8_t bytes[2 * sizeof(golden)];
	struct saved_nic saved;

	(void)state;
	memcpy(bytes, golden, sizeof(golden));
	memcpy(bytes + sizeof(golden), golden + nvsp, rndis - nvsp);
	assert_int_equal(saved_nic_read(&saved, bytes, sizeof(golden) + rndis - nvsp), -EPROTO);
	memcpy(bytes, golden, nvsp);
	memcpy(bytes + nvsp, golden + rndis, sizeof(golden) - rndis);
	assert_int_equal(saved_nic_read(&saved, bytes, sizeof(golden) - (rndis - nvsp)), -EPROTO);
}

/* ---- what the guest holds ---- */

static void held_sections_are_taken_once_and_in_bounds(void **state)
{
	uint32_t next[8];
	struct rx_buffer buffer = {.section_count = 8, .next = next, .free_count = 8};
	const struct held_section twice[] = {{1, 0, 1}, {2, 0, 1}, {1, 0, 2}};
	const struct held_section past[] = {{1, 0, 1}, {8, 0, 1}};
	const struct held_section good[] = {{7, 0, 1}, {0, 0, 1}, {3, 1, 5}};
	uint32_t chain = RX_NO_SECTION, taken = 0, seen = 0;

	(void)state;
	for (uint32_t i = 0; i < 8; i++)
		next[i] = i + 1 < 8 ? i + 1 : RX_NO_SECTION;
	assert_int_equal(rx_buffer_take_held(&buffer, twice, 3), -EINVAL);
	assert_int_equal(rx_buffer_take_held(&buffer, past, 2), -EINVAL);
	assert_int_equal(buffer.free_count, 8);
	assert_int_equal(rx_buffer_take_held(&buffer, good, 3), 0);
	assert_int_equal(buffer.free_count, 5);
	while (rx_buffer_take(&buffer, &chain)) {
		assert_false(seen & 1u << chain);
		seen |= 1u << chain;
		taken++;
	}
	assert_int_equal(taken, 5);
	assert_int_equal(seen, 0x76);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sample_is_written_as_version_1_has_it),
		cmocka_unit_test(version_1_is_read_back_whole),
		cmocka_unit_test(every_cut_is_refused_or_leaves_out_whole_skippable_sections),
		cmocka_unit_test(every_altered_byte_is_refused_or_stays_in_bounds),
		cmocka_unit_test(next_version_is_read_where_it_says_so),
		cmocka_unit_test(section_that_comes_twice_or_not_at_all_is_refused),
		cmocka_unit_test(held_sections_are_taken_once_and_in_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
