/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reservations: PERSISTENT RESERVE IN and OUT (SPC-4) and RESERVE and RELEASE
 * (SPC-2). A unit of ours has one initiator, the VM: there is one registration at most, the
 * VM is the holder of whatever reservation there is, and no command of the VM's ever conflicts with
 * its own reservation. What remains is the book-keeping, by which clustering software and test
 * suites tell a disk that does it right.
 *
 * APTPL is refused: reservations live as long as the VM does, moves included, and not longer.
 */
#include <string.h>

#include "base/bytes.h"
#include "storvsp/scsi_internal.h"

#define PR_PARAMETER_BYTES 24
#define PR_SPEC_I_PT	   0x08
#define PR_ALL_TG_PT	   0x04
#define PR_APTPL	   0x01

enum {
	PR_REGISTER = 0,
	PR_RESERVE = 1,
	PR_RELEASE = 2,
	PR_CLEAR = 3,
	PR_PREEMPT = 4,
	PR_PREEMPT_AND_ABORT = 5,
	PR_REGISTER_AND_IGNORE = 6,
};

enum {
	PR_READ_KEYS = 0,
	PR_READ_RESERVATION = 1,
	PR_REPORT_CAPABILITIES = 2,
	PR_READ_FULL_STATUS = 3,
};

/* Write Exclusive, Exclusive Access, each also for Registrants Only and All Registrants. */
static bool type_valid(uint8_t type)
{
	return type == 1 || type == 3 || (type >= 5 && type <= 8);
}

static bool type_of_all_registrants(uint8_t type)
{
	return type == 7 || type == 8;
}

bool scsi_reservation_valid(uint64_t key, uint8_t type)
{
	return type == 0 || (type_valid(type) && key != 0);
}

/* ---- SPC-2 ---- */

void scsi_reserve(struct scsi_unit *unit, struct scsi_command *command,
		  const struct disk_info *info)
{
	struct scsi_reservations *all = &unit->reservations;
	bool conflict;

	(void)info;
	pthread_mutex_lock(&all->lock);
	conflict = all->key != 0; /* the two kinds do not mix (SPC-4) */
	if (!conflict)
		all->reserved = true;
	pthread_mutex_unlock(&all->lock);
	scsi_end_status(command, conflict ? SAM_RESERVATION_CONFLICT : SAM_GOOD);
}

void scsi_release(struct scsi_unit *unit, struct scsi_command *command,
		  const struct disk_info *info)
{
	struct scsi_reservations *all = &unit->reservations;
	bool conflict;

	(void)info;
	pthread_mutex_lock(&all->lock);
	conflict = all->key != 0;
	if (!conflict)
		all->reserved = false;
	pthread_mutex_unlock(&all->lock);
	scsi_end_status(command, conflict ? SAM_RESERVATION_CONFLICT : SAM_GOOD);
}

/* ---- PERSISTENT RESERVE IN ---- */

static size_t put_keys(const struct scsi_reservations *all, uint8_t *data)
{
	put_be32(data, all->generation);
	if (all->key == 0)
		return 8;
	put_be32(&data[4], 8);
	put_be64(&data[8], all->key);
	return 16;
}

static size_t put_reservation(const struct scsi_reservations *all, uint8_t *data)
{
	put_be32(data, all->generation);
	if (all->type == 0)
		return 8;
	put_be32(&data[4], 16);
	put_be64(&data[8], type_of_all_registrants(all->type) ? 0 : all->key);
	data[21] = all->type;
	return 24;
}

static size_t put_capabilities(uint8_t *data)
{
	put_be16(data, 8);
	data[3] = 0x80;		    /* TMV: the mask says which types */
	put_be16(&data[4], 0xea01); /* all six */
	return 8;
}

static size_t put_full_status(const struct scsi_reservations *all, uint8_t *data)
{
	put_be32(data, all->generation);
	if (all->key == 0)
		return 8;
	put_be32(&data[4], 24 + 24);
	put_be64(&data[8], all->key);
	data[20] = all->type ? 0x01 : 0; /* R_HOLDER */
	data[21] = all->type;
	put_be16(&data[26], 1);	 /* relative target port */
	put_be32(&data[28], 24); /* TransportID: */
	data[32] = 0x0f;	 /* of no specific protocol */
	return 8 + 24 + 24;
}

void scsi_persistent_in(struct scsi_unit *unit, struct scsi_command *command,
			const struct disk_info *info)
{
	struct scsi_reservations *all = &unit->reservations;
	uint8_t data[64] = {0};
	size_t length = 0;
	bool conflict;

	(void)info;
	pthread_mutex_lock(&all->lock);
	conflict = all->reserved; /* whoever reserved it (SPC-2) */
	switch (command->cdb[1] & 0x1f) {
	case PR_READ_KEYS:
		length = put_keys(all, data);
		break;
	case PR_READ_RESERVATION:
		length = put_reservation(all, data);
		break;
	case PR_REPORT_CAPABILITIES:
		length = put_capabilities(data);
		break;
	default:
		length = put_full_status(all, data);
		break;
	}
	pthread_mutex_unlock(&all->lock);
	if (conflict)
		scsi_end_status(command, SAM_RESERVATION_CONFLICT);
	else
		scsi_end_data_in(command, data, length, get_be16(&command->cdb[7]));
}

/* ---- PERSISTENT RESERVE OUT ---- */

/* How an action ends. */
enum pr_result {
	PR_DONE,
	PR_CONFLICT,
	PR_INVALID_RELEASE,
	PR_BAD_ACTION_KEY,
};

struct pr_request {
	uint8_t action;
	uint8_t type;
	uint64_t key;
	uint64_t action_key;
};

static enum pr_result pr_register(struct scsi_reservations *all, const struct pr_request *request)
{
	if (request->action == PR_REGISTER && request->key != all->key)
		return PR_CONFLICT;
	if (request->action_key == 0 && all->key == 0)
		return PR_DONE; /* nothing to take back */
	if (request->action_key == 0)
		all->type = 0; /* the only registrant leaves: so does its reservation */
	all->key = request->action_key;
	all->generation++;
	return PR_DONE;
}

static enum pr_result pr_preempt(struct scsi_reservations *all, const struct pr_request *request)
{
	/* An action key of 0 means all others, where all registrants hold the reservation. */
	if (request->action_key == 0 && !type_of_all_registrants(all->type))
		return PR_BAD_ACTION_KEY;
	if (request->action_key != 0 && request->action_key != all->key)
		return PR_CONFLICT;
	if (all->type)
		all->type = request->type;
	all->generation++;
	return PR_DONE;
}

/* Under the lock. */
static enum pr_result pr_act(struct scsi_reservations *all, const struct pr_request *request)
{
	bool registers =
		request->action == PR_REGISTER || request->action == PR_REGISTER_AND_IGNORE;

	if (all->reserved)
		return PR_CONFLICT;
	if (registers)
		return pr_register(all, request);
	if (all->key == 0 || request->key != all->key)
		return PR_CONFLICT;
	switch (request->action) {
	case PR_RESERVE:
		if (all->type && all->type != request->type)
			return PR_CONFLICT;
		all->type = request->type;
		return PR_DONE;
	case PR_RELEASE:
		if (all->type && all->type != request->type)
			return PR_INVALID_RELEASE;
		all->type = 0;
		return PR_DONE;
	case PR_CLEAR:
		all->type = 0;
		all->key = 0;
		all->generation++;
		return PR_DONE;
	default:
		return pr_preempt(all, request);
	}
}

/* The flags of the parameter list: none is there for one initiator and one port. False: the command
 * has ended. */
static bool pr_check_flags(struct scsi_command *command, const uint8_t *list)
{
	static const struct {
		uint8_t flag;
		int bit;
	} refused[] = {{PR_SPEC_I_PT, 3}, {PR_ALL_TG_PT, 2}, {PR_APTPL, 0}};

	for (size_t i = 0; i < ARRAY_LENGTH(refused); i++) {
		if (list[20] & refused[i].flag) {
			scsi_end_bad_parameter(command, 20, refused[i].bit);
			return false;
		}
	}
	return true;
}

void scsi_persistent_out(struct scsi_unit *unit, struct scsi_command *command,
			 const struct disk_info *info)
{
	struct scsi_reservations *all = &unit->reservations;
	struct pr_request request = {.action = command->cdb[1] & 0x1f,
				     .type = command->cdb[2] & 0x0f};
	uint8_t list[PR_PARAMETER_BYTES];
	enum pr_result result;

	(void)info;
	if (get_be32(&command->cdb[5]) != PR_PARAMETER_BYTES) {
		scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
		return;
	}
	if (request.action != PR_REGISTER && request.action != PR_REGISTER_AND_IGNORE &&
	    request.action != PR_CLEAR && (!type_valid(request.type) || command->cdb[2] & 0xf0)) {
		scsi_end_bad_cdb(command, 2, -1);
		return;
	}
	if (!scsi_get_parameters(command, PR_PARAMETER_BYTES, list) ||
	    !pr_check_flags(command, list))
		return;
	request.key = get_be64(list);
	request.action_key = get_be64(&list[8]);
	pthread_mutex_lock(&all->lock);
	result = pr_act(all, &request);
	pthread_mutex_unlock(&all->lock);
	switch (result) {
	case PR_DONE:
		scsi_end_good(command, PR_PARAMETER_BYTES);
		break;
	case PR_CONFLICT:
		scsi_end_status(command, SAM_RESERVATION_CONFLICT);
		break;
	case PR_INVALID_RELEASE:
		scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_INVALID_RELEASE);
		break;
	case PR_BAD_ACTION_KEY:
		scsi_end_bad_parameter(command, 8, -1);
		break;
	}
}
