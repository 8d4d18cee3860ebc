/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records of moves, each a small JSON file that is replaced as a whole: written under another name,
 * flushed, renamed.
 */
#include "hypervisor/migration/record.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/bytes.h"
#include "hypervisor/migration/durable.h"
#include "hypervisor/migration/lock.h"
#include "hypervisor/migration/record_internal.h"
#include "hypervisor/vm_paths.h"

#define ID_LENGTH	 (MIGRATION_ID_BYTES - 1)
#define PREPARED_ABORT	 ".aborted"
#define MAX_RECORD_BYTES 8192

static const char *const words[] = {
	[MIGRATION_WORD_UNKNOWN] = "unknown", [MIGRATION_WORD_UNDECIDED] = "undecided",
	[MIGRATION_WORD_LEAVING] = "leaving", [MIGRATION_WORD_RELEASED] = "released",
	[MIGRATION_WORD_ABORTED] = "aborted", [MIGRATION_WORD_COMMITTED] = "committed",
};

static const char *const side_suffix[] = {
	[MIGRATION_SIDE_OUT] = "out",
	[MIGRATION_SIDE_IN] = "in",
};

const char *migration_word_name(enum migration_word word)
{
	return (size_t)word < ARRAY_LENGTH(words) ? words[word] : "unknown";
}

/* ---- ids ---- */

bool migration_id_is_valid(const char *id)
{
	for (size_t i = 0; i < ID_LENGTH; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		bool digit = (id[i] >= '0' && id[i] <= '9') || (id[i] >= 'a' && id[i] <= 'f');

		if (dash ? id[i] != '-' : !digit)
			return false;
	}
	return id[ID_LENGTH] == '\0';
}

int migration_id_make(char id[MIGRATION_ID_BYTES])
{
	uint8_t r[16];

	if (getrandom(r, sizeof(r), 0) != (ssize_t)sizeof(r))
		return -errno;
	r[6] = (uint8_t)((r[6] & 0x0f) | 0x40); /* RFC 4122, version 4 */
	r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
	snprintf(id, MIGRATION_ID_BYTES,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1],
		 r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14],
		 r[15]);
	return 0;
}

int record_path(enum migration_side side, const char *id, const char *suffix, char path[PATH_MAX])
{
	return durable_path(path, "%s/migrations/%s.%s%s", vm_paths_state_dir(), id,
			    side_suffix[side], suffix);
}

/* ---- records ---- */

static char *record_text(const struct migration_record *record)
{
	json_t *json =
		json_pack("{ss ss ss ss ss si sb sI}", "word", migration_word_name(record->word),
			  "id", record->id, "vm", record->vm, "peer", record->peer, "identity",
			  record->identity, "port", (int)record->port, "stored",
			  (int)record->stored, "unix_s", (json_int_t)time(NULL));
	char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;

	json_decref(json);
	return text;
}

static bool field_get(const json_t *json, const char *key, char *to, size_t to_bytes)
{
	const char *text = json_string_value(json_object_get(json, key));

	if (!text || strlen(text) >= to_bytes)
		return false;
	snprintf(to, to_bytes, "%s", text);
	return true;
}

static int record_parse(const char *text, const char *id, struct migration_record *record)
{
	struct migration_record found = {.word = MIGRATION_WORD_UNKNOWN};
	json_t *json = json_loads(text, 0, NULL);
	json_int_t port = json_integer_value(json_object_get(json, "port"));
	char word[16] = "";
	bool ok;

	ok = field_get(json, "word", word, sizeof(word)) &&
	     field_get(json, "id", found.id, sizeof(found.id)) &&
	     field_get(json, "vm", found.vm, sizeof(found.vm)) &&
	     field_get(json, "peer", found.peer, sizeof(found.peer)) &&
	     field_get(json, "identity", found.identity, sizeof(found.identity)) &&
	     vm_name_is_valid(found.vm) && strcmp(found.id, id) == 0 && port >= 0 &&
	     port <= UINT16_MAX;
	found.port = (uint16_t)(ok ? port : 0);
	found.stored = json_is_true(json_object_get(json, "stored"));
	json_decref(json);
	for (size_t i = MIGRATION_WORD_LEAVING; i < ARRAY_LENGTH(words); i++)
		if (strcmp(word, words[i]) == 0)
			found.word = (enum migration_word)i;
	if (!ok || found.word == MIGRATION_WORD_UNKNOWN)
		return -EINVAL;
	*record = found;
	return 0;
}

int record_get(const char *path, const char *id, struct migration_record *record)
{
	char text[MAX_RECORD_BYTES];
	ssize_t length = durable_read(path, text, sizeof(text));

	return length < 0 ? (int)length : record_parse(text, id, record);
}

int migration_record_read(enum migration_side side, const char *id, struct migration_record *record)
{
	char path[PATH_MAX];
	int rc = record_path(side, id, "", path);

	return rc ? rc : record_get(path, id, record);
}

int record_put(const struct migration_record *record, const char *path, bool on_disk)
{
	char *text = record_text(record);
	int rc;

	if (!text)
		return -ENOMEM;
	rc = durable_write(path, text, strlen(text), on_disk);
	free(text);
	return rc;
}

int migration_record_write(enum migration_side side, const struct migration_record *record,
			   bool on_disk)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	int rc = record_path(side, record->id, "", path);

	rc = rc ? rc : record_path(side, record->id, ".new", temporary);
	rc = rc ? rc : durable_dir_make(vm_paths_state_dir(), "migrations");
	rc = rc ? rc : record_put(record, temporary, on_disk);
	if (rc && side == MIGRATION_SIDE_OUT && record->word == MIGRATION_WORD_ABORTED)
		rc = record_path(side, record->id, PREPARED_ABORT, temporary);
	if (rc)
		return rc;
	if (rename(temporary, path) < 0) {
		rc = -errno;
		unlink(temporary);
		return rc;
	}
	return on_disk ? durable_dir_sync(vm_paths_state_dir(), "migrations") : 0;
}

int migration_record_prepare_abort(const struct migration_record *record)
{
	struct migration_record aborted = *record;
	char path[PATH_MAX];
	int rc = record_path(MIGRATION_SIDE_OUT, record->id, PREPARED_ABORT, path);

	aborted.word = MIGRATION_WORD_ABORTED;
	rc = rc ? rc : durable_dir_make(vm_paths_state_dir(), "migrations");
	return rc ? rc : record_put(&aborted, path, true);
}

int migration_record_remove(enum migration_side side, const char *id)
{
	char path[PATH_MAX];
	int rc;

	if (side == MIGRATION_SIDE_OUT && !record_path(side, id, PREPARED_ABORT, path))
		unlink(path);
	rc = record_path(side, id, "", path);
	if (rc)
		return rc;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

bool migration_id_of_file(const char *file, const char *suffix, char id[MIGRATION_ID_BYTES])
{
	if (strlen(file) != ID_LENGTH + 1 + strlen(suffix) || file[ID_LENGTH] != '.' ||
	    strcmp(file + ID_LENGTH + 1, suffix) != 0)
		return false;
	memcpy(id, file, ID_LENGTH);
	id[ID_LENGTH] = '\0';
	return migration_id_is_valid(id);
}

static DIR *records_open(void)
{
	char path[PATH_MAX];

	return durable_path(path, "%s/migrations", vm_paths_state_dir()) ? NULL : opendir(path);
}

/* The next record of a source of that VM. */
static bool record_next(DIR *dir, const char *vm, struct migration_record *record)
{
	char id[MIGRATION_ID_BYTES];
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL)
		if (migration_id_of_file(entry->d_name, side_suffix[MIGRATION_SIDE_OUT], id) &&
		    !migration_record_read(MIGRATION_SIDE_OUT, id, record) &&
		    strcmp(record->vm, vm) == 0)
			return true;
	return false;
}

int migration_record_find_open(const char *vm, struct migration_record *record)
{
	struct migration_record found;
	DIR *dir = records_open();
	int rc = -ENOENT;

	while (rc && record_next(dir, vm, &found))
		if (found.word == MIGRATION_WORD_LEAVING || found.word == MIGRATION_WORD_RELEASED) {
			*record = found;
			rc = 0;
		}
	if (dir)
		closedir(dir);
	return rc;
}

void migration_record_settle(const char *vm)
{
	struct migration_record found;
	int lock;

	while (!migration_record_find_open(vm, &found)) {
		lock = migration_lock_take(MIGRATION_SIDE_OUT, found.id);
		if (lock < 0 || migration_record_remove(MIGRATION_SIDE_OUT, found.id)) {
			migration_lock_release(MIGRATION_SIDE_OUT, found.id, lock, false);
			return;
		}
		migration_lock_release(MIGRATION_SIDE_OUT, found.id, lock, true);
	}
}

bool migration_record_departs(const char *vm)
{
	struct migration_record found;
	DIR *dir = records_open();
	bool departs = false;
	int lock;

	while (!departs && record_next(dir, vm, &found)) {
		if (found.word != MIGRATION_WORD_COMMITTED)
			continue;
		lock = migration_lock_take(MIGRATION_SIDE_OUT, found.id);
		departs = lock == -EWOULDBLOCK;
		migration_lock_release(MIGRATION_SIDE_OUT, found.id, lock, true);
	}
	if (dir)
		closedir(dir);
	return departs;
}
