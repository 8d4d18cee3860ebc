/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether a flush that was acknowledged is kept: writes batches of blocks, makes each batch stable,
 * and only then says so. Which blocks a batch has follows from the seed, so that what was said is
 * enough to check an image after its machine was killed.
 *
 * ioflush run DEVICE --mib N --seed N [--skip MIB] [--batch N] [--from N] [--fua] [--seconds N]
 *     "flushed N" on standard output after each batch, counted from --from (1). --fua: the writes
 *     are stable when they are done, and nothing is flushed.
 * ioflush check FILE --mib N --seed N --flushed N [--skip MIB] [--batch N]
 *     Whether each block has what the last batch up to N has written, or what a later one wrote.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/tools/batch.h"
#include "tests/tools/block_pattern.h"
#include "tests/tools/stop_signal.h"

#define MAX_BATCH    64
#define BLOCKS_A_MIB (1024 * 1024 / BLOCK_BYTES)
#define UNSAID	     256 /* batches that may have been flushed, and lost on the way to who listens */
#define NAMED_ERRORS 8
#define EXIT_USAGE   2

struct flusher {
	int file;
	aio_context_t aio;
	uint64_t skipped_bytes;
	uint64_t blocks;
	uint64_t seed;
	uint32_t batch;
	bool fua;
	uint8_t *data[MAX_BATCH];
};

static int write_batch(struct flusher *flusher, uint32_t number)
{
	static struct iocb iocbs[MAX_BATCH];
	struct iocb *pointers[MAX_BATCH];
	struct io_event events[MAX_BATCH];
	long submitted, ended = 0;

	memset(iocbs, 0, sizeof(iocbs));
	for (uint32_t i = 0; i < flusher->batch; i++) {
		uint64_t block = batch_block(flusher->seed, number, i, flusher->blocks);

		block_fill(flusher->data[i], block, number);
		iocbs[i].aio_lio_opcode = IOCB_CMD_PWRITE;
		iocbs[i].aio_fildes = (uint32_t)flusher->file;
		iocbs[i].aio_rw_flags = flusher->fua ? RWF_DSYNC : 0;
		iocbs[i].aio_buf = (uint64_t)(uintptr_t)flusher->data[i];
		iocbs[i].aio_nbytes = BLOCK_BYTES;
		iocbs[i].aio_offset = (int64_t)(flusher->skipped_bytes + block * BLOCK_BYTES);
		pointers[i] = &iocbs[i];
	}
	submitted = syscall(SYS_io_submit, flusher->aio, (long)flusher->batch, pointers);
	if (submitted != (long)flusher->batch)
		return submitted < 0 ? -errno : -EAGAIN;
	while (ended < submitted) {
		long count =
			syscall(SYS_io_getevents, flusher->aio, 1L, (long)MAX_BATCH, events, NULL);

		if (count < 0 && errno != EINTR)
			return -errno;
		for (long i = 0; i < count; i++)
			if (events[i].res != BLOCK_BYTES)
				return events[i].res < 0 ? (int)events[i].res : -EIO;
		ended += count > 0 ? count : 0;
	}
	return flusher->fua || fdatasync(flusher->file) == 0 ? 0 : -errno;
}

static int command_run(struct flusher *flusher, const char *device, uint32_t from,
		       unsigned int seconds)
{
	int rc = 0;

	flusher->file = open(device, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (flusher->file < 0 || syscall(SYS_io_setup, (long)MAX_BATCH, &flusher->aio) < 0)
		rc = -errno;
	for (uint32_t i = 0; rc == 0 && i < flusher->batch; i++)
		if (posix_memalign((void **)&flusher->data[i], BLOCK_BYTES, BLOCK_BYTES))
			rc = -ENOMEM;
	stop_signal_init(seconds);
	for (uint32_t number = from; rc == 0 && !stop_requested(); number++) {
		rc = write_batch(flusher, number);
		if (rc == 0 && (printf("flushed %" PRIu32 "\n", number) < 0 || fflush(stdout) != 0))
			rc = -EIO;
	}
	if (rc < 0)
		fprintf(stderr, "ioflush: %s: %s\n", device, strerror(-rc));
	return rc < 0;
}

/* Whether batch number has written block. */
static bool has_written(const struct flusher *flusher, uint32_t number, uint64_t block)
{
	for (uint32_t i = 0; i < flusher->batch; i++)
		if (batch_block(flusher->seed, number, i, flusher->blocks) == block)
			return true;
	return false;
}

/* Whether what is found in a block may be there: it is the last batch's that was flushed, or a
 * later one's; torn only where a later one was writing. */
static bool may_be(const struct flusher *flusher, uint64_t block, uint32_t found, uint32_t least,
		   uint32_t flushed)
{
	if (found == least)
		return true;
	if (found == GENERATION_WRONG) {
		for (uint32_t number = flushed + 1; number <= flushed + UNSAID; number++)
			if (has_written(flusher, number, block))
				return true;
		return false;
	}
	return found > flushed && found <= flushed + UNSAID && has_written(flusher, found, block);
}

static int command_check(struct flusher *flusher, const char *path, uint32_t flushed)
{
	uint32_t *least = calloc(flusher->blocks, sizeof(*least));
	static uint8_t data[BLOCK_BYTES] __attribute__((aligned(8)));
	uint64_t lost = 0, newer = 0;

	flusher->file = open(path, O_RDONLY | O_CLOEXEC);
	if (flusher->file < 0 || !least) {
		fprintf(stderr, "ioflush: %s: %s\n", path, strerror(errno));
		free(least);
		return 1;
	}
	for (uint32_t number = 1; number <= flushed; number++)
		for (uint32_t i = 0; i < flusher->batch; i++)
			least[batch_block(flusher->seed, number, i, flusher->blocks)] = number;
	for (uint64_t block = 0; block < flusher->blocks; block++) {
		off_t offset = (off_t)(flusher->skipped_bytes + block * BLOCK_BYTES);
		uint32_t found = GENERATION_WRONG;

		if (pread(flusher->file, data, BLOCK_BYTES, offset) == BLOCK_BYTES)
			found = block_generation(data, block);
		newer += found != least[block];
		if (may_be(flusher, block, found, least[block], flushed))
			continue;
		if (lost++ < NAMED_ERRORS)
			fprintf(stderr,
				"ioflush: block %" PRIu64 " has generation %" PRId32
				", batch %" PRIu32 " was flushed\n",
				block, (int32_t)found, least[block]);
	}
	printf("{\"blocks\": %" PRIu64 ", \"flushed\": %" PRIu32 ", \"lost\": %" PRIu64
	       ", \"newer\": %" PRIu64 "}\n",
	       flusher->blocks, flushed, lost, newer - lost);
	free(least);
	close(flusher->file);
	return lost != 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: ioflush run DEVICE --mib N --seed N [--skip MIB] [--batch N] "
			"[--from N] [--fua] [--seconds N]\n"
			"       ioflush check FILE --mib N --seed N --flushed N [--skip MIB] "
			"[--batch N]\n");
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"mib", required_argument, NULL, 'm'},
						{"seed", required_argument, NULL, 'e'},
						{"skip", required_argument, NULL, 'k'},
						{"batch", required_argument, NULL, 'b'},
						{"from", required_argument, NULL, 'f'},
						{"fua", no_argument, NULL, 'u'},
						{"seconds", required_argument, NULL, 's'},
						{"flushed", required_argument, NULL, 'l'},
						{NULL, 0, NULL, 0}};
	static struct flusher flusher = {.batch = 8};
	uint32_t from = 1, flushed = 0;
	unsigned int seconds = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'm')
			flusher.blocks = option_number("--mib", optarg, 1, 1 << 16) * BLOCKS_A_MIB;
		else if (option == 'e')
			flusher.seed = option_number("--seed", optarg, 0, UINT64_MAX);
		else if (option == 'k')
			flusher.skipped_bytes = option_number("--skip", optarg, 0, 1 << 20) << 20;
		else if (option == 'b')
			flusher.batch = (uint32_t)option_number("--batch", optarg, 1, MAX_BATCH);
		else if (option == 'f')
			from = (uint32_t)option_number("--from", optarg, 1, UINT32_MAX / 2);
		else if (option == 'u')
			flusher.fua = true;
		else if (option == 's')
			seconds = (unsigned int)option_number("--seconds", optarg, 1, 86400 * 7);
		else if (option == 'l')
			flushed = (uint32_t)option_number("--flushed", optarg, 0, UINT32_MAX / 2);
		else
			return usage();
	}
	if (optind + 2 != argc || !flusher.blocks)
		return usage();
	if (strcmp(argv[optind], "run") == 0)
		return command_run(&flusher, argv[optind + 1], from, seconds);
	if (strcmp(argv[optind], "check") == 0)
		return command_check(&flusher, argv[optind + 1], flushed);
	return usage();
}
