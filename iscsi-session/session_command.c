/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands of a session: two lists, those that wait and those that were sent, each in the order of
 * submission. What was sent and not answered when a connection is lost goes back to the head of the
 * waiting list, so that the target sees the old order again; the kernel was told nothing of it yet,
 * so no acknowledged write is at stake.
 */
#include "iscsi-session/session_internal.h"

#include <errno.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/deadline.h"

#define LOG_COMPONENT "session"
#include "base/log.h"

/* scsi_iovec is iovec by another name. */
_Static_assert(sizeof(struct scsi_iovec) == sizeof(struct iovec),
	       "libiscsi takes our iovecs as its own");

#define SPENT_MAX 1024u

int session_commands_init(struct session *s)
{
	TAILQ_INIT(&s->waiting);
	TAILQ_INIT(&s->sent);
	LIST_INIT(&s->aborts);
	s->spent = calloc(SPENT_MAX, sizeof(struct scsi_task *));
	return s->spent != NULL ? 0 : -ENOMEM;
}

void session_commands_fini(struct session *s)
{
	session_reap_spent(s);
	free(s->spent);
}

static void free_spent(struct session *s, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		scsi_free_scsi_task(s->spent[i]);
	s->spent_count -= count;
	memmove(s->spent, s->spent + count, s->spent_count * sizeof(struct scsi_task *));
}

void session_reap_spent(struct session *s)
{
	if (s->spent_count == 0)
		return;
	if (s->connection == NULL ||
	    (iscsi_which_events(connection_iscsi(s->connection)) & POLLOUT) == 0)
		free_spent(s, s->spent_count);
}

/*
 * Data-Out PDUs that libiscsi has not sent yet keep pointing to their task, even when the target
 * has answered early. With commands sent in order, a task that is SPENT_MAX / 2 completions old has
 * none left.
 */
static void spend_task(struct session *s, struct session_command *command)
{
	if (command->task == NULL)
		return;
	if (command->direction != CDB_DATA_OUT || s->connection == NULL) {
		scsi_free_scsi_task(command->task);
	} else {
		if (s->spent_count == SPENT_MAX)
			free_spent(s, SPENT_MAX / 2);
		s->spent[s->spent_count++] = command->task;
	}
	command->task = NULL;
}

static void count_done(struct session *s, const struct session_command *command)
{
	struct session_counters *n = &s->counters;

	if (command->status == SCSI_STATUS_CHECK_CONDITION)
		n->check_conditions++;
	if (command->data_bytes > 0 && command->direction == CDB_DATA_IN &&
	    command->status == SCSI_STATUS_GOOD) {
		n->reads++;
		n->read_bytes += command->received_bytes;
	} else if (command->data_bytes > 0 && command->direction == CDB_DATA_OUT &&
		   command->status == SCSI_STATUS_GOOD) {
		n->writes++;
		n->written_bytes += command->data_bytes;
	} else {
		n->others++;
	}
}

/* Takes the command off its list and hands it back. */
static void finish(struct session *s, struct session_command *command)
{
	if (command->state == COMMAND_SENT) {
		TAILQ_REMOVE(&s->sent, command, link);
		s->sent_count--;
	} else {
		TAILQ_REMOVE(&s->waiting, command, link);
		s->waiting_count--;
	}
	if (command->abort != NULL) {
		command->abort->command = NULL;
		command->abort = NULL;
	}
	spend_task(s, command);
	count_done(s, command);
	command->done(command);
}

static void finish_with_sense(struct session *s, struct session_command *command, uint8_t key,
			      uint8_t asc, uint8_t ascq)
{
	command->status = SCSI_STATUS_CHECK_CONDITION;
	cdb_sense_build(command->sense, key, asc, ascq);
	command->sense_length = 18;
	command->received_bytes = 0;
	s->counters.errors++;
	finish(s, command);
}

static void finish_aborted(struct session *s, struct session_command *command)
{
	command->status = SCSI_STATUS_TASK_ABORTED;
	command->sense_length = 0;
	command->received_bytes = 0;
	finish(s, command);
}

/* The target's own sense data: datain is the data segment of the response, two bytes of length
 * first. */
static void copy_sense(struct session_command *command, const struct scsi_task *task)
{
	size_t available = task->datain.size > 2 ? (size_t)task->datain.size - 2 : 0;
	size_t length = available > 0 ? get_be16(task->datain.data) : 0;

	if (length > available)
		length = available;
	if (length > SESSION_SENSE_MAX)
		length = SESSION_SENSE_MAX;
	if (length == 0) {
		cdb_sense_build(command->sense, SCSI_SENSE_ABORTED_COMMAND_KEY, 0, 0);
		length = 18;
	} else {
		memcpy(command->sense, task->datain.data + 2, length);
	}
	command->sense_length = (uint8_t)length;
}

static void on_response(struct iscsi_context *iscsi, int status, void *data, void *ctx)
{
	struct session_command *command = ctx;
	struct session *s = command->session;
	const struct scsi_task *task = command->task;

	(void)iscsi;
	(void)data;
	if (status == SCSI_STATUS_CANCELLED)
		return; /* whoever cancels deals with the command */
	command->sense_length = 0;
	command->received_bytes = 0;
	if (status > 0xff || status < 0) {
		finish_with_sense(s, command, SCSI_SENSE_ABORTED_COMMAND_KEY, 0x47, 0x00);
		session_send_waiting(s);
		return;
	}
	command->status = (uint8_t)status;
	if (status == SCSI_STATUS_CHECK_CONDITION) {
		copy_sense(command, task);
	} else if (command->direction == CDB_DATA_IN) {
		command->received_bytes = command->data_bytes;
		if (task->residual_status == SCSI_RESIDUAL_UNDERFLOW)
			command->received_bytes -= task->residual < command->data_bytes
							   ? (uint32_t)task->residual
							   : command->data_bytes;
	}
	finish(s, command);
	session_send_waiting(s);
}

static int send_command(struct session *s, struct session_command *command)
{
	static const int directions[] = {
		[CDB_DATA_NONE] = SCSI_XFER_NONE,
		[CDB_DATA_IN] = SCSI_XFER_READ,
		[CDB_DATA_OUT] = SCSI_XFER_WRITE,
	};
	enum cdb_data direction = command->data_bytes > 0 ? command->direction : CDB_DATA_NONE;
	struct scsi_iovec *iov = (struct scsi_iovec *)(void *)command->iov;

	command->task = scsi_create_task(command->cdb_length, command->cdb, directions[direction],
					 (int)command->data_bytes);
	if (command->task == NULL)
		return -ENOMEM;
	if (direction == CDB_DATA_IN)
		scsi_task_set_iov_in(command->task, iov, command->iov_count);
	else if (direction == CDB_DATA_OUT)
		scsi_task_set_iov_out(command->task, iov, command->iov_count);
	/* SAM-5 4.7: peripheral addressing up to 255, flat space addressing above. */
	int lun = s->config.lun < 256 ? s->config.lun : 0x4000 | s->config.lun;
	if (iscsi_scsi_command_async(connection_iscsi(s->connection), lun, command->task,
				     on_response, NULL, command) != 0) {
		scsi_free_scsi_task(command->task);
		command->task = NULL;
		return -ENOMEM;
	}
	return 0;
}

void session_send_waiting(struct session *s)
{
	struct session_command *command;

	while (s->logged_in && s->sent_count < SESSION_COMMANDS_MAX &&
	       (command = TAILQ_FIRST(&s->waiting)) != NULL) {
		if (send_command(s, command) < 0) {
			finish_with_sense(s, command, SCSI_SENSE_ABORTED_COMMAND_KEY, 0x55, 0x03);
			continue;
		}
		TAILQ_REMOVE(&s->waiting, command, link);
		s->waiting_count--;
		TAILQ_INSERT_TAIL(&s->sent, command, link);
		s->sent_count++;
		command->state = COMMAND_SENT;
	}
}

static void fail_waiting_later(void *ctx)
{
	struct session *s = ctx;

	s->fail_timer = NULL;
	if (s->state == SESSION_FAILED || s->state == SESSION_CLOSED)
		session_fail_waiting(s);
	session_end_round(s);
}

void session_submit(struct session *s, struct session_command *command)
{
	command->session = s;
	command->task = NULL;
	command->abort = NULL;
	command->state = COMMAND_WAITING;
	TAILQ_INSERT_TAIL(&s->waiting, command, link);
	s->waiting_count++;
	/* Where no timer can be had, the next tick fails it. */
	if ((s->state == SESSION_FAILED || s->state == SESSION_CLOSED) && s->fail_timer == NULL)
		event_loop_after_ms(s->loop, 0, fail_waiting_later, s, &s->fail_timer);
}

void session_flush(struct session *s)
{
	session_send_waiting(s);
	if (s->connection != NULL && s->logged_in) {
		connection_kick(s->connection);
		session_reap_spent(s);
	}
	session_end_round(s);
}

void session_fail_waiting(struct session *s)
{
	struct command_list failed;
	struct session_command *command;

	/* done() may submit again: only what waits now fails now. */
	TAILQ_INIT(&failed);
	TAILQ_CONCAT(&failed, &s->waiting, link);
	while ((command = TAILQ_FIRST(&failed)) != NULL) {
		TAILQ_REMOVE(&failed, command, link);
		TAILQ_INSERT_HEAD(&s->waiting, command, link);
		finish_with_sense(s, command, SCSI_SENSE_NOT_READY_KEY, 0x08, 0x00);
	}
}

void session_requeue_sent(struct session *s)
{
	struct session_command *command;
	struct session_abort *abort;
	struct command_list again;

	TAILQ_INIT(&again);
	while ((command = TAILQ_FIRST(&s->sent)) != NULL) {
		bool aborted = command->abort != NULL;
		if (aborted) {
			finish_aborted(s, command);
			continue;
		}
		if (!scsi_cdb_is_repeatable(command->cdb)) {
			/* Nobody knows whether it was carried out: I_T NEXUS LOSS OCCURRED. */
			finish_with_sense(s, command, SCSI_SENSE_UNIT_ATTENTION_KEY, 0x29, 0x07);
			continue;
		}
		spend_task(s, command);
		TAILQ_REMOVE(&s->sent, command, link);
		s->sent_count--;
		s->waiting_count++;
		s->counters.resent++;
		command->state = COMMAND_WAITING;
		TAILQ_INSERT_TAIL(&again, command, link);
	}
	TAILQ_CONCAT(&again, &s->waiting, link);
	TAILQ_CONCAT(&s->waiting, &again, link);
	while ((abort = LIST_FIRST(&s->aborts)) != NULL) {
		LIST_REMOVE(abort, link);
		free(abort);
	}
	session_reap_spent(s);
}

static void on_abort_answer(struct iscsi_context *iscsi, int status, void *data, void *ctx)
{
	struct session_abort *abort = ctx;
	struct session *s = abort->session;
	struct session_command *command = abort->command;

	(void)data;
	if (status == SCSI_STATUS_CANCELLED)
		return; /* session_requeue_sent() frees it */
	LIST_REMOVE(abort, link);
	if (command != NULL) {
		command->abort = NULL;
		iscsi_scsi_cancel_task(iscsi, command->task);
		finish_aborted(s, command);
	}
	free(abort);
	session_send_waiting(s);
}

static struct session_abort *abort_create(struct session *s, struct session_command *command)
{
	struct session_abort *abort = calloc(1, sizeof(*abort));

	if (abort == NULL)
		return NULL;
	abort->session = s;
	abort->command = command;
	abort->deadline_ns = monotonic_ns() + s->config.timeouts.abort_s * NS_PER_SEC;
	LIST_INSERT_HEAD(&s->aborts, abort, link);
	s->counters.aborts++;
	return abort;
}

void session_abort_command(struct session *s, struct session_command *command)
{
	if (command->state == COMMAND_WAITING) {
		finish_aborted(s, command);
		return;
	}
	if (command->abort != NULL || !s->logged_in)
		return;
	command->abort = abort_create(s, command);
	if (command->abort == NULL)
		return;
	if (iscsi_task_mgmt_abort_task_async(connection_iscsi(s->connection), command->task,
					     on_abort_answer, command->abort) != 0)
		command->abort->deadline_ns = 0; /* the next tick drops the connection */
}

void session_reset_lun(struct session *s)
{
	struct session_abort *abort;
	int lun = s->config.lun < 256 ? s->config.lun : 0x4000 | s->config.lun;

	if (!s->logged_in)
		return;
	abort = abort_create(s, NULL);
	if (abort == NULL)
		return;
	if (iscsi_task_mgmt_async(connection_iscsi(s->connection), lun, ISCSI_TM_LUN_RESET,
				  0xffffffff, 0, on_abort_answer, abort) != 0)
		abort->deadline_ns = 0;
}

bool session_abort_overdue(const struct session *s, uint64_t now_ns)
{
	const struct session_abort *abort;

	LIST_FOREACH(abort, &s->aborts, link)
	if (now_ns >= abort->deadline_ns)
		return true;
	return false;
}
