/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TLS 1.3 between the hosts of a move, and nothing older: both ends show a certificate of the CA in
 * their TLS directory ($LUNAR_TLS_DIR, else /etc/lunar/tls: ca.crt, host.crt, host.key) that is not
 * among those which crl.pem there says were revoked (where there is one), and the
 * one that dials checks that the other's is made out to the name or address that it dialled. No
 * session tickets, no renegotiation, no compression.
 *
 * Calls block, with deadlines, and may come from any thread; a connection is used by at most one
 * reading and one writing thread at a time. migration_tls_shutdown() makes both return at once.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_TLS_H
#define LUNAR_HYPERVISOR_MIGRATION_TLS_H

#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "hypervisor/migration/message.h"
#include "hypervisor/vm_error.h"

#define MIGRATION_TLS_DIR_VARIABLE "LUNAR_TLS_DIR"
#define MIGRATION_TLS_DIR_DEFAULT  "/etc/lunar/tls"
#define MIGRATION_TLS_HANDSHAKE_MS 5000 /* what an accepting end should give a stranger */

struct migration_tls;
struct migration_tls_credentials;

/* The directory in force; never NULL. */
const char *migration_tls_directory(void);

/*
 * Loads a directory's files (NULL: the one in force). Returns 0, or -errno with *error
 * (EXIT_NOT_TRUSTED, one line that names the file and says what to do: missing, unreadable, the key
 * readable by others, expired, not yet valid, not of this CA, revoked, without a name, key and
 * certificate no pair, a list of revoked ones that is out of date or another CA's). The
 * credentials outlive every connection made with them; read-only, so threads may share them.
 */
int migration_tls_credentials_load(const char *directory,
				   struct migration_tls_credentials **credentials,
				   struct vm_error *error);
/* Takes NULL. */
void migration_tls_credentials_free(struct migration_tls_credentials *credentials);

/*
 * The dialling end on a connected socket: handshake, and the greeting by which the other end says
 * that it trusts us too. host: what was dialled; must be in the peer's certificate. The socket is
 * taken over in every case. Returns 0, or -errno with *error: EXIT_NOT_TRUSTED with -EACCES, or
 * EXIT_HOST_UNREACHABLE (no TLS there, cut, too slow).
 */
int migration_tls_connect(const struct migration_tls_credentials *credentials, int fd,
			  const char *host, struct deadline deadline, struct migration_tls **tls,
			  struct vm_error *error);
/* The accepting end on an accepted socket; as above. Nothing is sent to a peer whose certificate is
 * not good but the alert. */
int migration_tls_accept(const struct migration_tls_credentials *credentials, int fd,
			 struct deadline deadline, struct migration_tls **tls,
			 struct vm_error *error);

/* The frames of this connection; the connection's. Reading: -EPIPE where the peer has properly
 * closed, -ECONNRESET where it is cut or dead, -ECANCELED after migration_tls_shutdown(). */
struct migration_channel *migration_tls_channel(struct migration_tls *tls);

/* The underlying socket, the connection's: for its addresses. */
int migration_tls_fd(const struct migration_tls *tls);
/* Whom the peer's certificate names (its first DNS name, else its CN): for the log and for show. */
const char *migration_tls_peer_name(const struct migration_tls *tls);
/* The peer's address as text, "192.0.2.7" or "2001:db8::7". */
const char *migration_tls_peer_address(const struct migration_tls *tls);

/* Bytes on the wire, TLS included. */
uint64_t migration_tls_bytes_sent(const struct migration_tls *tls);

/* Sends close_notify, so that the peer can tell the end from a cut. Waits at most until deadline.
 */
int migration_tls_close(struct migration_tls *tls, struct deadline deadline);
/* Any thread: reading and writing return -ECANCELED, now and from now on. The peer sees a cut. */
void migration_tls_shutdown(struct migration_tls *tls);
/* Takes NULL. Nobody uses it any more. Closes the socket. */
void migration_tls_destroy(struct migration_tls *tls);

/* What a channel's error means, for a user: fills error (EXIT_HOST_UNREACHABLE, EXIT_CANCELLED,
 * EXIT_NOT_TRUSTED where it was the peer's alert about our certificate, EXIT_BAD_STATE for -EPROTO)
 * and returns rc. what: "the destination", "the source". */
int migration_tls_explain(const struct migration_tls *tls, int rc, const char *what,
			  struct vm_error *error);

#endif
