/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SG_IO with a device of the test's, which answers as the kernel does.
 */
#include "storvsp/scsi_generic.h"

#include <errno.h>
#include <scsi/sg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "storvsp/disk.h"
#include "tests/unit/test_main.h"

static struct {
	struct sg_io_hdr seen;
	uint8_t cdb[16];
	int calls;
	int error;		 /* of the first call */
	uint8_t out[64];	 /* what a write brought */
	struct sg_io_hdr answer; /* statuses and resid */
	uint8_t sense[64];
} device;

static uint8_t *bytes_of(const struct sg_io_hdr *io, uint32_t at)
{
	const struct iovec *iov = io->dxferp;

	if (io->iovec_count == 0)
		return (uint8_t *)io->dxferp + at;
	for (; at >= iov->iov_len; iov++)
		at -= (uint32_t)iov->iov_len;
	return (uint8_t *)iov->iov_base + at;
}

static int answer(int fd, struct sg_io_hdr *io)
{
	(void)fd;
	device.seen = *io;
	memcpy(device.cdb, io->cmdp, io->cmd_len);
	if (device.calls++ == 0 && device.error != 0)
		return device.error;
	io->status = device.answer.status;
	io->host_status = device.answer.host_status;
	io->driver_status = device.answer.driver_status;
	io->resid = device.answer.resid;
	io->sb_len_wr = device.answer.sb_len_wr;
	memcpy(io->sbp, device.sense, io->sb_len_wr);
	for (uint32_t i = 0; i < io->dxfer_len && i < sizeof(device.out); i++) {
		if (io->dxfer_direction == SG_DXFER_TO_DEV)
			device.out[i] = *bytes_of(io, i);
		else if (io->dxfer_direction == SG_DXFER_FROM_DEV)
			*bytes_of(io, i) = (uint8_t)(i + 1);
	}
	return 0;
}

static int setup(void **state)
{
	(void)state;
	memset(&device, 0, sizeof(device));
	return 0;
}

static void command_and_data_reach_the_device(void **state)
{
	struct disk_scsi scsi = {
		.cdb = {0x2a, 1, 2, 3}, .cdb_bytes = 10, .direction = DISK_TO_DEVICE};
	char one[] = "abc", two[] = "defgh";
	const struct iovec iov[] = {{one, 3}, {two, 5}};

	(void)state;
	assert_int_equal(scsi_generic_run_by(answer, 7, &scsi, iov, 2, 8), 0);
	assert_int_equal(device.seen.interface_id, 'S');
	assert_int_equal(device.seen.dxfer_direction, SG_DXFER_TO_DEV);
	assert_int_equal(device.seen.dxfer_len, 8);
	assert_int_equal(device.seen.cmd_len, 10);
	assert_memory_equal(device.cdb, scsi.cdb, 10);
	assert_memory_equal(device.out, "abcdefgh", 8);
	assert_true(device.seen.timeout > 0);
	assert_int_equal(scsi.status, 0);
	assert_int_equal(scsi.transferred, 8);
}

static void residual_is_what_was_not_transferred(void **state)
{
	struct disk_scsi scsi = {.cdb = {0x12}, .cdb_bytes = 6, .direction = DISK_FROM_DEVICE};
	uint8_t buffer[36];
	const struct iovec iov = {buffer, 36};

	(void)state;
	device.answer.resid = 30;
	assert_int_equal(scsi_generic_run_by(answer, 7, &scsi, &iov, 1, 36), 0);
	assert_int_equal(scsi.transferred, 6);
	device.answer.resid = 100; /* more than there was */
	assert_int_equal(scsi_generic_run_by(answer, 7, &scsi, &iov, 1, 36), 0);
	assert_int_equal(scsi.transferred, 0);
}

static void sense_comes_back(void **state)
{
	struct disk_scsi scsi = {.cdb = {0x00}, .cdb_bytes = 6, .timeout_ms = 1234};

	(void)state;
	device.answer.status = 2;
	device.answer.driver_status = 8;
	device.answer.sb_len_wr = 18;
	device.sense[0] = 0x70;
	device.sense[2] = 5;
	assert_int_equal(scsi_generic_run_by(answer, 7, &scsi, NULL, 0, 0), 0);
	assert_int_equal(device.seen.dxfer_direction, SG_DXFER_NONE);
	assert_int_equal(device.seen.timeout, 1234);
	assert_int_equal(scsi.status, 2);
	assert_int_equal(scsi.sense_bytes, 18);
	assert_int_equal(scsi.sense[2], 5);
}

/* The queue's alignment and vector length are not the guest's. */
static void vector_that_the_queue_refuses_goes_through_a_buffer(void **state)
{
	struct disk_scsi scsi = {.cdb = {0x28}, .cdb_bytes = 10, .direction = DISK_FROM_DEVICE};
	uint8_t one[3], two[5];
	const struct iovec iov[] = {{one, 3}, {two, 5}};

	(void)state;
	device.error = -EINVAL;
	assert_int_equal(scsi_generic_run_by(answer, 7, &scsi, iov, 2, 8), 0);
	assert_int_equal(device.calls, 2);
	assert_int_equal(device.seen.iovec_count, 0);
	assert_memory_equal(one, "\1\2\3", 3);
	assert_memory_equal(two, "\4\5\6\7\10", 5);
	scsi.direction = DISK_TO_DEVICE;
	device.calls = 0;
	assert_int_equal(scsi_generic_run_by(answer, 7, &scsi, iov, 2, 8), 0);
	assert_memory_equal(device.out, "\1\2\3\4\5\6\7\10", 8);
}

static void what_did_not_reach_the_device_is_an_error(void **state)
{
	static const struct {
		int error;
		unsigned short host, driver;
		int status;
	} cases[] = {
		{0, 0x01, 0, -ENODEV},	  {0, 0x04, 0, -ENODEV}, {0, 0x03, 0, -ETIMEDOUT},
		{0, 0x07, 0, -EIO},	  {0, 0, 0x06, -EIO},	 {-ENXIO, 0, 0, -ENODEV},
		{-ENODEV, 0, 0, -ENODEV}, {-EPERM, 0, 0, -EIO},	 {-ENOMEM, 0, 0, -ENOMEM},
	};
	struct disk_scsi scsi = {.cdb_bytes = 6};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(&device, 0, sizeof(device));
		device.error = cases[i].error;
		device.answer.host_status = cases[i].host;
		device.answer.driver_status = cases[i].driver;
		assert_int_equal(scsi_generic_run_by(answer, 7, &scsi, NULL, 0, 0),
				 cases[i].status);
	}
}

static void what_is_no_scsi_device_is_told(void **state)
{
	struct disk_scsi scsi = {.cdb_bytes = 6};
	int pipes[2];

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_false(scsi_generic_is_there(pipes[0]));
	assert_int_equal(scsi_generic_run(pipes[0], &scsi, NULL, 0, 0), -EIO);
	close(pipes[0]);
	close(pipes[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(command_and_data_reach_the_device, setup),
		cmocka_unit_test_setup(residual_is_what_was_not_transferred, setup),
		cmocka_unit_test_setup(sense_comes_back, setup),
		cmocka_unit_test_setup(vector_that_the_queue_refuses_goes_through_a_buffer, setup),
		cmocka_unit_test_setup(what_did_not_reach_the_device_is_an_error, setup),
		cmocka_unit_test_setup(what_is_no_scsi_device_is_told, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
