/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the files of migration_tls: the credentials, and the verdict on a peer's certificate.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_TLS_INTERNAL_H
#define LUNAR_HYPERVISOR_MIGRATION_TLS_INTERNAL_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <stdbool.h>

#include "hypervisor/migration/tls.h"

struct migration_tls_credentials {
	gnutls_certificate_credentials_t x509;
	char directory[PATH_MAX];
};

/* Beside GNUTLS_CERT_*: a certificate that names nobody. Records of moves know hosts by their
 * names, so that all that have none would be one. */
#define TLS_VERDICT_NAMELESS (1u << 31)

/* What those bits say, for people: "it has expired"; and the alert that tells the peer. */
const char *tls_verdict_text(unsigned int status);
gnutls_alert_description_t tls_verdict_alert(unsigned int status);
/* What a peer's alert says of our certificate, or NULL where it is about something else. */
const char *tls_alert_text(gnutls_alert_description_t alert);

/* Called in a handshake; see tls.c. */
int migration_tls_verify(gnutls_session_t session);

/* Replaces what does not belong in a log line. */
void tls_text_clean(char *text);
/* A subject alternative name as text; false where that one is not a DNS name or an address; *end
 * where there is none at this index. */
bool tls_certificate_san(gnutls_x509_crt_t certificate, unsigned int index, bool *end, char *text,
			 size_t size);
/* A certificate's first DNS name, else its first address, else its CN; printable, never empty.
 * False, with "unnamed", where it has none of them. */
bool tls_certificate_name(gnutls_x509_crt_t certificate, char *name, size_t size);

#endif
