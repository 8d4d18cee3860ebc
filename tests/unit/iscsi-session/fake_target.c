/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fake target: reads PDUs from a stream, answers login, NOP-Out, task management, logout and
 * SCSI commands.
 */
#include "tests/unit/iscsi-session/fake_target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"

#define WINDOW 256u

/* CRC32C bit by bit: not the code under test. */
static void put_crc(uint8_t digest[4], const uint8_t *bytes, size_t length)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < length; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
	}
	put_le32(digest, ~crc);
}

static void on_trickle(void *ctx)
{
	struct fake_target *t = ctx;
	size_t part = t->trickle_bytes < t->out_bytes ? t->trickle_bytes : t->out_bytes;

	t->trickle_timer = NULL;
	if (t->fd < 0 || part == 0)
		return;
	if (send(t->fd, t->out, part, MSG_NOSIGNAL) == (ssize_t)part) {
		t->out_bytes -= part;
		memmove(t->out, t->out + part, t->out_bytes);
	}
	event_loop_after_ms(t->loop, 1, on_trickle, t, &t->trickle_timer);
}

static void trickle(struct fake_target *t, const uint8_t *bytes, size_t length)
{
	if (length > FAKE_OUT_MAX - t->out_bytes)
		abort();
	memcpy(t->out + t->out_bytes, bytes, length);
	t->out_bytes += length;
	if (t->trickle_timer == NULL)
		event_loop_after_ms(t->loop, 1, on_trickle, t, &t->trickle_timer);
}

static void send_all(struct fake_target *t, const uint8_t *bytes, size_t length)
{
	if (t->trickle_bytes > 0) {
		trickle(t, bytes, length);
		return;
	}
	while (length > 0 && t->fd >= 0) {
		ssize_t n = send(t->fd, bytes, length, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		bytes += n;
		length -= (size_t)n;
	}
}

void fake_target_send(struct fake_target *t, const void *bytes, size_t length)
{
	send_all(t, bytes, length);
}

static void send_pdu(struct fake_target *t, uint8_t *header, const void *data, uint32_t length)
{
	static uint8_t padded[FAKE_PDU_MAX];
	size_t padded_length = align_up(length, 4);
	bool login = header[0] == 0x23;
	uint8_t digest[4];

	header[5] = (uint8_t)(length >> 16);
	header[6] = (uint8_t)(length >> 8);
	header[7] = (uint8_t)length;
	send_all(t, header, 48);
	if (t->header_digest && !login) {
		put_crc(digest, header, 48);
		send_all(t, digest, 4);
	}
	if (length == 0)
		return;
	memset(padded, 0, padded_length);
	memcpy(padded, data, length);
	put_crc(digest, padded, padded_length);
	if (t->corrupt_data && !login)
		padded[length / 2] ^= 0x10;
	send_all(t, padded, padded_length);
	if (t->data_digest && !login)
		send_all(t, digest, 4);
}

/* StatSN, ExpCmdSN, MaxCmdSN from the request's CmdSN. */
static void put_serials(struct fake_target *t, uint8_t *header, const uint8_t *request)
{
	uint32_t cmd_sn = get_be32(request + 24);
	bool immediate = (request[0] & 0x40) != 0;

	put_be32(header + 24, t->stat_sn++);
	put_be32(header + 28, immediate ? cmd_sn : cmd_sn + 1);
	put_be32(header + 32, cmd_sn + WINDOW);
}

static void reset_connection(void *ctx)
{
	struct fake_target *t = ctx;
	const struct linger linger = {.l_onoff = 1};

	setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	fake_target_drop(t);
}

static void answer_login(struct fake_target *t, const uint8_t *request, const uint8_t *data,
			 uint32_t length)
{
	uint8_t header[48] = {0x23};
	char keys[1024] = "";
	size_t keys_length = 0;

	if (t->mute_login)
		return;
	memcpy(t->login_header, request, 48);
	length = length < sizeof(t->login_text) - 1 ? length : (uint32_t)sizeof(t->login_text) - 1;
	memcpy(t->login_text, data, length);
	t->login_text[length] = '\0';
	for (uint32_t i = 0; i < length; i++)
		if (t->login_text[i] == '\0')
			t->login_text[i] = '\n';
	t->logins++;
	header[1] = 0x87; /* transit, operational to full feature */
	memcpy(header + 8, request + 8, 6);
	header[15] = 1; /* TSIH */
	memcpy(header + 16, request + 16, 4);
	put_serials(t, header, request);
	put_be16(header + 36, t->login_status);
	if (t->login_status == 0) {
		keys_length = (size_t)snprintf(keys, sizeof(keys), "%s", t->login_keys);
		for (size_t i = 0; i < keys_length; i++)
			if (keys[i] == '\n')
				keys[i] = '\0';
		t->full_feature = true;
	}
	send_pdu(t, header, keys, (uint32_t)keys_length);
	/* A timer of this round: the initiator then finds the answer and the reset together. */
	if (t->login_status != 0 && t->reset_refused)
		event_loop_after_ms(t->loop, 0, reset_connection, t, NULL);
}

static void answer_by_unit(struct fake_target *t, struct fake_command *command)
{
	static uint8_t data[256 * 1024];
	uint8_t header[48] = {0x21, 0x80}, sense[20] = {0, 18};
	uint32_t expected = get_be32(command->header + 20);
	bool reads = (command->header[1] & 0x40) != 0;
	uint32_t in_bytes = reads ? expected : 0;

	header[3] = t->unit(t->unit_ctx, command->header + 32, command->out, command->data_bytes,
			    data, &in_bytes, sense + 2);
	free(command->out);
	command->out = NULL;
	memcpy(header + 16, command->header + 16, 4);
	if (header[3] == 0 && reads && in_bytes > 0) {
		header[0] = 0x25;
		header[1] = 0x81;
		put_be32(header + 20, 0xffffffff);
	}
	if (reads && in_bytes < expected) {
		header[1] |= 0x02;
		put_be32(header + 44, expected - in_bytes);
	}
	put_serials(t, header, command->header);
	if (header[3] == 2)
		send_pdu(t, header, sense, sizeof(sense));
	else
		send_pdu(t, header, data, reads ? in_bytes : 0);
}

static void answer_command(struct fake_target *t, struct fake_command *command)
{
	uint8_t header[48] = {0x21, 0x80};
	uint8_t sense[64] = {0, 18, 0x70, 0, 6, [9] = 10, [14] = 0x29};
	uint32_t expected = get_be32(command->header + 20);

	command->answered = true;
	if (t->unit != NULL) {
		answer_by_unit(t, command);
		return;
	}
	memcpy(header + 16, command->header + 16, 4);
	if (t->check_condition) {
		header[3] = 2;
		put_serials(t, header, command->header);
		send_pdu(t, header, sense, (uint32_t)t->sense_bytes);
		return;
	}
	if ((command->header[1] & 0x40) != 0) { /* a read: Data-In with status */
		static uint8_t data[256 * 1024];
		uint32_t length = expected - t->underflow_bytes;
		memset(data, command->header[32 + 5], length); /* of the LBA's last byte */
		header[0] = 0x25;
		header[1] = 0x81;
		put_be32(header + 20, 0xffffffff);
		if (t->underflow_bytes > 0) {
			header[1] |= 0x02;
			put_be32(header + 44, t->underflow_bytes);
		}
		put_serials(t, header, command->header);
		send_pdu(t, header, data, length);
		return;
	}
	put_serials(t, header, command->header);
	send_pdu(t, header, NULL, 0);
}

void fake_target_answer_all(struct fake_target *t)
{
	for (int i = 0; i < t->command_count; i++)
		if (!t->commands[i].answered && t->commands[i].final)
			answer_command(t, &t->commands[i]);
}

static void add_data(struct fake_target *t, struct fake_command *command, const uint8_t *data,
		     uint32_t length)
{
	if (t->unit != NULL && length > 0) {
		command->out = realloc(command->out, command->data_bytes + length);
		if (command->out == NULL)
			abort();
		memcpy(command->out + command->data_bytes, data, length);
	}
	command->data_bytes += length;
	for (uint32_t i = 0; i < length; i++)
		command->data_sum += data[i];
}

static void take_command(struct fake_target *t, const uint8_t *header, const uint8_t *data,
			 uint32_t length)
{
	struct fake_command *command;

	if (t->command_count == FAKE_COMMANDS_MAX && t->unit != NULL && !t->hold_commands)
		t->command_count = 0; /* all are answered */
	if (t->command_count == FAKE_COMMANDS_MAX)
		return;
	command = &t->commands[t->command_count++];
	*command = (struct fake_command){.itt = get_be32(header + 16)};
	memcpy(command->header, header, 48);
	add_data(t, command, data, length);
	command->final = (header[1] & 0x80) != 0;
	if (command->final && !t->hold_commands)
		answer_command(t, command);
}

static void take_data_out(struct fake_target *t, const uint8_t *header, const uint8_t *data,
			  uint32_t length)
{
	for (int i = t->command_count - 1; i >= 0; i--) {
		struct fake_command *command = &t->commands[i];
		if (command->itt != get_be32(header + 16))
			continue;
		add_data(t, command, data, length);
		command->final = (header[1] & 0x80) != 0;
		if (command->final && !t->hold_commands)
			answer_command(t, command);
		return;
	}
}

static void answer_simply(struct fake_target *t, const uint8_t *request, uint8_t opcode)
{
	uint8_t header[48] = {opcode, 0x80};

	memcpy(header + 16, request + 16, 4);
	if (opcode == 0x20)
		put_be32(header + 20, 0xffffffff);
	put_serials(t, header, request);
	send_pdu(t, header, NULL, 0);
}

static void take_pdu(struct fake_target *t, const uint8_t *header, const uint8_t *data,
		     uint32_t length)
{
	switch (header[0] & 0x3f) {
	case 0x00:
		t->nops++;
		if (!t->mute_nop)
			answer_simply(t, header, 0x20);
		break;
	case 0x01:
		take_command(t, header, data, length);
		break;
	case 0x02:
		if ((header[1] & 0x7f) == 1)
			t->aborts++;
		if ((header[1] & 0x7f) == 5)
			t->lun_resets++;
		if (!t->mute_abort)
			answer_simply(t, header, 0x22);
		break;
	case 0x03:
		answer_login(t, header, data, length);
		break;
	case 0x05:
		take_data_out(t, header, data, length);
		break;
	case 0x06:
		t->logouts++;
		answer_simply(t, header, 0x26);
		break;
	default:
		break;
	}
}

void fake_target_drop(struct fake_target *t)
{
	if (t->fd < 0)
		return;
	event_watch_remove(t->watch);
	close(t->fd);
	t->fd = -1;
	for (int i = 0; i < t->command_count; i++) {
		free(t->commands[i].out);
		t->commands[i].out = NULL;
	}
	t->in_bytes = 0;
	t->out_bytes = 0;
	t->full_feature = false;
}

/* Takes one whole PDU off the input, with the digests that the phase has. Returns false where it is
 * not all there. */
static bool take_whole_pdu(struct fake_target *t)
{
	uint32_t length = get_be32(t->in + 4) & 0xffffff;
	size_t data_at = 48 + (t->full_feature && t->header_digest ? 4 : 0);
	size_t data_bytes = align_up(length, 4);
	size_t digest_bytes = t->full_feature && t->data_digest && length > 0 ? 4 : 0;
	size_t whole = data_at + data_bytes + digest_bytes;
	uint8_t digest[4];

	if (t->in_bytes < whole)
		return false;
	put_crc(digest, t->in, 48);
	if (data_at > 48 && memcmp(digest, t->in + 48, 4) != 0)
		t->bad_digests++;
	put_crc(digest, t->in + data_at, data_bytes);
	if (digest_bytes > 0 && memcmp(digest, t->in + data_at + data_bytes, 4) != 0)
		t->bad_digests++;
	take_pdu(t, t->in, t->in + data_at, length);
	if (t->fd < 0)
		return false;
	t->in_bytes -= whole;
	memmove(t->in, t->in + whole, t->in_bytes);
	return true;
}

static void on_bytes(void *ctx, int fd, uint32_t events)
{
	struct fake_target *t = ctx;
	ssize_t n = recv(fd, t->in + t->in_bytes, FAKE_PDU_MAX - t->in_bytes, MSG_DONTWAIT);

	(void)events;
	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			fake_target_drop(t);
		return;
	}
	t->in_bytes += (size_t)n;
	while (t->fd >= 0 && t->in_bytes >= 48)
		if (!take_whole_pdu(t))
			break;
}

static void on_connection(void *ctx, int fd, uint32_t events)
{
	struct fake_target *t = ctx;
	int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC), on = 1;

	(void)events;
	if (accepted < 0)
		return;
	fake_target_drop(t);
	setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	t->fd = accepted;
	t->stat_sn = 1;
	t->connections++;
	event_loop_watch(t->loop, accepted, EPOLLIN, on_bytes, t, &t->watch);
}

static int listen_on(struct fake_target *t, uint16_t port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t length = sizeof(address);
	int on = 1;

	t->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	setsockopt(t->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(t->listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(t->listen_fd, 8) < 0 ||
	    getsockname(t->listen_fd, (struct sockaddr *)&address, &length) < 0)
		return -errno;
	snprintf(t->portal, sizeof(t->portal), "127.0.0.1:%u", ntohs(address.sin_port));
	return event_loop_watch(t->loop, t->listen_fd, EPOLLIN, on_connection, t, &t->listen_watch);
}

void fake_target_narrow(struct fake_target *t)
{
	int bytes = 4096;

	fake_target_drop(t);
	setsockopt(t->listen_fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

void fake_target_listen(struct fake_target *t, bool on)
{
	if (on) {
		listen_on(t, (uint16_t)strtoul(strchr(t->portal, ':') + 1, NULL, 10));
	} else {
		event_watch_remove(t->listen_watch);
		close(t->listen_fd);
		t->listen_fd = -1;
	}
}

int fake_target_create(struct event_loop *loop, struct fake_target *t)
{
	memset(t, 0, sizeof(*t));
	t->loop = loop;
	t->fd = -1;
	t->login_keys = "MaxRecvDataSegmentLength=8192\nInitialR2T=No\nImmediateData=Yes\n"
			"FirstBurstLength=262144\nMaxBurstLength=1048576\n";
	t->sense_bytes = 20;
	t->in = malloc(FAKE_PDU_MAX);
	t->out = malloc(FAKE_OUT_MAX);
	return t->in != NULL && t->out != NULL ? listen_on(t, 0) : -ENOMEM;
}

void fake_target_destroy(struct fake_target *t)
{
	fake_target_drop(t);
	if (t->listen_fd >= 0)
		fake_target_listen(t, false);
	event_timer_cancel(t->trickle_timer);
	free(t->in);
	free(t->out);
}
