/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables and sheets, character by character.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "cli/output.h"

typedef void (*render_fn)(FILE *out, const json_t *json);

static void assert_renders(render_fn render, const char *json_text, const char *expected)
{
	json_t *json = json_loads(json_text, 0, NULL);
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	assert_non_null(json);
	render(out, json);
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
	json_decref(json);
}

static void sizes_are_short(void **state)
{
	char word[OUTPUT_WORD_BYTES];

	(void)state;
	output_size(word, 0);
	assert_string_equal(word, "0B");
	output_size(word, 1023);
	assert_string_equal(word, "1023B");
	output_size(word, UINT64_C(512) << 20);
	assert_string_equal(word, "512M");
	output_size(word, UINT64_C(64) << 30);
	assert_string_equal(word, "64G");
	output_size(word, UINT64_C(1536) << 20);
	assert_string_equal(word, "1.5G");
	output_size(word, UINT64_MAX);
	assert_string_equal(word, "16384.0P");
}

static void durations_have_two_units(void **state)
{
	char word[OUTPUT_WORD_BYTES];

	(void)state;
	output_duration(word, 999);
	assert_string_equal(word, "0s");
	output_duration(word, 59999);
	assert_string_equal(word, "59s");
	output_duration(word, 200000);
	assert_string_equal(word, "3m 20s");
	output_duration(word, 7500000);
	assert_string_equal(word, "2h 5m");
	output_duration(word, (12 * 24 + 3) * UINT64_C(3600000));
	assert_string_equal(word, "12d 3h");
}

static void list_aligns_its_columns(void **state)
{
	(void)state;
	assert_renders(output_vm_list,
		       "[{\"name\": \"a\", \"state\": \"running\", \"vps\": 2, \"memory_bytes\": "
		       "536870912,"
		       "  \"uptime_ms\": 61000, \"nics\": [{}, {}]},"
		       " {\"name\": \"longer-name\", \"state\": \"stopped\", \"vps\": 64,"
		       "  \"memory_bytes\": 1073741824, \"uptime_ms\": 0, \"nics\": []},"
		       " {\"name\": \"broken\", \"state\": \"invalid\"}]",
		       "NAME         STATE    VPS  MEMORY  NICS  UPTIME\n"
		       "a            running  2    512M    2     1m 1s\n"
		       "longer-name  stopped  64   1G      0     -\n"
		       "broken       invalid  -    -       -     -\n");
}

static void sheet_of_a_running_vm_tells_all(void **state)
{
	(void)state;
	assert_renders(
		output_vm_sheet,
		"{\"name\": \"vm0\", \"state\": \"running\", \"reason\": null, \"engine\": \"kvm\","
		" \"pid\": 42, \"vps\": 2, \"memory_bytes\": 536870912, \"huge_pages\": true,"
		" \"uptime_ms\": 61234, \"reboots\": 1, \"kernel\": \"/k\", \"initrd\": null,"
		" \"cmdline\": \"console=ttyS0\", \"console\": {\"kind\": \"socket\", \"path\": "
		"\"/c\"},"
		" \"vmbus\": {\"version\": \"5.3\", \"channels_offered\": 3, \"channels_open\": 2,"
		"   \"gpadls\": 5},"
		" \"guest\": {\"heartbeat\": \"ok\", \"shutdown_ready\": true},"
		" \"nics\": [{\"mac\": \"02:00:00:00:ab:01\", \"switch\": \"/s\", \"spoof_guard\": "
		"true,"
		"   \"mtu_max\": 9000, \"queues_max\": 4, \"link\": \"open\", \"nvsp_version\": "
		"\"6.1\","
		"   \"mtu\": 1500, \"channels_open\": 2, \"rndis_up\": true,"
		"   \"stats\": {\"tx_packets\": 7, \"tx_bytes\": 700, \"tx_dropped\": 1, "
		"\"tx_spoofed\": 2,"
		"     \"tx_malformed\": 3, \"rx_packets\": 8, \"rx_bytes\": 2048, \"rx_dropped\": "
		"0}}]}",
		"name         vm0\n"
		"state        running\n"
		"uptime       1m 1s (1 reboots)\n"
		"process      42 on kvm\n"
		"vps          2\n"
		"memory       512M (huge pages)\n"
		"kernel       /k\n"
		"initrd       -\n"
		"cmdline      console=ttyS0\n"
		"console      socket /c\n"
		"vmbus        5.3, 2 of 3 channels open, 5 GPADLs\n"
		"guest        heartbeat ok, takes shutdown requests\n"
		"nic 0        02:00:00:00:ab:01\n"
		"  switch     /s\n"
		"  link       open, receiving\n"
		"  nvsp       6.1, 2 of 4 channels, MTU 1500\n"
		"  sent       7 packets, 700B, 1 dropped, 2 spoofed, 3 malformed\n"
		"  received   8 packets, 2K\n");
}

static void sheet_of_a_stopped_vm_leaves_live_values_out(void **state)
{
	(void)state;
	assert_renders(output_vm_sheet,
		       "{\"name\": \"vm0\", \"state\": \"stopped\", \"reason\": null, \"vps\": 1,"
		       " \"memory_bytes\": 67108864, \"huge_pages\": false, \"kernel\": \"/k\","
		       " \"initrd\": \"/i\", \"cmdline\": \"q\","
		       " \"console\": {\"kind\": \"stdio\", \"path\": null},"
		       " \"nics\": [{\"mac\": \"m\", \"switch\": \"/s\", \"spoof_guard\": false}]}",
		       "name         vm0\n"
		       "state        stopped\n"
		       "vps          1\n"
		       "memory       64M\n"
		       "kernel       /k\n"
		       "initrd       /i\n"
		       "cmdline      q\n"
		       "console      stdio -\n"
		       "nic 0        m\n"
		       "  switch     /s (spoof guard off)\n");
}

static void hostile_report_is_rendered_harmless(void **state)
{
	(void)state;
	assert_renders(output_vm_sheet,
		       "{\"name\": \"a\\u001b[31m\\u009bb\\u00e4\", \"state\": 7, \"vps\": \"x\","
		       " \"memory_bytes\": -5, \"console\": [], \"nics\": [[], 3]}",
		       "name         a?[31m\xc2?b\xc3\xa4\n"
		       "state        -\n"
		       "vps          0\n"
		       "memory       0B\n"
		       "kernel       -\n"
		       "initrd       -\n"
		       "cmdline      -\n"
		       "console      - -\n"
		       "nic 0        -\n"
		       "  switch     -\n"
		       "nic 1        -\n"
		       "  switch     -\n");
	assert_renders(output_vm_list, "[3, {}]",
		       "NAME  STATE  VPS  MEMORY  NICS  UPTIME\n"
		       "-     -      -    -       -     -\n"
		       "-     -      -    -       -     -\n");
	assert_renders(output_vm_sheet, "[]", "name         -\nstate        -\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_short),
		cmocka_unit_test(durations_have_two_units),
		cmocka_unit_test(list_aligns_its_columns),
		cmocka_unit_test(sheet_of_a_running_vm_tells_all),
		cmocka_unit_test(sheet_of_a_stopped_vm_leaves_live_values_out),
		cmocka_unit_test(hostile_report_is_rendered_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
