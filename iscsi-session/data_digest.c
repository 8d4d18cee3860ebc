/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two stream followers. Both know PDU boundaries from the headers alone, and never let one call
 * cross the end of a PDU: libiscsi takes short counts as it would from a socket. No data is copied.
 */
#include "iscsi-session/data_digest.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "iscsi-session/crc32c.h"

#define HEADER_BYTES 48u
#define DIGEST_BYTES 4u
#define IOVS_MAX     128 /* of one call; the rest is left to the next */

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's --wrap makes these names */
ssize_t __wrap_send(int fd, const void *bytes, size_t length, int flags);
ssize_t __wrap_recv(int fd, void *bytes, size_t length, int flags);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int count);
ssize_t __wrap_readv(int fd, const struct iovec *iov, int count);
ssize_t __real_send(int fd, const void *bytes, size_t length, int flags);
ssize_t __real_recv(int fd, void *bytes, size_t length, int flags);
ssize_t __real_writev(int fd, const struct iovec *iov, int count);
ssize_t __real_readv(int fd, const struct iovec *iov, int count);

/* Where a stream stands in its current PDU. */
struct place {
	uint8_t header[HEADER_BYTES];
	uint32_t header_done; /* of the header and its digest */
	uint32_t data_left;   /* with padding */
	uint32_t crc;
};

/* A thread has one connection; the other sockets of the process pass by. */
static _Thread_local struct {
	bool active;
	int fd;
	uint32_t header_bytes; /* with digest, where agreed */
	struct place out, in;
	uint8_t pending[DIGEST_BYTES]; /* of the outgoing digest, at its end */
	uint32_t pending_left;
	uint8_t received[DIGEST_BYTES];
	uint32_t received_bytes;
	bool held; /* the last byte of a segment, until its digest is whole */
	uint8_t held_byte;
} state;

static void begin_pdu(struct place *place)
{
	place->header_done = 0;
	place->data_left = 0;
	place->crc = CRC32C_START;
}

void data_digest_start(int fd, bool header_digest)
{
	memset(&state, 0, sizeof(state));
	state.active = true;
	state.fd = fd;
	state.header_bytes = HEADER_BYTES + (header_digest ? DIGEST_BYTES : 0);
	begin_pdu(&state.out);
	begin_pdu(&state.in);
}

void data_digest_stop(void)
{
	state.active = false;
	state.pending_left = 0;
}

bool data_digest_is_pending(void)
{
	return state.pending_left > 0;
}

int data_digest_flush(void)
{
	while (state.pending_left > 0) {
		ssize_t sent =
			__real_send(state.fd, state.pending + DIGEST_BYTES - state.pending_left,
				    state.pending_left, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
		state.pending_left -= (uint32_t)sent;
	}
	return 0;
}

static uint32_t padded_data_bytes(const uint8_t *header)
{
	return (uint32_t)align_up(get_be32(header + 4) & 0xffffff, 4);
}

/* Copies the first bytes of a vector, at most length. Returns how many there were. */
static size_t gather(const struct iovec *iov, int count, uint8_t *to, size_t length)
{
	size_t done = 0;

	for (int i = 0; i < count && done < length; i++) {
		size_t part = iov[i].iov_len < length - done ? iov[i].iov_len : length - done;
		memcpy(to + done, iov[i].iov_base, part);
		done += part;
	}
	return done;
}

/* Copies at most limit bytes' worth of a vector's entries. Returns their number, and the bytes in
 * *total. */
static int limit_iovs(struct iovec *to, const struct iovec *iov, int count, size_t limit,
		      size_t *total)
{
	int used = 0;

	*total = 0;
	for (int i = 0; i < count && used < IOVS_MAX && *total < limit; i++) {
		to[used] = iov[i];
		if (to[used].iov_len > limit - *total)
			to[used].iov_len = limit - *total;
		*total += to[used].iov_len;
		used++;
	}
	return used;
}

/* Follows bytes that have moved: header first, then data, which goes into the CRC. */
static void follow(struct place *place, const struct iovec *iov, int count, size_t moved)
{
	size_t left = moved;

	for (int i = 0; i < count && left > 0; i++) {
		const uint8_t *bytes = iov[i].iov_base;
		size_t length = iov[i].iov_len < left ? iov[i].iov_len : left;

		left -= length;
		while (length > 0 && place->header_done < state.header_bytes) {
			if (place->header_done < HEADER_BYTES)
				place->header[place->header_done] = *bytes;
			if (++place->header_done == state.header_bytes)
				place->data_left = padded_data_bytes(place->header);
			bytes++;
			length--;
		}
		if (length > 0) {
			place->crc = crc32c_update(place->crc, bytes, length);
			place->data_left -= (uint32_t)length;
		}
	}
}

static bool has_data(const struct place *place)
{
	return padded_data_bytes(place->header) > 0;
}

/* Bytes that may be written before the end of the PDU; iov is what libiscsi is about to write. */
static size_t out_limit(const struct iovec *iov, int count)
{
	struct place *out = &state.out;
	uint8_t header[HEADER_BYTES];
	uint32_t known = out->header_done < HEADER_BYTES ? out->header_done : HEADER_BYTES;
	uint32_t left = state.header_bytes - out->header_done;

	if (left == 0)
		return out->data_left;
	memcpy(header, out->header, known);
	known += (uint32_t)gather(iov, count, header + known, HEADER_BYTES - known);
	return known == HEADER_BYTES ? (size_t)left + padded_data_bytes(header) : left;
}

static ssize_t write_stream(const struct iovec *iov, int count)
{
	struct iovec limited[IOVS_MAX];
	struct msghdr message = {.msg_iov = limited};
	struct place *out = &state.out;
	int ret = data_digest_flush();
	size_t limit, total;
	ssize_t sent;

	if (ret < 0 || state.pending_left > 0) {
		errno = ret < 0 ? -ret : EAGAIN;
		return -1;
	}
	limit = out_limit(iov, count);
	message.msg_iovlen = (size_t)limit_iovs(limited, iov, count, limit, &total);
	/* MSG_MORE: what follows, data or digest, belongs into the same segment. */
	bool more = total == limit && total > state.header_bytes;
	sent = sendmsg(state.fd, &message, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
	if (sent <= 0)
		return sent;
	follow(out, limited, (int)message.msg_iovlen, (size_t)sent);
	if (out->header_done == state.header_bytes && out->data_left == 0) {
		if (has_data(out)) {
			put_le32(state.pending, crc32c_finish(out->crc));
			state.pending_left = DIGEST_BYTES;
			data_digest_flush(); /* a fault shows at the next call */
		}
		begin_pdu(out);
	}
	return sent;
}

static int refuse(int error)
{
	errno = error;
	return -1;
}

/* The digest is whole: true where it is right. */
static bool finish_segment(void)
{
	bool right = get_le32(state.received) == crc32c_finish(state.in.crc);

	state.received_bytes = 0;
	state.held = false;
	begin_pdu(&state.in);
	return right;
}

/* All data is here but for the held byte, which goes to iov when the rest of the digest has come.
 */
static ssize_t read_held(const struct iovec *iov)
{
	ssize_t n = __real_recv(state.fd, state.received + state.received_bytes,
				DIGEST_BYTES - state.received_bytes, MSG_DONTWAIT);

	if (n <= 0)
		return n;
	state.received_bytes += (uint32_t)n;
	if (state.received_bytes < DIGEST_BYTES)
		return refuse(EAGAIN);
	if (!finish_segment())
		return refuse(EBADMSG);
	*(uint8_t *)iov->iov_base = state.held_byte;
	return 1;
}

static uint8_t *last_byte(const struct iovec *iov, int count)
{
	return (uint8_t *)iov[count - 1].iov_base + iov[count - 1].iov_len - 1;
}

/* Reads the end of a data segment, of length bytes, with its digest behind it. */
static ssize_t read_end(struct iovec *iov, int count, size_t length)
{
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count + 1};
	ssize_t n;

	iov[count] = (struct iovec){state.received, DIGEST_BYTES};
	n = recvmsg(state.fd, &message, MSG_DONTWAIT);
	if (n <= 0)
		return n;
	if ((size_t)n < length) {
		follow(&state.in, iov, count, (size_t)n);
		return n;
	}
	follow(&state.in, iov, count, length);
	state.received_bytes = (uint32_t)((size_t)n - length);
	if (state.received_bytes == DIGEST_BYTES)
		return finish_segment() ? (ssize_t)length : refuse(EBADMSG);
	state.held = true;
	state.held_byte = *last_byte(iov, count);
	return length > 1 ? (ssize_t)length - 1 : refuse(EAGAIN);
}

static ssize_t read_stream(const struct iovec *iov, int count)
{
	struct iovec limited[IOVS_MAX + 1];
	struct place *in = &state.in;
	bool in_header = in->header_done < state.header_bytes;
	size_t limit = in_header ? state.header_bytes - in->header_done : in->data_left;
	size_t total;
	ssize_t n;
	int used;

	if (state.held)
		return read_held(iov);
	used = limit_iovs(limited, iov, count, limit, &total);
	if (total == 0)
		return refuse(EINVAL);
	if (!in_header && total == limit)
		return read_end(limited, used, total);
	n = __real_readv(state.fd, limited, used);
	if (n > 0) {
		follow(in, limited, used, (size_t)n);
		if (in->header_done == state.header_bytes && in->data_left == 0)
			begin_pdu(in);
	}
	return n;
}

ssize_t __wrap_send(int fd, const void *bytes, size_t length, int flags)
{
	const struct iovec iov = {(void *)(uintptr_t)bytes, length};

	if (!state.active || fd != state.fd)
		return __real_send(fd, bytes, length, flags);
	return write_stream(&iov, 1);
}

ssize_t __wrap_writev(int fd, const struct iovec *iov, int count)
{
	if (!state.active || fd != state.fd)
		return __real_writev(fd, iov, count);
	return write_stream(iov, count);
}

ssize_t __wrap_recv(int fd, void *bytes, size_t length, int flags)
{
	const struct iovec iov = {bytes, length};

	if (!state.active || fd != state.fd)
		return __real_recv(fd, bytes, length, flags);
	return read_stream(&iov, 1);
}

ssize_t __wrap_readv(int fd, const struct iovec *iov, int count)
{
	if (!state.active || fd != state.fd)
		return __real_readv(fd, iov, count);
	return read_stream(iov, count);
}
/* NOLINTEND(bugprone-reserved-identifier) */
