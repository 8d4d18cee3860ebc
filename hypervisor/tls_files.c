/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making the certificates of a lab. See tls_files.h; what looks at them is tls_files_inspect.c.
 */
#include "hypervisor/tls_files.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hypervisor/migration/tls.h"

#define SERIAL_BYTES	 16
#define MAX_FILE_BYTES	 (1 << 20)
#define DAY_SECONDS	 INT64_C(86400)
#define BACKDATE_SECONDS DAY_SECONDS /* hosts' clocks differ */
#define MAX_DAYS	 36500

/* A certificate and its key. */
struct identity {
	gnutls_x509_crt_t certificate;
	gnutls_x509_privkey_t key;
};

static int fail(struct vm_error *error, const char *what, int gnutls_result)
{
	return vm_error_set(error, EXIT_INTERNAL,
			    gnutls_result == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL,
			    "cannot make %s: %s", what, gnutls_strerror(gnutls_result));
}

/* ---- files ---- */

static int path_make(char *path, const char *directory, const char *file, struct vm_error *error)
{
	if ((size_t)snprintf(path, PATH_MAX, "%s/%s", directory, file) >= PATH_MAX)
		return vm_error_set(error, EXIT_USAGE, -ENAMETOOLONG, "%s: name too long",
				    directory);
	return 0;
}

static int write_all(int fd, const uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, bytes, length);

		if (written < 0 && errno != EINTR)
			return -errno;
		if (written > 0) {
			bytes += written;
			length -= (size_t)written;
		}
	}
	return fsync(fd) < 0 ? -errno : 0;
}

/* Makes a file that must not exist; it is there whole, or not at all. */
static int file_make(const char *path, mode_t mode, const gnutls_datum_t *content,
		     struct vm_error *error)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	int rc;

	if (fd < 0 && errno == EEXIST)
		return vm_error_set(error, EXIT_EXISTS, -EEXIST,
				    "%s exists already, and is not replaced", path);
	if (fd < 0) {
		rc = -errno;
		return vm_error_set(error, EXIT_PERMISSION, rc, "cannot make %s: %s", path,
				    strerror(-rc));
	}
	rc = write_all(fd, content->data, content->size);
	close(fd);
	if (rc < 0) {
		unlink(path);
		return vm_error_set(error, EXIT_INTERNAL, rc, "cannot write %s: %s", path,
				    strerror(-rc));
	}
	return 0;
}

/* *content is the caller's, to gnutls_free(). */
static int file_load(const char *path, gnutls_datum_t *content, struct vm_error *error)
{
	int rc = gnutls_load_file(path, content);

	if (rc == 0 && content->size > 0 && content->size <= MAX_FILE_BYTES)
		return 0;
	if (rc == 0)
		gnutls_free(content->data);
	return vm_error_set(error, EXIT_NOT_FOUND, -ENOENT, "cannot read %s", path);
}

static int directory_make(const char *directory, struct vm_error *error)
{
	int rc;

	if (mkdir(directory, S_IRWXU) == 0 || errno == EEXIST)
		return 0;
	rc = -errno;
	return vm_error_set(error, EXIT_PERMISSION, rc, "cannot make %s: %s", directory,
			    strerror(-rc));
}

/* ---- certificates ---- */

static void identity_free(struct identity *identity)
{
	if (identity->certificate)
		gnutls_x509_crt_deinit(identity->certificate);
	if (identity->key)
		gnutls_x509_privkey_deinit(identity->key);
}

/* A key, and a certificate that has all but what tells a CA from a host. */
static int identity_begin(struct identity *identity, const char *common_name, int64_t not_before,
			  int64_t not_after)
{
	uint8_t serial[SERIAL_BYTES] = {0};
	uint8_t key_id[64];
	size_t key_id_bytes = sizeof(key_id);
	int rc = gnutls_x509_crt_init(&identity->certificate);

	if (rc == 0)
		rc = gnutls_x509_privkey_init(&identity->key);
	if (rc == 0)
		rc = gnutls_x509_privkey_generate(identity->key, GNUTLS_PK_ECDSA,
						  GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
						  0);
	if (rc == 0)
		rc = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));
	if (rc < 0)
		return rc;
	serial[0] =
		(serial[0] & 0x7f) | 0x40; /* positive, and no leading zero (RFC 5280 4.1.2.2) */
	rc = gnutls_x509_crt_set_version(identity->certificate, 3);
	if (rc == 0)
		rc = gnutls_x509_crt_set_serial(identity->certificate, serial, sizeof(serial));
	if (rc == 0)
		rc = gnutls_x509_crt_set_dn_by_oid(identity->certificate,
						   GNUTLS_OID_X520_COMMON_NAME, 0, common_name,
						   (unsigned int)strlen(common_name));
	if (rc == 0)
		rc = gnutls_x509_crt_set_activation_time(identity->certificate, not_before);
	if (rc == 0)
		rc = gnutls_x509_crt_set_expiration_time(identity->certificate, not_after);
	if (rc == 0)
		rc = gnutls_x509_crt_set_key(identity->certificate, identity->key);
	if (rc == 0)
		rc = gnutls_x509_crt_get_key_id(identity->certificate, GNUTLS_KEYID_USE_SHA1,
						key_id, &key_id_bytes);
	if (rc == 0)
		rc = gnutls_x509_crt_set_subject_key_id(identity->certificate, key_id,
							key_id_bytes);
	return rc;
}

/* Signs with the issuer's key and names it. */
static int identity_sign(struct identity *identity, const struct identity *issuer)
{
	uint8_t key_id[64];
	size_t key_id_bytes = sizeof(key_id);
	int rc = gnutls_x509_crt_get_key_id(issuer->certificate, GNUTLS_KEYID_USE_SHA1, key_id,
					    &key_id_bytes);

	if (rc == 0)
		rc = gnutls_x509_crt_set_authority_key_id(identity->certificate, key_id,
							  key_id_bytes);
	if (rc == 0)
		rc = gnutls_x509_crt_sign2(identity->certificate, issuer->certificate, issuer->key,
					   GNUTLS_DIG_SHA256, 0);
	return rc;
}

/* Writes key and certificate; both or neither. */
static int identity_write(const struct identity *identity, const char *cert_path,
			  const char *key_path, struct vm_error *error)
{
	gnutls_datum_t cert = {0};
	gnutls_datum_t key = {0};
	int rc = gnutls_x509_crt_export2(identity->certificate, GNUTLS_X509_FMT_PEM, &cert);

	if (rc == 0)
		rc = gnutls_x509_privkey_export2_pkcs8(identity->key, GNUTLS_X509_FMT_PEM, NULL,
						       GNUTLS_PKCS_PLAIN, &key);
	if (rc < 0) {
		rc = fail(error, cert_path, rc);
		goto out_free;
	}
	rc = file_make(key_path, S_IRUSR | S_IWUSR, &key, error);
	if (rc < 0)
		goto out_free;
	rc = file_make(cert_path, S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH, &cert, error);
	if (rc < 0)
		unlink(key_path);
out_free:
	gnutls_free(cert.data);
	if (key.data)
		gnutls_memset(key.data, 0, key.size);
	gnutls_free(key.data);
	return rc;
}

static int days_check(uint32_t days, struct vm_error *error)
{
	if (days == 0 || days > MAX_DAYS)
		return vm_error_set(error, EXIT_USAGE, -EINVAL,
				    "a certificate is good for 1 to %d days", MAX_DAYS);
	return 0;
}

int tls_files_make_ca(const char *directory, const char *common_name, uint32_t days,
		      struct vm_error *error)
{
	struct identity ca = {0};
	char cert_path[PATH_MAX];
	char key_path[PATH_MAX];
	int64_t now = (int64_t)time(NULL);
	int rc = days_check(days, error);

	if (rc == 0)
		rc = path_make(cert_path, directory, TLS_FILES_CA_CERT, error);
	if (rc == 0)
		rc = path_make(key_path, directory, TLS_FILES_CA_KEY, error);
	if (rc == 0)
		rc = directory_make(directory, error);
	if (rc < 0)
		return rc;
	rc = identity_begin(&ca, common_name, now - BACKDATE_SECONDS, now + days * DAY_SECONDS);
	if (rc == 0)
		rc = gnutls_x509_crt_set_basic_constraints(ca.certificate, 1, 0);
	if (rc == 0)
		rc = gnutls_x509_crt_set_key_usage(ca.certificate,
						   GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
	if (rc == 0)
		rc = identity_sign(&ca, &ca);
	if (rc < 0)
		rc = fail(error, "a CA", rc);
	else
		rc = identity_write(&ca, cert_path, key_path, error);
	identity_free(&ca);
	return rc;
}

static int ca_load(const char *directory, struct identity *ca, gnutls_datum_t *cert_pem,
		   struct vm_error *error)
{
	char path[PATH_MAX];
	gnutls_datum_t key_pem = {0};
	int rc = path_make(path, directory, TLS_FILES_CA_CERT, error);

	if (rc == 0)
		rc = file_load(path, cert_pem, error);
	if (rc == 0)
		rc = path_make(path, directory, TLS_FILES_CA_KEY, error);
	if (rc == 0)
		rc = file_load(path, &key_pem, error);
	if (rc < 0)
		return rc;
	rc = gnutls_x509_crt_init(&ca->certificate);
	if (rc == 0)
		rc = gnutls_x509_privkey_init(&ca->key);
	if (rc == 0)
		rc = gnutls_x509_crt_import(ca->certificate, cert_pem, GNUTLS_X509_FMT_PEM);
	if (rc == 0)
		rc = gnutls_x509_privkey_import2(ca->key, &key_pem, GNUTLS_X509_FMT_PEM, NULL, 0);
	gnutls_memset(key_pem.data, 0, key_pem.size);
	gnutls_free(key_pem.data);
	if (rc < 0)
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EINVAL,
				    "%s holds no CA in PEM form: %s", directory,
				    gnutls_strerror(rc));
	return 0;
}

static int name_check(const char *name, struct vm_error *error)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < length; i++) {
		if (!isalnum((unsigned char)name[i]) && !strchr(".-:_", name[i]))
			length = 0;
	}
	if (length == 0 || length >= TLS_FILES_NAME_BYTES)
		return vm_error_set(error, EXIT_USAGE, -EINVAL,
				    "'%.60s' is neither a host name nor an address", name);
	return 0;
}

static int name_add(gnutls_x509_crt_t certificate, const char *name)
{
	uint8_t address[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET, name, address) == 1)
		return gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_IPADDRESS,
							    address, 4, GNUTLS_FSAN_APPEND);
	if (inet_pton(AF_INET6, name, address) == 1)
		return gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_IPADDRESS,
							    address, 16, GNUTLS_FSAN_APPEND);
	return gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_DNSNAME, name,
						    (unsigned int)strlen(name), GNUTLS_FSAN_APPEND);
}

static int host_make(const struct identity *ca, struct identity *host, const char *const *names,
		     size_t name_count, int64_t not_before, int64_t not_after)
{
	int rc = identity_begin(host, names[0], not_before, not_after);

	for (size_t i = 0; rc == 0 && i < name_count; i++)
		rc = name_add(host->certificate, names[i]);
	if (rc == 0)
		rc = gnutls_x509_crt_set_basic_constraints(host->certificate, 0, -1);
	if (rc == 0)
		rc = gnutls_x509_crt_set_key_usage(host->certificate, GNUTLS_KEY_DIGITAL_SIGNATURE);
	/* Each host dials, and is dialled. */
	if (rc == 0)
		rc = gnutls_x509_crt_set_key_purpose_oid(host->certificate,
							 GNUTLS_KP_TLS_WWW_SERVER, 0);
	if (rc == 0)
		rc = gnutls_x509_crt_set_key_purpose_oid(host->certificate,
							 GNUTLS_KP_TLS_WWW_CLIENT, 0);
	if (rc == 0)
		rc = identity_sign(host, ca);
	return rc;
}

int tls_files_make_host_between(const char *ca_directory, const char *directory,
				const char *const *names, size_t name_count, int64_t not_before,
				int64_t not_after, struct vm_error *error)
{
	struct identity ca = {0};
	struct identity host = {0};
	gnutls_datum_t ca_pem = {0};
	char ca_path[PATH_MAX];
	char cert_path[PATH_MAX];
	char key_path[PATH_MAX];
	int rc;

	if (name_count == 0 || name_count > TLS_FILES_MAX_NAMES)
		return vm_error_set(error, EXIT_USAGE, -EINVAL, "a certificate needs 1 to %d names",
				    TLS_FILES_MAX_NAMES);
	for (size_t i = 0; i < name_count; i++) {
		rc = name_check(names[i], error);
		if (rc < 0)
			return rc;
	}
	rc = path_make(ca_path, directory, TLS_FILES_CA_CERT, error);
	if (rc == 0)
		rc = path_make(cert_path, directory, TLS_FILES_HOST_CERT, error);
	if (rc == 0)
		rc = path_make(key_path, directory, TLS_FILES_HOST_KEY, error);
	if (rc == 0)
		rc = ca_load(ca_directory, &ca, &ca_pem, error);
	if (rc < 0)
		goto out_free;
	rc = host_make(&ca, &host, names, name_count, not_before, not_after);
	if (rc < 0) {
		rc = fail(error, "a host's certificate", rc);
		goto out_free;
	}
	rc = directory_make(directory, error);
	if (rc == 0)
		rc = identity_write(&host, cert_path, key_path, error);
	if (rc == 0 && access(ca_path, F_OK) < 0) {
		rc = file_make(ca_path, S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH, &ca_pem, error);
		if (rc < 0) {
			unlink(cert_path);
			unlink(key_path);
		}
	}
out_free:
	gnutls_free(ca_pem.data);
	identity_free(&host);
	identity_free(&ca);
	return rc;
}

int tls_files_make_host(const char *ca_directory, const char *directory, const char *const *names,
			size_t name_count, uint32_t days, struct vm_error *error)
{
	int64_t now = (int64_t)time(NULL);
	int rc = days_check(days, error);

	if (rc < 0)
		return rc;
	return tls_files_make_host_between(ca_directory, directory, names, name_count,
					   now - BACKDATE_SECONDS, now + days * DAY_SECONDS, error);
}

/* ---- installing ---- */

static int file_copy(const char *from, const char *to, const char *file, mode_t mode,
		     struct vm_error *error)
{
	char source[PATH_MAX];
	char target[PATH_MAX];
	char temporary[PATH_MAX];
	gnutls_datum_t content = {0};
	int rc = path_make(source, from, file, error);

	if (rc == 0)
		rc = path_make(target, to, file, error);
	if (rc == 0 && (size_t)snprintf(temporary, sizeof(temporary), "%s/.%s.new", to, file) >=
			       sizeof(temporary))
		rc = vm_error_set(error, EXIT_USAGE, -ENAMETOOLONG, "%s: name too long", to);
	if (rc == 0)
		rc = file_load(source, &content, error);
	if (rc < 0)
		return rc;
	unlink(temporary); /* left by one that was killed */
	rc = file_make(temporary, mode, &content, error);
	gnutls_memset(content.data, 0, content.size);
	gnutls_free(content.data);
	if (rc == 0 && rename(temporary, target) < 0) {
		rc = -errno;
		unlink(temporary);
		vm_error_set(error, EXIT_PERMISSION, rc, "cannot make %s: %s", target,
			     strerror(-rc));
	}
	return rc;
}

/* Makes directory and those above it. */
static int directories_make(const char *directory, struct vm_error *error)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s", directory) >= sizeof(path))
		return vm_error_set(error, EXIT_USAGE, -ENAMETOOLONG, "%s: name too long",
				    directory);
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, S_IRWXU | S_IRGRP | S_IXGRP | S_IROTH | S_IXOTH) < 0 &&
		    errno != EEXIST) {
			int rc = -errno;

			return vm_error_set(error, EXIT_PERMISSION, rc, "cannot make %s: %s", path,
					    strerror(-rc));
		}
		*slash = '/';
	}
	return directory_make(directory, error);
}

int tls_files_install(const char *from, const char *to, bool replace, struct vm_error *error)
{
	static const struct {
		const char *file;
		mode_t mode;
	} files[] = {
		{TLS_FILES_CA_CERT, S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH},
		{TLS_FILES_HOST_KEY, S_IRUSR | S_IWUSR},
		{TLS_FILES_HOST_CERT, S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH},
		{TLS_FILES_CRL, S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH},
	};
	size_t count = sizeof(files) / sizeof(files[0]);
	struct migration_tls_credentials *credentials = NULL;
	char path[PATH_MAX];
	int rc = migration_tls_credentials_load(from, &credentials, error);

	migration_tls_credentials_free(rc == 0 ? credentials : NULL);
	if (rc == 0)
		rc = path_make(path, from, TLS_FILES_CRL, error);
	if (rc == 0 && access(path, F_OK) < 0)
		count--;
	if (!to)
		to = migration_tls_directory();
	for (size_t i = 0; rc == 0 && !replace && i < count; i++) {
		rc = path_make(path, to, files[i].file, error);
		if (rc == 0 && access(path, F_OK) == 0)
			rc = vm_error_set(error, EXIT_EXISTS, -EEXIST,
					  "%s exists already, and is not replaced", path);
	}
	if (rc == 0)
		rc = directories_make(to, error);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = file_copy(from, to, files[i].file, files[i].mode, error);
	return rc;
}
