/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The CMOS clock. See rtc.h.
 */
#include "hypervisor/rtc.h"

enum {
	REG_SECONDS = 0x00,
	REG_MINUTES = 0x02,
	REG_HOURS = 0x04,
	REG_WEEKDAY = 0x06,
	REG_DAY = 0x07,
	REG_MONTH = 0x08,
	REG_YEAR = 0x09,
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_D = 0x0d,
	REG_CENTURY = 0x32,
};

#define A_DIVIDER_32KHZ 0x26 /* no update in progress, ever: each read is consistent enough */
#define B_24_HOURS	0x02
#define D_VALID		0x80

static uint8_t bcd(int value)
{
	return (uint8_t)((value / 10 % 10) << 4 | value % 10);
}

uint8_t rtc_register(uint8_t index, time_t now)
{
	struct tm tm = {0};

	gmtime_r(&now, &tm);
	switch (index) {
	case REG_SECONDS:
		return bcd(tm.tm_sec);
	case REG_MINUTES:
		return bcd(tm.tm_min);
	case REG_HOURS:
		return bcd(tm.tm_hour);
	case REG_WEEKDAY:
		return bcd(tm.tm_wday + 1);
	case REG_DAY:
		return bcd(tm.tm_mday);
	case REG_MONTH:
		return bcd(tm.tm_mon + 1);
	case REG_YEAR:
		return bcd(tm.tm_year % 100);
	case REG_CENTURY:
		return bcd((tm.tm_year + 1900) / 100);
	case REG_A:
		return A_DIVIDER_32KHZ;
	case REG_B:
		return B_24_HOURS;
	case REG_D:
		return D_VALID;
	default:
		return 0;
	}
}
