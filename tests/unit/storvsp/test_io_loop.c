/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The worker's loop against the kernel: files, pipes, posts from other threads, full rings.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/deadline.h"
#include "storvsp/io_loop.h"

#define CHAINS	   600 /* far more than the ring holds */
#define POSTS	   20000
#define THREADS	   3
#define MAX_ROUNDS 100000

struct counted_op {
	struct io_op op; /* first */
	int calls;
	int32_t result;
};

static void count_done(struct io_op *op, int32_t result)
{
	struct counted_op *counted = (struct counted_op *)op;

	counted->calls++;
	counted->result = result;
}

static struct counted_op counted(void)
{
	return (struct counted_op){.op.done = count_done};
}

static void run_until_done(struct io_loop *loop, const struct counted_op *op)
{
	struct deadline deadline = deadline_in_ms(20000);

	while (op->calls == 0 && !deadline_passed(deadline))
		assert_true(io_loop_run(loop, 1000) >= 0);
	assert_int_equal(op->calls, 1);
}

static int make_file(void)
{
	char path[] = "/tmp/io_loop_XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(path);
	return fd;
}

static int setup(void **state)
{
	struct io_loop *loop;

	assert_int_equal(io_loop_create(8, &loop), 0);
	*state = loop;
	return 0;
}

static int teardown(void **state)
{
	io_loop_destroy(*state);
	return 0;
}

static void loop_reads_what_it_wrote(void **state)
{
	struct io_loop *loop = *state;
	struct counted_op w = counted(), r = counted(), s = counted();
	char text[] = "abcdef", a[4], b[8];
	struct iovec out[] = {{text, 2}, {text + 2, 4}};
	struct iovec in[] = {{a, sizeof(a)}, {b, sizeof(b)}};
	char got[7] = {0};
	int fd = make_file();

	io_loop_writev(loop, &w.op, fd, out, 2, 10, true);
	run_until_done(loop, &w);
	assert_int_equal(w.result, 6);
	assert_int_equal(pread(fd, got, 6, 10), 6);
	assert_string_equal(got, text);
	io_loop_sync(loop, &s.op, fd);
	run_until_done(loop, &s);
	assert_int_equal(s.result, 0);
	io_loop_readv(loop, &r.op, fd, in, 2, 10);
	run_until_done(loop, &r);
	assert_int_equal(r.result, 6); /* short: the file ends */
	assert_memory_equal(a, "abcd", 4);
	assert_memory_equal(b, "ef", 2);
	close(fd);
}

static void loop_tells_errors_as_negative_errno(void **state)
{
	struct io_loop *loop = *state;
	struct counted_op w = counted(), full = counted();
	char byte = 0;
	struct iovec iov = {&byte, 1};
	int fd = open("/dev/full", O_RDWR | O_CLOEXEC);

	io_loop_writev(loop, &w.op, -1, &iov, 1, 0, false);
	io_loop_writev(loop, &full.op, fd, &iov, 1, 0, false);
	run_until_done(loop, &w);
	run_until_done(loop, &full);
	assert_int_equal(w.result, -EBADF);
	assert_int_equal(full.result, -ENOSPC);
	close(fd);
}

static void loop_allocates_and_punches(void **state)
{
	struct io_loop *loop = *state;
	struct counted_op a = counted(), p = counted();
	struct stat before, after;
	int fd = make_file();

	io_loop_fallocate(loop, &a.op, fd, 0, 0, 1 << 20);
	run_until_done(loop, &a);
	assert_int_equal(a.result, 0);
	assert_int_equal(fstat(fd, &before), 0);
	assert_int_equal(before.st_size, 1 << 20);
	io_loop_fallocate(loop, &p.op, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 19);
	run_until_done(loop, &p);
	assert_int_equal(p.result, 0);
	assert_int_equal(fstat(fd, &after), 0);
	assert_int_equal(after.st_size, 1 << 20);
	assert_true(after.st_blocks < before.st_blocks);
	close(fd);
}

/* Eight entries and 600 operations at once: what has no room waits, and each ends once. */
static void loop_queues_what_the_ring_cannot_hold(void **state)
{
	struct io_loop *loop = *state;
	static struct counted_op ops[CHAINS];
	static uint32_t values[CHAINS], got[CHAINS];
	static struct iovec iov[CHAINS];
	int fd = make_file(), done = 0;

	for (uint32_t i = 0; i < CHAINS; i++) {
		ops[i] = counted();
		values[i] = i * 2654435761u;
		iov[i] = (struct iovec){&values[i], sizeof(values[i])};
		io_loop_writev(loop, &ops[i].op, fd, &iov[i], 1, i * sizeof(values[i]), false);
	}
	for (int round = 0; done < CHAINS && round < MAX_ROUNDS; round++) {
		int made = io_loop_run(loop, 1000);
		assert_true(made >= 0);
		done += made;
	}
	for (uint32_t i = 0; i < CHAINS; i++) {
		assert_int_equal(ops[i].calls, 1);
		assert_int_equal(ops[i].result, sizeof(values[i]));
	}
	assert_int_equal(pread(fd, got, sizeof(got), 0), sizeof(got));
	assert_memory_equal(got, values, sizeof(got));
	close(fd);
}

static void poll_tells_that_a_pipe_can_be_read(void **state)
{
	struct io_loop *loop = *state;
	struct counted_op p = counted();
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	io_loop_poll(loop, &p.op, pipes[0], POLLIN);
	assert_int_equal(io_loop_run(loop, 0), 0);
	assert_int_equal(p.calls, 0);
	assert_int_equal(write(pipes[1], "x", 1), 1);
	run_until_done(loop, &p);
	assert_int_equal(p.result & POLLIN, POLLIN);
	close(pipes[0]);
	close(pipes[1]);
}

/* A worker that polls for a while after work: completions show without a sleep. */
static void looking_without_waiting_sees_completions(void **state)
{
	struct io_loop *loop = *state;
	struct counted_op p = counted(), s = counted();
	struct deadline deadline = deadline_in_ms(20000);
	int pipes[2], fd = make_file();

	assert_int_equal(pipe(pipes), 0);
	io_loop_poll(loop, &p.op, pipes[0], POLLIN);
	io_loop_sync(loop, &s.op, fd);
	assert_true(io_loop_run(loop, 0) >= 0);
	assert_int_equal(write(pipes[1], "x", 1), 1);
	while ((p.calls == 0 || s.calls == 0) && !deadline_passed(deadline))
		assert_true(io_loop_run(loop, 0) >= 0);
	assert_int_equal(p.calls, 1);
	assert_int_equal(s.calls, 1);
	close(pipes[0]);
	close(pipes[1]);
	close(fd);
}

static void cancelled_poll_ends_once(void **state)
{
	struct io_loop *loop = *state;
	struct counted_op handed_in = counted(), fresh = counted();
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	io_loop_poll(loop, &handed_in.op, pipes[0], POLLIN);
	io_loop_run(loop, 0);
	io_loop_poll(loop, &fresh.op, pipes[0], POLLIN); /* cancelled before the kernel sees it */
	io_loop_poll_cancel(loop, &fresh.op);
	io_loop_poll_cancel(loop, &handed_in.op);
	io_loop_poll_cancel(loop, &handed_in.op); /* twice is once */
	run_until_done(loop, &handed_in);
	run_until_done(loop, &fresh);
	assert_int_equal(handed_in.result, -ECANCELED);
	assert_int_equal(fresh.result, -ECANCELED);
	io_loop_run(loop, 10);
	assert_int_equal(handed_in.calls, 1);
	close(pipes[0]);
	close(pipes[1]);
}

static void polls_beyond_the_ring_can_all_be_cancelled(void **state)
{
	struct io_loop *loop = *state;
	static struct counted_op ops[CHAINS];
	int pipes[2], done = 0;

	assert_int_equal(pipe(pipes), 0);
	for (int i = 0; i < CHAINS; i++) {
		ops[i] = counted();
		io_loop_poll(loop, &ops[i].op, pipes[0], POLLIN);
	}
	io_loop_run(loop, 0);
	for (int i = 0; i < CHAINS; i++)
		io_loop_poll_cancel(loop, &ops[i].op);
	for (int round = 0; done < CHAINS && round < MAX_ROUNDS; round++) {
		int made = io_loop_run(loop, 1000);
		assert_true(made > 0);
		done += made;
	}
	for (int i = 0; i < CHAINS; i++) {
		assert_int_equal(ops[i].calls, 1);
		assert_int_equal(ops[i].result, -ECANCELED);
	}
	close(pipes[0]);
	close(pipes[1]);
}

static void run_ends_when_its_time_is_over(void **state)
{
	struct io_loop *loop = *state;
	uint64_t start = monotonic_ns();

	assert_int_equal(io_loop_run(loop, 0), 0);
	assert_int_equal(io_loop_run(loop, 30), 0);
	assert_true(monotonic_ns() - start >= 25 * NS_PER_MS);
}

struct counting_post {
	struct io_post post; /* first */
	struct poster *poster;
	uint32_t number;
};

struct poster {
	struct io_loop *loop;
	pthread_t thread;
	struct counting_post posts[POSTS];
	uint32_t next; /* the loop's thread */
	bool out_of_order;
};

static void take_post(struct io_post *post)
{
	struct counting_post *p = (struct counting_post *)post;

	if (p->number != p->poster->next)
		p->poster->out_of_order = true;
	p->poster->next++;
}

static void *post_all(void *arg)
{
	struct poster *poster = arg;

	for (uint32_t i = 0; i < POSTS; i++) {
		poster->posts[i] = (struct counting_post){{.fn = take_post}, poster, i};
		io_loop_post(poster->loop, &poster->posts[i].post);
		if (i % 1000 == 0)
			usleep(200); /* lets the loop fall asleep */
	}
	return NULL;
}

static void posts_of_many_threads_all_arrive_in_order(void **state)
{
	struct io_loop *loop = *state;
	struct poster *posters = calloc(THREADS, sizeof(*posters));
	struct deadline deadline = deadline_in_ms(60000);
	uint32_t total = 0;

	assert_non_null(posters);
	for (int i = 0; i < THREADS; i++) {
		posters[i].loop = loop;
		assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]),
				 0);
	}
	while (total < THREADS * POSTS && !deadline_passed(deadline)) {
		/* For ever: a lost wake-up would hang here, so a time-out finds it. */
		int made = io_loop_run(loop, 20000);
		assert_true(made > 0);
		total += (uint32_t)made;
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(posters[i].thread, NULL);
		assert_int_equal(posters[i].next, POSTS);
		assert_false(posters[i].out_of_order);
	}
	free(posters);
}

struct chain {
	struct io_post post; /* first */
	struct io_loop *loop;
	int left;
};

static void post_again(struct io_post *post)
{
	struct chain *chain = (struct chain *)post;

	if (--chain->left > 0)
		io_loop_post(chain->loop, post);
}

static void post_may_post_itself_again(void **state)
{
	struct chain chain = {{.fn = post_again}, *state, 50};

	io_loop_post(*state, &chain.post);
	for (int i = 0; chain.left > 0 && i < 1000; i++)
		assert_true(io_loop_run(*state, 1000) > 0);
	assert_int_equal(chain.left, 0);
}

struct rewriter {
	struct io_op op; /* first */
	struct io_loop *loop;
	int fd, left;
	struct iovec iov;
	int32_t worst;
};

static void write_again(struct io_op *op, int32_t result)
{
	struct rewriter *w = (struct rewriter *)op;

	if (result < w->worst)
		w->worst = result;
	if (--w->left > 0)
		io_loop_writev(w->loop, op, w->fd, &w->iov, 1, (uint64_t)w->left, false);
}

static void op_may_be_used_again_from_its_done(void **state)
{
	char byte = 'x';
	struct rewriter w = {.op.done = write_again,
			     .loop = *state,
			     .fd = make_file(),
			     .left = 100,
			     .iov = {&byte, 1},
			     .worst = 1};

	io_loop_writev(w.loop, &w.op, w.fd, &w.iov, 1, 100, false);
	for (int i = 0; w.left > 0 && i < 1000; i++)
		assert_true(io_loop_run(w.loop, 1000) >= 0);
	assert_int_equal(w.left, 0);
	assert_int_equal(w.worst, 1);
	close(w.fd);
}

static void *run_once(void *arg)
{
	return (void *)(intptr_t)io_loop_run(arg, 20000);
}

/* A worker makes its loop on the main thread and runs it on its own. */
static void loop_made_on_one_thread_runs_on_another(void **state)
{
	struct io_loop *loop = *state;
	struct chain chain = {{.fn = post_again}, loop, 1};
	pthread_t thread;
	void *made;

	assert_int_equal(pthread_create(&thread, NULL, run_once, loop), 0);
	usleep(2000);
	io_loop_post(loop, &chain.post);
	assert_int_equal(pthread_join(thread, &made), 0);
	assert_int_equal((intptr_t)made, 1);
	assert_int_equal(chain.left, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(loop_reads_what_it_wrote, setup, teardown),
		cmocka_unit_test_setup_teardown(loop_tells_errors_as_negative_errno, setup,
						teardown),
		cmocka_unit_test_setup_teardown(loop_allocates_and_punches, setup, teardown),
		cmocka_unit_test_setup_teardown(loop_queues_what_the_ring_cannot_hold, setup,
						teardown),
		cmocka_unit_test_setup_teardown(poll_tells_that_a_pipe_can_be_read, setup,
						teardown),
		cmocka_unit_test_setup_teardown(looking_without_waiting_sees_completions, setup,
						teardown),
		cmocka_unit_test_setup_teardown(cancelled_poll_ends_once, setup, teardown),
		cmocka_unit_test_setup_teardown(polls_beyond_the_ring_can_all_be_cancelled, setup,
						teardown),
		cmocka_unit_test_setup_teardown(run_ends_when_its_time_is_over, setup, teardown),
		cmocka_unit_test_setup_teardown(posts_of_many_threads_all_arrive_in_order, setup,
						teardown),
		cmocka_unit_test_setup_teardown(post_may_post_itself_again, setup, teardown),
		cmocka_unit_test_setup_teardown(op_may_be_used_again_from_its_done, setup,
						teardown),
		cmocka_unit_test_setup_teardown(loop_made_on_one_thread_runs_on_another, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
