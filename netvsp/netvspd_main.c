/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netvspd: the host's virtual switch and the parent's end of all its guests' NICs. The main thread
 * runs the vsp socket; the worker's thread moves the packets.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/exit_code.h"
#include "base/log.h"
#include "netvsp/data_path.h"
#include "netvsp/eal.h"
#include "netvsp/telemetry.h"
#include "netvsp/uplink.h"
#include "netvsp/vsp_server.h"
#include "vlan/vlan_set.h"
#include "wire/vsp.h"

#define LOG_COMPONENT "netvspd"

#define MAX_UPLINKS    8
#define DEFAULT_MEMORY 128u
#define MAX_MEMORY     65536u
#define MAX_CPUS       1024

struct options {
	const char *socket;
	const char *uplinks[MAX_UPLINKS];
	struct vlan_set carried[MAX_UPLINKS]; /* empty: all */
	unsigned int uplink_count;
	struct eal_options eal;
	int cpu;
};

struct daemon {
	struct event_loop *loop;
	struct data_path *path;
	struct vsp_server *server;
	struct uplink *uplinks[MAX_UPLINKS];
	int signal_fd;
};

static void print_usage(FILE *to)
{
	fprintf(to,
		"usage: netvspd [option ...]\n"
		"  --socket PATH        listen there (default: " VSP_SOCKET_DEFAULT ")\n"
		"  --uplink DEVARGS     a port to the network, as DPDK names it: 0000:00:04.0,\n"
		"                       net_tap0,iface=tap0, net_af_packet0,iface=eth1, ...\n"
		"                       may be given up to 8 times\n"
		"  --vlans LIST         VLANs that the uplink before it carries, such as\n"
		"                       0,10,20-30; 0: frames without one (default: all)\n"
		"  --huge-pages         use huge pages, or fail\n"
		"  --no-huge            use ordinary pages; no PCI device on a UIO driver then\n"
		"                       (default: huge pages where enough of them are free)\n"
		"  --memory MB          for packet buffers and queues (default: 128, least: 64)\n"
		"  --lcore N            run the packet thread on CPU N only\n"
		"  --file-prefix NAME   of DPDK's runtime directory (default: lunar-netvspd)\n"
		"  --log-level LEVEL    error, warn, info or debug (debug: DPDK's own messages "
		"too)\n"
		"  --help\n");
}

enum option_code {
	OPTION_SOCKET = 256,
	OPTION_UPLINK,
	OPTION_VLANS,
	OPTION_HUGE,
	OPTION_NO_HUGE,
	OPTION_MEMORY,
	OPTION_LCORE,
	OPTION_FILE_PREFIX,
	OPTION_LOG_LEVEL,
	OPTION_HELP,
};

static const struct option long_options[] = {
	{"socket", required_argument, NULL, OPTION_SOCKET},
	{"uplink", required_argument, NULL, OPTION_UPLINK},
	{"vlans", required_argument, NULL, OPTION_VLANS},
	{"huge-pages", no_argument, NULL, OPTION_HUGE},
	{"no-huge", no_argument, NULL, OPTION_NO_HUGE},
	{"memory", required_argument, NULL, OPTION_MEMORY},
	{"lcore", required_argument, NULL, OPTION_LCORE},
	{"file-prefix", required_argument, NULL, OPTION_FILE_PREFIX},
	{"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

static bool parse_number(const char *text, unsigned long min, unsigned long max,
			 unsigned long *number)
{
	char *end;

	errno = 0;
	*number = strtoul(text, &end, 10);
	return errno == 0 && end != text && *end == '\0' && *number >= min && *number <= max;
}

static bool parse_log_level(const char *text, struct options *options)
{
	enum log_level level;

	if (log_parse_level(text, &level) < 0)
		return false;
	log_set_level(level);
	options->eal.verbose = level == LOG_LEVEL_DEBUG;
	return true;
}

/* Returns whether the option's argument was good. */
static bool parse_option(int code, struct options *options)
{
	unsigned long number;

	switch (code) {
	case OPTION_SOCKET:
		options->socket = optarg;
		return true;
	case OPTION_UPLINK:
		if (options->uplink_count == MAX_UPLINKS)
			return false;
		options->uplinks[options->uplink_count++] = optarg;
		return true;
	case OPTION_VLANS:
		return options->uplink_count > 0 &&
		       vlan_set_parse(optarg, 0, &options->carried[options->uplink_count - 1]) == 0;
	case OPTION_HUGE:
		options->eal.pages = EAL_PAGES_HUGE;
		return true;
	case OPTION_NO_HUGE:
		options->eal.pages = EAL_PAGES_SMALL;
		return true;
	case OPTION_MEMORY:
		if (!parse_number(optarg, MBUF_POOLS_MIN_MEGABYTES, MAX_MEMORY, &number))
			return false;
		options->eal.memory_megabytes = (unsigned int)number;
		return true;
	case OPTION_LCORE:
		if (!parse_number(optarg, 0, MAX_CPUS - 1, &number))
			return false;
		options->cpu = (int)number;
		return true;
	case OPTION_FILE_PREFIX:
		options->eal.file_prefix = optarg;
		return optarg[0] != '\0' && !strchr(optarg, '/');
	case OPTION_LOG_LEVEL:
		return parse_log_level(optarg, options);
	default:
		return false;
	}
}

static enum exit_code parse_options(int argc, char **argv, struct options *options)
{
	int code;

	opterr = 0;
	while ((code = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
		if (code == OPTION_HELP) {
			print_usage(stdout);
			exit(EXIT_OK);
		}
		if (code == '?') {
			fprintf(stderr,
				"netvspd: %s: unknown option or missing argument (--help shows "
				"all)\n",
				argv[optind - 1]);
			return EXIT_USAGE;
		}
		if (!parse_option(code, options)) {
			fprintf(stderr,
				"netvspd: bad or too many: %s (--help shows what is possible)\n",
				optarg ? optarg : argv[optind - 1]);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr,
			"netvspd: %s: no argument expected here (--help shows the options)\n",
			argv[optind]);
		return EXIT_USAGE;
	}
	return EXIT_OK;
}

static enum exit_code start_eal(const struct eal_options *options)
{
	int err = eal_start(options);

	if (!err)
		return EXIT_OK;
	if (err == -ENOMEM && options->pages == EAL_PAGES_HUGE)
		fprintf(stderr,
			"netvspd: %u MB of huge pages are needed, %u MB are free: echo N > "
			"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages, or use "
			"--no-huge\n",
			options->memory_megabytes, eal_free_huge_megabytes());
	else
		fprintf(stderr, "netvspd: DPDK does not start: %s (--log-level debug tells more)\n",
			strerror(-err));
	return err == -ENOMEM ? EXIT_NO_MEMORY : EXIT_INTERNAL;
}

static void stop_on_signal(void *ctx, int fd, uint32_t events)
{
	struct daemon *daemon = ctx;
	struct signalfd_siginfo info;

	(void)events;
	if (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		log_info("signal %u: leaving", info.ssi_signo);
	event_loop_stop(daemon->loop);
}

/* The socket's folder, if it is the default one's; others make their own. */
static void make_run_folder(const char *socket)
{
	char folder[sizeof(VSP_SOCKET_DEFAULT)];
	const char *slash = strrchr(socket, '/');

	if (strcmp(socket, VSP_SOCKET_DEFAULT) != 0 || !slash)
		return;
	memcpy(folder, socket, (size_t)(slash - socket));
	folder[slash - socket] = '\0';
	mkdir(folder, 0755); /* where it fails, listening will say why */
}

static enum exit_code start_uplinks(struct daemon *daemon, const struct options *options)
{
	for (unsigned int i = 0; i < options->uplink_count; i++) {
		const struct vlan_set *carried = &options->carried[i];
		int err = uplink_create(daemon->path, options->uplinks[i],
					vlan_set_count(carried) ? carried : NULL,
					&daemon->uplinks[i]);

		if (err) {
			fprintf(stderr, "netvspd: uplink %s: %s\n", options->uplinks[i],
				uplink_error_hint(err));
			return EXIT_BAD_DEVARGS;
		}
	}
	return EXIT_OK;
}

static enum exit_code start_daemon(struct daemon *daemon, const struct options *options,
				   const sigset_t *signals)
{
	struct data_path_config config = {.memory_megabytes = options->eal.memory_megabytes,
					  .cpu = options->cpu};
	struct event_watch *watch;
	enum exit_code code;
	int err;

	err = data_path_create(&config, &daemon->path);
	if (err) {
		fprintf(stderr, "netvspd: data path: %s (more --memory may help)\n",
			strerror(-err));
		return err == -ENOMEM ? EXIT_NO_MEMORY : EXIT_INTERNAL;
	}
	code = start_uplinks(daemon, options);
	if (code != EXIT_OK)
		return code;
	err = event_loop_create(&daemon->loop);
	daemon->signal_fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (!err)
		err = daemon->signal_fd < 0
			      ? -errno
			      : event_loop_watch(daemon->loop, daemon->signal_fd, EPOLLIN,
						 stop_on_signal, daemon, &watch);
	if (err) {
		fprintf(stderr, "netvspd: %s\n", strerror(-err));
		return EXIT_INTERNAL;
	}
	make_run_folder(options->socket);
	err = vsp_server_create(daemon->loop, daemon->path, options->socket, &daemon->server);
	if (err) {
		fprintf(stderr, "netvspd: %s: %s\n", options->socket,
			err == -EADDRINUSE ? "another netvspd listens there" : strerror(-err));
		return err == -EADDRINUSE ? EXIT_EXISTS : EXIT_INTERNAL;
	}
	if (telemetry_register(daemon->path) < 0)
		log_warn("no telemetry");
	return EXIT_OK;
}

static void stop_daemon(struct daemon *daemon)
{
	telemetry_unregister();
	vsp_server_destroy(daemon->server);
	for (unsigned int i = 0; i < MAX_UPLINKS; i++)
		uplink_destroy(daemon->uplinks[i]);
	data_path_destroy(daemon->path);
	event_loop_destroy(daemon->loop);
	if (daemon->signal_fd >= 0)
		close(daemon->signal_fd);
}

int main(int argc, char **argv)
{
	struct options options = {
		.socket = VSP_SOCKET_DEFAULT,
		.eal = {.file_prefix = "lunar-netvspd", .memory_megabytes = DEFAULT_MEMORY},
		.cpu = -1,
	};
	struct daemon daemon = {.signal_fd = -1};
	enum exit_code code = parse_options(argc, argv, &options);
	sigset_t signals;

	if (code != EXIT_OK)
		return (int)code;
	/* Before there are other threads: they must inherit it. A peer that closes its socket is no
	 * reason to die. */
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	code = start_eal(&options.eal);
	if (code != EXIT_OK)
		return (int)code;
	code = start_daemon(&daemon, &options, &signals);
	if (code == EXIT_OK) {
		log_info("listening on %s", options.socket);
		if (event_loop_run(daemon.loop) < 0)
			code = EXIT_INTERNAL;
	}
	stop_daemon(&daemon);
	eal_stop();
	return (int)code;
}
