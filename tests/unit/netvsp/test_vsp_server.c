/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vsp socket against clients that do not keep to wire/vsp.h: the client is dropped or refused,
 * the next one is served, and nothing leaks (file descriptors are counted).
 */
#include "tests/unit/test_main.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "base/fd_passing.h"
#include "tests/unit/netvsp/netvspd_fixture.h"
#include "vmbus/event_signal.h"
#include "vmbus/guest_memory.h"
#include "wire/vsp.h"

#define RING_OFFSET  INT64_C(65536) /* of the ring's first page, 16 */
#define WAIT_MS	     20000
#define MEMORY_BYTES (UINT64_C(4) << 20)
#define GONE	     1 /* what ask() returns where the connection has ended */

struct client {
	int fd;
	int memory_fd;
	int dirty_fd;
	int table_fd;
	uint32_t sequence;
};

static unsigned int count_fds(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned int count = 0;

	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

static int make_memfd(uint64_t bytes)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	return fd;
}

static struct client connect_client(void **state)
{
	struct client client = {.fd = unix_socket_connect(netvspd_socket(*state), SOCK_SEQPACKET)};
	struct signal_table table;

	assert_true(client.fd >= 0);
	client.memory_fd = make_memfd(MEMORY_BYTES);
	client.dirty_fd = make_memfd(4096);
	assert_int_equal(signal_table_init(&table, -1), 0);
	client.table_fd = dup(table.fd);
	signal_table_fini(&table);
	return client;
}

static void disconnect(struct client *client)
{
	close(client->fd);
	close(client->memory_fd);
	close(client->dirty_fd);
	close(client->table_fd);
}

/* Sends a request and returns the reply's status, or GONE. Notifications are passed over. */
static int ask_with(struct client *client, uint32_t type, void *message, size_t length,
		    const int *fds, size_t fd_count)
{
	struct vsp_header *header = message;
	_Alignas(8) uint8_t reply[256];

	header->type = type;
	header->size_bytes = (uint32_t)length;
	header->sequence = ++client->sequence;
	if (fd_passing_send(client->fd, message, length, fds, fd_count) < 0)
		return GONE;
	for (;;) {
		struct pollfd ready = {.fd = client->fd, .events = POLLIN};
		const struct vsp_header *answer = (const void *)reply;
		size_t got_fds;
		ssize_t bytes;

		assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
		bytes = fd_passing_receive(client->fd, reply, sizeof(reply), NULL, 0, &got_fds);
		if (bytes <= 0)
			return GONE;
		assert_int_equal(answer->size_bytes, bytes);
		if (answer->type & VSP_NOTIFY)
			continue;
		assert_int_equal(answer->type, type | VSP_REPLY);
		assert_int_equal(answer->sequence, header->sequence);
		return answer->status;
	}
}

static int ask(struct client *client, uint32_t type, void *message, size_t length)
{
	return ask_with(client, type, message, length, NULL, 0);
}

static int say_hello(struct client *client)
{
	struct vsp_hello hello = {.version = VSP_VERSION};

	return ask(client, VSP_HELLO, &hello, sizeof(hello));
}

struct memory_message {
	uint32_t vp_count;
	uint32_t region_count;
	struct vsp_region regions[GUEST_MEMORY_MAX_REGIONS];
};

static int give_memory(struct client *client, const struct memory_message *asked, size_t fd_count)
{
	_Alignas(8) uint8_t bytes[sizeof(struct vsp_memory) + sizeof(asked->regions)] = {0};
	struct vsp_memory *message = (void *)bytes;
	int fds[16] = {client->dirty_fd, client->table_fd};

	for (size_t i = 2; i < ARRAY_LENGTH(fds); i++)
		fds[i] = client->memory_fd;
	message->vp_count = asked->vp_count;
	message->region_count = asked->region_count;
	memcpy(message->regions, asked->regions, sizeof(asked->regions));
	return ask_with(client, VSP_MEMORY, message,
			sizeof(*message) + asked->region_count * sizeof(asked->regions[0]), fds,
			fd_count);
}

static struct memory_message good_memory(void)
{
	return (struct memory_message){.vp_count = 2,
				       .region_count = 1,
				       .regions = {{.gpa = 0, .size_bytes = MEMORY_BYTES}}};
}

static struct vsp_nic good_nic(uint8_t last)
{
	return (struct vsp_nic){
		.name = "vm/nic0", .mac = {2, 0, 0, 0, 0, last}, .mtu = 1500, .max_channels = 2};
}

/* A client with memory and a NIC. */
static struct client connect_nic(void **state)
{
	struct client client = connect_client(state);
	struct memory_message memory = good_memory();
	struct vsp_nic nic = good_nic(1);

	assert_int_equal(say_hello(&client), 0);
	assert_int_equal(give_memory(&client, &memory, 3), 0);
	assert_int_equal(ask(&client, VSP_NIC, &nic, sizeof(nic)), 0);
	return client;
}

static void hello_tells_the_version_in_force(void **state)
{
	struct client client = connect_client(state);
	struct vsp_hello hello = {.version = 99}, *reply;
	_Alignas(8) uint8_t bytes[64];
	struct pollfd ready = {.fd = client.fd, .events = POLLIN};
	size_t fd_count;

	hello.header =
		(struct vsp_header){.type = VSP_HELLO, .size_bytes = sizeof(hello), .sequence = 7};
	assert_int_equal(fd_passing_send(client.fd, &hello, sizeof(hello), NULL, 0), 0);
	assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
	assert_int_equal(fd_passing_receive(client.fd, bytes, sizeof(bytes), NULL, 0, &fd_count),
			 sizeof(hello));
	reply = (void *)bytes;
	assert_int_equal(reply->header.status, 0);
	assert_int_equal(reply->header.sequence, 7);
	assert_int_equal(reply->version, VSP_VERSION);
	disconnect(&client);
}

static void requests_before_their_time_end_the_connection(void **state)
{
	struct client client = connect_client(state);
	struct memory_message memory = good_memory();
	struct vsp_nic nic = good_nic(1);
	struct vsp_header stats = {0};

	assert_int_equal(give_memory(&client, &memory, 3), GONE);
	disconnect(&client);
	client = connect_client(state);
	assert_int_equal(say_hello(&client), 0);
	assert_int_equal(ask(&client, VSP_NIC, &nic, sizeof(nic)), GONE);
	disconnect(&client);
	client = connect_client(state);
	assert_int_equal(say_hello(&client), 0);
	assert_int_equal(ask(&client, VSP_STATS, &stats, sizeof(stats)), GONE);
	disconnect(&client);
	client = connect_client(state);
	assert_int_equal(say_hello(&client), 0);
	assert_int_equal(say_hello(&client), GONE);
	disconnect(&client);
}

static void sizes_that_lie_end_the_connection(void **state)
{
	struct vsp_nic nic = good_nic(1);
	struct client client;

	for (size_t length = 0; length < sizeof(nic) + 8; length += 5) {
		client = connect_client(state);
		assert_int_equal(say_hello(&client), 0);
		nic.header = (struct vsp_header){.type = VSP_NIC, .size_bytes = sizeof(nic) + 8};
		if (length > 0) {
			_Alignas(8) uint8_t bytes[128] = {0};
			struct pollfd ready = {.fd = client.fd, .events = POLLIN};
			size_t fd_count;

			memcpy(bytes, &nic, sizeof(nic));
			assert_int_equal(fd_passing_send(client.fd, bytes, length, NULL, 0), 0);
			assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
			assert_true(fd_passing_receive(client.fd, bytes, sizeof(bytes), NULL, 0,
						       &fd_count) <= 0);
		}
		disconnect(&client);
	}
}

static void unknown_requests_are_refused_and_the_connection_lives(void **state)
{
	struct client client = connect_client(state);
	struct vsp_header header = {0};

	assert_int_equal(say_hello(&client), 0);
	assert_int_equal(ask(&client, 77, &header, sizeof(header)), -EOPNOTSUPP);
	assert_int_equal(ask(&client, 0, &header, sizeof(header)), -EOPNOTSUPP);
	assert_int_equal(ask(&client, 0x7fffffff & ~VSP_NOTIFY, &header, sizeof(header)),
			 -EOPNOTSUPP);
	disconnect(&client);
}

static void bad_memory_tables_are_refused(void **state)
{
	struct client client = connect_client(state);
	struct memory_message memory;

	assert_int_equal(say_hello(&client), 0);
	memory = good_memory();
	memory.vp_count = 0;
	assert_int_equal(give_memory(&client, &memory, 3), -EINVAL);
	memory.vp_count = 65;
	assert_int_equal(give_memory(&client, &memory, 3), -EINVAL);
	memory = good_memory();
	memory.regions[0].gpa = 1;
	assert_int_equal(give_memory(&client, &memory, 3), -EINVAL);
	memory = good_memory();
	memory.regions[0].size_bytes = MEMORY_BYTES + 4096; /* past the end of its memfd */
	assert_int_equal(give_memory(&client, &memory, 3), -EINVAL);
	memory = good_memory();
	memory.regions[0].gpa = UINT64_C(1) << 40;
	assert_int_equal(give_memory(&client, &memory, 3), -EINVAL);
	memory = good_memory();
	memory.regions[0].fd_offset = UINT64_MAX - 4095;
	assert_int_equal(give_memory(&client, &memory, 3), -EINVAL);
	memory = good_memory();
	assert_int_equal(give_memory(&client, &memory, 3), 0);
	/* Once is enough. */
	assert_int_equal(give_memory(&client, &memory, 3), GONE);
	disconnect(&client);
}

static void wrong_number_of_fds_ends_the_connection(void **state)
{
	static const size_t counts[] = {0, 1, 2, 4, 10, 12};
	struct memory_message memory;

	for (size_t i = 0; i < ARRAY_LENGTH(counts); i++) {
		struct client client = connect_client(state);

		assert_int_equal(say_hello(&client), 0);
		memory = good_memory();
		assert_int_equal(give_memory(&client, &memory, counts[i]), GONE);
		disconnect(&client);
	}
}

static void bad_nics_are_refused(void **state)
{
	struct client client = connect_client(state);
	struct memory_message memory = good_memory();
	struct vsp_nic nic;

	assert_int_equal(say_hello(&client), 0);
	assert_int_equal(give_memory(&client, &memory, 3), 0);
	nic = good_nic(1);
	memset(nic.name, 'x', sizeof(nic.name)); /* no end */
	assert_int_equal(ask(&client, VSP_NIC, &nic, sizeof(nic)), -EINVAL);
	nic = good_nic(1);
	nic.name[2] = '\n';
	assert_int_equal(ask(&client, VSP_NIC, &nic, sizeof(nic)), -EINVAL);
	nic = good_nic(1);
	nic.name[0] = '\0';
	assert_int_equal(ask(&client, VSP_NIC, &nic, sizeof(nic)), -EINVAL);
	nic = good_nic(1);
	nic.mac[0] = 1;
	assert_int_equal(ask(&client, VSP_NIC, &nic, sizeof(nic)), -EINVAL);
	nic = good_nic(1);
	nic.mtu = 65535;
	assert_int_equal(ask(&client, VSP_NIC, &nic, sizeof(nic)), -EINVAL);
	nic = good_nic(1);
	nic.max_channels = 65;
	assert_int_equal(ask(&client, VSP_NIC, &nic, sizeof(nic)), -EINVAL);
	nic = good_nic(1);
	nic.flags = 1u << 31;
	assert_int_equal(ask(&client, VSP_NIC, &nic, sizeof(nic)), -EINVAL);
	nic = good_nic(1);
	assert_int_equal(ask(&client, VSP_NIC, &nic, sizeof(nic)), 0);
	disconnect(&client);
}

/* A GPADL of pages that start at a page number. */
static int add_gpadl(struct client *client, uint32_t id, uint32_t pages, uint64_t first_gpn)
{
	size_t length = sizeof(struct vsp_gpadl_add) + 8 + pages * sizeof(uint64_t);
	struct vsp_gpadl_add *message = calloc(1, length);
	int status;

	message->gpadl_id = id;
	message->range_count = 1;
	put_le32(message->ranges, pages * 4096);
	for (uint32_t i = 0; i < pages; i++)
		put_le64(message->ranges + 8 + (size_t)8 * i, first_gpn + i);
	status = ask(client, VSP_GPADL_ADD, message, length);
	free(message);
	return status;
}

static int remove_gpadl(struct client *client, uint32_t id)
{
	struct vsp_gpadl_remove message = {.gpadl_id = id};

	return ask(client, VSP_GPADL_REMOVE, &message, sizeof(message));
}

static void gpadls_are_checked_and_counted(void **state)
{
	struct client client = connect_nic(state);
	struct vsp_gpadl_add empty = {.gpadl_id = 9, .range_count = 1};

	assert_int_equal(ask(&client, VSP_GPADL_ADD, &empty, sizeof(empty)), -EINVAL);
	assert_int_equal(add_gpadl(&client, 1, 4, 16), 0);
	assert_int_equal(add_gpadl(&client, 1, 4, 16), -EEXIST);
	assert_int_equal(remove_gpadl(&client, 2), -ENOENT);
	assert_int_equal(remove_gpadl(&client, 1), 0);
	assert_int_equal(remove_gpadl(&client, 1), -ENOENT);
	for (uint32_t id = 0; id < 256; id++)
		assert_int_equal(add_gpadl(&client, id, 1, id), 0);
	assert_int_equal(add_gpadl(&client, 256, 1, 1), -ENOSPC);
	disconnect(&client);
}

static int open_channel(struct client *client, const struct vsp_channel_open *asked,
			size_t fd_count)
{
	struct vsp_channel_open message = *asked;
	int fds[2] = {eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC)};
	int status = ask_with(client, VSP_CHANNEL_OPEN, &message, sizeof(message), fds, fd_count);

	close(fds[0]);
	close(fds[1]);
	return status;
}

static int close_channel(struct client *client, uint32_t sub_index)
{
	struct vsp_channel_close message = {.sub_index = sub_index};

	return ask(client, VSP_CHANNEL_CLOSE, &message, sizeof(message));
}

static void channels_are_checked_before_they_open(void **state)
{
	const struct vsp_channel_open good = {
		.gpadl_id = 1, .downstream_page_offset = 2, .event_flag = 11};
	struct client client = connect_nic(state);
	struct vsp_channel_open message;

	assert_int_equal(open_channel(&client, &good, 2), -ENOENT);
	assert_int_equal(add_gpadl(&client, 1, 4, 16), 0);
	message = good;
	message.sub_index = 1; /* before the primary */
	assert_int_equal(open_channel(&client, &message, 2), -ENOTCONN);
	message.sub_index = 2; /* one more than it has */
	assert_int_equal(open_channel(&client, &message, 2), -EINVAL);
	for (uint32_t offset = 0; offset < 6; offset++) {
		message = good;
		message.downstream_page_offset = offset;
		if (offset != 2)
			assert_int_equal(open_channel(&client, &message, 2), -EINVAL);
	}
	message = good;
	message.target_vp = 2;
	assert_int_equal(open_channel(&client, &message, 2), -EINVAL);
	message = good;
	message.event_flag = 2048;
	assert_int_equal(open_channel(&client, &message, 2), -EINVAL);
	assert_int_equal(add_gpadl(&client, 2, 4, MEMORY_BYTES / 4096 - 1),
			 0); /* ends past memory */
	message = good;
	message.gpadl_id = 2;
	assert_int_equal(open_channel(&client, &message, 2), -EFAULT);

	assert_int_equal(open_channel(&client, &good, 2), 0);
	assert_int_equal(open_channel(&client, &good, 2), -EBUSY);
	assert_int_equal(remove_gpadl(&client, 1), -EBUSY);
	assert_int_equal(close_channel(&client, 1), -ENOENT);
	assert_int_equal(close_channel(&client, UINT32_MAX), -ENOENT);
	assert_int_equal(close_channel(&client, 0), 0);
	assert_int_equal(remove_gpadl(&client, 1), 0);
	disconnect(&client);
}

static void channel_without_interrupts_takes_one_fd(void **state)
{
	struct vsp_channel_open message = {.gpadl_id = 1,
					   .downstream_page_offset = 2,
					   .target_vp = UINT32_MAX,
					   .event_flag = 11};
	struct client client = connect_nic(state);

	assert_int_equal(add_gpadl(&client, 1, 4, 16), 0);
	assert_int_equal(open_channel(&client, &message, 1), 0);
	assert_int_equal(close_channel(&client, 0), 0);
	assert_int_equal(open_channel(&client, &message, 2), GONE);
	disconnect(&client);
}

/* The worker writes to what it is given, and must not wait: a pipe, a file or a socket can make it.
 */
static void only_eventfds_are_taken(void **state)
{
	struct vsp_channel_open message = {
		.gpadl_id = 1, .downstream_page_offset = 2, .event_flag = 11};
	struct vsp_channel_modify modify = {.target_vp = 1};
	struct client client = connect_nic(state);
	int good = eventfd(0, EFD_CLOEXEC), pipes[2];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(add_gpadl(&client, 1, 4, 16), 0);
	assert_int_equal(ask_with(&client, VSP_CHANNEL_OPEN, &message, sizeof(message),
				  (const int[]){good, pipes[1]}, 2),
			 -EINVAL);
	assert_int_equal(ask_with(&client, VSP_CHANNEL_OPEN, &message, sizeof(message),
				  (const int[]){client.memory_fd, good}, 2),
			 -EINVAL);
	assert_int_equal(ask_with(&client, VSP_CHANNEL_OPEN, &message, sizeof(message),
				  (const int[]){good, good}, 2),
			 0);
	assert_int_equal(
		ask_with(&client, VSP_CHANNEL_MODIFY, &modify, sizeof(modify), &client.fd, 1),
		-EINVAL);
	close(good);
	close(pipes[0]);
	close(pipes[1]);
	disconnect(&client);
}

/* A listener that cannot take its client must not spin, and take it when it can. */
static void clients_wait_while_there_are_no_fds(void **state)
{
	struct rlimit limit, low;
	struct timespec before, after;
	struct client client;
	int64_t spent_ns;
	int fd;

	client = connect_client(state);
	assert_int_equal(say_hello(&client), 0);
	disconnect(&client);
	usleep(50000);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	fd = unix_socket_connect(netvspd_socket(*state), SOCK_SEQPACKET | SOCK_CLOEXEC);
	assert_true(fd >= 0);
	usleep(50000);
	low = limit;
	low.rlim_cur = count_fds() - 4;
	client = (struct client){.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	{
		struct sockaddr_un address = {.sun_family = AF_UNIX};

		strncpy(address.sun_path, netvspd_socket(*state), sizeof(address.sun_path) - 1);
		assert_int_equal(connect(client.fd, (struct sockaddr *)&address, sizeof(address)),
				 0);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	usleep(300000);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	spent_ns = (after.tv_sec - before.tv_sec) * INT64_C(1000000000) + after.tv_nsec -
		   before.tv_nsec;
	assert_true(spent_ns < INT64_C(150000000));
	assert_int_equal(say_hello(&client), 0);
	close(client.fd);
	close(fd);
}

static void ring_with_bad_indices_does_not_open(void **state)
{
	const struct vsp_channel_open good = {
		.gpadl_id = 1, .downstream_page_offset = 2, .event_flag = 11};
	struct client client = connect_nic(state);
	uint32_t bad = 12345678;

	assert_int_equal(add_gpadl(&client, 1, 4, 16), 0);
	assert_int_equal(pwrite(client.memory_fd, &bad, sizeof(bad), RING_OFFSET), sizeof(bad));
	assert_int_equal(open_channel(&client, &good, 2), -EPROTO);
	bad = 0;
	assert_int_equal(pwrite(client.memory_fd, &bad, sizeof(bad), RING_OFFSET), sizeof(bad));
	assert_int_equal(open_channel(&client, &good, 2), 0);
	disconnect(&client);
}

static void nothing_leaks_over_many_connections(void **state)
{
	const struct vsp_channel_open good = {
		.gpadl_id = 1, .downstream_page_offset = 2, .event_flag = 11};
	unsigned int before = 0;
	struct deadline deadline;

	for (int i = 0; i < 50; i++) {
		struct client client = connect_nic(state);
		struct vsp_channel_modify modify = {.target_vp = 1};
		int fd = eventfd(0, EFD_CLOEXEC);

		assert_int_equal(add_gpadl(&client, 1, 4, 16), 0);
		assert_int_equal(open_channel(&client, &good, 2), 0);
		assert_int_equal(
			ask_with(&client, VSP_CHANNEL_MODIFY, &modify, sizeof(modify), &fd, 1), 0);
		close(fd);
		disconnect(&client);
		/* The next one has the same name and address: it is served when the last has gone.
		 */
		for (int wait = 0; wait < WAIT_MS; wait++) {
			struct client probe = connect_client(state);
			struct memory_message memory = good_memory();
			struct vsp_nic nic = good_nic(1);
			int status;

			assert_int_equal(say_hello(&probe), 0);
			assert_int_equal(give_memory(&probe, &memory, 3), 0);
			status = ask(&probe, VSP_NIC, &nic, sizeof(nic));
			nic.name[0] = '\0';
			ask(&probe, VSP_NIC, &nic,
			    sizeof(nic)); /* drops a probe that was let in, before we close */
			disconnect(&probe);
			if (status == 0)
				break;
			usleep(1000);
		}
		usleep(1000);
		if (i == 10)
			before = count_fds();
	}
	deadline = deadline_in_ms(WAIT_MS);
	/* The last ones are closed when netvspd has seen that their clients have gone. */
	while (count_fds() > before + 2 && !deadline_passed(deadline))
		usleep(1000);
	assert_in_range(count_fds(), 0, before + 2);
}

#define vsp_test(name) cmocka_unit_test_setup_teardown(name, netvspd_setup, netvspd_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		vsp_test(hello_tells_the_version_in_force),
		vsp_test(requests_before_their_time_end_the_connection),
		vsp_test(sizes_that_lie_end_the_connection),
		vsp_test(unknown_requests_are_refused_and_the_connection_lives),
		vsp_test(bad_memory_tables_are_refused),
		vsp_test(wrong_number_of_fds_ends_the_connection),
		vsp_test(bad_nics_are_refused),
		vsp_test(gpadls_are_checked_and_counted),
		vsp_test(channels_are_checked_before_they_open),
		vsp_test(channel_without_interrupts_takes_one_fd),
		vsp_test(only_eventfds_are_taken),
		vsp_test(clients_wait_while_there_are_no_fds),
		vsp_test(ring_with_bad_indices_does_not_open),
		vsp_test(nothing_leaks_over_many_connections),
	};

	return cmocka_run_group_tests(tests, eal_group_setup, NULL);
}
