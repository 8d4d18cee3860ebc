/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See fake_netvspd.h. A failure of the system ends the program: it is not what the tests are about.
 */
#include "tests/unit/hypervisor/fake_netvspd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd_passing.h"

#define MAX_CONNECTIONS 32
#define MAX_TYPES	21
#define MAX_FDS		16
#define KEPT_BYTES	4096

struct connection {
	int socket; /* -1: none */
	bool nic;
	bool incoming;
	bool rests;
	bool restored;
	bool journal;
	bool departed;
	unsigned channels;
};

struct fake_netvspd {
	char dir[32];
	char path[64];
	int listener;
	int wake;
	pthread_t thread;

	pthread_mutex_t lock; /* guards all below */
	bool ending;
	bool hang_up;
	struct connection connections[MAX_CONNECTIONS];
	int answers[MAX_TYPES];
	unsigned counts[MAX_TYPES];
	uint8_t last[MAX_TYPES][KEPT_BYTES];
	uint32_t version;
	struct vsp_info info;
	struct vsp_portals portals;
	struct vsp_vlan_missing missing;
	uint8_t restored[KEPT_BYTES];
	size_t restored_bytes;
	unsigned saves;
	const char *violation;
	_Alignas(struct vsp_header) uint8_t message[VSP_MAX_MESSAGE_BYTES];
};

static void violated(struct fake_netvspd *netvspd, const char *what)
{
	if (!netvspd->violation)
		netvspd->violation = what;
}

static void hang_up(struct connection *connection)
{
	close(connection->socket);
	*connection = (struct connection){.socket = -1};
}

/* A state that differs each time. */
static int state_make(struct fake_netvspd *netvspd, uint64_t *size_bytes)
{
	char text[64];
	int fd = memfd_create("fake-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int length = snprintf(text, sizeof(text), "state %u of a fake NIC", ++netvspd->saves);

	if (fd < 0 || write(fd, text, (size_t)length) != length ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE))
		abort();
	*size_bytes = (uint64_t)length;
	return fd;
}

static void state_take(struct fake_netvspd *netvspd, const struct vsp_state *request,
		       const int *fds, size_t fd_count)
{
	const int wanted = F_SEAL_SHRINK | F_SEAL_WRITE;
	ssize_t got = -1;

	if (fd_count == 1 && (fcntl(fds[0], F_GET_SEALS) & wanted) == wanted &&
	    request->size_bytes <= sizeof(netvspd->restored))
		got = pread(fds[0], netvspd->restored, request->size_bytes, 0);
	if (got < 0 || (uint64_t)got != request->size_bytes)
		violated(netvspd, "RESTORE without its state in a sealed memfd");
	else
		netvspd->restored_bytes = (size_t)got;
}

/* A first one is marked; one to go on with must be marked. */
static void journal_take(struct fake_netvspd *netvspd, const struct vsp_journal *request,
			 const int *fds, size_t fd_count)
{
	static const char mark[] = "kept by a fake netvspd";
	char found[sizeof(mark)] = "";

	if (fd_count != 1 || !(fcntl(fds[0], F_GET_SEALS) & F_SEAL_SHRINK) ||
	    lseek(fds[0], 0, SEEK_END) < (off_t)VSP_JOURNAL_BYTES ||
	    pread(fds[0], found, sizeof(found), 0) != (ssize_t)sizeof(found))
		violated(netvspd, "JOURNAL without a sealed memfd");
	else if (request->flags & VSP_JOURNAL_RECOVER && memcmp(found, mark, sizeof(mark)) != 0)
		violated(netvspd, "another journal than the one that was kept");
	else if (!(request->flags & VSP_JOURNAL_RECOVER) && *found)
		violated(netvspd, "a new journal that is not empty");
	else if (pwrite(fds[0], mark, sizeof(mark), 0) < 0)
		abort();
}

/* The order that wire/vsp.h asks for. */
static void order_check(struct fake_netvspd *netvspd, struct connection *connection,
			const struct vsp_header *request)
{
	const struct vsp_channel_open *open = (const void *)request;

	switch (request->type) {
	case VSP_NIC:
		connection->nic = true;
		connection->incoming =
			((const struct vsp_nic *)(const void *)request)->flags & VSP_NIC_INCOMING;
		connection->rests = connection->incoming;
		break;
	case VSP_CHANNEL_OPEN:
		connection->channels++;
		if (!!(open->flags & VSP_CHANNEL_RESTORED) != connection->incoming)
			violated(netvspd, "a channel is restored where it was not, or not");
		if (open->flags & VSP_CHANNEL_RESTORED && !connection->restored)
			violated(netvspd, "a channel is restored before the state is");
		break;
	case VSP_RESTORE:
		if (!connection->incoming || connection->restored || connection->channels)
			violated(netvspd, "RESTORE out of order");
		connection->restored = true;
		break;
	case VSP_JOURNAL:
		if (connection->journal || connection->channels || !connection->nic)
			violated(netvspd, "JOURNAL out of order");
		connection->journal = true;
		if (!(((const struct vsp_journal *)(const void *)request)->flags &
		      VSP_JOURNAL_RECOVER))
			break;
		if (!connection->incoming || connection->restored)
			violated(netvspd, "JOURNAL to go on with, out of order");
		connection->restored = true;
		break;
	case VSP_SAVE:
		if (connection->rests || !connection->nic)
			violated(netvspd, "SAVE of a NIC at rest");
		connection->rests = true;
		break;
	case VSP_RESUME:
		if (!connection->rests || connection->departed)
			violated(netvspd, "RESUME of a NIC that does not rest");
		if (connection->incoming && !connection->restored)
			violated(netvspd, "RESUME without a state");
		connection->rests = false;
		connection->incoming = false;
		break;
	case VSP_DEPART:
		if (!connection->rests || connection->incoming)
			violated(netvspd, "DEPART of a NIC that does not rest");
		connection->departed = true;
		break;
	case VSP_GPADL_REMOVE:
	case VSP_CHANNEL_CLOSE:
	case VSP_CHANNEL_MODIFY:
		if (connection->rests)
			violated(netvspd, "a request for a NIC at rest");
		break;
	default:
		break;
	}
}

static size_t reply_fill(struct fake_netvspd *netvspd, const struct vsp_header *request,
			 void *reply, int *fd)
{
	struct vsp_hello *hello = reply;
	struct vsp_state *state = reply;

	switch (request->type) {
	case VSP_HELLO:
		hello->version = ((const struct vsp_hello *)(const void *)request)->version;
		if (hello->version > netvspd->version)
			hello->version = netvspd->version;
		return sizeof(*hello);
	case VSP_STATS:
		return sizeof(struct vsp_stats);
	case VSP_SAVE:
		*fd = state_make(netvspd, &state->size_bytes);
		return sizeof(*state);
	case VSP_INFO:
		memcpy(reply, &netvspd->info, sizeof(netvspd->info));
		return sizeof(netvspd->info);
	case VSP_VLAN_CHECK:
		memcpy(reply, &netvspd->missing, sizeof(netvspd->missing));
		return sizeof(netvspd->missing);
	case VSP_PORTALS:
		memcpy(reply, &netvspd->portals, sizeof(netvspd->portals));
		return sizeof(netvspd->portals);
	default:
		return sizeof(struct vsp_header);
	}
}

static void request_answer(struct fake_netvspd *netvspd, struct connection *connection,
			   const struct vsp_header *request, int status)
{
	_Alignas(struct vsp_header) uint8_t reply[1024] = {0};
	struct vsp_header *header = (void *)reply;
	size_t length = sizeof(*header);
	int fd = -1;

	if (!status)
		length = reply_fill(netvspd, request, reply, &fd);
	header->type = request->type | VSP_REPLY;
	header->size_bytes = (uint32_t)length;
	header->sequence = request->sequence;
	header->status = status;
	(void)fd_passing_send(connection->socket, reply, length, &fd, fd >= 0);
	if (fd >= 0)
		close(fd);
}

static void request_handle(struct fake_netvspd *netvspd, struct connection *connection,
			   size_t length, const int *fds, size_t fd_count)
{
	const struct vsp_header *request = (const void *)netvspd->message;
	uint32_t type = request->type;

	if (length < sizeof(*request) || request->size_bytes != length || type >= MAX_TYPES) {
		violated(netvspd, "not a request");
		return;
	}
	netvspd->counts[type]++;
	memcpy(netvspd->last[type], request, length < KEPT_BYTES ? length : KEPT_BYTES);
	if (netvspd->answers[type] == FAKE_NETVSPD_HANGS_UP) {
		hang_up(connection);
		return;
	}
	if (netvspd->answers[type] == 0)
		order_check(netvspd, connection, request);
	if (type == VSP_RESTORE)
		state_take(netvspd, (const void *)request, fds, fd_count);
	if (type == VSP_JOURNAL)
		journal_take(netvspd, (const void *)request, fds, fd_count);
	if (netvspd->answers[type] != FAKE_NETVSPD_SILENT)
		request_answer(netvspd, connection, request, netvspd->answers[type]);
}

static void connection_serve(struct fake_netvspd *netvspd, struct connection *connection)
{
	int fds[MAX_FDS];
	size_t fd_count = 0;
	ssize_t length = fd_passing_receive(connection->socket, netvspd->message,
					    sizeof(netvspd->message), fds, MAX_FDS, &fd_count);

	if (length == -EAGAIN)
		return;
	if (length <= 0) {
		hang_up(connection);
		return;
	}
	request_handle(netvspd, connection, (size_t)length, fds, fd_count);
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
}

static void connection_accept(struct fake_netvspd *netvspd)
{
	int socket = accept4(netvspd->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	for (size_t i = 0; i < MAX_CONNECTIONS && socket >= 0; i++)
		if (netvspd->connections[i].socket < 0) {
			netvspd->connections[i].socket = socket;
			return;
		}
	if (socket >= 0)
		abort();
}

static void *serve(void *argument)
{
	struct fake_netvspd *netvspd = argument;
	struct pollfd polls[MAX_CONNECTIONS + 2];

	pthread_mutex_lock(&netvspd->lock);
	while (!netvspd->ending) {
		polls[0] = (struct pollfd){.fd = netvspd->listener, .events = POLLIN};
		polls[1] = (struct pollfd){.fd = netvspd->wake, .events = POLLIN};
		for (size_t i = 0; i < MAX_CONNECTIONS; i++)
			polls[i + 2] = (struct pollfd){.fd = netvspd->connections[i].socket,
						       .events = POLLIN};
		pthread_mutex_unlock(&netvspd->lock);
		poll(polls, MAX_CONNECTIONS + 2, 1000);
		pthread_mutex_lock(&netvspd->lock);
		if (polls[1].revents) {
			uint64_t count;

			(void)!read(netvspd->wake, &count, sizeof(count));
		}
		for (size_t i = 0; i < MAX_CONNECTIONS; i++) {
			struct connection *connection = &netvspd->connections[i];

			if (connection->socket >= 0 && netvspd->hang_up)
				hang_up(connection);
			else if (connection->socket >= 0 && connection->socket == polls[i + 2].fd &&
				 polls[i + 2].revents)
				connection_serve(netvspd, connection);
		}
		netvspd->hang_up = false;
		if (polls[0].revents)
			connection_accept(netvspd);
	}
	pthread_mutex_unlock(&netvspd->lock);
	return NULL;
}

struct fake_netvspd *fake_netvspd_start(void)
{
	struct fake_netvspd *made = calloc(1, sizeof(*made));

	if (!made)
		abort();
	strcpy(made->dir, "/tmp/lunar-netvspd-XXXXXX");
	if (!mkdtemp(made->dir))
		abort();
	snprintf(made->path, sizeof(made->path), "%s/vsp.sock", made->dir);
	made->listener = unix_socket_listen(made->path, SOCK_SEQPACKET);
	made->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	made->version = VSP_VERSION;
	for (size_t i = 0; i < MAX_CONNECTIONS; i++)
		made->connections[i].socket = -1;
	pthread_mutex_init(&made->lock, NULL);
	if (made->listener < 0 || made->wake < 0 ||
	    pthread_create(&made->thread, NULL, serve, made))
		abort();
	return made;
}

static void wake(struct fake_netvspd *netvspd)
{
	const uint64_t one = 1;

	(void)!write(netvspd->wake, &one, sizeof(one));
}

void fake_netvspd_stop(struct fake_netvspd *netvspd)
{
	if (!netvspd)
		return;
	pthread_mutex_lock(&netvspd->lock);
	netvspd->ending = true;
	pthread_mutex_unlock(&netvspd->lock);
	wake(netvspd);
	pthread_join(netvspd->thread, NULL);
	for (size_t i = 0; i < MAX_CONNECTIONS; i++)
		if (netvspd->connections[i].socket >= 0)
			close(netvspd->connections[i].socket);
	close(netvspd->listener);
	close(netvspd->wake);
	unlink(netvspd->path);
	rmdir(netvspd->dir);
	pthread_mutex_destroy(&netvspd->lock);
	free(netvspd);
}

const char *fake_netvspd_path(const struct fake_netvspd *netvspd)
{
	return netvspd->path;
}

void fake_netvspd_answer(struct fake_netvspd *netvspd, enum vsp_type type, int how)
{
	pthread_mutex_lock(&netvspd->lock);
	netvspd->answers[type] = how;
	pthread_mutex_unlock(&netvspd->lock);
}

void fake_netvspd_set_version(struct fake_netvspd *netvspd, uint32_t version)
{
	pthread_mutex_lock(&netvspd->lock);
	netvspd->version = version;
	pthread_mutex_unlock(&netvspd->lock);
}

void fake_netvspd_set_info(struct fake_netvspd *netvspd, const struct vsp_info *info)
{
	pthread_mutex_lock(&netvspd->lock);
	netvspd->info = *info;
	pthread_mutex_unlock(&netvspd->lock);
}

void fake_netvspd_set_portals(struct fake_netvspd *netvspd, const struct vsp_portals *portals)
{
	pthread_mutex_lock(&netvspd->lock);
	netvspd->portals = *portals;
	pthread_mutex_unlock(&netvspd->lock);
}

unsigned fake_netvspd_count(struct fake_netvspd *netvspd, enum vsp_type type)
{
	unsigned count;

	pthread_mutex_lock(&netvspd->lock);
	count = netvspd->counts[type];
	pthread_mutex_unlock(&netvspd->lock);
	return count;
}

bool fake_netvspd_last(struct fake_netvspd *netvspd, enum vsp_type type, void *message, size_t size)
{
	bool any;

	pthread_mutex_lock(&netvspd->lock);
	any = netvspd->counts[type] > 0;
	memcpy(message, netvspd->last[type], size < KEPT_BYTES ? size : KEPT_BYTES);
	pthread_mutex_unlock(&netvspd->lock);
	return any;
}

size_t fake_netvspd_restored(struct fake_netvspd *netvspd, void *state, size_t size)
{
	size_t length;

	pthread_mutex_lock(&netvspd->lock);
	length = netvspd->restored_bytes;
	memcpy(state, netvspd->restored, length < size ? length : size);
	pthread_mutex_unlock(&netvspd->lock);
	return length;
}

const char *fake_netvspd_violation(struct fake_netvspd *netvspd)
{
	const char *violation;

	pthread_mutex_lock(&netvspd->lock);
	violation = netvspd->violation;
	pthread_mutex_unlock(&netvspd->lock);
	return violation;
}

void fake_netvspd_hang_up(struct fake_netvspd *netvspd)
{
	pthread_mutex_lock(&netvspd->lock);
	netvspd->hang_up = true;
	pthread_mutex_unlock(&netvspd->lock);
	wake(netvspd);
}

void fake_netvspd_notify(struct fake_netvspd *netvspd, const void *message, size_t length)
{
	pthread_mutex_lock(&netvspd->lock);
	for (size_t i = 0; i < MAX_CONNECTIONS; i++)
		if (netvspd->connections[i].socket >= 0 && netvspd->connections[i].nic)
			(void)fd_passing_send(netvspd->connections[i].socket, message, length, NULL,
					      0);
	pthread_mutex_unlock(&netvspd->lock);
}

void fake_netvspd_set_missing(struct fake_netvspd *netvspd, const struct vsp_vlan_missing *missing)
{
	pthread_mutex_lock(&netvspd->lock);
	netvspd->missing = *missing;
	pthread_mutex_unlock(&netvspd->lock);
}
