/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Peers that do not keep to the protocol, and such that have no business here: what they get, and
 * that the VM lives on at exactly one place. The puppet is this process; it speaks with host A's
 * certificate to the receiver of B, or stands in for B.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hypervisor/migration/message.h"
#include "hypervisor/migration/resolve.h"
#include "hypervisor/migration/socket.h"
#include "hypervisor/migration/tls.h"
#include "hypervisor/migration/words.h"
#include "hypervisor/tls_files.h"
#include "tests/unit/hypervisor/move_fixture.h"

#define WAIT_MS		 5000
#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define MIB		 (UINT64_C(1) << 20)

static struct move_world world;
static struct migration_tls_credentials *credentials[2];

static void certificates_of(enum move_host host)
{
	struct vm_error error;

	world_enter(&world, host);
	assert_int_equal(migration_tls_credentials_load(NULL, &credentials[host], &error), 0);
}

static int setup(void **state)
{
	(void)state;
	world_make(&world);
	certificates_of(HOST_B);
	certificates_of(HOST_A);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	migration_tls_credentials_free(credentials[HOST_A]);
	migration_tls_credentials_free(credentials[HOST_B]);
	world_remove(&world);
	return 0;
}

/* ---- a puppet source ---- */

struct puppet {
	struct migration_tls *tls;
	struct migration_tls *memory[2];
	struct migration_message message;
	struct migration_accept accept;
	char id[MIGRATION_ID_BYTES];
};

static struct migration_tls *dial(enum move_host as, uint16_t port)
{
	struct deadline deadline = deadline_in_ms(WAIT_MS);
	struct vm_error error;
	struct migration_tls *tls;
	int fd = migration_dial(world_address(HOST_B), port, -1, deadline, &error);

	assert_true(fd >= 0);
	if (migration_tls_connect(credentials[as], fd, world_address(HOST_B), deadline, &tls,
				  &error))
		fail_msg("%s", error.message);
	return tls;
}

static int say(struct migration_tls *tls, uint32_t type, const void *payload, size_t length)
{
	return migration_message_send(migration_tls_channel(tls), type, payload, length,
				      deadline_in_ms(WAIT_MS));
}

static int say_state(struct migration_tls *tls, uint32_t type, struct state_writer *writer)
{
	int rc;

	assert_int_equal(state_writer_result(writer), 0);
	rc = say(tls, type, writer->bytes, writer->length);
	state_writer_fini(writer);
	return rc;
}

/* The next frame's type, or -errno. */
static int hear(struct puppet *puppet)
{
	int rc = migration_message_receive(migration_tls_channel(puppet->tls), &puppet->message,
					   MIGRATION_MAX_PAYLOAD_BYTES, deadline_in_ms(WAIT_MS));

	return rc ? rc : (int)puppet->message.type;
}

static void assert_gone(struct puppet *puppet)
{
	int rc = hear(puppet);

	if (rc == MIGRATION_FRAME_FAIL)
		rc = hear(puppet);
	assert_true(rc == -EPIPE || rc == -ECONNRESET);
}

static void say_hello(struct puppet *puppet)
{
	static const char definition[] = "name: " MOVE_VM "\nmemory: 64M\nkernel: /bin/sh\n";
	struct migration_hello hello = {
		.receive_port = world.port,
		.connections = 2,
		.memory_bytes = 12 * MIB,
		.region_count = 2,
		.regions = {{0, 8 * MIB}, {16 * MIB, 4 * MIB}},
		.definition = definition,
		.definition_length = sizeof(definition) - 1,
	};
	struct state_writer writer;

	memcpy(hello.id, puppet->id, sizeof(hello.id));
	snprintf(hello.vm, sizeof(hello.vm), "%s", MOVE_VM);
	state_writer_init(&writer);
	migration_hello_write(&writer, &hello);
	state_begin(&writer, MIGRATION_TAG_CPU, 1, STATE_SKIPPABLE);
	state_begin(&writer, STATE_TAG('C', 'P', 'U', 'I'), 1, 1);
	state_put_u32(&writer, 42);
	state_end(&writer);
	state_end(&writer);
	state_begin(&writer, MIGRATION_TAG_PORTALS, 1, STATE_SKIPPABLE);
	state_begin(&writer, STATE_TAG('P', 'O', 'R', 'T'), 1, 1);
	state_put_u32(&writer, 3260);
	state_end(&writer);
	state_end(&writer);
	assert_int_equal(say_state(puppet->tls, MIGRATION_FRAME_HELLO, &writer), 0);
}

static void puppet_greet(struct puppet *puppet)
{
	struct migration_check check;

	*puppet = (struct puppet){0};
	assert_int_equal(migration_id_make(puppet->id), 0);
	puppet->tls = dial(HOST_A, world.port);
	say_hello(puppet);
	assert_int_equal(hear(puppet), MIGRATION_FRAME_ACCEPT);
	assert_int_equal(migration_answer_read(puppet->message.payload, puppet->message.length,
					       &check, &puppet->accept),
			 0);
}

static int memory_hello(struct puppet *puppet, struct migration_tls *tls, uint32_t index)
{
	struct migration_memory_hello hello = {.index = index};

	memcpy(hello.token, puppet->accept.token, sizeof(hello.token));
	return say(tls, MIGRATION_FRAME_MEMORY_HELLO, &hello, sizeof(hello));
}

static void puppet_join(struct puppet *puppet)
{
	for (uint32_t i = 0; i < 2; i++) {
		puppet->memory[i] = dial(HOST_A, puppet->accept.port);
		assert_int_equal(memory_hello(puppet, puppet->memory[i], i), 0);
	}
}

/* All memory zero, and the clock where the world's is. Up to READY. */
static void puppet_send_all(struct puppet *puppet)
{
	const struct migration_round_end round = {.round = 0};
	uint64_t hash = 14695981039346656037u;
	struct state_writer writer;

	for (uint64_t i = 0; i < 12 * MIB / 8; i++)
		hash *= 1099511628211u;
	assert_int_equal(say(puppet->tls, MIGRATION_FRAME_LAST_ROUND, &round, sizeof(round)), 0);
	state_writer_init(&writer);
	state_begin(&writer, STATE_TAG('F', 'A', 'K', 'E'), 1, 1);
	state_put_u64(&writer, world.witness->clock);
	state_put_u64(&writer, hash);
	state_end(&writer);
	assert_int_equal(say_state(puppet->tls, MIGRATION_FRAME_STATE, &writer), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			say(puppet->memory[i], MIGRATION_FRAME_ROUND_END, &round, sizeof(round)),
			0);
		assert_int_equal(say(puppet->memory[i], MIGRATION_FRAME_MEMORY_END, NULL, 0), 0);
	}
	assert_int_equal(hear(puppet), MIGRATION_FRAME_READY);
}

static void puppet_end(struct puppet *puppet)
{
	for (int i = 0; i < 2; i++)
		migration_tls_destroy(puppet->memory[i]);
	migration_tls_destroy(puppet->tls);
	migration_message_fini(&puppet->message);
}

static void assert_nothing_is_left(void)
{
	for (int i = 0; i < 500 && world.witness->vm_pid[HOST_B]; i++)
		usleep(10000);
	assert_int_equal(world.witness->vm_pid[HOST_B], 0);
	assert_false(world_is_defined(&world, HOST_B));
	assert_int_equal(world.witness->clock, 0);
}

/* ---- strangers ---- */

static void stranger_without_a_certificate_gets_nothing(void **state)
{
	static const char *const words[] = {"GET / HTTP/1.0\r\n\r\n", "\x16\x03\x01\xff\xff", ""};

	(void)state;
	receiver_start(&world, HOST_B);
	for (size_t i = 0; i < 3; i++) {
		int fd = world_dial(&world, HOST_B);
		uint8_t answer[64];
		ssize_t got;

		assert_true(write(fd, words[i], strlen(words[i])) == (ssize_t)strlen(words[i]));
		shutdown(fd, SHUT_WR);
		got = recv(fd, answer, sizeof(answer), MSG_WAITALL);
		assert_true(got <= 0 || answer[0] == 0x15); /* at most a TLS alert */
		close(fd);
	}
	assert_nothing_is_left();
}

static void stranger_of_another_ca_gets_nothing(void **state)
{
	const char *const names[] = {"a"};
	struct migration_tls_credentials *strange;
	char ca[128], own[128];
	struct vm_error error;
	struct migration_tls *tls;
	int fd;

	(void)state;
	receiver_start(&world, HOST_B);
	snprintf(ca, sizeof(ca), "%s/other", world.root);
	snprintf(own, sizeof(own), "%s/stranger", world.root);
	assert_int_equal(tls_files_make_ca(ca, "Other", 30, &error), 0);
	assert_int_equal(tls_files_make_host(ca, own, names, 1, 30, &error), 0);
	assert_int_equal(migration_tls_credentials_load(own, &strange, &error), 0);
	fd = migration_dial(world_address(HOST_B), world.port, -1, deadline_in_ms(WAIT_MS), &error);
	assert_true(fd >= 0);
	assert_int_equal(migration_tls_connect(strange, fd, world_address(HOST_B),
					       deadline_in_ms(WAIT_MS), &tls, &error),
			 -EACCES);
	migration_tls_credentials_free(strange);
	assert_nothing_is_left();
}

/* ---- sources that break the protocol ---- */

static void first_frame_that_is_no_question_ends_the_connection(void **state)
{
	static const uint32_t types[] = {MIGRATION_FRAME_COMMIT, MIGRATION_FRAME_STATE,
					 MIGRATION_FRAME_PAGES, MIGRATION_FRAME_FIGURES, 4711};

	(void)state;
	receiver_start(&world, HOST_B);
	for (size_t i = 0; i < 5; i++) {
		struct puppet puppet = {.tls = dial(HOST_A, world.port)};

		assert_int_equal(say(puppet.tls, types[i], "nonsense", 8), 0);
		assert_gone(&puppet);
		puppet_end(&puppet);
	}
	assert_nothing_is_left();
}

static void malformed_hello_is_refused(void **state)
{
	struct puppet puppet = {0};

	(void)state;
	receiver_start(&world, HOST_B);
	puppet.tls = dial(HOST_A, world.port);
	assert_int_equal(say(puppet.tls, MIGRATION_FRAME_HELLO, "HELO nonsense nonsense", 22), 0);
	assert_int_equal(hear(&puppet), MIGRATION_FRAME_FAIL);
	puppet_end(&puppet);
	assert_nothing_is_left();
}

static void commit_before_its_time_drops_the_vm(void **state)
{
	struct puppet puppet;

	(void)state;
	receiver_start(&world, HOST_B);
	puppet_greet(&puppet);
	puppet_join(&puppet);
	assert_int_equal(say(puppet.tls, MIGRATION_FRAME_COMMIT, NULL, 0), 0);
	assert_gone(&puppet);
	puppet_end(&puppet);
	assert_nothing_is_left();
}

static void state_before_its_time_drops_the_vm(void **state)
{
	struct puppet puppet;

	(void)state;
	receiver_start(&world, HOST_B);
	puppet_greet(&puppet);
	puppet_join(&puppet);
	assert_int_equal(say(puppet.tls, MIGRATION_FRAME_STATE, "state", 5), 0);
	assert_gone(&puppet);
	puppet_end(&puppet);
	assert_nothing_is_left();
}

/* A source whose memory connections are gone, and that keeps the other one, holds a VM's memory
 * here for nothing. */
static void memory_connections_that_end_early_drop_the_vm(void **state)
{
	struct puppet puppet;
	int rc = -ETIMEDOUT;

	(void)state;
	receiver_start(&world, HOST_B);
	puppet_greet(&puppet);
	puppet_join(&puppet);
	for (int i = 0; i < 2; i++) {
		migration_tls_destroy(puppet.memory[i]);
		puppet.memory[i] = NULL;
	}
	for (int i = 0; i < 5 && rc == -ETIMEDOUT; i++)
		rc = hear(&puppet);
	assert_int_equal(rc, MIGRATION_FRAME_FAIL);
	puppet_end(&puppet);
	assert_nothing_is_left();
}

/* While nobody looks at them, frames are not gathered without end. */
static void long_frames_in_a_row_are_not_all_taken(void **state)
{
	const size_t length = (size_t)MIGRATION_MAX_PAYLOAD_BYTES - MIB;
	struct puppet puppet = {0};
	void *payload = calloc(1, length);
	int rc = 0, said = 0;

	(void)state;
	assert_non_null(payload);
	world.target_hold = "target-hello:4000";
	receiver_start(&world, HOST_B);
	assert_int_equal(migration_id_make(puppet.id), 0);
	puppet.tls = dial(HOST_A, world.port);
	say_hello(&puppet);
	for (; said < 4 && !rc; said++)
		rc = migration_message_send(migration_tls_channel(puppet.tls),
					    MIGRATION_FRAME_STATE, payload, length,
					    deadline_in_ms(1000));
	assert_int_equal(rc, -ETIMEDOUT);
	assert_true(said <= 3); /* one waits, one was read and finds no room */
	free(payload);
	puppet_end(&puppet);
	assert_nothing_is_left();
}

static void memory_needs_the_token_and_each_place_is_taken_once(void **state)
{
	struct migration_tls *wrong[3];
	struct puppet puppet, honest;

	(void)state;
	receiver_start(&world, HOST_B);
	puppet_greet(&puppet);
	honest = puppet;
	wrong[0] = dial(HOST_A, puppet.accept.port);
	puppet.accept.token[0] ^= 1;
	assert_int_equal(memory_hello(&puppet, wrong[0], 0), 0);
	puppet = honest;
	puppet.memory[0] = dial(HOST_A, puppet.accept.port);
	assert_int_equal(memory_hello(&puppet, puppet.memory[0], 0), 0);
	wrong[1] = dial(HOST_A, puppet.accept.port); /* replayed */
	assert_int_equal(memory_hello(&puppet, wrong[1], 0), 0);
	wrong[2] = dial(HOST_A, puppet.accept.port);
	assert_int_equal(memory_hello(&puppet, wrong[2], 9), 0);
	puppet.memory[1] = dial(HOST_A, puppet.accept.port);
	assert_int_equal(memory_hello(&puppet, puppet.memory[1], 1), 0);
	for (int i = 0; i < 3; i++) {
		struct puppet listener = {.tls = wrong[i]};

		assert_gone(&listener);
		migration_message_fini(&listener.message);
		migration_tls_destroy(wrong[i]);
	}
	puppet_send_all(&puppet); /* the honest ones work */
	puppet_end(&puppet);
}

static void repeated_commit_and_a_stale_id_change_nothing(void **state)
{
	struct puppet puppet, again = {0};

	(void)state;
	receiver_start(&world, HOST_B);
	puppet_greet(&puppet);
	puppet_join(&puppet);
	puppet_send_all(&puppet);
	assert_int_equal(say(puppet.tls, MIGRATION_FRAME_COMMIT, NULL, 0), 0);
	assert_int_equal(hear(&puppet), MIGRATION_FRAME_DONE);
	assert_int_equal(say(puppet.tls, MIGRATION_FRAME_COMMIT, NULL, 0), 0);
	assert_gone(&puppet);
	again.tls = dial(HOST_A, world.port);
	memcpy(again.id, puppet.id, sizeof(again.id));
	say_hello(&again);
	assert_int_equal(hear(&again), MIGRATION_FRAME_FAIL);
	puppet_end(&again);
	puppet_end(&puppet);
	assert_true(world_vm_runs(&world, WAIT_MS));
	assert_int_equal(world.witness->violations, 0);
	assert_int_equal(world.witness->differences, 0);
}

static enum migration_word question_as(enum move_host host, uint32_t type, const char *id)
{
	enum migration_word word = MIGRATION_WORD_UNKNOWN;
	struct vm_error error;

	assert_int_equal(migration_resolve_query(credentials[host], world_address(HOST_B),
						 world.port, world_address(HOST_B), type, id,
						 MOVE_VM, -1, deadline_in_ms(WAIT_MS), &word,
						 &error),
			 0);
	return word;
}

static enum migration_word resolve_as(enum move_host host, const char *id)
{
	return question_as(host, MIGRATION_FRAME_RESOLVE, id);
}

/* Nonsense where COMMIT should come is a lost source: the restored VM waits for its host, which
 * does not know that id. Another host cannot release it; the source's can. */
static void only_the_source_releases_a_vm_that_waits(void **state)
{
	struct puppet puppet;

	(void)state;
	receiver_start(&world, HOST_A);
	receiver_start(&world, HOST_B);
	puppet_greet(&puppet);
	puppet_join(&puppet);
	puppet_send_all(&puppet);
	assert_int_equal(say(puppet.tls, MIGRATION_FRAME_DONE, "x", 1), 0);
	assert_int_equal(resolve_as(HOST_B, puppet.id), MIGRATION_WORD_UNDECIDED);
	assert_false(world_vm_runs(&world, 500));
	assert_int_equal(resolve_as(HOST_A, puppet.id), MIGRATION_WORD_COMMITTED);
	assert_true(world_vm_runs(&world, WAIT_MS));
	assert_int_equal(resolve_as(HOST_B, puppet.id), MIGRATION_WORD_UNKNOWN);
	assert_int_equal(world.witness->violations, 0);
	puppet_end(&puppet);
}

static void text_put(const char *path, const char *text)
{
	char whole[256];
	FILE *file;

	snprintf(whole, sizeof(whole), "%s/%s", world.root, path);
	file = fopen(whole, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static bool text_is(const char *path, const char *text)
{
	char whole[256], read[256] = "";
	FILE *file;

	snprintf(whole, sizeof(whole), "%s/%s", world.root, path);
	file = fopen(whole, "r");
	assert_non_null(file);
	(void)!fread(read, 1, sizeof(read) - 1, file);
	fclose(file);
	return strcmp(read, text) == 0;
}

static void folder_put(const char *path)
{
	char whole[256];

	snprintf(whole, sizeof(whole), "%s/%s", world.root, path);
	assert_int_equal(mkdir(whole, 0700), 0);
}

/* The name is another VM's: what is told of that one's last move stays. */
static void refused_move_leaves_the_figures_of_the_vm_here_alone(void **state)
{
	struct puppet puppet = {0};

	(void)state;
	folder_put("b/state");
	folder_put("b/state/migrations");
	folder_put("b/state/vms");
	text_put("b/state/vms/" MOVE_VM ".yaml", "name: " MOVE_VM "\n");
	text_put("b/state/migrations/" MOVE_VM ".json", "{\"mine\": 1}\n");
	receiver_start(&world, HOST_B);
	assert_int_equal(migration_id_make(puppet.id), 0);
	puppet.tls = dial(HOST_A, world.port);
	say_hello(&puppet);
	assert_int_equal(hear(&puppet), MIGRATION_FRAME_REFUSE);
	migration_tls_destroy(puppet.tls);
	puppet.tls = NULL;
	for (int i = 0; i < 50; i++) {
		assert_true(text_is("b/state/migrations/" MOVE_VM ".json", "{\"mine\": 1}\n"));
		usleep(10000);
	}
	puppet_end(&puppet);
}

/* The source heard of it by RESOLVE, and says that it will not ask any more: then, and only on its
 * own word, the record of the move goes. */
static void record_goes_when_the_source_says_that_it_has_settled(void **state)
{
	struct puppet puppet;
	char path[256];

	(void)state;
	receiver_start(&world, HOST_A);
	receiver_start(&world, HOST_B);
	puppet_greet(&puppet);
	puppet_join(&puppet);
	puppet_send_all(&puppet);
	assert_int_equal(say(puppet.tls, MIGRATION_FRAME_COMMIT, NULL, 0), 0);
	assert_int_equal(hear(&puppet), MIGRATION_FRAME_DONE);
	migration_tls_shutdown(puppet.tls);
	snprintf(path, sizeof(path), "%s/b/state/migrations/%s.in", world.root, puppet.id);
	assert_int_equal(question_as(HOST_A, MIGRATION_FRAME_RESOLVE, puppet.id),
			 MIGRATION_WORD_COMMITTED);
	assert_int_equal(access(path, F_OK), 0);
	(void)question_as(HOST_B, MIGRATION_FRAME_SETTLED, puppet.id);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(question_as(HOST_A, MIGRATION_FRAME_SETTLED, puppet.id),
			 MIGRATION_WORD_UNKNOWN);
	assert_true(access(path, F_OK) < 0);
	puppet_end(&puppet);
}

/* A question about a move that never was settles it for good. */
static void move_that_was_denied_cannot_come_any_more(void **state)
{
	struct puppet puppet = {0};

	(void)state;
	receiver_start(&world, HOST_B);
	assert_int_equal(migration_id_make(puppet.id), 0);
	assert_int_equal(resolve_as(HOST_A, puppet.id), MIGRATION_WORD_ABORTED);
	assert_int_equal(resolve_as(HOST_A, puppet.id), MIGRATION_WORD_ABORTED);
	puppet.tls = dial(HOST_A, world.port);
	say_hello(&puppet);
	assert_int_equal(hear(&puppet), MIGRATION_FRAME_FAIL);
	puppet_end(&puppet);
	assert_nothing_is_left();
}

/* ---- targets that break the protocol ---- */

static int puppet_listen(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(world.port)};
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, world_address(HOST_B), &address.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static struct migration_tls *puppet_accept(int listener)
{
	struct vm_error error;
	struct migration_tls *tls;
	int fd = accept(listener, NULL, NULL);

	assert_true(fd >= 0);
	assert_int_equal(migration_socket_prepare(fd), 0);
	if (migration_tls_accept(credentials[HOST_B], fd, deadline_in_ms(WAIT_MS), &tls, &error))
		fail_msg("%s", error.message);
	return tls;
}

static void assert_runs_at_a(void)
{
	assert_true(world_wait_ended(&world, 1, WAIT_MS));
	assert_int_equal(world.witness->phase, MIGRATION_FAILED);
	assert_int_equal(world.witness->code, EXIT_BAD_STATE);
	assert_true(world_vm_runs(&world, WAIT_MS));
	assert_int_equal(world.witness->violations, 0);
	assert_true(world_is_defined(&world, HOST_A));
}

static void target_that_answers_out_of_turn_does_not_get_the_vm(void **state)
{
	static const uint32_t types[] = {MIGRATION_FRAME_DONE, MIGRATION_FRAME_READY,
					 MIGRATION_FRAME_ACCEPT, MIGRATION_FRAME_REFUSE};
	pid_t pid;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct puppet puppet = {0};
		int listener;

		if (i)
			setup(NULL);
		listener = puppet_listen();
		pid = vm_boot(&world, HOST_A, true);
		puppet.tls = puppet_accept(listener);
		assert_int_equal(hear(&puppet), MIGRATION_FRAME_HELLO);
		assert_int_equal(say(puppet.tls, types[i], "nonsense", 8), 0);
		assert_runs_at_a();
		puppet_end(&puppet);
		close(listener);
		kill(pid, SIGKILL);
		if (i < 3)
			teardown(NULL);
	}
}

/* Swallows a memory connection up to its end. */
static void memory_swallow(struct migration_tls *tls)
{
	struct puppet puppet = {.tls = tls};

	while (hear(&puppet) != MIGRATION_FRAME_MEMORY_END)
		;
	migration_message_fini(&puppet.message);
}

static void target_that_claims_to_run_it_before_commit_does_not_get_the_vm(void **state)
{
	struct migration_accept accept = {.port = world.port};
	struct migration_check check = {0};
	struct puppet puppet = {0};
	struct state_writer writer;
	int listener = puppet_listen();

	(void)state;
	receiver_start(&world, HOST_A);
	world.options.connections = 1;
	(void)vm_boot(&world, HOST_A, true);
	puppet.tls = puppet_accept(listener);
	assert_int_equal(hear(&puppet), MIGRATION_FRAME_HELLO);
	state_writer_init(&writer);
	migration_findings_write(&writer, &check);
	migration_accept_write(&writer, &accept);
	assert_int_equal(say_state(puppet.tls, MIGRATION_FRAME_ACCEPT, &writer), 0);
	puppet.memory[0] = puppet_accept(listener);
	memory_swallow(puppet.memory[0]);
	state_writer_init(&writer);
	migration_took_write(&writer, 1);
	assert_int_equal(say_state(puppet.tls, MIGRATION_FRAME_DONE, &writer), 0);
	assert_runs_at_a();
	puppet_end(&puppet);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(stranger_without_a_certificate_gets_nothing),
		WORLD_TEST(stranger_of_another_ca_gets_nothing),
		WORLD_TEST(first_frame_that_is_no_question_ends_the_connection),
		WORLD_TEST(malformed_hello_is_refused),
		WORLD_TEST(commit_before_its_time_drops_the_vm),
		WORLD_TEST(state_before_its_time_drops_the_vm),
		WORLD_TEST(memory_connections_that_end_early_drop_the_vm),
		WORLD_TEST(long_frames_in_a_row_are_not_all_taken),
		WORLD_TEST(memory_needs_the_token_and_each_place_is_taken_once),
		WORLD_TEST(repeated_commit_and_a_stale_id_change_nothing),
		WORLD_TEST(only_the_source_releases_a_vm_that_waits),
		WORLD_TEST(refused_move_leaves_the_figures_of_the_vm_here_alone),
		WORLD_TEST(record_goes_when_the_source_says_that_it_has_settled),
		WORLD_TEST(move_that_was_denied_cannot_come_any_more),
		WORLD_TEST(target_that_answers_out_of_turn_does_not_get_the_vm),
		WORLD_TEST(target_that_claims_to_run_it_before_commit_does_not_get_the_vm),
	};

	signal(SIGPIPE, SIG_IGN);
	cmocka_set_test_filter(getenv("MOVE_TEST")); /* to look at one */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
