/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a destination's switch is asked before a move, and what is made of its answers.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <string.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/state.h"
#include "hypervisor/migration/migration.h"
#include "hypervisor/vm_check.h"
#include "hypervisor/vm_config.h"
#include "hypervisor/vm_portals.h"
#include "hypervisor/vsp_query.h"
#include "tests/unit/hypervisor/fake_netvspd.h"

#define WAIT_MS 20000

static struct {
	struct event_loop *loop;
	struct fake_netvspd *netvspd;
	struct vm_config config;
	struct migration_check findings;
	bool done;
	int status;
	struct vsp_info info;
} bench;

static int setup(void **state)
{
	(void)state;
	memset(&bench, 0, sizeof(bench));
	bench.netvspd = fake_netvspd_start();
	bench.config = (struct vm_config){
		.name = "vm0",
		.nic_count = 1,
		.nics[0] = {.mtu = 1500,
			    .vsp_socket = (char *)(uintptr_t)fake_netvspd_path(bench.netvspd)},
	};
	return event_loop_create(&bench.loop);
}

static int teardown(void **state)
{
	(void)state;
	fake_netvspd_stop(bench.netvspd);
	event_loop_destroy(bench.loop);
	return 0;
}

static void await(void)
{
	struct deadline deadline = deadline_in_ms(WAIT_MS);

	while (!bench.done) {
		assert_false(deadline_passed(deadline));
		event_loop_run_once(bench.loop, 10);
	}
}

static void on_checked(void *ctx)
{
	(void)ctx;
	bench.done = true;
}

static void check(struct state_reader *portals)
{
	struct vm_check *started;

	bench.done = false;
	memset(&bench.findings, 0, sizeof(bench.findings));
	assert_int_equal(vm_check_start(bench.loop, &bench.config, portals, &bench.findings,
					on_checked, NULL, &started),
			 0);
	await();
}

static void switch_has(uint32_t link_up, uint32_t mtu)
{
	struct vsp_info info = {.uplink_count = 1};

	info.uplinks[0].link_up = link_up;
	info.uplinks[0].mtu = mtu;
	fake_netvspd_set_info(bench.netvspd, &info);
}

static void assert_finding(enum migration_severity severity, const char *item, const char *text)
{
	assert_int_equal(bench.findings.count, 1);
	assert_int_equal(bench.findings.findings[0].severity, severity);
	assert_string_equal(bench.findings.findings[0].item, item);
	assert_non_null(strstr(bench.findings.findings[0].text, text));
}

static void a_good_switch_has_no_findings(void **state)
{
	(void)state;
	switch_has(1, 1500);
	check(NULL);
	assert_int_equal(bench.findings.count, 0);
}

static void an_uplink_without_a_link_harms(void **state)
{
	(void)state;
	switch_has(0, 1500);
	check(NULL);
	assert_finding(MIGRATION_HARMS, "uplink", "no uplink");
}

static void an_uplink_that_is_too_narrow_harms(void **state)
{
	(void)state;
	switch_has(1, 1400);
	check(NULL);
	assert_finding(MIGRATION_HARMS, "uplink", "1400");
}

static void a_vlan_that_no_uplink_carries_harms(void **state)
{
	struct vsp_vlan_missing missing = {.list = {[10 / 8] = 1 << 10 % 8}};
	struct vsp_vlan asked;

	(void)state;
	switch_has(1, 1500);
	check(NULL); /* without a mode nobody asks */
	assert_int_equal(fake_netvspd_count(bench.netvspd, VSP_VLAN_CHECK), 0);
	bench.config.nics[0].vlan = (struct vlan_config){.mode = VLAN_ACCESS, .id = 10};
	check(NULL);
	assert_int_equal(bench.findings.count, 0);
	assert_true(fake_netvspd_last(bench.netvspd, VSP_VLAN_CHECK, &asked, sizeof(asked)));
	assert_int_equal(asked.mode, VSP_VLAN_ACCESS);
	assert_int_equal(asked.id, 10);
	fake_netvspd_set_missing(bench.netvspd, &missing);
	check(NULL);
	assert_finding(MIGRATION_HARMS, "vlan", "VLAN 10");
}

static void a_switch_that_knows_no_vlans_is_told(void **state)
{
	(void)state;
	switch_has(1, 1500);
	bench.config.nics[0].vlan = (struct vlan_config){.mode = VLAN_UNTAGGED};
	fake_netvspd_answer(bench.netvspd, VSP_VLAN_CHECK, -EOPNOTSUPP);
	check(NULL);
	assert_finding(MIGRATION_NOTES, "vlan", "does not tell");
}

static void a_vm_without_nics_asks_nobody(void **state)
{
	(void)state;
	bench.config.nic_count = 0;
	check(NULL);
	assert_int_equal(bench.findings.count, 0);
	assert_int_equal(fake_netvspd_count(bench.netvspd, VSP_HELLO), 0);
}

static void portals_write(struct state_writer *writer, uint32_t nic)
{
	const struct vm_portal portal = {
		.nic = nic,
		.portal = {.address = {[10] = 0xff, 0xff, 192, 0, 2, 9}, .port = 3260},
	};

	state_writer_init(writer);
	vm_portals_save(&portal, 1, writer);
}

static void portals_are_probed_and_silence_harms(void **state)
{
	struct state_reader reader, section;
	struct state_writer writer;
	struct vsp_probe probe;

	(void)state;
	switch_has(1, 1500);
	portals_write(&writer, 0);
	for (int status = 0; status >= -EHOSTUNREACH; status -= EHOSTUNREACH) {
		fake_netvspd_answer(bench.netvspd, VSP_PROBE, status);
		state_reader_init(&reader, writer.bytes, writer.length);
		assert_int_equal(state_next(&reader, &section), 1);
		check(&section);
		if (!status)
			assert_int_equal(bench.findings.count, 0);
	}
	assert_finding(MIGRATION_HARMS, "portal", "192.0.2.9:3260");
	assert_int_equal(fake_netvspd_count(bench.netvspd, VSP_PROBE), 2);
	fake_netvspd_last(bench.netvspd, VSP_PROBE, &probe, sizeof(probe));
	assert_int_equal(probe.portal.port, 3260);
	state_writer_fini(&writer);
}

static void portals_of_no_nic_or_cut_ones_are_not_probed(void **state)
{
	struct state_reader reader, section;
	struct state_writer writer;

	(void)state;
	switch_has(1, 1500);
	portals_write(&writer, 3);
	state_reader_init(&reader, writer.bytes, writer.length);
	assert_int_equal(state_next(&reader, &section), 1);
	check(&section);
	assert_int_equal(bench.findings.count, 0);
	assert_int_equal(state_next(&reader, &section), 0);
	writer.bytes[12] = 2; /* two, and there is one */
	state_reader_init(&reader, writer.bytes, writer.length);
	assert_int_equal(state_next(&reader, &section), 1);
	check(&section);
	assert_finding(MIGRATION_NOTES, "portal", "cannot be read");
	assert_int_equal(fake_netvspd_count(bench.netvspd, VSP_PROBE), 0);
	state_writer_fini(&writer);
}

/* ---- the questions themselves ---- */

static void on_answer(void *ctx, int status, const struct vsp_info *info)
{
	(void)ctx;
	bench.done = true;
	bench.status = status;
	if (info)
		bench.info = *info;
}

static int ask(uint32_t deadline_ms)
{
	struct vsp_query *query;

	bench.done = false;
	assert_int_equal(vsp_query_info(bench.loop, fake_netvspd_path(bench.netvspd), deadline_ms,
					on_answer, NULL, &query),
			 0);
	await();
	return bench.status;
}

static void a_question_is_answered_or_not_in_time(void **state)
{
	struct vsp_info info = {.uplink_count = 2, .vnic_count = 5};

	(void)state;
	memset(info.uplinks[1].name, 'x', sizeof(info.uplinks[1].name)); /* without an end */
	fake_netvspd_set_info(bench.netvspd, &info);
	assert_int_equal(ask(WAIT_MS), 0);
	assert_int_equal(bench.info.vnic_count, 5);
	assert_int_equal(strlen(bench.info.uplinks[1].name), 31);
	info.uplink_count = VSP_MAX_UPLINKS + 1;
	fake_netvspd_set_info(bench.netvspd, &info);
	assert_int_equal(ask(WAIT_MS), -EPROTO);
	fake_netvspd_answer(bench.netvspd, VSP_INFO, FAKE_NETVSPD_HANGS_UP);
	assert_int_equal(ask(WAIT_MS), -ENOTCONN);
	fake_netvspd_answer(bench.netvspd, VSP_INFO, FAKE_NETVSPD_SILENT);
	assert_int_equal(ask(50), -ETIMEDOUT);
	fake_netvspd_set_version(bench.netvspd, 1);
	fake_netvspd_answer(bench.netvspd, VSP_INFO, 0);
	assert_int_equal(ask(WAIT_MS), -EOPNOTSUPP);
}

static void a_question_can_be_taken_back(void **state)
{
	struct vsp_query *query;
	struct vm_check *started;

	(void)state;
	assert_int_equal(vsp_query_info(bench.loop, fake_netvspd_path(bench.netvspd), WAIT_MS,
					on_answer, NULL, &query),
			 0);
	vsp_query_cancel(query);
	assert_int_equal(vm_check_start(bench.loop, &bench.config, NULL, &bench.findings,
					on_checked, NULL, &started),
			 0);
	vm_check_cancel(started);
	for (int i = 0; i < 20; i++)
		event_loop_run_once(bench.loop, 5);
	assert_false(bench.done);
	assert_int_equal(
		vsp_query_info(bench.loop, "/nonexistent", WAIT_MS, on_answer, NULL, &query),
		-ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_good_switch_has_no_findings),
		TEST(an_uplink_without_a_link_harms),
		TEST(an_uplink_that_is_too_narrow_harms),
		TEST(a_vlan_that_no_uplink_carries_harms),
		TEST(a_switch_that_knows_no_vlans_is_told),
		TEST(a_vm_without_nics_asks_nobody),
		TEST(portals_are_probed_and_silence_harms),
		TEST(portals_of_no_nic_or_cut_ones_are_not_probed),
		TEST(a_question_is_answered_or_not_in_time),
		TEST(a_question_can_be_taken_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
