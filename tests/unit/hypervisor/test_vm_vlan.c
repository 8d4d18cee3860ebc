/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A running VM's VLAN mode, changed through its API: what netvspd is told, what the API tells
 * afterwards, and what becomes of the definition. A whole VM on a fake engine, with a fake netvspd.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "hypervisor/vm_paths.h"
#include "hypervisor/vm_worker.h"
#include "tests/fake_vmwp/fake_engine.h"
#include "tests/unit/hypervisor/fake_netvspd.h"
#include "tests/unit/hypervisor/tiny_kernel.h"

#define WAIT_MS	    20000
#define ANSWER_SIZE 65536

static struct {
	char dir[40];
	char definition[128];
	struct event_loop *loop;
	struct fake_netvspd *netvspd;
	struct vm_worker *worker;
	struct vm_error error;
	char answer[ANSWER_SIZE];
} bench;

static void on_ended(void *ctx)
{
	(void)ctx;
}

static void write_definition(const char *vlan)
{
	FILE *file = fopen(bench.definition, "w");

	assert_non_null(file);
	fprintf(file, "name: vm0\nmemory: 64M\nkernel: %s/kernel\nnics:\n  - switch: %s # mine\n%s",
		bench.dir, fake_netvspd_path(bench.netvspd), vlan);
	fclose(file);
}

static int start(void)
{
	const struct vm_worker_config config = {
		.loop = bench.loop, .engine = &fake_engine, .ended = on_ended};

	assert_int_equal(vm_worker_create(&config, &bench.worker, &bench.error), 0);
	return vm_worker_start(bench.worker, bench.definition, &bench.error);
}

static int setup(void **state)
{
	char path[128];

	(void)state;
	memset(&bench, 0, sizeof(bench));
	snprintf(bench.dir, sizeof(bench.dir), "/tmp/lunar-vlan-XXXXXX");
	if (!mkdtemp(bench.dir) || event_loop_create(&bench.loop))
		return -1;
	setenv("LUNAR_STATE_DIR", bench.dir, 1);
	setenv("LUNAR_RUN_DIR", bench.dir, 1);
	snprintf(path, sizeof(path), "%s/kernel", bench.dir);
	tiny_kernel_write(path);
	snprintf(path, sizeof(path), "%s/vms", bench.dir);
	mkdir(path, 0755);
	snprintf(bench.definition, sizeof(bench.definition), "%s/vms/vm0.yaml", bench.dir);
	bench.netvspd = fake_netvspd_start();
	write_definition("");
	return 0;
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	vm_worker_destroy(bench.worker);
	fake_netvspd_stop(bench.netvspd);
	event_loop_destroy(bench.loop);
	unsetenv("LUNAR_STATE_DIR");
	unsetenv("LUNAR_RUN_DIR");
	snprintf(command, sizeof(command), "rm -rf %s", bench.dir);
	return system(command);
}

/* Returns the HTTP status; the body is in bench.answer. */
static int call(const char *method, const char *url, const char *body)
{
	struct deadline deadline = deadline_in_ms(WAIT_MS);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	size_t length = 0;
	ssize_t got = 1;
	char *begin;
	int status;

	assert_int_equal(vm_path(VM_PATH_API, "vm0", address.sun_path, sizeof(address.sun_path)),
			 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	dprintf(fd, "%s %s HTTP/1.1\r\nHost: vm\r\nContent-Length: %zu\r\n\r\n%s", method, url,
		strlen(body), body);
	while (got > 0 && !deadline_passed(deadline)) {
		event_loop_run_once(bench.loop, 5);
		if (poll(&poll_fd, 1, 0) <= 0)
			continue;
		got = read(fd, bench.answer + length, sizeof(bench.answer) - 1 - length);
		length += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	bench.answer[length] = '\0';
	status = length > 12 ? (int)strtol(bench.answer + 9, NULL, 10) : 0;
	begin = strstr(bench.answer, "\r\n\r\n");
	if (begin)
		memmove(bench.answer, begin + 4, strlen(begin + 4) + 1);
	return status;
}

static int put(const char *body)
{
	return call("PUT", "/api/v1/vm/vlan", body);
}

static void assert_told(uint32_t mode, uint16_t id)
{
	struct vsp_vlan told;

	assert_true(fake_netvspd_last(bench.netvspd, VSP_VLAN, &told, sizeof(told)));
	assert_int_equal(told.mode, mode);
	assert_int_equal(told.id, id);
}

static bool file_has(const char *text)
{
	char content[1024] = "";
	FILE *file = fopen(bench.definition, "r");
	size_t length = fread(content, 1, sizeof(content) - 1, file);

	fclose(file);
	content[length] = '\0';
	return strstr(content, text) != NULL;
}

static void shown_is(const char *expected)
{
	assert_int_equal(call("GET", "/api/v1/vm", ""), 200);
	if (!strstr(bench.answer, expected))
		fail_msg("%s is not in %s", expected, bench.answer);
}

static void vm_without_a_mode_says_nothing_of_vlans(void **state)
{
	(void)state;
	assert_int_equal(start(), 0);
	assert_int_equal(fake_netvspd_count(bench.netvspd, VSP_VLAN), 0);
	shown_is("\"vlan\":{\"mode\":\"default\"}");
}

static void mode_is_given_before_the_nic_is_offered(void **state)
{
	(void)state;
	write_definition("    vlan: {mode: trunk, allowed: \"10,20\", native: 5}\n");
	assert_int_equal(start(), 0);
	assert_told(VSP_VLAN_TRUNK, 5);
	assert_int_equal(fake_netvspd_count(bench.netvspd, VSP_VLAN), 1);
	shown_is("\"vlan\":{\"mode\":\"trunk\",\"allowed\":\"10,20\",\"native\":5}");
}

static void change_reaches_switch_configuration_and_file(void **state)
{
	(void)state;
	assert_int_equal(start(), 0);
	assert_int_equal(put("{\"nic\":0,\"mode\":\"access\",\"id\":10}"), 200);
	assert_string_equal(bench.answer, "{\"stored\":true}");
	assert_told(VSP_VLAN_ACCESS, 10);
	shown_is("\"vlan\":{\"mode\":\"access\",\"id\":10}");
	assert_true(file_has("vlan: {mode: access, id: 10}"));
	assert_true(file_has("# mine"));
	assert_int_equal(put("{\"nic\":0,\"mode\":\"default\"}"), 200);
	assert_told(VSP_VLAN_DEFAULT, 0);
	assert_true(file_has("vlan: {mode: default}"));
}

static void definition_of_another_is_left_alone(void **state)
{
	(void)state;
	assert_int_equal(start(), 0);
	write_definition("    mtu: 1400\n");
	assert_int_equal(put("{\"nic\":0,\"mode\":\"access\",\"id\":10}"), 200);
	assert_string_equal(bench.answer, "{\"stored\":false}");
	assert_false(file_has("access"));
	shown_is("\"vlan\":{\"mode\":\"access\",\"id\":10}");
}

static void refused_change_changes_nothing(void **state)
{
	(void)state;
	assert_int_equal(start(), 0);
	fake_netvspd_answer(bench.netvspd, VSP_VLAN, -ENOTUNIQ);
	assert_int_equal(put("{\"nic\":0,\"mode\":\"isolated\",\"primary\":100,\"secondary\":101}"),
			 409);
	assert_non_null(strstr(bench.answer, "another part of a private VLAN"));
	shown_is("\"vlan\":{\"mode\":\"default\"}");
	assert_false(file_has("isolated"));
}

static void old_netvspd_is_told_clearly(void **state)
{
	(void)state;
	fake_netvspd_set_version(bench.netvspd, VSP_VERSION_VLANS - 1);
	fake_netvspd_answer(bench.netvspd, VSP_VLAN, -EOPNOTSUPP);
	assert_int_equal(start(), 0); /* one version apart, and no mode: it works */
	assert_int_equal(put("{\"nic\":0,\"mode\":\"access\",\"id\":10}"), 409);
	assert_non_null(strstr(bench.answer, "knows no VLAN modes"));
	vm_worker_destroy(bench.worker);
	bench.worker = NULL;
	write_definition("    vlan: {mode: access, id: 10}\n");
	assert_int_not_equal(start(), 0);
	assert_non_null(strstr(bench.error.message, "knows no VLAN modes"));
}

static void silent_netvspd_does_not_hold_the_vm(void **state)
{
	(void)state;
	assert_int_equal(start(), 0);
	fake_netvspd_answer(bench.netvspd, VSP_VLAN, FAKE_NETVSPD_SILENT);
	assert_int_equal(put("{\"nic\":0,\"mode\":\"access\",\"id\":10}"), 409);
	shown_is("\"vlan\":{\"mode\":\"default\"}");
}

static void bad_bodies_are_named(void **state)
{
	static const char *const bodies[] = {
		"",
		"[]",
		"{\"nic\":0}",
		"{\"mode\":\"access\",\"id\":10}",
		"{\"nic\":8,\"mode\":\"untagged\"}",
		"{\"nic\":0,\"mode\":\"acess\",\"id\":10}",
		"{\"nic\":0,\"mode\":\"access\",\"id\":4095}",
		"{\"nic\":0,\"mode\":\"access\",\"id\":-1}",
		"{\"nic\":0,\"mode\":\"access\",\"id\":10,\"native\":1}",
		"{\"nic\":0,\"mode\":\"access\",\"id\":{}}",
		"{\"nic\":0,\"mode\":\"untagged\",\"colour\":1}",
		"{\"nic\":0,\"mode\":\"trunk\",\"allowed\":\"1-\\u0000\"}",
	};

	(void)state;
	assert_int_equal(start(), 0);
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		if (put(bodies[i]) != 400)
			fail_msg("%s: %s", bodies[i], bench.answer);
	assert_int_equal(put("{\"nic\":1,\"mode\":\"untagged\"}"), 409);
	assert_non_null(strstr(bench.answer, "no NIC 1"));
	assert_int_equal(fake_netvspd_count(bench.netvspd, VSP_VLAN), 0);
}

#define vlan_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		vlan_test(vm_without_a_mode_says_nothing_of_vlans),
		vlan_test(mode_is_given_before_the_nic_is_offered),
		vlan_test(change_reaches_switch_configuration_and_file),
		vlan_test(definition_of_another_is_left_alone),
		vlan_test(refused_change_changes_nothing),
		vlan_test(old_netvspd_is_told_clearly),
		vlan_test(silent_netvspd_does_not_hold_the_vm),
		vlan_test(bad_bodies_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
