# SPDX-License-Identifier: BSD-3-Clause
"""
I/O on a guest's disk that verifies itself (tests/tools/ioverify_main.c), and its verdict by three witnesses: the tool in the
guest, the backing file on the SAN, and what the SAN heard of sessions.
"""

import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed import paths, process
from testbed.bed import Bed
from testbed.capture import Capture
from testbed.guest import Guest
from testbed.san import Target

# A connection begins, ends or breaks.
SESSION_CHANGES = "tcp port 3260 and tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0"
COMPLAINTS = "scsi\\|sd[a-z]\\|connection"


@dataclass(frozen=True)
class Verdict:
    """What is left to say when the I/O has ended. problems is empty where all is well."""
    problems: tuple[str, ...]
    requests: int
    iops: float
    longest_stall_ms: float
    tsih: int


class VerifiedIo:
    """ioverify on a disk of one target, from the constructor to finish(), wherever the guest moves to."""

    _numbers = itertools.count(1)

    def __init__(self, bed: Bed, guest: Guest, target: Target, disk: str, mib: int = 32, skip_mib: int = 0, rate: int = 0):
        self._bed, self._guest, self._target = bed, guest, target
        self._area = f"--mib {mib} --skip {skip_mib}"
        limit = f"--rate {rate}" if rate else ""
        number = next(self._numbers)
        self._report, self._log = f"/tmp/io-{number}.json", f"/tmp/io-{number}.log"
        # A session whose guest was killed ends when the next one takes its place.
        process.wait_until(f"one session at {target.iqn}", lambda: len(bed.san.tsihs(target)) == 1, 20, 0.2)
        [self.tsih] = bed.san.tsihs(target)
        self._capture = Capture(f"lan-{bed.san.namespace.name}", Path(bed.directory) / f"sessions-{number}.pcap", SESSION_CHANGES)
        self._pid = guest.run(f"ioverify run {disk} {self._area} {limit} --report {self._report} >{self._log} 2>&1 & "
                              "echo $!").out.split()[-1]
        process.wait_until("I/O begins", lambda: self.requests() > 0, 60, 0.2)

    def _shown(self) -> dict:
        shown = self._guest.run(f"cat {self._report} 2>/dev/null", check=False).out
        return json.loads(shown) if shown.strip() else {"ended": False, "reads": 0, "writes": 0, "errors": 0, "verify_errors": 0}

    def requests(self) -> int:
        """How many requests were done so far."""
        shown = self._shown()
        return shown["reads"] + shown["writes"]

    def wait_progress(self, seconds: float = 30.0) -> None:
        """Waits until some more requests are done than now."""
        before = self.requests()
        try:
            process.wait_until("I/O goes on", lambda: self.requests() > before + 10, seconds, 0.3)
        except process.CommandFailed as stuck:
            raise process.CommandFailed(f"{stuck}: {self._shown()} {self._guest.dmesg(COMPLAINTS)}") from stuck

    @staticmethod
    def all_requests(ios: Sequence["VerifiedIo"]) -> list[int]:
        """requests() of all that one guest does, in one go."""
        shown = [json.loads(line) for line in ios[0]._guest.run(f"cat {' '.join(io._report for io in ios)}").lines()]
        return [each["reads"] + each["writes"] for each in shown]

    def finish(self, seconds: float = 60.0) -> Verdict:
        """Ends the I/O, has everything verified in the guest and on the SAN, and gives the verdict."""
        self._guest.run(f"kill {self._pid}", check=False)
        end = time.monotonic() + seconds
        while not (shown := self._shown())["ended"]:
            if time.monotonic() > end:
                raise process.CommandFailed(f"ioverify does not end: {shown} "
                                            f"{self._guest.run(f'tail -n 5 {self._log}; ps | grep ioverify', check=False).out}")
            time.sleep(0.3)
        # The target's page cache is ours too: what the guest was told is done can be read here.
        on_san = json.loads(process.run([paths.BIN / "ioverify", "check", self._target.luns[1], *self._area.split()], 60,
                                        check=False).splitlines()[-1])
        self._capture.stop()
        changes = self._capture.sources("")
        tsihs = self._bed.san.tsihs(self._target)
        problems = [f"{shown[what]} {what} in the guest" for what in ("errors", "verify_errors") if shown[what]]
        problems += [f"{on_san['broken']} broken blocks on the SAN"] if on_san["broken"] else []
        problems += ["a block on the SAN is not the one written last"] if on_san["digest"] != shown["digest"] else []
        problems += [f"the session's TSIH was {self.tsih}, now {tsihs}"] if tsihs != [self.tsih] else []
        problems += [f"connections to the target changed: {dict(changes)}"] if changes else []
        if problems:
            problems.append(self._guest.run(f"tail -n 8 {self._log}", check=False).out)
        return Verdict(tuple(problems), shown["reads"] + shown["writes"], shown["iops"], shown["longest_stall_ms"], self.tsih)
