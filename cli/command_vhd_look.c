/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar vhd info and check.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "cli/command_vhd.h"
#include "cli/output.h"
#include "storvsp/vhd_check.h"

/* ---- info ---- */

static const char *type_of(const struct vhd_link *link)
{
	const struct vhd_footer *footer = &link->image.footer;

	return footer->type == VHD_FIXED && footer->creator_version == VHD_CREATOR_VERSION_FLEX
		       ? "flex"
		       : vhd_type_name(footer->type);
}

static void creator_of(const struct vhd_footer *footer, char text[32])
{
	char raw[sizeof(footer->creator) + 1] = "";
	char name[sizeof(raw)];

	memcpy(raw, footer->creator, sizeof(footer->creator));
	output_copy_printable(name, sizeof(name), raw);
	for (size_t i = 0; name[i]; i++)
		if ((unsigned char)name[i] >= 0x80)
			name[i] = '?';
	snprintf(text, 32, "%s %u.%u", name, footer->creator_version >> 16,
		 footer->creator_version & 0xffff);
}

static json_t *text_json(const char *text)
{
	json_t *json = json_string(text);

	return json ? json : json_string("(not UTF-8)");
}

static json_t *link_json(const struct vhd_link *link)
{
	const struct vhd_image *image = &link->image;
	struct vhd_file_facts facts = {0};
	char id[VHD_ID_TEXT_BYTES], creator[32];
	json_t *json;

	(void)link->file->ops->get_facts(link->file, &facts);
	vhd_cli_id(image->footer.id, id);
	creator_of(&image->footer, creator);
	json = json_pack("{so ss sI sI sI ss ss sI sI sb}", "path", text_json(link->path), "type",
			 type_of(link), "size_bytes", (json_int_t)image->footer.size_bytes,
			 "file_bytes", (json_int_t)image->file_bytes, "allocated_bytes",
			 (json_int_t)facts.allocated_bytes, "id", id, "creator", creator,
			 "created_unix", (json_int_t)image->footer.timestamp + VHD_EPOCH_UNIX,
			 "geometry_bytes", (json_int_t)vhd_geometry_bytes(&image->footer),
			 "footer_missing", (int)image->tail_missing);
	if (json && image->footer.type != VHD_FIXED) {
		json_object_set_new(json, "block_bytes", json_integer(image->header.block_bytes));
		json_object_set_new(json, "blocks", json_integer(image->blocks));
		json_object_set_new(json, "blocks_allocated", json_integer(image->allocated));
	}
	if (json && image->footer.type == VHD_DIFFERENCING) {
		vhd_cli_id(image->header.parent_id, id);
		json_object_set_new(json, "parent_name", text_json(image->header.parent_name));
		json_object_set_new(json, "parent_id", json_string(id));
	}
	return json;
}

static void print_line(FILE *out, const char *label, const char *text)
{
	char shown[PATH_MAX + 128];

	output_copy_printable(shown, sizeof(shown), text);
	fprintf(out, "%-10s %s\n", label, shown);
}

static void print_link(FILE *out, const json_t *link)
{
	char word[OUTPUT_WORD_BYTES], other[OUTPUT_WORD_BYTES], line[256], when[64] = "-";
	time_t created = (time_t)output_get_number(link, "created_unix");
	struct tm parts;

	output_size(word, output_get_number(link, "size_bytes"));
	snprintf(line, sizeof(line), "%s (%" PRIu64 " bytes)", word,
		 output_get_number(link, "size_bytes"));
	print_line(out, "type", output_get_text(link, "type"));
	print_line(out, "size", line);
	output_size(word, output_get_number(link, "file_bytes"));
	output_size(other, output_get_number(link, "allocated_bytes"));
	snprintf(line, sizeof(line), "%s, takes %s", word, other);
	print_line(out, "file", line);
	if (json_object_get(link, "blocks")) {
		output_size(word, output_get_number(link, "block_bytes"));
		snprintf(line, sizeof(line), "%" PRIu64 " of %" PRIu64 ", %s each",
			 output_get_number(link, "blocks_allocated"),
			 output_get_number(link, "blocks"), word);
		print_line(out, "blocks", line);
	}
	if (gmtime_r(&created, &parts))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &parts);
	snprintf(line, sizeof(line), "%s by '%s'", when, output_get_text(link, "creator"));
	print_line(out, "created", line);
	print_line(out, "id", output_get_text(link, "id"));
	if (json_is_true(json_object_get(link, "footer_missing")))
		print_line(out, "footer", "missing at the end; the copy at the start counts");
	if (json_object_get(link, "parent_name"))
		print_line(out, "parent", output_get_text(link, "parent_name"));
}

/* Without locks: a running VM's image can be looked at. What is wrong with the parents is told, and
 * the rest shown. */
enum exit_code command_vhd_info(const struct command_context *context, struct cli_error *error)
{
	struct vhd_chain_options options = {.file = {.unlocked = true}};
	const char *path = context->options->arguments[1];
	struct vhd_error problem = {.message = ""}, inner;
	struct vhd_chain chain;
	json_t *json, *links;
	enum exit_code code = EXIT_OK;
	int rc = vhd_chain_open(path, &options, &chain, &problem);

	options.alone = true;
	if (rc) {
		rc = vhd_chain_open(path, &options, &chain, &inner);
		if (rc)
			return vhd_cli_error(rc, inner.message, error);
	}
	json = link_json(&chain.links[0]);
	links = json_array();
	for (size_t i = 1; i < chain.count; i++)
		json_array_append_new(links, link_json(&chain.links[i]));
	json_object_set_new(json, "parents", links);
	json_object_set_new(json, "problem",
			    *problem.message ? text_json(problem.message) : json_null());
	vhd_chain_fini(&chain);
	if (context->options->json)
		return command_print_json(context, json, error);
	print_line(context->out, "path", output_get_text(json, "path"));
	print_link(context->out, json);
	for (size_t i = 0; i < json_array_size(links); i++) {
		print_line(context->out, "\non", output_get_text(json_array_get(links, i), "path"));
		print_link(context->out, json_array_get(links, i));
	}
	if (*problem.message)
		code = cli_error_set(error, EXIT_NO_DISK, "%s", problem.message);
	json_decref(json);
	return code;
}

/* ---- check ---- */

static const char *const severities[] = {
	[VHD_NOTE] = "note",
	[VHD_DAMAGE] = "damage",
	[VHD_LOSS] = "loss",
};

static json_t *findings_json(const struct vhd_findings *findings, bool repaired)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < findings->count; i++) {
		const struct vhd_finding *row = &findings->rows[i];

		json_array_append_new(rows, json_pack("{ss so sb sb}", "severity",
						      severities[row->severity], "text",
						      text_json(row->text), "repairable",
						      (int)row->repairable, "repaired",
						      (int)(repaired && row->repairable)));
	}
	return rows;
}

static void print_findings(FILE *out, const struct vhd_findings *findings, bool repaired)
{
	uint64_t all = 0;

	for (size_t i = 0; i < findings->count; i++) {
		const struct vhd_finding *row = &findings->rows[i];
		char text[sizeof(row->text)];

		output_copy_printable(text, sizeof(text), row->text);
		fprintf(out, "%-8s %s\n",
			repaired && row->repairable ? "repaired" : severities[row->severity], text);
	}
	for (size_t i = 0; i <= VHD_LOSS; i++)
		all += findings->worst[i];
	if (all > findings->count)
		fprintf(out, "... and %" PRIu64 " more\n", all - findings->count);
}

static enum exit_code verdict(const struct vhd_findings *findings, const char *path, bool repaired,
			      struct cli_error *error)
{
	uint64_t bad = findings->worst[VHD_DAMAGE] + findings->worst[VHD_LOSS];
	bool hopeless = false;

	for (size_t i = 0; i < findings->count; i++)
		hopeless |= findings->rows[i].severity != VHD_NOTE && !findings->rows[i].repairable;
	if (bad == 0 || (repaired && !hopeless))
		return EXIT_OK;
	return cli_error_set(error, EXIT_NO_DISK, "%s: %" PRIu64 " problem%s; %s", path, bad,
			     bad == 1 ? "" : "s",
			     hopeless ? "restore it from a copy"
				      : "lunar vhd check --repair mends what can be mended");
}

enum exit_code command_vhd_check(const struct command_context *context, struct cli_error *error)
{
	const char *path = context->options->arguments[1];
	bool repair = context->options->vhd.repair;
	struct vhd_findings findings = {0};
	struct vhd_error inner;
	struct cli_error ignored;
	enum exit_code code;
	json_t *whole, *problem;
	int rc = vhd_check(path, repair, &findings, &inner);

	code = rc ? vhd_cli_error(rc, inner.message, error)
		  : verdict(&findings, path, repair, error);
	if (context->options->json) {
		whole = code == EXIT_OK ? NULL : command_error_json(code, error);
		problem = whole ? json_incref(json_object_get(whole, "error")) : json_null();
		json_decref(whole);
		(void)command_print_json(context,
					 json_pack("{so sb so so}", "path", text_json(path),
						   "clean", (int)(code == EXIT_OK), "findings",
						   findings_json(&findings, repair && rc == 0),
						   "error", problem),
					 &ignored);
		return code;
	}
	print_findings(context->out, &findings, repair && rc == 0);
	if (code == EXIT_OK)
		fprintf(context->out, "%s: %s\n", path,
			findings.count && repair ? "repaired" : "no problems");
	return code;
}
