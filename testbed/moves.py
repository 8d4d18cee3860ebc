# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of moves share: where a VM may be, background jobs in a guest, and the figures of a move in a line."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from testbed import process
from testbed.bed import Bed
from testbed.guest import Guest
from testbed.host import Host, Move, Vm

EXIT_CANNOT_MOVE = 23  # base/exit_code.h


def other(bed: Bed, host: Host) -> Host:
    """The host that this one is not."""
    return bed.hosts[1] if host is bed.hosts[0] else bed.hosts[0]


def hosts_running(bed: Bed, vm: Vm) -> list[str]:
    """The names of the hosts on which the VM runs."""
    return [host.name for host in bed.hosts if vm.name in host.running()]


def move_over(bed: Bed, guest: Guest, options: str = "") -> Move:
    """Moves the guest to the other host, and checks that it runs there alone. The figures are printed."""
    origin, to = guest.host, other(bed, guest.host)
    move = guest.move(to, options)
    show(move)
    assert guest.run("echo alive").out.strip() == "alive"
    # The source lingers for some seconds to hand on late frames; its guest does not run.
    process.wait_until(f"{guest.vm.name} runs on {to.name} alone", lambda: hosts_running(bed, guest.vm) == [to.name], 10, 0.3)
    assert guest.vm.name not in [each["name"] for each in json.loads(origin.run("lunar list --json", check=True).out)
                                 if each["state"] == "stopped"], "the source has kept the definition"
    return move


def show(move: Move) -> None:
    """One line of figures, for the test's output."""
    last = move.last
    print({key: last.get(key) for key in ("phase", "total_ms", "downtime_ms", "pause_ms", "last_ms", "restore_ms", "rounds",
                                          "bytes_sent", "throttle", "late_frames")})


@contextmanager
def background(guest: Guest, script: str) -> Iterator[None]:
    """Runs a shell script in the guest for as long as the body takes; it looks at /tmp/enough now and then."""
    guest.run(f"rm -f /tmp/enough; {{ {script}\n}} >/tmp/background.log 2>&1 & echo $! >/tmp/background.pid")
    try:
        yield
    finally:
        guest.run("touch /tmp/enough; for n in $(seq 300); do kill -0 $(cat /tmp/background.pid) 2>/dev/null || break; "
                  "sleep 0.1; done; rm -f /tmp/enough", 60, check=False)
