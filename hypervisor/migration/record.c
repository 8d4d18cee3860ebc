/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records of moves, each a small JSON file that is replaced as a whole (written under another name,
 * flushed, renamed), and the locks and orders beside them.
 */
#include "hypervisor/migration/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/bytes.h"
#include "base/log.h"
#include "hypervisor/migration/report.h"
#include "hypervisor/vm_paths.h"

#define LOG_COMPONENT "migration"

#define ID_LENGTH	  (MIGRATION_ID_BYTES - 1)
#define MAX_RECORD_BYTES  8192
#define PRUNE_AGE_SECONDS (30L * 24 * 3600)

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

/* ---- files ---- */

__attribute__((format(printf, 2, 3))) static int path_make(char path[PATH_MAX], const char *format,
							   ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(path, PATH_MAX, format, args);
	va_end(args);
	return length < 0 || length >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int record_path(enum migration_side side, const char *id, const char *suffix,
		       char path[PATH_MAX])
{
	return path_make(path, "%s/migrations/%s.%s%s", vm_paths_state_dir(), id, side_suffix[side],
			 suffix);
}

static int run_path(const char *id, const char *suffix, char path[PATH_MAX])
{
	return path_make(path, "%s/migrations/%s.%s", vm_paths_run_dir(), id, suffix);
}

static int directory_make(const char *parent, const char *name)
{
	char path[PATH_MAX];
	int rc = path_make(path, "%s/%s", parent, name);

	return rc ? rc : vm_paths_make_dir(path);
}

/* Makes renames, links and removals in a folder durable. */
static int directory_sync(const char *parent, const char *name)
{
	char path[PATH_MAX];
	int rc = path_make(path, "%s/%s", parent, name);
	int fd;

	if (rc)
		return rc;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static int write_all(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t done = write(fd, bytes, length);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		bytes += done;
		length -= (size_t)done;
	}
	return 0;
}

static int file_write(const char *path, const void *bytes, size_t length, bool on_disk)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc;

	if (fd < 0)
		return -errno;
	rc = write_all(fd, bytes, length);
	if (!rc && on_disk && fsync(fd) < 0)
		rc = -errno;
	if (close(fd) < 0 && !rc)
		rc = -errno;
	if (rc)
		unlink(path);
	return rc;
}

/* Reads a whole file into text (NUL-terminated), which must be shorter than text_bytes. */
static ssize_t file_read(const char *path, char *text, size_t text_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t length = 0;
	ssize_t got;

	if (fd < 0)
		return -errno;
	do {
		got = read(fd, text + length, text_bytes - length);
		if (got > 0)
			length += (size_t)got;
	} while ((got > 0 && length < text_bytes) || (got < 0 && errno == EINTR));
	if (got < 0 || length == text_bytes) {
		got = got < 0 ? -errno : -EFBIG;
		close(fd);
		return got;
	}
	close(fd);
	text[length] = '\0';
	return (ssize_t)length;
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

int migration_record_read(enum migration_side side, const char *id, struct migration_record *record)
{
	char path[PATH_MAX], text[MAX_RECORD_BYTES];
	int rc = record_path(side, id, "", path);
	ssize_t length;

	if (rc)
		return rc;
	length = file_read(path, text, sizeof(text));
	return length < 0 ? (int)length : record_parse(text, id, record);
}

static int record_put(const struct migration_record *record, const char *path, bool on_disk)
{
	char *text = record_text(record);
	int rc;

	if (!text)
		return -ENOMEM;
	rc = file_write(path, text, strlen(text), on_disk);
	free(text);
	return rc;
}

int migration_record_write(enum migration_side side, const struct migration_record *record,
			   bool on_disk)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	int rc = record_path(side, record->id, "", path);

	rc = rc ? rc : record_path(side, record->id, ".new", temporary);
	rc = rc ? rc : directory_make(vm_paths_state_dir(), "migrations");
	rc = rc ? rc : record_put(record, temporary, on_disk);
	if (rc)
		return rc;
	if (rename(temporary, path) < 0) {
		rc = -errno;
		unlink(temporary);
		return rc;
	}
	return on_disk ? directory_sync(vm_paths_state_dir(), "migrations") : 0;
}

int migration_record_remove(enum migration_side side, const char *id)
{
	char path[PATH_MAX];
	int rc = record_path(side, id, "", path);

	if (rc)
		return rc;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

/* The id in a name like "ID.out"; false for other files. */
static bool id_of_file(const char *file, const char *suffix, char id[MIGRATION_ID_BYTES])
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

	return path_make(path, "%s/migrations", vm_paths_state_dir()) ? NULL : opendir(path);
}

/* The next record of a source of that VM. */
static bool record_next(DIR *dir, const char *vm, struct migration_record *record)
{
	char id[MIGRATION_ID_BYTES];
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL)
		if (id_of_file(entry->d_name, side_suffix[MIGRATION_SIDE_OUT], id) &&
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

void migration_records_prune(void)
{
	struct migration_record record;
	char id[MIGRATION_ID_BYTES], path[PATH_MAX];
	struct dirent *entry;
	struct stat status;
	DIR *dir = records_open();

	while (dir && (entry = readdir(dir)) != NULL)
		for (int side = MIGRATION_SIDE_OUT; side <= MIGRATION_SIDE_IN; side++)
			if (id_of_file(entry->d_name, side_suffix[side], id) &&
			    !record_path((enum migration_side)side, id, "", path) &&
			    stat(path, &status) == 0 &&
			    time(NULL) - status.st_mtime > PRUNE_AGE_SECONDS &&
			    !migration_record_read((enum migration_side)side, id, &record) &&
			    record.word == MIGRATION_WORD_ABORTED)
				unlink(path);
	if (dir)
		closedir(dir);
}

/* ---- the decision about an incoming move ---- */

static int decision_path(const struct migration_record *record, char path[PATH_MAX])
{
	char suffix[16];

	snprintf(suffix, sizeof(suffix), ".%s", migration_word_name(record->word));
	return record_path(MIGRATION_SIDE_IN, record->id, suffix, path);
}

int migration_decision_prepare(const struct migration_record *record)
{
	char path[PATH_MAX];
	int rc = decision_path(record, path);

	rc = rc ? rc : directory_make(vm_paths_state_dir(), "migrations");
	return rc ? rc : record_put(record, path, true);
}

int migration_decision_make(const struct migration_record *record, struct migration_record *decided)
{
	char path[PATH_MAX], prepared[PATH_MAX];
	int rc = decision_path(record, prepared);

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
	rc = directory_sync(vm_paths_state_dir(), "migrations");
	if (rc)
		log_error("the record of move %s may not survive this host: %s", record->id,
			  strerror(-rc));
	unlink(prepared);
	return 0;
}

void migration_decision_discard(const struct migration_record *record)
{
	char path[PATH_MAX];

	if (!decision_path(record, path))
		unlink(path);
}

/* ---- definitions ---- */

static int prepared_path(const char *vm, const char *id, char path[PATH_MAX])
{
	return path_make(path, "%s/vms/.%s.%s.incoming", vm_paths_state_dir(), vm, id);
}

int migration_definition_prepare(const char *vm, const char *id, const void *text, size_t length)
{
	char path[PATH_MAX];
	int rc = prepared_path(vm, id, path);

	rc = rc ? rc : directory_make(vm_paths_state_dir(), "vms");
	rc = rc ? rc : file_write(path, text, length, true);
	return rc ? rc : directory_sync(vm_paths_state_dir(), "vms");
}

int migration_definition_place(const char *vm, const char *id)
{
	char prepared[PATH_MAX], path[PATH_MAX];
	int rc = prepared_path(vm, id, prepared);

	rc = rc ? rc : vm_path(VM_PATH_DEFINITION, vm, path, sizeof(path));
	if (rc)
		return rc;
	if (rename(prepared, path) < 0)
		return errno == ENOENT ? 0 : -errno;
	return directory_sync(vm_paths_state_dir(), "vms");
}

void migration_definition_discard(const char *vm, const char *id)
{
	char path[PATH_MAX];

	if (!prepared_path(vm, id, path))
		unlink(path);
}

bool migration_definition_is_prepared(const char *vm, const char *id)
{
	char path[PATH_MAX];

	return !prepared_path(vm, id, path) && access(path, F_OK) == 0;
}

bool migration_definition_exists(const char *vm)
{
	char path[PATH_MAX];

	return !vm_path(VM_PATH_DEFINITION, vm, path, sizeof(path)) && access(path, F_OK) == 0;
}

bool migration_definition_is_stored(const char *vm, const void *text, size_t length)
{
	char path[PATH_MAX];
	char *stored;
	bool same;

	if (vm_path(VM_PATH_DEFINITION, vm, path, sizeof(path)))
		return false;
	stored = malloc(length + 2);
	same = stored && file_read(path, stored, length + 2) == (ssize_t)length &&
	       memcmp(stored, text, length) == 0;
	free(stored);
	return same;
}

int migration_definition_remove(const char *vm)
{
	char path[PATH_MAX];
	int rc = vm_path(VM_PATH_DEFINITION, vm, path, sizeof(path));

	if (rc)
		return rc;
	if (unlink(path) < 0)
		return errno == ENOENT ? 0 : -errno;
	return directory_sync(vm_paths_state_dir(), "vms");
}

/* ---- locks and orders ---- */

static int lock_path(enum migration_side side, const char *id, char path[PATH_MAX])
{
	return run_path(id, side == MIGRATION_SIDE_OUT ? "out.lock" : "in.lock", path);
}

int migration_lock_take(enum migration_side side, const char *id)
{
	struct stat held, named;
	char path[PATH_MAX];
	int rc = lock_path(side, id, path);
	int fd;

	rc = rc ? rc : directory_make(vm_paths_run_dir(), "migrations");
	if (rc)
		return rc;
	for (;;) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			rc = -errno;
			close(fd);
			return rc;
		}
		/* Its last holder may have removed it while we opened it. */
		if (fstat(fd, &held) == 0 && stat(path, &named) == 0 &&
		    held.st_ino == named.st_ino && held.st_dev == named.st_dev)
			return fd;
		close(fd);
	}
}

void migration_lock_release(enum migration_side side, const char *id, int fd, bool remove)
{
	char path[PATH_MAX];

	if (fd < 0)
		return;
	if (remove && !lock_path(side, id, path))
		unlink(path);
	close(fd);
}

int migration_order_put(const char *id, const char *identity)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	int rc = run_path(id, "order", path);

	rc = rc ? rc : run_path(id, "order.new", temporary);
	rc = rc ? rc : directory_make(vm_paths_run_dir(), "migrations");
	rc = rc ? rc : file_write(temporary, identity, strlen(identity), false);
	if (!rc && rename(temporary, path) < 0)
		rc = -errno;
	return rc;
}

int migration_order_get(const char *id, char identity[MIGRATION_HOST_BYTES])
{
	char path[PATH_MAX];
	ssize_t length;
	int rc = run_path(id, "order", path);

	if (rc)
		return rc;
	length = file_read(path, identity, MIGRATION_HOST_BYTES);
	return length < 0 ? (int)length : 0;
}

void migration_order_remove(const char *id)
{
	char path[PATH_MAX];

	if (!run_path(id, "order", path))
		unlink(path);
}

/* ---- figures ---- */

int migration_figures_write(const char *vm, const struct migration_status *status,
			    const struct migration_check *check)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	json_t *json = migration_report_json(vm, status, check);
	char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
	int rc = vm_path(VM_PATH_MIGRATION, vm, path, sizeof(path));

	json_decref(json);
	if (!text)
		return -ENOMEM;
	rc = rc ? rc : path_make(temporary, "%s.new", path);
	rc = rc ? rc : directory_make(vm_paths_state_dir(), "migrations");
	rc = rc ? rc : file_write(temporary, text, strlen(text), true);
	free(text);
	if (!rc && rename(temporary, path) < 0)
		rc = -errno;
	return rc;
}

bool migration_figures_written_since(const char *vm, struct timespec when)
{
	struct stat status;
	char path[PATH_MAX];

	if (vm_path(VM_PATH_MIGRATION, vm, path, sizeof(path)) || stat(path, &status) < 0)
		return false;
	return status.st_mtim.tv_sec > when.tv_sec ||
	       (status.st_mtim.tv_sec == when.tv_sec && status.st_mtim.tv_nsec > when.tv_nsec);
}
