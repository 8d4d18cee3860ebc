/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kinds of disks by name, and the calls on a disk that may hang with its share: they run on a
 * helper's thread, and a call that did not end in time leaves the disk marked until it does.
 */
#include "storvsp/disk.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "storvsp/disk_iscsi.h"
#include "storvsp/disk_iso.h"
#include "storvsp/disk_raw.h"
#include "storvsp/disk_vhd.h"
#include "storvsp/slow_call.h"

#define LOG_COMPONENT "disk"
#include "base/log.h"

#define OPEN_MS	   20000u /* more than an iSCSI login may take */
#define RELEASE_MS 60000u /* what is in the page cache goes to the disk */
#define REOPEN_MS  20000u
#define REFRESH_MS 2000u
#define CLOSE_MS   10000u

static const char iscsi_scheme[] = "iscsi://";

static const char *const format_names[] = {
	[DISK_FORMAT_AUTO] = "auto", [DISK_FORMAT_RAW] = "raw",	    [DISK_FORMAT_VHD] = "vhd",
	[DISK_FORMAT_ISO] = "iso",   [DISK_FORMAT_ISCSI] = "iscsi",
};

const char *disk_format_name(enum disk_format format)
{
	return (size_t)format < ARRAY_LENGTH(format_names) ? format_names[format] : "?";
}

bool disk_format_parse(const char *name, enum disk_format *format)
{
	for (size_t i = 0; i < ARRAY_LENGTH(format_names); i++) {
		if (strcmp(name, format_names[i]) == 0) {
			*format = (enum disk_format)i;
			return true;
		}
	}
	return false;
}

/*
 * Operation codes (SPC-4, SBC-3, MMC-6) that change neither the medium nor how it is used by
 * others. The direction of the data alone would not do: it is the guest's word, and FORMAT UNIT,
 * SANITIZE, WRITE SAME or WRITE LONG change a medium without any.
 */
static bool cdb_only_looks(uint8_t opcode)
{
	static const uint8_t looks[] = {
		0x00,			/* TEST UNIT READY */
		0x03,			/* REQUEST SENSE */
		0x08, 0x28, 0xa8, 0x88, /* READ (6), (10), (12), (16) */
		0x12,			/* INQUIRY */
		0x1a, 0x5a,		/* MODE SENSE (6), (10) */
		0x1b,			/* START STOP UNIT */
		0x1c,			/* RECEIVE DIAGNOSTIC RESULTS */
		0x1e,			/* PREVENT ALLOW MEDIUM REMOVAL */
		0x25, 0x9e,		/* READ CAPACITY (10), SERVICE ACTION IN (16) */
		0x2f, 0xaf, 0x8f,	/* VERIFY (10), (12), (16) */
		0x34, 0x90,		/* PRE-FETCH (10), (16) */
		0x35, 0x91,		/* SYNCHRONIZE CACHE (10), (16) */
		0x37, 0xb7,		/* READ DEFECT DATA (10), (12) */
		0x3c,			/* READ BUFFER */
		0x43, 0x46, 0x4a, 0x51, /* MMC: READ TOC, configuration, events, disc */
		0xbd, 0xbe,		/* MECHANISM STATUS, READ CD */
		0x4d,			/* LOG SENSE */
		0x5e,			/* PERSISTENT RESERVE IN */
		0xa3,			/* MAINTENANCE IN */
	};

	return memchr(looks, opcode, sizeof(looks)) != NULL;
}

bool disk_request_writes(const struct disk_request *request)
{
	switch (request->op) {
	case DISK_WRITE:
	case DISK_WRITE_ZEROES:
	case DISK_UNMAP:
		return true;
	case DISK_SCSI:
		return request->scsi->direction == DISK_TO_DEVICE ||
		       !cdb_only_looks(request->scsi->cdb[0]);
	default:
		return false;
	}
}

static bool ends_with(const char *name, const char *end)
{
	size_t length = strlen(name), end_length = strlen(end);

	return length > end_length && strcasecmp(name + length - end_length, end) == 0;
}

static enum disk_format find_format(const struct disk_options *options)
{
	if (options->format != DISK_FORMAT_AUTO)
		return options->format;
	if (strncasecmp(options->path, iscsi_scheme, sizeof(iscsi_scheme) - 1) == 0)
		return DISK_FORMAT_ISCSI;
	if (ends_with(options->path, ".vhd") || ends_with(options->path, ".avhd"))
		return DISK_FORMAT_VHD;
	return ends_with(options->path, ".iso") ? DISK_FORMAT_ISO : DISK_FORMAT_RAW;
}

static int open_format(const struct disk_options *options, struct disk **disk, char *message,
		       size_t message_bytes)
{
	switch (find_format(options)) {
	case DISK_FORMAT_VHD:
		return disk_vhd_open(options, disk, message, message_bytes);
	case DISK_FORMAT_ISCSI:
		return disk_iscsi_open(options, disk, message, message_bytes);
	case DISK_FORMAT_ISO:
		return disk_iso_open(options, disk, message, message_bytes);
	default:
		return disk_raw_open(options, disk, message, message_bytes);
	}
}

/* ---- opening ---- */

/* Has copies of all strings: the caller's may be gone when it ends. */
struct open_job {
	struct disk_options options;
	char *path, *initiator, *secret_path;
	struct disk *disk;
	int ret;
	char message[DISK_MESSAGE_BYTES];
};

static void open_job_free(struct open_job *job)
{
	free(job->path);
	free(job->initiator);
	free(job->secret_path);
	free(job);
}

static bool copy_text(const char *text, char **copy, const char **option)
{
	if (text == NULL)
		return true;
	*copy = strdup(text);
	*option = *copy;
	return *copy != NULL;
}

static struct open_job *open_job_create(const struct disk_options *options)
{
	struct open_job *job = calloc(1, sizeof(*job));

	if (job == NULL)
		return NULL;
	job->options = *options;
	if (copy_text(options->path, &job->path, &job->options.path) &&
	    copy_text(options->initiator, &job->initiator, &job->options.initiator) &&
	    copy_text(options->secret_path, &job->secret_path, &job->options.secret_path))
		return job;
	open_job_free(job);
	return NULL;
}

static void run_open(void *arg)
{
	struct open_job *job = arg;

	job->ret = open_format(&job->options, &job->disk, job->message, sizeof(job->message));
}

static void abandoned_open(void *arg)
{
	struct open_job *job = arg;

	if (job->ret == 0)
		job->disk->ops->close(job->disk);
	open_job_free(job);
}

int disk_open(const struct disk_options *options, struct disk **disk, char *message,
	      size_t message_bytes)
{
	struct open_job *job = open_job_create(options);
	int ret;

	if (job == NULL) {
		snprintf(message, message_bytes, "%s: no memory", options->path);
		return -ENOMEM;
	}
	ret = slow_call(run_open, abandoned_open, job, OPEN_MS);
	if (ret == -ETIMEDOUT) {
		snprintf(message, message_bytes, "%s: no answer for %u s: is its share there?",
			 options->path, OPEN_MS / 1000);
		return ret;
	}
	if (ret < 0) {
		snprintf(message, message_bytes, "%s: %s", options->path, strerror(-ret));
	} else {
		ret = job->ret;
		if (ret == 0)
			*disk = job->disk;
		else
			snprintf(message, message_bytes, "%s", job->message);
	}
	open_job_free(job);
	return ret;
}

/* ---- the other calls ---- */

struct helper_job {
	struct disk *disk;
	int (*run)(struct helper_job *job);
	int ret;
	char message[DISK_MESSAGE_BYTES];
	bool close_after;
};

/* Guards every disk's helper, and its close_after. Held for a few instructions. */
static pthread_mutex_t helper_mutex = PTHREAD_MUTEX_INITIALIZER;

static void run_helper(void *arg)
{
	struct helper_job *job = arg;

	job->ret = job->run(job);
}

static void abandoned_helper(void *arg)
{
	struct helper_job *job = arg;
	bool close_after;

	pthread_mutex_lock(&helper_mutex);
	close_after = job->close_after;
	job->disk->helper = NULL;
	pthread_mutex_unlock(&helper_mutex);
	if (close_after)
		job->disk->ops->close(job->disk);
	free(job);
}

static int call_helper(struct disk *disk, int (*run)(struct helper_job *job), uint32_t deadline_ms,
		       char *message, size_t message_bytes)
{
	struct helper_job *job = calloc(1, sizeof(*job));
	int ret = 0;

	if (job == NULL)
		return -ENOMEM;
	job->disk = disk;
	job->run = run;
	pthread_mutex_lock(&helper_mutex);
	if (disk->helper != NULL)
		ret = -EBUSY;
	else
		disk->helper = job;
	pthread_mutex_unlock(&helper_mutex);
	if (ret < 0) {
		snprintf(message, message_bytes, "an earlier call on it still hangs");
		free(job);
		return ret;
	}
	ret = slow_call(run_helper, abandoned_helper, job, deadline_ms);
	if (ret == -ETIMEDOUT) {
		snprintf(message, message_bytes, "no answer for %u s: is its share there?",
			 deadline_ms / 1000);
		return ret;
	}
	pthread_mutex_lock(&helper_mutex);
	disk->helper = NULL;
	pthread_mutex_unlock(&helper_mutex);
	if (ret == 0) {
		ret = job->ret;
		snprintf(message, message_bytes, "%s", job->message);
	} else {
		snprintf(message, message_bytes, "%s", strerror(-ret));
	}
	free(job);
	return ret;
}

static int run_release(struct helper_job *job)
{
	return job->disk->ops->release(job->disk);
}

static int run_reopen(struct helper_job *job)
{
	return job->disk->ops->reopen(job->disk, job->message, sizeof(job->message));
}

static int run_refresh(struct helper_job *job)
{
	return job->disk->ops->refresh(job->disk);
}

int disk_release(struct disk *disk)
{
	char message[DISK_MESSAGE_BYTES];

	return call_helper(disk, run_release, RELEASE_MS, message, sizeof(message));
}

int disk_reopen(struct disk *disk, char *message, size_t message_bytes)
{
	return call_helper(disk, run_reopen, REOPEN_MS, message, message_bytes);
}

int disk_refresh(struct disk *disk)
{
	char message[DISK_MESSAGE_BYTES];

	return call_helper(disk, run_refresh, REFRESH_MS, message, sizeof(message));
}

static void run_close(void *arg)
{
	struct disk *disk = arg;

	disk->ops->close(disk);
}

static void abandoned_close(void *arg)
{
	(void)arg;
}

void disk_close(struct disk *disk)
{
	struct helper_job *hanging;
	int ret;

	if (disk == NULL)
		return;
	pthread_mutex_lock(&helper_mutex);
	hanging = disk->helper;
	if (hanging != NULL)
		hanging->close_after = true;
	pthread_mutex_unlock(&helper_mutex);
	if (hanging != NULL)
		return;
	ret = slow_call(run_close, abandoned_close, disk, CLOSE_MS);
	if (ret == -ETIMEDOUT)
		log_warn("closing a disk hangs: its locks go when it no longer does, or with this "
			 "process");
	else if (ret < 0)
		disk->ops->close(disk);
}
