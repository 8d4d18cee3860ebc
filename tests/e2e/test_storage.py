# SPDX-License-Identifier: BSD-3-Clause
"""
Disks by the parent's way: a guest with one of every kind. The verdicts are the far end's: the image's bytes as qemu-img and
a reader of the tests' own see them, the target's backing file, the host's block layer.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from testbed import disks, library, network, process
from testbed.bed import Bed
from testbed.guest import Guest
from testbed.host import Host, Vm
from testbed.san import Target

pytestmark = pytest.mark.deadline(300)

MIB = 32
AREA_MIB = 8
KINDS = ("raw", *disks.VHD_KINDS)
DVD_LUN, LUN_LUN, BLOCK_LUN, HOT_LUN = 10, 11, 12, 20


@dataclass
class Stored:
    """A guest with a disk of every kind; what they are."""
    bed: Bed
    guest: Guest
    images: dict[str, disks.Image]
    lun: Target
    block: Target

    @property
    def host(self) -> Host:
        """Where the guest runs."""
        return self.guest.host

    def device(self, kind: str) -> str:
        """The /dev name of the disk of a kind."""
        numbers = {**{each: number for number, each in enumerate(KINDS)}, "dvd": DVD_LUN, "lun": LUN_LUN, "block": BLOCK_LUN}
        return disks.device(self.guest, numbers[kind])


@pytest.fixture(scope="module")
def stored(bed: Bed) -> Iterator[Stored]:
    """One guest for all tests of this file."""
    host = bed.hosts[0]
    host.prepare_disks()
    bed.san.plug_parents()
    lun, block = bed.san.add_target("storage-lun", MIB << 20), bed.san.add_target("storage-block", MIB << 20)
    images = {kind: disks.create(host, host.disk_dir, f"storage-{kind}", kind, MIB) for kind in KINDS}
    device = disks.host_login(host, block.iqn, network.PARENTS_SAN_IP)
    vm = Vm("stored", "02:4c:55:4e:0a:01", network.guest_address(91), vps=2, memory="384M", disks=[
        *({"path": images[kind].path, "lun": number} for number, kind in enumerate(KINDS)),
        {"path": f"{host.library_dir}/{library.DVD_ISO}", "type": "dvd", "lun": DVD_LUN},
        {"url": lun.parents_url, "initiator": "iqn.2026-01.net.example:parent", "lun": LUN_LUN},
        {"path": device, "passthrough": True, "lun": BLOCK_LUN}])
    guest = Guest(host, vm)
    try:
        guest.start(240)
        guest.run("modprobe sr_mod; modprobe isofs")
        yield Stored(bed, guest, images, lun, block)
    finally:
        guest.stop()
        disks.host_logout(host, block.iqn)
        for target in (lun, block):
            bed.san.remove_target(target)


def disk_command(host: Host, words: str, check: bool = True) -> str:
    """lunar disk ..."""
    return host.run(f"lunar disk {words}", 60, check=check).out


def test_guest_finds_each_disk_at_its_lun(stored: Stored) -> None:
    """Every disk with its size; vmwp's own words agree; the guest's kernel has nothing to complain of."""
    for kind in (*KINDS, "lun", "block"):
        assert disks.size_mib(stored.guest, stored.device(kind)) == MIB, kind
    assert "/dev/sr" in stored.device("dvd")
    shown = json.loads(disk_command(stored.host, f"list {stored.guest.vm.name} --json"))
    assert len(shown) == len(stored.guest.vm.disks)
    assert stored.guest.dmesg("storvsc.*\\(fail\\|error\\)\\|sd .*\\(fail\\|error\\)") == []


def test_what_the_guest_wrote_is_in_each_image(stored: Stored) -> None:
    """Verified I/O on each kind; what is then in the image, as others read it, is block for block what the guest wrote."""
    for kind, image in stored.images.items():
        report = disks.verified(stored.guest, stored.device(kind), AREA_MIB, 2)
        assert (report["errors"], report["verify_errors"]) == (0, 0), kind
        assert report["writes"] > 10
        read = disks.contents(stored.host, image, stored.bed.directory / "contents")
        assert disks.digest(read, AREA_MIB) == report["digest"], kind


@pytest.mark.parametrize("kind", ["lun", "block"])
def test_what_the_guest_wrote_is_on_the_targets_disk(stored: Stored, kind: str) -> None:
    """A LUN by its URL, and one that the host is logged in to, passed through: the SAN's file has the guest's blocks."""
    target = {"lun": stored.lun, "block": stored.block}[kind]
    report = disks.verified(stored.guest, stored.device(kind), AREA_MIB, 2)
    assert (report["errors"], report["verify_errors"]) == (0, 0)
    assert disks.digest(target.luns[1], AREA_MIB) == report["digest"]
    # The answers are the target's own.
    assert "IET" in stored.guest.run(f"sg_inq {stored.device(kind)} | grep -i vendor").out


def test_dvd_is_read_ejected_and_changed(stored: Stored) -> None:
    """An ISO image in a drive: the guest mounts it; it goes, and another comes."""
    guest, drive = stored.guest, stored.device("dvd")
    name, iso = guest.vm.name, f"{stored.host.library_dir}/{library.DVD_ISO}"
    guest.run(f"mkdir -p /mnt/dvd; mount -t iso9660 -o ro {drive} /mnt/dvd")
    assert guest.run("cat /mnt/dvd/readme.txt").out == library.DVD_TEXT
    guest.run("umount /mnt/dvd")
    disk_command(stored.host, f"eject {name} 0:{DVD_LUN}")
    assert guest.run(f"mount -t iso9660 -o ro {drive} /mnt/dvd", check=False).rc != 0
    disk_command(stored.host, f"insert {name} 0:{DVD_LUN} {iso}")
    process.wait_until("the medium is there",
                       lambda: guest.run(f"mount -t iso9660 -o ro {drive} /mnt/dvd", check=False).rc == 0, 20)
    assert guest.run("sha256sum </mnt/dvd/data").out.split()[0] == hashlib.sha256(bytes(range(256)) * 4096).hexdigest()
    guest.run("umount /mnt/dvd")


def test_disk_comes_and_goes_while_the_guest_runs(stored: Stored) -> None:
    """Hot add, I/O, hot remove, twice; the image is free for others afterwards."""
    host, guest = stored.host, stored.guest
    image = disks.create(host, host.disk_dir, "storage-hot", "dynamic", MIB)
    for _ in range(2):
        disk_command(host, f"add {guest.vm.name} {image.path} --lun {HOT_LUN}")
        device = disks.device(guest, HOT_LUN)
        report = disks.verified(guest, device, AREA_MIB, 1)
        assert (report["errors"], report["verify_errors"]) == (0, 0)
        disk_command(host, f"remove {guest.vm.name} 0:{HOT_LUN}")
        process.wait_until("the disk is gone", lambda: guest.run(f"test -e {device}", check=False).rc != 0, 20, 0.3)
        assert disks.check(host, image) == []
        assert disks.digest(disks.contents(host, image, stored.bed.directory / "hot"), AREA_MIB) == report["digest"]


@pytest.mark.parametrize("kind", ["raw", "dynamic"])
def test_guest_sees_its_disk_grow(stored: Stored, kind: str) -> None:
    """lunar disk resize: the guest's kernel has the new size without being asked, and writes to its end."""
    guest, device = stored.guest, stored.device(kind)
    lun = KINDS.index(kind)
    disk_command(stored.host, f"resize {guest.vm.name} 0:{lun} {2 * MIB}M")
    process.wait_until("the guest sees it", lambda: disks.size_mib(guest, device) == 2 * MIB, 30, 0.3)
    report = disks.verified(guest, device, AREA_MIB, 1, skip_mib=2 * MIB - AREA_MIB)
    assert (report["errors"], report["verify_errors"]) == (0, 0)
    read = disks.contents(stored.host, stored.images[kind], stored.bed.directory / "grown")
    assert disks.digest(read, AREA_MIB, 2 * MIB - AREA_MIB) == report["digest"]


def flushes(host: Host) -> int:
    """How many flushes the disk below the host's images has done, by the host's kernel's count (Documentation/block/stat)."""
    return int(host.run("cat /sys/block/vda/stat").out.split()[15])


@pytest.mark.parametrize("how", ["", "--fua"], ids=["flush", "fua"])
def test_flush_and_fua_reach_the_hosts_disk(stored: Stored, how: str) -> None:
    """Each batch that was made stable in the guest has flushed the disk below the image."""
    if stored.bed.kind != "qemu":
        pytest.skip("the count is of a host's own disk")
    for kind in ("raw", "dynamic"):
        before = flushes(stored.host)
        said = stored.guest.run(f"ioflush run {stored.device(kind)} --mib 1 --seed 1 --batch 1 --seconds 2 {how} | tail -n 1").out
        batches = int(re.search(r"flushed (\d+)", said)[1])
        assert batches > 3
        assert flushes(stored.host) - before >= batches, (kind, batches)


def test_bus_reset_leaves_nothing_undone(stored: Stored) -> None:
    """A reset while I/O is under way (Linux lets the bus settle for ten seconds then): everything ends, and is right."""
    guest = stored.guest
    devices = {kind: stored.device(kind) for kind in ("raw", "dynamic", "lun")}
    for kind, device in devices.items():
        guest.run(f"ioverify run {device} --mib {AREA_MIB} --seconds 3 --report /tmp/reset-{kind}.json "
                  f">/tmp/reset-{kind}.log 2>&1 &")
    guest.run(f"sleep 1; sg_reset -d {devices['dynamic']}", 90)
    for kind in devices:
        report = process.wait_until(f"{kind} ends", lambda kind=kind: json.loads(
            guest.run(f"grep '\"ended\": true' /tmp/reset-{kind}.json || echo null", check=False).out), 60, 0.5)
        assert (report["errors"], report["verify_errors"]) == (0, 0), kind
