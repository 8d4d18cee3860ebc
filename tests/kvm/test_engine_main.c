/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The KVM engine on a real KVM: VPs that run, rest, are saved, and go on in another partition over
 * the same memory; the dirty log; throttling. Run in a testbed host (tests/e2e/test_engine.py).
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/deadline.h"
#include "hypervisor/cpuid_state.h"
#include "hypervisor/engine_kvm_internal.h"
#include "tests/kvm/machine.h"
#include "vmbus/guest_memory.h"

#define MIB(n)	   (UINT64_C(n) << 20)
#define MEMORY	   MIB(64)
#define PAGES(mib) (MIB(mib) >> GUEST_PAGE_SHIFT)

/* Pages of real-mode programs; each counts in the page after it. */
#define PAGE_COUNTER 0x08
#define PAGE_SLEEPER 0x0a
#define PAGE_LATE    0x0c
#define PAGE_NMI     0x0e

static struct machine machine;

static void resume_new(struct machine *m)
{
	struct vm_error error = {0};

	if (engine_kvm.start(m->partition, NULL, &error))
		fail_msg("start: %s", error.message);
}

static void mail_print(const char *when)
{
	const volatile struct guest_mail *mail = machine.mail;

	printf("%s: loops %llu, ticks %llu, messages %llu, expired %llu, outs %llu, page reads "
	       "%llu, reference %llu\n",
	       when, (unsigned long long)mail->loops, (unsigned long long)mail->ticks,
	       (unsigned long long)mail->messages, (unsigned long long)mail->expired,
	       (unsigned long long)mail->out_next, (unsigned long long)mail->page_reads,
	       (unsigned long long)mail->reference_last);
}

/* What the guest and the ports found. */
static void nothing_wrong(void)
{
	const volatile struct guest_mail *mail = machine.mail;

	assert_false(atomic_load(&machine.exited));
	assert_int_equal(mail->tsc_backwards, 0);
	assert_int_equal(mail->reference_backwards, 0);
	assert_int_equal(mail->sse_wrong, 0);
	assert_int_equal(mail->registers_wrong, 0);
	assert_int_equal(mail->debug_wrong, 0);
	assert_int_equal(mail->in_wrong, 0);
	assert_int_equal(atomic_load(&machine.out_wrong), 0);
}

static int checker_setup(void **state)
{
	(void)state;
	machine_make(&machine, 4, MEMORY, guest_checker, guest_checker_end);
	machine_load(&machine, PAGE_COUNTER, guest_counter, guest_counter_end);
	machine_load(&machine, PAGE_SLEEPER, guest_sleeper, guest_sleeper_end);
	machine_load(&machine, PAGE_LATE, guest_counter, guest_counter_end);
	machine_load(&machine, PAGE_NMI, guest_nmi, guest_nmi_end);
	*machine_counter(&machine, 0) = 0;
	/* real mode's vector 2 */
	assert_int_equal(guest_memory_write(machine.memory, 8, &(uint32_t){PAGE_NMI << 24}, 4), 0);
	machine_start(&machine);
	wait_for(&machine.mail->loops, 1000, 20, "the boot VP runs");
	return 0;
}

static int dirtier_setup(void **state)
{
	(void)state;
	machine_make(&machine, 1, MEMORY, guest_dirtier, guest_dirtier_end);
	machine_start(&machine);
	return 0;
}

static int machine_teardown(void **state)
{
	(void)state;
	machine_end(&machine);
	return 0;
}

/* VP 1 counts, VP 2 is halted, VP 3 has seen INIT and no SIPI. */
static void others_start(void)
{
	machine_send_init(&machine, 1);
	machine_send_sipi(&machine, 1, PAGE_COUNTER);
	machine_send_init(&machine, 2);
	machine_send_sipi(&machine, 2, PAGE_SLEEPER);
	wait_for_u32(machine_counter(&machine, PAGE_COUNTER + 1), 100, 20, "VP 1 counts");
	wait_for_u32(machine_counter(&machine, PAGE_SLEEPER + 1), 1, 20, "VP 2 halts");
	machine_send_init(&machine, 3);
}

static void vps_rest_while_paused(void **state)
{
	uint64_t loops;
	uint32_t counted;
	uint32_t callbacks;

	(void)state;
	others_start();
	assert_int_equal(engine_kvm.pause(machine.partition), 0);
	loops = machine.mail->loops;
	counted = *machine_counter(&machine, PAGE_COUNTER + 1);
	callbacks = atomic_load(&machine.callbacks);
	sleep_ms(100);
	assert_int_equal(machine.mail->loops, loops);
	assert_int_equal(*machine_counter(&machine, PAGE_COUNTER + 1), counted);
	assert_int_equal(atomic_load(&machine.callbacks), callbacks);
	engine_kvm.resume(machine.partition);
	wait_for(&machine.mail->loops, loops + 1000, 20, "the boot VP goes on");
	wait_for_u32(machine_counter(&machine, PAGE_COUNTER + 1), counted + 100, 20,
		     "VP 1 goes on");
	nothing_wrong();
}

static void no_access_is_lost_or_done_twice_by_pauses(void **state)
{
	uint64_t longest = 0;
	uint64_t total = 0;
	uint64_t outs;
	enum { PAUSES = 200 };

	(void)state;
	others_start();
	outs = machine.mail->out_next;
	for (int i = 0; i < PAUSES; i++) {
		uint64_t before = monotonic_ns();
		uint64_t took;

		assert_int_equal(engine_kvm.pause(machine.partition), 0);
		took = monotonic_ns() - before;
		total += took;
		longest = took > longest ? took : longest;
		engine_kvm.resume(machine.partition);
		if (i % 4 == 0)
			sleep_ms(1);
	}
	printf("%d pauses: %llu us on average, %llu at most\n", PAUSES,
	       (unsigned long long)(total / PAUSES / 1000), (unsigned long long)(longest / 1000));
	wait_for(&machine.mail->out_next, outs + 20, 20, "accesses go on");
	nothing_wrong();
}

static void a_paused_partition_can_be_stopped(void **state)
{
	(void)state;
	assert_int_equal(engine_kvm.pause(machine.partition), 0);
	engine_kvm.stop(machine.partition);
	engine_kvm.stop(machine.partition);
}

static void a_restored_partition_goes_on(void **state)
{
	volatile uint32_t *counter = machine_counter(&machine, PAGE_COUNTER + 1);
	volatile uint32_t *sleeper = machine_counter(&machine, PAGE_SLEEPER + 1);
	volatile uint32_t *late = machine_counter(&machine, PAGE_LATE + 1);
	volatile uint32_t *nmis = machine_counter(&machine, PAGE_NMI + 1);
	uint64_t loops;
	uint64_t ticks;
	uint32_t counted;

	(void)state;
	others_start();
	wait_for(&machine.mail->expired, 1, 20, "the one-shot of 10 ms");
	wait_for(&machine.mail->page_reads, 100, 20, "the reference TSC page");
	mail_print("before");
	machine_move(&machine);
	loops = machine.mail->loops;
	ticks = machine.mail->ticks;
	counted = *counter;
	sleep_ms(50);
	assert_int_equal(machine.mail->loops, loops); /* not started yet */
	resume_new(&machine);
	wait_for(&machine.mail->loops, loops + 1000, 20, "the boot VP goes on");
	wait_for(&machine.mail->ticks, ticks + 5, 20, "the periodic timer goes on");
	wait_for_u32(counter, counted + 100, 20, "VP 1 goes on");
	assert_int_equal(*sleeper, 1);
	assert_int_equal(*late, 0);
	machine_send_nmi(&machine, 2); /* wakes it */
	wait_for_u32(sleeper, 2, 20, "the halted VP wakes up");
	wait_for_u32(nmis, 1, 20, "by its NMI");
	machine_send_sipi(&machine, 3, PAGE_LATE); /* its INIT came before the move */
	wait_for_u32(late, 100, 20, "the VP that waited for its SIPI starts");
	mail_print("after");
	nothing_wrong();
}

static void a_timer_set_before_the_move_fires_once_after_it(void **state)
{
	uint64_t reads;

	(void)state;
	wait_for(&machine.mail->expired, 1, 20, "the one-shot of 10 ms");
	machine_move(&machine);
	assert_int_equal(machine.mail->messages, 0); /* due 1.5 s after the start */
	reads = machine.mail->page_reads;
	resume_new(&machine);
	wait_for(&machine.mail->messages, 1, 20, "the one-shot of 1.5 s");
	wait_for(&machine.mail->page_reads, reads + 100, 20, "the reference TSC page is back");
	sleep_ms(200);
	assert_int_equal(machine.mail->messages, 1);
	assert_int_equal(machine.mail->expired, 1);
	mail_print("after");
	nothing_wrong();
}

static void thirty_moves_leave_no_trace(void **state)
{
	(void)state;
	others_start();
	for (int i = 0; i < 30; i++) {
		uint64_t loops = machine.mail->loops;
		uint32_t counted = *machine_counter(&machine, PAGE_COUNTER + 1);

		machine_move(&machine);
		resume_new(&machine);
		wait_for(&machine.mail->loops, loops + 200, 20, "the boot VP goes on");
		wait_for_u32(machine_counter(&machine, PAGE_COUNTER + 1), counted + 10, 20,
			     "VP 1 goes on");
		nothing_wrong();
	}
	wait_for(&machine.mail->messages, 1, 20, "the one-shot of 1.5 s");
	assert_int_equal(*machine_counter(&machine, PAGE_SLEEPER + 1), 1);
	mail_print("after");
}

static void the_source_goes_on_when_a_move_is_given_up(void **state)
{
	struct state_writer writer;
	uint64_t loops;

	(void)state;
	others_start();
	assert_int_equal(engine_kvm.pause(machine.partition), 0);
	machine_save(&machine, &writer);
	state_writer_fini(&writer);
	loops = machine.mail->loops;
	engine_kvm.resume(machine.partition);
	wait_for(&machine.mail->loops, loops + 1000, 20, "the boot VP goes on");
	wait_for(&machine.mail->messages, 1, 20, "the one-shot of 1.5 s");
	nothing_wrong();
}

static void a_pending_nmi_moves(void **state)
{
	volatile uint32_t *nmis = machine_counter(&machine, PAGE_NMI + 1);

	(void)state;
	others_start();
	assert_int_equal(engine_kvm.pause(machine.partition), 0);
	assert_int_equal(kvm_ioctl_value(machine.partition->vps[1].fd, KVM_NMI, 0), 0);
	machine_move(&machine);
	assert_int_equal(*nmis, 0);
	resume_new(&machine);
	wait_for_u32(nmis, 1, 20, "the NMI of before");
	sleep_ms(50);
	assert_int_equal(*nmis, 1);
}

static void state_is_the_same_when_it_is_saved_again(void **state)
{
	struct state_writer first;
	struct state_writer second;
	size_t different = 0;

	(void)state;
	others_start();
	assert_int_equal(engine_kvm.pause(machine.partition), 0);
	machine_save(&machine, &first);
	machine_destroy(&machine);
	machine_create(&machine);
	machine_restore(&machine, &first);
	machine_save(&machine, &second);
	assert_int_equal(first.length, second.length);
	for (size_t i = 0; i < first.length; i++)
		different += first.bytes[i] != second.bytes[i];
	/* clock, TSC and run times go on */
	printf("state of %zu bytes, %zu differ\n", first.length, different);
	assert_true(different < 64);
	state_writer_fini(&first);
	state_writer_fini(&second);
}

static void a_hostile_state_is_refused(void **state)
{
	struct state_writer writer;
	struct state_reader reader;
	struct vm_error error = {0};

	(void)state;
	assert_int_equal(engine_kvm.pause(machine.partition), 0);
	machine_save(&machine, &writer);
	machine_destroy(&machine);
	machine_create(&machine);
	state_reader_init(&reader, writer.bytes, writer.length - 1);
	assert_int_equal(engine_kvm.restore(machine.partition, &reader, &error), -EPROTO);
	assert_int_equal(error.code, EXIT_BAD_STATE);
	/* bits flipped: refused or taken, but never a crash */
	for (size_t i = 0; i < writer.length; i += 97) {
		writer.bytes[i] ^= 0x55;
		state_reader_init(&reader, writer.bytes, writer.length);
		(void)engine_kvm.restore(machine.partition, &reader, &error);
		writer.bytes[i] ^= 0x55;
	}
	state_writer_fini(&writer);
}

/* What was promised here, for a test to change. */
static void promise_read(struct cpuid_state *promise)
{
	struct state_writer writer;
	struct state_reader reader;
	struct state_reader section;

	state_writer_init(&writer);
	assert_int_equal(engine_kvm.save_cpu(machine.partition, &writer), 0);
	state_reader_init(&reader, writer.bytes, writer.length);
	assert_int_equal(state_next(&reader, &section), 1);
	assert_int_equal(cpuid_state_read(&section, promise), 0);
	state_writer_fini(&writer);
}

static int promise_check(const struct cpuid_state *promise, struct vm_error *error)
{
	struct state_writer writer;
	struct state_reader reader;
	struct state_reader section;
	int result;

	*error = (struct vm_error){0};
	state_writer_init(&writer);
	cpuid_state_write(promise, &writer);
	state_reader_init(&reader, writer.bytes, writer.length);
	assert_int_equal(state_next(&reader, &section), 1);
	result = engine_kvm.check_cpu(&section, error);
	state_writer_fini(&writer);
	printf("%d %s\n", result, error->message);
	return result;
}

static struct cpuid_state promise;

static void this_host_can_keep_its_own_promise(void **state)
{
	struct vm_error error;

	(void)state;
	promise_read(&promise);
	assert_int_equal(promise_check(&promise, &error), 0);
	promise.tsc_khz += promise.tsc_khz / 10000; /* 100 ppm */
	assert_int_equal(promise_check(&promise, &error), 0);
}

static void a_promise_that_this_host_cannot_keep_is_named(void **state)
{
	struct vm_error error;
	struct cpuid_leaf *leaf;

	(void)state;
	promise_read(&promise);
	leaf = cpuid_find(&promise.table, 1, 0);
	leaf->ecx |= 1u << 16; /* a bit that no processor has */
	assert_int_equal(promise_check(&promise, &error), -EOPNOTSUPP);
	assert_non_null(strstr(error.message, "leaf 0x1 ecx bit 16"));
	promise_read(&promise);
	promise.vp_count = 100000;
	assert_int_equal(promise_check(&promise, &error), -EOPNOTSUPP);
	if (kvm_has(machine.partition->kvm_fd, KVM_CAP_TSC_CONTROL))
		return;
	promise_read(&promise);
	promise.tsc_khz += promise.tsc_khz / 1000; /* 1000 ppm */
	assert_int_equal(promise_check(&promise, &error), -EOPNOTSUPP);
	assert_non_null(strstr(error.message, "kHz"));
}

/* The row of sections begins with the promise: 12 bytes, the number of VPs, the frequency. */
#define TSC_KHZ_OFFSET 16

static void a_guest_of_a_slightly_faster_tsc_goes_on(void **state)
{
	struct state_writer writer;
	uint32_t khz;
	uint64_t reads;

	(void)state;
	assert_int_equal(engine_kvm.pause(machine.partition), 0);
	machine_save(&machine, &writer);
	memcpy(&khz, writer.bytes + TSC_KHZ_OFFSET, sizeof(khz));
	assert_int_equal(khz, kvm_ioctl_value(machine.partition->vps[0].fd, KVM_GET_TSC_KHZ, 0));
	khz += khz / 10000; /* 100 ppm */
	memcpy(writer.bytes + TSC_KHZ_OFFSET, &khz, sizeof(khz));
	machine_destroy(&machine);
	machine_create(&machine);
	machine_restore(&machine, &writer);
	state_writer_fini(&writer);
	assert_int_equal(khz, kvm_ioctl_value(machine.partition->vps[0].fd, KVM_GET_TSC_KHZ, 0));
	reads = machine.mail->page_reads;
	resume_new(&machine);
	wait_for(&machine.mail->page_reads, reads + 100, 20, "the reference TSC page is back");
	nothing_wrong();
}

/* ---- dirty log ---- */

static uint64_t log_words[PAGES(256) / 64];

/* How many pages are in the log, but for the mail page, which is written all the time, and page
 * tables: a processor that walks them
 * writes to them, in KVM's eyes. */
static size_t log_fetch(void)
{
	size_t words = machine.memory_bytes >> GUEST_PAGE_SHIFT >> 6;
	size_t count = 0;

	memset(log_words, 0, sizeof(log_words));
	assert_int_equal(engine_kvm.dirty_fetch(machine.partition, 0, log_words, words), 0);
	log_words[0] &= ~(MACHINE_TABLE_PAGES | UINT64_C(1) << (GUEST_MAIL_GPA >> 12));
	for (size_t i = 0; i < words; i++)
		count += (size_t)__builtin_popcountll(log_words[i]);
	return count;
}

static bool log_has(uint64_t page)
{
	return log_words[page / 64] >> page % 64 & 1;
}

/* Has the guest write these pages. */
static void pages_write(uint64_t first, uint64_t step, uint64_t count)
{
	uint64_t *list = guest_memory_for_write(machine.memory, GUEST_LIST_GPA, count * 8);
	struct deadline deadline = deadline_in_ms(20000);

	assert_non_null(list);
	for (uint64_t i = 0; i < count; i++)
		list[i] = first + i * step;
	atomic_thread_fence(memory_order_seq_cst);
	machine.mail->list_count = count;
	while (machine.mail->list_count && !deadline_passed(deadline))
		sleep_ms(1);
	assert_int_equal(machine.mail->list_count, 0);
}

static void the_log_has_the_pages_that_vps_write_and_no_others(void **state)
{
	enum { FIRST = 0x400, STEP = 7, COUNT = 300 };

	(void)state;
	pages_write(FIRST, 1, (uint64_t)COUNT * STEP); /* before: not in the log */
	assert_int_equal(engine_kvm.dirty_start(machine.partition), 0);
	assert_int_equal(log_fetch(), 0);
	for (int round = 0; round < 3; round++) {
		pages_write(FIRST + (uint64_t)round, STEP, COUNT);
		assert_int_equal(log_fetch(), COUNT);
		for (uint64_t i = 0; i < COUNT; i++)
			assert_true(log_has(FIRST + (uint64_t)round + i * STEP));
		assert_int_equal(log_fetch(), 0);
	}
	pages_write(FIRST, STEP, COUNT);
	assert_int_equal(engine_kvm.pause(machine.partition), 0);
	assert_int_equal(log_fetch(), COUNT); /* of a paused one: told, and again */
	engine_kvm.resume(machine.partition);
	pages_write(FIRST + 1, STEP, COUNT);
	assert_in_range(log_fetch(), COUNT, 2 * COUNT);
	assert_true(log_has(FIRST + 1));
	assert_int_equal(log_fetch(), 0);
	engine_kvm.dirty_stop(machine.partition);
	pages_write(FIRST, STEP, COUNT);
	assert_int_equal(engine_kvm.dirty_fetch(machine.partition, 0, log_words, PAGES(64) / 64),
			 -EINVAL);
	assert_int_equal(engine_kvm.dirty_start(machine.partition), 0);
	assert_int_equal(log_fetch(), 0); /* starts empty again */
}

static void the_log_refuses_what_does_not_fit(void **state)
{
	(void)state;
	assert_int_equal(engine_kvm.dirty_start(machine.partition), 0);
	assert_int_equal(
		engine_kvm.dirty_fetch(machine.partition, 0, log_words, PAGES(64) / 64 - 1),
		-EINVAL);
	assert_int_equal(engine_kvm.dirty_fetch(machine.partition, 1, log_words, PAGES(64) / 64),
			 -EINVAL);
}

/* The longest time that the guest did not get on, seen from another thread. */
struct stall {
	pthread_t thread;
	_Atomic bool end;
	uint64_t longest_ns;
};

static void *stall_watch(void *argument)
{
	struct stall *stall = argument;
	uint64_t loops = machine.mail->loops;
	uint64_t since = monotonic_ns();

	while (!atomic_load(&stall->end)) {
		uint64_t now = monotonic_ns();

		if (machine.mail->loops == loops) {
			stall->longest_ns =
				now - since > stall->longest_ns ? now - since : stall->longest_ns;
			continue;
		}
		loops = machine.mail->loops;
		since = now;
	}
	return NULL;
}

static void stall_begin(struct stall *stall)
{
	*stall = (struct stall){0};
	assert_int_equal(pthread_create(&stall->thread, NULL, stall_watch, stall), 0);
}

static uint64_t stall_end_us(struct stall *stall)
{
	atomic_store(&stall->end, true);
	pthread_join(stall->thread, NULL);
	return stall->longest_ns / 1000;
}

static int big_dirtier_setup(void **state)
{
	(void)state;
	machine_make(&machine, 1, MIB(256), guest_dirtier, guest_dirtier_end);
	machine_start(&machine);
	return 0;
}

/* Figures, and that the guest goes on meanwhile. */
static void the_log_leaves_the_guest_running(void **state)
{
	const uint64_t pages = PAGES(256) - 0x400;
	struct stall stall;
	uint64_t start;
	size_t found;

	(void)state;
	for (uint64_t first = 0x400; first < PAGES(256); first += PAGES(64))
		pages_write(first, 1,
			    first + PAGES(64) < PAGES(256) ? PAGES(64) : PAGES(256) - first);
	stall_begin(&stall);
	start = monotonic_ns();
	assert_int_equal(engine_kvm.dirty_start(machine.partition), 0);
	start = monotonic_ns() - start;
	printf("dirty_start of %llu pages: %llu us, the guest stood still for up to %llu us\n",
	       (unsigned long long)pages, (unsigned long long)(start / 1000),
	       (unsigned long long)stall_end_us(&stall));
	for (int round = 0; round < 3; round++) {
		for (uint64_t first = 0x400; first < PAGES(256) && round < 2; first += PAGES(64))
			pages_write(first, 1,
				    first + PAGES(64) < PAGES(256) ? PAGES(64)
								   : PAGES(256) - first);
		stall_begin(&stall);
		start = monotonic_ns();
		found = log_fetch();
		start = monotonic_ns() - start;
		printf("fetch of %zu dirty pages: %llu us, the guest stood still for up to %llu "
		       "us\n",
		       found, (unsigned long long)(start / 1000),
		       (unsigned long long)stall_end_us(&stall));
		assert_int_equal(found, round < 2 ? pages : 0);
	}
}

/* ---- throttle ---- */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	assert_int_equal(clock_gettime(clock, &now), 0);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

/* The share of ms that the boot VP's thread had a processor, in percent. */
static uint64_t share_of(uint32_t ms)
{
	uint64_t start = monotonic_ns();
	uint64_t loops = machine.mail->loops;
	clockid_t clock;
	uint64_t used;
	uint64_t share;

	assert_int_equal(pthread_getcpuclockid(machine.partition->vps[0].thread, &clock), 0);
	used = clock_ns(clock);
	sleep_ms(ms);
	share = (clock_ns(clock) - used) * 100 / (monotonic_ns() - start);
	printf("%llu %% of the time, %llu loops a second\n", (unsigned long long)share,
	       (unsigned long long)((machine.mail->loops - loops) * 1000000 /
				    ((monotonic_ns() - start) / 1000)));
	assert_true(machine.mail->loops > loops);
	return share;
}

static void a_throttled_vp_runs_its_share(void **state)
{
	uint64_t slow;

	(void)state;
	assert_true(share_of(1000) > 70);
	engine_kvm.throttle(machine.partition, 80);
	sleep_ms(100);
	slow = share_of(2000);
	assert_in_range(slow, 5, 24);
	engine_kvm.throttle(machine.partition, 40);
	sleep_ms(100);
	slow = share_of(1000);
	assert_in_range(slow, 30, 66);
	engine_kvm.throttle(machine.partition, 99);
	sleep_ms(100);
	engine_kvm.throttle(machine.partition, 0); /* it sleeps for a second now, or would */
	assert_true(share_of(1000) > 70);
	nothing_wrong();
}

static void a_throttled_vp_pauses_at_once(void **state)
{
	uint64_t start;

	(void)state;
	engine_kvm.throttle(machine.partition, 99);
	sleep_ms(200);
	start = monotonic_ns();
	assert_int_equal(engine_kvm.pause(machine.partition), 0);
	printf("paused in %llu us\n", (unsigned long long)((monotonic_ns() - start) / 1000));
	assert_true(monotonic_ns() - start < 300 * NS_PER_MS);
	machine_move(&machine);
	resume_new(&machine);
	assert_true(share_of(1000) > 70); /* nobody throttled the new one */
	nothing_wrong();
}

#define CHECKER_TEST(name) cmocka_unit_test_setup_teardown(name, checker_setup, machine_teardown)
#define DIRTIER_TEST(name) cmocka_unit_test_setup_teardown(name, dirtier_setup, machine_teardown)

/* test-engine [NAME]: all tests, or one. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CHECKER_TEST(vps_rest_while_paused),
		CHECKER_TEST(no_access_is_lost_or_done_twice_by_pauses),
		CHECKER_TEST(a_paused_partition_can_be_stopped),
		CHECKER_TEST(a_restored_partition_goes_on),
		CHECKER_TEST(a_timer_set_before_the_move_fires_once_after_it),
		CHECKER_TEST(thirty_moves_leave_no_trace),
		CHECKER_TEST(the_source_goes_on_when_a_move_is_given_up),
		CHECKER_TEST(a_pending_nmi_moves),
		CHECKER_TEST(state_is_the_same_when_it_is_saved_again),
		CHECKER_TEST(a_hostile_state_is_refused),
		CHECKER_TEST(this_host_can_keep_its_own_promise),
		CHECKER_TEST(a_promise_that_this_host_cannot_keep_is_named),
		CHECKER_TEST(a_guest_of_a_slightly_faster_tsc_goes_on),
		DIRTIER_TEST(the_log_has_the_pages_that_vps_write_and_no_others),
		DIRTIER_TEST(the_log_refuses_what_does_not_fit),
		cmocka_unit_test_setup_teardown(the_log_leaves_the_guest_running, big_dirtier_setup,
						machine_teardown),
		CHECKER_TEST(a_throttled_vp_runs_its_share),
		CHECKER_TEST(a_throttled_vp_pauses_at_once),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
