/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar receive: the service in the foreground, until SIGTERM or Ctrl-C.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/receive_service.h"
#include "hypervisor/tls_files.h"

#define LOG_COMPONENT "receive"

/* Each vmwp is watched by two fds. */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Without certificates nothing can ever come: better said now than to each who tries. */
static enum exit_code check_certificates(struct cli_error *error)
{
	struct tls_files_report *report = calloc(1, sizeof(*report));
	enum exit_code code = EXIT_OK;

	if (!report)
		return cli_error_set(error, EXIT_INTERNAL, "out of memory");
	if (tls_files_inspect(NULL, report) || !report->usable)
		code = cli_error_set(error, report->error.code, "%s", report->error.message);
	free(report);
	return code;
}

static void on_signal(void *ctx, int fd, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	if (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		event_loop_stop(ctx);
}

/* Serves until a signal comes. */
static enum exit_code serve(struct event_loop *loop, int signals,
			    const struct receive_options *options, struct cli_error *error)
{
	struct receive_service *service = NULL;
	struct event_watch *watch;
	enum exit_code code;
	int rc;

	code = receive_service_create(loop, options, &service, error);
	if (code != EXIT_OK)
		return code;
	rc = event_loop_watch(loop, signals, EPOLLIN, on_signal, loop, &watch);
	if (rc == 0) {
		log_info("listening on %s", receive_service_address(service));
		rc = event_loop_run(loop);
		event_watch_remove(watch);
	}
	receive_service_destroy(service);
	if (rc < 0)
		return cli_error_set(error, EXIT_INTERNAL, "the event loop failed: %s",
				     strerror(-rc));
	log_info("ended; VMs that came run on");
	return EXIT_OK;
}

enum exit_code command_receive(const struct command_context *context, struct cli_error *error)
{
	const struct receive_options options = {.host = context->options->listen_host,
						.port = context->options->listen_port,
						.max = context->options->receive_max,
						.stranger_ms = RECEIVE_STRANGER_MS,
						.errors = STDERR_FILENO};
	enum exit_code code = check_certificates(error);
	struct event_loop *loop = NULL;
	sigset_t set, before;
	int signals;

	if (code != EXIT_OK)
		return code;
	raise_fd_limit();
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, &before);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0 || event_loop_create(&loop) < 0)
		code = cli_error_set(error, EXIT_INTERNAL, "cannot make an event loop");
	else
		code = serve(loop, signals, &options, error);
	event_loop_destroy(loop);
	if (signals >= 0)
		close(signals);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return code;
}
