/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The clock of a PC's CMOS memory, read-only: the host's time in UTC, BCD, 24 hours. A guest reads
 * the time of day there once, at boot. Source: Motorola MC146818 data sheet.
 */
#ifndef LUNAR_HYPERVISOR_RTC_H
#define LUNAR_HYPERVISOR_RTC_H

#include <stdint.h>
#include <time.h>

#define RTC_PORT_INDEX 0x70
#define RTC_PORT_DATA  0x71

/* Register index (0..127) at a moment. */
uint8_t rtc_register(uint8_t index, time_t now);

#endif
