/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Modes in words, and what belongs to which.
 */
#include "vlan/vlan_config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const mode_names[VLAN_MODE_COUNT] = {
	[VLAN_DEFAULT] = "default",	    [VLAN_UNTAGGED] = "untagged",
	[VLAN_ACCESS] = "access",	    [VLAN_TRUNK] = "trunk",
	[VLAN_ISOLATED] = "isolated",	    [VLAN_COMMUNITY] = "community",
	[VLAN_PROMISCUOUS] = "promiscuous",
};

const char *vlan_mode_name(enum vlan_mode mode)
{
	return mode_names[mode];
}

int vlan_mode_parse(const char *name, enum vlan_mode *mode)
{
	for (uint32_t i = 0; i < VLAN_MODE_COUNT; i++) {
		if (strcmp(name, mode_names[i]) != 0)
			continue;
		*mode = (enum vlan_mode)i;
		return 0;
	}
	return -EINVAL;
}

__attribute__((format(printf, 2, 3))) static int refuse(char *message, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(message, VLAN_MESSAGE_BYTES, format, args);
	va_end(args);
	/* It quotes what was given, and a terminal must not act on that. */
	for (char *c = message; *c; c++)
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
	return -EINVAL;
}

static bool is_id(uint16_t vid)
{
	return vid >= 1 && vid <= VLAN_ID_MAX;
}

static bool has_single_secondary(enum vlan_mode mode)
{
	return mode == VLAN_ISOLATED || mode == VLAN_COMMUNITY;
}

static bool has_list(enum vlan_mode mode)
{
	return mode == VLAN_TRUNK || mode == VLAN_PROMISCUOUS;
}

static bool is_private(enum vlan_mode mode)
{
	return has_single_secondary(mode) || mode == VLAN_PROMISCUOUS;
}

static int check_private(const struct vlan_config *config, char *message)
{
	if (!is_id(config->id))
		return refuse(message, "the primary VLAN is 1 to %u", VLAN_ID_MAX);
	if (has_single_secondary(config->mode) && !is_id(config->secondary))
		return refuse(message, "the secondary VLAN is 1 to %u", VLAN_ID_MAX);
	if (config->secondary == config->id || vlan_set_has(&config->list, config->id))
		return refuse(message, "VLAN %u cannot be its own secondary; give it another one",
			      config->id);
	return 0;
}

int vlan_config_check(const struct vlan_config *config, char *message)
{
	uint32_t listed = vlan_set_count(&config->list);

	if ((uint32_t)config->mode >= VLAN_MODE_COUNT)
		return refuse(message, "there is no such mode");
	if (vlan_set_has(&config->list, 0) || vlan_set_has(&config->list, VLAN_ID_MASK))
		return refuse(message, "VLANs are 1 to %u", VLAN_ID_MAX);
	if (has_list(config->mode) ? listed == 0 : listed != 0)
		return refuse(message, "mode %s takes %s list of VLANs", mode_names[config->mode],
			      listed ? "no" : "a");
	if (!has_single_secondary(config->mode) && config->secondary)
		return refuse(message, "mode %s has no single secondary VLAN",
			      mode_names[config->mode]);
	if (is_private(config->mode))
		return check_private(config, message);
	if (config->mode == VLAN_ACCESS && !is_id(config->id))
		return refuse(message, "the VLAN is 1 to %u", VLAN_ID_MAX);
	if (config->mode == VLAN_TRUNK && config->id > VLAN_ID_MAX)
		return refuse(message, "the native VLAN is 0 (none) to %u", VLAN_ID_MAX);
	if (config->mode != VLAN_ACCESS && config->mode != VLAN_TRUNK && config->id)
		return refuse(message, "mode %s has no VLAN", mode_names[config->mode]);
	return 0;
}

bool vlan_config_is_equal(const struct vlan_config *a, const struct vlan_config *b)
{
	return a->mode == b->mode && a->id == b->id && a->secondary == b->secondary &&
	       vlan_set_is_equal(&a->list, &b->list);
}

/* ---- words ---- */

enum word { WORD_ID, WORD_ALLOWED, WORD_NATIVE, WORD_PRIMARY, WORD_SECONDARY, WORD_COUNT };

static const char *const word_names[WORD_COUNT] = {"id", "allowed", "native", "primary",
						   "secondary"};

/* Which words each mode has (bits 1 << word), and which of them must be given. */
static const struct {
	uint8_t has;
	uint8_t needs;
} mode_words[VLAN_MODE_COUNT] = {
	[VLAN_ACCESS] = {1u << WORD_ID, 1u << WORD_ID},
	[VLAN_TRUNK] = {1u << WORD_ALLOWED | 1u << WORD_NATIVE, 1u << WORD_ALLOWED},
	[VLAN_ISOLATED] = {1u << WORD_PRIMARY | 1u << WORD_SECONDARY,
			   1u << WORD_PRIMARY | 1u << WORD_SECONDARY},
	[VLAN_COMMUNITY] = {1u << WORD_PRIMARY | 1u << WORD_SECONDARY,
			    1u << WORD_PRIMARY | 1u << WORD_SECONDARY},
	[VLAN_PROMISCUOUS] = {1u << WORD_PRIMARY | 1u << WORD_SECONDARY,
			      1u << WORD_PRIMARY | 1u << WORD_SECONDARY},
};

static int read_one(const char *text, uint16_t least, uint16_t *vid)
{
	struct vlan_set set;

	if (strpbrk(text, ",-") || vlan_set_parse(text, least, &set) < 0)
		return -EINVAL;
	*vid = vlan_set_next(&set, 0);
	return 0;
}

static int read_word(struct vlan_config *config, enum word word, const char *text, char *message)
{
	bool list = has_list(config->mode) && (word == WORD_ALLOWED || word == WORD_SECONDARY);
	uint16_t least = word == WORD_NATIVE ? 0 : 1;
	uint16_t *to = word == WORD_SECONDARY ? &config->secondary : &config->id;

	if (list && vlan_set_parse(text, least, &config->list) < 0)
		return refuse(message,
			      "'%.40s' is no list of VLANs; give numbers from 1 to %u and ranges, "
			      "such as 10,20-30",
			      text, VLAN_ID_MAX);
	if (!list && read_one(text, least, to) < 0)
		return refuse(message, "'%.40s' is not a whole number from %u to %u", text, least,
			      VLAN_ID_MAX);
	return 0;
}

int vlan_config_parse(const struct vlan_words *words, struct vlan_config *config, const char **key,
		      char *message)
{
	const char *const given[WORD_COUNT] = {words->id, words->allowed, words->native,
					       words->primary, words->secondary};
	struct vlan_config read = {0};
	int err;

	*key = "mode";
	if (!words->mode)
		return refuse(message, "missing; give untagged, access, trunk, isolated, "
				       "community, promiscuous or default");
	if (vlan_mode_parse(words->mode, &read.mode) < 0)
		return refuse(message,
			      "'%.40s' is not a mode; give untagged, access, trunk, isolated, "
			      "community, promiscuous or default",
			      words->mode);
	for (uint32_t i = 0; i < WORD_COUNT; i++) {
		*key = word_names[i];
		if (given[i] && !(mode_words[read.mode].has & 1u << i))
			return refuse(message, "mode %s does not have it; leave it out",
				      words->mode);
		if (!given[i] && (mode_words[read.mode].needs & 1u << i))
			return refuse(message, "missing; mode %s needs it", words->mode);
		err = given[i] ? read_word(&read, (enum word)i, given[i], message) : 0;
		if (err)
			return err;
	}
	err = vlan_config_check(&read, message); /* only the secondary can still be wrong */
	if (!err)
		*config = read;
	return err;
}

char *vlan_config_format(const struct vlan_config *config, char *text)
{
	const char *name = mode_names[config->mode];
	char list[VLAN_TEXT_BYTES - 40];

	vlan_set_format(&config->list, list, sizeof(list));
	switch (config->mode) {
	case VLAN_ACCESS:
		snprintf(text, VLAN_TEXT_BYTES, "%s %u", name, config->id);
		break;
	case VLAN_TRUNK:
		snprintf(text, VLAN_TEXT_BYTES, "%s %s native %u", name, list, config->id);
		break;
	case VLAN_ISOLATED:
	case VLAN_COMMUNITY:
		snprintf(text, VLAN_TEXT_BYTES, "%s %u,%u", name, config->id, config->secondary);
		break;
	case VLAN_PROMISCUOUS:
		snprintf(text, VLAN_TEXT_BYTES, "%s %u,%s", name, config->id, list);
		break;
	default:
		snprintf(text, VLAN_TEXT_BYTES, "%s", name);
		break;
	}
	return text;
}

void vlan_config_needs(const struct vlan_config *config, struct vlan_set *needed)
{
	*needed = config->list;
	if (config->mode == VLAN_DEFAULT)
		return;
	if (config->id || config->mode == VLAN_UNTAGGED)
		vlan_set_add(needed, config->id); /* 0: frames without a VLAN */
	if (config->secondary)
		vlan_set_add(needed, config->secondary);
}
