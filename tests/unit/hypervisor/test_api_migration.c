/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The API's part about moves over a real unix socket, with a VM that only notes what it is asked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/fd_passing.h"
#include "hypervisor/api_server.h"
#include "hypervisor/migration/report.h"

#define ANSWER_BYTES 65536

struct fixture {
	struct event_loop *loop;
	struct api_server *server;
	struct vm_config config;
	struct vm_status status;
	struct migration_status migration;
	struct migration_check check;
	bool checked;
	char dir[32];
	char path[64];
	char answer[ANSWER_BYTES];
	/* What reached the VM. */
	unsigned int moves, saves, cancels, resolves;
	struct migration_options options;
	char saved_to[256];
	bool there;
	struct vm_error refusal; /* code EXIT_OK: none */
};

static void fake_get_status(void *ctx, struct vm_status *status)
{
	*status = ((struct fixture *)ctx)->status;
}

static const struct vm_config *fake_get_config(void *ctx)
{
	return &((struct fixture *)ctx)->config;
}

static int refuse(struct fixture *f, struct vm_error *error)
{
	if (f->refusal.code == EXIT_OK)
		return 0;
	*error = f->refusal;
	return -EBUSY;
}

static int fake_migrate(void *ctx, const struct migration_options *options, struct vm_error *error)
{
	struct fixture *f = ctx;

	f->moves++;
	f->options = *options;
	return refuse(f, error);
}

static int fake_save(void *ctx, const char *path, struct vm_error *error)
{
	struct fixture *f = ctx;

	f->saves++;
	snprintf(f->saved_to, sizeof(f->saved_to), "%s", path);
	return refuse(f, error);
}

static int fake_cancel(void *ctx, struct vm_error *error)
{
	struct fixture *f = ctx;

	f->cancels++;
	return refuse(f, error);
}

static int fake_resolve(void *ctx, bool there, struct vm_error *error)
{
	struct fixture *f = ctx;

	f->resolves++;
	f->there = there;
	return refuse(f, error);
}

static void fake_get_migration(void *ctx, struct migration_status *status,
			       const struct migration_check **check)
{
	struct fixture *f = ctx;

	*status = f->migration;
	*check = f->checked ? &f->check : NULL;
}

static const struct api_server_ops fake_ops = {
	.get_status = fake_get_status,
	.get_config = fake_get_config,
	.migrate = fake_migrate,
	.save = fake_save,
	.cancel_migration = fake_cancel,
	.resolve_migration = fake_resolve,
	.get_migration = fake_get_migration,
};

static const struct api_server_ops immovable_ops = {
	.get_status = fake_get_status,
	.get_config = fake_get_config,
};

static void fill(struct fixture *f)
{
	static char kernel[] = "/boot/vmlinuz", cmdline[] = "";

	snprintf(f->config.name, sizeof(f->config.name), "vm0");
	f->config.vps = 1;
	f->config.kernel = kernel;
	f->config.cmdline = cmdline;
	f->status = (struct vm_status){.state = VM_STATE_RUNNING, .engine = "kvm", .pid = 42};
	f->migration = (struct migration_status){
		.phase = MIGRATION_COPYING,
		.id = "0ee8dd1c-5a3e-4c8a-9a50-c7d1c1a8b001",
		.peer = "host2",
		.memory_bytes = UINT64_C(512) << 20,
		.bytes_sent = 1000001,
		.bytes_left = 2000002,
		.bytes_zero = 4096,
		.dirty_rate = 300,
		.rate = 400,
		.rounds = 5,
		.throttle = 20,
		.downtime_estimate_ms = 66,
		.started_unix_ms = INT64_C(1700000000123),
		.total_ms = 7007,
		.downtime_ms = 188,
		.pause_ms = 11,
		.last_ms = 12,
		.restore_ms = 13,
		.late_frames = 14,
	};
	f->check = (struct migration_check){
		.count = 3,
		.findings = {{MIGRATION_NOTES, "kernel", "host2 has another\xff kernel"},
			     {MIGRATION_STOPS, "cpu", "no AVX2 there; start it with cpu: base"},
			     {MIGRATION_HARMS, "uplink", "no link"}}};
}

static void serve(struct fixture *f, const struct api_server_ops *ops)
{
	api_server_destroy(f->server);
	f->server = NULL;
	assert_int_equal(api_server_create(f->loop, f->path, ops, f, NULL, &f->server), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test-api-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/api.sock", f->dir);
	fill(f);
	assert_int_equal(event_loop_create(&f->loop), 0);
	serve(f, &fake_ops);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	api_server_destroy(f->server);
	event_loop_destroy(f->loop);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* Sends a request and returns the HTTP status; *body points into the answer. */
static int request(struct fixture *f, const char *text, const char **body)
{
	struct deadline deadline = deadline_in_ms(10000);
	int fd = unix_socket_connect(f->path, SOCK_STREAM);
	size_t used = 0;
	ssize_t got;

	assert_true(fd >= 0);
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	while ((got = recv(fd, f->answer + used, sizeof(f->answer) - 1 - used, MSG_DONTWAIT)) !=
	       0) {
		assert_false(deadline_passed(deadline));
		if (got > 0)
			used += (size_t)got;
		else
			assert_int_equal(event_loop_run_once(f->loop, 10), 0);
	}
	close(fd);
	f->answer[used] = '\0';
	assert_memory_equal(f->answer, "HTTP/1.1 ", 9);
	*body = strstr(f->answer, "\r\n\r\n");
	assert_non_null(*body);
	*body += 4;
	return (int)strtol(f->answer + 9, NULL, 10);
}

static int put(struct fixture *f, const char *url, const char *json, const char **body)
{
	static char text[8192];

	snprintf(text, sizeof(text),
		 "PUT /api/v1/vm/%s HTTP/1.1\r\nHost: vm\r\nContent-Length: %zu\r\n\r\n%s", url,
		 strlen(json), json);
	return request(f, text, body);
}

static json_t *get(struct fixture *f, const char *url)
{
	char text[128];
	const char *body;
	json_t *json;

	snprintf(text, sizeof(text), "GET /api/v1/vm%s HTTP/1.1\r\nHost: vm\r\n\r\n", url);
	assert_int_equal(request(f, text, &body), 200);
	json = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	return json;
}

static void assert_error(const char *body, const char *code, int exit_code, const char *message)
{
	json_t *json = json_loads(body, 0, NULL);
	json_t *error = json_object_get(json, "error");

	assert_string_equal(json_string_value(json_object_get(error, "code")), code);
	assert_int_equal(json_integer_value(json_object_get(error, "exit_code")), exit_code);
	if (message)
		assert_string_equal(json_string_value(json_object_get(error, "message")), message);
	assert_true(json_string_length(json_object_get(error, "message")) > 0);
	json_decref(json);
}

static void migrate_needs_a_host_alone(void **state)
{
	const struct migration_options none = {.host = "host2",
					       .compression = MIGRATION_COMPRESSION_LZ4};
	struct fixture *f = *state;
	const char *body;

	assert_int_equal(put(f, "migrate", "{\"host\": \"host2\"}", &body), 202);
	assert_string_equal(body, "{}");
	assert_int_equal(f->moves, 1);
	assert_memory_equal(&f->options, &none, sizeof(none));
}

static void migrate_hands_on_every_option(void **state)
{
	struct fixture *f = *state;
	const char *body;

	assert_int_equal(
		put(f, "migrate",
		    "{\"host\": \"fe80::2\", \"port\": 49300, \"connections\": 8, \"compression\": "
		    "\"zstd\", \"bandwidth\": 104857600, \"downtime_ms\": 50, \"timeout_s\": "
		    "86400, "
		    "\"late\": \"force\", \"throttle\": false, \"check_only\": true}",
		    &body),
		202);
	assert_string_equal(f->options.host, "fe80::2");
	assert_int_equal(f->options.port, 49300);
	assert_int_equal(f->options.connections, 8);
	assert_int_equal(f->options.compression, MIGRATION_COMPRESSION_ZSTD);
	assert_int_equal(f->options.bandwidth, 104857600);
	assert_int_equal(f->options.downtime_ms, 50);
	assert_int_equal(f->options.timeout_seconds, 86400);
	assert_int_equal(f->options.late, MIGRATION_LATE_FORCE);
	assert_true(f->options.no_throttle);
	assert_true(f->options.check_only);
	assert_int_equal(put(f, "migrate",
			     "{\"host\": \"h\", \"compression\": \"lz4\", \"late\": \"cancel\", "
			     "\"throttle\": true, \"check_only\": false, \"bandwidth\": 0}",
			     &body),
			 202);
	assert_int_equal(f->options.compression, MIGRATION_COMPRESSION_LZ4);
	assert_int_equal(f->options.late, MIGRATION_LATE_CANCEL);
	assert_false(f->options.no_throttle);
	assert_false(f->options.check_only);
	assert_int_equal(f->options.bandwidth, 0);
}

static void migrate_refuses_any_other_body(void **state)
{
	static const char *const members[] = {
		"\"host\": \"\"",
		"\"host\": 7",
		"\"host\": \"two words\"",
		"\"host\": \"new\\nline\"",
		"\"host\": \"nul\\u0000byte\"",
		"\"host\": \"/etc/passwd\"",
		"\"host\": \"h\", \"port\": 0",
		"\"host\": \"h\", \"port\": 65536",
		"\"host\": \"h\", \"port\": \"49200\"",
		"\"host\": \"h\", \"connections\": 0",
		"\"host\": \"h\", \"connections\": 9",
		"\"host\": \"h\", \"compression\": \"gzip\"",
		"\"host\": \"h\", \"compression\": null",
		"\"host\": \"h\", \"bandwidth\": -1",
		"\"host\": \"h\", \"bandwidth\": 65535",
		"\"host\": \"h\", \"bandwidth\": 9223372036854775807",
		"\"host\": \"h\", \"bandwidth\": 1e6",
		"\"host\": \"h\", \"downtime_ms\": 0",
		"\"host\": \"h\", \"downtime_ms\": 600001",
		"\"host\": \"h\", \"timeout_s\": 0",
		"\"host\": \"h\", \"timeout_s\": 86401",
		"\"host\": \"h\", \"late\": \"maybe\"",
		"\"host\": \"h\", \"late\": true",
		"\"host\": \"h\", \"throttle\": 1",
		"\"host\": \"h\", \"check_only\": \"yes\"",
		"\"host\": \"h\", \"host\": \"i\"",
		"\"host\": \"h\", \"hosts\": \"i\"",
		"\"port\": 49200",
		"",
	};
	struct fixture *f = *state;
	char text[600], host[300];
	const char *body;

	for (size_t i = 0; i < ARRAY_LENGTH(members); i++) {
		snprintf(text, sizeof(text), "{%s}", members[i]);
		assert_int_equal(put(f, "migrate", text, &body), 400);
		assert_error(body, "bad_request", 0, NULL);
	}
	memset(host, 'h', 256);
	host[256] = '\0';
	snprintf(text, sizeof(text), "{\"host\": \"%s\"}", host);
	assert_int_equal(put(f, "migrate", text, &body), 400);
	assert_int_equal(put(f, "migrate", "", &body), 400);
	assert_int_equal(put(f, "migrate", "[]", &body), 400);
	assert_int_equal(f->moves, 0);
	host[255] = '\0';
	snprintf(text, sizeof(text), "{\"host\": \"%s\"}", host);
	assert_int_equal(put(f, "migrate", text, &body), 202);
}

static void refusal_carries_its_exit_code_and_line(void **state)
{
	static const struct {
		enum exit_code code;
		int status;
		const char *name;
	} refusals[] = {
		{EXIT_STATE, 409, "refused"},
		{EXIT_NOT_TRUSTED, 409, "refused"},
		{EXIT_USAGE, 400, "bad_request"},
		{EXIT_INTERNAL, 500, "internal"},
		{EXIT_HOST_UNREACHABLE, 409, "refused"},
	};
	static const struct {
		const char *url, *body;
	} requests[] = {
		{"migrate", "{\"host\": \"h\"}"},
		{"save", "{\"path\": \"/f\"}"},
		{"migration/cancel", ""},
		{"migration/resolve", "{\"outcome\": \"here\"}"},
	};
	struct fixture *f = *state;
	const char *body;

	for (size_t i = 0; i < ARRAY_LENGTH(refusals); i++)
		for (size_t j = 0; j < ARRAY_LENGTH(requests); j++) {
			f->refusal.code = refusals[i].code;
			snprintf(f->refusal.message, sizeof(f->refusal.message), "because \"%zu\"",
				 i);
			assert_int_equal(put(f, requests[j].url, requests[j].body, &body),
					 refusals[i].status);
			assert_error(body, refusals[i].name, (int)refusals[i].code,
				     f->refusal.message);
		}
	snprintf(f->refusal.message, sizeof(f->refusal.message), "\xff");
	assert_int_equal(put(f, "migration/cancel", "", &body), 409);
	assert_error(body, "refused", EXIT_HOST_UNREACHABLE, "(not UTF-8)");
}

static void save_takes_an_absolute_path(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"{\"path\": \"relative\"}",
		"{\"path\": \"\"}",
		"{\"path\": 1}",
		"{\"path\": \"/nul\\u0000byte\"}",
		"{\"path\": \"/a\", \"more\": 1}",
	};
	struct fixture *f = *state;
	char text[4200];
	const char *body;

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
		assert_int_equal(put(f, "save", bad[i], &body), 400);
	snprintf(text, sizeof(text), "{\"path\": \"/%04001d\"}", 0);
	assert_int_equal(put(f, "save", text, &body), 400);
	assert_int_equal(f->saves, 0);
	assert_int_equal(put(f, "save", "{\"path\": \"/var/tmp/vm0 saved\"}", &body), 202);
	assert_string_equal(f->saved_to, "/var/tmp/vm0 saved");
}

static void cancel_and_resolve_reach_the_vm(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"{\"outcome\": \"everywhere\"}",
		"{\"outcome\": true}",
		"{\"outcome\": \"here\", \"sure\": true}",
	};
	struct fixture *f = *state;
	const char *body;

	assert_int_equal(put(f, "migration/cancel", "{}", &body), 400);
	assert_int_equal(f->cancels, 0);
	assert_int_equal(put(f, "migration/cancel", "", &body), 202);
	assert_int_equal(f->cancels, 1);
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
		assert_int_equal(put(f, "migration/resolve", bad[i], &body), 400);
	assert_int_equal(f->resolves, 0);
	assert_int_equal(put(f, "migration/resolve", "{\"outcome\": \"there\"}", &body), 202);
	assert_true(f->there);
	assert_int_equal(put(f, "migration/resolve", "{\"outcome\": \"here\"}", &body), 202);
	assert_false(f->there);
	assert_int_equal(f->resolves, 2);
}

static void status_has_every_figure(void **state)
{
	static const char expected[] =
		"{\"vm\": \"vm0\", \"phase\": \"copying\", \"incoming\": false, \"id\": "
		"\"0ee8dd1c-5a3e-4c8a-9a50-c7d1c1a8b001\", \"peer\": \"host2\", \"memory_bytes\": "
		"536870912, \"bytes_sent\": 1000001, \"bytes_left\": 2000002, \"bytes_zero\": "
		"4096, "
		"\"dirty_rate\": 300, \"rate\": 400, \"rounds\": 5, \"throttle\": 20, "
		"\"downtime_estimate_ms\": 66, \"started_unix_ms\": 1700000000123, \"total_ms\": "
		"7007, \"downtime_ms\": 188, \"pause_ms\": 11, \"last_ms\": 12, \"restore_ms\": "
		"13, \"late_frames\": 14, \"error\": null, \"check\": null}";
	struct fixture *f = *state;
	json_t *told = get(f, "/migration"), *wanted = json_loads(expected, 0, NULL);

	assert_non_null(wanted);
	assert_true(json_equal(told, wanted));
	json_decref(told);
	told = get(f, "");
	assert_true(json_equal(json_object_get(told, "migration"), wanted));
	json_decref(told);
	json_decref(wanted);
}

static void findings_come_the_worst_first_and_in_utf8(void **state)
{
	static const char expected[] =
		"{\"findings\": [{\"severity\": \"stops\", \"item\": \"cpu\", \"text\": \"no AVX2 "
		"there; start it with cpu: base\"}, {\"severity\": \"harms\", \"item\": "
		"\"uplink\", "
		"\"text\": \"no link\"}, {\"severity\": \"notes\", \"item\": \"kernel\", \"text\": "
		"\"(not UTF-8)\"}]}";
	json_t *told, *wanted = json_loads(expected, 0, NULL);
	struct fixture *f = *state;

	f->checked = true;
	told = get(f, "/migration");
	assert_true(json_equal(json_object_get(told, "check"), wanted));
	json_decref(told);
	json_decref(wanted);
	f->check.count = UINT32_MAX; /* is not believed */
	told = get(f, "/migration");
	assert_int_equal(
		json_array_size(json_object_get(json_object_get(told, "check"), "findings")),
		MIGRATION_MAX_CHECK_ITEMS);
	json_decref(told);
}

static void failed_move_says_why(void **state)
{
	struct fixture *f = *state;
	const char *phrase, *message;
	json_t *told;
	int code;

	f->migration.phase = MIGRATION_FAILED;
	f->migration.error = (struct vm_error){EXIT_NO_MEMORY, "host2: 512 MiB are missing"};
	told = get(f, "/migration");
	assert_int_equal(json_unpack(told, "{s{si ss ss}}", "error", "code", &code, "phrase",
				     &phrase, "message", &message),
			 0);
	assert_int_equal(code, EXIT_NO_MEMORY);
	assert_string_equal(phrase, exit_code_phrase(EXIT_NO_MEMORY));
	assert_string_equal(message, "host2: 512 MiB are missing");
	json_decref(told);
}

static void assert_state(struct fixture *f, const char *wanted)
{
	json_t *told = get(f, "");

	assert_string_equal(json_string_value(json_object_get(told, "state")), wanted);
	json_decref(told);
}

static void state_tells_who_comes_and_who_has_left(void **state)
{
	struct fixture *f = *state;
	json_t *told;

	assert_state(f, "running");
	f->migration.phase = MIGRATION_DONE;
	assert_state(f, "moved");
	snprintf(f->migration.peer, sizeof(f->migration.peer), "/var/tmp/file");
	assert_state(f, "saved");
	f->migration.incoming = true;
	assert_state(f, "running");
	f->migration.phase = MIGRATION_STOPPED;
	f->status.state = VM_STATE_INCOMING;
	assert_state(f, "incoming");
	f->migration.phase = MIGRATION_IDLE;
	told = get(f, "");
	assert_true(json_is_null(json_object_get(told, "migration")));
	json_decref(told);
}

static void metrics_keep_the_last_move(void **state)
{
	static const char *const lines[] = {
		"\nlunar_migration_phase{vm=\"vm0\",direction=\"out\",phase=\"done\"} 1\n",
		"\nlunar_migration_phase{vm=\"vm0\",direction=\"out\",phase=\"copying\"} 0\n",
		"\nlunar_migration_sent_bytes{vm=\"vm0\"} 1000001\n",
		"\nlunar_migration_total_seconds{vm=\"vm0\"} 7.007\n",
		"\nlunar_migration_downtime_seconds{vm=\"vm0\"} 0.188\n",
		"\nlunar_migration_pause_seconds{vm=\"vm0\"} 0.011\n",
		"\n# TYPE lunar_migration_rounds gauge\n",
	};
	static const char text[] = "GET /api/v1/vm/metrics HTTP/1.1\r\nHost: vm\r\n\r\n";
	struct fixture *f = *state;
	const char *body;

	f->migration.phase = MIGRATION_DONE;
	assert_int_equal(request(f, text, &body), 200);
	for (size_t i = 0; i < ARRAY_LENGTH(lines); i++)
		assert_non_null(strstr(body, lines[i]));
	f->migration.phase = MIGRATION_IDLE;
	assert_int_equal(request(f, text, &body), 200);
	assert_null(strstr(body, "lunar_migration"));
}

static void vm_without_moves_refuses_them(void **state)
{
	struct fixture *f = *state;
	const char *body;
	json_t *told;

	serve(f, &immovable_ops);
	assert_int_equal(put(f, "migrate", "{\"host\": \"h\"}", &body), 409);
	assert_error(body, "refused", EXIT_CANNOT_MOVE, NULL);
	assert_int_equal(put(f, "save", "{\"path\": \"/f\"}", &body), 409);
	assert_int_equal(put(f, "migration/cancel", "", &body), 409);
	assert_int_equal(put(f, "migration/resolve", "{\"outcome\": \"here\"}", &body), 409);
	told = get(f, "/migration");
	assert_string_equal(json_string_value(json_object_get(told, "phase")), "idle");
	json_decref(told);
}

int main(void)
{
#define api_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		api_test(migrate_needs_a_host_alone),
		api_test(migrate_hands_on_every_option),
		api_test(migrate_refuses_any_other_body),
		api_test(refusal_carries_its_exit_code_and_line),
		api_test(save_takes_an_absolute_path),
		api_test(cancel_and_resolve_reach_the_vm),
		api_test(status_has_every_figure),
		api_test(findings_come_the_worst_first_and_in_utf8),
		api_test(failed_move_says_why),
		api_test(state_tells_who_comes_and_who_has_left),
		api_test(metrics_keep_the_last_move),
		api_test(vm_without_moves_refuses_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
