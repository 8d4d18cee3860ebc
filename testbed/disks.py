# SPDX-License-Identifier: BSD-3-Clause
"""
Images of every kind on a host, the disks that a guest finds for them, and what is really in an image, as qemu-img reads it
on this machine.
"""

import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from testbed import paths, process, vhd
from testbed.guest import Guest
from testbed.host import Host

# What lunar vhd makes; raw is a sparse file, lun the LUN of a target that the host sees.
VHD_KINDS = ("fixed", "dynamic", "flex", "differencing")


@dataclass(frozen=True)
class Image:
    """An image on a host. files: itself, and the parents that it needs, nearest first."""
    kind: str
    path: str
    mib: int
    files: tuple[str, ...] = field(default=())


def create(host: Host, directory: str, name: str, kind: str, mib: int) -> Image:
    """Makes an empty image; a differencing one gets a dynamic parent beside it."""
    if kind == "raw":
        path = f"{directory}/{name}.img"
        host.run(f"truncate -s {mib}M {path}", check=True)
        return Image(kind, path, mib, (path,))
    path = f"{directory}/{name}.vhd"
    if kind == "differencing":
        parent = f"{directory}/{name}-parent.vhd"
        host.run(f"lunar vhd create {parent} {mib}M --format dynamic && lunar vhd snapshot {parent} {path}", 60, check=True)
        return Image(kind, path, mib, (path, parent))
    host.run(f"lunar vhd create {path} {mib}M --format {kind}", 120, check=True)
    return Image(kind, path, mib, (path,))


def check(host: Host, image: Image) -> list[str]:
    """
    What lunar vhd check says is wrong with an image that no VM uses; empty: nothing. (qemu-img check knows no VHDs; what
    qemu-img reads in them is contents().)
    """
    if image.kind == "raw":
        return []
    done = host.run(f"lunar vhd check {image.path}", 120)
    return [f"lunar vhd check: exit {done.rc}: {done.out.strip()}"] if done.rc else []


def check_copy(image: Image, work: Path) -> list[str]:
    """What lunar vhd check says is wrong with the copy that contents() has left in work."""
    if image.kind == "raw":
        return []
    try:
        process.run([paths.BIN / "lunar", "vhd", "check", work / Path(image.path).name], 60)
    except process.CommandFailed as failure:
        return [str(failure)]
    return []


def contents(host: Host, image: Image, work: Path, local: Path | None = None) -> Path:
    """
    The image's bytes as qemu-img sees them (testbed/vhd.py, for a chain), as a raw file on this machine; the VM may run. (Its
    disk holds still, or what is read is a mixture.) local: where this machine has the folder of the image, a share's.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for file in image.files:
        name = Path(file).name
        if local:
            shutil.copy2(local / name, work)
            continue
        (work / name).write_bytes(host.get(file))
        when = float(host.run(f"stat -c %Y {file}", check=True).out)  # a parent that is younger than its child is refused
        os.utime(work / name, (when, when))
    first = work / Path(image.path).name
    if image.kind == "raw":
        return first
    raw = work / "raw"
    if len(image.files) > 1:
        vhd.flatten([work / Path(file).name for file in image.files], raw)
        return raw
    process.run(["qemu-img", "convert", "-f", "vpc", "-O", "raw", first, raw], 120)
    return raw


def device(guest: Guest, lun: int, seconds: float = 20.0, controller: int | None = None) -> str:
    """
    The /dev name of the disk or drive at a LUN of the VM's controllers. controller: which one, in the order in which the guest
    found them; none: the LUN is of only one of them.
    """
    def found() -> str:
        listed = guest.run("for d in /sys/block/s[dr]*; do l=$(readlink -f $d/device); "
                           "case $l in *VMBUS*|*vmbus*) echo ${d##*/} ${l##*/};; esac; done", check=False).out
        rows = re.findall(r"^(s[dr]\w+) (\d+):\d+:\d+:(\d+)$", listed, re.M)
        hosts = sorted({int(number) for _, number, _ in rows})
        names = [name for name, number, at in rows if int(at) == lun
                 and (controller is None or int(number) == hosts[controller])]
        return f"/dev/{names[0]}" if len(names) == 1 else ""
    return process.wait_until(f"a disk at LUN {lun} in {guest.vm.name}", found, seconds, 0.3)


def size_mib(guest: Guest, disk: str) -> int:
    """The size that the guest's kernel has for a disk."""
    return int(guest.run(f"cat /sys/block/{disk.rsplit('/', 1)[-1]}/size").out) // 2048


def verified(guest: Guest, disk: str, mib: int, seconds: int, skip_mib: int = 0) -> dict:
    """Verified I/O on a disk for some seconds, to its end, and a flush; ioverify's report."""
    report = f"/tmp/{disk.rsplit('/', 1)[-1]}.json"
    guest.run(f"ioverify run {disk} --mib {mib} --skip {skip_mib} --seconds {seconds} --report {report} 2>&1", seconds + 120)
    guest.run(f"sg_sync {disk}")
    return json.loads(guest.run(f"cat {report}").out)


def digest(file: Path, mib: int, skip_mib: int = 0) -> str:
    """The digest that ioverify's report has, of a file on this machine; CommandFailed where a block is broken."""
    shown = process.run([paths.BIN / "ioverify", "check", file, "--mib", str(mib), "--skip", str(skip_mib)], 120)
    return json.loads(shown.splitlines()[-1])["digest"]


def flushed_problems(file: Path, mib: int, seed: int, flushed: int) -> list[str]:
    """What of the batches that ioflush said were flushed is not in a file on this machine."""
    done = process.run([paths.BIN / "ioflush", "check", file, "--mib", str(mib), "--seed", str(seed), "--flushed", str(flushed)],
                       120, check=False)
    return [] if '"lost": 0' in done else done.splitlines()


def host_login(host: Host, iqn: str, portal: str) -> str:
    """The host itself logs in to a target (open-iscsi): a LUN that the parent sees. Returns its /dev name."""
    host.run("modprobe iscsi_tcp; modprobe sd_mod; modprobe sg; mkdir -p /run/lock /etc/iscsi; "
             f"[ -e /etc/iscsi/initiatorname.iscsi ] || echo InitiatorName=iqn.2026-01.net.example:{host.name} "
             ">/etc/iscsi/initiatorname.iscsi; pidof iscsid >/dev/null || iscsid", check=True)
    before = set(_host_disks(host))
    host.run(f"iscsiadm -m node -o new -T {iqn} -p {portal} && iscsiadm -m node -T {iqn} -p {portal} --login", 60, check=True)
    [added] = process.wait_until("the host's disk", lambda: set(_host_disks(host)) - before, 20)
    return f"/dev/{added}"


def host_logout(host: Host, iqn: str) -> None:
    """Undoes host_login()."""
    host.run(f"iscsiadm -m node -T {iqn} --logout; iscsiadm -m node -T {iqn} -o delete", 60)


def _host_disks(host: Host) -> list[str]:
    return host.run("cd /sys/block && ls -d sd* 2>/dev/null").out.split()
