/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The API over a real unix socket, with a VM that only notes what it is asked. Verdicts come from
 * what the client reads and from what reached the VM.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/fd_passing.h"
#include "base/log.h"
#include "hypervisor/api_server.h"

#define ANSWER_BYTES 16384

struct fixture {
	struct event_loop *loop;
	struct api_server *server;
	struct vm_config config;
	struct vm_status status;
	char dir[32];
	char path[64];
	char answer[ANSWER_BYTES];
	unsigned int stops, reboots;
	bool force;
	uint32_t timeout_ms;
	int outcome;
	unsigned int asked; /* to add a disk */
	unsigned int later; /* so often it is not there yet */
};

static void fake_get_status(void *ctx, struct vm_status *status)
{
	struct fixture *f = ctx;

	*status = f->status;
}

static const struct vm_config *fake_get_config(void *ctx)
{
	struct fixture *f = ctx;

	return &f->config;
}

static int fake_stop(void *ctx, bool force, uint32_t timeout_ms)
{
	struct fixture *f = ctx;

	f->stops++;
	f->force = force;
	f->timeout_ms = timeout_ms;
	return f->outcome;
}

static int fake_reboot(void *ctx)
{
	struct fixture *f = ctx;

	f->reboots++;
	return f->outcome;
}

static int fake_add_disk(void *ctx, const struct vm_disk_config *config,
			 struct vm_disks_result *result, struct vm_error *error)
{
	struct fixture *f = ctx;

	(void)error;
	assert_string_equal(config->path, "/srv/a.raw");
	if (f->asked++ < f->later)
		return -EINPROGRESS;
	*result = (struct vm_disks_result){.controller = 0, .lun = 3, .size_bytes = 4096};
	return 0;
}

static const struct api_server_ops fake_ops = {
	.add_disk = fake_add_disk,
	.get_status = fake_get_status,
	.get_config = fake_get_config,
	.stop = fake_stop,
	.reboot = fake_reboot,
};

static void fill_vm(struct fixture *f)
{
	static char kernel[] = "/boot/vmlinuz", cmdline[] = "console=ttyS0 \"x\"",
		    sock[] = "/run/s";

	snprintf(f->config.name, sizeof(f->config.name), "vm0");
	f->config.vps = 2;
	f->config.memory_bytes = UINT64_C(512) << 20;
	f->config.kernel = kernel;
	f->config.cmdline = cmdline;
	f->config.nic_count = 1;
	f->config.nics[0] = (struct vm_nic_config){.mac = {2, 0, 0, 0, 0xab, 1},
						   .mtu = 9000,
						   .queues = 4,
						   .spoof_guard = true,
						   .vsp_socket = sock};
	f->status = (struct vm_status){.state = VM_STATE_RUNNING,
				       .engine = "kvm",
				       .pid = 42,
				       .vps = 2,
				       .uptime_ms = 61234,
				       .reboots = 1,
				       .vmbus_version = 0x50003,
				       .vmbus_offered = 3,
				       .vmbus_open = 2,
				       .vmbus_gpadls = 5,
				       .heartbeat = "ok",
				       .shutdown_ready = true,
				       .console_path = "/run/c.sock",
				       .nic_count = 1};
	f->status.nics[0] =
		(struct vm_nic_status){.link = VM_NIC_OPEN,
				       .nvsp_version = 0x60001,
				       .mtu = 1500,
				       .channels_open = 2,
				       .rndis_up = true,
				       .stats = {.tx_packets = 7, .rx_bytes = UINT64_C(1) << 40}};
}

static int setup(void **state)
{
	static const struct api_server_limits limits = {.idle_seconds = 1, .lifetime_ms = 1500};
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test-api-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/api.sock", f->dir);
	fill_vm(f);
	assert_int_equal(event_loop_create(&f->loop), 0);
	assert_int_equal(api_server_create(f->loop, f->path, &fake_ops, f, &limits, &f->server), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	api_server_destroy(f->server);
	event_loop_destroy(f->loop);
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static int client_connect(struct fixture *f)
{
	int fd = unix_socket_connect(f->path, SOCK_STREAM);

	assert_true(fd >= 0);
	return fd;
}

static void client_send(int fd, const char *bytes, size_t length)
{
	assert_int_equal(send(fd, bytes, length, MSG_NOSIGNAL), length);
}

static void run_loop(struct fixture *f, uint32_t ms)
{
	struct deadline deadline = deadline_in_ms(ms);

	while (!deadline_passed(deadline))
		assert_int_equal(event_loop_run_once(f->loop, deadline_left_ms(deadline)), 0);
}

/* Reads until the server closes; the answer is NUL-terminated. Returns its length, or -1 when it
 * does not close in time. */
static ssize_t client_read_all(struct fixture *f, int fd, uint32_t ms)
{
	struct deadline deadline = deadline_in_ms(ms);
	size_t used = 0;

	while (!deadline_passed(deadline)) {
		ssize_t got =
			recv(fd, f->answer + used, sizeof(f->answer) - 1 - used, MSG_DONTWAIT);

		if (got == 0 || (got < 0 && errno == ECONNRESET)) {
			f->answer[used] = '\0';
			return (ssize_t)used;
		}
		if (got > 0)
			used += (size_t)got;
		else
			assert_int_equal(event_loop_run_once(f->loop, 10), 0);
	}
	return -1;
}

/* Sends a request and returns the HTTP status; the body is left in *body, which points into the
 * answer. */
static int request(struct fixture *f, const char *text, const char **body)
{
	int fd = client_connect(f);
	int status = 0;

	client_send(fd, text, strlen(text));
	assert_true(client_read_all(f, fd, 5000) > 0);
	close(fd);
	assert_memory_equal(f->answer, "HTTP/1.1 ", 9);
	status = (int)strtol(f->answer + 9, NULL, 10);
	*body = strstr(f->answer, "\r\n\r\n");
	assert_non_null(*body);
	*body += 4;
	return status;
}

static int put(struct fixture *f, const char *url, const char *json, const char **body)
{
	char text[1024];

	snprintf(text, sizeof(text), "PUT %s HTTP/1.1\r\nHost: vm\r\nContent-Length: %zu\r\n\r\n%s",
		 url, strlen(json), json);
	return request(f, text, body);
}

static void assert_error(const char *body, const char *code)
{
	json_t *json = json_loads(body, 0, NULL);
	json_t *error = json_object_get(json, "error");

	assert_non_null(error);
	assert_string_equal(json_string_value(json_object_get(error, "code")), code);
	assert_true(json_string_length(json_object_get(error, "message")) > 0);
	json_decref(json);
}

static void get_tells_configuration_and_status(void **state)
{
	static const char expected[] =
		"{\"name\": \"vm0\", \"state\": \"running\", \"reason\": null, \"engine\": "
		"\"kvm\", "
		"\"pid\": 42, \"vps\": 2, \"memory_bytes\": 536870912, \"huge_pages\": false, "
		"\"uptime_ms\": 61234, \"reboots\": 1, \"kernel\": \"/boot/vmlinuz\", \"initrd\": "
		"null, "
		"\"cmdline\": \"console=ttyS0 \\\"x\\\"\", "
		"\"console\": {\"kind\": \"socket\", \"path\": \"/run/c.sock\"}, "
		"\"vmbus\": {\"version\": \"5.3\", \"channels_offered\": 3, \"channels_open\": 2, "
		"\"gpadls\": 5}, "
		"\"guest\": {\"heartbeat\": \"ok\", \"shutdown_ready\": true}, "
		"\"migration\": null, "
		"\"nics\": [{\"mac\": \"02:00:00:00:ab:01\", \"switch\": \"/run/s\", "
		"\"spoof_guard\": true, "
		"\"mtu_max\": 9000, \"queues_max\": 4, \"link\": \"open\", \"nvsp_version\": "
		"\"6.1\", "
		"\"mtu\": 1500, \"channels_open\": 2, \"rndis_up\": true, "
		"\"stats\": {\"tx_packets\": 7, \"tx_bytes\": 0, \"tx_dropped\": 0, "
		"\"tx_spoofed\": 0, "
		"\"tx_malformed\": 0, \"rx_packets\": 0, \"rx_bytes\": 1099511627776, "
		"\"rx_dropped\": 0, \"tx_vlan\": 0, \"rx_vlan\": 0}, "
		"\"vlan\": {\"mode\": \"default\"}}], "
		"\"disks\": [], \"disk_controllers\": []}";
	struct fixture *f = *state;
	json_t *told, *wanted;
	const char *body;

	assert_int_equal(request(f, "GET /api/v1/vm HTTP/1.1\r\nHost: vm\r\n\r\n", &body), 200);
	assert_non_null(strstr(f->answer, "Content-Type: application/json\r\n"));
	told = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
	wanted = json_loads(expected, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(wanted);
	assert_true(json_equal(told, wanted));
	json_decref(told);
	json_decref(wanted);
}

static void get_tells_what_is_not_there_yet_as_null(void **state)
{
	struct fixture *f = *state;
	const char *body;
	json_t *json, *nic;

	f->status = (struct vm_status){
		.state = VM_STATE_CRASHED, .reason = "guest panic", .engine = "kvm"};
	assert_int_equal(request(f, "GET /api/v1/vm HTTP/1.1\r\nHost: vm\r\n\r\n", &body), 200);
	json = json_loads(body, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(json, "state")), "crashed");
	assert_string_equal(json_string_value(json_object_get(json, "reason")), "guest panic");
	assert_true(json_is_null(json_object_get(json_object_get(json, "vmbus"), "version")));
	assert_true(json_is_null(json_object_get(json_object_get(json, "guest"), "heartbeat")));
	nic = json_array_get(json_object_get(json, "nics"), 0);
	assert_string_equal(json_string_value(json_object_get(nic, "link")), "disconnected");
	assert_true(json_is_null(json_object_get(nic, "nvsp_version")));
	json_decref(json);
}

static void metrics_are_prometheus_text(void **state)
{
	struct fixture *f = *state;
	const char *body;

	assert_int_equal(request(f, "GET /api/v1/vm/metrics HTTP/1.1\r\nHost: vm\r\n\r\n", &body),
			 200);
	assert_non_null(strstr(f->answer, "Content-Type: text/plain; version=0.0.4"));
	assert_non_null(
		strstr(body, "# TYPE lunar_vm_running gauge\nlunar_vm_running{vm=\"vm0\"} 1\n"));
	assert_non_null(strstr(body, "\nlunar_vm_uptime_seconds{vm=\"vm0\"} 61.234\n"));
	assert_non_null(
		strstr(body, "\nlunar_nic_up{vm=\"vm0\",nic=\"0\",mac=\"02:00:00:00:ab:01\"} 1\n"));
	assert_non_null(strstr(
		body, "# TYPE lunar_nic_receive_bytes_total counter\n"
		      "lunar_nic_receive_bytes_total{vm=\"vm0\",nic=\"0\"} 1099511627776\n"));
	for (const char *line = body; *line; line = strchr(line, '\n') + 1) {
		assert_non_null(strchr(line, '\n'));
		assert_true(strncmp(line, "# HELP lunar_", 13) == 0 ||
			    strncmp(line, "# TYPE lunar_", 13) == 0 ||
			    strncmp(line, "lunar_", 6) == 0);
	}
}

static void stop_without_a_body_is_graceful(void **state)
{
	struct fixture *f = *state;
	const char *body;

	f->force = true;
	assert_int_equal(request(f, "PUT /api/v1/vm/stop HTTP/1.1\r\nHost: vm\r\n\r\n", &body),
			 202);
	assert_int_equal(f->stops, 1);
	assert_false(f->force);
	assert_int_equal(f->timeout_ms, VM_STOP_DEADLINE_MS);
	assert_string_equal(body, "{\"force\":false,\"timeout_ms\":30000}");
}

static void stop_hands_on_force_and_timeout(void **state)
{
	struct fixture *f = *state;
	const char *body;

	assert_int_equal(
		put(f, "/api/v1/vm/stop", "{\"force\": true, \"timeout_ms\": 1500}", &body), 202);
	assert_true(f->force);
	assert_int_equal(f->timeout_ms, 1500);
	assert_int_equal(put(f, "/api/v1/vm/stop", "{}", &body), 202);
	assert_int_equal(f->stops, 2);
	assert_false(f->force);
}

static void stop_refuses_any_other_body(void **state)
{
	static const char *const bodies[] = {
		"not json",
		"[]",
		"true",
		"{\"force\": 1}",
		"{\"force\": true, \"force\": false}",
		"{\"timeout_ms\": 0}",
		"{\"timeout_ms\": 3600001}",
		"{\"timeout_ms\": 1.5}",
		"{\"timeout_ms\": 99999999999999999999}",
		"{\"kill\": true}",
		"{\"force\": true} trailing",
		"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
	};
	struct fixture *f = *state;
	const char *body;

	for (size_t i = 0; i < ARRAY_LENGTH(bodies); i++) {
		assert_int_equal(put(f, "/api/v1/vm/stop", bodies[i], &body), 400);
		assert_error(body, "bad_request");
	}
	assert_int_equal(f->stops, 0);
}

static void reboot_reaches_the_vm(void **state)
{
	struct fixture *f = *state;
	const char *body;

	assert_int_equal(request(f, "PUT /api/v1/vm/reboot HTTP/1.1\r\nHost: vm\r\n\r\n", &body),
			 202);
	assert_int_equal(f->reboots, 1);
	assert_int_equal(put(f, "/api/v1/vm/reboot", "{}", &body), 400);
	assert_int_equal(f->reboots, 1);
}

static void refusals_of_the_vm_become_conflict_or_internal(void **state)
{
	struct fixture *f = *state;
	const char *body;

	f->outcome = -EINVAL;
	assert_int_equal(put(f, "/api/v1/vm/stop", "{}", &body), 409);
	assert_error(body, "not_running");
	f->outcome = -EBUSY;
	assert_int_equal(put(f, "/api/v1/vm/stop", "{}", &body), 409);
	assert_error(body, "moving");
	f->outcome = -EIO;
	assert_int_equal(request(f, "PUT /api/v1/vm/reboot HTTP/1.1\r\nHost: vm\r\n\r\n", &body),
			 500);
	assert_error(body, "internal");
}

static void unknown_paths_and_methods_are_told(void **state)
{
	struct fixture *f = *state;
	const char *body;

	assert_int_equal(request(f, "GET / HTTP/1.1\r\nHost: vm\r\n\r\n", &body), 404);
	assert_error(body, "not_found");
	assert_int_equal(request(f, "GET /api/v1/vm/ HTTP/1.1\r\nHost: vm\r\n\r\n", &body), 404);
	assert_int_equal(request(f, "GET /api/v1/vm/stop HTTP/1.1\r\nHost: vm\r\n\r\n", &body),
			 405);
	assert_error(body, "method_not_allowed");
	assert_non_null(strstr(f->answer, "Allow: PUT\r\n"));
	assert_int_equal(request(f, "DELETE /api/v1/vm HTTP/1.1\r\nHost: vm\r\n\r\n", &body), 405);
	assert_non_null(strstr(f->answer, "Allow: GET\r\n"));
	assert_int_equal(f->stops, 0);
}

static void large_and_chunked_bodies_are_refused_unread(void **state)
{
	struct fixture *f = *state;
	const char *body;

	assert_int_equal(request(f,
				 "PUT /api/v1/vm/stop HTTP/1.1\r\nHost: vm\r\n"
				 "Content-Length: 4097\r\n\r\n",
				 &body),
			 413);
	assert_error(body, "too_large");
	assert_int_equal(request(f,
				 "PUT /api/v1/vm/stop HTTP/1.1\r\nHost: vm\r\n"
				 "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
				 &body),
			 411);
	assert_error(body, "length_required");
	assert_int_equal(f->stops, 0);
}

static void largest_body_arrives_in_pieces(void **state)
{
	static const char head[] =
		"PUT /api/v1/vm/stop HTTP/1.1\r\nHost: vm\r\nContent-Length: 4096\r\n\r\n";
	struct fixture *f = *state;
	int fd = client_connect(f);
	char blank[512];

	memset(blank, ' ', sizeof(blank));
	client_send(fd, head, sizeof(head) - 1);
	client_send(fd, "{\"force\":true}  ", 16);
	for (size_t sent = 16; sent < 4096; sent += sizeof(blank)) {
		run_loop(f, 5);
		client_send(fd, blank, sent + sizeof(blank) > 4096 ? 4096 - sent : sizeof(blank));
	}
	assert_true(client_read_all(f, fd, 3000) > 0);
	close(fd);
	assert_non_null(strstr(f->answer, "202"));
	assert_true(f->force);
}

static void idle_client_is_dropped(void **state)
{
	struct fixture *f = *state;
	int fd = client_connect(f);

	assert_int_equal(client_read_all(f, fd, 4000), 0);
	close(fd);
}

static void dripping_client_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct deadline deadline = deadline_in_ms(6000);
	int fd = client_connect(f);
	bool dropped = false;
	char byte;

	client_send(fd, "GET /api/v1/vm HTTP/1.1\r\nX: ", 28);
	while (!dropped && !deadline_passed(deadline)) {
		run_loop(f, 200);
		dropped =
			send(fd, "x", 1, MSG_NOSIGNAL) < 0 || recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
	}
	assert_true(dropped);
	close(fd);
}

static void flood_of_connections_delays_others_only_for_the_idle_time(void **state)
{
	struct fixture *f = *state;
	int fds[3 * API_SERVER_MAX_CONNECTIONS];
	const char *body;
	size_t opened = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(fds); i++) {
		fds[i] = unix_socket_connect(f->path, SOCK_STREAM);
		if (fds[i] >= 0)
			opened++;
		run_loop(f, 1);
	}
	assert_true(opened > API_SERVER_MAX_CONNECTIONS);
	run_loop(f, 2500);
	for (size_t i = 0; i < ARRAY_LENGTH(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	run_loop(f, 100);
	assert_int_equal(request(f, "GET /api/v1/vm HTTP/1.1\r\nHost: vm\r\n\r\n", &body), 200);
}

static void client_that_leaves_midway_costs_nothing(void **state)
{
	static const char *const parts[] = {
		"GET /api",
		"PUT /api/v1/vm/stop HTTP/1.1\r\nHost: vm\r\nContent-Length: 10\r\n\r\n{\"for",
		"\r\n\r\n\r\n",
		"\x16\x03\x01 not http at all\r\n\r\n",
		"GET /api/v1/vm HTTP/1.1\r\nHost: vm\r\n\r\n",
	};
	struct fixture *f = *state;
	const char *body;

	for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
		int fd = client_connect(f);

		client_send(fd, parts[i], strlen(parts[i]));
		run_loop(f, 5);
		close(fd);
		run_loop(f, 5);
	}
	assert_int_equal(f->stops, 0);
	assert_int_equal(request(f, "GET /api/v1/vm HTTP/1.1\r\nHost: vm\r\n\r\n", &body), 200);
}

static void server_goes_with_clients_still_connected(void **state)
{
	struct fixture *f = *state;
	int fd = client_connect(f);

	client_send(fd, "GET /api/v1/vm HTTP/1.1\r\n", 25);
	run_loop(f, 20);
	api_server_destroy(f->server);
	f->server = NULL;
	assert_true(client_read_all(f, fd, 100) >= 0);
	close(fd);
}

static void socket_is_private_and_has_one_owner(void **state)
{
	struct fixture *f = *state;
	struct api_server *second = NULL;
	struct stat status;

	assert_int_equal(stat(f->path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(api_server_create(f->loop, f->path, &fake_ops, f, NULL, &second),
			 -EADDRINUSE);
	assert_int_equal(access(f->path, F_OK), 0);
}

static void stale_socket_is_replaced(void **state)
{
	struct fixture *f = *state;
	const char *body;
	int fd;

	api_server_destroy(f->server);
	fd = unix_socket_listen(f->path, SOCK_STREAM);
	assert_true(fd >= 0);
	close(fd); /* the file stays, nobody listens */
	assert_int_equal(api_server_create(f->loop, f->path, &fake_ops, f, NULL, &f->server), 0);
	assert_int_equal(request(f, "GET /api/v1/vm HTTP/1.1\r\nHost: vm\r\n\r\n", &body), 200);
}

/* ---- answers that take their time ---- */

static void add_send(int fd)
{
	static const char text[] =
		"PUT /api/v1/vm/disks HTTP/1.1\r\nHost: vm\r\nContent-Length: 22\r\n\r\n"
		"{\"path\": \"/srv/a.raw\"}";

	client_send(fd, text, sizeof(text) - 1);
}

/* Until the VM was asked so often. */
static void await_asked(struct fixture *f, unsigned int times)
{
	struct deadline deadline = deadline_in_ms(20000);

	while (f->asked < times && !deadline_passed(deadline))
		run_loop(f, 10);
	assert_true(f->asked >= times);
}

/* Longer than a client may be idle, or its connection may live. */
static void others_are_answered_while_a_disk_takes_its_time(void **state)
{
	struct fixture *f = *state;
	int slow = client_connect(f);
	const char *body;

	f->later = UINT32_MAX;
	add_send(slow);
	await_asked(f, 1);
	assert_int_equal(put(f, "/api/v1/vm/reboot", "", &body), 202);
	assert_int_equal(f->reboots, 1);
	run_loop(f, 2000);
	f->later = f->asked;
	assert_true(client_read_all(f, slow, 20000) > 0);
	assert_memory_equal(f->answer, "HTTP/1.1 200", 12);
	assert_non_null(strstr(f->answer, "\"id\":\"0:3\""));
	close(slow);
}

/* What it asked for is done all the same. */
static void client_that_leaves_while_a_disk_takes_its_time_harms_nobody(void **state)
{
	struct fixture *f = *state;
	int fd = client_connect(f);

	f->later = 10;
	add_send(fd);
	await_asked(f, 1);
	close(fd);
	await_asked(f, 11);
	run_loop(f, 100);
	assert_int_equal(f->asked, 11);
}

static void server_goes_while_a_disk_takes_its_time(void **state)
{
	struct fixture *f = *state;
	int fd = client_connect(f);

	f->later = UINT32_MAX;
	add_send(fd);
	await_asked(f, 1);
	api_server_destroy(f->server);
	f->server = NULL;
	close(fd);
}

int main(void)
{
#define api_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		api_test(get_tells_configuration_and_status),
		api_test(get_tells_what_is_not_there_yet_as_null),
		api_test(metrics_are_prometheus_text),
		api_test(stop_without_a_body_is_graceful),
		api_test(stop_hands_on_force_and_timeout),
		api_test(stop_refuses_any_other_body),
		api_test(reboot_reaches_the_vm),
		api_test(refusals_of_the_vm_become_conflict_or_internal),
		api_test(unknown_paths_and_methods_are_told),
		api_test(large_and_chunked_bodies_are_refused_unread),
		api_test(largest_body_arrives_in_pieces),
		api_test(idle_client_is_dropped),
		api_test(dripping_client_is_dropped),
		api_test(flood_of_connections_delays_others_only_for_the_idle_time),
		api_test(client_that_leaves_midway_costs_nothing),
		api_test(server_goes_with_clients_still_connected),
		api_test(others_are_answered_while_a_disk_takes_its_time),
		api_test(client_that_leaves_while_a_disk_takes_its_time_harms_nobody),
		api_test(server_goes_while_a_disk_takes_its_time),
		api_test(socket_is_private_and_has_one_owner),
		api_test(stale_socket_is_replaced),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
