/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk behind one ops table: raw file, block device, VHD, ISO image, LUN of an iSCSI target.
 * What is above (SCSI) knows blocks and flushes; what is below knows files and connections.
 *
 * Requests come from several threads, each with a loop of its own, and end on the thread that they
 * came from. A request that was submitted always ends, once; a disk that hangs (a share that is
 * gone) holds its requests until it answers.
 */
#ifndef LUNAR_STORVSP_DISK_H
#define LUNAR_STORVSP_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct disk;
struct disk_request;
struct io_loop;
struct state_reader;
struct state_writer;

#define DISK_MESSAGE_BYTES 512
#define DISK_CDB_BYTES	   16
#define DISK_SENSE_BYTES   96 /* of a target's; VSTOR passes 20 on */
#define DISK_BACKEND_WORDS 40

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH,	   /* all writes that are done are on the disk when it is done */
	DISK_WRITE_ZEROES, /* may give the blocks back where the disk then reads zeroes */
	DISK_UNMAP,	   /* advice; what is read there afterwards is zeroes where
			      disk_info.unmap_zeroes, else anything */
	DISK_SCSI,	   /* a CDB, as it is, for a disk that is a LUN: disk_info.passes_scsi */
};

enum disk_direction {
	DISK_NO_DATA,
	DISK_TO_DEVICE,
	DISK_FROM_DEVICE,
};

/* DISK_SCSI: what goes to the LUN, and its answer. */
struct disk_scsi {
	uint8_t cdb[DISK_CDB_BYTES];
	uint8_t cdb_bytes;
	enum disk_direction direction;
	uint32_t timeout_ms; /* 0: the disk's own default */
	uint8_t status;	     /* SAM status; valid where done is called with 0 */
	uint8_t sense_bytes;
	uint8_t sense[DISK_SENSE_BYTES];
	uint64_t transferred;
};

/* status: 0 or -errno. -ENOSPC, -EIO, -EROFS, -ENODEV, -ETIMEDOUT are told apart above. */
typedef void (*disk_done_fn)(struct disk_request *request, int status);

/* The caller's until submitted and after done; iov and its bytes stay where they are between. */
struct disk_request {
	enum disk_op op;
	bool fua;	 /* DISK_WRITE: on the disk when done */
	uint64_t offset; /* bytes, a multiple of disk_info.block_bytes; unused: FLUSH, SCSI */
	uint64_t length; /* bytes, likewise; the sum of iov where there is data */
	const struct iovec *iov; /* may be misaligned, and may be guest memory that changes */
	uint32_t iov_count;
	struct disk_scsi *scsi;
	struct io_loop *loop; /* whose thread submits, and on which done is called */
	disk_done_fn done;
	/* The disk's own while it has the request, so that it needs no memory of its own for it. */
	void *backend[2];
	uint64_t backend_state[DISK_BACKEND_WORDS];
};

struct disk_info {
	uint64_t size_bytes;
	uint32_t block_bytes;		  /* logical: 512 or 4096; 2048: an ISO image */
	uint32_t physical_block_bytes;	  /* >= block_bytes */
	uint32_t optimal_bytes;		  /* a good size and alignment of large I/O; 0: no word */
	uint32_t unmap_granularity_bytes; /* 0: does not unmap */
	bool unmap_zeroes;
	bool read_only;
	bool write_cache; /* a write is on the disk only after a flush, or with fua */
	bool rotational;
	bool passes_scsi; /* DISK_SCSI goes to a real LUN, and that one answers for itself */
	uint8_t id[16]; /* the same as long as the contents are this disk's (VHD: its unique id) */
	const char *kind; /* "raw", "block", "iso", "vhd-fixed", ...: static */
};

/*
 * What a kind of disk does. get_info and submit are for any thread; the others may hang with a
 * share, so that disk.c calls them on a helper's thread, never two at a time for one disk.
 */
struct disk_ops {
	void (*get_info)(struct disk *disk, struct disk_info *info);
	/* The request's loop's thread. May call done from within. */
	void (*submit)(struct disk *disk, struct disk_request *request);
	int (*release)(struct disk *disk);
	int (*reopen)(struct disk *disk, char *message, size_t message_bytes);
	int (*refresh)(struct disk *disk);
	void (*close)(struct disk *disk);
};

/* What every kind of disk begins with. */
struct disk {
	const struct disk_ops *ops;
	void *helper; /* disk.c's: the call that hangs now */
};

enum disk_format {
	DISK_FORMAT_AUTO, /* of the name: .vhd, .avhd: VHD; .iso: ISO; iscsi://...: LUN; else raw.
			     Never of the contents: those are the guest's, who could make a raw
			     image look like another */
	DISK_FORMAT_RAW,
	DISK_FORMAT_VHD,
	DISK_FORMAT_ISO,
	DISK_FORMAT_ISCSI,
};

enum disk_cache {
	DISK_CACHE_NONE,      /* O_DIRECT where the file system can; the default */
	DISK_CACHE_WRITEBACK, /* the host's page cache; a flush is still a flush */
};

struct disk_options {
	const char *path; /* or iscsi:// URL */
	enum disk_format format;
	enum disk_cache cache;
	bool read_only;
	bool pass_through; /* block device: SCSI commands go to it (SG_IO) */
	bool deferred;	   /* comes from another host which still has it: locks are not taken and
			      nothing is trusted before reopen() */
	const char *initiator;	 /* iscsi: the parent's IQN; NULL: /etc/iscsi/initiatorname.iscsi */
	const char *secret_path; /* iscsi: a file with the CHAP secret; may be NULL */
	/* VHD: whether a file (absolute, resolved) may be a parent; any thread, also later, when
	 * the disk is taken back. NULL: any may. */
	bool (*may_be_parent)(const char *path);
};

/*
 * Opens a disk. May block, for seconds where the file is on a share or the target is slow, with a
 * deadline. Returns 0, or -errno with one line for the user in message: what is wrong, where
 * (offset and field, of a malformed image), and what to do. -EBUSY: another process has it open for
 * writing (its image lock is held).
 */
int disk_open(const struct disk_options *options, struct disk **disk, char *message,
	      size_t message_bytes);

/* Any thread; the info as it is now. */
static inline void disk_get_info(struct disk *disk, struct disk_info *info)
{
	disk->ops->get_info(disk, info);
}

static inline void disk_submit(struct disk *disk, struct disk_request *request)
{
	disk->ops->submit(disk, request);
}

/*
 * The main thread, all four. They wait for a share that hangs, but not for ever: -ETIMEDOUT, and
 * -EBUSY where an earlier call on this disk still hangs. Both leave the disk good for disk_close()
 * and another try.
 */

/* No request is in flight: everything is on the disk, and other processes may have it (locks are
 * let go). 0 or -errno. After it only disk_reopen() and disk_close(). */
int disk_release(struct disk *disk);
/* Takes it back: locks, and a fresh look at what it is, since another host may have written to it.
 * 0 or -errno with one line in message. */
int disk_reopen(struct disk *disk, char *message, size_t message_bytes);
/* Looks at the size again (a file that was made longer). 0 or -errno. */
int disk_refresh(struct disk *disk);
/* Takes NULL. No request is in flight. Releases first where that was not done. Where it hangs it is
 * closed when it no longer does. */
void disk_close(struct disk *disk);

/* True for what changes the disk, or its state: a read-only one refuses it. */
bool disk_request_writes(const struct disk_request *request);

/* "auto", "raw", "vhd", "iso" or "iscsi"; and back: false where it is none of them. */
const char *disk_format_name(enum disk_format format);
bool disk_format_parse(const char *name, enum disk_format *format);

#endif
