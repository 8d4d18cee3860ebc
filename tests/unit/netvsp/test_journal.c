/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netvspd is killed at any moment under load, and its successor goes on from the journals: the
 * guests keep their NICs. netvspd is a child process; the guests and their memory are here. What a
 * guest's driver would not survive (a completion twice, a section lent twice) is a violation; a
 * completion that is lost shows in the counts, a section that is lost when all of them are lent.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "base/fd_passing.h"
#include "tests/unit/netvsp/frames.h"
#include "tests/unit/netvsp/netvspd_fixture.h"

#define WAIT_MS	 20000
#define QUIET_MS 100
#define KILLS	 25
#define PAYLOAD	 200

/* ---- netvspd, in a process of its own ---- */

struct switch_process {
	pid_t pid;
	char socket[64];
};

static char run_folder[] = "/tmp/lunar-journal-XXXXXX";

static void serve(void)
{
	void *state = NULL;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (eal_group_setup(&state) || netvspd_setup(&state))
		_exit(1);
	for (;;)
		pause();
}

static void start_switch(struct switch_process *process)
{
	struct deadline deadline = deadline_in_ms(WAIT_MS);
	int fd;

	process->pid = fork();
	assert_true(process->pid >= 0);
	if (process->pid == 0)
		serve();
	snprintf(process->socket, sizeof(process->socket), "/tmp/netvspd-test-%d-1.sock",
		 (int)process->pid);
	while ((fd = unix_socket_connect(process->socket, SOCK_SEQPACKET)) < 0) {
		assert_false(deadline_passed(deadline));
		usleep(5000);
	}
	close(fd);
}

static void kill_switch(const struct switch_process *process)
{
	kill(process->pid, SIGKILL);
	assert_int_equal(waitpid(process->pid, NULL, 0), process->pid);
	unlink(process->socket);
}

static int remove_entry(const char *path, const struct stat *stat, int flag, struct FTW *ftw)
{
	(void)stat;
	(void)flag;
	(void)ftw;
	return remove(path);
}

/* ---- guests ---- */

struct guest {
	struct vsp_guest *vsp;
	struct fake_netvsc *driver;
	uint8_t mac[6];
	uint32_t received;
	bool damaged;
};

static uint8_t frame[FRAME_MAX];

static struct frame_spec spec_of(const struct guest *from, const struct guest *to, uint32_t number)
{
	struct frame_spec spec = {.source_port = (uint16_t)(1000 + number % 16),
				  .destination_port = 2000,
				  .sequence = number,
				  .seed = (uint8_t)number,
				  .payload_bytes = PAYLOAD,
				  .checksums = true};

	memcpy(spec.source, from->mac, 6);
	memcpy(spec.destination, to->mac, 6);
	return spec;
}

/* Each frame must be one of those that were sent, whole. */
static void take_frame(void *ctx, const struct fake_rx *rx)
{
	struct guest *guest = ctx;
	struct frame_seen seen;

	guest->received++;
	if (!frame_read(rx->frame, rx->length, &seen) || seen.payload_bytes != PAYLOAD ||
	    !seen.l4_checksum_good || rx->frame[seen.payload_offset] != (uint8_t)seen.sequence)
		guest->damaged = true;
}

static void start_guest(struct guest *guest, const struct switch_process *process, uint8_t last)
{
	struct fake_netvsc_config driver = {
		.flavour = FAKE_LINUX, .channels = 4, .recv_pages = 256};
	struct vsp_guest_config config = {
		.socket = process->socket,
		.name = last == 1 ? "a/nic0" : "b/nic0",
		.mac = {0x02, 0x15, 0x5d, 0, 0, last},
		.max_channels = 4,
	};

	memset(guest, 0, sizeof(*guest));
	memcpy(guest->mac, config.mac, 6);
	assert_int_equal(vsp_guest_create(&config, &guest->vsp), 0);
	assert_int_equal(vsp_guest_keep_journal(guest->vsp), 0);
	assert_int_equal(vsp_guest_driver(guest->vsp, &driver, &guest->driver), 0);
	fake_netvsc_on_frame(guest->driver, take_frame, guest);
	assert_int_equal(fake_netvsc_start(guest->driver), 0);
}

static void stop_guest(struct guest *guest)
{
	assert_int_equal(fake_netvsc_stop(guest->driver), 0);
	fake_netvsc_destroy(guest->driver);
	vsp_guest_destroy(guest->vsp);
}

static void assert_sound(const struct guest *guest)
{
	if (fake_netvsc_violation(guest->driver))
		fail_msg("%s", fake_netvsc_violation(guest->driver));
	assert_false(guest->damaged);
}

static uint32_t send_some(const struct guest *from, const struct guest *to, uint32_t first,
			  uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct frame_spec spec = spec_of(from, to, first + i);
		struct fake_tx tx = {.frame = frame, .length = frame_build(&spec, frame)};

		if (fake_netvsc_send(from->driver, i % 4, i % 2 ? FAKE_SECTION : FAKE_MIXED, &tx,
				     1) != 0)
			return i;
	}
	return count;
}

static void drain(struct guest *guest)
{
	const struct fake_netvsc_counts *counts = fake_netvsc_counts(guest->driver);

	if (fake_netvsc_drain(guest->driver, WAIT_MS))
		fail_msg("%llu of %llu packets completed, %s",
			 (unsigned long long)counts->tx_completed,
			 (unsigned long long)counts->tx_sent, fake_netvsc_violation(guest->driver));
	assert_int_equal(counts->tx_completed, counts->tx_sent);
}

/* All sections can be lent at once: none was lost on the way. */
static void assert_all_sections_there(struct guest *from, struct guest *to)
{
	const uint32_t count = fake_netvsc_info(to->driver)->recv_section_count;
	struct deadline deadline = deadline_in_ms(WAIT_MS);
	uint32_t number = 0, before;

	while (fake_netvsc_poll(to->driver, QUIET_MS) >= 0)
		;
	usleep(50000);
	before = to->received;
	fake_netvsc_hold(to->driver, true);
	while (to->received - before < count && !deadline_passed(deadline)) {
		number += send_some(from, to, number, 4);
		fake_netvsc_poll(from->driver, 1);
		fake_netvsc_poll(to->driver, 1);
		assert_sound(to);
	}
	assert_int_equal(to->received - before, count);
	fake_netvsc_hold(to->driver, false);
}

static void recover(struct guest *guest, const struct switch_process *process)
{
	int rc = vsp_guest_recover(guest->vsp, process->socket);

	if (rc)
		fail_msg("not recovered: %s", strerror(-rc));
}

/* ---- tests ---- */

static void guests_keep_their_nics_over_kills_under_load(void **state)
{
	struct switch_process process;
	struct guest a, b;
	uint32_t number = 0;
	unsigned int seed = 1;

	(void)state;
	start_switch(&process);
	start_guest(&a, &process, 1);
	start_guest(&b, &process, 2);
	for (int i = 0; i < KILLS; i++) {
		uint32_t before;

		/* Both ways, until the moment comes. */
		fake_netvsc_hold(b.driver, i % 3 == 0);
		for (int round = rand_r(&seed) % 20; round >= 0; round--) {
			number += send_some(&a, &b, number, 40);
			number += send_some(&b, &a, number, 20);
			fake_netvsc_poll(b.driver, 0);
			fake_netvsc_poll(a.driver, 0);
		}
		for (int spin = rand_r(&seed) % 20000; spin > 0; spin--)
			__asm__ volatile("");
		kill_switch(&process);
		start_switch(&process);
		/* The guests go on all the while. */
		number += send_some(&a, &b, number, 10);
		fake_netvsc_poll(a.driver, 0);
		recover(&a, &process);
		recover(&b, &process);
		fake_netvsc_hold(b.driver, false);
		drain(&a);
		drain(&b);
		assert_sound(&a);
		assert_sound(&b);
		before = b.received;
		/* Frames come again; some may be lost while b has not got its buffers back. */
		for (struct deadline deadline = deadline_in_ms(WAIT_MS);
		     b.received < before + 10;) {
			assert_false(deadline_passed(deadline));
			number += send_some(&a, &b, number, 10);
			drain(&a);
			fake_netvsc_poll(b.driver, 10);
		}
	}
	assert_all_sections_there(&a, &b);
	assert_all_sections_there(&b, &a);
	assert_sound(&a);
	assert_sound(&b);
	stop_guest(&a);
	stop_guest(&b);
	kill_switch(&process);
}

/* Killed before the guest's driver has begun, or before it is through. */
static void journal_without_a_beginning_leaves_a_new_nic(void **state)
{
	struct switch_process process;
	struct vsp_guest_config config = {
		.name = "a/nic0", .mac = {0x02, 0x15, 0x5d, 0, 0, 1}, .max_channels = 4};
	struct fake_netvsc_config driver = {.flavour = FAKE_LINUX, .channels = 4};
	struct vsp_guest *vsp;
	struct fake_netvsc *nv;

	(void)state;
	start_switch(&process);
	config.socket = process.socket;
	assert_int_equal(vsp_guest_create(&config, &vsp), 0);
	assert_int_equal(vsp_guest_keep_journal(vsp), 0);
	kill_switch(&process);
	start_switch(&process);
	assert_int_equal(vsp_guest_recover(vsp, process.socket), -ENODATA);
	assert_int_equal(vsp_guest_resume(vsp, 0), 0);
	assert_int_equal(vsp_guest_driver(vsp, &driver, &nv), 0);
	assert_int_equal(fake_netvsc_start(nv), 0);
	/* And after it has let go again. */
	assert_int_equal(fake_netvsc_stop(nv), 0);
	kill_switch(&process);
	start_switch(&process);
	assert_int_equal(vsp_guest_recover(vsp, process.socket), -ENODATA);
	assert_int_equal(vsp_guest_resume(vsp, 0), 0);
	assert_int_equal(fake_netvsc_start(nv), 0);
	kill_switch(&process);
	start_switch(&process);
	assert_int_equal(vsp_guest_recover(vsp, process.socket), 0);
	assert_int_equal(fake_netvsc_stop(nv), 0);
	assert_null(fake_netvsc_violation(nv));
	fake_netvsc_destroy(nv);
	vsp_guest_destroy(vsp);
	kill_switch(&process);
}

/* netvspd lives, but drops the connection: what it left in the journal is whole all the same. */
static void lost_connection_costs_nothing_either(void **state)
{
	struct switch_process process;
	struct guest a, b;
	uint32_t number = 0;

	(void)state;
	start_switch(&process);
	start_guest(&a, &process, 1);
	start_guest(&b, &process, 2);
	for (int i = 0; i < 20; i++) {
		struct deadline deadline = deadline_in_ms(WAIT_MS);
		int rc;

		number += send_some(&a, &b, number, 60);
		number += send_some(&b, &a, number, 60);
		fake_netvsc_poll(b.driver, 0);
		do { /* until the old vNIC is gone */
			rc = vsp_guest_recover(a.vsp, process.socket);
		} while (rc == -EEXIST && !deadline_passed(deadline));
		assert_int_equal(rc, 0);
		drain(&a);
		drain(&b);
		assert_sound(&a);
		assert_sound(&b);
	}
	assert_all_sections_there(&b, &a);
	stop_guest(&a);
	stop_guest(&b);
	kill_switch(&process);
}

/* Whatever stands in a journal, netvspd takes it or refuses it, and lives. */
static void altered_journals_do_no_harm(void **state)
{
	static uint8_t journal[VSP_JOURNAL_BYTES], altered[VSP_JOURNAL_BYTES];
	struct switch_process process;
	struct guest a, b;
	unsigned int seed = 7, taken = 0, refused = 0;
	uint32_t number;
	int fd;

	(void)state;
	start_switch(&process);
	start_guest(&a, &process, 1);
	start_guest(&b, &process, 2);
	number = send_some(&a, &b, 0, 100);
	send_some(&b, &a, number, 40);
	kill_switch(&process);
	fd = vsp_guest_journal(b.vsp);
	assert_int_equal(pread(fd, journal, sizeof(journal), 0), sizeof(journal));
	start_switch(&process);
	for (int i = 0; i < 120; i++) {
		struct deadline deadline = deadline_in_ms(WAIT_MS);
		int rc;

		memcpy(altered, journal, sizeof(journal));
		/* Most of what matters stands in the beginning, and in the control state. */
		for (int n = rand_r(&seed) % 12; n >= 0; n--) {
			size_t at = i % 3 == 0	 ? (size_t)rand_r(&seed) % 4096
				    : i % 3 == 1 ? (size_t)rand_r(&seed) % 8192 + 3592
						 : (size_t)rand_r(&seed) % sizeof(altered);

			altered[at] = (uint8_t)rand_r(&seed);
		}
		assert_int_equal(pwrite(fd, altered, sizeof(altered), 0), sizeof(altered));
		do {
			rc = vsp_guest_recover(b.vsp, process.socket);
		} while (rc == -EEXIST && !deadline_passed(deadline));
		assert_int_not_equal(rc, -EEXIST);
		taken += rc == 0;
		refused += rc != 0;
	}
	assert_true(taken > 0 && refused > 0);
	/* It still serves. */
	assert_int_equal(pwrite(fd, journal, sizeof(journal), 0), sizeof(journal));
	recover(&a, &process);
	drain(&a);
	assert_sound(&a);
	fake_netvsc_destroy(a.driver);
	fake_netvsc_destroy(b.driver);
	vsp_guest_destroy(a.vsp);
	vsp_guest_destroy(b.vsp);
	kill_switch(&process);
}

static int group_setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	return !mkdtemp(run_folder) || setenv("RUNTIME_DIRECTORY", run_folder, 1) ? -1 : 0;
}

static int group_teardown(void **state)
{
	(void)state;
	return nftw(run_folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guests_keep_their_nics_over_kills_under_load),
		cmocka_unit_test(lost_connection_costs_nothing_either),
		cmocka_unit_test(altered_journals_do_no_harm),
		cmocka_unit_test(journal_without_a_beginning_leaves_a_new_nic),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
