#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Compiles acpi_dsdt.asl into acpi_dsdt.h (or the file named). -f: iasl knows no _HID like "VMBUS",
# which is what guests look for.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/acpi_dsdt.h}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
iasl -f -p "$work/dsdt" "$here/acpi_dsdt.asl" >"$work/log" 2>&1 || true
[ -s "$work/dsdt.aml" ] || { cat "$work/log" >&2; exit 1; }
{
	echo '/* SPDX-License-Identifier: BSD-3-Clause */'
	echo '/* Written by acpi_dsdt.sh out of acpi_dsdt.asl: do not edit. */'
	echo '/* clang-format off */'
	echo '#ifndef LUNAR_HYPERVISOR_ACPI_DSDT_H'
	echo '#define LUNAR_HYPERVISOR_ACPI_DSDT_H'
	echo
	echo 'static const unsigned char acpi_dsdt[] = {'
	od -An -v -tx1 -w12 "$work/dsdt.aml" | sed 's/ \(..\)/ 0x\1,/g; s/^ /\t/'
	echo '};'
	echo
	echo '#endif'
} >"$out"
