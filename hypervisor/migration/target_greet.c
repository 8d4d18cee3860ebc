/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first part of a target: HELLO, the checks, and the VM in the making; where it may not come,
 * the answer that says why.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "hypervisor/migration/call.h"
#include "hypervisor/migration/check.h"
#include "hypervisor/migration/control.h"
#include "hypervisor/migration/lock.h"
#include "hypervisor/migration/resolve.h"
#include "hypervisor/migration/target_internal.h"
#include "hypervisor/migration/tls.h"
#include "hypervisor/vm_lock.h"

#define LOG_COMPONENT "migration"

#define LOOP_MS	     5000
#define MAKE_MS	     30000
#define CHECK_MS     15000
#define ENDING_MS    1500 /* a process, once its move has ended */
#define DEPARTING_MS 8000 /* for the process of an earlier move away from here to end */
#define AGAIN_US     50000
#define SEND_MS	     10000
#define REFUSED_MS   5000

/* ---- HELLO ---- */

static int hello_take(struct target *target, struct vm_error *error)
{
	struct migration_record earlier;
	int rc = migration_hello_read(target->first.payload, target->first.length, &target->hello);

	if (rc) {
		target->hello.id[0] = '\0';
		target->hello.vm[0] = '\0';
		return vm_error_set(error, EXIT_BAD_STATE, rc,
				    rc == -EOPNOTSUPP ? "the source speaks a protocol that the "
							"destination does not; use the same "
							"version of Lunar on both hosts"
						      : "what the source said first is malformed");
	}
	target->in_lock = migration_lock_take(MIGRATION_SIDE_IN, target->hello.id);
	if (target->in_lock < 0 ||
	    migration_record_read(MIGRATION_SIDE_IN, target->hello.id, &earlier) != -ENOENT)
		return vm_error_set(error, EXIT_STATE, -EEXIST,
				    "a move of that id has been here before");
	pthread_mutex_lock(&target->lock);
	target->status.phase = MIGRATION_CONNECTING;
	target->status.memory_bytes = target->hello.memory_bytes;
	target->status.bytes_left = target->hello.memory_bytes;
	memcpy(target->status.id, target->hello.id, sizeof(target->status.id));
	snprintf(target->status.peer, sizeof(target->status.peer), "%s",
		 migration_tls_peer_name(target->tls));
	pthread_mutex_unlock(&target->lock);
	snprintf(target->source_address, sizeof(target->source_address), "%s",
		 migration_tls_peer_address(target->tls));
	log_info("%s (Lunar %s) %s %s, move %s", migration_tls_peer_name(target->tls),
		 target->hello.program,
		 target->hello.check_only ? "asks whether it could send" : "sends",
		 target->hello.vm, target->hello.id);
	return 0;
}

/* ---- checks ---- */

static int cpu_check(void *ctx, struct vm_error *error)
{
	struct target *target = ctx;
	struct state_reader section;

	if (state_next(&target->hello.cpu, &section) != 1)
		return vm_error_set(error, EXIT_BAD_STATE, -EPROTO,
				    "the source does not say which processor the VM needs");
	return target->ops->check_cpu(target->ctx, &section, error);
}

static int vm_make(void *ctx, struct vm_error *error)
{
	struct target *target = ctx;
	int rc = target->ops->make(target->ctx, target->hello.definition,
				   target->hello.definition_length, error);

	target->made = rc == 0;
	return rc;
}

/* Waits for the process that moved the same VM away from here a moment ago; also where its record
 * is gone already, and only the process is not. */
static void name_await(struct target *target, struct deadline deadline)
{
	struct deadline ending = deadline_in_ms(ENDING_MS);

	while (!deadline_passed(deadline) && !atomic_load(&target->destroyed) &&
	       (migration_record_departs(target->hello.vm) ||
		(vm_lock_is_held(target->hello.vm) && !deadline_passed(ending)))) {
		if (migration_record_departs(target->hello.vm))
			ending = deadline_in_ms(ENDING_MS);
		usleep(AGAIN_US);
	}
}

/* A process that was killed while it moved the same VM away has left a definition here that may be
 * nobody's: the host that it went to knows. What cannot be told is left as it is, for the checks.
 */
static void name_settle(const struct target *target)
{
	struct vm_error why = {0};

	if (migration_resolve_before_start(target->hello.vm, &why))
		log_info("%s: %s", target->hello.vm, why.message);
}

static int vm_make_patiently(struct target *target, bool departing, struct deadline deadline,
			     struct vm_error *error)
{
	int rc;

	do {
		rc = migration_call(target->caller, vm_make, target, error,
				    deadline_in_ms(MAKE_MS));
	} while (rc && departing && (error->code == EXIT_EXISTS || error->code == EXIT_STATE) &&
		 !deadline_passed(deadline) && usleep(AGAIN_US) == 0);
	return rc;
}

static void memory_check(struct target *target)
{
	const struct guest_memory *memory = target->ops->get_memory(target->ctx);
	bool same = target->hello.region_count == guest_memory_region_count(memory);

	for (uint32_t i = 0; same && i < target->hello.region_count; i++) {
		const struct guest_memory_region *region = guest_memory_region_at(memory, i);

		same = region->gpa == target->hello.regions[i].gpa &&
		       region->size_bytes == target->hello.regions[i].size_bytes;
	}
	if (!same)
		migration_check_add(&target->check, MIGRATION_STOPS, "memory",
				    "the VM's memory would lie differently on the destination; "
				    "use the same version of Lunar on both hosts");
}

static int nic_check_begin(void *ctx, struct migration_call *call, struct vm_error *error)
{
	struct target *target = ctx;

	(void)error;
	return target->ops->check(target->ctx, target->portals.tag ? &target->portals : NULL,
				  &target->nic_findings, migration_call_done, call);
}

static void nics_check(struct target *target)
{
	struct vm_error error = {0};
	int rc;

	if (!target->ops->check)
		return;
	if (state_next(&target->hello.portals, &target->portals) != 1)
		target->portals = (struct state_reader){0};
	rc = migration_call_wait(target->caller, nic_check_begin, target, NULL, &error,
				 deadline_in_ms(CHECK_MS));
	if (rc) {
		migration_check_add(&target->check, MIGRATION_NOTES, "network",
				    "the VM's network on the destination could not be checked: %s",
				    *error.message ? error.message : strerror(-rc));
		return;
	}
	for (uint32_t i = 0; i < target->nic_findings.count; i++)
		migration_check_add(&target->check, target->nic_findings.findings[i].severity,
				    target->nic_findings.findings[i].item, "%s",
				    target->nic_findings.findings[i].text);
}

static int disk_check_run(void *ctx, struct vm_error *error)
{
	struct target *target = ctx;

	(void)error;
	target->ops->check_disks(target->ctx, &target->hello.disks, &target->check);
	return 0;
}

static void disks_check(struct target *target)
{
	struct vm_error error = {0};

	if (target->ops->check_disks && migration_call(target->caller, disk_check_run, target,
						       &error, deadline_in_ms(CHECK_MS)))
		migration_check_add(&target->check, MIGRATION_NOTES, "disk",
				    "the VM's disks on the destination could not be checked: %s",
				    error.message);
}

static void checks_run(struct target *target)
{
	struct deadline deadline = deadline_in_ms(DEPARTING_MS);
	bool departing = migration_record_departs(target->hello.vm);
	struct vm_error error = {0};
	bool may_make;
	int rc;

	name_await(target, deadline);
	name_settle(target);
	may_make = migration_check_definition(&target->check, target->hello.vm,
					      target->hello.definition,
					      target->hello.definition_length);
	rc = migration_call(target->caller, cpu_check, target, &error, deadline_in_ms(LOOP_MS));
	if (rc)
		migration_check_add(&target->check, MIGRATION_STOPS, "cpu", "%s", error.message);
	if (!may_make || (migration_check_stopper(&target->check) && !target->hello.check_only))
		return;
	error = (struct vm_error){0};
	rc = vm_make_patiently(target, departing, deadline, &error);
	if (rc) {
		migration_check_add_error(&target->check, &error);
		return;
	}
	memory_check(target);
	nics_check(target);
	disks_check(target);
}

/* ---- the answer ---- */

static int refuse(struct target *target, struct vm_error *error)
{
	const struct migration_finding *stopper = migration_check_stopper(&target->check);
	struct migration_message ignored = {0};
	struct state_writer writer;
	int rc;

	state_writer_init(&writer);
	migration_findings_write(&writer, &target->check);
	rc = migration_control_send_state(target->control, MIGRATION_FRAME_REFUSE, &writer,
					  deadline_in_ms(SEND_MS));
	if (!rc) /* the source ends it, once it has read that */
		(void)migration_control_receive(target->control, &ignored,
						deadline_in_ms(REFUSED_MS));
	migration_message_fini(&ignored);
	if (target->hello.check_only)
		return 1;
	return vm_error_set(error, EXIT_CANNOT_MOVE, -EPERM, "%s", stopper->text);
}

int target_greet(struct target *target, struct vm_error *error)
{
	int rc = hello_take(target, error);

	if (rc)
		return rc;
	migration_step_hold(MIGRATION_STEP_TARGET_HELLO, &target->destroyed);
	checks_run(target);
	migration_step_hold(MIGRATION_STEP_TARGET_MADE, &target->destroyed);
	if (target->hello.check_only || migration_check_stopper(&target->check))
		return refuse(target, error);
	return 0;
}
