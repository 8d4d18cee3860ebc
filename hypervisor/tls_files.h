/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files of a TLS directory (ca.crt, host.crt, host.key; crl.pem, a CA's list of certificates
 * that it has revoked, may be there too): making them for a lab, and saying what is in them. Keys
 * are ECDSA P-256, in PEM (PKCS #8); key files are made with mode 0600, and no file that exists is
 * replaced unless it was asked for.
 */
#ifndef LUNAR_HYPERVISOR_TLS_FILES_H
#define LUNAR_HYPERVISOR_TLS_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/vm_error.h"

#define TLS_FILES_CA_CERT    "ca.crt"
#define TLS_FILES_CA_KEY     "ca.key" /* of a lab CA: keep it off the hosts */
#define TLS_FILES_HOST_CERT  "host.crt"
#define TLS_FILES_HOST_KEY   "host.key"
#define TLS_FILES_CRL	     "crl.pem" /* optional */
#define TLS_FILES_MAX_NAMES  32
#define TLS_FILES_NAME_BYTES 256
#define TLS_FILES_PATH_BYTES 1024

/* Makes directory (where it is missing, 0700) with ca.crt and ca.key. Returns 0, or -errno with
 * *error (-EEXIST: there is one). */
int tls_files_make_ca(const char *directory, const char *common_name, uint32_t days,
		      struct vm_error *error);

/*
 * Makes a host's key and a certificate for it, signed by the CA in ca_directory, into directory
 * (made where it is missing): host.crt, host.key, and ca.crt where it is not there. names
 * (1..TLS_FILES_MAX_NAMES): host names and addresses by which others dial the host; the first is
 * its CN too. Returns 0, or -errno with *error.
 */
int tls_files_make_host(const char *ca_directory, const char *directory, const char *const *names,
			size_t name_count, uint32_t days, struct vm_error *error);

/* As tls_files_make_host(), valid between two times (Unix seconds). */
int tls_files_make_host_between(const char *ca_directory, const char *directory,
				const char *const *names, size_t name_count, int64_t not_before,
				int64_t not_after, struct vm_error *error);

/*
 * Copies ca.crt, host.crt, host.key, and crl.pem where there is one, from one directory to another
 * (NULL: the one in force; made where it is missing), after they were found usable: each appears
 * whole, or not at all. replace: over what is there; a crl.pem stays where no other comes. Returns
 * 0, or -errno with *error (-EEXIST: there are some).
 */
int tls_files_install(const char *from, const char *to, bool replace, struct vm_error *error);

struct tls_files_certificate {
	bool present;
	char file[TLS_FILES_PATH_BYTES];
	char subject[TLS_FILES_NAME_BYTES]; /* as RFC 4514: "CN=host2" */
	char issuer[TLS_FILES_NAME_BYTES];
	char fingerprint[65]; /* SHA-256, hexadecimal */
	uint32_t name_count;
	char names[TLS_FILES_MAX_NAMES][TLS_FILES_NAME_BYTES]; /* DNS names and addresses */
	int64_t not_before;				       /* Unix seconds */
	int64_t not_after;
};

struct tls_files_crl {
	bool present;
	char file[TLS_FILES_PATH_BYTES];
	char issuer[TLS_FILES_NAME_BYTES]; /* of the file's first list, as all below */
	uint32_t revoked;		   /* certificates */
	int64_t this_update;		   /* Unix seconds */
	int64_t next_update;		   /* -1: not said */
};

struct tls_files_report {
	char directory[TLS_FILES_PATH_BYTES];
	struct tls_files_certificate ca;
	struct tls_files_certificate host;
	struct tls_files_crl crl;
	bool usable;	       /* a move would work with these, as far as this host can tell */
	struct vm_error error; /* where it is not: the first reason, and what to do */
};

/* Says what a directory holds; NULL: the one in force (migration_tls_directory()). Fills *report in
 * every case. Returns 0, or -errno where not even that could be looked at (with report->error). */
int tls_files_inspect(const char *directory, struct tls_files_report *report);

#endif
