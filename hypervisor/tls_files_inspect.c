/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a TLS directory holds, and whether a move would work with it. See tls_files.h.
 */
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/migration/tls_internal.h"
#include "hypervisor/tls_files.h"

#define SHA256_BYTES 32

static void text_take(char *to, size_t size, const gnutls_datum_t *text)
{
	snprintf(to, size, "%.*s", (int)text->size, (const char *)text->data);
	tls_text_clean(to);
}

static void fingerprint_take(gnutls_x509_crt_t certificate, char *text)
{
	uint8_t digest[SHA256_BYTES];
	size_t length = sizeof(digest);

	if (gnutls_x509_crt_get_fingerprint(certificate, GNUTLS_DIG_SHA256, digest, &length) < 0)
		return;
	for (size_t i = 0; i < length; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

static void names_take(gnutls_x509_crt_t certificate, struct tls_files_certificate *to)
{
	bool end = false;

	for (unsigned int i = 0; !end && to->name_count < TLS_FILES_MAX_NAMES; i++) {
		if (tls_certificate_san(certificate, i, &end, to->names[to->name_count],
					sizeof(to->names[0])))
			to->name_count++;
	}
}

/* Fills what can be read of the first certificate of a file. */
static void certificate_look(const char *directory, const char *file,
			     struct tls_files_certificate *to)
{
	gnutls_datum_t pem = {0};
	gnutls_datum_t text = {0};
	gnutls_x509_crt_t certificate;

	if ((size_t)snprintf(to->file, sizeof(to->file), "%s/%s", directory, file) >=
	    sizeof(to->file))
		return;
	if (gnutls_load_file(to->file, &pem) < 0)
		return;
	if (gnutls_x509_crt_init(&certificate) < 0)
		goto out_free;
	if (gnutls_x509_crt_import(certificate, &pem, GNUTLS_X509_FMT_PEM) < 0)
		goto out_deinit;
	to->present = true;
	if (gnutls_x509_crt_get_dn3(certificate, &text, 0) == 0) {
		text_take(to->subject, sizeof(to->subject), &text);
		gnutls_free(text.data);
	}
	if (gnutls_x509_crt_get_issuer_dn3(certificate, &text, 0) == 0) {
		text_take(to->issuer, sizeof(to->issuer), &text);
		gnutls_free(text.data);
	}
	fingerprint_take(certificate, to->fingerprint);
	names_take(certificate, to);
	to->not_before = (int64_t)gnutls_x509_crt_get_activation_time(certificate);
	to->not_after = (int64_t)gnutls_x509_crt_get_expiration_time(certificate);
out_deinit:
	gnutls_x509_crt_deinit(certificate);
out_free:
	gnutls_free(pem.data);
}

/* The same for the list of revoked ones. */
static void crl_look(const char *directory, struct tls_files_crl *to)
{
	gnutls_datum_t pem = {0};
	gnutls_datum_t text = {0};
	gnutls_x509_crl_t crl;
	int count;

	if ((size_t)snprintf(to->file, sizeof(to->file), "%s/%s", directory, TLS_FILES_CRL) >=
	    sizeof(to->file))
		return;
	if (gnutls_load_file(to->file, &pem) < 0)
		return;
	if (gnutls_x509_crl_init(&crl) < 0)
		goto out_free;
	if (gnutls_x509_crl_import(crl, &pem, GNUTLS_X509_FMT_PEM) < 0)
		goto out_deinit;
	to->present = true;
	if (gnutls_x509_crl_get_issuer_dn3(crl, &text, 0) == 0) {
		text_take(to->issuer, sizeof(to->issuer), &text);
		gnutls_free(text.data);
	}
	count = gnutls_x509_crl_get_crt_count(crl);
	to->revoked = count > 0 ? (uint32_t)count : 0;
	to->this_update = (int64_t)gnutls_x509_crl_get_this_update(crl);
	to->next_update = (int64_t)gnutls_x509_crl_get_next_update(crl);
out_deinit:
	gnutls_x509_crl_deinit(crl);
out_free:
	gnutls_free(pem.data);
}

int tls_files_inspect(const char *directory, struct tls_files_report *report)
{
	struct migration_tls_credentials *credentials;
	int rc;

	memset(report, 0, sizeof(*report));
	if (!directory)
		directory = migration_tls_directory();
	snprintf(report->directory, sizeof(report->directory), "%s", directory);
	certificate_look(directory, TLS_FILES_CA_CERT, &report->ca);
	certificate_look(directory, TLS_FILES_HOST_CERT, &report->host);
	crl_look(directory, &report->crl);
	rc = migration_tls_credentials_load(directory, &credentials, &report->error);
	if (rc == 0) {
		report->usable = true;
		migration_tls_credentials_free(credentials);
	}
	if (access(directory, R_OK | X_OK) < 0)
		return -errno;
	return 0;
}
