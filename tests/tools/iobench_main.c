/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One job of a storage benchmark: reads and writes of one size past the cache, so many in flight,
 * for so long; says what was done, how long requests took (percentiles), and how busy the guest's
 * processors were. Where fio costs more than what it measures.
 *
 * iobench DEVICE --mib N [--block BYTES] [--random] [--reads PERCENT] [--depth N] [--seconds N]
 *         [--report FILE]
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/tools/stop_signal.h"

#define MAX_DEPTH  64
#define ALIGNMENT  4096
#define EXIT_USAGE 2
#define WAIT_S	   30 /* with nothing done: the disk hangs */

/* Latencies in buckets of 1/32 of a power of two: percentiles to 3 %. */
#define SUB_BITS 5
#define BUCKETS	 (64u << SUB_BITS)

struct request {
	struct iocb iocb;
	uint64_t start_ns;
	uint8_t *data;
};

struct job {
	int device;
	aio_context_t aio;
	uint64_t blocks; /* in the area */
	uint32_t block_bytes;
	bool random;
	unsigned int reads; /* percent */
	unsigned int depth;
	uint64_t state; /* of the random numbers */
	uint64_t cursor;
	struct request requests[MAX_DEPTH];

	uint64_t done;
	uint64_t reads_done;
	uint64_t errors;
	uint64_t total_ns; /* of all requests */
	uint64_t longest_ns;
	uint64_t counts[BUCKETS];
};

static uint64_t next_random(struct job *job)
{
	job->state ^= job->state << 13;
	job->state ^= job->state >> 7;
	job->state ^= job->state << 17;
	return job->state;
}

static uint32_t bucket_of(uint64_t ns)
{
	uint32_t top;

	if (ns < (1u << SUB_BITS))
		return (uint32_t)ns;
	top = 63u - (uint32_t)__builtin_clzll(ns);
	return ((top - SUB_BITS + 1) << SUB_BITS) |
	       (uint32_t)((ns >> (top - SUB_BITS)) & ((1u << SUB_BITS) - 1));
}

/* The upper end of a bucket. */
static uint64_t bucket_end_ns(uint32_t bucket)
{
	uint32_t level = bucket >> SUB_BITS;
	uint64_t sub = bucket & ((1u << SUB_BITS) - 1);

	if (level == 0)
		return sub;
	return (((1ULL << SUB_BITS) | sub) + 1) << (level - 1);
}

static double percentile_us(const struct job *job, double percent)
{
	uint64_t wanted = (uint64_t)((double)job->done * percent / 100.0), seen = 0;

	for (uint32_t bucket = 0; bucket < BUCKETS; bucket++) {
		seen += job->counts[bucket];
		if (seen > wanted)
			return (double)bucket_end_ns(bucket) / 1e3;
	}
	return (double)job->longest_ns / 1e3;
}

static void prepare(struct job *job, struct request *request, uint64_t now_ns)
{
	uint64_t block = job->random ? next_random(job) % job->blocks : job->cursor++ % job->blocks;
	bool read = next_random(job) % 100 < job->reads;

	memset(&request->iocb, 0, sizeof(request->iocb));
	request->iocb.aio_lio_opcode = read ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE;
	request->iocb.aio_fildes = (uint32_t)job->device;
	request->iocb.aio_buf = (uint64_t)(uintptr_t)request->data;
	request->iocb.aio_nbytes = job->block_bytes;
	request->iocb.aio_offset = (int64_t)(block * job->block_bytes);
	request->iocb.aio_data = (uint64_t)(uintptr_t)request;
	request->start_ns = now_ns;
}

static int submit_all(struct job *job, struct iocb **iocbs, long count)
{
	while (count > 0) {
		long taken = syscall(SYS_io_submit, job->aio, count, iocbs);

		if (taken <= 0)
			return taken < 0 ? -errno : -EAGAIN;
		iocbs += taken;
		count -= taken;
	}
	return 0;
}

static void account(struct job *job, const struct io_event *event, uint64_t now_ns)
{
	const struct request *request = (const struct request *)(uintptr_t)event->data;
	uint64_t took_ns = now_ns - request->start_ns;

	if (event->res != (int64_t)job->block_bytes)
		job->errors++;
	job->done++;
	job->reads_done += request->iocb.aio_lio_opcode == IOCB_CMD_PREAD;
	job->total_ns += took_ns;
	job->counts[bucket_of(took_ns)]++;
	if (took_ns > job->longest_ns)
		job->longest_ns = took_ns;
}

/* Keeps depth requests in flight until the time is over; waits for those that are. */
static int run_requests(struct job *job)
{
	struct iocb *iocbs[MAX_DEPTH];
	struct io_event events[MAX_DEPTH];
	unsigned int in_flight = job->depth;
	uint64_t now_ns = clock_ns();
	int rc;

	for (unsigned int i = 0; i < job->depth; i++) {
		prepare(job, &job->requests[i], now_ns);
		iocbs[i] = &job->requests[i].iocb;
	}
	rc = submit_all(job, iocbs, job->depth);
	while (rc == 0 && in_flight > 0) {
		struct timespec limit = {.tv_sec = WAIT_S};
		long count =
			syscall(SYS_io_getevents, job->aio, 1L, (long)MAX_DEPTH, events, &limit);
		long again = 0;

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return count < 0 ? -errno : -ETIMEDOUT;
		now_ns = clock_ns();
		for (long i = 0; i < count; i++) {
			struct request *request = (struct request *)(uintptr_t)events[i].data;

			account(job, &events[i], now_ns);
			if (stop_requested()) {
				in_flight--;
				continue;
			}
			prepare(job, request, now_ns);
			iocbs[again++] = &request->iocb;
		}
		rc = submit_all(job, iocbs, again);
	}
	return rc;
}

/* Seconds that this machine's processors were busy since it started. */
static double busy_seconds(void)
{
	unsigned long long user = 0, nice_ = 0, sys = 0, idle, wait, irq = 0, soft = 0;
	FILE *file = fopen("/proc/stat", "r");

	if (!file)
		return 0;
	if (fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice_, &sys, &idle,
		   &wait, &irq, &soft) != 7)
		user = 0;
	fclose(file);
	return (double)(user + nice_ + sys + irq + soft) / (double)sysconf(_SC_CLK_TCK);
}

static int job_open(struct job *job, const char *device, uint64_t area_bytes)
{
	off_t end;

	job->device = open(device, (job->reads == 100 ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC);
	if (job->device < 0)
		return -errno;
	end = lseek(job->device, 0, SEEK_END);
	if (end < 0)
		return -errno;
	if ((uint64_t)end < area_bytes)
		area_bytes = (uint64_t)end;
	job->blocks = area_bytes / job->block_bytes;
	if (job->blocks == 0)
		return -ENOSPC;
	job->state = clock_ns() | 1;
	for (unsigned int i = 0; i < job->depth; i++) {
		if (posix_memalign((void **)&job->requests[i].data, ALIGNMENT, job->block_bytes))
			return -ENOMEM;
		for (uint32_t at = 0; at < job->block_bytes; at += 8) {
			uint64_t word = next_random(job);

			memcpy(job->requests[i].data + at, &word, 8);
		}
	}
	return syscall(SYS_io_setup, (long)MAX_DEPTH, &job->aio) < 0 ? -errno : 0;
}

static int write_report(const struct job *job, double seconds, double busy_s, const char *path)
{
	char text[768];
	double done = (double)job->done, bytes = done * job->block_bytes;

	snprintf(text, sizeof(text),
		 "{\"ios\": %" PRIu64 ", \"reads\": %" PRIu64 ", \"errors\": %" PRIu64
		 ", \"seconds\": %.3f, \"iops\": %.1f, \"mib_s\": %.3f, \"busy_s\": %.2f, "
		 "\"mean_us\": %.1f, \"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, "
		 "\"p999_us\": %.1f, \"max_us\": %.1f}\n",
		 job->done, job->reads_done, job->errors, seconds, done / seconds,
		 bytes / seconds / (1 << 20), busy_s, (double)job->total_ns / 1e3 / done,
		 percentile_us(job, 50), percentile_us(job, 90), percentile_us(job, 99),
		 percentile_us(job, 99.9), (double)job->longest_ns / 1e3);
	return report_write(path, text);
}

static int usage(void)
{
	fprintf(stderr, "usage: iobench DEVICE --mib N [--block BYTES] [--random] "
			"[--reads PERCENT] [--depth N]\n"
			"               [--seconds N] [--report FILE]\n");
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"mib", required_argument, NULL, 'm'},	  {"block", required_argument, NULL, 'b'},
		{"random", no_argument, NULL, 'r'},	  {"reads", required_argument, NULL, 'p'},
		{"depth", required_argument, NULL, 'd'},  {"seconds", required_argument, NULL, 's'},
		{"report", required_argument, NULL, 'o'}, {NULL, 0, NULL, 0}};
	static struct job job = {.block_bytes = 4096, .reads = 100, .depth = 1};
	const char *report = NULL;
	unsigned int seconds = 2;
	uint64_t mib = 0, start_ns;
	double busy_s;
	int option, rc;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'm')
			mib = option_number("--mib", optarg, 1, 1 << 20);
		else if (option == 'b')
			job.block_bytes = (uint32_t)option_number("--block", optarg, 512, 8 << 20);
		else if (option == 'r')
			job.random = true;
		else if (option == 'p')
			job.reads = (unsigned int)option_number("--reads", optarg, 0, 100);
		else if (option == 'd')
			job.depth = (unsigned int)option_number("--depth", optarg, 1, MAX_DEPTH);
		else if (option == 's')
			seconds = (unsigned int)option_number("--seconds", optarg, 1, 86400);
		else if (option == 'o')
			report = optarg;
		else
			return usage();
	}
	if (optind + 1 != argc || !mib || job.block_bytes % 512)
		return usage();
	rc = job_open(&job, argv[optind], mib << 20);
	if (rc == 0) {
		stop_signal_init(seconds);
		busy_s = busy_seconds();
		start_ns = clock_ns();
		rc = run_requests(&job);
	}
	if (rc == 0)
		rc = write_report(&job, (double)(clock_ns() - start_ns) / 1e9,
				  busy_seconds() - busy_s, report);
	if (rc < 0) {
		fprintf(stderr, "iobench: %s: %s\n", argv[optind], strerror(-rc));
		return 1;
	}
	return job.errors ? 1 : 0;
}
