/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A walk over the folder of records. See prune.h.
 */
#include "hypervisor/migration/prune.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hypervisor/migration/decision.h"
#include "hypervisor/migration/definition.h"
#include "hypervisor/migration/durable.h"
#include "hypervisor/migration/record.h"
#include "hypervisor/vm_paths.h"

#define OLD_SECONDS (30L * 24 * 3600)

/* An aborted incoming move. */
struct aborted {
	struct timespec when;
	char id[MIGRATION_ID_BYTES];
};

struct walk {
	char folder[PATH_MAX];
	struct aborted *aborted;
	size_t count;
	size_t capacity;
};

static bool file_is_old(const struct stat *status)
{
	return time(NULL) - status->st_mtime > OLD_SECONDS;
}

/* Out of memory it is kept, for another time. */
static void aborted_note(struct walk *walk, const char *id, const struct stat *status)
{
	struct aborted *more;
	size_t capacity = walk->capacity ? 2 * walk->capacity : PRUNE_ABORTED_KEPT;

	if (walk->count == walk->capacity) {
		more = realloc(walk->aborted, capacity * sizeof(*more));
		if (!more)
			return;
		walk->aborted = more;
		walk->capacity = capacity;
	}
	walk->aborted[walk->count].when = status->st_mtim;
	memcpy(walk->aborted[walk->count++].id, id, MIGRATION_ID_BYTES);
}

static void record_look(struct walk *walk, enum migration_side side, const char *id,
			const struct stat *status)
{
	struct migration_record record;

	if (migration_record_read(side, id, &record) || record.word != MIGRATION_WORD_ABORTED)
		return;
	if (file_is_old(status))
		(void)migration_record_remove(side, id);
	else if (side == MIGRATION_SIDE_IN)
		aborted_note(walk, id, status);
}

/* Prepared and never decided; the process is gone where its lock is free. */
static void prepared_look(const char *id, enum migration_word word, const struct stat *status)
{
	struct migration_record prepared;
	int lock;

	if (!file_is_old(status))
		return;
	lock = migration_lock_take(MIGRATION_SIDE_IN, id);
	if (lock < 0)
		return;
	if (!migration_decision_read(id, word, &prepared)) {
		/* One that is committed and was not put in place yet is not to be lost. */
		struct migration_record decided;

		if (migration_record_read(MIGRATION_SIDE_IN, id, &decided) ||
		    decided.word != MIGRATION_WORD_COMMITTED)
			migration_definition_discard(prepared.vm, id);
		migration_decision_discard(&prepared);
	}
	migration_lock_release(MIGRATION_SIDE_IN, id, lock, true);
}

static void file_look(struct walk *walk, const char *name)
{
	char id[MIGRATION_ID_BYTES], path[PATH_MAX];
	struct migration_record open;
	struct stat status;

	if (durable_path(path, "%s/%s", walk->folder, name) || lstat(path, &status) < 0 ||
	    !S_ISREG(status.st_mode))
		return;
	if (migration_id_of_file(name, "out", id))
		record_look(walk, MIGRATION_SIDE_OUT, id, &status);
	else if (migration_id_of_file(name, "in", id))
		record_look(walk, MIGRATION_SIDE_IN, id, &status);
	else if (migration_id_of_file(name, "in.committed", id))
		prepared_look(id, MIGRATION_WORD_COMMITTED, &status);
	else if (migration_id_of_file(name, "in.aborted", id))
		prepared_look(id, MIGRATION_WORD_ABORTED, &status);
	else if (migration_id_of_file(name, "out.aborted", id) && file_is_old(&status) &&
		 migration_record_read(MIGRATION_SIDE_OUT, id, &open) == -ENOENT)
		(void)migration_record_remove(MIGRATION_SIDE_OUT, id);
}

static int newest_first(const void *a, const void *b)
{
	const struct timespec *left = &((const struct aborted *)a)->when;
	const struct timespec *right = &((const struct aborted *)b)->when;

	if (left->tv_sec != right->tv_sec)
		return left->tv_sec < right->tv_sec ? 1 : -1;
	return left->tv_nsec < right->tv_nsec ? 1 : left->tv_nsec > right->tv_nsec ? -1 : 0;
}

void migration_records_prune(void)
{
	struct walk walk = {.count = 0};
	struct dirent *entry;
	DIR *dir;

	if (durable_path(walk.folder, "%s/migrations", vm_paths_state_dir()))
		return;
	dir = opendir(walk.folder);
	while (dir && (entry = readdir(dir)) != NULL)
		file_look(&walk, entry->d_name);
	if (dir)
		closedir(dir);
	if (walk.count > PRUNE_ABORTED_KEPT)
		qsort(walk.aborted, walk.count, sizeof(*walk.aborted), newest_first);
	for (size_t i = PRUNE_ABORTED_KEPT; i < walk.count; i++)
		(void)migration_record_remove(MIGRATION_SIDE_IN, walk.aborted[i].id);
	free(walk.aborted);
}
