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
#include "netvsp/team.h"
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

#define TEAM_LOOK_MS 50 /* so often are teams asked who carries their frames */

struct uplink_options {
	const char *devargs; /* NULL: a team */
	struct team_config team;
	struct vlan_set carried; /* empty: all */
};

struct options {
	const char *socket;
	struct uplink_options uplinks[MAX_UPLINKS];
	unsigned int uplink_count;
	struct eal_options eal;
	int cpu;
};

struct daemon {
	struct event_loop *loop;
	struct data_path *path;
	struct vsp_server *server;
	struct uplink *uplinks[MAX_UPLINKS];
	struct event_timer *team_timer;
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
		"  --team MODE          an uplink made of several ports, those of the --member\n"
		"                       options behind it: active-backup, balance-l2,\n"
		"                       balance-l23, balance-l34 or 802.3ad\n"
		"  --member DEVARGS     a port of the team before it, two at least\n"
		"  --vlans LIST         VLANs that the uplink or team before it carries, such as\n"
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
	OPTION_TEAM,
	OPTION_MEMBER,
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
	{"team", required_argument, NULL, OPTION_TEAM},
	{"member", required_argument, NULL, OPTION_MEMBER},
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

/* The uplink that the command line is at; NULL: none yet. */
static struct uplink_options *last_uplink(struct options *options)
{
	return options->uplink_count ? &options->uplinks[options->uplink_count - 1] : NULL;
}

static struct uplink_options *next_uplink(struct options *options)
{
	return options->uplink_count < MAX_UPLINKS ? &options->uplinks[options->uplink_count++]
						   : NULL;
}

static bool parse_uplink(int code, struct options *options)
{
	struct uplink_options *uplink = code == OPTION_UPLINK || code == OPTION_TEAM
						? next_uplink(options)
						: last_uplink(options);

	if (!uplink)
		return false;
	if (code == OPTION_VLANS)
		return vlan_set_parse(optarg, 0, &uplink->carried) == 0;
	if (code == OPTION_TEAM)
		return team_mode_parse(optarg, &uplink->team.mode) == 0;
	if (code == OPTION_UPLINK)
		uplink->devargs = optarg;
	else if (uplink->devargs || uplink->team.count == TEAM_MAX_MEMBERS)
		return false;
	else
		uplink->team.members[uplink->team.count++] = optarg;
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
	case OPTION_TEAM:
	case OPTION_MEMBER:
	case OPTION_VLANS:
		return parse_uplink(code, options);
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

/* Makes the port of a team, whose name is *devargs then. */
static enum exit_code start_team(struct daemon *daemon, const struct team_config *config,
				 const char **devargs)
{
	const char *bad_member;
	struct data_path *path = daemon->path;
	int err =
		team_create(path->team_count, config, &path->teams[path->team_count], &bad_member);

	if (err == -EINVAL && !bad_member)
		fprintf(stderr, "netvspd: team %s: it has %u members; give it 2 to %d (--member)\n",
			team_mode_name(config->mode), config->count, TEAM_MAX_MEMBERS);
	else if (err)
		fprintf(stderr, "netvspd: team %s: %s: %s\n", team_mode_name(config->mode),
			bad_member ? bad_member : "DPDK's bonding driver", uplink_error_hint(err));
	if (err)
		return EXIT_BAD_DEVARGS;
	*devargs = team_port_name(path->teams[path->team_count++]);
	return EXIT_OK;
}

static enum exit_code start_uplinks(struct daemon *daemon, const struct options *options)
{
	for (unsigned int i = 0; i < options->uplink_count; i++) {
		const struct uplink_options *uplink = &options->uplinks[i];
		const char *devargs = uplink->devargs;
		int err;

		if (!devargs) {
			enum exit_code code = start_team(daemon, &uplink->team, &devargs);

			if (code != EXIT_OK)
				return code;
		}
		err = uplink_create(daemon->path, devargs,
				    vlan_set_count(&uplink->carried) ? &uplink->carried : NULL,
				    &daemon->uplinks[i]);
		if (err) {
			fprintf(stderr, "netvspd: uplink %s: %s\n", devargs,
				uplink_error_hint(err));
			return EXIT_BAD_DEVARGS;
		}
	}
	return EXIT_OK;
}

/* Where another member carries a team's frames now, the network learns where the guests are. */
static void watch_teams(void *ctx)
{
	struct daemon *daemon = ctx;
	bool changed = false;

	for (uint32_t i = 0; i < daemon->path->team_count; i++)
		changed = team_has_changed(daemon->path->teams[i]) || changed;
	if (changed)
		vsp_server_announce(daemon->server);
	if (event_loop_after_ms(daemon->loop, TEAM_LOOK_MS, watch_teams, daemon,
				&daemon->team_timer) < 0) {
		daemon->team_timer = NULL;
		log_error("teams are not watched any more: no memory");
	}
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
	if (daemon->path->team_count)
		watch_teams(daemon);
	if (telemetry_register(daemon->path) < 0)
		log_warn("no telemetry");
	return EXIT_OK;
}

static void stop_daemon(struct daemon *daemon)
{
	telemetry_unregister();
	event_timer_cancel(daemon->team_timer);
	vsp_server_destroy(daemon->server);
	for (unsigned int i = 0; i < MAX_UPLINKS; i++)
		uplink_destroy(daemon->uplinks[i]);
	for (uint32_t i = 0; daemon->path && i < daemon->path->team_count; i++)
		team_destroy(daemon->path->teams[i]);
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
