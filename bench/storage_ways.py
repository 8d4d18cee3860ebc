# SPDX-License-Identifier: BSD-3-Clause
"""What bench/storage compares: the jobs, the ways with their guests, and who spent how much of a processor."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from bench.peers import machine_argv
from testbed import process
from testbed.bed import Bed
from testbed.console import Console
from testbed.guest import READY, Guest
from testbed.host import Host

TICKS = 100  # a second, in /proc (USER_HZ)


@dataclass(frozen=True)
class Job:
    """One of iobench's jobs."""
    block: int
    random: bool
    reads: int  # percent
    depth: int

    @property
    def what(self) -> str:
        """Read, write or mixed."""
        return {100: "read", 0: "write"}.get(self.reads, "mixed")

    @property
    def size(self) -> str:
        """The block's size as people write it."""
        return f"{self.block >> 10}k" if self.block < 1 << 20 else f"{self.block >> 20}M"

    @property
    def name(self) -> str:
        """For people and for the JSON file."""
        return f"{self.size} {'random' if self.random else 'sequential'} {self.what} qd{self.depth}"

    @property
    def options(self) -> str:
        """For iobench."""
        return f"--block {self.block} {'--random' if self.random else ''} --reads {self.reads} --depth {self.depth}"


# Mixed, and of 1 MiB, only with some in flight: one at a time they say what 64k reads and writes do.
JOBS = [
    *(Job(4096, True, reads, depth) for reads in (100, 0) for depth in (1, 8, 32)),
    *(Job(4096, True, 70, depth) for depth in (1, 32)),
    *(Job(65536, False, reads, depth) for reads in (100, 0) for depth in (1, 8)),
    Job(65536, False, 50, 8),
    *(Job(1 << 20, False, reads, 4) for reads in (100, 0, 50)),
]
# Where there is little time: what the plot shows, and one mixed.
FEW_JOBS = [job for job in JOBS if (job.block, job.depth) in ((4096, 1), (4096, 32), (65536, 8), (1 << 20, 4))
            and (job.reads in (100, 0) or job.depth == 32)]


class Cpu:
    """Who spent how much: the guest, the process that runs it, netvspd, the rest of the host, the target."""

    def __init__(self, host: Host, vmm: int, netvspd: int, bed: Bed):
        """vmm, netvspd: pids in the host; netvspd 0: it takes no part."""
        self._host, self._vmm, self._netvspd, self._bed = host, vmm, netvspd, bed

    def seconds(self) -> dict[str, float]:
        """As it stands now."""
        shown = self._host.run(f"head -n 1 /proc/stat; cat /proc/{self._vmm}/stat; cat /proc/{self._netvspd or 1}/stat",
                               check=True).lines()
        busy = [int(word) for word in shown[0].split()[1:]]
        vmm, netvspd = (line.rpartition(")")[2].split() for line in shown[1:3])
        guest = int(vmm[40]) / TICKS                                # guest_time, proc(5)
        vmm_s = (int(vmm[11]) + int(vmm[12])) / TICKS - guest      # utime, stime
        net_s = (int(netvspd[11]) + int(netvspd[12])) / TICKS if self._netvspd else 0.0
        total = sum(busy[index] for index in (0, 1, 2, 5, 6)) / TICKS  # guest time is in user time
        return {"guest": guest, "vmwp or QEMU": vmm_s, "netvspd": net_s, "rest of the host": total - guest - vmm_s - net_s,
                "target": self._target()}

    def _target(self) -> float:
        """The SAN's processes, on this machine."""
        pids = [self._bed.san.pid] + ([self._bed.nas.pid] if "nas" in self._bed.__dict__ else [])
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
        return sum(int(each[11]) + int(each[12]) for each in fields) / TICKS


def _iscsi_options(url: str, initiator: str) -> str:
    """QEMU's words for iscsi://HOST/IQN/LUN."""
    portal, target, lun = url.removeprefix("iscsi://").split("/")
    return (f"file.driver=iscsi,file.transport=tcp,file.portal={portal},file.target={target},file.lun={lun},"
            f"file.initiator-name={initiator}")


class QemuScsiGuest:
    """A guest under QEMU with virtio-scsi disks and an I/O thread; no NIC."""

    def __init__(self, host: Host, memory_mib: str, disks: dict[str, str], initiator: str):
        """disks: files of the host or iscsi:// URLs, by the names that device() knows."""
        self._host, self._names = host, list(disks)
        argv = machine_argv("q35", host, memory_mib, 1, "console=ttyS0 quiet panic=-1 lunar.name=peer lunar.virtio") + [
            "-object", "iothread,id=io0",
            "-device", "virtio-scsi-pci,id=scsi0,iothread=io0"]
        for number, (name, source) in enumerate(disks.items()):
            # The file is also ours: no lock. Both never write at one time.
            file = (_iscsi_options(source, f"{initiator}-qemu") if source.startswith("iscsi:") else
                    f"file.driver=file,file.filename={source},file.locking=off,file.aio=io_uring,cache.direct=on")
            argv += ["-drive", f"if=none,id={name},format=raw,{file}",
                     "-device", f"scsi-hd,drive={name},bus=scsi0.0,lun={number}"]
        self.command = shlex.join(argv)
        argv += ["-serial", "unix:/tmp/peer.sock,server=on,wait=on"]
        host.run(f"setsid {shlex.join(argv)} >/tmp/peer.log 2>&1 </dev/null & echo $! >/tmp/peer.pid; n=0; "
                 "while ! test -S /tmp/peer.sock; do sleep 0.05; n=$((n + 1)); "
                 "[ $n -lt 500 ] || { cat /tmp/peer.log; exit 1; }; done", 60, check=True)
        self.pid = int(host.run("cat /tmp/peer.pid").out)
        self._console = Console(host.stream("exec socat - UNIX-CONNECT:/tmp/peer.sock"), "peer")
        self._console.expect(READY, 300)
        self.run("modprobe virtio_scsi")

    def run(self, command: str, seconds: float = 60.0):
        """Runs a shell command in the guest."""
        return self._console.run(command, seconds, check=True)

    def device(self, name: str) -> str:
        """The /dev name of a disk."""
        lun = self._names.index(name)
        def found() -> str:
            listed = self.run("for d in /sys/block/sd*; do echo ${d##*/} $(basename $(readlink $d/device)); done").lines()
            return next((line.split()[0] for line in listed if line.endswith(f":{lun}")), "")
        return "/dev/" + process.wait_until(f"QEMU's disk {name}", found, 20, 0.3)


@dataclass(frozen=True)
class Way:
    """One way from a guest to storage."""
    group: str  # what lies below: ways to the same bytes stand together
    name: str
    guest: Guest | QemuScsiGuest
    device: str
    cpu: Cpu
