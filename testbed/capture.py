# SPDX-License-Identifier: BSD-3-Clause
"""Captures of what passes an interface: the heads of the frames, in a file, read back by tcpdump."""

import re
from collections import Counter
from pathlib import Path

from testbed import process

HEAD_BYTES = 96


class Capture:
    """tcpdump on an interface of the testbed's own namespace, from the constructor to stop()."""

    def __init__(self, interface: str, file: Path, expression: str = ""):
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        log = file.with_suffix(".log")
        log.unlink(missing_ok=True)
        self._tcpdump = process.spawn(["tcpdump", "-Z", "root", "-i", interface, "-n", "-p", "-U", "-B", "16384",
                                       "-s", str(HEAD_BYTES), "-w", file, *expression.split()], log)
        process.wait_until(f"capture on {interface}", lambda: "listening on" in log.read_text(), 10)

    def stop(self) -> None:
        """Ends the capture; the file is complete then."""
        process.stop(self._tcpdump)

    def sources(self, expression: str) -> Counter[str]:
        """The number of frames that match expression (empty: all), by their source's MAC address. After stop()."""
        lines = process.run(["sh", "-c", 'exec tcpdump -Z root -n -e -r "$1" "$2" 2>/dev/null', "sh", self.file, expression], 60)
        return Counter(re.findall(r"^\S+ ([0-9a-f:]{17}) >", lines, re.M))
