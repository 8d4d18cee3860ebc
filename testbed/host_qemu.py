# SPDX-License-Identifier: BSD-3-Clause
"""
A host in QEMU: emulated processors with AMD-V, so that its KVM runs children; a management NIC; an uplink NIC that DPDK
owns. Commands go over the management NIC (remote.py); the serial console is a unix socket, for people.
"""

import os
import shlex
import socket
from pathlib import Path

from testbed import library, network, process
from testbed.nas import Nas
from testbed.host import Host
from testbed.kernel import Kernel
from testbed.paths import GUEST_IN_HOST
from testbed.remote import SHELL_PORT, Agent, Result
from testbed.waker import Waker

UPLINK_PCI = "0000:00:05.0"
MGMT_PCI = "0000:00:04.0"
BRIDGE_PCI = "0000:00:06.0"
DISKS_PCI = "0000:00:07.0"
LIBRARY_PCI = "0000:00:08.0"
DISKS_MIB = 16384
# An EPYC less what TCG cannot do (it would warn), and less XSAVE with all that needs it: QEMU 7.2 lets a nested guest set
# XCR0 behind its hypervisor's back, which then saves too little of the guest's registers.
CPU = ("EPYC,+svm,+npt,-rdseed,-sha-ni,-fxsr-opt,-misalignsse,-3dnowprefetch,-osvw,-topoext,-nrip-save,"
       "-xsave,-xsavec,-xsaveopt,-xgetbv1,-avx,-avx2,-f16c,-fma")

# One: with two, that is, two threads that emulate, about one boot or move in 150 of a nested guest broke down.
CPUS = int(os.environ.get("LUNAR_HOST_CPUS", "1"))


class QemuHost(Host):
    """Host number 1, 2, ... booted from initrd."""

    guest_kernel = GUEST_IN_HOST / "vmlinuz"
    guest_initrd = GUEST_IN_HOST / "initrd"
    uplink_devargs = UPLINK_PCI
    netvspd_options: list[str] = []
    run_dir = "/run/lunar"
    state_dir = "/var/lib/lunar"
    tls_dir = "/etc/lunar/tls"
    disk_dir = "/srv/disks"
    library_dir = "/srv/library"

    def __init__(self, number: int, linux: Kernel, initrd: Path, directory: Path, memory_mib: int = 3072,
                 huge_pages: int = 256, cpus: int = CPUS, bridge_nic: bool = False, shelf: Path | None = None):
        """
        bridge_nic: one more NIC on the LAN, BRIDGE_PCI, which is the kernel's: for a peer's bridge. shelf: what
        library.build() made, for a second disk, read only.
        """
        self.name = f"host{number}"
        self.directory = directory
        self.uplink_tap = f"up-{self.name}"
        self.mgmt_tap = f"mg-{self.name}"
        self.mgmt_address = network.mgmt_address(number)
        self.agent = Agent(self.mgmt_address)
        directory.mkdir(parents=True, exist_ok=True)
        self._taps = [self.uplink_tap, self.mgmt_tap, *([f"br-{self.name}"] if bridge_nic else [])]
        for tap in self._taps:
            network.add_tap(tap, network.MGMT if tap == self.mgmt_tap else network.LAN)
        cmdline = ("console=ttyS0 quiet panic=-1 tsc=reliable mitigations=off "
                   f"lunar.name={self.name} lunar.mgmt={self.mgmt_address}/24 lunar.uplink={UPLINK_PCI} lunar.huge={huge_pages}")
        argv = ["qemu-system-x86_64", "-name", self.name, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-machine", "pc", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", CPU,
                "-smp", str(cpus), "-m", str(memory_mib),
                "-kernel", linux.image, "-initrd", initrd, "-append", cmdline,
                "-chardev", f"socket,id=console,path={directory}/console.sock,server=on,wait=off,"
                            f"logfile={directory}/console.log",
                "-serial", "chardev:console", "-monitor", f"unix:{directory}/monitor.sock,server=on,wait=off",
                "-netdev", f"tap,id=mgmt,ifname={self.mgmt_tap},script=no,downscript=no",
                "-device", f"virtio-net-pci,netdev=mgmt,addr={MGMT_PCI[8:]},mac=52:54:00:78:00:{10 + number:02x},romfile=",
                "-netdev", f"tap,id=uplink,ifname={self.uplink_tap},script=no,downscript=no",
                "-device", f"virtio-net-pci,netdev=uplink,addr={UPLINK_PCI[8:]},mac=52:54:00:77:00:{10 + number:02x},"
                           "disable-legacy=on,romfile="]
        if bridge_nic:
            argv += ["-netdev", f"tap,id=bridge,ifname={self._taps[2]},script=no,downscript=no",
                     "-device", f"virtio-net-pci,netdev=bridge,addr={BRIDGE_PCI[8:]},mac=52:54:00:77:01:{10 + number:02x},"
                                "disable-legacy=on,romfile="]
        library.empty_disk(directory / "disks.img", DISKS_MIB)
        argv += ["-drive", f"if=none,id=disks,format=raw,file={directory}/disks.img,discard=unmap",
                 "-device", f"virtio-blk-pci,drive=disks,addr={DISKS_PCI[8:]},romfile="]
        if shelf:
            argv += ["-drive", f"if=none,id=library,format=raw,file={shelf},readonly=on",
                     "-device", f"virtio-blk-pci,drive=library,addr={LIBRARY_PCI[8:]},romfile="]
        self.shell_command = f"socat -,raw,echo=0 TCP:{self.agent.address}:{SHELL_PORT}"
        (directory / "command").write_text(shlex.join(map(str, argv)) + "\n")
        self._qemu = process.spawn(argv, directory / "qemu.log")
        self._waker = Waker(self.mgmt_address)

    def wait_ready(self, seconds: float = 180.0) -> None:
        """Waits until the host answers commands."""
        def ready() -> bool:
            if self._qemu.poll() is not None:
                raise process.CommandFailed(f"{self.name}: QEMU ended: {(self.directory / 'qemu.log').read_text()[-2000:]}")
            return self.agent.alive()
        process.wait_until(f"{self.name} answers (its console: {self.directory}/console.log)", ready, seconds, 0.1)

    def run(self, script: str, seconds: float = 30.0, check: bool = False) -> Result:
        return self.agent.run(script, seconds, check)

    def put(self, path: str, content: bytes) -> None:
        self.agent.put(path, content)

    def get(self, path: str) -> bytes:
        return self.agent.get(path)

    def stream(self, script: str) -> socket.socket:
        return self.agent.open(script)[0]

    def prepare_disks(self) -> None:
        self.run(f"""set -e
            modprobe virtio_blk
            for pair in {DISKS_PCI}:{self.disk_dir}:rw {LIBRARY_PCI}:{self.library_dir}:ro; do
                options=${{pair##*:}} pair=${{pair%:*}} place=${{pair##*:}}
                device=$(ls -d /sys/bus/pci/devices/${{pair%:*}}/virtio*/block/* 2>/dev/null) || continue
                grep -q " $place " /proc/mounts && continue
                mkdir -p $place
                mount -t ext4 -o $options /dev/${{device##*/}} $place
            done""", check=True)

    def mount_share(self, path: str = "/srv/share") -> str:
        self.run(Nas.mount_command(path, self.mgmt_address), check=True)
        return path

    def close(self) -> None:
        self._waker.close()
        process.stop(self._qemu)
        for tap in self._taps:
            process.run(["ip", "link", "del", tap], check=False)
