/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * I/O on a disk that verifies itself, for as long as a test wants: reads and writes of random
 * blocks past the cache, several in flight, each read compared with what was written last; at the
 * end all of it is read once more.
 *
 * ioverify run DEVICE --mib N [--skip MIB] [--depth N] [--writes PERCENT] [--max-blocks N]
 * [--seconds N] [--rate REQUESTS-PER-SECOND]
 *          [--report FILE] [--table FILE]
 *     Until SIGTERM. The report (JSON) is renewed each second, and has "ended": true when all was
 * verified. ioverify check FILE --mib N [--table FILE] Elsewhere: whether each block of FILE is
 * whole, and the digest of their generations; equal to the run's "digest" where each block is the
 * one written last. With the run's table, blocks that are not are named.
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

#include "tests/tools/block_pattern.h"
#include "tests/tools/stop_signal.h"

#define MAX_DEPTH    64
#define MAX_BLOCKS   256 /* of a request */
#define BLOCKS_A_MIB (1024 * 1024 / BLOCK_BYTES)
#define NAMED_ERRORS 8 /* said on standard error, in full */
#define WAIT_MS	     100
#define REPORT_NS    1000000000ULL
#define EXIT_USAGE   2
#define SCRUB_BLOCKS MAX_BLOCKS

struct request {
	struct iocb iocb;
	uint64_t block;
	uint32_t count;
	bool busy;
	bool write;
	uint64_t start_ns;
	uint8_t *data;
};

struct run {
	int device;
	aio_context_t aio;
	uint64_t skipped_bytes; /* before the first block */
	uint64_t blocks;
	uint32_t *generations; /* by block: of the last write that was done */
	uint8_t *busy;	       /* by block */
	uint32_t max_blocks;
	unsigned int depth;
	unsigned int writes; /* percent */
	uint64_t rate;	     /* requests a second; 0: no limit */
	uint64_t random;
	struct request requests[MAX_DEPTH];
	unsigned int in_flight;

	uint64_t reads_done;
	uint64_t writes_done;
	uint64_t errors;
	uint64_t verify_errors;
	uint64_t start_ns;
	uint64_t last_ns;	   /* a request was done */
	uint64_t longest_stall_ns; /* with requests in flight, none was done */
	uint64_t longest_request_ns;
};

static uint64_t next_random(struct run *run)
{
	run->random ^= run->random << 13;
	run->random ^= run->random >> 7;
	run->random ^= run->random << 17;
	return run->random;
}

static void name_error(const struct run *run, const char *what, uint64_t block, long status)
{
	if (run->errors + run->verify_errors <= NAMED_ERRORS)
		fprintf(stderr, "ioverify: %s of block %" PRIu64 ": %s\n", what, block,
			status < 0 ? strerror((int)-status) : "wrong content");
}

static off_t block_offset(const struct run *run, uint64_t block)
{
	return (off_t)(run->skipped_bytes + block * BLOCK_BYTES);
}

/* A free run of blocks for a request, marked busy; fewer than wanted where that is all. False: try
 * again later. */
static bool take_blocks(struct run *run, struct request *request)
{
	uint32_t wanted = 1 + (uint32_t)(next_random(run) % run->max_blocks);

	request->block = next_random(run) % run->blocks;
	for (request->count = 0;
	     request->count < wanted && request->block + request->count < run->blocks &&
	     !run->busy[request->block + request->count];
	     request->count++)
		run->busy[request->block + request->count] = 1;
	return request->count > 0;
}

static int submit(struct run *run, struct request *request)
{
	struct iocb *iocbs[] = {&request->iocb};

	memset(&request->iocb, 0, sizeof(request->iocb));
	request->iocb.aio_lio_opcode = request->write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
	request->iocb.aio_fildes = (uint32_t)run->device;
	request->iocb.aio_buf = (uint64_t)(uintptr_t)request->data;
	request->iocb.aio_nbytes = (uint64_t)request->count * BLOCK_BYTES;
	request->iocb.aio_offset = (int64_t)block_offset(run, request->block);
	request->iocb.aio_data = (uint64_t)(uintptr_t)request;
	request->start_ns = clock_ns();
	if (run->in_flight == 0)
		run->last_ns = request->start_ns;
	if (syscall(SYS_io_submit, run->aio, 1L, iocbs) != 1)
		return -errno;
	request->busy = true;
	run->in_flight++;
	return 0;
}

static void begin_request(struct run *run, struct request *request)
{
	int rc;

	if (!take_blocks(run, request))
		return;
	request->write = next_random(run) % 100 < run->writes;
	for (uint32_t i = 0; request->write && i < request->count; i++)
		block_fill(request->data + (size_t)i * BLOCK_BYTES, request->block + i,
			   run->generations[request->block + i] + 1);
	rc = submit(run, request);
	if (rc < 0) {
		memset(run->busy + request->block, 0, request->count);
		run->errors++;
		name_error(run, "submission", request->block, rc);
	}
}

static void verify_blocks(struct run *run, const uint8_t *data, uint64_t block, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t found = block_generation(data + (size_t)i * BLOCK_BYTES, block + i);

		if (found == run->generations[block + i])
			continue;
		run->verify_errors++;
		if (run->verify_errors <= NAMED_ERRORS)
			fprintf(stderr,
				"ioverify: block %" PRIu64 " has generation %" PRIu32
				", not %" PRIu32 "\n",
				block + i, found, run->generations[block + i]);
	}
}

static void end_request(struct run *run, struct request *request, int64_t result)
{
	uint64_t now = clock_ns();

	if (now - run->last_ns > run->longest_stall_ns)
		run->longest_stall_ns = now - run->last_ns;
	if (now - request->start_ns > run->longest_request_ns)
		run->longest_request_ns = now - request->start_ns;
	run->last_ns = now;
	request->busy = false;
	run->in_flight--;
	memset(run->busy + request->block, 0, request->count);
	if (result != (int64_t)request->count * BLOCK_BYTES) {
		run->errors++;
		name_error(run, request->write ? "write" : "read", request->block,
			   result < 0 ? (long)result : -EIO);
	} else if (request->write) {
		run->writes_done++;
		for (uint32_t i = 0; i < request->count; i++)
			run->generations[request->block + i]++;
	} else {
		run->reads_done++;
		verify_blocks(run, request->data, request->block, request->count);
	}
}

static void await_requests(struct run *run)
{
	struct timespec limit = {.tv_nsec = WAIT_MS * 1000000L};
	struct io_event events[MAX_DEPTH];
	long count = syscall(SYS_io_getevents, run->aio, 1L, (long)MAX_DEPTH, events, &limit);

	for (long i = 0; i < count; i++)
		end_request(run, (struct request *)(uintptr_t)events[i].data, events[i].res);
}

static int write_report(const struct run *run, const char *path, bool ended)
{
	char text[768];
	double seconds = (double)(clock_ns() - run->start_ns) / 1e9;
	uint64_t done = run->reads_done + run->writes_done;

	snprintf(text, sizeof(text),
		 "{\"ended\": %s, \"reads\": %" PRIu64 ", \"writes\": %" PRIu64
		 ", \"iops\": %.0f, \"errors\": %" PRIu64 ", \"verify_errors\": %" PRIu64
		 ", \"longest_stall_ms\": %.1f, \"longest_request_ms\": %.1f, \"seconds\": %.1f"
		 ", \"digest\": \"%016" PRIx64 "\"}\n",
		 ended ? "true" : "false", run->reads_done, run->writes_done,
		 (double)done / seconds, run->errors, run->verify_errors,
		 (double)run->longest_stall_ns / 1e6, (double)run->longest_request_ns / 1e6,
		 seconds, ended ? block_table_digest(run->generations, run->blocks) : 0);
	return report_write(path, text);
}

/* How many requests the rate has allowed by now. */
static bool may_begin(const struct run *run, uint64_t begun)
{
	return !run->rate ||
	       (double)begun < (double)(clock_ns() - run->start_ns) / 1e9 * (double)run->rate;
}

static void do_requests(struct run *run, const char *report)
{
	uint64_t reported_ns = 0, begun = 0;

	while (!stop_requested() || run->in_flight) {
		for (unsigned int i = 0; i < run->depth && !stop_requested(); i++)
			if (!run->requests[i].busy && may_begin(run, begun)) {
				begin_request(run, &run->requests[i]);
				begun++;
			}
		if (run->in_flight) {
			await_requests(run);
		} else {
			struct timespec rest = {.tv_nsec = 1000000};

			nanosleep(&rest, NULL);
		}
		if (report && clock_ns() - reported_ns > REPORT_NS) {
			write_report(run, report, false);
			reported_ns = clock_ns();
		}
	}
}

/*
 * Reads all blocks. adopt: what is there is the table (a block that is neither whole nor zeros is
 * an error); otherwise it is compared with the table.
 */
static int scrub(struct run *run, bool adopt)
{
	uint8_t *data = run->requests[0].data;

	for (uint64_t block = 0; block < run->blocks; block += SCRUB_BLOCKS) {
		uint32_t count = (uint32_t)(run->blocks - block < SCRUB_BLOCKS ? run->blocks - block
									       : SCRUB_BLOCKS);
		size_t bytes = (size_t)count * BLOCK_BYTES;
		ssize_t got = pread(run->device, data, bytes, block_offset(run, block));

		if (got != (ssize_t)bytes) {
			run->errors++;
			name_error(run, "read", block, got < 0 ? -errno : -EIO);
			if (adopt)
				return -EIO;
			continue;
		}
		if (!adopt)
			verify_blocks(run, data, block, count);
		for (uint32_t i = 0; adopt && i < count; i++) {
			run->generations[block + i] =
				block_generation(data + (size_t)i * BLOCK_BYTES, block + i);
			if (run->generations[block + i] == GENERATION_WRONG) {
				fprintf(stderr,
					"ioverify: block %" PRIu64 " is neither zeros nor ours\n",
					block + i);
				return -EINVAL;
			}
		}
	}
	return 0;
}

static int write_table(const struct run *run, const char *path)
{
	FILE *file = fopen(path, "wb");
	bool good;

	if (!file)
		return -errno;
	good = fwrite(run->generations, sizeof(uint32_t), run->blocks, file) == run->blocks;
	return fclose(file) == 0 && good ? 0 : -EIO;
}

static int run_open(struct run *run, const char *device, int flags)
{
	run->device = open(device, flags | O_CLOEXEC);
	if (run->device < 0)
		return -errno;
	run->generations = calloc(run->blocks, sizeof(uint32_t));
	run->busy = calloc(run->blocks, 1);
	if (!run->generations || !run->busy)
		return -ENOMEM;
	for (unsigned int i = 0; i < (run->depth ? run->depth : 1); i++)
		if (posix_memalign((void **)&run->requests[i].data, BLOCK_BYTES,
				   (size_t)MAX_BLOCKS * BLOCK_BYTES) != 0)
			return -ENOMEM;
	return 0;
}

static int command_run(struct run *run, const char *device, const char *report, const char *table,
		       unsigned int seconds)
{
	int rc = run_open(run, device, O_RDWR | O_DIRECT);

	if (rc == 0 && syscall(SYS_io_setup, (long)MAX_DEPTH, &run->aio) < 0)
		rc = -errno;
	if (rc == 0)
		rc = scrub(run, true);
	if (rc < 0) {
		fprintf(stderr, "ioverify: %s: %s\n", device, strerror(-rc));
		return 1;
	}
	run->random = clock_ns() | 1;
	stop_signal_init(seconds);
	run->start_ns = clock_ns();
	do_requests(run, report);
	scrub(run, false);
	if ((table && write_table(run, table) < 0) || write_report(run, report, true) < 0)
		return 1;
	return run->errors || run->verify_errors ? 1 : 0;
}

/* Names the blocks whose generation is not the table's. Returns their number, or -errno. */
static int64_t compare_table(const struct run *run, const char *path)
{
	FILE *file = fopen(path, "rb");
	int64_t wrong = 0;
	uint32_t wanted;

	if (!file)
		return -errno;
	for (uint64_t block = 0; block < run->blocks; block++) {
		if (fread(&wanted, sizeof(wanted), 1, file) != 1) {
			fclose(file);
			return -EIO;
		}
		if (wanted == run->generations[block])
			continue;
		if (wrong++ < NAMED_ERRORS)
			fprintf(stderr,
				"ioverify: block %" PRIu64 " has generation %" PRIu32
				", not %" PRIu32 "\n",
				block, run->generations[block], wanted);
	}
	fclose(file);
	return wrong;
}

static int command_check(struct run *run, const char *path, const char *table)
{
	uint64_t broken = 0, written = 0;
	int64_t wrong = 0;
	int rc = run_open(run, path, O_RDONLY);

	if (rc < 0) {
		fprintf(stderr, "ioverify: %s: %s\n", path, strerror(-rc));
		return 1;
	}
	for (uint64_t block = 0; block < run->blocks; block++) {
		uint8_t *data = run->requests[0].data;

		if (pread(run->device, data, BLOCK_BYTES, block_offset(run, block)) !=
		    BLOCK_BYTES) {
			fprintf(stderr, "ioverify: %s: no block %" PRIu64 "\n", path, block);
			return 1;
		}
		run->generations[block] = block_generation(data, block);
		broken += run->generations[block] == GENERATION_WRONG;
		written += run->generations[block] != GENERATION_NONE;
	}
	if (table)
		wrong = compare_table(run, table);
	if (wrong < 0) {
		fprintf(stderr, "ioverify: %s: %s\n", table, strerror((int)-wrong));
		return 1;
	}
	printf("{\"blocks\": %" PRIu64 ", \"written\": %" PRIu64 ", \"broken\": %" PRIu64
	       ", \"wrong\": %" PRId64 ", \"digest\": \"%016" PRIx64 "\"}\n",
	       run->blocks, written, broken, wrong,
	       block_table_digest(run->generations, run->blocks));
	return broken || wrong ? 1 : 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: ioverify run DEVICE --mib N [--depth N] [--writes PERCENT] "
			"[--max-blocks N]\n"
			"                [--seconds N] [--rate N] [--report FILE] [--table FILE]\n"
			"       ioverify check FILE --mib N [--table FILE]\n");
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"mib", required_argument, NULL, 'm'},
						{"skip", required_argument, NULL, 'k'},
						{"depth", required_argument, NULL, 'd'},
						{"writes", required_argument, NULL, 'w'},
						{"max-blocks", required_argument, NULL, 'b'},
						{"seconds", required_argument, NULL, 's'},
						{"rate", required_argument, NULL, 'r'},
						{"report", required_argument, NULL, 'o'},
						{"table", required_argument, NULL, 't'},
						{NULL, 0, NULL, 0}};
	static struct run run = {.max_blocks = 16, .depth = 8, .writes = 60};
	const char *report = NULL, *table = NULL;
	unsigned int seconds = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'm')
			run.blocks = option_number("--mib", optarg, 1, 1 << 16) * BLOCKS_A_MIB;
		else if (option == 'k')
			run.skipped_bytes = option_number("--skip", optarg, 0, 1 << 20) << 20;
		else if (option == 'd')
			run.depth = (unsigned int)option_number("--depth", optarg, 1, MAX_DEPTH);
		else if (option == 'w')
			run.writes = (unsigned int)option_number("--writes", optarg, 0, 100);
		else if (option == 'b')
			run.max_blocks =
				(uint32_t)option_number("--max-blocks", optarg, 1, MAX_BLOCKS);
		else if (option == 's')
			seconds = (unsigned int)option_number("--seconds", optarg, 1, 86400 * 7);
		else if (option == 'r')
			run.rate = option_number("--rate", optarg, 1, 1000000);
		else if (option == 'o')
			report = optarg;
		else if (option == 't')
			table = optarg;
		else
			return usage();
	}
	if (optind + 2 != argc || !run.blocks)
		return usage();
	if (strcmp(argv[optind], "run") == 0)
		return command_run(&run, argv[optind + 1], report, table, seconds);
	if (strcmp(argv[optind], "check") == 0)
		return command_check(&run, argv[optind + 1], table);
	return usage();
}
