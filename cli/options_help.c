/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands, their options, and help about them.
 */
#include <ctype.h>

#include "base/bytes.h"
#include "cli/options_internal.h"

#define ACCEPTS(option) (UINT64_C(1) << OPTION_##option)

#define ACCEPTS_MOVE                                                                               \
	(ACCEPTS(CHECK) | ACCEPTS(BANDWIDTH) | ACCEPTS(DOWNTIME) | ACCEPTS(TIMEOUT) |              \
	 ACCEPTS(LATE) | ACCEPTS(CONNECTIONS) | ACCEPTS(COMPRESSION) | ACCEPTS(NO_THROTTLE))

#define ACCEPTS_VLAN                                                                               \
	(ACCEPTS(NIC) | ACCEPTS(UNTAGGED) | ACCEPTS(ACCESS) | ACCEPTS(TRUNK) | ACCEPTS(NATIVE) |   \
	 ACCEPTS(ISOLATED) | ACCEPTS(COMMUNITY) | ACCEPTS(PROMISCUOUS) | ACCEPTS(DEFAULT))

const struct option_row option_table[OPTION_COUNT] = {
	[OPTION_FORCE] = {"force", NULL,
			  "at once: the guest is not asked, its unwritten data is lost"},
	[OPTION_ALL] = {"all", NULL, "every VM that is defined, instead of NAME"},
	[OPTION_TIMEOUT] = {"timeout", "SECONDS", "how long to wait, 1 to 3600 (default 30)"},
	[OPTION_LINGER] = {"linger", "SECONDS",
			   "after piped input: how long the guest must be quiet (default 1)"},
	[OPTION_CHECK] = {"check", NULL, "move nothing: report what would stop or harm the move"},
	[OPTION_BANDWIDTH] = {"bandwidth", "RATE", "at most so many bytes a second: 100M"},
	[OPTION_DOWNTIME] = {"downtime", "TIME",
			     "stop the VM when the rest takes no longer (default 300ms)"},
	[OPTION_LATE] = {"late", "cancel|force",
			 "after --timeout: stay here (default), or stop the VM and move it"},
	[OPTION_CONNECTIONS] = {"connections", "N", "for memory, 1 to 8 (default 2)"},
	[OPTION_COMPRESSION] = {"compression", "METHOD", "none, lz4 (default) or zstd"},
	[OPTION_NO_THROTTLE] = {"no-throttle", NULL,
				"do not slow down a guest that writes faster than the wire"},
	[OPTION_CANCEL] = {"cancel", NULL, "end the move that is under way; the VM runs on here"},
	[OPTION_RESOLVE] = {"resolve", NULL,
			    "say where the VM runs, after a move whose end is not known"},
	[OPTION_KEEP] = {"keep", NULL, "do not remove FILE when the VM runs"},
	[OPTION_LISTEN] = {"listen", "ADDR:PORT", "default: every address, port 49200"},
	[OPTION_MAX] = {"max", "N",
			"connections at once that have not shown who they are (default 8)"},
	[OPTION_FORMAT] = {"format", "FORMAT",
			   "dynamic, fixed, flex; convert: raw too (default: by name)"},
	[OPTION_FROM] = {"from", "FORMAT", "SOURCE's: raw, vhd, iso or iscsi (default: by name)"},
	[OPTION_BLOCK_SIZE] = {"block-size", "SIZE", "of a dynamic image's blocks (default 2M)"},
	[OPTION_REPAIR] = {"repair", NULL, "mend what can be mended"},
	[OPTION_SHRINK] = {"shrink", NULL, "it may get smaller: what is cut off is lost"},
	[OPTION_NIC] = {"nic", "N", "which of the VM's NICs, from 0 on (default 0)"},
	[OPTION_UNTAGGED] = {"untagged", NULL, "frames without a VLAN only"},
	[OPTION_ACCESS] = {"access", "VLAN", "one VLAN, of which the guest knows nothing"},
	[OPTION_TRUNK] = {"trunk", "LIST", "the guest tags, with these VLANs: 10,20-30"},
	[OPTION_NATIVE] = {"native", "VLAN",
			   "with --trunk: of frames without a tag (default 0: none)"},
	[OPTION_ISOLATED] = {"isolated", "P,S",
			     "private VLAN: reaches promiscuous ports of primary P alone"},
	[OPTION_COMMUNITY] = {"community", "P,S",
			      "private VLAN: reaches those of S, and promiscuous ports"},
	[OPTION_PROMISCUOUS] = {"promiscuous", "P,LIST",
				"private VLAN: reaches all of P and these secondaries"},
	[OPTION_LUN] = {"lun", "[C:]LUN", "where the guest finds it (default 0:, the first free)"},
	[OPTION_DVD] = {"dvd", NULL, "a DVD drive; without FILE it is empty"},
	[OPTION_READ_ONLY] = {"read-only", NULL, "the guest may not write to it"},
	[OPTION_CACHE] = {"cache", "MODE", "none (default), or writeback: the host's page cache"},
	[OPTION_PASSTHROUGH] = {"passthrough", NULL,
				"FILE is a SCSI device: the guest's commands go to it"},
	[OPTION_INITIATOR] = {"initiator", "IQN", "who logs in to URL (default: the host's name)"},
	[OPTION_SECRET] = {"secret", "FILE", "holds the CHAP secret for URL"},
	[OPTION_DEFAULT] = {"default", NULL, "no mode: every VLAN, as the guest tags"},
};

const struct command_row command_table[COMMAND_COUNT] = {
	[COMMAND_CREATE] = {"create",
			    {"FILE"},
			    1,
			    0,
			    "FILE",
			    "define a VM from its YAML file",
			    "Checks FILE and stores a copy of it. Nothing is started. "
			    "docs/vm-yaml.md lists the keys.\n"},
	[COMMAND_DELETE] = {"delete",
			    {"NAME"},
			    1,
			    0,
			    "NAME",
			    "remove a VM's definition",
			    "The VM must not run. Its kernel, initrd and console files stay.\n"},
	[COMMAND_START] = {"start",
			   {"NAME"},
			   1,
			   ACCEPTS(ALL) | ACCEPTS(TIMEOUT),
			   "NAME|--all [--timeout SECONDS]",
			   "start a VM",
			   "Starts the VM's vmwp in the background and waits until the guest runs. "
			   "When vmwp ends\ninstead, its message and exit code are passed on.\n"},
	[COMMAND_STOP] =
		{"stop",
		 {"NAME"},
		 1,
		 ACCEPTS(FORCE) | ACCEPTS(ALL) | ACCEPTS(TIMEOUT),
		 "NAME|--all [--force] [--timeout SECONDS]",
		 "stop a VM",
		 "Asks the guest to shut down; when it has not after the time-out, stops it "
		 "by force and says so.\n"},
	[COMMAND_REBOOT] = {"reboot",
			    {"NAME"},
			    1,
			    ACCEPTS(TIMEOUT),
			    "NAME [--timeout SECONDS]",
			    "reset a VM",
			    "As the reset button would: the guest is not asked.\n"},
	[COMMAND_LIST] = {"list", {NULL}, 0, 0, "", "list all VMs", ""},
	[COMMAND_SHOW] = {"show",
			  {"NAME"},
			  1,
			  0,
			  "NAME",
			  "show one VM, its NICs, counters and last move",
			  "Also where a VM that ran here has moved to.\n"},
	[COMMAND_CONSOLE] = {"console",
			     {"NAME"},
			     1,
			     ACCEPTS(LINGER),
			     "NAME [--linger SECONDS]",
			     "connect to a VM's serial console",
			     "Ctrl-] leaves. When standard input is no terminal, what it holds is "
			     "sent, and lunar leaves\nonce the input has ended and the guest has "
			     "been quiet.\n"},
	[COMMAND_MIGRATE] =
		{"migrate",
		 {"NAME", "HOST[:PORT]"},
		 2,
		 ACCEPTS_MOVE | ACCEPTS(CANCEL) | ACCEPTS(RESOLVE),
		 "NAME HOST[:PORT] [--check] [OPTIONS]\n"
		 "migrate --cancel NAME\n"
		 "migrate --resolve NAME here|there",
		 "move a running VM to another host",
		 "HOST runs lunar receive, and its certificate names it as it is given "
		 "here. The guest runs on\nduring the move but for its last part; its "
		 "connections and its iSCSI sessions live on.\nCtrl-C cancels the move: "
		 "the VM then runs on here.\n"},
	[COMMAND_SAVE] = {"save",
			  {"NAME", "FILE"},
			  2,
			  0,
			  "NAME FILE",
			  "stop a running VM and save its state to a file",
			  "FILE must not exist. lunar restore continues the VM, here or on another "
			  "host.\n"},
	[COMMAND_RESTORE] =
		{"restore",
		 {"FILE"},
		 1,
		 ACCEPTS(KEEP) | ACCEPTS(TIMEOUT),
		 "FILE [--keep] [--timeout SECONDS]",
		 "continue a VM that was saved",
		 "FILE is removed when the VM runs: continued twice from it, the VM would "
		 "be two.\n"},
	[COMMAND_RECEIVE] =
		{"receive",
		 {NULL},
		 0,
		 ACCEPTS(LISTEN) | ACCEPTS(MAX),
		 "[--listen ADDR:PORT] [--max N]",
		 "accept VMs that are moved here",
		 "Runs in the foreground; VMs that came live on when it ends. Who connects "
		 "has to show a\ncertificate of the same CA (lunar tls).\n"},
	[COMMAND_TLS] =
		{"tls",
		 {"lab|install|show"},
		 SIZE_MAX,
		 0,
		 "lab DIR HOST[,NAME...] ...\ntls install DIR\ntls show [DIR]",
		 "make, install and show the certificates for moves",
		 "lab      makes a CA and, for each HOST, a folder DIR/HOST to carry there; "
		 "further names and\n         addresses of a host follow its first after "
		 "commas. Keep DIR/ca.key off the hosts.\ninstall  checks DIR/ca.crt, host.crt "
		 "and host.key, and copies them to /etc/lunar/tls.\nshow     tells what DIR, or "
		 "/etc/lunar/tls, holds and whether a move would work.\n"},
	[COMMAND_VLAN] =
		{"vlan",
		 {"NAME|show"},
		 2,
		 ACCEPTS_VLAN,
		 "NAME [--nic N] --access VLAN | --trunk LIST [--native VLAN] | --untagged |\n"
		 "vlan NAME [--nic N] --isolated P,S | --community P,S | --promiscuous P,LIST |\n"
		 "vlan NAME [--nic N] --default\n"
		 "vlan show [NAME]",
		 "change or show the VLAN mode of a VM's NIC",
		 "A running VM changes at once, and its definition with it. docs/networking.md "
		 "has the rules.\n"},
	[COMMAND_DISK] =
		{"disk",
		 {"VERB", "NAME"},
		 SIZE_MAX,
		 ACCEPTS(FORMAT) | ACCEPTS(TIMEOUT) | ACCEPTS(LUN) | ACCEPTS(DVD) |
			 ACCEPTS(READ_ONLY) | ACCEPTS(CACHE) | ACCEPTS(PASSTHROUGH) |
			 ACCEPTS(INITIATOR) | ACCEPTS(SECRET),
		 "list NAME\n"
		 "disk add NAME FILE|URL [--lun [C:]LUN] [OPTIONS]\n"
		 "disk remove NAME DISK\n"
		 "disk resize NAME DISK [SIZE]\n"
		 "disk insert NAME DISK FILE\n"
		 "disk eject NAME DISK",
		 "show and change a VM's disks, also while it runs",
		 "DISK is CONTROLLER:LUN as list shows it, or a LUN of controller 0. What is "
		 "changed "
		 "while the VM\nruns is changed in its definition too, and stays after a "
		 "restart.\n\n"
		 "remove    waits until the guest's commands have ended (--timeout). Unmount "
		 "first.\n"
		 "resize    makes an image larger; without SIZE it looks how large it is now.\n"
		 "insert    puts another ISO image into a DVD drive; eject takes it out.\n"},
	[COMMAND_VHD] =
		{"vhd",
		 {"VERB", "FILE"},
		 SIZE_MAX,
		 ACCEPTS(FORMAT) | ACCEPTS(FROM) | ACCEPTS(BLOCK_SIZE) | ACCEPTS(REPAIR) |
			 ACCEPTS(SHRINK),
		 "create FILE SIZE [--format FORMAT] [--block-size SIZE]\n"
		 "vhd info FILE\n"
		 "vhd check FILE [--repair]\n"
		 "vhd convert SOURCE FILE [--format FORMAT] [--from FORMAT]\n"
		 "vhd resize FILE [+]SIZE [--shrink]\n"
		 "vhd snapshot PARENT FILE\n"
		 "vhd merge FILE",
		 "make, check, convert, resize, snapshot and merge VHD images",
		 "create    makes an empty image: dynamic (grows as it is written, the default), "
		 "fixed, or flex\n          (fixed for the guest, sparse on the file system).\n"
		 "info      tells what FILE is, and its parents; also while a VM runs on it.\n"
		 "check     looks for damage; --repair mends what can be mended.\n"
		 "convert   copies SOURCE, with its parents, to a new image; holes stay holes.\n"
		 "resize    another size; the guest sees it at its next start.\n"
		 "snapshot  makes FILE a child of PARENT, which must not change any more.\n"
		 "merge     writes what FILE holds into its parent, and removes FILE. It can be "
		 "done "
		 "again after\n          it was cut off.\n"},
	[COMMAND_VERSION] = {"version", {NULL}, 0, 0, "", "print the version", ""},
};

/* The lines of a usage text, each after the program's name. */
static void print_usage(FILE *out, const struct command_row *command)
{
	const char *lead = "usage:", *line = command->usage;

	fprintf(out, "%s lunar %s%s", lead, command->name, *line ? " " : "");
	for (; *line; line++) {
		if (*line != '\n')
			fputc(*line, out);
		else
			fprintf(out, " [--json]\n%6s lunar ", "");
	}
	fprintf(out, " [--json]\n");
}

static void print_option(FILE *out, const struct command_row *command, enum option_id id)
{
	const struct option_row *option = &option_table[id];
	const char *help = option->help, *value = option->value;
	int printed;

	if (id == OPTION_FORMAT && command == &command_table[COMMAND_DISK])
		help = "auto (by name, default), raw, vhd, iso or iscsi";
	if (id == OPTION_TIMEOUT && command == &command_table[COMMAND_MIGRATE]) {
		value = "TIME";
		help = "what then: see --late (default 30m)";
	}
	printed = fprintf(out, "  --%s%s%s", option->name, value ? " " : "", value ? value : "");
	fprintf(out, "%*s%s\n", printed < 24 ? 24 - printed : 1, "", help);
}

static void print_command_help(FILE *out, const struct command_row *command)
{
	print_usage(out, command);
	fprintf(out, "%c%s.\n", toupper((unsigned char)command->summary[0]), command->summary + 1);
	if (*command->text)
		fprintf(out, "\n%s", command->text);
	fprintf(out, "\nOptions:\n");
	for (unsigned int id = 0; id < OPTION_COUNT; id++)
		if (command->accepts & UINT64_C(1) << id)
			print_option(out, command, (enum option_id)id);
	if (command == &command_table[COMMAND_MIGRATE] || command == &command_table[COMMAND_SAVE])
		fprintf(out,
			"  --json                print one JSON object a line: progress, and the "
			"end with its figures\n");
	else
		fprintf(out, "  --json                print one JSON document; errors too\n");
}

void options_print_help(FILE *out, const struct options *options)
{
	if (options->has_command) {
		print_command_help(out, &command_table[options->command]);
		return;
	}
	fprintf(out,
		"usage: lunar COMMAND [ARGUMENTS] [OPTIONS]\nRuns virtual machines on KVM that "
		"speak "
		"Hyper-V's guest interface.\n\nCommands:\n");
	for (size_t i = 0; i < ARRAY_LENGTH(command_table); i++) {
		const struct command_row *command = &command_table[i];
		char words[48];

		snprintf(words, sizeof(words), "%s%s%s%s%s", command->name,
			 command->arguments[0] ? " " : "",
			 command->arguments[0] ? command->arguments[0] : "",
			 command->arguments[1] ? " " : "",
			 command->arguments[1] ? command->arguments[1] : "");
		fprintf(out, "  %-25s %s\n", words, command->summary);
	}
	fprintf(out, "\nEvery command takes --json and --help. lunar(1) lists the exit codes.\n"
		     "\nEnvironment:\n"
		     "  LUNAR_STATE_DIR  definitions of VMs (default /var/lib/lunar)\n"
		     "  LUNAR_RUN_DIR    sockets and logs (default /run/lunar)\n"
		     "  LUNAR_TLS_DIR    certificates for moves (default /etc/lunar/tls)\n"
		     "  LUNAR_VMWP       the vmwp program (default: beside lunar, then PATH)\n");
}
