/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every unit test includes: cmocka with the headers that it wants first.
 */
#ifndef LUNAR_TESTS_UNIT_TEST_MAIN_H
#define LUNAR_TESTS_UNIT_TEST_MAIN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
