/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A record that lies prepared, and the link that makes it the decision. See decision.h.
 */
#include "hypervisor/migration/decision.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "hypervisor/migration/durable.h"
#include "hypervisor/migration/record_internal.h"
#include "hypervisor/vm_paths.h"

#define LOG_COMPONENT "migration"

static int decision_path(const char *id, enum migration_word word, char path[PATH_MAX])
{
	char suffix[16];

	snprintf(suffix, sizeof(suffix), ".%s", migration_word_name(word));
	return record_path(MIGRATION_SIDE_IN, id, suffix, path);
}

int migration_decision_read(const char *id, enum migration_word word,
			    struct migration_record *record)
{
	char path[PATH_MAX];
	int rc = decision_path(id, word, path);

	return rc ? rc : record_get(path, id, record);
}

int migration_decision_prepare(const struct migration_record *record)
{
	char path[PATH_MAX];
	int rc = decision_path(record->id, record->word, path);

	rc = rc ? rc : durable_dir_make(vm_paths_state_dir(), "migrations");
	return rc ? rc : record_put(record, path, true);
}

int migration_decision_make(const struct migration_record *record, struct migration_record *decided)
{
	char path[PATH_MAX], prepared[PATH_MAX];
	int rc = decision_path(record->id, record->word, prepared);

	rc = rc ? rc : record_path(MIGRATION_SIDE_IN, record->id, "", path);
	if (rc)
		return rc;
	if (link(prepared, path) < 0) {
		rc = -errno;
		if (rc != -EEXIST)
			return rc;
		rc = migration_record_read(MIGRATION_SIDE_IN, record->id, decided);
		return rc ? rc : -EEXIST;
	}
	/* Visible is decided: who reads it from now on acts on it. A disk that fails here can only
	 * make a host that goes down forget it. */
	rc = durable_dir_sync(vm_paths_state_dir(), "migrations");
	if (rc)
		log_error("the record of move %s may not survive this host: %s", record->id,
			  strerror(-rc));
	unlink(prepared);
	return 0;
}

void migration_decision_discard(const struct migration_record *record)
{
	char path[PATH_MAX];

	if (!decision_path(record->id, record->word, path))
		unlink(path);
}
