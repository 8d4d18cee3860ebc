/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading CHAP secrets. The mode is checked on the open file, so that it cannot be swapped in
 * between.
 */
#include "iscsi-session/chap_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int refuse(const char **why, int error, const char *phrase)
{
	*why = phrase;
	return error;
}

static int copy_secret(char *out, const char *from, size_t length, const char **why)
{
	if (length > CHAP_SECRET_MAX)
		return refuse(why, -EINVAL, "a secret has more than 255 bytes");
	memcpy(out, from, length);
	out[length] = '\0';
	return 0;
}

static int read_environment(struct chap_secrets *secrets, const char **why)
{
	const char *secret = getenv("LUNAR_ISCSI_SECRET");
	const char *mutual = getenv("LUNAR_ISCSI_MUTUAL_SECRET");
	int ret = 0;

	if (secret != NULL)
		ret = copy_secret(secrets->secret, secret, strlen(secret), why);
	if (ret == 0 && mutual != NULL)
		ret = copy_secret(secrets->mutual_secret, mutual, strlen(mutual), why);
	unsetenv("LUNAR_ISCSI_SECRET");
	unsetenv("LUNAR_ISCSI_MUTUAL_SECRET");
	return ret;
}

static int parse_lines(const char *text, struct chap_secrets *secrets, const char **why)
{
	size_t first = strcspn(text, "\r\n");
	const char *rest = text + first;
	int ret = copy_secret(secrets->secret, text, first, why);

	if (ret < 0)
		return ret;
	rest += strspn(rest, "\r\n");
	return copy_secret(secrets->mutual_secret, rest, strcspn(rest, "\r\n"), why);
}

static int read_file(const char *path, struct chap_secrets *secrets, const char **why)
{
	char text[2 * CHAP_SECRET_MAX + 8];
	struct stat st;
	ssize_t length;
	int ret;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return refuse(why, -errno, "the secret file cannot be opened");
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		ret = refuse(why, -EINVAL, "the secret file is not a regular file");
		goto out_close;
	}
	if ((st.st_mode & 077) != 0) {
		ret = refuse(why, -EACCES, "others can read the secret file: chmod 600 it");
		goto out_close;
	}
	length = read(fd, text, sizeof(text) - 1);
	if (length < 0 || length == (ssize_t)sizeof(text) - 1) {
		ret = refuse(why, -EINVAL, "the secret file cannot be read, or is too long");
		goto out_close;
	}
	text[length] = '\0';
	ret = parse_lines(text, secrets, why);
	if (ret == 0 && secrets->secret[0] == '\0')
		ret = refuse(why, -EINVAL, "the first line of the secret file is empty");
out_close:
	explicit_bzero(text, sizeof(text));
	close(fd);
	return ret;
}

int chap_secrets_read(const char *file, struct chap_secrets *out, const char **why)
{
	struct chap_secrets secrets = {0};
	int ret = file != NULL ? read_file(file, &secrets, why) : read_environment(&secrets, why);

	if (ret == 0 && secrets.mutual_secret[0] != '\0') {
		if (secrets.secret[0] == '\0')
			ret = refuse(why, -EINVAL, "a mutual secret needs a secret too");
		else if (strcmp(secrets.secret, secrets.mutual_secret) == 0)
			ret = refuse(why, -EINVAL, "secret and mutual secret must differ");
	}
	if (ret == 0)
		*out = secrets;
	chap_secrets_clear(&secrets);
	return ret;
}

void chap_secrets_clear(struct chap_secrets *secrets)
{
	explicit_bzero(secrets, sizeof(*secrets));
}
