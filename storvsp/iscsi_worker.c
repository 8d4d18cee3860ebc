/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread runs an event loop with the session on it. Commands come to it through a lock-free
 * stack and an eventfd, which is written only by who finds the stack empty. The few calls that wait
 * (start, look, flush) share one answer, under a mutex: there is one caller at a time.
 */
#include "storvsp/iscsi_worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "storvsp/iscsi_facts.h"

#define LOG_COMPONENT "iscsi"
#include "base/log.h"

#define FLUSH_WAIT_MS	    130000u /* longer than a command waits for its target */
#define STATUS_CHECK	    0x02
#define KEY_ILLEGAL_REQUEST 0x05
#define KEY_UNIT_ATTENTION  0x06
#define FLUSH_TRIES	    5

enum question {
	QUESTION_FACTS, /* at the start too */
	QUESTION_FLUSH,
};

struct iscsi_worker {
	struct session_config config;
	struct event_loop *loop;
	struct event_watch *watch;
	int wake_fd;
	_Atomic(struct iscsi_item *) items; /* the last one first */
	pthread_t thread;

	/* The thread's own. */
	struct session *session;
	struct iscsi_facts *facts;
	bool asking;
	bool flushing;
	struct session_command flush;
	int flush_tries;

	pthread_mutex_t mutex; /* guards all below */
	pthread_cond_t answered_cond;
	enum question question;
	bool answered;
	int ret;
	struct iscsi_lun_facts found;
	char message[320];
};

/* ---- the answer ---- */

/* One that comes after its question was given up is not taken for another's. */
static void answer(struct iscsi_worker *w, enum question question, int ret,
		   const struct iscsi_lun_facts *found, const char *message)
{
	pthread_mutex_lock(&w->mutex);
	if (w->question == question && !w->answered) {
		w->answered = true;
		w->ret = ret;
		if (found != NULL)
			w->found = *found;
		snprintf(w->message, sizeof(w->message), "%s", message);
		pthread_cond_signal(&w->answered_cond);
	}
	pthread_mutex_unlock(&w->mutex);
}

static void expect_answer(struct iscsi_worker *w, enum question question)
{
	pthread_mutex_lock(&w->mutex);
	w->question = question;
	w->answered = false;
	pthread_mutex_unlock(&w->mutex);
}

static int wait_for_answer(struct iscsi_worker *w, uint32_t deadline_ms,
			   struct iscsi_lun_facts *found, char *message, size_t message_bytes)
{
	uint64_t at_ns = deadline_in_ms(deadline_ms).at_ns;
	struct timespec at = {.tv_sec = (time_t)(at_ns / NS_PER_SEC),
			      .tv_nsec = (long)(at_ns % NS_PER_SEC)};
	int ret;

	pthread_mutex_lock(&w->mutex);
	while (!w->answered &&
	       pthread_cond_timedwait(&w->answered_cond, &w->mutex, &at) != ETIMEDOUT)
		;
	ret = w->answered ? w->ret : -ETIMEDOUT;
	if (ret == 0 && found != NULL)
		*found = w->found;
	if (message != NULL && w->answered)
		snprintf(message, message_bytes, "%s", w->message);
	else if (message != NULL)
		snprintf(message, message_bytes, "%s: no answer from the LUN for %u s",
			 w->config.login.portal, deadline_ms / 1000);
	pthread_mutex_unlock(&w->mutex);
	return ret;
}

/* ---- the thread ---- */

static void on_facts(void *ctx, int ret, const struct disk_info *info, bool has_id,
		     const char *message)
{
	struct iscsi_worker *w = ctx;
	struct iscsi_lun_facts found = {.has_id = has_id};

	w->asking = false;
	if (info != NULL)
		found.info = *info;
	answer(w, QUESTION_FACTS, ret, &found, message);
}

static void ask(void *ctx)
{
	struct iscsi_worker *w = ctx;
	int ret;

	if (w->asking)
		return; /* the answer is on its way */
	iscsi_facts_destroy(w->facts);
	w->facts = NULL;
	w->asking = true;
	ret = iscsi_facts_ask(w->session, on_facts, w, &w->facts);
	if (ret < 0) {
		w->asking = false;
		answer(w, QUESTION_FACTS, ret, NULL, strerror(-ret));
	}
}

static int error_of(enum exit_code code)
{
	switch (code) {
	case EXIT_AUTH_FAILED:
		return -EACCES;
	case EXIT_UNKNOWN_TARGET:
		return -ENOENT;
	case EXIT_PORTAL_UNREACHABLE:
		return -EHOSTUNREACH;
	default:
		return -EPROTO;
	}
}

static void on_opened(void *ctx, const struct login_result *result)
{
	struct iscsi_worker *w = ctx;

	if (result->code == EXIT_OK)
		ask(w);
	else
		answer(w, QUESTION_FACTS, error_of(result->code), NULL, result->message);
}

static void on_wake(void *ctx, int fd, uint32_t events)
{
	struct iscsi_worker *w = ctx;
	struct iscsi_item *item, *next, *oldest = NULL;
	uint64_t count;

	(void)events;
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_error_limited("eventfd: %m");
	item = atomic_exchange(&w->items, NULL);
	for (; item != NULL; item = next) {
		next = item->next;
		item->next = oldest;
		oldest = item;
	}
	for (item = oldest; item != NULL; item = next) {
		next = item->next;
		session_submit(w->session, &item->command);
	}
	session_flush(w->session);
}

static void *run(void *arg)
{
	struct iscsi_worker *w = arg;
	sigset_t broken_pipe;

	/* libiscsi writes to sockets by writev(). */
	sigemptyset(&broken_pipe);
	sigaddset(&broken_pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &broken_pipe, NULL);
	event_loop_run(w->loop);
	/* Here, since what a session keeps of libiscsi is its thread's. */
	session_destroy(w->session);
	iscsi_facts_destroy(w->facts);
	return NULL;
}

void iscsi_worker_submit(struct iscsi_worker *w, struct iscsi_item *item)
{
	struct iscsi_item *head = atomic_load_explicit(&w->items, memory_order_relaxed);
	uint64_t one = 1;

	do {
		item->next = head;
	} while (!atomic_compare_exchange_weak(&w->items, &head, item));
	/* Partner: the exchange in on_wake(), which takes all or is told again. */
	if (head == NULL) {
		while (write(w->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
			;
	}
}

/* ---- the end ---- */

static void on_logged_out(void *ctx)
{
	struct iscsi_worker *w = ctx;

	event_loop_stop(w->loop);
}

static void log_out(void *ctx)
{
	struct iscsi_worker *w = ctx;

	session_logout(w->session, on_logged_out, w);
}

static void on_flushed(struct session_command *command)
{
	struct iscsi_worker *w =
		(struct iscsi_worker *)((char *)command - offsetof(struct iscsi_worker, flush));
	uint8_t key = command->sense_length > 2 ? command->sense[2] & 0x0f : 0;

	if (command->status == STATUS_CHECK && key == KEY_UNIT_ATTENTION &&
	    ++w->flush_tries < FLUSH_TRIES) {
		session_submit(w->session, command);
		return;
	}
	w->flushing = false;
	/* A LUN without a cache need not know the command. */
	if (command->status == 0 || (command->status == STATUS_CHECK && key == KEY_ILLEGAL_REQUEST))
		answer(w, QUESTION_FLUSH, 0, NULL, "");
	else
		answer(w, QUESTION_FLUSH, -EIO, NULL, "");
}

static void flush(void *ctx)
{
	struct iscsi_worker *w = ctx;

	if (w->flushing)
		return; /* it waits for the target still */
	w->flushing = true;
	w->flush_tries = 0;
	w->flush = (struct session_command){
		.cdb = {0x35}, /* SYNCHRONIZE CACHE(10), all blocks */
		.cdb_length = 10,
		.direction = CDB_DATA_NONE,
		.done = on_flushed,
	};
	session_submit(w->session, &w->flush);
	session_flush(w->session);
}

/* The thread has ended, or never began. */
static void worker_free(struct iscsi_worker *w)
{
	event_watch_remove(w->watch);
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	event_loop_destroy(w->loop);
	pthread_cond_destroy(&w->answered_cond);
	pthread_mutex_destroy(&w->mutex);
	free(w);
}

int iscsi_worker_stop(struct iscsi_worker *w, bool with_flush)
{
	int ret;

	if (w == NULL)
		return 0;
	if (with_flush) {
		expect_answer(w, QUESTION_FLUSH);
		ret = event_loop_post(w->loop, flush, w);
		if (ret == 0)
			ret = wait_for_answer(w, FLUSH_WAIT_MS, NULL, NULL, 0);
		if (ret < 0)
			return ret;
	}
	if (event_loop_post(w->loop, log_out, w) < 0)
		event_loop_stop(w->loop); /* without a logout */
	pthread_join(w->thread, NULL);
	worker_free(w);
	return 0;
}

/* ---- the beginning ---- */

static struct iscsi_worker *worker_create(const struct session_config *config)
{
	pthread_condattr_t attributes;
	struct iscsi_worker *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->config = *config;
	pthread_mutex_init(&w->mutex, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&w->answered_cond, &attributes);
	pthread_condattr_destroy(&attributes);
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake_fd >= 0 && event_loop_create(&w->loop) == 0 &&
	    event_loop_watch(w->loop, w->wake_fd, EPOLLIN, on_wake, w, &w->watch) == 0)
		return w;
	worker_free(w);
	return NULL;
}

int iscsi_worker_start(const struct session_config *config, uint32_t deadline_ms,
		       struct iscsi_worker **out, struct iscsi_lun_facts *found, char *message,
		       size_t message_bytes)
{
	static const struct session_ops ops = {.opened = on_opened};
	struct iscsi_worker *w = worker_create(config);
	int ret = -ENOMEM;

	if (w == NULL)
		goto err_message;
	ret = session_create(w->loop, &w->config, &ops, w, &w->session);
	if (ret < 0)
		goto err_free;
	ret = -pthread_create(&w->thread, NULL, run, w);
	if (ret < 0)
		goto err_session;
	ret = wait_for_answer(w, deadline_ms, found, message, message_bytes);
	if (ret < 0) {
		iscsi_worker_stop(w, false);
		return ret;
	}
	*out = w;
	return 0;

err_session:
	session_destroy(w->session);
err_free:
	worker_free(w);
err_message:
	snprintf(message, message_bytes, "%s: %s", config->login.portal, strerror(-ret));
	return ret;
}

int iscsi_worker_look(struct iscsi_worker *w, uint32_t deadline_ms, struct iscsi_lun_facts *found)
{
	int ret;

	expect_answer(w, QUESTION_FACTS);
	ret = event_loop_post(w->loop, ask, w);
	return ret < 0 ? ret : wait_for_answer(w, deadline_ms, found, NULL, 0);
}
