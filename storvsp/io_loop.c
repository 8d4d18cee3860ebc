/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loop on liburing. An operation is prepared at once where the ring has room; else it waits in
 * the backlog. There are never more operations in flight than half the completion ring: the other
 * half is for the cancellations, so that it cannot overflow.
 *
 * Posts come through a lock-free stack. The poster writes to an eventfd only where the loop sleeps;
 * the loop says so before it looks at the stack a last time.
 */
#include "storvsp/io_loop.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/deadline.h"

#define LOG_COMPONENT "io"
#include "base/log.h"

#define MIN_ENTRIES 8u
#define MAX_ENTRIES 4096u
/* Completions for each submission entry. */
#define CQ_FACTOR 4u
/* A share that hangs keeps a kernel worker a request: others must find one still. */
#define KERNEL_WORKERS 256u
#define BATCH	       64u

enum op_kind {
	OP_READV = 1,
	OP_WRITEV,
	OP_SYNC,
	OP_FALLOCATE,
	OP_POLL,
};

struct op_list {
	struct io_op *first, **end;
};

struct io_loop {
	struct io_uring ring;
	uint32_t in_flight, in_flight_max;
	struct op_list backlog;	  /* for which the ring had no room */
	struct op_list cancelled; /* polls that never reached the ring */
	struct op_list to_cancel; /* polls in the ring, which had no room for the cancellation */
	_Atomic(struct io_post *) posts; /* the last one first */
	_Atomic bool sleeps;		 /* who clears it wakes the loop */
	_Atomic uint32_t posting;	 /* threads in io_loop_post() */
	int wake_fd;
	struct io_op wake_op;
};

static void list_init(struct op_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_add(struct op_list *list, struct io_op *op)
{
	op->next = NULL;
	*list->end = op;
	list->end = &op->next;
}

static struct io_op *list_take(struct op_list *list)
{
	struct io_op *op = list->first;

	if (op != NULL) {
		list->first = op->next;
		if (list->first == NULL)
			list->end = &list->first;
	}
	return op;
}

static bool list_remove(struct op_list *list, struct io_op *wanted)
{
	for (struct io_op **link = &list->first; *link != NULL; link = &(*link)->next) {
		if (*link != wanted)
			continue;
		*link = wanted->next;
		if (list->end == &wanted->next)
			list->end = link;
		return true;
	}
	return false;
}

/* A free entry; where the submission ring is full it is handed in first. NULL: the kernel takes
 * none now. */
static struct io_uring_sqe *get_sqe(struct io_loop *loop)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);

	if (sqe == NULL && io_uring_submit(&loop->ring) > 0)
		sqe = io_uring_get_sqe(&loop->ring);
	return sqe;
}

static void prepare(struct io_uring_sqe *sqe, struct io_op *op)
{
	switch ((enum op_kind)op->kind) {
	case OP_READV:
		io_uring_prep_readv(sqe, op->fd, op->argument, (unsigned int)op->length,
				    op->offset);
		break;
	case OP_WRITEV:
		io_uring_prep_writev2(sqe, op->fd, op->argument, (unsigned int)op->length,
				      op->offset, (int)op->flags);
		break;
	case OP_SYNC:
		io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
		break;
	case OP_FALLOCATE:
		/* liburing 2.3 declares offset and length as off_t */
		io_uring_prep_fallocate(sqe, op->fd, (int)op->flags, (off_t)op->offset,
					(off_t)op->length);
		break;
	case OP_POLL:
		io_uring_prep_poll_add(sqe, op->fd, op->flags);
		break;
	}
	io_uring_sqe_set_data(sqe, op);
}

static bool try_prepare(struct io_loop *loop, struct io_op *op)
{
	struct io_uring_sqe *sqe;

	if (loop->in_flight >= loop->in_flight_max)
		return false;
	sqe = get_sqe(loop);
	if (sqe == NULL)
		return false;
	prepare(sqe, op);
	loop->in_flight++;
	return true;
}

/* In order: nothing overtakes what waits. */
static void start(struct io_loop *loop, struct io_op *op)
{
	if (loop->backlog.first != NULL || !try_prepare(loop, op))
		list_add(&loop->backlog, op);
}

static bool try_cancel(struct io_loop *loop, const struct io_op *op)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (sqe == NULL)
		return false;
	io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)op, 0);
	io_uring_sqe_set_data(sqe, NULL);
	return true;
}

static void start_backlog(struct io_loop *loop)
{
	while (loop->to_cancel.first != NULL && try_cancel(loop, loop->to_cancel.first))
		list_take(&loop->to_cancel);
	while (loop->backlog.first != NULL && try_prepare(loop, loop->backlog.first))
		list_take(&loop->backlog);
}

void io_loop_readv(struct io_loop *loop, struct io_op *op, int fd, const struct iovec *iov,
		   uint32_t iov_count, uint64_t offset)
{
	op->kind = OP_READV;
	op->fd = fd;
	op->flags = 0;
	op->argument = iov;
	op->length = iov_count;
	op->offset = offset;
	start(loop, op);
}

void io_loop_writev(struct io_loop *loop, struct io_op *op, int fd, const struct iovec *iov,
		    uint32_t iov_count, uint64_t offset, bool dsync)
{
	op->kind = OP_WRITEV;
	op->fd = fd;
	op->flags = dsync ? (uint32_t)RWF_DSYNC : 0;
	op->argument = iov;
	op->length = iov_count;
	op->offset = offset;
	start(loop, op);
}

void io_loop_sync(struct io_loop *loop, struct io_op *op, int fd)
{
	op->kind = OP_SYNC;
	op->fd = fd;
	start(loop, op);
}

void io_loop_fallocate(struct io_loop *loop, struct io_op *op, int fd, int mode, uint64_t offset,
		       uint64_t length)
{
	op->kind = OP_FALLOCATE;
	op->fd = fd;
	op->flags = (uint32_t)mode;
	op->offset = offset;
	op->length = length;
	start(loop, op);
}

void io_loop_poll(struct io_loop *loop, struct io_op *op, int fd, uint32_t events)
{
	op->kind = OP_POLL;
	op->fd = fd;
	op->flags = events;
	op->argument = NULL; /* set once it is cancelled */
	start(loop, op);
}

void io_loop_poll_cancel(struct io_loop *loop, struct io_op *op)
{
	if (op->argument != NULL)
		return;
	op->argument = op;
	if (list_remove(&loop->backlog, op))
		list_add(&loop->cancelled, op);
	else if (!try_cancel(loop, op))
		list_add(&loop->to_cancel, op);
}

void io_loop_post(struct io_loop *loop, struct io_post *post)
{
	struct io_post *head = atomic_load_explicit(&loop->posts, memory_order_relaxed);
	uint64_t one = 1;

	/* Before the post can be seen: what it calls may be the end of the loop. */
	atomic_fetch_add(&loop->posting, 1);
	do {
		post->next = head;
	} while (!atomic_compare_exchange_weak(&loop->posts, &head, post));
	/* Both are sequentially consistent, as their partners in prepare_to_sleep() are: either we
	 * see that it sleeps or it sees the post. */
	if (atomic_exchange(&loop->sleeps, false)) {
		while (write(loop->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
			;
	}
	atomic_fetch_sub(&loop->posting, 1);
}

static int run_posts(struct io_loop *loop)
{
	struct io_post *post, *next, *oldest = NULL;
	int count = 0;

	if (atomic_load_explicit(&loop->posts, memory_order_relaxed) == NULL)
		return 0;
	post = atomic_exchange(&loop->posts, NULL);
	for (; post != NULL; post = next) {
		next = post->next;
		post->next = oldest;
		oldest = post;
	}
	for (post = oldest; post != NULL; post = next) {
		next = post->next;
		post->fn(post);
		count++;
	}
	return count;
}

/* The wake-up's poll stays armed; what was written is taken when it fires. */
static void on_wake(struct io_op *op, int32_t result)
{
	struct io_loop *loop = (struct io_loop *)((char *)op - offsetof(struct io_loop, wake_op));
	uint64_t count;

	if (result >= 0 && read(loop->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_error_limited("eventfd: %m");
	io_loop_poll(loop, op, loop->wake_fd, POLLIN);
}

static int run_completions(struct io_loop *loop)
{
	struct io_uring_cqe *cqes[BATCH];
	unsigned int found = io_uring_peek_batch_cqe(&loop->ring, cqes, BATCH);
	struct {
		struct io_op *op;
		int32_t result;
	} done[BATCH];
	int count = 0;

	for (unsigned int i = 0; i < found; i++) {
		done[i].op = io_uring_cqe_get_data(cqes[i]);
		done[i].result = cqes[i]->res;
	}
	io_uring_cq_advance(&loop->ring, found);
	for (unsigned int i = 0; i < found; i++) {
		if (done[i].op == NULL)
			continue; /* a cancellation */
		loop->in_flight--;
		if (done[i].op->kind == OP_POLL && done[i].op->argument != NULL)
			list_remove(&loop->to_cancel, done[i].op);
		if (done[i].op == &loop->wake_op) {
			on_wake(done[i].op, done[i].result);
			continue;
		}
		done[i].op->done(done[i].op, done[i].result);
		count++;
	}
	if (found > 0)
		start_backlog(loop);
	return count;
}

static int run_cancelled(struct io_loop *loop)
{
	struct op_list list = loop->cancelled;
	struct io_op *op;
	int count = 0;

	if (list.first == NULL)
		return 0;
	list_init(&loop->cancelled);
	while (list.first != NULL) {
		op = list.first;
		list.first = op->next;
		op->done(op, -ECANCELED);
		count++;
	}
	return count;
}

/* False: there is something to do already. */
static bool prepare_to_sleep(struct io_loop *loop)
{
	atomic_store(&loop->sleeps, true);
	return atomic_load(&loop->posts) == NULL;
}

static int submit_and_wait(struct io_loop *loop, int timeout_ms)
{
	struct __kernel_timespec time = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = (long long)(timeout_ms % 1000) * (long long)NS_PER_MS,
	};
	struct io_uring_cqe *cqe;
	int ret;

	if (timeout_ms == 0 || !prepare_to_sleep(loop))
		ret = io_uring_sq_ready(&loop->ring) > 0 ? io_uring_submit(&loop->ring) : 0;
	else
		ret = io_uring_submit_and_wait_timeout(&loop->ring, &cqe, 1,
						       timeout_ms < 0 ? NULL : &time, NULL);
	atomic_store_explicit(&loop->sleeps, false, memory_order_relaxed);
	/* EAGAIN, EBUSY: the kernel is short of something; what is in flight will end. */
	if (ret == -ETIME || ret == -EINTR || ret == -EAGAIN || ret == -EBUSY)
		ret = 0;
	return ret < 0 ? ret : 0;
}

int io_loop_run(struct io_loop *loop, int timeout_ms)
{
	struct deadline deadline = deadline_in_ms(timeout_ms > 0 ? (uint32_t)timeout_ms : 0);
	int made, ret;

	for (;;) {
		made = run_cancelled(loop) + run_posts(loop);
		start_backlog(loop);
		ret = submit_and_wait(loop, made > 0 ? 0 : timeout_ms);
		if (ret < 0)
			return ret;
		made += run_completions(loop);
		made += run_posts(loop);
		if (made > 0 || timeout_ms == 0)
			return made;
		/* Only the wake-up or a signal. */
		if (timeout_ms > 0) {
			timeout_ms = deadline_left_ms(deadline);
			if (timeout_ms == 0)
				return 0;
		}
	}
}

/* The cheap way to be told of completions, where the kernel has it (5.19). */
static int ring_init(struct io_uring *ring, uint32_t entries)
{
	static const unsigned int flags[] = {
		IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_COOP_TASKRUN |
			IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
	};
	int ret = -EINVAL;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]) && ret == -EINVAL; i++) {
		struct io_uring_params params = {
			.flags = flags[i],
			.cq_entries = entries * CQ_FACTOR,
		};
		ret = io_uring_queue_init_params(entries, ring, &params);
		if (ret == 0 && (params.features & IORING_FEAT_EXT_ARG) == 0) {
			io_uring_queue_exit(ring);
			return -ENOSYS; /* before 5.11: no wait with a time-out */
		}
	}
	return ret;
}

int io_loop_create(uint32_t entries, struct io_loop **out)
{
	struct io_loop *loop;
	unsigned int workers[2] = {KERNEL_WORKERS, 0};
	int ret;

	if (entries < MIN_ENTRIES)
		entries = MIN_ENTRIES;
	if (entries > MAX_ENTRIES)
		entries = MAX_ENTRIES;
	loop = calloc(1, sizeof(*loop));
	if (loop == NULL)
		return -ENOMEM;
	list_init(&loop->backlog);
	list_init(&loop->cancelled);
	list_init(&loop->to_cancel);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0) {
		ret = -errno;
		goto err_free;
	}
	ret = ring_init(&loop->ring, entries);
	if (ret < 0)
		goto err_wake;
	loop->in_flight_max = *loop->ring.cq.kring_entries / 2;
	/* Of the thread that makes it; a kernel before 5.15 has its own idea. */
	io_uring_register_iowq_max_workers(&loop->ring, workers);
	io_loop_poll(loop, &loop->wake_op, loop->wake_fd, POLLIN);
	*out = loop;
	return 0;

err_wake:
	close(loop->wake_fd);
err_free:
	free(loop);
	return ret;
}

void io_loop_destroy(struct io_loop *loop)
{
	if (loop == NULL)
		return;
	/* The last post may have been taken while its poster was not out yet: a few instructions.
	 */
	while (atomic_load(&loop->posting) > 0)
		sched_yield();
	io_uring_queue_exit(&loop->ring);
	close(loop->wake_fd);
	free(loop);
}
