/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmwp: the worker process of one VM. Reads its configuration, starts it, serves its API, and ends
 * when it does.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/version.h"
#include "hypervisor/api_server.h"
#include "hypervisor/vm.h"
#include "hypervisor/vm_paths.h"

#define LOG_COMPONENT "vmwp"

#define PATH_BYTES 256

struct vmwp {
	const char *config_path;
	bool no_api;
	struct vm_config *config;
	struct event_loop *loop;
	struct vm *vm;
	struct api_server *api;
	int signals;
	struct event_watch *signal_watch;
	bool stop_requested;
};

static const char usage[] =
	"usage: vmwp --config FILE [--log-level error|warn|info|debug] [--no-api]\n"
	"Runs the virtual machine that FILE (YAML) describes, until it powers off.\n"
	"\n"
	"  -c, --config FILE      the VM's definition\n"
	"  -l, --log-level LEVEL  how much to say on standard error (default: info)\n"
	"      --no-api           no API socket\n"
	"  -h, --help             this text\n"
	"  -V, --version          the version\n"
	"\n"
	"SIGTERM and SIGINT press the guest's power button and stop it by force after 30 s;\n"
	"a second one stops it at once. Exit codes: 0 powered off or stopped, 2 usage,\n"
	"3 configuration, 4 no kernel, 5 not a kernel, 6 no usable KVM, 7 too little memory,\n"
	"8 no switch, 17 the guest crashed, 19 runs already, 1 anything else.\n";

enum {
	OPTION_NO_API = 256,
};

/* Returns true where the program goes on; otherwise *code is what to exit with. */
static bool options_parse(int argc, char **argv, struct vmwp *vmwp, enum exit_code *code)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"log-level", required_argument, NULL, 'l'},
		{"no-api", no_argument, NULL, OPTION_NO_API},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	enum log_level level;
	int option;

	*code = EXIT_USAGE;
	while ((option = getopt_long(argc, argv, "c:l:hV", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			vmwp->config_path = optarg;
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
	if (optind == argc && vmwp->config_path)
		return true;
	fputs(vmwp->config_path ? "vmwp: too many arguments; see vmwp --help\n"
				: "vmwp: --config FILE is missing; see vmwp --help\n",
	      stderr);
	return false;
}

static void on_state(void *ctx, struct vm *vm, enum vm_state state)
{
	struct vmwp *vmwp = ctx;

	(void)vm;
	if (state == VM_STATE_STOPPED || state == VM_STATE_CRASHED)
		event_loop_stop(vmwp->loop);
}

static void on_signal(void *ctx, int fd, uint32_t events)
{
	struct vmwp *vmwp = ctx;
	struct signalfd_siginfo info;

	(void)events;
	if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	log_info("signal %u: %s", info.ssi_signo,
		 vmwp->stop_requested ? "stopping by force" : "asking the guest to power off");
	if (vm_request_stop(vmwp->vm, vmwp->stop_requested, 0))
		event_loop_stop(vmwp->loop);
	vmwp->stop_requested = true;
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

/* ---- the VM behind the API ---- */

static void api_get_status(void *ctx, struct vm_status *status)
{
	vm_get_status(((struct vmwp *)ctx)->vm, status);
}

static const struct vm_config *api_get_config(void *ctx)
{
	return vm_get_config(((struct vmwp *)ctx)->vm);
}

static int api_stop(void *ctx, bool force, uint32_t timeout_ms)
{
	return vm_request_stop(((struct vmwp *)ctx)->vm, force, timeout_ms);
}

static int api_reboot(void *ctx)
{
	return vm_request_reboot(((struct vmwp *)ctx)->vm);
}

static const struct api_server_ops vm_api_ops = {
	.get_status = api_get_status,
	.get_config = api_get_config,
	.stop = api_stop,
	.reboot = api_reboot,
};

/* ---- */

static int api_start(struct vmwp *vmwp, struct vm_error *error)
{
	char path[PATH_BYTES];
	int result = vm_path(VM_PATH_API, vmwp->config->name, path, sizeof(path));

	if (!result)
		result = api_server_create(vmwp->loop, path, &vm_api_ops, vmwp, NULL, &vmwp->api);
	if (result == -EADDRINUSE)
		return vm_error_set(error, EXIT_STATE, result, "%s runs already",
				    vmwp->config->name);
	if (result)
		return vm_error_set(error, EXIT_INTERNAL, result, "cannot serve the API on %s: %s",
				    path, strerror(-result));
	return 0;
}

/* The folder of the sockets, where one of them is wanted. */
static int run_dir_make(struct vmwp *vmwp, char *console_path, struct vm_error *error)
{
	const struct vm_config *config = vmwp->config;
	char path[PATH_BYTES];
	int result;

	if (vmwp->no_api && (config->console != VM_CONSOLE_SOCKET || config->console_path))
		return 0;
	result = vm_path(VM_PATH_RUN_DIR, config->name, path, sizeof(path));
	if (!result)
		result = vm_paths_make_dir(path);
	if (!result)
		result = vm_path(VM_PATH_CONSOLE, config->name, console_path, PATH_BYTES);
	if (result)
		return vm_error_set(error, EXIT_INTERNAL, result, "cannot make %s/vm/%s: %s",
				    vm_paths_run_dir(), config->name, strerror(-result));
	return 0;
}

static int vmwp_start(struct vmwp *vmwp, struct vm_error *error)
{
	char console_path[PATH_BYTES] = "";
	int result = vm_config_load(vmwp->config_path, &vmwp->config, error->message,
				    sizeof(error->message));

	if (result) {
		error->code = EXIT_CONFIG;
		return result;
	}
	result = event_loop_create(&vmwp->loop);
	if (!result)
		result = signals_watch(vmwp);
	if (result)
		return vm_error_set(error, EXIT_INTERNAL, result, "cannot make an event loop: %s",
				    strerror(-result));
	result = run_dir_make(vmwp, console_path, error);
	if (!result)
		result = vm_create(vmwp->config, vmwp->loop, *console_path ? console_path : NULL,
				   on_state, vmwp, &vmwp->vm, error);
	if (!result && !vmwp->no_api)
		result = api_start(vmwp, error);
	if (!result)
		result = vm_start(vmwp->vm, error);
	return result;
}

static void vmwp_end(struct vmwp *vmwp)
{
	api_server_destroy(vmwp->api);
	vm_destroy(vmwp->vm);
	event_watch_remove(vmwp->signal_watch);
	if (vmwp->signals >= 0)
		close(vmwp->signals);
	event_loop_destroy(vmwp->loop);
	vm_config_free(vmwp->config);
}

int main(int argc, char **argv)
{
	struct vmwp vmwp = {.signals = -1};
	struct vm_error error = {.code = EXIT_INTERNAL};
	enum exit_code code;

	if (!options_parse(argc, argv, &vmwp, &code))
		return (int)code;
	fd_limit_raise();
	if (vmwp_start(&vmwp, &error)) {
		vmwp_end(&vmwp);
		fprintf(stderr, "vmwp: %s\n", error.message);
		return (int)error.code;
	}
	code = event_loop_run(vmwp.loop) ? EXIT_INTERNAL : EXIT_OK;
	if (code == EXIT_OK)
		code = vm_get_exit_code(vmwp.vm);
	vmwp_end(&vmwp);
	return (int)code;
}
