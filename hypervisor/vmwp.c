/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmwp's command line, signals and event loop. See vmwp.h.
 */
#include "hypervisor/vmwp.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/version.h"
#include "hypervisor/vm_worker.h"

#define LOG_COMPONENT "vmwp"

struct vmwp {
	const struct engine_ops *engine;
	const char *config_path; /* one of the three is given */
	const char *restore_path;
	int incoming;
	bool no_api;
	struct event_loop *loop;
	struct vm_worker *worker;
	int signals;
	struct event_watch *signal_watch;
};

static const char usage[] =
	"usage: vmwp --config FILE | --incoming FD | --restore FILE\n"
	"            [--log-level error|warn|info|debug] [--no-api]\n"
	"Runs a virtual machine until it powers off, or has moved to another host.\n"
	"\n"
	"  -c, --config FILE      start the VM that FILE (YAML) defines\n"
	"  -i, --incoming FD      serve the host on this TCP connection: take its VM, check\n"
	"                         whether it could come, or answer about an earlier move\n"
	"  -r, --restore FILE     go on with the VM that was saved to FILE\n"
	"  -l, --log-level LEVEL  how much to say on standard error (default: info)\n"
	"      --no-api           no API socket\n"
	"  -h, --help             this text\n"
	"  -V, --version          the version\n"
	"\n"
	"SIGTERM and SIGINT press the guest's power button and stop it by force after 30 s;\n"
	"a second one stops it at once. Exit codes: 0 powered off or stopped, 2 usage,\n"
	"3 configuration, 4 no kernel, 5 not a kernel, 6 no usable KVM, 7 too little memory,\n"
	"8 no switch, 15 the name of what comes is in use, 17 the guest crashed, 19 runs\n"
	"already, 21 to 25 a move failed, 1 anything else.\n";

enum {
	OPTION_NO_API = 256,
};

/* The fd of a connected socket, or -1. Children do not inherit it. */
static int socket_parse(const char *text)
{
	socklen_t length = sizeof(int);
	char *end;
	long fd = strtol(text, &end, 10);
	int type;

	if (!*text || *end || fd < 0 || fd > INT_MAX ||
	    getsockopt((int)fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 || type != SOCK_STREAM ||
	    fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0)
		return -1;
	return (int)fd;
}

/* Returns true where the program goes on; otherwise *code is what to exit with. */
static bool options_parse(int argc, char **argv, struct vmwp *vmwp, enum exit_code *code)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"incoming", required_argument, NULL, 'i'},
		{"restore", required_argument, NULL, 'r'},
		{"log-level", required_argument, NULL, 'l'},
		{"no-api", no_argument, NULL, OPTION_NO_API},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	enum log_level level;
	int option;
	int ways;

	*code = EXIT_USAGE;
	while ((option = getopt_long(argc, argv, "c:i:r:l:hV", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			vmwp->config_path = optarg;
			break;
		case 'i':
			vmwp->incoming = socket_parse(optarg);
			if (vmwp->incoming < 0) {
				fprintf(stderr, "vmwp: --incoming: not a socket: %s\n", optarg);
				return false;
			}
			break;
		case 'r':
			vmwp->restore_path = optarg;
			break;
		case 'l':
			if (log_parse_level(optarg, &level)) {
				fprintf(stderr, "vmwp: --log-level: not a level: %s\n", optarg);
				return false;
			}
			log_set_level(level);
			break;
		case OPTION_NO_API:
			vmwp->no_api = true;
			break;
		case 'h':
			fputs(usage, stdout);
			*code = EXIT_OK;
			return false;
		case 'V':
			puts("vmwp " LUNAR_VERSION);
			*code = EXIT_OK;
			return false;
		default: /* getopt has said what is wrong */
			return false;
		}
	}
	ways = !!vmwp->config_path + !!vmwp->restore_path + (vmwp->incoming >= 0);
	if (optind == argc && ways == 1)
		return true;
	fputs(optind < argc ? "vmwp: too many arguments; see vmwp --help\n"
			    : "vmwp: one of --config, --incoming and --restore has to be given; "
			      "see vmwp --help\n",
	      stderr);
	return false;
}

static void on_ended(void *ctx)
{
	event_loop_stop(((struct vmwp *)ctx)->loop);
}

static void on_signal(void *ctx, int fd, uint32_t events)
{
	struct vmwp *vmwp = ctx;
	struct signalfd_siginfo info;

	(void)events;
	if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	log_info("signal %u", info.ssi_signo);
	vm_worker_request_stop(vmwp->worker);
}

static int signals_watch(struct vmwp *vmwp)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	vmwp->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (vmwp->signals < 0)
		return -errno;
	return event_loop_watch(vmwp->loop, vmwp->signals, EPOLLIN, on_signal, vmwp,
				&vmwp->signal_watch);
}

/* Each VP, channel and NIC has a few. */
static void fd_limit_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int vmwp_start(struct vmwp *vmwp, struct vm_error *error)
{
	struct vm_worker_config config = {
		.engine = vmwp->engine,
		.no_api = vmwp->no_api,
		.take_log = !vmwp->config_path,
		.ended = on_ended,
		.ctx = vmwp,
	};
	int result = event_loop_create(&vmwp->loop);

	if (!result)
		result = signals_watch(vmwp);
	if (result)
		return vm_error_set(error, EXIT_INTERNAL, result, "cannot make an event loop: %s",
				    strerror(-result));
	config.loop = vmwp->loop;
	result = vm_worker_create(&config, &vmwp->worker, error);
	if (result)
		return result;
	if (vmwp->config_path)
		return vm_worker_start(vmwp->worker, vmwp->config_path, error);
	if (vmwp->restore_path)
		return vm_worker_restore(vmwp->worker, vmwp->restore_path, error);
	return vm_worker_receive(vmwp->worker, vmwp->incoming, error);
}

static void vmwp_end(struct vmwp *vmwp)
{
	vm_worker_destroy(vmwp->worker);
	event_watch_remove(vmwp->signal_watch);
	if (vmwp->signals >= 0)
		close(vmwp->signals);
	event_loop_destroy(vmwp->loop);
}

enum exit_code vmwp_run(int argc, char **argv, const struct engine_ops *engine)
{
	struct vmwp vmwp = {.engine = engine, .signals = -1, .incoming = -1};
	struct vm_error error = {.code = EXIT_INTERNAL};
	enum exit_code code;

	if (!options_parse(argc, argv, &vmwp, &code))
		return code;
	fd_limit_raise();
	if (vmwp_start(&vmwp, &error)) {
		vmwp_end(&vmwp);
		fprintf(stderr, "vmwp: %s\n", error.message);
		return error.code;
	}
	code = event_loop_run(vmwp.loop) ? EXIT_INTERNAL : EXIT_OK;
	if (code == EXIT_OK)
		code = vm_worker_get_result(vmwp.worker, &error);
	if (code != EXIT_OK && *error.message)
		fprintf(stderr, "vmwp: %s\n", error.message);
	vmwp_end(&vmwp);
	return code;
}
