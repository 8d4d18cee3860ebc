/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The version that every program reports.
 */
#ifndef LUNAR_BASE_VERSION_H
#define LUNAR_BASE_VERSION_H

#define LUNAR_VERSION "0.1"

#endif
