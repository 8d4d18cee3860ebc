# SPDX-License-Identifier: BSD-3-Clause
"""A running guest: its VM on a host, and a shell on its serial console."""

import re
from collections.abc import Mapping

from testbed import process
from testbed.host import Host, Move, Vm
from testbed.remote import Result

READY = "lunar guest ready"


class Guest:
    """Starts with start(), ends with stop()."""

    def __init__(self, host: Host, vm: Vm):
        self.host = host
        self.vm = vm
        self.console = None

    def start(self, seconds: float = 120.0) -> "Guest":
        """Creates and starts the VM and waits for the guest's shell."""
        self.host.create_vm(self.vm)
        try:
            self.console = self.host.start_vm(self.vm)
            self.console.expect(READY, seconds)
        except (process.CommandFailed, OSError) as failure:
            log = self.host.vm_log(self.vm)
            self.stop()
            raise process.CommandFailed(f"{self.vm.name} did not start: {failure}\nvmwp's log:\n{log}") from failure
        return self

    def moved_to(self, host: Host) -> None:
        """Goes on at the host that the VM has moved to: its console, and the shell's state with it, is there now."""
        self.console.moved(host.console_stream(self.vm))
        self.host = host

    def move(self, host: Host, options: str = "", seconds: float = 120.0) -> Move:
        """Moves the VM, which must succeed, and goes on there."""
        move = self.host.migrate(self.vm, host, options, seconds)
        self.moved_to(host)
        return move

    def stop(self) -> None:
        """Ends the VM at once and forgets it."""
        if self.console:
            self.console.close()
            self.console = None
        self.host.stop_vm(self.vm)

    def run(self, command: str, seconds: float = 60.0, check: bool = True) -> Result:
        """Runs a shell command in the guest."""
        return self.console.run(command, seconds, check)

    def reboot(self, seconds: float = 90.0) -> None:
        """Reboots the guest and waits for its shell."""
        self.console.send("reboot -f\n")
        self.console.restarted()
        self.console.expect(READY, seconds)

    def attach(self, url: str, options: str = "", environment: str = "", seconds: float = 60.0) -> str:
        """lunar-iscsi attach; returns the disk's /dev name."""
        output = self.run(f"{environment} lunar-iscsi attach {options} {url}".strip(), seconds).out
        found = re.search(r"/dev/sd[a-z]+", output)
        if found is None:
            raise process.CommandFailed(f"{self.vm.name}: lunar-iscsi attach names no disk: {output}")
        return found[0]

    def detach(self, device: str) -> None:
        """lunar-iscsi detach."""
        self.run(f"lunar-iscsi detach {device}")

    def open_iscsi_login(self, iqn: str, portal: str, settings: Mapping[str, str] | None = None) -> str:
        """Debian's own initiator: discovery, settings of the node record, login. Returns the disk's /dev name."""
        self.run("modprobe iscsi_tcp; pidof iscsid >/dev/null || iscsid")
        self.run(f"iscsiadm -m discovery -t sendtargets -p {portal}")
        for name, value in (settings or {}).items():
            self.run(f"iscsiadm -m node -T {iqn} -p {portal} -o update -n {name} -v {value}")
        before = set(self.disks())
        self.run(f"iscsiadm -m node -T {iqn} -p {portal} --login")
        [added] = process.wait_until("open-iscsi's disk", lambda: set(self.disks()) - before, 20)
        return f"/dev/{added}"

    def open_iscsi_logout(self, iqn: str) -> None:
        """Logs out and forgets the target."""
        self.run(f"iscsiadm -m node -T {iqn} --logout; iscsiadm -m node -T {iqn} -o delete")

    def disks(self) -> list[str]:
        """Names of the SCSI disks."""
        return self.run("cd /sys/block && ls -d sd* 2>/dev/null", check=False).out.split()

    def write_random(self, device: str, mib: int) -> str:
        """Writes random data at the start of a disk, past the cache, and returns its SHA-256."""
        self.run(f"dd if=/dev/urandom of=/tmp/data bs=1M count={mib}", 120)
        digest = self.run("sha256sum </tmp/data", 120).out.split()[0]
        self.run(f"dd if=/tmp/data of={device} bs=1M conv=fsync && rm /tmp/data", 300)
        return digest

    def read_hash(self, device: str, mib: int) -> str:
        """The SHA-256 of the start of a disk, read from the disk and not from the cache."""
        self.run("sync; echo 3 >/proc/sys/vm/drop_caches")
        return self.run(f"dd if={device} bs=1M count={mib} 2>/dev/null | sha256sum", 300).out.split()[0]

    def dmesg(self, pattern: str) -> list[str]:
        """The lines of the kernel's log that contain pattern (a basic regular expression)."""
        return self.run(f"dmesg | grep -i -e '{pattern}' | cut -c1-160 | head -n 20", check=False).lines()

    def time_stamp(self) -> float:
        """The guest's uptime in seconds."""
        return float(re.split(r"\s", self.run("cat /proc/uptime").out)[0])
