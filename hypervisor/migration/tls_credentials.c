/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host's own side of the trust: the files of its TLS directory, checked before they are used, so
 * that what is wrong is told here in one line and not as a failed handshake later.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hypervisor/migration/tls_internal.h"
#include "hypervisor/tls_files.h"

#define MAX_FILE_BYTES	 (1 << 20)
#define MAX_CERTIFICATES 16 /* in one file: a chain, or several CAs */

const char *migration_tls_directory(void)
{
	const char *directory = getenv(MIGRATION_TLS_DIR_VARIABLE);

	return directory && *directory ? directory : MIGRATION_TLS_DIR_DEFAULT;
}

/* ---- words for verdicts ---- */

static const struct {
	unsigned int status;
	gnutls_alert_description_t alert;
	const char *text;
} verdicts[] = {
	/* The most telling first: several bits can be set. */
	{GNUTLS_CERT_SIGNER_NOT_FOUND, GNUTLS_A_UNKNOWN_CA,
	 "it was not signed by the CA in ca.crt"},
	{GNUTLS_CERT_SIGNER_NOT_CA, GNUTLS_A_UNKNOWN_CA, "its signer is not a CA"},
	{GNUTLS_CERT_REVOKED, GNUTLS_A_CERTIFICATE_REVOKED, "it was revoked"},
	{GNUTLS_CERT_EXPIRED, GNUTLS_A_CERTIFICATE_EXPIRED, "it has expired"},
	{GNUTLS_CERT_NOT_ACTIVATED, GNUTLS_A_CERTIFICATE_EXPIRED,
	 "it is not valid yet (do the hosts' clocks agree?)"},
	{GNUTLS_CERT_UNEXPECTED_OWNER, GNUTLS_A_BAD_CERTIFICATE, "it is made out to another name"},
	{TLS_VERDICT_NAMELESS, GNUTLS_A_BAD_CERTIFICATE,
	 "it names no host (it needs a subjectAltName)"},
	{GNUTLS_CERT_PURPOSE_MISMATCH, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
	 "it is not for this use (both serverAuth and clientAuth are needed)"},
	{GNUTLS_CERT_INSECURE_ALGORITHM, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
	 "its key or signature is too weak"},
};

const char *tls_verdict_text(unsigned int status)
{
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		if (status & verdicts[i].status)
			return verdicts[i].text;
	}
	return "its signature or its chain is not good";
}

gnutls_alert_description_t tls_verdict_alert(unsigned int status)
{
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		if (status & verdicts[i].status)
			return verdicts[i].alert;
	}
	return GNUTLS_A_BAD_CERTIFICATE;
}

const char *tls_alert_text(gnutls_alert_description_t alert)
{
	switch (alert) {
	case GNUTLS_A_UNKNOWN_CA:
		return "it was not signed by the CA that is trusted there";
	case GNUTLS_A_CERTIFICATE_EXPIRED:
		return "it has expired or is not valid yet";
	case GNUTLS_A_CERTIFICATE_REVOKED:
		return "it was revoked";
	case GNUTLS_A_CERTIFICATE_REQUIRED:
		return "none was shown";
	case GNUTLS_A_UNSUPPORTED_CERTIFICATE:
		return "it is not for this use, or too weak";
	case GNUTLS_A_BAD_CERTIFICATE:
	case GNUTLS_A_CERTIFICATE_UNKNOWN:
	case GNUTLS_A_ACCESS_DENIED:
		return "it is not good";
	default:
		return NULL;
	}
}

/* ---- names ---- */

static bool san_to_text(unsigned int type, const uint8_t *san, size_t length, char *text,
			size_t size)
{
	if (type == GNUTLS_SAN_DNSNAME)
		return snprintf(text, size, "%.*s", (int)length, (const char *)san) > 0;
	if (type == GNUTLS_SAN_IPADDRESS && length == 4)
		return inet_ntop(AF_INET, san, text, (socklen_t)size) != NULL;
	if (type == GNUTLS_SAN_IPADDRESS && length == 16)
		return inet_ntop(AF_INET6, san, text, (socklen_t)size) != NULL;
	return false;
}

bool tls_certificate_san(gnutls_x509_crt_t certificate, unsigned int index, bool *end, char *text,
			 size_t size)
{
	uint8_t san[TLS_FILES_NAME_BYTES];
	size_t length = sizeof(san) - 1;
	unsigned int type = 0;
	int rc = gnutls_x509_crt_get_subject_alt_name2(certificate, index, san, &length, &type,
						       NULL);

	*end = rc == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;
	if (rc < 0 || !san_to_text(type, san, length, text, size))
		return false;
	tls_text_clean(text);
	return true;
}

void tls_text_clean(char *text)
{
	for (; *text; text++) {
		if (*text < 0x20 || *text > 0x7e)
			*text = '?';
	}
}

bool tls_certificate_name(gnutls_x509_crt_t certificate, char *name, size_t size)
{
	bool end = false;
	size_t length = size;

	for (unsigned int i = 0; !end && i < TLS_FILES_MAX_NAMES; i++) {
		if (tls_certificate_san(certificate, i, &end, name, size))
			return true;
	}
	if (gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name,
					  &length) < 0 ||
	    length == 0 || !*name) {
		snprintf(name, size, "unnamed");
		return false;
	}
	tls_text_clean(name);
	return true;
}

/* ---- files ---- */

#define SETUP_HINT "see `lunar tls --help`"

static int file_read(const char *path, bool secret, gnutls_datum_t *content, struct vm_error *error)
{
	struct stat st;
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int rc;

	if (fd < 0 && errno == ENOENT)
		return vm_error_set(error, EXIT_NOT_TRUSTED, -ENOENT,
				    "%s is missing: set up TLS on this host, " SETUP_HINT, path);
	if (fd < 0) {
		rc = -errno;
		return vm_error_set(error, EXIT_NOT_TRUSTED, rc, "cannot read %s: %s", path,
				    strerror(-rc));
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > MAX_FILE_BYTES) {
		rc = vm_error_set(error, EXIT_NOT_TRUSTED, -EINVAL, "%s is not a PEM file", path);
		goto out_close;
	}
	if (secret && st.st_mode & (S_IRWXG | S_IRWXO)) {
		rc = vm_error_set(error, EXIT_NOT_TRUSTED, -EPERM,
				  "%s can be read by others: run `chmod 600 %s`, and make a new "
				  "one where it is not a lab",
				  path, path);
		goto out_close;
	}
	content->data = malloc((size_t)st.st_size + 1);
	if (!content->data) {
		rc = vm_error_set(error, EXIT_INTERNAL, -ENOMEM, "out of memory");
		goto out_close;
	}
	got = read(fd, content->data, (size_t)st.st_size);
	if (got < 0) {
		rc = -errno;
		free(content->data);
		vm_error_set(error, EXIT_NOT_TRUSTED, rc, "cannot read %s: %s", path,
			     strerror(-rc));
		goto out_close;
	}
	content->data[got] = '\0';
	content->size = (unsigned int)got;
	rc = 0;
out_close:
	close(fd);
	return rc;
}

static void content_free(gnutls_datum_t *content)
{
	if (content->data)
		gnutls_memset(content->data, 0, content->size);
	free(content->data);
	content->data = NULL;
}

/* The files, as they lie there. */
struct tls_material {
	char ca_path[PATH_MAX];
	char cert_path[PATH_MAX];
	char key_path[PATH_MAX];
	char crl_path[PATH_MAX];
	gnutls_datum_t ca;
	gnutls_datum_t cert;
	gnutls_datum_t key;
	gnutls_datum_t crl; /* data NULL: there is none */
};

static bool material_path(const char *directory, const char *file, char path[PATH_MAX])
{
	return (size_t)snprintf(path, PATH_MAX, "%s/%s", directory, file) < PATH_MAX;
}

static int material_read(const char *directory, struct tls_material *material,
			 struct vm_error *error)
{
	int rc;

	memset(material, 0, sizeof(*material));
	if (!material_path(directory, TLS_FILES_CA_CERT, material->ca_path) ||
	    !material_path(directory, TLS_FILES_HOST_CERT, material->cert_path) ||
	    !material_path(directory, TLS_FILES_HOST_KEY, material->key_path) ||
	    !material_path(directory, TLS_FILES_CRL, material->crl_path))
		return vm_error_set(error, EXIT_NOT_TRUSTED, -ENAMETOOLONG,
				    "the TLS directory's name is too long");
	rc = file_read(material->ca_path, false, &material->ca, error);
	if (rc == 0)
		rc = file_read(material->cert_path, false, &material->cert, error);
	if (rc == 0)
		rc = file_read(material->key_path, true, &material->key, error);
	if (rc == 0) { /* one that cannot be read is no reason to do without */
		rc = file_read(material->crl_path, false, &material->crl, error);
		rc = rc == -ENOENT ? 0 : rc;
	}
	return rc;
}

static void material_free(struct tls_material *material)
{
	content_free(&material->ca);
	content_free(&material->cert);
	content_free(&material->key);
	content_free(&material->crl);
}

/* ---- checks ---- */

struct tls_chain {
	gnutls_x509_crt_t list[MAX_CERTIFICATES];
	unsigned int count;
};

static int chain_load(const char *path, const gnutls_datum_t *pem, struct tls_chain *chain,
		      struct vm_error *error)
{
	int rc;

	chain->count = MAX_CERTIFICATES;
	rc = gnutls_x509_crt_list_import(chain->list, &chain->count, pem, GNUTLS_X509_FMT_PEM, 0);
	if (rc <= 0) {
		chain->count = 0;
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EINVAL,
				    "%s holds no certificate in PEM form: %s", path,
				    rc < 0 ? gnutls_strerror(rc) : "it is empty");
	}
	chain->count = (unsigned int)rc;
	return 0;
}

static void chain_free(struct tls_chain *chain)
{
	for (unsigned int i = 0; i < chain->count; i++)
		gnutls_x509_crt_deinit(chain->list[i]);
	chain->count = 0;
}

static int dates_check(const char *path, gnutls_x509_crt_t certificate, struct vm_error *error)
{
	time_t now = time(NULL);
	time_t from = gnutls_x509_crt_get_activation_time(certificate);
	time_t to = gnutls_x509_crt_get_expiration_time(certificate);
	time_t at = now < from ? from : to;
	char text[32] = "?";
	struct tm tm;

	if (gmtime_r(&at, &tm))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &tm);
	if (now < from)
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EACCES,
				    "%s is not valid before %s: check this host's clock", path,
				    text);
	if (now > to)
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EACCES,
				    "%s expired on %s: make a new one, " SETUP_HINT, path, text);
	return 0;
}

/* ---- what was revoked ---- */

struct tls_crls {
	gnutls_x509_crl_t *list; /* gnutls's */
	unsigned int count;
};

static void crls_free(struct tls_crls *crls)
{
	for (unsigned int i = 0; i < crls->count; i++)
		gnutls_x509_crl_deinit(crls->list[i]);
	gnutls_free(crls->list);
	*crls = (struct tls_crls){0};
}

static int crl_check(const char *path, gnutls_x509_crl_t crl, const struct tls_chain *ca,
		     struct vm_error *error)
{
	time_t now = time(NULL);
	time_t from = gnutls_x509_crl_get_this_update(crl);
	time_t until = gnutls_x509_crl_get_next_update(crl);
	unsigned int status = 0;
	char text[32] = "?";
	struct tm tm;

	if (until != (time_t)-1 && now > until) {
		if (gmtime_r(&until, &tm))
			strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &tm);
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EACCES,
				    "%s is out of date since %s: put the CA's newest list there",
				    path, text);
	}
	if (now < from)
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EACCES,
				    "%s was made in the future: check this host's clock", path);
	if (gnutls_x509_crl_verify(crl, ca->list, ca->count, 0, &status) < 0 || status)
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EACCES,
				    "%s was not signed by the CA in ca.crt: put that CA's list "
				    "there, or remove it",
				    path);
	return 0;
}

static int crls_load(const struct tls_material *material, const struct tls_chain *ca,
		     struct tls_crls *crls, struct vm_error *error)
{
	int rc = 0;

	if (!material->crl.data)
		return 0;
	if (gnutls_x509_crl_list_import2(&crls->list, &crls->count, &material->crl,
					 GNUTLS_X509_FMT_PEM, 0) < 0) {
		*crls = (struct tls_crls){0};
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EINVAL,
				    "%s holds no list of revoked certificates in PEM form",
				    material->crl_path);
	}
	for (unsigned int i = 0; rc == 0 && i < crls->count; i++)
		rc = crl_check(material->crl_path, crls->list[i], ca, error);
	return rc;
}

static int name_check(const char *path, gnutls_x509_crt_t certificate, struct vm_error *error)
{
	char name[TLS_FILES_NAME_BYTES];

	if (tls_certificate_name(certificate, name, sizeof(name)))
		return 0;
	return vm_error_set(error, EXIT_NOT_TRUSTED, -EACCES,
			    "%s names no host: other hosts would take it for any other that has no "
			    "name; make one with a subjectAltName, " SETUP_HINT,
			    path);
}

/* Whether the host's chain leads to the CA's file, by name and signature; dates aside. */
static int signer_check(const struct tls_material *material, const struct tls_chain *ca,
			const struct tls_crls *crls, const struct tls_chain *host,
			struct vm_error *error)
{
	gnutls_x509_trust_list_t trust;
	unsigned int status = 0;
	int rc;

	if (gnutls_x509_trust_list_init(&trust, 0) < 0)
		return vm_error_set(error, EXIT_INTERNAL, -ENOMEM, "out of memory");
	rc = gnutls_x509_trust_list_add_cas(trust, ca->list, ca->count, 0);
	if (rc >= 0 && crls->count)
		rc = gnutls_x509_trust_list_add_crls(trust, crls->list, crls->count, 0, 0);
	if (rc >= 0) {
		gnutls_x509_crt_t list[MAX_CERTIFICATES];

		/* It sorts the list that it is given. */
		memcpy(list, host->list, sizeof(list));
		rc = gnutls_x509_trust_list_verify_crt(trust, list, host->count, 0, &status, NULL);
	}
	gnutls_x509_trust_list_deinit(trust, 0);
	if (rc < 0)
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EACCES, "cannot check %s: %s",
				    material->cert_path, gnutls_strerror(rc));
	if (status != 0)
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EACCES, "%s is not good: %s, %s",
				    material->cert_path, tls_verdict_text(status), SETUP_HINT);
	return 0;
}

static int material_check(const struct tls_material *material, struct vm_error *error)
{
	struct tls_chain ca = {0};
	struct tls_chain host = {0};
	struct tls_crls crls = {0};
	int rc = chain_load(material->ca_path, &material->ca, &ca, error);

	if (rc == 0)
		rc = chain_load(material->cert_path, &material->cert, &host, error);
	if (rc == 0)
		rc = dates_check(material->ca_path, ca.list[0], error);
	if (rc == 0)
		rc = dates_check(material->cert_path, host.list[0], error);
	if (rc == 0)
		rc = crls_load(material, &ca, &crls, error);
	if (rc == 0)
		rc = signer_check(material, &ca, &crls, &host, error);
	if (rc == 0)
		rc = name_check(material->cert_path, host.list[0], error);
	crls_free(&crls);
	chain_free(&host);
	chain_free(&ca);
	return rc;
}

static int material_use(const struct tls_material *material, gnutls_certificate_credentials_t x509,
			struct vm_error *error)
{
	int rc = gnutls_certificate_set_x509_trust_mem(x509, &material->ca, GNUTLS_X509_FMT_PEM);

	if (rc <= 0)
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EINVAL, "%s holds no CA: %s",
				    material->ca_path, gnutls_strerror(rc));
	if (material->crl.data && (rc = gnutls_certificate_set_x509_crl_mem(
					   x509, &material->crl, GNUTLS_X509_FMT_PEM)) <= 0)
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EINVAL, "%s cannot be used: %s",
				    material->crl_path, gnutls_strerror(rc));
	rc = gnutls_certificate_set_x509_key_mem2(x509, &material->cert, &material->key,
						  GNUTLS_X509_FMT_PEM, NULL, 0);
	if (rc == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EINVAL,
				    "%s is not the key of %s: they must be made together",
				    material->key_path, material->cert_path);
	if (rc < 0)
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EINVAL,
				    "%s is not a key in PEM form that can be used: %s",
				    material->key_path, gnutls_strerror(rc));
	return 0;
}

int migration_tls_credentials_load(const char *directory,
				   struct migration_tls_credentials **credentials,
				   struct vm_error *error)
{
	struct migration_tls_credentials *made;
	struct tls_material material;
	int rc;

	if (!directory)
		directory = migration_tls_directory();
	made = calloc(1, sizeof(*made));
	if (!made || gnutls_certificate_allocate_credentials(&made->x509) < 0) {
		free(made);
		return vm_error_set(error, EXIT_INTERNAL, -ENOMEM, "out of memory");
	}
	snprintf(made->directory, sizeof(made->directory), "%s", directory);
	rc = material_read(directory, &material, error);
	if (rc == 0)
		rc = material_check(&material, error);
	if (rc == 0)
		rc = material_use(&material, made->x509, error);
	material_free(&material);
	if (rc < 0) {
		migration_tls_credentials_free(made);
		return rc;
	}
	gnutls_certificate_set_verify_function(made->x509, migration_tls_verify);
	*credentials = made;
	return 0;
}

void migration_tls_credentials_free(struct migration_tls_credentials *credentials)
{
	if (!credentials)
		return;
	gnutls_certificate_free_credentials(credentials->x509);
	free(credentials);
}
