# SPDX-License-Identifier: BSD-3-Clause
"""Two hosts and a SAN for Lunar's end-to-end tests, its demo and its benchmarks. Start with README.md."""
