/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads the command line: first which command and options there are, then, by the tables, whether
 * they go together, then their values, whose meaning may depend on the command.
 */
#include "cli/options.h"

#include <getopt.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/option_values.h"
#include "cli/options_internal.h"
#include "hypervisor/api_server.h"
#include "hypervisor/vm_config.h"
#include "storvsp/vhd_format.h"

enum {
	LONG_OPTION = 256, /* and option_id more */
	LONG_OPTION_JSON = LONG_OPTION + OPTION_COUNT,
	LONG_OPTION_VERSION,
};

/* What was given of the options that only some commands accept: the value, "" where it takes none,
 * NULL where it was not given. */
struct given {
	const char *values[OPTION_COUNT];
};

static void fill_long_options(struct option long_options[OPTION_COUNT + 4])
{
	size_t i;

	for (i = 0; i < OPTION_COUNT; i++)
		long_options[i] =
			(struct option){option_table[i].name,
					option_table[i].value ? required_argument : no_argument,
					NULL, LONG_OPTION + (int)i};
	long_options[i++] = (struct option){"json", no_argument, NULL, LONG_OPTION_JSON};
	long_options[i++] = (struct option){"version", no_argument, NULL, LONG_OPTION_VERSION};
	long_options[i++] = (struct option){"help", no_argument, NULL, 'h'};
	long_options[i] = (struct option){NULL, 0, NULL, 0};
}

/* The options, wherever they stand. */
static enum exit_code find_options(int argc, char **argv, struct options *options,
				   struct given *given, struct cli_error *error)
{
	struct option long_options[OPTION_COUNT + 4];
	int option;

	fill_long_options(long_options);
	opterr = 0;
	optind = 0; /* 0: glibc starts afresh */
	while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
		switch (option) {
		case LONG_OPTION_JSON:
			options->json = true;
			break;
		case LONG_OPTION_VERSION:
			options->has_command = true;
			options->command = COMMAND_VERSION;
			break;
		case 'h':
			options->help = true;
			break;
		case ':':
			return cli_error_set(error, EXIT_USAGE,
					     "%.40s needs a value; see lunar --help",
					     argv[optind - 1]);
		case '?':
			return cli_error_set(error, EXIT_USAGE,
					     "unknown option %.40s; see lunar --help",
					     argv[optind - 1]);
		default:
			given->values[option - LONG_OPTION] = optarg ? optarg : "";
			break;
		}
	}
	return EXIT_OK;
}

static bool is_given(const struct given *given, enum option_id id)
{
	return given->values[id] != NULL;
}

static enum exit_code check_accepted(const struct options *options, const struct given *given,
				     struct cli_error *error)
{
	const struct command_row *command = &command_table[options->command];

	for (unsigned int id = 0; id < OPTION_COUNT; id++)
		if (given->values[id] && !(command->accepts & UINT64_C(1) << id))
			return cli_error_set(error, EXIT_USAGE,
					     "%s takes no --%s; see lunar %s --help", command->name,
					     option_table[id].name, command->name);
	return EXIT_OK;
}

static enum exit_code check_arguments(const struct options *options, size_t wanted,
				      struct cli_error *error)
{
	const struct command_row *command = &command_table[options->command];
	size_t count = options->argument_count;

	if (count > wanted)
		return cli_error_set(error, EXIT_USAGE, "%s: '%.40s' is one argument too many",
				     command->name, options->arguments[wanted]);
	if (count == wanted)
		return EXIT_OK;
	if (count == 0)
		return cli_error_set(error, EXIT_USAGE,
				     "%s: which one? give its %s; see lunar %s --help",
				     command->name, command->arguments[0], command->name);
	return cli_error_set(error, EXIT_USAGE, "%s: %s is missing; see lunar %s --help",
			     command->name, command->arguments[count], command->name);
}

static enum exit_code check_tls(const struct options *options, struct cli_error *error)
{
	static const struct {
		const char *word;
		size_t least, most;
	} words[] = {{"lab", 3, SIZE_MAX}, {"install", 2, 2}, {"show", 1, 2}};
	size_t count = options->argument_count;

	for (size_t i = 0; options->argument && i < ARRAY_LENGTH(words); i++) {
		if (strcmp(options->argument, words[i].word) != 0)
			continue;
		if (count < words[i].least)
			return cli_error_set(error, EXIT_USAGE,
					     "tls %s: %s is missing; see lunar tls --help",
					     words[i].word, count == 1 ? "DIR" : "HOST");
		if (count > words[i].most)
			return cli_error_set(error, EXIT_USAGE,
					     "tls: '%.40s' is one argument too many",
					     options->arguments[words[i].most]);
		return EXIT_OK;
	}
	return cli_error_set(error, EXIT_USAGE, "tls: lab, install or show? see lunar tls --help");
}

/* A verb of vhd: how many arguments it has, and which options go with it. */
struct vhd_verb {
	const char *word;
	size_t arguments; /* the word included */
	const char *missing;
	uint64_t accepts;
};

static const struct vhd_verb vhd_verbs[] = {
	{"create", 3, "FILE or SIZE",
	 UINT64_C(1) << OPTION_FORMAT | UINT64_C(1) << OPTION_BLOCK_SIZE},
	{"info", 2, "FILE", 0},
	{"check", 2, "FILE", UINT64_C(1) << OPTION_REPAIR},
	{"convert", 3, "SOURCE or FILE",
	 UINT64_C(1) << OPTION_FORMAT | UINT64_C(1) << OPTION_FROM |
		 UINT64_C(1) << OPTION_BLOCK_SIZE},
	{"resize", 3, "FILE or SIZE", UINT64_C(1) << OPTION_SHRINK},
	{"snapshot", 3, "PARENT or FILE", UINT64_C(1) << OPTION_BLOCK_SIZE},
	{"merge", 2, "FILE", 0},
};

static enum exit_code check_vhd_verb(const struct options *options, const struct given *given,
				     const struct vhd_verb *verb, struct cli_error *error)
{
	for (unsigned int id = 0; id < OPTION_COUNT; id++)
		if (given->values[id] && !(verb->accepts & UINT64_C(1) << id))
			return cli_error_set(error, EXIT_USAGE,
					     "vhd %s takes no --%s; see lunar vhd --help",
					     verb->word, option_table[id].name);
	if (options->argument_count < verb->arguments)
		return cli_error_set(error, EXIT_USAGE,
				     "vhd %s: %s is missing; see lunar vhd --help", verb->word,
				     verb->missing);
	if (options->argument_count > verb->arguments)
		return cli_error_set(error, EXIT_USAGE, "vhd %s: '%.40s' is one argument too many",
				     verb->word, options->arguments[verb->arguments]);
	return EXIT_OK;
}

static enum exit_code check_vhd(const struct options *options, const struct given *given,
				struct cli_error *error)
{
	for (size_t i = 0; options->argument && i < ARRAY_LENGTH(vhd_verbs); i++)
		if (strcmp(options->argument, vhd_verbs[i].word) == 0)
			return check_vhd_verb(options, given, &vhd_verbs[i], error);
	return cli_error_set(error, EXIT_USAGE,
			     "vhd: create, info, check, convert, resize, snapshot or merge? see "
			     "lunar vhd --help");
}

/* A verb of disk, in the order of enum disk_action: how many arguments it has. */
struct disk_verb {
	const char *word;
	size_t least, most; /* arguments, the word included */
	const char *missing;
};

static const struct disk_verb disk_verbs[] = {
	[DISK_LIST] = {"list", 2, 2, "NAME"},
	[DISK_ADD] = {"add", 2, 3, "NAME"},
	[DISK_REMOVE] = {"remove", 3, 3, "NAME or DISK"},
	[DISK_RESIZE] = {"resize", 3, 4, "NAME or DISK"},
	[DISK_INSERT] = {"insert", 4, 4, "NAME, DISK or FILE"},
	[DISK_EJECT] = {"eject", 3, 3, "NAME or DISK"},
};

static enum exit_code check_disk_verb(const struct options *options, const struct given *given,
				      const struct disk_verb *verb, struct cli_error *error)
{
	size_t count = options->argument_count;

	for (unsigned int id = 0; verb != &disk_verbs[DISK_ADD] && id < OPTION_COUNT; id++)
		if (given->values[id] && id != OPTION_TIMEOUT)
			return cli_error_set(error, EXIT_USAGE,
					     "disk %s takes no --%s; see lunar disk --help",
					     verb->word, option_table[id].name);
	if (count < verb->least)
		return cli_error_set(error, EXIT_USAGE,
				     "disk %s: %s is missing; see lunar disk --help", verb->word,
				     verb->missing);
	if (count > verb->most)
		return cli_error_set(error, EXIT_USAGE, "disk %s: '%.40s' is one argument too many",
				     verb->word, options->arguments[verb->most]);
	if (verb == &disk_verbs[DISK_ADD] && count == 2 && !is_given(given, OPTION_DVD))
		return cli_error_set(error, EXIT_USAGE,
				     "disk add: FILE or URL is missing; an empty drive is --dvd");
	return EXIT_OK;
}

static enum exit_code read_disk(struct options *options, const struct given *given,
				struct cli_error *error)
{
	options->disk.lun = given->values[OPTION_LUN];
	options->disk.format = given->values[OPTION_FORMAT];
	options->disk.cache = given->values[OPTION_CACHE];
	options->disk.initiator = given->values[OPTION_INITIATOR];
	options->disk.secret = given->values[OPTION_SECRET];
	options->disk.dvd = is_given(given, OPTION_DVD);
	options->disk.read_only = is_given(given, OPTION_READ_ONLY);
	options->disk.passthrough = is_given(given, OPTION_PASSTHROUGH);
	for (size_t i = 0; options->argument && i < ARRAY_LENGTH(disk_verbs); i++) {
		if (strcmp(options->argument, disk_verbs[i].word) != 0)
			continue;
		options->disk.action = (enum disk_action)i;
		return check_disk_verb(options, given, &disk_verbs[i], error);
	}
	return cli_error_set(error, EXIT_USAGE,
			     "disk: list, add, remove, resize, insert or eject? see lunar disk "
			     "--help");
}

/* migrate: what it is about, and whether the rest goes with that. */
static enum exit_code read_migrate(struct options *options, const struct given *given,
				   struct cli_error *error)
{
	bool cancel = is_given(given, OPTION_CANCEL), resolve = is_given(given, OPTION_RESOLVE);
	const char *word = options->argument_count > 1 ? options->arguments[1] : "";
	enum exit_code code;

	for (unsigned int id = 0; (cancel || resolve) && id < OPTION_COUNT; id++)
		if (given->values[id] && id != (cancel ? OPTION_CANCEL : OPTION_RESOLVE))
			return cli_error_set(
				error, EXIT_USAGE,
				"migrate --%s goes with no --%s; see lunar migrate --help",
				cancel ? "cancel" : "resolve", option_table[id].name);
	code = check_arguments(options, cancel ? 1 : 2, error);
	if (resolve &&
	    (code != EXIT_OK || (strcmp(word, "here") != 0 && strcmp(word, "there") != 0)))
		return cli_error_set(
			error, EXIT_USAGE,
			"migrate --resolve: give NAME, and here or there: where it runs");
	if (cancel)
		options->migrate_action = MIGRATE_CANCEL;
	if (resolve)
		options->migrate_action =
			strcmp(word, "here") == 0 ? MIGRATE_RESOLVE_HERE : MIGRATE_RESOLVE_THERE;
	if (code != EXIT_OK || cancel || resolve)
		return code;
	return option_read_host("migrate", word, false, options->move.host,
				sizeof(options->move.host), &options->move.port, error);
}

/* "P,S": the part before the first comma is copied to primary. Returns the rest, or NULL. */
static const char *split_private(const char *text, char *primary, size_t size)
{
	const char *comma = strchr(text, ',');

	if (!comma || (size_t)(comma - text) >= size)
		return NULL;
	memcpy(primary, text, (size_t)(comma - text));
	primary[comma - text] = '\0';
	return comma + 1;
}

/* The one mode that was given; its words are those of a definition. */
static enum exit_code read_vlan_mode(struct options *options, enum option_id mode,
				     const struct given *given, struct cli_error *error)
{
	const char *value = given->values[mode];
	struct vlan_words words = {.mode = option_table[mode].name};
	char message[VLAN_MESSAGE_BYTES], primary[16];
	const char *key;

	if (mode == OPTION_ACCESS)
		words.id = value;
	if (mode == OPTION_TRUNK) {
		words.allowed = value;
		words.native = given->values[OPTION_NATIVE];
	}
	if (mode == OPTION_ISOLATED || mode == OPTION_COMMUNITY || mode == OPTION_PROMISCUOUS) {
		words.primary = primary;
		words.secondary = split_private(value, primary, sizeof(primary));
		if (!words.secondary)
			return cli_error_set(error, EXIT_USAGE,
					     "vlan: --%s: '%.40s' is not a primary and its "
					     "secondary VLAN; give them as 100,101",
					     words.mode, value);
	}
	if (vlan_config_parse(&words, &options->vlan, &key, message))
		return cli_error_set(error, EXIT_USAGE, "vlan: --%s: %s", words.mode, message);
	options->has_vlan = true;
	return EXIT_OK;
}

static enum exit_code read_vlan(struct options *options, const struct given *given,
				struct cli_error *error)
{
	static const enum option_id modes[] = {
		OPTION_UNTAGGED,  OPTION_ACCESS,      OPTION_TRUNK,  OPTION_ISOLATED,
		OPTION_COMMUNITY, OPTION_PROMISCUOUS, OPTION_DEFAULT};
	bool shows = options->argument && strcmp(options->argument, "show") == 0;
	const char *first = NULL;
	enum exit_code code = EXIT_OK;

	if (!options->argument || options->argument_count > (shows ? 2u : 1u))
		return check_arguments(options, shows ? 2 : 1, error);
	for (size_t i = 0; code == EXIT_OK && i < ARRAY_LENGTH(modes); i++) {
		if (!is_given(given, modes[i]))
			continue;
		if (first)
			return cli_error_set(error, EXIT_USAGE,
					     "vlan: a NIC has one mode: --%s or --%s, not both",
					     first, option_table[modes[i]].name);
		first = option_table[modes[i]].name;
		code = read_vlan_mode(options, modes[i], given, error);
	}
	if (code != EXIT_OK)
		return code;
	if (is_given(given, OPTION_NATIVE) && !is_given(given, OPTION_TRUNK))
		return cli_error_set(error, EXIT_USAGE, "vlan: --native goes with --trunk only");
	if (shows ? first || is_given(given, OPTION_NIC) : !first && is_given(given, OPTION_NIC))
		return cli_error_set(error, EXIT_USAGE, "vlan: %s; see lunar vlan --help",
				     shows ? "show takes no mode and no --nic"
					   : "which mode? give --access, --trunk, ...");
	return EXIT_OK;
}

static enum exit_code check_command(struct options *options, const struct given *given,
				    struct cli_error *error)
{
	if (options->command == COMMAND_MIGRATE)
		return read_migrate(options, given, error);
	if (options->command == COMMAND_TLS)
		return check_tls(options, error);
	if (options->command == COMMAND_VHD)
		return check_vhd(options, given, error);
	if (options->command == COMMAND_DISK)
		return read_disk(options, given, error);
	if (options->command == COMMAND_VLAN)
		return read_vlan(options, given, error);
	if (options->all && options->argument)
		return cli_error_set(error, EXIT_USAGE, "give either a NAME or --all, not both");
	return check_arguments(
		options, options->all ? 0 : command_table[options->command].arguments_max, error);
}

static enum exit_code read_timeout(struct options *options, const char *text,
				   struct cli_error *error)
{
	enum exit_code code;
	uint32_t ms;

	if (options->command != COMMAND_MIGRATE)
		return option_read_number("--timeout", text, 1, OPTIONS_TIMEOUT_MAX_S,
					  " of seconds", &options->timeout_s, error);
	code = option_read_time("--timeout", text, 1000, API_MIGRATE_MAX_TIMEOUT_S * 1000, &ms,
				error);
	if (code == EXIT_OK)
		options->move.timeout_seconds = (ms + 999) / 1000;
	return code;
}

static enum exit_code read_vhd_value(struct options *options, enum option_id id, const char *text,
				     struct cli_error *error)
{
	static const char *const formats[] = {"raw", "dynamic", "fixed", "flex"};
	static const char *const sources[] = {"raw", "vhd", "iso", "iscsi"};
	unsigned int index = 0;
	uint64_t bytes = 0;
	enum exit_code code;

	switch (id) {
	case OPTION_FORMAT:
		code = option_read_word("--format", text, formats, ARRAY_LENGTH(formats), &index,
					error);
		options->vhd.format = (enum vhd_cli_format)(VHD_CLI_RAW + index);
		return code;
	case OPTION_FROM:
		code = option_read_word("--from", text, sources, ARRAY_LENGTH(sources), &index,
					error);
		options->vhd.from = (enum disk_format)(DISK_FORMAT_RAW + index);
		return code;
	default:
		code = option_read_size("--block-size", text, VHD_MAX_BLOCK_BYTES, &bytes, error);
		if (code == EXIT_OK && (bytes < VHD_MIN_BLOCK_BYTES || (bytes & (bytes - 1))))
			code = cli_error_set(error, EXIT_USAGE,
					     "--block-size: '%.40s' is no power of two from 4K to "
					     "256M",
					     text);
		options->vhd.block_bytes = (uint32_t)bytes;
		return code;
	}
}

static enum exit_code read_value(struct options *options, enum option_id id, const char *text,
				 struct cli_error *error)
{
	static const char *const methods[] = {"none", "lz4", "zstd"};
	static const char *const lates[] = {"cancel", "force"};
	struct migration_options *move = &options->move;
	enum exit_code code = EXIT_OK;
	unsigned int index = 0;

	switch (id) {
	case OPTION_TIMEOUT:
		return read_timeout(options, text, error);
	case OPTION_LINGER:
		return option_read_number("--linger", text, 0, OPTIONS_TIMEOUT_MAX_S, " of seconds",
					  &options->linger_s, error);
	case OPTION_BANDWIDTH:
		return option_read_rate("--bandwidth", text, API_MIGRATE_MIN_BANDWIDTH,
					API_MIGRATE_MAX_BANDWIDTH, &move->bandwidth, error);
	case OPTION_DOWNTIME:
		return option_read_time("--downtime", text, 1, API_MIGRATE_MAX_DOWNTIME_MS,
					&move->downtime_ms, error);
	case OPTION_CONNECTIONS:
		return option_read_number("--connections", text, 1, MIGRATION_MAX_CONNECTIONS, "",
					  &move->connections, error);
	case OPTION_LATE:
		code = option_read_word("--late", text, lates, ARRAY_LENGTH(lates), &index, error);
		move->late = index ? MIGRATION_LATE_FORCE : MIGRATION_LATE_CANCEL;
		return code;
	case OPTION_COMPRESSION:
		code = option_read_word("--compression", text, methods, ARRAY_LENGTH(methods),
					&index, error);
		move->compression = (enum migration_compression)index;
		return code;
	case OPTION_LISTEN:
		return option_read_host("--listen", text, true, options->listen_host,
					sizeof(options->listen_host), &options->listen_port, error);
	case OPTION_NIC:
		return option_read_number("--nic", text, 0, VM_MAX_NICS - 1, "", &options->nic,
					  error);
	case OPTION_FORMAT:
		if (options->command == COMMAND_DISK)
			return EXIT_OK; /* a definition's word, checked as there */
		return read_vhd_value(options, id, text, error);
	case OPTION_FROM:
	case OPTION_BLOCK_SIZE:
		return read_vhd_value(options, id, text, error);
	case OPTION_MAX:
		return option_read_number("--max", text, 1, OPTIONS_RECEIVE_LIMIT, "",
					  &options->receive_max, error);
	default:
		return EXIT_OK;
	}
}

static enum exit_code read_values(struct options *options, const struct given *given,
				  struct cli_error *error)
{
	enum exit_code code = EXIT_OK;

	options->force = is_given(given, OPTION_FORCE);
	options->all = is_given(given, OPTION_ALL);
	options->keep = is_given(given, OPTION_KEEP);
	options->vhd.repair = is_given(given, OPTION_REPAIR);
	options->vhd.shrink = is_given(given, OPTION_SHRINK);
	options->move.check_only = is_given(given, OPTION_CHECK);
	options->move.no_throttle = is_given(given, OPTION_NO_THROTTLE);
	for (unsigned int id = 0; code == EXIT_OK && id < OPTION_COUNT; id++)
		if (given->values[id] && option_table[id].value)
			code = read_value(options, (enum option_id)id, given->values[id], error);
	return code;
}

static enum exit_code find_command(struct options *options, const char *word,
				   struct cli_error *error)
{
	for (size_t i = 0; i < ARRAY_LENGTH(command_table); i++)
		if (strcmp(word, command_table[i].name) == 0) {
			options->command = (enum command_id)i;
			options->has_command = true;
			return EXIT_OK;
		}
	return cli_error_set(error, EXIT_USAGE, "unknown command '%.40s'; see lunar --help", word);
}

enum exit_code options_parse(int argc, char **argv, struct options *options,
			     struct cli_error *error)
{
	struct given given = {0};
	enum exit_code code;

	*options = (struct options){.timeout_s = OPTIONS_TIMEOUT_DEFAULT_S,
				    .linger_s = 1,
				    .move.compression = MIGRATION_COMPRESSION_DEFAULT,
				    .listen_port = MIGRATION_PORT,
				    .receive_max = OPTIONS_RECEIVE_MAX};
	/* Seen first, so that an error before it is told in JSON too. */
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			options->json = true;
	code = find_options(argc, argv, options, &given, error);
	if (code != EXIT_OK || (options->has_command && optind == argc))
		return code;
	if (optind == argc) {
		if (options->help)
			return EXIT_OK;
		return cli_error_set(error, EXIT_USAGE, "which command? see lunar --help");
	}
	if (strcmp(argv[optind], "help") == 0 && optind + 1 == argc) {
		options->help = true;
		return EXIT_OK;
	}
	code = find_command(options, argv[optind], error);
	if (code != EXIT_OK)
		return code;
	options->arguments = (const char *const *)argv + optind + 1;
	options->argument_count = (size_t)(argc - optind - 1);
	options->argument = options->argument_count ? options->arguments[0] : NULL;
	code = check_accepted(options, &given, error);
	if (code == EXIT_OK)
		code = read_values(options, &given, error);
	if (code == EXIT_OK && !options->help)
		code = check_command(options, &given, error);
	return code;
}
