# SPDX-License-Identifier: BSD-3-Clause
"""
A guest that writes to images of several kinds and says what it has flushed, until it panics, is reset, or its vmwp is killed;
and whether that is then in the images. Used by the end-to-end tests and by tests/soak-storage.
"""

import re
import struct
import time
from pathlib import Path

from testbed import disks, network, process, vhd
from testbed.bed import Bed
from testbed.guest import READY, Guest
from testbed.host import Host, Vm

KINDS = ("raw", "fixed", "dynamic", "differencing")
MIB = 16
AREA_MIB = 12  # several blocks of a dynamic VHD, which come into being as the guest writes


class CrashGuest:
    """start(), one of the ..._while_writing(), problems(); again and again on the same images."""

    def __init__(self, bed: Bed, host: Host, name: str, directory: str, number: int, kinds: tuple[str, ...] = KINDS,
                 local: Path | None = None):
        """
        directory: on the host, for the images. number: of the guest's address. local: where this machine has the directory,
        if it has (a share): then the images are looked at as their server has them.
        """
        self._bed, self._host, self._local = bed, host, local
        host.prepare_disks()
        self._images = {kind: disks.create(host, directory, f"{name}-{kind}", kind, MIB) for kind in kinds}
        self.flushed = dict.fromkeys(kinds, 0)  # by kind: the last batch that the guest said was flushed
        self._heard = 0  # how much of the console's transcript is in that
        vm = Vm(name, f"02:4c:55:4e:0b:{number:02x}", network.guest_address(number), memory="256M",
                disks=[{"path": image.path} for image in self._images.values()])
        self.guest = Guest(host, vm)
        host.create_vm(vm)

    @property
    def runs(self) -> bool:
        """Whether there is a VM to disturb: between start() and its end."""
        return self.guest.console is not None

    def start(self, seconds: float = 120.0) -> None:
        """Starts the VM, and the writers."""
        self.guest.console = self._host.start_vm(self.guest.vm)
        self._heard = 0
        self.guest.console.expect(READY, seconds)
        self._write()

    def _write(self) -> None:
        for number, (kind, flushed) in enumerate(self.flushed.items()):
            device = disks.device(self.guest, number)
            self.guest.run(f"(ioflush run {device} --mib {AREA_MIB} --seed {number + 1} --from {flushed + 1} 2>&1 | "
                           f"while read line; do echo \"<{kind} $line>\"; done) >/dev/console 2>&1 &")

    def _listen(self) -> None:
        """Takes note of what the guest has said by now."""
        transcript = self.guest.console.transcript
        said = process.text(transcript[self._heard:])
        for kind in self.flushed:
            numbers = [int(number) for number in re.findall(rf"<{kind} flushed (\d+)>", said)]
            self.flushed[kind] = max([self.flushed[kind], *numbers])
        self._heard = len(transcript)

    def hear(self, silence_seconds: float = 2.0) -> None:
        """Takes note of what the guest has said, once it says no more: its disks' server is dead."""
        before = -1
        while before < len(self.guest.console.transcript):
            before = len(self.guest.console.transcript)
            try:
                self.guest.console.expect("no such line", silence_seconds / process.PATIENCE)
            except process.CommandFailed:
                pass
        self._listen()

    def wait_flushed(self, seconds: float = 30.0) -> None:
        """Each image has one more batch flushed, from now on. CommandFailed names the one that has not."""
        self.guest.console.skip()
        for kind in self.flushed:
            self.guest.console.expect(f"<{kind} flushed ", seconds)

    def reset_while_writing(self, seconds: float, boot_seconds: float = 120.0) -> None:
        """
        Lets the guest write, all images at once, and has its kernel reset the machine at once. It boots again in the same
        vmwp, and does nothing: look at problems(), then call write_on().
        """
        self._let_write(seconds)
        self.guest.console.send("echo b >/proc/sysrq-trigger\n")
        self.guest.console.restarted()
        self.guest.console.expect(READY, boot_seconds)
        self._listen()

    def write_on(self) -> None:
        """Starts the writers again, in a guest that was reset."""
        self._write()

    def panic_while_writing(self, seconds: float) -> None:
        """Lets the guest write, all images at once, and has its kernel panic, which ends the VM; vmwp closes the images."""
        self._let_write(seconds)
        pid = self._host.vm_pid(self.guest.vm)
        self.guest.console.send("echo c >/proc/sysrq-trigger\n")
        self._gone(pid, 60)

    def kill_while_writing(self, seconds: float) -> None:
        """Lets the guest write, all images at once, kills its vmwp, and takes note of what it had said by then."""
        self._let_write(seconds)
        pid = self._host.vm_pid(self.guest.vm)
        self._host.run(f"kill -9 {pid}", check=True)
        self._gone(pid, 10)

    def _let_write(self, seconds: float) -> None:
        self.wait_flushed()
        time.sleep(seconds)

    def _gone(self, pid: int, seconds: float) -> None:
        """The VM ends; takes note of what its guest had said by then."""
        try:
            self.guest.console.expect("no such line", seconds)
        except (process.CommandFailed, OSError):
            pass
        process.wait_until("vmwp is gone", lambda: self._host.run(f"kill -0 {pid}").rc != 0, seconds)
        self._listen()
        self.guest.console.close()
        self.guest.console = None

    def problems(self) -> list[str]:
        """
        What is wrong with the images, which nobody writes to: vmwp or their server is dead, or the guest that was reset
        stands still.
        """
        found = []
        work = self._bed.directory / f"crash-{self.guest.vm.name}"
        for number, (kind, image) in enumerate(self._images.items()):
            try:
                raw = disks.contents(self._host, image, work, self._local)
                found += [f"{kind}: {problem}" for problem in disks.check_copy(image, work)]
                found += [f"{kind}: {problem}" for problem in
                          disks.flushed_problems(raw, AREA_MIB, number + 1, self.flushed[kind])]
            except (process.CommandFailed, OSError, ValueError, struct.error, vhd.BadImage) as failure:
                found.append(f"{kind}: {failure}")
        return found

    def close(self) -> None:
        """Ends and forgets the VM."""
        self.guest.stop()
