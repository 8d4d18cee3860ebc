/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The serial console's outer end. See console.h.
 *
 * One ring holds the stream; its end is a byte count since the start, and each reader has a count
 * of its own. VP threads append under the lock and wake the loop by an eventfd, once until the loop
 * looked; all else is the loop's.
 */
#include "hypervisor/console.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/fd_passing.h"
#include "base/log.h"

#define LOG_COMPONENT "console"

#define RING_BYTES	((size_t)4 * CONSOLE_SCROLL_BACK_BYTES)
#define INPUT_BYTES	4096
#define ESCAPE_KEY	0x1d /* Ctrl-] */
#define WAKE_OUTPUT	1u
#define WAKE_INPUT	2u
#define WRITE_CHUNK	4096 /* a pipe that is writable takes this much without blocking */
#define STATE_VERSION	1    /* blob of the scroll-back */
#define MESSAGE_DROPPED "a reader of the console was too slow"

struct console_reader {
	struct console *console;
	int out;		   /* -1: unused */
	int in;			   /* -1: none */
	uint64_t position;	   /* in the stream */
	struct event_watch *watch; /* of out (and in, where they are one socket); NULL for a file */
	struct event_watch *in_watch;
	bool waits; /* for out to take more */
	size_t input_count;
	uint8_t input[INPUT_BYTES];
};

struct console {
	struct event_loop *loop;
	enum vm_console_kind kind;
	char *socket_path;
	int listener;
	int wake;
	struct event_watch *listener_watch;
	struct event_watch *wake_watch;
	console_input_fn input_fn;
	void *input_ctx;
	struct console_reader *readers[CONSOLE_MAX_READERS];
	struct termios terminal; /* as it was */
	bool terminal_saved;

	pthread_mutex_t lock; /* guards all below */
	uint64_t end;	      /* of the stream */
	uint32_t wake_flags;
	uint8_t ring[RING_BYTES];
};

static void wake_set(struct console *console, uint32_t flag)
{
	const uint64_t one = 1;

	if (console->wake_flags & flag)
		return;
	if (!console->wake_flags && write(console->wake, &one, sizeof(one)) < 0)
		return; /* the counter is full: the loop is awake already */
	console->wake_flags |= flag;
}

void console_write(struct console *console, const uint8_t *bytes, size_t count)
{
	pthread_mutex_lock(&console->lock);
	for (size_t i = 0; i < count; i++)
		console->ring[console->end++ % RING_BYTES] = bytes[i];
	wake_set(console, WAKE_OUTPUT);
	pthread_mutex_unlock(&console->lock);
}

void console_want_input(struct console *console)
{
	pthread_mutex_lock(&console->lock);
	wake_set(console, WAKE_INPUT);
	pthread_mutex_unlock(&console->lock);
}

/* Copies what is next for a reader, at most size bytes; skips what the ring has lost. */
static size_t stream_copy(struct console *console, uint64_t *position, uint8_t *to, size_t size)
{
	size_t count = 0;
	bool lost = false;

	pthread_mutex_lock(&console->lock);
	if (console->end - *position > RING_BYTES) {
		*position = console->end - RING_BYTES;
		lost = true;
	}
	while (count < size && *position + count < console->end) {
		to[count] = console->ring[(*position + count) % RING_BYTES];
		count++;
	}
	pthread_mutex_unlock(&console->lock);
	if (lost)
		log_warn_limited(MESSAGE_DROPPED);
	return count;
}

static void reader_close(struct console_reader *reader)
{
	struct console *console = reader->console;

	for (size_t i = 0; i < CONSOLE_MAX_READERS; i++)
		if (console->readers[i] == reader)
			console->readers[i] = NULL;
	event_watch_remove(reader->watch);
	event_watch_remove(reader->in_watch);
	if (reader->in >= 0 && reader->in != reader->out)
		close(reader->in);
	close(reader->out);
	free(reader);
}

static void reader_watch_update(struct console_reader *reader)
{
	uint32_t events = 0;

	if (!reader->watch)
		return;
	if (reader->in == reader->out && reader->input_count < INPUT_BYTES)
		events |= EPOLLIN;
	if (reader->waits)
		events |= EPOLLOUT;
	event_watch_modify(reader->watch, events);
}

/* Writes until the reader has all or takes no more. Returns false where it is gone. */
static bool reader_flush(struct console_reader *reader)
{
	uint8_t chunk[WRITE_CHUNK];

	for (;;) {
		size_t count =
			stream_copy(reader->console, &reader->position, chunk, sizeof(chunk));
		ssize_t put = count ? write(reader->out, chunk, count) : 0;

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno != EAGAIN)
			return false;
		if (put > 0)
			reader->position += (uint64_t)put;
		if (put <= 0) {
			reader->waits = put < 0;
			reader_watch_update(reader);
			return true;
		}
	}
}

/* Gives the guest what the readers have typed, as far as it takes it. */
static void input_offer(struct console *console)
{
	for (size_t i = 0; i < CONSOLE_MAX_READERS && console->input_fn; i++) {
		struct console_reader *reader = console->readers[i];
		size_t taken;

		if (!reader || !reader->input_count)
			continue;
		taken = console->input_fn(console->input_ctx, reader->input, reader->input_count);
		memmove(reader->input, reader->input + taken, reader->input_count - taken);
		if (reader->input_count == INPUT_BYTES && taken && reader->in_watch)
			event_watch_modify(reader->in_watch, EPOLLIN);
		reader->input_count -= taken;
		reader_watch_update(reader);
	}
}

/* Takes Ctrl-] out of what a terminal sends. */
static size_t escape_filter(struct console *console, uint8_t *bytes, size_t count)
{
	size_t kept = 0;

	if (!console->terminal_saved)
		return count;
	for (size_t i = 0; i < count; i++) {
		if (bytes[i] == ESCAPE_KEY)
			kill(getpid(), SIGTERM);
		else
			bytes[kept++] = bytes[i];
	}
	return kept;
}

/* Returns false where the reader's input has ended. */
static bool reader_read(struct console_reader *reader)
{
	uint8_t *at = reader->input + reader->input_count;
	size_t room = INPUT_BYTES - reader->input_count;
	ssize_t got = room ? read(reader->in, at, room) : 0;

	if (!room)
		return true;
	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	if (got == 0)
		return false;
	reader->input_count += escape_filter(reader->console, at, (size_t)got);
	return true;
}

static void reader_ready(void *ctx, int fd, uint32_t events)
{
	struct console_reader *reader = ctx;
	struct console *console = reader->console;

	(void)fd;
	if (events & EPOLLIN && reader->in == reader->out && !reader_read(reader)) {
		reader_close(reader);
		return;
	}
	if (events & (EPOLLHUP | EPOLLERR) && !(events & EPOLLIN)) {
		reader_close(reader);
		return;
	}
	if (events & EPOLLOUT && !reader_flush(reader)) {
		reader_close(reader);
		return;
	}
	reader_watch_update(reader);
	input_offer(console);
}

/* Standard input, which is a file of its own. */
static void stdin_ready(void *ctx, int fd, uint32_t events)
{
	struct console_reader *reader = ctx;

	(void)fd;
	(void)events;
	if (!reader_read(reader)) {
		event_watch_remove(reader->in_watch);
		reader->in_watch = NULL;
		return;
	}
	if (reader->input_count == INPUT_BYTES)
		event_watch_modify(reader->in_watch, 0);
	input_offer(reader->console);
}

/* Takes over out and in, also where it fails. from: where in the stream the reader starts. */
static int reader_add(struct console *console, int out, int in, uint64_t from)
{
	struct console_reader *reader = calloc(1, sizeof(*reader));
	size_t slot = 0;
	int result = reader ? 0 : -ENOMEM;

	while (slot < CONSOLE_MAX_READERS && console->readers[slot])
		slot++;
	if (!result && slot == CONSOLE_MAX_READERS)
		result = -EBUSY;
	if (result)
		goto err_close;
	*reader =
		(struct console_reader){.console = console, .out = out, .in = in, .position = from};
	result = event_loop_watch(console->loop, out, 0, reader_ready, reader, &reader->watch);
	if (result == -EPERM) /* a regular file, always ready */
		result = 0;
	if (!result && in >= 0 && in != out) {
		result = event_loop_watch(console->loop, in, EPOLLIN, stdin_ready, reader,
					  &reader->in_watch);
		if (result == -EPERM)
			result = 0; /* input from a file, /dev/null among them: none */
	}
	if (result)
		goto err_unwatch;
	console->readers[slot] = reader;
	if (!reader_flush(reader))
		reader_close(reader);
	return 0;

err_unwatch:
	event_watch_remove(reader->watch);
err_close:
	if (in >= 0 && in != out)
		close(in);
	close(out);
	free(reader);
	return result;
}

/* Where the scroll-back begins. Lock held. */
static uint64_t scroll_back_start(const struct console *console)
{
	return console->end > CONSOLE_SCROLL_BACK_BYTES ? console->end - CONSOLE_SCROLL_BACK_BYTES
							: 0;
}

static void listener_ready(void *ctx, int fd, uint32_t events)
{
	struct console *console = ctx;
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	uint64_t from;
	int result;

	(void)events;
	if (client < 0)
		return;
	pthread_mutex_lock(&console->lock);
	from = scroll_back_start(console);
	pthread_mutex_unlock(&console->lock);
	result = reader_add(console, client, client, from);
	if (result)
		log_warn_limited("a reader was turned away: %s", strerror(-result));
}

static void wake_ready(void *ctx, int fd, uint32_t events)
{
	struct console *console = ctx;
	uint64_t count;
	uint32_t flags;

	(void)events;
	pthread_mutex_lock(&console->lock);
	if (read(fd, &count, sizeof(count)) < 0)
		count = 0;
	flags = console->wake_flags;
	console->wake_flags = 0;
	pthread_mutex_unlock(&console->lock);

	for (size_t i = 0; flags & WAKE_OUTPUT && i < CONSOLE_MAX_READERS; i++) {
		struct console_reader *reader = console->readers[i];

		if (reader && !reader->waits && !reader_flush(reader))
			reader_close(reader);
	}
	if (flags & WAKE_INPUT)
		input_offer(console);
}

/*
 * Terminals and pipes are opened again, so that "non-blocking" stays ours. A file is not, for what
 * else goes there (2>&1) shares its position; it never blocks. A socket cannot be opened again:
 * there, a chunk fits once it is writable.
 */
static int stdout_open(void)
{
	struct stat status;
	int fd = -1;

	if (!fstat(STDOUT_FILENO, &status) && (S_ISCHR(status.st_mode) || S_ISFIFO(status.st_mode)))
		fd = open("/proc/self/fd/1", O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd >= 0 ? fd : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
}

static void terminal_make_raw(struct console *console)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &console->terminal))
		return;
	raw = console->terminal;
	cfmakeraw(&raw);
	if (!tcsetattr(STDIN_FILENO, TCSANOW, &raw))
		console->terminal_saved = true;
}

static int stdio_open(struct console *console)
{
	int out = stdout_open();
	int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);

	if (out < 0) {
		if (in >= 0)
			close(in);
		return -EBADF;
	}
	terminal_make_raw(console);
	return reader_add(console, out, in, 0);
}

static int file_open(struct console *console, const char *path)
{
	int fd =
		open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);

	return fd < 0 ? -errno : reader_add(console, fd, -1, 0);
}

static int socket_open(struct console *console, const char *path)
{
	int result;

	console->listener = unix_socket_listen(path, SOCK_STREAM);
	if (console->listener < 0)
		return console->listener;
	console->socket_path = strdup(path);
	result = event_loop_watch(console->loop, console->listener, EPOLLIN, listener_ready,
				  console, &console->listener_watch);
	return console->socket_path ? result : -ENOMEM;
}

int console_create(enum vm_console_kind kind, const char *path, struct event_loop *loop,
		   struct console **console, struct vm_error *error)
{
	struct console *made = calloc(1, sizeof(*made));
	int result = -ENOMEM;

	if (!made)
		goto err_report;
	made->loop = loop;
	made->kind = kind;
	made->listener = -1;
	pthread_mutex_init(&made->lock, NULL);
	made->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (made->wake < 0) {
		result = -errno;
		goto err_destroy;
	}
	result = event_loop_watch(loop, made->wake, EPOLLIN, wake_ready, made, &made->wake_watch);
	if (!result && kind == VM_CONSOLE_STDIO)
		result = stdio_open(made);
	else if (!result && kind == VM_CONSOLE_FILE)
		result = file_open(made, path);
	else if (!result)
		result = socket_open(made, path);
	if (result)
		goto err_destroy;
	*console = made;
	return 0;

err_destroy:
	console_destroy(made);
err_report:
	return vm_error_set(error, EXIT_CONFIG, result, "cannot open the console %s: %s",
			    path ? path : "on stdio", strerror(-result));
}

void console_destroy(struct console *console)
{
	if (!console)
		return;
	for (size_t i = 0; i < CONSOLE_MAX_READERS; i++) {
		if (!console->readers[i])
			continue;
		reader_flush(console->readers[i]);
		reader_close(console->readers[i]);
	}
	event_watch_remove(console->listener_watch);
	event_watch_remove(console->wake_watch);
	if (console->listener >= 0)
		close(console->listener);
	if (console->socket_path)
		unlink(console->socket_path);
	free(console->socket_path);
	if (console->wake >= 0)
		close(console->wake);
	if (console->terminal_saved)
		tcsetattr(STDIN_FILENO, TCSANOW, &console->terminal);
	pthread_mutex_destroy(&console->lock);
	free(console);
}

void console_set_input(struct console *console, console_input_fn fn, void *ctx)
{
	console->input_fn = fn;
	console->input_ctx = ctx;
	if (fn)
		input_offer(console);
}

void console_save(struct console *console, struct state_writer *writer)
{
	size_t start, count, first;

	state_begin(writer, CONSOLE_STATE_TAG, STATE_VERSION, STATE_SKIPPABLE);
	pthread_mutex_lock(&console->lock);
	start = scroll_back_start(console) % RING_BYTES;
	count = (size_t)(console->end - scroll_back_start(console));
	first = count < RING_BYTES - start ? count : RING_BYTES - start;
	state_put_u32(writer, (uint32_t)count);
	state_put_bytes(writer, console->ring + start, first);
	state_put_bytes(writer, console->ring, count - first);
	pthread_mutex_unlock(&console->lock);
	state_end(writer);
}

int console_restore(struct console *console, struct state_reader *section)
{
	int result = state_check_version(section, STATE_VERSION);
	const void *bytes;
	size_t count;

	if (result)
		return result;
	bytes = state_get_blob(section, CONSOLE_SCROLL_BACK_BYTES, &count);
	if (!bytes)
		return -EPROTO;
	if (console->kind == VM_CONSOLE_SOCKET)
		console_write(console, bytes, count);
	return 0;
}
