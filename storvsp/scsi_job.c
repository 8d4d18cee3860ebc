/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of SCSI commands to the disk. An ordinary READ or WRITE is one request with the guest's
 * own pages, which needs no memory; all else is a job: a buffer, and steps that follow each other
 * as the disk answers.
 */
#include <errno.h>
#include <stdlib.h>

#include "storvsp/scsi_internal.h"

#define PAGE_BYTES 4096

static struct scsi_command *request_command(struct disk_request *request)
{
	return (struct scsi_command *)((char *)request - offsetof(struct scsi_command, request));
}

struct scsi_job *scsi_job_create(struct scsi_command *command, uint32_t buffer_bytes)
{
	struct scsi_unit *unit = scsi_command_unit(command);
	struct scsi_job *job = calloc(1, sizeof(*job));
	void *buffer = NULL;

	if (!job)
		goto err;
	if (atomic_fetch_add(&unit->job_bytes, buffer_bytes) + buffer_bytes > SCSI_MAX_JOB_BYTES ||
	    (buffer_bytes && posix_memalign(&buffer, PAGE_BYTES, buffer_bytes) != 0))
		goto err_free_job;
	job->command = command;
	job->buffer = buffer;
	job->buffer_bytes = buffer_bytes;
	job->iov = job->pieces;
	command->unit_state[1] = job;
	return job;

err_free_job:
	atomic_fetch_sub(&unit->job_bytes, buffer_bytes);
	free(job);
err:
	scsi_end_status(command, SAM_BUSY);
	return NULL;
}

void scsi_job_free(struct scsi_command *command)
{
	struct scsi_job *job = command->unit_state[1];

	if (!job)
		return;
	command->unit_state[1] = NULL;
	if (job->iov != job->pieces)
		free(job->iov);
	free(job->buffer);
	atomic_fetch_sub(&scsi_command_unit(command)->job_bytes, job->buffer_bytes);
	free(job);
}

static void job_done(struct disk_request *request, int status)
{
	struct scsi_command *command = request_command(request);
	struct scsi_job *job = command->unit_state[1];

	if (status)
		scsi_end_errno(command, status);
	else
		job->next(job);
}

void scsi_job_submit_iov(struct scsi_job *job, enum disk_op op, uint64_t offset, uint64_t length,
			 scsi_job_fn next)
{
	struct scsi_command *command = job->command;
	bool has_data = op == DISK_READ || op == DISK_WRITE;

	job->next = next;
	command->request = (struct disk_request){
		.op = op,
		.fua = op == DISK_WRITE && job->fua,
		.offset = offset,
		.length = length,
		.iov = has_data ? job->iov : NULL,
		.iov_count = has_data ? job->iov_count : 0,
		.loop = command->loop,
		.done = job_done,
	};
	disk_submit(scsi_command_unit(command)->disk, &command->request);
}

void scsi_job_submit(struct scsi_job *job, enum disk_op op, uint64_t offset, void *data,
		     uint64_t length, scsi_job_fn next)
{
	job->iov[0] = (struct iovec){.iov_base = data, .iov_len = (size_t)length};
	job->iov_count = 1;
	scsi_job_submit_iov(job, op, offset, length, next);
}

static void command_done(struct disk_request *request, int status)
{
	struct scsi_command *command = request_command(request);
	bool has_data = request->op == DISK_READ || request->op == DISK_WRITE;

	if (status)
		scsi_end_errno(command, status);
	else
		scsi_end_good(command, has_data ? request->length : command->transferred);
}

void scsi_submit(struct scsi_command *command, enum disk_op op, uint64_t offset, uint64_t length,
		 const struct iovec *iov, uint32_t iov_count, bool fua)
{
	command->request = (struct disk_request){
		.op = op,
		.fua = fua,
		.offset = offset,
		.length = length,
		.iov = iov,
		.iov_count = iov_count,
		.loop = command->loop,
		.done = command_done,
	};
	disk_submit(scsi_command_unit(command)->disk, &command->request);
}

static void claim_granted(struct scsi_range_claim *claim)
{
	struct scsi_command *command =
		(struct scsi_command *)((char *)claim - offsetof(struct scsi_command, claim));
	void (*run)(struct scsi_command * command) =
		(void (*)(struct scsi_command *))command->unit_state[2];

	run(command);
}

void scsi_claim(struct scsi_command *command, uint64_t offset, uint64_t length, bool exclusive,
		void (*run)(struct scsi_command *command))
{
	struct scsi_unit *unit = scsi_command_unit(command);

	command->claim.offset = offset;
	command->claim.length = length;
	command->claim.exclusive = exclusive;
	command->claim.granted = claim_granted;
	command->claim.loop = command->loop;
	command->unit_state[2] = (void *)run;
	if (scsi_range_claim(&unit->ranges, &command->claim))
		run(command);
}
