/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of an attached disk: log in, look at the LUN, create the backstore, link it to a SCSI
 * host, serve, unlink, remove, log out. Linking and unlinking block in the kernel until the disk
 * has answered commands, which this process serves; so a helper process does them.
 */
#include "iscsi-initiator/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/deadline.h"
#include "iscsi-initiator/daemon_internal.h"
#include "iscsi-initiator/disk_in_use.h"
#include "iscsi-session/disk_id.h"

#define LOG_COMPONENT "lunar-iscsi"
#include "base/log.h"

#define DISK_POLL_MS	 20
#define DISK_DEADLINE_MS 30000
#define COMMAND_MARGIN_S                                                                           \
	60 /* the kernel waits this much longer for a command than we do for the target */

struct helper_answer {
	int ret;
	char why[160];
};

static void start_detach(struct daemon *d);

static void report(struct daemon *d, enum exit_code code, const char *message)
{
	struct attach_result result = {.code = code};

	if (d->attached == NULL)
		return;
	snprintf(result.message, sizeof(result.message), "%s", message);
	snprintf(result.id, sizeof(result.id), "%s", d->id);
	if (d->disk_name[0] != '\0')
		snprintf(result.device, sizeof(result.device), "/dev/%s", d->disk_name);
	d->attached(d->attached_ctx, &result);
	d->attached = NULL;
}

/* The attach has failed: take down what there is. */
static void fail_attach(struct daemon *d, enum exit_code code, const char *message)
{
	report(d, code, message);
	d->exit_code = code;
	d->force_detach = true;
	session_stop_waiting(d->session);
	start_detach(d);
}

static enum exit_code exit_code_of(int error)
{
	switch (error) {
	case -EPERM:
	case -EACCES:
		return EXIT_PERMISSION;
	case -ENOENT:
	case -EPROTO:
	case -ENODEV:
		return EXIT_NO_KERNEL_SUPPORT;
	case -EADDRINUSE:
		return EXIT_EXISTS;
	default:
		return EXIT_INTERNAL;
	}
}

/* --- the helper process */

static void on_helper(void *ctx, int fd, uint32_t events)
{
	struct daemon *d = ctx;
	struct helper helper = d->helper;
	struct helper_answer answer = {.ret = -EIO};

	(void)events;
	if (read(fd, &answer, sizeof(answer)) != (ssize_t)sizeof(answer)) {
		answer.ret = -EIO;
		answer.why[0] = '\0';
	}
	answer.why[sizeof(answer.why) - 1] = '\0';
	event_watch_remove(helper.watch);
	close(fd);
	waitpid(helper.pid, NULL, 0); /* it has written its answer, or died: this does not block */
	d->helper = (struct helper){.pid = -1};
	helper.done(d, answer.ret, answer.why);
}

/* Opening the disk, to see whether it is in use, can make the kernel read it: so that is for the
 * helper too. */
static int unlink_if_unused(struct daemon *d, struct helper_answer *answer)
{
	char who[64];

	if (!d->force_detach && disk_in_use(d->disk_name, who, sizeof(who))) {
		snprintf(answer->why, sizeof(answer->why),
			 "/dev/%s is in use (%s): unmount it first, or give --force", d->disk_name,
			 who);
		return -EBUSY;
	}
	snprintf(answer->why, sizeof(answer->why), "the kernel does not let go of the disk");
	return tcmu_device_unlink(&d->device);
}

static void run_helper(struct daemon *d, bool link, int fd)
{
	struct helper_answer answer = {0};
	const char *why = "";
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* A detach of this process group must not cut the kernel's work short. */
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	if (link) {
		answer.ret = tcmu_device_link(&d->device, &why);
		snprintf(answer.why, sizeof(answer.why), "%s", why);
	} else {
		answer.ret = unlink_if_unused(d, &answer);
	}
	if (write(fd, &answer, sizeof(answer)) != (ssize_t)sizeof(answer))
		_exit(EXIT_INTERNAL);
	_exit(EXIT_OK);
}

static int start_helper(struct daemon *d, bool link,
			void (*done)(struct daemon *d, int ret, const char *why))
{
	int fds[2], ret;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		ret = -errno;
		goto err_close;
	}
	if (pid == 0)
		run_helper(d, link, fds[1]);
	close(fds[1]);
	d->helper = (struct helper){.pid = pid, .pipe = fds[0], .done = done};
	ret = event_loop_watch(d->loop, fds[0], EPOLLIN, on_helper, d, &d->helper.watch);
	if (ret < 0) {
		close(fds[0]);
		d->helper.pid = -1;
	}
	return ret;

err_close:
	close(fds[0]);
	close(fds[1]);
	return ret;
}

/* --- detach */

static void finish(void *ctx)
{
	struct daemon *d = ctx;

	if (d->detach_client != NULL) {
		control_reply(d->detach_client, control_result(EXIT_OK, ""));
		d->detach_client = NULL;
	}
	event_loop_stop(d->loop);
}

static void remove_device(struct daemon *d)
{
	disk_stop(d->disk);
	d->disk = NULL;
	if (d->device_created)
		tcmu_device_destroy(&d->device);
	d->device_created = false;
	session_logout(d->session, finish, d);
}

static void on_unlinked(struct daemon *d, int ret, const char *why)
{
	if (ret == 0) {
		remove_device(d);
		return;
	}
	log_warn("detach: %s", why);
	if (d->detach_client != NULL)
		control_reply(d->detach_client,
			      control_result(ret == -EBUSY ? EXIT_STATE : EXIT_INTERNAL, why));
	d->detach_client = NULL;
	d->state = DAEMON_ATTACHED;
}

static void start_detach(struct daemon *d)
{
	int ret;

	d->state = DAEMON_DETACHING;
	event_timer_cancel(d->disk_timer);
	d->disk_timer = NULL;
	if (!d->device_created) {
		remove_device(d);
		return;
	}
	ret = start_helper(d, false, on_unlinked);
	if (ret < 0)
		on_unlinked(d, ret, strerror(-ret));
}

/* Returns EXIT_OK where a detach may begin, else why not in message. */
static enum exit_code may_detach(struct daemon *d, bool force, char *message, size_t size)
{
	struct session_status status;

	if (d->state != DAEMON_ATTACHED) {
		snprintf(message, size, "an attach or detach is under way");
		return EXIT_STATE;
	}
	session_get_status(d->session, &status);
	if (!force && status.state != SESSION_UP) {
		snprintf(
			message, size,
			"the target is away, and the disk's cache cannot be flushed: wait, or give "
			"--force");
		return EXIT_STATE;
	}
	d->force_detach = force;
	return EXIT_OK;
}

/* --- attach */

static void attached(struct daemon *d)
{
	uint32_t timeout_s = d->config->options->timeouts.replacement_s + COMMAND_MARGIN_S;

	d->state = DAEMON_ATTACHED;
	d->attached_at_ns = monotonic_ns();
	if (tcmu_device_set_command_timeout(d->id, timeout_s) < 0)
		log_warn("cannot set the disk's command time-out: the kernel may abort commands "
			 "early");
	log_info("%s is LUN %u of %s at %s", d->disk_name, d->config->options->address.lun,
		 d->config->options->address.target, d->config->portal);
	report(d, EXIT_OK, "");
}

/* The kernel looks at a new disk on a thread of its own; the name appears when it has done. */
static void wait_for_disk(void *ctx)
{
	struct daemon *d = ctx;
	char path[48];

	d->disk_timer = NULL;
	if (tcmu_device_disk_name(d->id, d->disk_name, sizeof(d->disk_name)) == 0) {
		snprintf(path, sizeof(path), "/dev/%s", d->disk_name);
		if (access(path, F_OK) == 0) {
			attached(d);
			return;
		}
	}
	if (deadline_passed(d->disk_deadline)) {
		fail_attach(d, EXIT_TIMEOUT,
			    "the kernel made no disk within 30 s (is sd_mod there?)");
		return;
	}
	if (event_loop_after_ms(d->loop, DISK_POLL_MS, wait_for_disk, d, &d->disk_timer) < 0)
		fail_attach(d, EXIT_INTERNAL, "no memory");
}

static void on_linked(struct daemon *d, int ret, const char *why)
{
	if (d->state != DAEMON_ATTACHING)
		return;
	if (ret < 0) {
		fail_attach(d, exit_code_of(ret), why);
		return;
	}
	d->disk_deadline = deadline_in_ms(DISK_DEADLINE_MS);
	wait_for_disk(d);
}

/*
 * Memory that the disk's own write-back would have to free must not be needed to serve it. What is
 * mapped now is locked here, what comes later by lock_future_memory(); not the ring's data area in
 * between, where pages come and go with commands.
 */
static void protect_process(void)
{
	int fd;

	if (mlockall(MCL_CURRENT) < 0)
		log_warn("cannot lock memory: %m");
#ifdef PR_SET_IO_FLUSHER
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0); /* Linux 5.6 */
#endif
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "-1000", 5) < 0)
			log_warn("cannot set oom_score_adj: %m");
		close(fd);
	}
}

static void lock_future_memory(void)
{
	if (mlockall(MCL_FUTURE) < 0)
		log_warn("cannot lock memory: %m");
}

static void create_device(struct daemon *d)
{
	const struct tcmu_device_config config = {
		.id = d->id,
		.block_bytes = d->geometry.block_bytes,
		.blocks = d->geometry.blocks,
		.queue_full_s = d->config->options->timeouts.replacement_s + COMMAND_MARGIN_S,
	};
	const char *why = "";
	int ret = tcmu_support_check(&why);

	if (ret == 0) {
		protect_process();
		tcmu_device_clean_up(d->id);
		ret = tcmu_device_create(&d->device, &config, &why);
	}
	if (ret < 0) {
		fail_attach(d, exit_code_of(ret), why);
		return;
	}
	d->device_created = true;
	lock_future_memory();
	ret = disk_start(d->loop, &d->device, d->session, &d->disk);
	if (ret == 0)
		ret = start_helper(d, true, on_linked);
	if (ret < 0)
		fail_attach(d, EXIT_INTERNAL, strerror(-ret));
}

static void on_probed(void *ctx, enum exit_code code, const struct lun_geometry *geometry,
		      const char *message)
{
	struct daemon *d = ctx;
	char text[256];

	if (d->state != DAEMON_ATTACHING)
		return;
	if (code != EXIT_OK) {
		snprintf(text, sizeof(text), "LUN %u: %s", d->config->options->address.lun,
			 message);
		fail_attach(d, code, text);
		return;
	}
	d->geometry = *geometry;
	create_device(d);
}

static void on_opened(void *ctx, const struct login_result *result)
{
	struct daemon *d = ctx;

	if (result->code != EXIT_OK)
		fail_attach(d, result->code, result->message);
	else if (lun_probe_start(d->session, on_probed, d, &d->probe) < 0)
		fail_attach(d, EXIT_INTERNAL, "no memory");
}

static void on_round_end(void *ctx)
{
	struct daemon *d = ctx;

	disk_round_end(d->disk);
}

/* --- requests and signals */

static void on_request(void *ctx, const json_t *request, struct control_client *client)
{
	struct daemon *d = ctx;
	const char *command = json_string_value(json_object_get(request, "command"));
	bool force = json_is_true(json_object_get(request, "force"));
	char message[256];
	enum exit_code code;

	if (command != NULL && strcmp(command, "show") == 0) {
		control_reply(client, daemon_status(d));
		return;
	}
	if (command == NULL || strcmp(command, "detach") != 0) {
		control_reply(client, control_result(EXIT_USAGE, "unknown command"));
		return;
	}
	code = may_detach(d, force, message, sizeof(message));
	if (code != EXIT_OK) {
		control_reply(client, control_result(code, message));
		return;
	}
	d->detach_client = client;
	if (force)
		session_stop_waiting(d->session);
	start_detach(d);
}

static void on_signal(void *ctx, int fd, uint32_t events)
{
	struct daemon *d = ctx;
	struct signalfd_siginfo info;
	char message[256];

	(void)events;
	if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (d->state == DAEMON_ATTACHING) {
		fail_attach(d, EXIT_INTERNAL, "interrupted");
		return;
	}
	if (may_detach(d, false, message, sizeof(message)) == EXIT_OK)
		start_detach(d);
	else
		log_warn("signal %u: %s", info.ssi_signo, message);
}

static int watch_signals(struct daemon *d)
{
	sigset_t set;
	int ret;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	d->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d->signal_fd < 0)
		return -errno;
	ret = event_loop_watch(d->loop, d->signal_fd, EPOLLIN, on_signal, d, &d->signal_watch);
	if (ret < 0)
		close(d->signal_fd);
	return ret;
}

static int create_session(struct daemon *d)
{
	static const struct session_ops ops = {.opened = on_opened, .round_end = on_round_end};
	const struct options *o = d->config->options;
	const struct chap_secrets *secrets = d->config->secrets;
	const struct session_config config = {
		.login =
			{
				.initiator_name = d->config->initiator_name,
				.portal = d->config->portal,
				.target = o->address.target,
				.user = o->address.user,
				.secret = secrets->secret[0] != '\0' ? secrets->secret : NULL,
				.mutual_user = o->mutual_user,
				.mutual_secret =
					o->mutual_user != NULL ? secrets->mutual_secret : NULL,
				.header_digest = o->header_digest,
				.data_digest = o->data_digest,
				.isid_random = disk_isid_random(d->config->initiator_name,
								o->address.target),
				.isid_qualifier = o->address.lun,
			},
		.timeouts = o->timeouts,
		.lun = o->address.lun,
	};

	return session_create(d->loop, &config, &ops, d, &d->session);
}

static void fail_start(struct daemon *d, int error)
{
	char message[128];

	d->exit_code = exit_code_of(error);
	if (error == -EADDRINUSE)
		snprintf(message, sizeof(message), "this LUN is attached already (id %s)", d->id);
	else
		snprintf(message, sizeof(message), "cannot start: %s", strerror(-error));
	report(d, d->exit_code, message);
}

enum exit_code daemon_run(const struct daemon_config *config, daemon_attached_fn fn, void *ctx)
{
	struct daemon d = {.config = config, .attached = fn, .attached_ctx = ctx, .helper.pid = -1};
	int ret;

	disk_id_make(config->options->address.target, config->options->address.lun, d.id);
	ret = event_loop_create(&d.loop);
	if (ret < 0) {
		fail_start(&d, ret);
		return d.exit_code;
	}
	ret = watch_signals(&d);
	if (ret < 0)
		goto out_loop;
	ret = control_server_create(d.loop, d.id, on_request, &d, &d.control);
	if (ret < 0)
		goto out_signals;
	ret = create_session(&d);
	if (ret < 0)
		goto out_control;
	ret = event_loop_run(d.loop);
	session_destroy(d.session);
	lun_probe_destroy(d.probe);
out_control:
	control_server_destroy(d.control);
out_signals:
	event_watch_remove(d.signal_watch);
	close(d.signal_fd);
out_loop:
	event_loop_destroy(d.loop);
	if (ret < 0)
		fail_start(&d, ret);
	return d.exit_code;
}
