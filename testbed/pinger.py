# SPDX-License-Identifier: BSD-3-Clause
"""A 1 kHz ping from the SAN: for how long was a guest out of the far end's reach?"""

import json
from dataclasses import dataclass
from pathlib import Path

from testbed import paths, process
from testbed.bed import Bed


@dataclass(frozen=True)
class Gap:
    """What pinger reports (tests/tools/pinger_main.c), in ms."""
    sent: int
    lost: int
    duplicates: int
    longest_ms: float
    longest_rtt_ms: float
    gaps: tuple[float, ...]


class Pinger:
    """Pings from the constructor on, until stop()."""

    def __init__(self, bed: Bed, address: str, rate: int = 1000):
        self._report = Path(bed.directory) / "pinger.json"
        self._report.unlink(missing_ok=True)
        self._child = bed.san.namespace.spawn([paths.BIN / "pinger", address, "--rate", str(rate), "--report", self._report],
                                              bed.directory / "pinger.log")

    def stop(self) -> Gap:
        """Ends it and returns what it saw."""
        process.stop(self._child, 10)
        shown = json.loads(self._report.read_text())
        return Gap(shown["sent"], shown["lost"], shown["duplicates"], shown["longest_gap_ms"], shown["longest_rtt_ms"],
                   tuple(gap["ms"] for gap in shown["gaps"]))
