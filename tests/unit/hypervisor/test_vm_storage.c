/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VM's storage between its guest, its images and its moves: a guest with storvsc on real
 * controllers, units and a raw image, without a processor. The verdict is the image's bytes, or
 * that a state is refused.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "hypervisor/engine.h"
#include "hypervisor/vm_storage_internal.h"
#include "storvsp/vhd_create.h"
#include "tests/unit/storvsp/fake_storvsc.h"
#include "vmbus/guest_memory.h"

#define RING_PAGES   4
#define CHANNELS     4u
#define IMAGE_BYTES  (1u << 20)
#define BLOCK	     512u
#define OWED	     10u /* requests that a channel's ring holds */
#define PAUSE_MS     10000
#define DISK_TAG     STATE_TAG('D', 'I', 'S', 'K')
#define CONTROLLER_T STATE_TAG('C', 'T', 'R', 'L')

static struct {
	struct fake_storvsc guest;
	struct vm_config config;
	struct vm_storage *storage;
	struct vm_error error;
	char path[64];
	unsigned paused;
	int pause_status;
} f;

/* ---- the engine's part of the bus is the guest's ---- */

static int on_connect(struct engine_partition *partition, uint32_t connection_id, int eventfd)
{
	(void)partition;
	return f.guest.bus.ops->connect_event(f.guest.bus.ctx, connection_id, eventfd);
}

static void on_disconnect(struct engine_partition *partition, uint32_t connection_id)
{
	(void)partition;
	f.guest.bus.ops->disconnect_event(f.guest.bus.ctx, connection_id);
}

static int on_sint_fds(struct engine_partition *partition, uint32_t vp, struct engine_sint_fds *fds)
{
	(void)partition;
	fds->raise = f.guest.bus.ops->get_sint_fd(f.guest.bus.ctx, vp);
	return fds->raise < 0 ? fds->raise : 0;
}

static const struct engine_ops engine = {
	.connect_event = on_connect,
	.disconnect_event = on_disconnect,
	.get_sint_fds = on_sint_fds,
};

/* ---- the bench ---- */

static void storage_attach(void)
{
	const struct vm_storage_partition partition = {
		.memory = f.guest.memory,
		.signals = &f.guest.signals,
		.server = f.guest.server,
		.engine = &engine,
		.vp_count = CHANNELS,
	};

	assert_int_equal(vm_storage_attach(f.storage, &partition), 0);
}

static void storage_make(void)
{
	assert_int_equal(
		vm_storage_create(&f.config, f.guest.loop, VM_STORAGE_HERE, &f.storage, &f.error),
		0);
	storage_attach();
}

/* As on another host, or after a reboot; the guest keeps its memory. */
static void storage_make_again(void)
{
	vm_storage_destroy(f.storage);
	storvsc_change_host(&f.guest);
	storage_make();
}

static int set_up(void **state)
{
	int fd;

	(void)state;
	memset(&f, 0, sizeof(f));
	snprintf(f.path, sizeof(f.path), "/tmp/vm-storage-XXXXXX");
	fd = mkstemp(f.path);
	if (fd < 0 || ftruncate(fd, IMAGE_BYTES) < 0 || close(fd) < 0)
		return -1;
	snprintf(f.config.name, sizeof(f.config.name), "vm0");
	f.config.disks[0].path = f.path;
	f.config.disks[0].format = DISK_FORMAT_RAW;
	f.config.disk_count = 1;
	storvsc_init(&f.guest);
	storage_make();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	vm_storage_destroy(f.storage);
	storvsc_fini(&f.guest);
	unlink(f.path);
	return 0;
}

static void guest_begin(void)
{
	const uint8_t test_unit_ready[6] = {0};

	storvsc_connect(&f.guest);
	assert_int_equal(storvsc_open(&f.guest, 0, RING_PAGES), 0);
	assert_true(storvsc_begin_session(&f.guest, VSTOR_VERSION_6_2));
	assert_true(storvsc_open_sub_channels(&f.guest, CHANNELS - 1, RING_PAGES));
	/* POWER ON, RESET is told first */
	assert_non_null(storvsc_command(&f.guest, 0, test_unit_ready, 6, 0, 0));
	assert_int_equal(storvsc_command(&f.guest, 0, test_unit_ready, 6, 0, 0)->srb.srb_status,
			 VSTOR_SRB_SUCCESS);
}

static void on_paused(void *ctx, int status)
{
	(void)ctx;
	f.pause_status = status;
	f.paused++;
}

static void pause_now(void)
{
	f.paused = 0;
	vm_storage_pause(f.storage, PAUSE_MS, on_paused, NULL);
	assert_true(storvsc_wait(&f.guest, &f.paused, 1, STORVSC_DEFAULT_PATIENCE));
	assert_int_equal(f.pause_status, 0);
}

/* Bytes of the image that are not zero. */
static unsigned image_written(void)
{
	static uint8_t bytes[IMAGE_BYTES];
	unsigned count = 0;
	int fd = open(f.path, O_RDONLY);

	assert_int_equal(read(fd, bytes, sizeof(bytes)), sizeof(bytes));
	close(fd);
	for (size_t i = 0; i < sizeof(bytes); i++)
		count += bytes[i] != 0;
	return count;
}

/* ---- the end of a VM that rests ---- */

/* They go along in the guest's memory, and who runs the VM then executes them. */
static void what_a_resting_guest_is_owed_is_not_executed_at_its_end(void **state)
{
	uint8_t block[BLOCK];

	(void)state;
	memset(block, 0xaa, sizeof(block));
	for (unsigned round = 0; round < 8; round++) {
		memset(f.guest.answers, 0, sizeof(f.guest.answers));
		guest_begin();
		guest_memory_write(f.guest.memory, STORVSC_DATA_GPA, block, sizeof(block));
		pause_now();
		for (unsigned i = 0; i < OWED * CHANNELS; i++)
			assert_true(storvsc_io(&f.guest, i % CHANNELS, 100 + i, 0, true, i,
					       STORVSC_DATA_GPA, BLOCK));
		vm_storage_detach(f.storage);
		assert_int_equal(image_written(), 0);
		storage_make_again();
	}
}

static void a_pause_that_the_end_of_a_partition_cut_off_keeps_no_later_one_away(void **state)
{
	(void)state;
	guest_begin();
	vm_storage_pause(f.storage, PAUSE_MS, on_paused, NULL);
	vm_storage_detach(f.storage); /* the guest reset itself: the disks stay open */
	assert_int_equal(f.paused, 0);
	storvsc_change_host(&f.guest);
	storage_attach();
	pause_now();
}

/* ---- saved state ---- */

static int restore(const struct state_writer *writer)
{
	struct state_reader reader, section;

	assert_int_equal(state_writer_result(writer), 0);
	state_reader_init(&reader, writer->bytes, writer->length);
	assert_int_equal(state_next(&reader, &section), 1);
	return vm_storage_restore(f.storage, &section);
}

static void put_disk(struct state_writer *writer, bool has_medium)
{
	const uint8_t id[16] = {0};

	state_begin(writer, DISK_TAG, 1, 1);
	state_put_u32(writer, 0);
	state_put_u32(writer, 0);
	state_put_u8(writer, has_medium);
	state_put_u64(writer, IMAGE_BYTES);
	state_put_bytes(writer, id, sizeof(id));
	scsi_unit_save(f.storage->disks[0]->unit, writer);
	state_end(writer);
}

static void put_controller(struct state_writer *writer)
{
	state_begin(writer, CONTROLLER_T, 1, 1);
	state_put_u32(writer, 0);
	assert_int_equal(storvsp_controller_save(f.storage->controllers[0].controller, writer), 0);
	state_end(writer);
}

static void a_saved_storage_is_restored(void **state)
{
	struct state_writer writer;

	(void)state;
	guest_begin();
	pause_now();
	state_writer_init(&writer);
	assert_int_equal(vm_storage_save(f.storage, &writer), 0);
	storage_make_again();
	assert_int_equal(restore(&writer), 0);
	state_writer_fini(&writer);
}

/* Only a drive can be without a medium: the unit of a disk would go on with what is closed. */
static void a_state_that_takes_a_disks_medium_away_is_refused(void **state)
{
	struct state_writer writer;

	(void)state;
	state_writer_init(&writer);
	state_begin(&writer, VM_STORAGE_STATE_TAG, 1, 1);
	put_controller(&writer);
	put_disk(&writer, false);
	state_end(&writer);
	assert_int_equal(restore(&writer), -EPROTO);
	assert_non_null(f.storage->disks[0]->disk);
	state_writer_fini(&writer);
}

/* What lies in its rings would be executed before the source has let go of the disks. */
static void a_state_that_leaves_a_controller_out_is_refused(void **state)
{
	struct state_writer writer;

	(void)state;
	state_writer_init(&writer);
	state_begin(&writer, VM_STORAGE_STATE_TAG, 1, 1);
	put_disk(&writer, true);
	state_end(&writer);
	assert_int_equal(restore(&writer), -EPROTO);
	assert_int_equal(vm_storage_restore(f.storage, NULL), -EPROTO);
	state_writer_fini(&writer);
}

/* What is there at its path would be taken for it, whatever it is. */
static void a_state_that_leaves_a_disk_out_is_refused(void **state)
{
	struct state_writer writer;

	(void)state;
	state_writer_init(&writer);
	state_begin(&writer, VM_STORAGE_STATE_TAG, 1, 1);
	put_controller(&writer);
	state_end(&writer);
	assert_int_equal(restore(&writer), -EPROTO);
	state_writer_fini(&writer);
}

static void a_state_that_tells_of_a_disk_twice_is_refused(void **state)
{
	struct state_writer writer;

	(void)state;
	state_writer_init(&writer);
	state_begin(&writer, VM_STORAGE_STATE_TAG, 1, 1);
	put_controller(&writer);
	put_disk(&writer, true);
	put_disk(&writer, true);
	state_end(&writer);
	assert_int_equal(restore(&writer), -EPROTO);
	state_writer_fini(&writer);
}

static void a_vm_without_disks_needs_no_state_of_them(void **state)
{
	(void)state;
	f.config.disk_count = 0;
	storage_make_again();
	assert_int_equal(vm_storage_restore(f.storage, NULL), 0);
}

static void a_medium_that_the_guest_has_ejected_is_not_back_after_a_move(void **state)
{
	static struct vm_disk_status disks[VM_MAX_DISKS];
	struct state_writer writer;
	int fd = open(f.path, O_WRONLY);

	(void)state;
	assert_int_equal(pwrite(fd, "CD001", 5, 0x8001), 5); /* an ISO image, as far as we look */
	close(fd);
	f.config.disks[0].dvd = true;
	f.config.disks[0].read_only = true;
	f.config.disks[0].format = DISK_FORMAT_ISO;
	storage_make_again();
	assert_int_equal(vm_storage_get_disks(f.storage, disks), 1);
	assert_true(disks[0].has_medium);
	state_writer_init(&writer);
	state_begin(&writer, VM_STORAGE_STATE_TAG, 1, 1);
	put_controller(&writer);
	put_disk(&writer, false);
	state_end(&writer);
	assert_int_equal(restore(&writer), 0);
	state_writer_fini(&writer);
	assert_int_equal(vm_storage_get_disks(f.storage, disks), 1);
	assert_false(disks[0].has_medium);
	assert_null(disks[0].config->path);
	assert_int_equal(vm_storage_reopen(f.storage, 0, &f.error), 0);
}

/* ---- storage that takes its time ---- */

static void on_tick(void *ctx)
{
	++*(unsigned *)ctx;
}

/* A target that takes the connection and says nothing. name: one that no other test has, since a
 * LUN is this process's until its login has failed. */
static int silent_target(const char *name, char *url, size_t size)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	snprintf(url, size, "iscsi://127.0.0.1:%u/iqn.2026-01.x:%s/1", ntohs(address.sin_port),
		 name);
	return fd;
}

static void a_disk_whose_storage_takes_its_time_does_not_hold_the_loop(void **state)
{
	char url[64], initiator[] = "iqn.2026-01.x:i";
	int target = silent_target("a", url, sizeof(url));
	const struct vm_disk_config hanging = {
		.path = url, .is_url = true, .initiator = initiator, .lun = 1};
	struct vm_disk_config good = {.format = DISK_FORMAT_RAW, .lun = 2};
	const struct vm_disk_config *added;
	uint64_t began_ns = monotonic_ns();
	struct event_timer *timer;
	unsigned ticks = 0;
	char other[72];

	(void)state;
	snprintf(other, sizeof(other), "%s.2", f.path);
	good.path = other;
	assert_int_equal(close(open(other, O_RDWR | O_CREAT, 0600)), 0);
	assert_int_equal(truncate(other, IMAGE_BYTES), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(vm_storage_add(f.storage, &hanging, &added, &f.error),
				 -EINPROGRESS);
		assert_int_equal(event_loop_after_ms(f.guest.loop, 1, on_tick, &ticks, &timer), 0);
		storvsc_run(&f.guest, 20);
	}
	assert_int_equal(ticks, 4);
	/* Another is not held by it. */
	assert_int_equal(vm_storage_add(f.storage, &good, &added, &f.error), 0);
	assert_int_equal(added->lun, 2);
	assert_true(monotonic_ns() - began_ns < 5 * NS_PER_SEC);
	/* Nor is the VM's end. */
	vm_storage_destroy(f.storage);
	f.storage = NULL;
	assert_true(monotonic_ns() - began_ns < 10 * NS_PER_SEC);
	close(target);
	unlink(other);
}

static void a_disk_that_nobody_asks_for_any_more_is_not_kept(void **state)
{
	char url[64], initiator[] = "iqn.2026-01.x:i";
	int target = silent_target("b", url, sizeof(url));
	const struct vm_disk_config hanging = {
		.path = url, .is_url = true, .initiator = initiator, .lun = 1};
	const struct vm_disk_config *added;

	(void)state;
	assert_int_equal(vm_storage_add(f.storage, &hanging, &added, &f.error), -EINPROGRESS);
	assert_int_equal(f.storage->opening_count, 1);
	for (int i = 0; i < STORVSC_DEFAULT_PATIENCE && f.storage->opening_count; i++)
		storvsc_run(&f.guest, 1);
	assert_int_equal(f.storage->opening_count, 0);
	close(target);
}

/* ---- identity ---- */

#define SERIAL_BYTES 36

/* The unit's serial number, VPD page 80h, as its guest gets it. */
static void serial_get(uint8_t lun, uint8_t serial[SERIAL_BYTES])
{
	const uint8_t inquiry[6] = {0x12, 1, 0x80, 0, SERIAL_BYTES};

	assert_non_null(storvsc_command(&f.guest, lun, inquiry, 6, STORVSC_DATA_GPA, SERIAL_BYTES));
	assert_int_equal(guest_memory_read(f.guest.memory, STORVSC_DATA_GPA, serial, SERIAL_BYTES),
			 0);
	assert_int_equal(serial[3], SERIAL_BYTES - 4);
}

static void guest_begin_again(uint8_t serial[SERIAL_BYTES])
{
	storage_make_again();
	memset(f.guest.answers, 0, sizeof(f.guest.answers));
	guest_begin();
	serial_get((uint8_t)f.config.disks[0].lun, serial);
}

static void a_disk_is_known_by_its_image_and_not_by_its_lun(void **state)
{
	uint8_t first[SERIAL_BYTES], serial[SERIAL_BYTES];
	char other[72];
	int fd;

	(void)state;
	guest_begin();
	serial_get(0, first);
	guest_begin_again(serial);
	assert_memory_equal(serial, first, SERIAL_BYTES);
	snprintf(other, sizeof(other), "%s.2", f.path);
	fd = open(other, O_RDWR | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, IMAGE_BYTES), 0);
	close(fd);
	f.config.disks[0].path = other;
	guest_begin_again(serial);
	assert_memory_not_equal(serial, first, SERIAL_BYTES);
	f.config.disks[0].path = f.path;
	f.config.disks[1].path = other;
	f.config.disks[0].lun = 1;
	f.config.disks[1].format = DISK_FORMAT_RAW;
	f.config.disk_count = 2; /* LUN 0 is the other's */
	guest_begin_again(serial);
	assert_memory_equal(serial, first, SERIAL_BYTES);
	unlink(other);
}

/* As its guest has seen it: the image may have another name here, or the state be an old one. */
static void a_restored_disk_keeps_its_identity(void **state)
{
	uint8_t first[SERIAL_BYTES], serial[SERIAL_BYTES];
	const uint8_t seen[16] = {1, 2, 3};
	struct state_writer writer;

	(void)state;
	scsi_unit_set_id(f.storage->disks[0]->unit, seen);
	guest_begin();
	serial_get(0, first);
	pause_now();
	state_writer_init(&writer);
	assert_int_equal(vm_storage_save(f.storage, &writer), 0);
	storage_make_again();
	assert_int_equal(restore(&writer), 0);
	state_writer_fini(&writer);
	vm_storage_resume(f.storage);
	memset(f.guest.answers, 0, sizeof(f.guest.answers));
	guest_begin();
	serial_get(0, serial);
	assert_memory_equal(serial, first, SERIAL_BYTES);
}

/* ---- to take disks ---- */

static void a_disk_that_another_has_is_waited_for_as_long_as_is_said(void **state)
{
	const struct disk_options options = {.path = f.path, .format = DISK_FORMAT_RAW};
	char message[DISK_MESSAGE_BYTES];
	struct disk *other;
	uint64_t began_ns;

	(void)state;
	assert_int_equal(vm_storage_release(f.storage, &f.error), 0);
	assert_int_equal(disk_open(&options, &other, message, sizeof(message)), 0);
	began_ns = monotonic_ns();
	assert_int_equal(vm_storage_reopen(f.storage, 0, &f.error), -EBUSY);
	assert_true(monotonic_ns() - began_ns < VM_STORAGE_PATIENCE_MS * NS_PER_MS);
	assert_int_equal(f.error.code, EXIT_EXISTS);
	began_ns = monotonic_ns();
	assert_int_equal(vm_storage_reopen(f.storage, 50, &f.error), -EBUSY);
	assert_true(monotonic_ns() - began_ns >= 50 * NS_PER_MS);
	disk_close(other);
	assert_int_equal(vm_storage_reopen(f.storage, 0, &f.error), 0);
	assert_int_equal(f.storage->disks[0]->state, VM_DISK_READY);
}

/* ---- size ---- */

static void a_raw_image_gets_larger_and_never_smaller(void **state)
{
	uint64_t size;

	(void)state;
	assert_int_equal(
		vm_storage_resize(f.storage, 0, 0, 2 * (uint64_t)IMAGE_BYTES, &size, &f.error), 0);
	assert_int_equal(size, 2 * IMAGE_BYTES);
	assert_int_not_equal(vm_storage_resize(f.storage, 0, 0, IMAGE_BYTES, &size, &f.error), 0);
	assert_int_equal(f.error.code, EXIT_CONFIG);
	unlink(f.path); /* what has that name now is not the disk */
	assert_int_not_equal(
		vm_storage_resize(f.storage, 0, 0, 4 * (uint64_t)IMAGE_BYTES, &size, &f.error), 0);
	assert_int_equal(f.storage->disks[0]->info.size_bytes, 2 * IMAGE_BYTES);
}

/* ---- a flush that hangs ---- */

/* A disk that ends a request when it is told to. */
static struct {
	struct disk disk;
	struct disk *real; /* in whose place it is */
	_Atomic(struct disk_request *) request;
	struct io_post post;
	atomic_bool refresh_ends;
	bool closed;
} slow;

static void slow_get_info(struct disk *disk, struct disk_info *info)
{
	(void)disk;
	*info = (struct disk_info){.size_bytes = IMAGE_BYTES, .block_bytes = BLOCK, .kind = "raw"};
}

static int slow_refresh(struct disk *disk)
{
	(void)disk;
	while (!atomic_load(&slow.refresh_ends))
		usleep(1000);
	return 0;
}

static void slow_submit(struct disk *disk, struct disk_request *request)
{
	(void)disk;
	atomic_store(&slow.request, request);
}

static void slow_close(struct disk *disk)
{
	(void)disk;
	slow.closed = true;
}

static void on_slow_end(struct io_post *post)
{
	struct disk_request *request = atomic_load(&slow.request);

	(void)post;
	request->done(request, 0);
}

/* The VM's disk is slow from now on. */
static void slow_use(void (*submit)(struct disk *disk, struct disk_request *request))
{
	static struct disk_ops ops = {
		.get_info = slow_get_info, .refresh = slow_refresh, .close = slow_close};
	struct storage_disk *disk = f.storage->disks[0];
	const struct scsi_unit_config unit = {.kind = SCSI_DISK, .disk = &slow.disk};

	memset(&slow, 0, sizeof(slow));
	ops.submit = submit;
	slow.disk.ops = &ops;
	slow.post.fn = on_slow_end;
	slow.real = disk->disk;
	vm_storage_detach(f.storage);
	storvsc_change_host(&f.guest);
	scsi_unit_destroy(disk->unit);
	assert_int_equal(scsi_unit_create(&unit, &disk->unit), 0);
	disk->disk = &slow.disk;
	storage_attach();
}

static void slow_await(void)
{
	for (int i = 0; i < STORVSC_DEFAULT_PATIENCE && !atomic_load(&slow.request); i++)
		storvsc_run(&f.guest, 1);
	assert_non_null(atomic_load(&slow.request));
}

static void slow_end(void)
{
	io_loop_post(atomic_load(&slow.request)->loop, &slow.post);
}

static void a_disk_that_is_still_being_flushed_is_not_taken_away(void **state)
{
	(void)state;
	slow_use(slow_submit);
	vm_storage_pause(f.storage, PAUSE_MS, on_paused, NULL);
	slow_await();
	vm_storage_resume(f.storage); /* the move is given up, the flush goes on */
	assert_int_not_equal(vm_storage_remove(f.storage, 0, 0, &f.error), 0);
	assert_int_equal(f.error.code, EXIT_STATE);
	storvsc_run(&f.guest, 10);
	assert_false(slow.closed);
	slow_end();
	for (int i = 0; i < STORVSC_DEFAULT_PATIENCE && f.storage->flush; i++)
		storvsc_run(&f.guest, 1);
	assert_null(f.storage->flush);
	assert_int_equal(vm_storage_remove(f.storage, 0, 0, &f.error), 0);
	for (int i = 0; i < STORVSC_DEFAULT_PATIENCE && !slow.closed; i++)
		storvsc_run(&f.guest, 1);
	assert_true(slow.closed);
	disk_close(slow.real);
}

/* The descriptor of the flush's ring becomes another file, so that the kernel takes nothing more.
 */
static void breaking_submit(struct disk *disk, struct disk_request *request)
{
	char path[64], link[64];

	(void)disk;
	(void)request;
	for (int fd = 0; fd < 256; fd++) {
		ssize_t length;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		length = readlink(path, link, sizeof(link) - 1);
		if (length > 0 && strncmp(link, "anon_inode:[io_uring]", (size_t)length) == 0)
			dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), fd);
	}
}

static void a_flush_that_the_kernel_refuses_ends_the_pause(void **state)
{
	(void)state;
	slow_use(breaking_submit);
	vm_storage_pause(f.storage, PAUSE_MS, on_paused, NULL);
	assert_true(storvsc_wait(&f.guest, &f.paused, 1, STORVSC_DEFAULT_PATIENCE));
	assert_true(f.pause_status < 0);
	assert_null(f.storage->flush);
	disk_close(slow.real);
}

/* ---- a disk that takes its time to get larger ---- */

static bool await_ready(const struct storage_disk *disk)
{
	for (int i = 0; i < STORVSC_DEFAULT_PATIENCE && disk->state != VM_DISK_READY; i++)
		storvsc_run(&f.guest, 1);
	return disk->state == VM_DISK_READY;
}

static void a_disk_whose_size_takes_its_time_does_not_hold_the_loop(void **state)
{
	uint64_t began_ns = monotonic_ns(), size;
	struct storage_disk *disk;

	(void)state;
	slow_use(slow_submit);
	disk = f.storage->disks[0];
	assert_int_equal(vm_storage_resize(f.storage, 0, 0, 0, &size, &f.error), 0);
	assert_true(monotonic_ns() - began_ns < NS_PER_SEC);
	assert_int_equal(disk->state, VM_DISK_CHANGING);
	assert_int_not_equal(vm_storage_remove(f.storage, 0, 0, &f.error), 0);
	assert_int_equal(f.error.code, EXIT_STATE);
	f.paused = 0;
	vm_storage_pause(f.storage, PAUSE_MS, on_paused, NULL);
	assert_true(storvsc_wait(&f.guest, &f.paused, 1, STORVSC_DEFAULT_PATIENCE));
	assert_int_equal(f.pause_status, -EBUSY);
	assert_int_equal(vm_storage_drain(f.storage, true, 20, &f.error), -ETIMEDOUT);
	assert_non_null(strstr(f.error.message, f.path));
	atomic_store(&slow.refresh_ends, true);
	assert_true(await_ready(disk));
	assert_int_equal(vm_storage_drain(f.storage, true, PAUSE_MS, &f.error), 0);
	vm_storage_detach(f.storage);
	disk_close(slow.real);
}

static void vhd_make(const char *path)
{
	const struct vhd_file_options options = {.write = true, .create = true};
	struct vhd_new new = {.type = VHD_DYNAMIC, .size_bytes = IMAGE_BYTES, .timestamp = 1};
	struct vhd_error error;
	struct vhd_file *file;

	assert_int_equal(vhd_new_id(new.id), 0);
	assert_int_equal(vhd_file_open(path, &options, &file, &error), 0);
	assert_int_equal(vhd_write_new(file, &new, &error), 0);
	vhd_file_close(file);
}

static void a_vhd_gets_larger_while_its_guest_writes(void **state)
{
	const uint64_t bytes = 64 * (uint64_t)IMAGE_BYTES;
	struct storage_disk *disk;
	char path[72];
	uint64_t size;

	(void)state;
	snprintf(path, sizeof(path), "%s.vhd", f.path);
	vhd_make(path);
	f.config.disks[0].path = path;
	f.config.disks[0].format = DISK_FORMAT_VHD;
	storage_make_again();
	disk = f.storage->disks[0];
	guest_begin();
	for (unsigned i = 0; i < OWED; i++)
		assert_true(storvsc_io(&f.guest, i % CHANNELS, 100 + i, 0, true, i,
				       STORVSC_DATA_GPA, BLOCK));
	assert_int_equal(vm_storage_resize(f.storage, 0, 0, bytes, &size, &f.error), 0);
	for (unsigned i = 0; i < OWED; i++)
		assert_true(storvsc_io(&f.guest, i % CHANNELS, 200 + i, 0, true, i,
				       STORVSC_DATA_GPA, BLOCK));
	assert_true(await_ready(disk));
	assert_int_equal(disk->info.size_bytes, bytes);
	for (unsigned i = 0; i < OWED; i++) {
		assert_true(storvsc_answered(&f.guest, 100 + i));
		assert_true(storvsc_answered(&f.guest, 200 + i));
	}
	/* One that has just begun ends with the partition. */
	assert_int_equal(vm_storage_resize(f.storage, 0, 0, 2 * bytes, &size, &f.error), 0);
	vm_storage_detach(f.storage);
	assert_int_equal(disk->state, VM_DISK_READY);
	assert_int_equal(disk->info.size_bytes, 2 * bytes);
	unlink(path);
}

static void a_flush_ahead_of_a_pause_lets_the_guest_go_on(void **state)
{
	(void)state;
	slow_use(slow_submit);
	assert_int_equal(vm_storage_flush_ahead(f.storage, true), -EINPROGRESS);
	slow_await();
	assert_int_equal(atomic_load(&slow.request)->op, DISK_FLUSH);
	guest_begin();
	assert_int_equal(vm_storage_flush_ahead(f.storage, false), -EINPROGRESS);
	assert_int_not_equal(vm_storage_remove(f.storage, 0, 0, &f.error), 0);
	slow_end();
	for (int i = 0; i < STORVSC_DEFAULT_PATIENCE && vm_storage_flush_ahead(f.storage, false);
	     i++)
		storvsc_run(&f.guest, 1);
	assert_int_equal(vm_storage_flush_ahead(f.storage, false), 0);
	atomic_store(&slow.request, NULL);
	f.paused = 0;
	vm_storage_pause(f.storage, PAUSE_MS, on_paused, NULL);
	slow_await(); /* what came after it is flushed once more */
	slow_end();
	assert_true(storvsc_wait(&f.guest, &f.paused, 1, STORVSC_DEFAULT_PATIENCE));
	assert_int_equal(f.pause_status, 0);
	vm_storage_detach(f.storage);
	disk_close(slow.real);
}

/* ---- the end of a VM with a disk that hangs ---- */

static void the_end_waits_for_a_disk_that_hangs_as_long_as_is_said_and_names_it(void **state)
{
	uint64_t began_ns;

	(void)state;
	slow_use(slow_submit);
	guest_begin();
	assert_true(storvsc_io(&f.guest, 0, 100, 0, true, 7, STORVSC_DATA_GPA, BLOCK));
	slow_await();
	began_ns = monotonic_ns();
	assert_int_equal(vm_storage_drain(f.storage, true, 50, &f.error), -ETIMEDOUT);
	assert_true(monotonic_ns() - began_ns >= 50 * NS_PER_MS);
	assert_non_null(strstr(f.error.message, "0:0"));
	assert_non_null(strstr(f.error.message, f.path));
	assert_int_not_equal(vm_storage_remove(f.storage, 0, 0, &f.error), 0);
	assert_int_equal(f.error.code, EXIT_STATE);
	storvsc_run(&f.guest, 10); /* other work of the loop */
	assert_int_equal(vm_storage_drain(f.storage, false, 0, &f.error), -ETIMEDOUT);
	slow_end();
	assert_int_equal(vm_storage_drain(f.storage, true, PAUSE_MS, &f.error), 0);
	vm_storage_detach(f.storage);
	disk_close(slow.real);
}

static void the_end_waits_for_a_flush_that_hangs_as_long_as_is_said(void **state)
{
	(void)state;
	slow_use(slow_submit);
	vm_storage_pause(f.storage, PAUSE_MS, on_paused, NULL);
	slow_await();
	assert_int_equal(vm_storage_drain(f.storage, false, 50, &f.error), 0); /* a reboot */
	assert_int_equal(vm_storage_drain(f.storage, true, 50, &f.error), -ETIMEDOUT);
	assert_non_null(strstr(f.error.message, f.path));
	slow_end();
	assert_int_equal(vm_storage_drain(f.storage, true, PAUSE_MS, &f.error), 0);
	disk_close(slow.real);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_a_resting_guest_is_owed_is_not_executed_at_its_end),
		TEST(a_pause_that_the_end_of_a_partition_cut_off_keeps_no_later_one_away),
		TEST(a_saved_storage_is_restored),
		TEST(a_state_that_takes_a_disks_medium_away_is_refused),
		TEST(a_state_that_leaves_a_controller_out_is_refused),
		TEST(a_state_that_leaves_a_disk_out_is_refused),
		TEST(a_state_that_tells_of_a_disk_twice_is_refused),
		TEST(a_medium_that_the_guest_has_ejected_is_not_back_after_a_move),
		TEST(a_vm_without_disks_needs_no_state_of_them),
		TEST(a_disk_whose_storage_takes_its_time_does_not_hold_the_loop),
		TEST(a_disk_that_nobody_asks_for_any_more_is_not_kept),
		TEST(a_disk_is_known_by_its_image_and_not_by_its_lun),
		TEST(a_restored_disk_keeps_its_identity),
		TEST(a_disk_that_another_has_is_waited_for_as_long_as_is_said),
		TEST(a_raw_image_gets_larger_and_never_smaller),
		TEST(a_disk_that_is_still_being_flushed_is_not_taken_away),
		TEST(a_flush_that_the_kernel_refuses_ends_the_pause),
		TEST(a_disk_whose_size_takes_its_time_does_not_hold_the_loop),
		TEST(a_vhd_gets_larger_while_its_guest_writes),
		TEST(a_flush_ahead_of_a_pause_lets_the_guest_go_on),
		TEST(the_end_waits_for_a_disk_that_hangs_as_long_as_is_said_and_names_it),
		TEST(the_end_waits_for_a_flush_that_hangs_as_long_as_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
