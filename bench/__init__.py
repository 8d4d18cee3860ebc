# SPDX-License-Identifier: BSD-3-Clause
"""Benchmarks: ratios of ours to a peer, both in one run, interleaved."""
