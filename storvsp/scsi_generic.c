/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SG_IO. The kernel checks alignment and vector length as the device's queue wants them, which a
 * guest's memory need not follow: where it refuses the vector the data goes through a buffer.
 */
#include "storvsp/scsi_generic.h"

#include <errno.h>
#include <scsi/sg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "storvsp/disk.h"

#define TIMEOUT_MS	30000u
#define VERSION_MIN	30000
#define BYTES_MAX	(8u << 20)
#define HOST_NO_CONNECT 0x01
#define HOST_TIME_OUT	0x03
#define HOST_BAD_TARGET 0x04
#define DRIVER_SENSE	0x08
#define DRIVER_MASK	0x0f

bool scsi_generic_is_there(int fd)
{
	int version = 0;

	return ioctl(fd, SG_GET_VERSION_NUM, &version) == 0 && version >= VERSION_MIN;
}

static int direction_of(const struct disk_scsi *scsi, uint64_t length)
{
	if (length == 0 || scsi->direction == DISK_NO_DATA)
		return SG_DXFER_NONE;
	return scsi->direction == DISK_TO_DEVICE ? SG_DXFER_TO_DEV : SG_DXFER_FROM_DEV;
}

/* Did it reach the device, and what did that say. */
static int take_answer(struct disk_scsi *scsi, const sg_io_hdr_t *io, uint64_t length)
{
	uint64_t residual = io->resid > 0 ? (uint64_t)io->resid : 0;

	if (io->host_status == HOST_TIME_OUT)
		return -ETIMEDOUT;
	if (io->host_status == HOST_NO_CONNECT || io->host_status == HOST_BAD_TARGET)
		return -ENODEV;
	if (io->host_status != 0 || (io->driver_status & DRIVER_MASK & ~DRIVER_SENSE) != 0)
		return -EIO;
	scsi->status = io->status;
	scsi->sense_bytes = io->sb_len_wr < DISK_SENSE_BYTES ? io->sb_len_wr : DISK_SENSE_BYTES;
	scsi->transferred = residual < length ? length - residual : 0;
	return 0;
}

static int sg_io_by_ioctl(int fd, struct sg_io_hdr *io)
{
	return ioctl(fd, SG_IO, io) < 0 ? -errno : 0;
}

static int issue(scsi_generic_fn sg_io, int fd, struct disk_scsi *scsi, const struct iovec *iov,
		 uint32_t iov_count, uint64_t length)
{
	sg_io_hdr_t io = {
		.interface_id = 'S',
		.dxfer_direction = direction_of(scsi, length),
		.cmd_len = scsi->cdb_bytes,
		.cmdp = scsi->cdb,
		.mx_sb_len = DISK_SENSE_BYTES,
		.sbp = scsi->sense,
		.timeout = scsi->timeout_ms != 0 ? scsi->timeout_ms : TIMEOUT_MS,
	};
	int ret;

	if (io.dxfer_direction == SG_DXFER_NONE) {
		length = 0;
	} else if (iov_count == 1) {
		io.dxferp = iov->iov_base;
	} else {
		io.dxferp = (void *)(uintptr_t)iov;
		io.iovec_count = (unsigned short)iov_count;
	}
	io.dxfer_len = (unsigned int)length;
	ret = sg_io(fd, &io);
	return ret < 0 ? ret : take_answer(scsi, &io, length);
}

static void copy_out(uint8_t *to, const struct iovec *iov, uint32_t iov_count)
{
	for (uint32_t i = 0; i < iov_count; i++) {
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
}

static void copy_in(const struct iovec *iov, uint32_t iov_count, const uint8_t *from, uint64_t left)
{
	for (uint32_t i = 0; i < iov_count && left > 0; i++) {
		size_t part = iov[i].iov_len < left ? iov[i].iov_len : (size_t)left;
		memcpy(iov[i].iov_base, from, part);
		from += part;
		left -= part;
	}
}

static int issue_bounced(scsi_generic_fn sg_io, int fd, struct disk_scsi *scsi,
			 const struct iovec *iov, uint32_t iov_count, uint64_t length)
{
	struct iovec flat = {calloc(1, (size_t)length), (size_t)length};
	int ret;

	if (flat.iov_base == NULL)
		return -ENOMEM;
	if (scsi->direction == DISK_TO_DEVICE)
		copy_out(flat.iov_base, iov, iov_count);
	ret = issue(sg_io, fd, scsi, &flat, 1, length);
	if (ret == 0 && scsi->direction == DISK_FROM_DEVICE)
		copy_in(iov, iov_count, flat.iov_base, scsi->transferred);
	free(flat.iov_base);
	return ret;
}

int scsi_generic_run(int fd, struct disk_scsi *scsi, const struct iovec *iov, uint32_t iov_count,
		     uint64_t length)
{
	return scsi_generic_run_by(sg_io_by_ioctl, fd, scsi, iov, iov_count, length);
}

int scsi_generic_run_by(scsi_generic_fn sg_io, int fd, struct disk_scsi *scsi,
			const struct iovec *iov, uint32_t iov_count, uint64_t length)
{
	int ret = -EINVAL;

	if (length > BYTES_MAX || scsi->cdb_bytes > DISK_CDB_BYTES)
		return -EIO;
	if (iov_count <= UINT16_MAX)
		ret = issue(sg_io, fd, scsi, iov, iov_count, length);
	if (ret == -EINVAL && length > 0 && iov_count > 1)
		ret = issue_bounced(sg_io, fd, scsi, iov, iov_count, length);
	if (ret == -ENXIO)
		return -ENODEV;
	return ret == 0 || ret == -ETIMEDOUT || ret == -ENODEV || ret == -ENOMEM ? ret : -EIO;
}
