/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See move_fixture.h. The fake VM is in move_fake_vm.c.
 */
#include "tests/unit/hypervisor/move_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/deadline.h"
#include "hypervisor/tls_files.h"
#include "tests/unit/hypervisor/move_fake_vm.h"

#define POLL_US 2000

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition,         \
				strerror(errno));                                                  \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static const char *const host_names[] = {"a", "b"};

const char *world_address(enum move_host host)
{
	return host == HOST_A ? "127.0.0.1" : "127.0.0.2";
}

static void host_path(const struct move_world *world, enum move_host host, const char *name,
		      char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s%s%s", world->root, host_names[host], *name ? "/" : "",
		 name);
}

/* ---- certificates: made once a program, since that takes its time ---- */

static char certificates[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static pid_t certificates_owner;

static void certificates_remove(void)
{
	if (getpid() == certificates_owner)
		nftw(certificates, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void certificates_make(void)
{
	struct vm_error error;
	char ca[96], directory[96];

	if (*certificates)
		return;
	snprintf(certificates, sizeof(certificates), "/tmp/lunar-move-tls-XXXXXX");
	CHECK(mkdtemp(certificates) != NULL);
	certificates_owner = getpid();
	atexit(certificates_remove);
	snprintf(ca, sizeof(ca), "%s/lab", certificates);
	CHECK(tls_files_make_ca(ca, "Lab", 30, &error) == 0);
	for (int host = HOST_A; host <= HOST_B; host++) {
		const char *const names[] = {host_names[host], world_address((enum move_host)host)};

		snprintf(directory, sizeof(directory), "%s/%s", certificates, host_names[host]);
		CHECK(tls_files_make_host(ca, directory, names, 2, 30, &error) == 0);
	}
}

void world_enter(const struct move_world *world, enum move_host host)
{
	char path[PATH_MAX];

	host_path(world, host, "run", path);
	setenv("LUNAR_RUN_DIR", path, 1);
	host_path(world, host, "state", path);
	setenv("LUNAR_STATE_DIR", path, 1);
	snprintf(path, sizeof(path), "%s/%s", certificates, host_names[host]);
	setenv("LUNAR_TLS_DIR", path, 1);
	setenv("LUNAR_INCOMING_DIRS", "/bin", 1); /* the fake VM's kernel */
}

static void process_begin(struct move_world *world, enum move_host host, const char *hold)
{
	char path[PATH_MAX];
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	world_enter(world, host);
	if (hold)
		setenv("LUNAR_MIGRATION_HOLD", hold, 1);
	else
		unsetenv("LUNAR_MIGRATION_HOLD");
	host_path(world, host, "log", path);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	CHECK(fd >= 0);
	dup2(fd, STDERR_FILENO);
	close(fd);
}

/* ---- the receiver ---- */

static int address_listen(const struct move_world *world, enum move_host host, uint16_t *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(*port)};
	socklen_t length = sizeof(address);
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)world;
	CHECK(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	inet_pton(AF_INET, world_address(host), &address.sin_addr);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0) {
		close(fd);
		return -errno;
	}
	CHECK(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
	*port = ntohs(address.sin_port);
	return fd;
}

static _Noreturn void receiver_run(struct move_world *world, enum move_host host, int listener)
{
	bool first = true;

	signal(SIGCHLD, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		pid_t pid;

		if (fd < 0)
			continue;
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			signal(SIGCHLD, SIG_DFL);
			close(listener);
			process_begin(world, host, first ? world->target_hold : NULL);
			/* As vmwp, it outlives the receiver. */
			prctl(PR_SET_PDEATHSIG, 0);
			_exit(fake_target_run(world, host, fd));
		}
		if (first)
			atomic_store(&world->witness->served_pid[host], pid);
		first = false;
		close(fd);
	}
}

void receiver_start(struct move_world *world, enum move_host host)
{
	int listener = address_listen(world, host, &world->port);
	pid_t pid;

	CHECK(listener >= 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		receiver_run(world, host, listener);
	close(listener);
	world->receiver[host] = pid;
}

void receiver_stop(struct move_world *world, enum move_host host)
{
	if (world->receiver[host] <= 0)
		return;
	kill(world->receiver[host], SIGKILL);
	waitpid(world->receiver[host], NULL, 0);
	world->receiver[host] = 0;
}

/* ---- the world ---- */

/* A port that is free on both addresses. */
static void port_choose(struct move_world *world)
{
	for (int tries = 0; tries < 50; tries++) {
		uint16_t port = 0;
		int a = address_listen(world, HOST_A, &port), b;

		CHECK(a >= 0);
		b = address_listen(world, HOST_B, &port);
		close(a);
		if (b >= 0) {
			close(b);
			world->port = port;
			return;
		}
	}
	CHECK(world->port); /* no port was free */
}

void world_prepare(void)
{
	certificates_make();
}

/* In memory, where that can be: moves flush their records, and a disk that others keep busy may
 * hold a flush for longer than anything here waits. */
static void root_make(char *root, size_t root_bytes)
{
	const char *folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	snprintf(root, root_bytes, "%s/lunar-move-XXXXXX", folder);
	CHECK(mkdtemp(root) != NULL);
}

void world_make(struct move_world *world)
{
	char path[PATH_MAX];

	*world = (struct move_world){0};
	certificates_make();
	root_make(world->root, sizeof(world->root));
	for (int host = HOST_A; host <= HOST_B; host++) {
		host_path(world, (enum move_host)host, "", path);
		CHECK(mkdir(path, 0700) == 0);
	}
	world->witness = mmap(NULL, sizeof(*world->witness), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(world->witness != MAP_FAILED);
	world->witness->dirty_pages = 1;
	world->options.connections = 2;
	world->options.downtime_ms = 300;
	world->options.timeout_seconds = 20;
	port_choose(world);
}

void world_remove(struct move_world *world)
{
	for (int host = HOST_A; host <= HOST_B; host++) {
		pid_t pid = world->witness->vm_pid[host], served = world->witness->served_pid[host];

		receiver_stop(world, (enum move_host)host);
		if (pid > 0)
			kill(pid, SIGKILL);
		if (served > 0 && served != pid)
			kill(served, SIGKILL);
	}
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	munmap(world->witness, sizeof(*world->witness));
	nftw(world->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

pid_t vm_boot(struct move_world *world, enum move_host host, bool move)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		process_begin(world, host, world->source_hold);
		_exit(fake_source_run(world, host, move));
	}
	return pid;
}

void vm_order(pid_t pid, enum move_order order)
{
	CHECK(pid > 0);
	kill(pid, SIGRTMIN + (int)order);
}

void vm_cut(pid_t pid)
{
	CHECK(pid > 0);
	kill(pid, SIGUSR1);
}

int vm_wait(pid_t pid, uint32_t timeout_ms)
{
	struct deadline deadline = deadline_in_ms(timeout_ms);
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (deadline_passed(deadline))
			return -ETIMEDOUT;
		usleep(POLL_US);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* ---- what is seen ---- */

bool world_wait_held(struct move_world *world, enum move_host host, const char *step,
		     uint32_t timeout_ms)
{
	struct deadline deadline = deadline_in_ms(timeout_ms);
	char path[PATH_MAX], line[512], wanted[64];

	host_path(world, host, "log", path);
	snprintf(wanted, sizeof(wanted), "held at %s ", step);
	do {
		FILE *log = fopen(path, "r");
		bool held = false;

		while (log && !held && fgets(line, sizeof(line), log))
			held = strstr(line, wanted) != NULL;
		if (log)
			fclose(log);
		if (held)
			return true;
		usleep(POLL_US);
	} while (!deadline_passed(deadline));
	return false;
}

bool world_vm_runs(struct move_world *world, uint32_t timeout_ms)
{
	struct deadline deadline = deadline_in_ms(timeout_ms);
	uint64_t before = atomic_load(&world->witness->clock);

	while (!deadline_passed(deadline)) {
		if (atomic_load(&world->witness->clock) > before + 5)
			return true;
		usleep(POLL_US);
	}
	return false;
}

bool world_wait_ended(struct move_world *world, uint32_t ended, uint32_t timeout_ms)
{
	struct deadline deadline = deadline_in_ms(timeout_ms);

	while (atomic_load(&world->witness->ended) < ended) {
		if (deadline_passed(deadline))
			return false;
		usleep(POLL_US);
	}
	return true;
}

bool world_is_defined(const struct move_world *world, enum move_host host)
{
	char path[PATH_MAX];

	host_path(world, host, "state/vms/" MOVE_VM ".yaml", path);
	return access(path, F_OK) == 0;
}

int world_dial(const struct move_world *world, enum move_host host)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(world->port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, world_address(host), &address.sin_addr);
	CHECK(fd >= 0);
	CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

void world_print_logs(const struct move_world *world)
{
	char path[PATH_MAX], line[512];

	for (int host = HOST_A; host <= HOST_B; host++) {
		FILE *log;

		host_path(world, (enum move_host)host, "log", path);
		log = fopen(path, "r");
		while (log && fgets(line, sizeof(line), log))
			fprintf(stderr, "%s: %s", host_names[host], line);
		if (log)
			fclose(log);
	}
}
