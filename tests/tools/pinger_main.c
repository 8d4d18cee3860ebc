/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ICMP echo at 1 kHz (or another rate), from the far end of a network: how long was a guest out of
 * reach? Usage: pinger ADDRESS [--rate HZ] [--seconds N] [--report FILE]. Until SIGTERM. The
 * report's times are milliseconds; a gap is the time between two replies that came one after the
 * other, whichever they answer; the longest are listed with the time of day (UTC, milliseconds) at
 * which they began. Source: RFC 792.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "tests/tools/stop_signal.h"

#define GAPS	    8
#define DRAIN_MS    2000 /* how long replies are waited for at the end */
#define PAYLOAD	    16	 /* sequence number, time sent */
#define PACKET	    (sizeof(struct icmphdr) + PAYLOAD)
#define NS_PER_MS   1000000.0
#define MAX_PACKETS (1U << 24)

struct gap {
	uint64_t ns;
	uint64_t unix_ms;
};

struct pinger {
	int socket;
	uint16_t id;
	uint64_t sent;
	uint64_t received;
	uint64_t duplicates;
	uint64_t first_ns;
	uint64_t last_ns; /* the last reply came */
	uint64_t longest_rtt_ns;
	struct gap gaps[GAPS]; /* the longest first */
	uint8_t *seen;	       /* by sequence number */
};

static uint16_t checksum(const void *data, size_t length)
{
	const uint8_t *bytes = data;
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)(bytes[i] | bytes[i + 1] << 8);
	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	return (uint16_t)~sum;
}

static void send_echo(struct pinger *pinger)
{
	uint8_t packet[PACKET];
	struct icmphdr head = {
		.type = ICMP_ECHO,
		.un.echo = {.id = pinger->id, .sequence = htons((uint16_t)pinger->sent)}};
	uint64_t payload[2] = {pinger->sent, clock_ns()};

	if (pinger->sent >= MAX_PACKETS)
		return;
	memcpy(packet + sizeof(head), payload, sizeof(payload));
	memcpy(packet, &head, sizeof(head));
	head.checksum = checksum(packet, sizeof(packet));
	memcpy(packet, &head, sizeof(head));
	/* A packet that the network does not take (no neighbour yet) is one that is lost. */
	if (send(pinger->socket, packet, sizeof(packet), MSG_DONTWAIT) < 0 && errno == ENOTCONN)
		return;
	pinger->sent++;
}

static void note_gap(struct pinger *pinger, uint64_t ns)
{
	struct timespec now;
	size_t at = GAPS;

	while (at > 0 && pinger->gaps[at - 1].ns < ns)
		at--;
	if (at == GAPS)
		return;
	memmove(&pinger->gaps[at + 1], &pinger->gaps[at], (GAPS - at - 1) * sizeof(struct gap));
	clock_gettime(CLOCK_REALTIME, &now);
	pinger->gaps[at].ns = ns;
	pinger->gaps[at].unix_ms =
		(uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 - ns / 1000000;
}

static void take_reply(struct pinger *pinger, const uint8_t *packet, size_t length)
{
	uint64_t payload[2], now = clock_ns();
	struct icmphdr head;
	size_t ip_bytes = length ? (size_t)(packet[0] & 0x0f) * 4 : 0;

	if (length < ip_bytes + PACKET)
		return;
	memcpy(&head, packet + ip_bytes, sizeof(head));
	if (head.type != ICMP_ECHOREPLY || head.un.echo.id != pinger->id)
		return;
	memcpy(payload, packet + ip_bytes + sizeof(head), sizeof(payload));
	if (payload[0] >= pinger->sent)
		return;
	if (pinger->seen[payload[0]]) {
		pinger->duplicates++;
		return;
	}
	pinger->seen[payload[0]] = 1;
	pinger->received++;
	if (now - payload[1] > pinger->longest_rtt_ns)
		pinger->longest_rtt_ns = now - payload[1];
	if (pinger->first_ns)
		note_gap(pinger, now - pinger->last_ns);
	else
		pinger->first_ns = now;
	pinger->last_ns = now;
}

static void take_replies(struct pinger *pinger)
{
	uint8_t packet[256];

	for (;;) {
		ssize_t length = recv(pinger->socket, packet, sizeof(packet), MSG_DONTWAIT);

		if (length < 0)
			return;
		take_reply(pinger, packet, (size_t)length);
	}
}

/* Sends on each tick until the end is asked for, then takes what is still under way. */
static void run(struct pinger *pinger, int timer)
{
	struct pollfd fds[2] = {{.fd = timer, .events = POLLIN},
				{.fd = pinger->socket, .events = POLLIN}};
	uint64_t ticks, end_ns = 0;

	while (!end_ns || (clock_ns() < end_ns && pinger->received < pinger->sent)) {
		poll(fds, 2, 100);
		if (!end_ns && (fds[0].revents & POLLIN) &&
		    read(timer, &ticks, sizeof(ticks)) == sizeof(ticks))
			while (ticks--)
				send_echo(pinger);
		take_replies(pinger);
		if (!end_ns && stop_requested()) {
			end_ns = clock_ns() + DRAIN_MS * 1000000ULL;
			fds[0].fd = -1;
		}
	}
}

static int write_report(const struct pinger *pinger, const char *path)
{
	char text[2048];
	int used = snprintf(text, sizeof(text),
			    "{\"sent\": %" PRIu64 ", \"received\": %" PRIu64 ", \"lost\": %" PRIu64
			    ", \"duplicates\": %" PRIu64
			    ", \"longest_gap_ms\": %.1f, \"longest_rtt_ms\": %.1f, \"gaps\": [",
			    pinger->sent, pinger->received, pinger->sent - pinger->received,
			    pinger->duplicates, (double)pinger->gaps[0].ns / NS_PER_MS,
			    (double)pinger->longest_rtt_ns / NS_PER_MS);

	for (size_t i = 0; i < GAPS && pinger->gaps[i].ns; i++)
		used += snprintf(text + used, sizeof(text) - (size_t)used,
				 "%s{\"ms\": %.1f, \"unix_ms\": %" PRIu64 "}", i ? ", " : "",
				 (double)pinger->gaps[i].ns / NS_PER_MS, pinger->gaps[i].unix_ms);
	snprintf(text + used, sizeof(text) - (size_t)used, "]}\n");
	return report_write(path, text);
}

static int open_socket(const char *address)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	int size = 1 << 20;
	int fd;

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
		return -EINVAL;
	fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return -errno;
	return fd;
}

static int open_timer(uint64_t rate)
{
	struct itimerspec every = {.it_interval.tv_sec = rate == 1,
				   .it_interval.tv_nsec = rate == 1 ? 0 : (long)(1000000000 / rate),
				   .it_value.tv_nsec = 1};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0 || timerfd_settime(fd, 0, &every, NULL) < 0)
		return -errno;
	return fd;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"rate", required_argument, NULL, 'r'},
						{"seconds", required_argument, NULL, 's'},
						{"report", required_argument, NULL, 'o'},
						{NULL, 0, NULL, 0}};
	struct pinger pinger = {.id = htons((uint16_t)getpid())};
	const char *report = NULL;
	uint64_t rate = 1000;
	unsigned int seconds = 0;
	int option, timer;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'r')
			rate = option_number("--rate", optarg, 1, 100000);
		else if (option == 's')
			seconds = (unsigned int)option_number("--seconds", optarg, 1, 86400);
		else if (option == 'o')
			report = optarg;
		else
			return 2;
	}
	if (optind + 1 != argc) {
		fprintf(stderr,
			"usage: pinger ADDRESS [--rate HZ] [--seconds N] [--report FILE]\n");
		return 2;
	}
	pinger.seen = calloc(MAX_PACKETS, 1);
	pinger.socket = open_socket(argv[optind]);
	timer = open_timer(rate);
	if (!pinger.seen || pinger.socket < 0 || timer < 0) {
		fprintf(stderr, "pinger: %s: %s\n", argv[optind],
			strerror(pinger.socket < 0 ? -pinger.socket : errno));
		return 1;
	}
	stop_signal_init(seconds);
	run(&pinger, timer);
	return write_report(&pinger, report) == 0 ? 0 : 1;
}
