# SPDX-License-Identifier: BSD-3-Clause
# What tests/run-interop writes to images with.
tests/interop_DEPS  := base storvsp
tests/interop_PROGS := vhd-io
