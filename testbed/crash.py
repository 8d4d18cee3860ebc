# SPDX-License-Identifier: BSD-3-Clause
"""
A guest that writes to images of several kinds and says what it has flushed, until its vmwp is killed; and whether that is
then in the images. Used by the end-to-end tests and by tests/soak-storage.
"""

import re
import time

from testbed import disks, network, process
from testbed.bed import Bed
from testbed.guest import READY, Guest
from testbed.host import Host, Vm

KINDS = ("raw", "fixed", "dynamic", "differencing")
MIB = 16
AREA_MIB = 12  # several blocks of a dynamic VHD, which come into being as the guest writes


class CrashGuest:
    """start(), kill_while_writing(), problems(); again and again on the same images."""

    def __init__(self, bed: Bed, host: Host, name: str, directory: str, number: int, kinds: tuple[str, ...] = KINDS):
        """directory: on the host, for the images. number: of the guest's address."""
        self._bed, self._host = bed, host
        host.prepare_disks()
        self._images = {kind: disks.create(host, directory, f"{name}-{kind}", kind, MIB) for kind in kinds}
        self.flushed = dict.fromkeys(kinds, 0)  # by kind: the last batch that the guest said was flushed
        vm = Vm(name, f"02:4c:55:4e:0b:{number:02x}", network.guest_address(number), memory="256M",
                disks=[{"path": image.path} for image in self._images.values()])
        self.guest = Guest(host, vm)
        host.create_vm(vm)

    def start(self, seconds: float = 120.0) -> None:
        """Starts the VM, and the writers."""
        self.guest.console = self._host.start_vm(self.guest.vm)
        self.guest.console.expect(READY, seconds)
        for number, (kind, flushed) in enumerate(self.flushed.items()):
            device = disks.device(self.guest, number)
            self.guest.run(f"(ioflush run {device} --mib {AREA_MIB} --seed {number + 1} --from {flushed + 1} 2>&1 | "
                           f"while read line; do echo \"<{kind} $line>\"; done) >/dev/console 2>&1 &")

    def kill_while_writing(self, seconds: float) -> None:
        """Lets the guest write, all images at once, kills its vmwp, and takes note of what it had said by then."""
        console = self.guest.console
        begin = len(console.transcript)
        for kind in self.flushed:
            console.expect(f"<{kind} flushed ", 30)
        time.sleep(seconds)
        pid = self._host.vm_pid(self.guest.vm)
        self._host.run(f"kill -9 {pid}", check=True)
        try:
            console.expect("no such line", 3)
        except (process.CommandFailed, OSError):
            pass
        process.wait_until("vmwp is gone", lambda: self._host.run(f"kill -0 {pid}").rc != 0, 10)
        said = process.text(console.transcript[begin:])
        for kind in self.flushed:
            numbers = [int(number) for number in re.findall(rf"<{kind} flushed (\d+)>", said)]
            self.flushed[kind] = max([self.flushed[kind], *numbers])
        console.close()
        self.guest.console = None

    def problems(self) -> list[str]:
        """What is wrong with the images, the VM being dead."""
        found = []
        for number, (kind, image) in enumerate(self._images.items()):
            try:
                found += [f"{kind}: {problem}" for problem in disks.check(self._host, image)]
                raw = disks.contents(self._host, image, self._bed.directory / f"crash-{self.guest.vm.name}")
                found += [f"{kind}: {problem}" for problem in
                          disks.flushed_problems(raw, AREA_MIB, number + 1, self.flushed[kind])]
            except (process.CommandFailed, OSError, ValueError) as failure:
                found.append(f"{kind}: {failure}")
        return found

    def close(self) -> None:
        """Ends and forgets the VM."""
        self.guest.stop()
