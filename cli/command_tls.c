/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar tls: certificates for moves, made for a lab, installed, shown.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "hypervisor/migration/tls.h"
#include "hypervisor/tls_files.h"

#define LAB_DAYS   3650
#define LAB_NAME   "Lunar lab CA"
#define HOST_BYTES 2048

static enum exit_code problem_of(const struct vm_error *problem, int rc, struct cli_error *error)
{
	enum exit_code code = problem->code;

	if (rc == -EEXIST)
		code = EXIT_EXISTS;
	return cli_error_set(error, code ? code : EXIT_INTERNAL, "%s", problem->message);
}

/* ---- lab ---- */

/* "host1,host1.lab,10.0.0.1": splits text in place; the first name becomes a folder's. */
static enum exit_code split_names(char *text, const char *names[TLS_FILES_MAX_NAMES], size_t *count,
				  struct cli_error *error)
{
	char *rest = text, *name;

	*count = 0;
	while ((name = strsep(&rest, ",")) != NULL) {
		size_t good = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					   "0123456789-_.:");

		if (*count == TLS_FILES_MAX_NAMES)
			return cli_error_set(error, EXIT_USAGE, "%.40s: more than %d names",
					     names[0], TLS_FILES_MAX_NAMES);
		if (*name == '\0' || *name == '.' || name[good] || good >= TLS_FILES_NAME_BYTES)
			return cli_error_set(error, EXIT_USAGE,
					     "tls lab: '%.80s' is no name or address of a host",
					     name);
		names[(*count)++] = name;
	}
	return EXIT_OK;
}

static enum exit_code make_lab_host(const char *lab, const char *host, json_t *hosts,
				    struct cli_error *error)
{
	const char *names[TLS_FILES_MAX_NAMES] = {NULL};
	struct vm_error problem = {.code = EXIT_INTERNAL};
	char text[HOST_BYTES], folder[PATH_MAX];
	enum exit_code code;
	size_t count;
	int rc;

	if ((size_t)snprintf(text, sizeof(text), "%s", host) >= sizeof(text))
		return cli_error_set(error, EXIT_USAGE, "%.40s: too long", host);
	code = split_names(text, names, &count, error);
	if (code != EXIT_OK)
		return code;
	if ((size_t)snprintf(folder, sizeof(folder), "%s/%s", lab, names[0]) >= sizeof(folder))
		return cli_error_set(error, EXIT_USAGE, "the path of DIR is too long");
	rc = tls_files_make_host(lab, folder, names, count, LAB_DAYS, &problem);
	if (rc)
		return problem_of(&problem, rc, error);
	json_array_append_new(hosts, json_pack("{ss ss}", "host", names[0], "directory", folder));
	return EXIT_OK;
}

/* Whether the lab has a CA already, so that more hosts are added to it. */
static bool has_ca(const char *lab)
{
	char path[PATH_MAX];

	return (size_t)snprintf(path, sizeof(path), "%s/%s", lab, TLS_FILES_CA_KEY) <
		       sizeof(path) &&
	       access(path, F_OK) == 0;
}

static void print_lab(FILE *out, const char *lab, const json_t *hosts)
{
	fprintf(out, "%s/%s signs for the hosts: it stays here, and safe.\nFor each host:\n", lab,
		TLS_FILES_CA_KEY);
	for (size_t i = 0; i < json_array_size(hosts); i++) {
		const json_t *host = json_array_get(hosts, i);
		const char *name = output_get_text(host, "host");

		fprintf(out,
			"  scp -rp %s root@%s:lunar-tls && ssh root@%s lunar tls install "
			"lunar-tls\n",
			output_get_text(host, "directory"), name, name);
	}
}

static enum exit_code lab(const struct command_context *context, struct cli_error *error)
{
	const struct options *options = context->options;
	const char *folder = options->arguments[1];
	struct vm_error problem = {.code = EXIT_INTERNAL};
	enum exit_code code = EXIT_OK;
	json_t *hosts = json_array();
	int rc = 0;

	if (!has_ca(folder))
		rc = tls_files_make_ca(folder, LAB_NAME, LAB_DAYS, &problem);
	if (rc)
		code = problem_of(&problem, rc, error);
	for (size_t i = 2; code == EXIT_OK && i < options->argument_count; i++)
		code = make_lab_host(folder, options->arguments[i], hosts, error);
	if (code != EXIT_OK) {
		json_decref(hosts);
		return code;
	}
	if (options->json)
		return command_print_json(
			context, json_pack("{ss so}", "directory", folder, "hosts", hosts), error);
	print_lab(context->out, folder, hosts);
	json_decref(hosts);
	return EXIT_OK;
}

/* ---- show ---- */

static json_t *certificate_json(const struct tls_files_certificate *certificate)
{
	json_t *names;

	if (!certificate->present)
		return json_null();
	names = json_array();
	for (uint32_t i = 0; i < certificate->name_count; i++)
		json_array_append_new(names, json_string(certificate->names[i]));
	return json_pack("{ss ss* ss* ss so sI sI}", "file", certificate->file, "subject",
			 certificate->subject, "issuer", certificate->issuer, "sha256",
			 certificate->fingerprint, "names", names, "not_before",
			 (json_int_t)certificate->not_before, "not_after",
			 (json_int_t)certificate->not_after);
}

static json_t *crl_json(const struct tls_files_crl *crl)
{
	if (!crl->present)
		return json_null();
	return json_pack("{ss ss* sI sI so}", "file", crl->file, "issuer", crl->issuer, "revoked",
			 (json_int_t)crl->revoked, "this_update", (json_int_t)crl->this_update,
			 "next_update",
			 crl->next_update < 0 ? json_null() : json_integer(crl->next_update));
}

static json_t *report_json(const struct tls_files_report *report)
{
	json_t *problem = json_null();

	if (!report->usable)
		problem = json_pack("{si ss ss*}", "code", (int)report->error.code, "phrase",
				    exit_code_phrase(report->error.code), "message",
				    report->error.message);
	return json_pack("{ss sb so so so so}", "directory", report->directory, "usable",
			 (int)report->usable, "ca", certificate_json(&report->ca), "host",
			 certificate_json(&report->host), "crl", crl_json(&report->crl), "error",
			 problem);
}

static void print_certificate(FILE *out, const char *label,
			      const struct tls_files_certificate *certificate)
{
	time_t not_after = (time_t)certificate->not_after;
	char text[TLS_FILES_NAME_BYTES], until[32] = "-";
	struct tm parts;

	if (!certificate->present) {
		fprintf(out, "%-9s -\n", label);
		return;
	}
	output_copy_printable(text, sizeof(text), certificate->subject);
	fprintf(out, "%-9s %s\n", label, text);
	for (uint32_t i = 0; i < certificate->name_count; i++) {
		output_copy_printable(text, sizeof(text), certificate->names[i]);
		fprintf(out, "%-9s %s\n", i ? "" : "  names", text);
	}
	output_copy_printable(text, sizeof(text), certificate->issuer);
	fprintf(out, "%-9s %s\n", "  issuer", text);
	if (gmtime_r(&not_after, &parts))
		strftime(until, sizeof(until), "%Y-%m-%d %H:%M:%S UTC", &parts);
	fprintf(out, "%-9s %s\n%-9s %s\n", "  until", until, "  sha256", certificate->fingerprint);
}

/* What was revoked. Nothing where there is no such list. */
static void print_crl(FILE *out, const struct tls_files_crl *crl)
{
	char text[TLS_FILES_NAME_BYTES], until[32] = "-";
	time_t next = (time_t)crl->next_update;
	struct tm parts;

	if (!crl->present)
		return;
	fprintf(out, "%-9s %s: %u certificate%s\n", "revoked", crl->file, crl->revoked,
		crl->revoked == 1 ? "" : "s");
	output_copy_printable(text, sizeof(text), crl->issuer);
	fprintf(out, "%-9s %s\n", "  issuer", text);
	if (crl->next_update >= 0 && gmtime_r(&next, &parts))
		strftime(until, sizeof(until), "%Y-%m-%d %H:%M:%S UTC", &parts);
	fprintf(out, "%-9s %s\n", "  until", until);
}

static enum exit_code show(const struct command_context *context, const char *folder,
			   struct cli_error *error)
{
	struct tls_files_report *report = calloc(1, sizeof(*report));
	enum exit_code code = EXIT_OK, printed = EXIT_OK;

	if (!report)
		return cli_error_set(error, EXIT_INTERNAL, "out of memory");
	if (tls_files_inspect(folder, report) || !report->usable)
		code = cli_error_set(error,
				     report->error.code ? report->error.code : EXIT_NOT_TRUSTED,
				     "%s", report->error.message);
	if (context->options->json) {
		printed = command_print_json(context, report_json(report), error);
	} else {
		fprintf(context->out, "%-9s %s\n", "folder", report->directory);
		print_certificate(context->out, "host", &report->host);
		print_certificate(context->out, "ca", &report->ca);
		print_crl(context->out, &report->crl);
		if (code == EXIT_OK)
			fprintf(context->out, "Good for moves between hosts of this CA.\n");
	}
	free(report);
	return code != EXIT_OK ? code : printed;
}

/* ---- install ---- */

static enum exit_code install(const struct command_context *context, struct cli_error *error)
{
	struct vm_error problem = {.code = EXIT_INTERNAL};
	const char *to = migration_tls_directory();
	int rc = tls_files_install(context->options->arguments[1], to, true, &problem);

	if (rc)
		return problem_of(&problem, rc, error);
	if (context->options->json)
		return command_print_json(context, json_pack("{ss}", "directory", to), error);
	fprintf(context->out, "installed in %s; lunar receive and new moves use it\n", to);
	return EXIT_OK;
}

enum exit_code command_tls(const struct command_context *context, struct cli_error *error)
{
	const struct options *options = context->options;

	if (strcmp(options->argument, "lab") == 0)
		return lab(context, error);
	if (strcmp(options->argument, "install") == 0)
		return install(context, error);
	return show(context, options->argument_count > 1 ? options->arguments[1] : NULL, error);
}
