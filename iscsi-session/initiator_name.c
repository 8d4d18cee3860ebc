/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading, making and judging the initiator name.
 */
#include "iscsi-session/initiator_name.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

#define FILE_BYTES_MAX 4096
#define IDENTITY_MAX   63

int initiator_name_parse(const char *text, char name[ISCSI_NAME_MAX + 1])
{
	static const char key[] = "InitiatorName=";

	for (const char *line = text; *line != '\0'; line += strspn(line, "\n")) {
		size_t length = strcspn(line, "\n");
		const char *start = line + strspn(line, " \t");
		line += length;
		if (strncmp(start, key, sizeof(key) - 1) != 0)
			continue;
		start += sizeof(key) - 1;
		length = strcspn(start, " \t\r\n");
		if (length > ISCSI_NAME_MAX)
			return -EINVAL;
		char found[ISCSI_NAME_MAX + 1] = {0};
		memcpy(found, start, length);
		if (!iscsi_name_is_valid(found))
			return -EINVAL;
		memcpy(name, found, sizeof(found));
		return 0;
	}
	return -ENOENT;
}

/* Reads a small text file whole. Returns 0 or -errno. */
static int read_text(const char *path, char *text, size_t size)
{
	ssize_t length;
	int ret = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	length = read(fd, text, size - 1);
	if (length < 0)
		ret = -EIO;
	else
		text[length] = '\0';
	close(fd);
	return ret;
}

/* Writes to a temporary file first: a crash leaves the old name or the new one, never half of it.
 */
static int write_text(const char *path, const char *text, mode_t mode)
{
	char temporary[PATH_MAX];
	size_t length = strlen(text);
	int fd, ret = 0;

	if (snprintf(temporary, sizeof(temporary), "%s.new", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	if (write(fd, text, length) != (ssize_t)length || fsync(fd) < 0)
		ret = -errno;
	close(fd);
	if (ret == 0 && rename(temporary, path) < 0)
		ret = -errno;
	if (ret < 0)
		unlink(temporary);
	return ret;
}

static int generate(const char *path, char name[ISCSI_NAME_MAX + 1])
{
	uint8_t random[6];
	char text[512], made[64], folder[PATH_MAX];
	char *slash;
	int ret;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -errno;
	snprintf(made, sizeof(made), "iqn.1993-08.org.debian:01:%02x%02x%02x%02x%02x%02x",
		 random[0], random[1], random[2], random[3], random[4], random[5]);
	snprintf(text, sizeof(text),
		 "## Made by lunar-iscsi. Every machine needs its own name: after cloning this\n"
		 "## one, delete this file in the clone and a new name is made.\n"
		 "InitiatorName=%s\n",
		 made);
	snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (slash != NULL && slash != folder) {
		*slash = '\0';
		if (mkdir(folder, 0755) < 0 && errno != EEXIST)
			return -errno;
	}
	ret = write_text(path, text, 0600);
	if (ret == 0)
		memcpy(name, made, strlen(made) + 1);
	return ret;
}

int initiator_name_load(const char *path, char name[ISCSI_NAME_MAX + 1])
{
	char text[FILE_BYTES_MAX] = "";
	int ret = read_text(path, text, sizeof(text));

	if (ret == 0) {
		ret = initiator_name_parse(text, name);
		if (ret == -ENOENT && strstr(text, "GenerateName=yes") == NULL)
			return -EINVAL;
	}
	return ret == -ENOENT ? generate(path, name) : ret;
}

bool initiator_name_is_template(const char *name)
{
	static const char *const words[] = {"example", "localhost",   "debian", "template",
					    "default", "initiator",   "clone",	"changeme",
					    "test",    "xxxxxxxxxxxx"};
	const char *suffix = strrchr(name, ':');
	size_t length;

	if (strncmp(name, "iqn.", 4) != 0)
		return false;
	if (suffix == NULL)
		return true;
	suffix++;
	length = strlen(suffix);
	if (strspn(suffix, "0") == length)
		return true;
	for (size_t i = 0; i < ARRAY_LENGTH(words); i++)
		if (strcasecmp(suffix, words[i]) == 0)
			return true;
	return false;
}

/* Something that differs between two machines made from one image. Empty where nothing is known. */
static void machine_identity(char identity[IDENTITY_MAX + 1])
{
	glob_t nics;

	identity[0] = '\0';
	if (read_text("/sys/class/dmi/id/product_uuid", identity, IDENTITY_MAX + 1) < 0 &&
	    glob("/sys/class/net/e*/address", 0, NULL, &nics) == 0) {
		if (nics.gl_pathc > 0 &&
		    read_text(nics.gl_pathv[0], identity, IDENTITY_MAX + 1) < 0)
			identity[0] = '\0';
		globfree(&nics);
	}
	identity[strcspn(identity, "\n")] = '\0';
}

bool initiator_name_is_cloned(const char *path, const char *name, const char *identity)
{
	char stamp_path[PATH_MAX], stamp[FILE_BYTES_MAX], now[ISCSI_NAME_MAX + IDENTITY_MAX + 4];
	char own[IDENTITY_MAX + 1];

	if (identity == NULL) {
		machine_identity(own);
		identity = own;
	}
	if (identity[0] == '\0' ||
	    snprintf(stamp_path, sizeof(stamp_path), "%s.machine", path) >= (int)sizeof(stamp_path))
		return false;
	snprintf(now, sizeof(now), "%s %s\n", name, identity);
	if (read_text(stamp_path, stamp, sizeof(stamp)) == 0) {
		size_t length = strlen(name);
		if (strcmp(stamp, now) == 0)
			return false;
		if (strncmp(stamp, name, length) == 0 && stamp[length] == ' ')
			return true;
	}
	write_text(stamp_path, now, 0600);
	return false;
}
