/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A TLS connection between two hosts. The socket is non-blocking; who waits does so in poll(), with
 * a deadline. What TLS has to send is gathered and handed to the kernel in large pieces, by us, so
 * that TLS itself never waits.
 */
#include "hypervisor/migration/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hypervisor/migration/migration.h"
#include "hypervisor/migration/socket.h"
#include "hypervisor/migration/tls_internal.h"

#define PRIORITIES                                                                                 \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305"
#define RECORD_BYTES	 16384
#define GATHER_BYTES	 131072 /* handed to the kernel once there is this much */
#define PEER_NAME_BYTES	 256
#define ALERT_TIMEOUT_MS 200

struct migration_tls {
	gnutls_session_t session;
	int fd;
	bool accepting;
	char host[MIGRATION_HOST_BYTES]; /* dialled */
	char peer_name[PEER_NAME_BYTES];
	char peer_address[INET6_ADDRSTRLEN];
	unsigned int verdict; /* GNUTLS_CERT_* of the peer's certificate; 0: good */
	_Atomic int alert;    /* the peer's fatal alert, or -1 */
	_Atomic bool shut;
	_Atomic uint64_t bytes_sent;
	struct migration_channel channel;
	/* What waits to be sent: out[out_start..out_end). TLS may append from the reading thread
	 * too (an alert, a new key). */
	pthread_mutex_t out_lock;
	uint8_t *out;
	size_t out_start;
	size_t out_end;
	size_t out_capacity;
};

/* ---- between TLS and the socket ---- */

static ssize_t tls_push(gnutls_transport_ptr_t ctx, const void *bytes, size_t length)
{
	struct migration_tls *tls = ctx;
	ssize_t rc = (ssize_t)length;

	pthread_mutex_lock(&tls->out_lock);
	if (tls->out_start == tls->out_end)
		tls->out_start = tls->out_end = 0;
	if (length > tls->out_capacity - tls->out_end) {
		size_t capacity = tls->out_end + length + GATHER_BYTES;
		uint8_t *out = realloc(tls->out, capacity);

		if (!out) {
			gnutls_transport_set_errno(tls->session, ENOMEM);
			rc = -1;
			goto out_unlock;
		}
		tls->out = out;
		tls->out_capacity = capacity;
	}
	memcpy(tls->out + tls->out_end, bytes, length);
	tls->out_end += length;
out_unlock:
	pthread_mutex_unlock(&tls->out_lock);
	return rc;
}

static ssize_t tls_pull(gnutls_transport_ptr_t ctx, void *bytes, size_t length)
{
	struct migration_tls *tls = ctx;
	ssize_t got = recv(tls->fd, bytes, length, MSG_DONTWAIT);

	if (got < 0)
		gnutls_transport_set_errno(tls->session, errno);
	return got;
}

static int tls_pull_timeout(gnutls_transport_ptr_t ctx, unsigned int ms)
{
	struct migration_tls *tls = ctx;
	struct pollfd poll_fd = {.fd = tls->fd, .events = POLLIN};
	int rc = poll(&poll_fd, 1, ms > 1000 ? 1000 : (int)ms);

	if (rc < 0)
		gnutls_transport_set_errno(tls->session, errno);
	return rc;
}

static int tls_wait(struct migration_tls *tls, short events, struct deadline deadline)
{
	struct pollfd poll_fd = {.fd = tls->fd, .events = events};

	for (;;) {
		int rc = poll(&poll_fd, 1, deadline_left_ms(deadline));

		if (atomic_load(&tls->shut))
			return -ECANCELED;
		if (rc > 0)
			return 0;
		if (rc < 0 && errno != EINTR)
			return -errno;
		if (deadline_passed(deadline))
			return -ETIMEDOUT;
	}
}

/* Sends a piece of what waits. Returns 1 where nothing is left, 0, or -errno. */
static int tls_flush_some(struct migration_tls *tls)
{
	ssize_t sent = 0;
	int rc = 0;

	pthread_mutex_lock(&tls->out_lock);
	if (tls->out_start < tls->out_end)
		sent = send(tls->fd, tls->out + tls->out_start, tls->out_end - tls->out_start,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		rc = -errno;
	else
		tls->out_start += (size_t)sent;
	if (rc == 0)
		rc = tls->out_start == tls->out_end;
	pthread_mutex_unlock(&tls->out_lock);
	if (sent > 0)
		atomic_fetch_add_explicit(&tls->bytes_sent, (uint64_t)sent, memory_order_relaxed);
	return rc;
}

static int tls_flush(struct migration_tls *tls, struct deadline deadline)
{
	for (;;) {
		int rc = tls_flush_some(tls);

		if (atomic_load(&tls->shut))
			return -ECANCELED;
		if (rc == 1)
			return 0;
		if (rc == -EAGAIN)
			rc = tls_wait(tls, POLLOUT, deadline);
		else if (rc < 0 && rc != -EINTR)
			rc = -ECONNRESET; /* EPIPE, ETIMEDOUT, EHOSTUNREACH: the peer is gone */
		if (rc < 0 && rc != -EINTR)
			return rc;
	}
}

/* ---- errors ---- */

/* What a failed call of gnutls means to a channel's user. */
static int tls_error(struct migration_tls *tls, int rc)
{
	if (atomic_load(&tls->shut))
		return -ECANCELED;
	switch (rc) {
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
		atomic_store(&tls->alert, (int)gnutls_alert_get(tls->session));
		return tls_alert_text(gnutls_alert_get(tls->session)) ? -EACCES : -EPROTO;
	case GNUTLS_E_PREMATURE_TERMINATION:
	case GNUTLS_E_PULL_ERROR:
	case GNUTLS_E_PUSH_ERROR:
	case GNUTLS_E_SESSION_EOF:
	case GNUTLS_E_INVALID_SESSION:
		return -ECONNRESET;
	case GNUTLS_E_MEMORY_ERROR:
		return -ENOMEM;
	default:
		return -EPROTO;
	}
}

static bool tls_error_passes(int rc)
{
	return rc == GNUTLS_E_AGAIN || rc == GNUTLS_E_INTERRUPTED ||
	       (rc < 0 && gnutls_error_is_fatal(rc) == 0 && rc != GNUTLS_E_REHANDSHAKE &&
		rc != GNUTLS_E_REAUTH_REQUEST);
}

int migration_tls_explain(const struct migration_tls *tls, int rc, const char *what,
			  struct vm_error *error)
{
	int alert = tls ? atomic_load(&tls->alert) : -1;
	const char *text = alert >= 0 ? tls_alert_text((gnutls_alert_description_t)alert) : NULL;

	if (text)
		return vm_error_set(error, EXIT_NOT_TRUSTED, rc,
				    "%s does not accept this host's certificate: %s", what, text);
	switch (rc) {
	case -EACCES:
		return vm_error_set(error, EXIT_NOT_TRUSTED, rc, "%s is not trusted", what);
	case -ECANCELED:
		return vm_error_set(error, EXIT_CANCELLED, rc, "cancelled");
	case -ETIMEDOUT:
		return vm_error_set(error, EXIT_HOST_UNREACHABLE, rc, "%s did not answer in time",
				    what);
	case -EPIPE:
		return vm_error_set(error, EXIT_HOST_UNREACHABLE, rc, "%s ended the connection",
				    what);
	case -ECONNRESET:
		return vm_error_set(error, EXIT_HOST_UNREACHABLE, rc,
				    "the connection to %s was lost", what);
	case -EPROTO:
	case -EMSGSIZE:
		return vm_error_set(error, EXIT_BAD_STATE, rc,
				    "%s sent what does not belong into this protocol", what);
	default:
		return vm_error_set(error, EXIT_INTERNAL, rc, "talking to %s: %s", what,
				    strerror(-rc));
	}
}

/* ---- the channel ---- */

static int tls_read(void *ctx, void *to, size_t length, struct deadline deadline)
{
	struct migration_tls *tls = ctx;
	uint8_t *next = to;
	size_t left = length;

	while (left > 0) {
		ssize_t got = gnutls_record_recv(tls->session, next, left);
		int rc = 0;

		if (got == 0)
			return left == length ? -EPIPE : -ECONNRESET;
		if (got > 0) {
			next += got;
			left -= (size_t)got;
			continue;
		}
		if (!tls_error_passes((int)got))
			return tls_error(tls, (int)got);
		if (got == GNUTLS_E_AGAIN)
			rc = tls_wait(tls, POLLIN, deadline);
		else if (deadline_passed(deadline))
			rc = -ETIMEDOUT;
		if (rc < 0)
			return rc;
	}
	return atomic_load(&tls->shut) ? -ECANCELED : 0;
}

static size_t tls_waiting(struct migration_tls *tls)
{
	size_t waiting;

	pthread_mutex_lock(&tls->out_lock);
	waiting = tls->out_end - tls->out_start;
	pthread_mutex_unlock(&tls->out_lock);
	return waiting;
}

static int tls_write(void *ctx, const void *from, size_t length, struct deadline deadline)
{
	struct migration_tls *tls = ctx;
	const uint8_t *next = from;

	while (length > 0) {
		size_t piece = length < RECORD_BYTES ? length : RECORD_BYTES;
		ssize_t sent = gnutls_record_send(tls->session, next, piece);
		int rc = 0;

		if (sent < 0 && !tls_error_passes((int)sent))
			return tls_error(tls, (int)sent);
		if (sent > 0) {
			next += sent;
			length -= (size_t)sent;
		}
		if (tls_waiting(tls) >= GATHER_BYTES)
			rc = tls_flush(tls, deadline);
		if (rc < 0)
			return rc;
	}
	return tls_flush(tls, deadline);
}

static const struct migration_channel_ops tls_channel_ops = {
	.read = tls_read,
	.write = tls_write,
};

struct migration_channel *migration_tls_channel(struct migration_tls *tls)
{
	return &tls->channel;
}

/* ---- the peer's certificate ---- */

/* In the handshake, before anything of ours is shown to a peer that is not good. */
int migration_tls_verify(gnutls_session_t session)
{
	struct migration_tls *tls = gnutls_session_get_ptr(session);
	const char *purpose = tls->accepting ? GNUTLS_KP_TLS_WWW_CLIENT : GNUTLS_KP_TLS_WWW_SERVER;
	gnutls_typed_vdata_st wanted[2] = {
		{.type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)(uintptr_t)purpose},
		{.type = GNUTLS_DT_DNS_HOSTNAME, .data = (unsigned char *)tls->host},
	};
	unsigned int status = GNUTLS_CERT_INVALID;
	const gnutls_datum_t *raw;
	unsigned int count = 0;
	gnutls_x509_crt_t certificate;
	bool named = false;

	raw = gnutls_certificate_get_peers(session, &count);
	if (!raw || count == 0)
		return GNUTLS_E_NO_CERTIFICATE_FOUND;
	if (gnutls_x509_crt_init(&certificate) < 0)
		return GNUTLS_E_MEMORY_ERROR;
	if (gnutls_x509_crt_import(certificate, &raw[0], GNUTLS_X509_FMT_DER) == 0)
		named = tls_certificate_name(certificate, tls->peer_name, sizeof(tls->peer_name));
	gnutls_x509_crt_deinit(certificate);
	if (gnutls_certificate_verify_peers(session, wanted, tls->accepting ? 1 : 2, &status) < 0)
		status |= GNUTLS_CERT_INVALID;
	if (!named)
		status |= TLS_VERDICT_NAMELESS;
	tls->verdict = status;
	return status == 0 ? 0 : GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR;
}

/* ---- making a connection ---- */

static void peer_address_get(struct migration_tls *tls)
{
	struct sockaddr_storage peer = {0};
	socklen_t length = sizeof(peer);
	const void *address = NULL;

	snprintf(tls->peer_address, sizeof(tls->peer_address), "local");
	if (getpeername(tls->fd, (struct sockaddr *)&peer, &length) < 0)
		return;
	if (peer.ss_family == AF_INET)
		address = &((struct sockaddr_in *)&peer)->sin_addr;
	else if (peer.ss_family == AF_INET6)
		address = &((struct sockaddr_in6 *)&peer)->sin6_addr;
	if (address)
		inet_ntop(peer.ss_family, address, tls->peer_address, sizeof(tls->peer_address));
}

static int session_init(struct migration_tls *tls,
			const struct migration_tls_credentials *credentials)
{
	unsigned int flags = GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS;
	int rc = gnutls_init(&tls->session,
			     flags | (tls->accepting ? GNUTLS_SERVER : GNUTLS_CLIENT));

	if (rc < 0)
		return -ENOMEM;
	if (gnutls_priority_set_direct(tls->session, PRIORITIES, NULL) < 0 ||
	    gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, credentials->x509) < 0) {
		gnutls_deinit(tls->session);
		return -EINVAL;
	}
	if (tls->accepting)
		gnutls_certificate_server_set_request(tls->session, GNUTLS_CERT_REQUIRE);
	gnutls_session_set_ptr(tls->session, tls);
	gnutls_transport_set_ptr(tls->session, tls);
	gnutls_transport_set_push_function(tls->session, tls_push);
	gnutls_transport_set_pull_function(tls->session, tls_pull);
	gnutls_transport_set_pull_timeout_function(tls->session, tls_pull_timeout);
	return 0;
}

/* Takes over fd in every case. */
static int tls_create(const struct migration_tls_credentials *credentials, int fd, bool accepting,
		      struct migration_tls **out, struct vm_error *error)
{
	struct migration_tls *tls = calloc(1, sizeof(*tls));
	int rc = -ENOMEM;

	if (!tls)
		goto err_close;
	tls->fd = fd;
	tls->accepting = accepting;
	atomic_init(&tls->alert, -1);
	pthread_mutex_init(&tls->out_lock, NULL);
	migration_channel_init(&tls->channel, &tls_channel_ops, tls, false);
	snprintf(tls->peer_name, sizeof(tls->peer_name), "unnamed");
	peer_address_get(tls);
	rc = migration_socket_prepare(fd);
	if (rc == 0)
		rc = session_init(tls, credentials);
	if (rc < 0)
		goto err_free;
	*out = tls;
	return 0;

err_free:
	pthread_mutex_destroy(&tls->out_lock);
	free(tls);
err_close:
	close(fd);
	vm_error_set(error, EXIT_INTERNAL, rc, "cannot prepare TLS: %s", strerror(-rc));
	return rc;
}

/* Returns a gnutls result, or 1 with *failure where waiting failed. */
static int tls_handshake(struct migration_tls *tls, struct deadline deadline, int *failure)
{
	for (;;) {
		int rc = gnutls_handshake(tls->session);

		*failure = tls_flush(tls, deadline);
		if (rc == GNUTLS_E_SUCCESS && *failure == 0)
			return 0;
		if (rc < 0 && !tls_error_passes(rc))
			return rc;
		if (*failure == 0 && rc == GNUTLS_E_AGAIN)
			*failure = tls_wait(tls, POLLIN, deadline);
		else if (*failure == 0 && deadline_passed(deadline))
			*failure = -ETIMEDOUT;
		if (*failure < 0)
			return 1;
	}
}

/* Tells the peer what was wrong, as far as it listens. */
static void tls_alert(struct migration_tls *tls, int rc)
{
	if (rc == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR)
		gnutls_alert_send(tls->session, GNUTLS_AL_FATAL, tls_verdict_alert(tls->verdict));
	else
		gnutls_alert_send_appropriate(tls->session, rc);
	tls_flush(tls, deadline_in_ms(ALERT_TIMEOUT_MS));
}

/* Why a handshake failed, for people. */
static int handshake_explain(struct migration_tls *tls, int rc, const char *peer,
			     struct vm_error *error)
{
	const char *name = strcmp(tls->peer_name, "unnamed") == 0 ? "" : tls->peer_name;

	switch (rc) {
	case GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR:
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EACCES,
				    "the certificate of %s%s%s%s is not trusted: %s", peer,
				    *name ? " (" : "", name, *name ? ")" : "",
				    tls_verdict_text(tls->verdict));
	case GNUTLS_E_NO_CERTIFICATE_FOUND:
	case GNUTLS_E_CERTIFICATE_REQUIRED:
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EACCES,
				    "%s showed no certificate: both hosts need one of the same CA",
				    peer);
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
	case GNUTLS_E_PREMATURE_TERMINATION:
	case GNUTLS_E_PULL_ERROR:
	case GNUTLS_E_MEMORY_ERROR:
		rc = tls_error(tls, rc);
		if (rc != -EPROTO)
			return migration_tls_explain(tls, rc, peer, error);
		break;
	default:
		break;
	}
	return vm_error_set(error, EXIT_HOST_UNREACHABLE, -EPROTO,
			    "%s does not speak TLS 1.3 as Lunar does: %s", peer,
			    gnutls_strerror(rc == -EPROTO ? GNUTLS_E_FATAL_ALERT_RECEIVED : rc));
}

static int tls_shake_hands(struct migration_tls *tls, const char *peer, struct deadline deadline,
			   struct vm_error *error)
{
	int failure = 0;
	int rc = tls_handshake(tls, deadline, &failure);

	if (rc == 0)
		return 0;
	if (rc == 1)
		return migration_tls_explain(tls, failure, peer, error);
	if (rc != GNUTLS_E_FATAL_ALERT_RECEIVED && rc != GNUTLS_E_PREMATURE_TERMINATION &&
	    rc != GNUTLS_E_PULL_ERROR)
		tls_alert(tls, rc);
	return handshake_explain(tls, rc, peer, error);
}

int migration_tls_connect(const struct migration_tls_credentials *credentials, int fd,
			  const char *host, struct deadline deadline, struct migration_tls **out,
			  struct vm_error *error)
{
	char greeting[MIGRATION_GREETING_BYTES];
	struct migration_tls *tls;
	int rc = tls_create(credentials, fd, false, &tls, error);

	if (rc < 0)
		return rc;
	snprintf(tls->host, sizeof(tls->host), "%s", host);
	/* Names only: an address must not be sent as one (RFC 6066 3). */
	if (inet_pton(AF_INET, host, &(struct in_addr){0}) != 1 &&
	    inet_pton(AF_INET6, host, &(struct in6_addr){0}) != 1)
		gnutls_server_name_set(tls->session, GNUTLS_NAME_DNS, host, strlen(host));
	rc = tls_shake_hands(tls, host, deadline, error);
	if (rc < 0)
		goto err_destroy;
	/* Our handshake ends before the other end has seen our certificate. */
	rc = tls_read(tls, greeting, sizeof(greeting), deadline);
	if (rc < 0) {
		migration_tls_explain(tls, rc, host, error);
		goto err_destroy;
	}
	if (memcmp(greeting, MIGRATION_GREETING, sizeof(greeting)) != 0) {
		rc = vm_error_set(error, EXIT_HOST_UNREACHABLE, -EPROTO,
				  "what listens at %s is not Lunar, or of another version", host);
		goto err_destroy;
	}
	*out = tls;
	return 0;

err_destroy:
	migration_tls_destroy(tls);
	return rc;
}

int migration_tls_accept(const struct migration_tls_credentials *credentials, int fd,
			 struct deadline deadline, struct migration_tls **out,
			 struct vm_error *error)
{
	struct migration_tls *tls;
	int rc = tls_create(credentials, fd, true, &tls, error);

	if (rc < 0)
		return rc;
	rc = tls_shake_hands(tls, tls->peer_address, deadline, error);
	if (rc < 0)
		goto err_destroy;
	rc = tls_write(tls, MIGRATION_GREETING, MIGRATION_GREETING_BYTES, deadline);
	if (rc < 0) {
		migration_tls_explain(tls, rc, tls->peer_address, error);
		goto err_destroy;
	}
	*out = tls;
	return 0;

err_destroy:
	migration_tls_destroy(tls);
	return rc;
}

/* ---- a connection's life ---- */

int migration_tls_fd(const struct migration_tls *tls)
{
	return tls->fd;
}

const char *migration_tls_peer_name(const struct migration_tls *tls)
{
	return tls->peer_name;
}

const char *migration_tls_peer_address(const struct migration_tls *tls)
{
	return tls->peer_address;
}

uint64_t migration_tls_bytes_sent(const struct migration_tls *tls)
{
	return atomic_load_explicit(&tls->bytes_sent, memory_order_relaxed);
}

int migration_tls_close(struct migration_tls *tls, struct deadline deadline)
{
	int rc = gnutls_bye(tls->session, GNUTLS_SHUT_WR);

	if (rc < 0 && !tls_error_passes(rc))
		return tls_error(tls, rc);
	return tls_flush(tls, deadline);
}

void migration_tls_shutdown(struct migration_tls *tls)
{
	atomic_store(&tls->shut, true);
	shutdown(tls->fd, SHUT_RDWR);
}

void migration_tls_destroy(struct migration_tls *tls)
{
	if (!tls)
		return;
	gnutls_deinit(tls->session);
	close(tls->fd);
	pthread_mutex_destroy(&tls->out_lock);
	free(tls->out);
	free(tls);
}
