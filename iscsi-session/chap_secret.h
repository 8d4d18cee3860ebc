/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CHAP secrets. They come from a file that only its owner can read, or from the environment; never
 * from the command line.
 */
#ifndef LUNAR_ISCSI_SESSION_CHAP_SECRET_H
#define LUNAR_ISCSI_SESSION_CHAP_SECRET_H

#include <stddef.h>

#define CHAP_SECRET_MAX 255

struct chap_secrets {
	char secret[CHAP_SECRET_MAX + 1];	 /* proves us to the target; empty: none */
	char mutual_secret[CHAP_SECRET_MAX + 1]; /* proves the target to us; empty: none */
};

/*
 * Reads the secret and, on a second line, the mutual secret from file (NULL: from
 * LUNAR_ISCSI_SECRET and LUNAR_ISCSI_MUTUAL_SECRET, which are removed from the environment).
 * Without either the secrets are empty. Returns 0, or -errno with a phrase in *why: -EACCES (others
 * can read the file), -EINVAL (empty, too long, or both secrets are the same, which RFC 7143 9.2.1
 * forbids), -ENOENT and so on.
 */
int chap_secrets_read(const char *file, struct chap_secrets *secrets, const char **why);

/* Overwrites the secrets. */
void chap_secrets_clear(struct chap_secrets *secrets);

#endif
