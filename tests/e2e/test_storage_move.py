# SPDX-License-Identifier: BSD-3-Clause
"""
A VM moves with its storage shared by both hosts: images on an NFS share, and a LUN that the parents see. It does verified I/O
meanwhile; the verdict is that of the share's files and of the target's.
"""

import json
from collections.abc import Iterator

import pytest

from testbed import disks, network, process
from testbed.bed import Bed
from testbed.guest import Guest
from testbed.host import Vm
from testbed.moves import EXIT_CANNOT_MOVE, move_over, other
from testbed.san import Target

pytestmark = pytest.mark.usefixtures("moves")

MIB = 32
AREA_MIB = 8
PARENT = "iqn.2026-01.net.example:parent"


@pytest.fixture(scope="module")
def lun(bed: Bed) -> Iterator[Target]:
    """A LUN that the parents see."""
    bed.san.plug_parents()
    made = bed.san.add_target("storage-moving", MIB << 20)
    yield made
    bed.san.remove_target(made)


@pytest.mark.deadline(300)
def test_vm_moves_with_images_on_a_share_and_a_lun(bed: Bed, lun: Target) -> None:
    """There and back under I/O on a raw file, a dynamic VHD, a differencing one and a LUN: every block is right."""
    share = {host.name: (bed.nas, host.prepare_disks(), host.mount_share())[2] for host in bed.hosts}[bed.hosts[0].name]
    images = {kind: disks.create(bed.hosts[0], share, f"moving-{kind}", kind, MIB) for kind in ("raw", "dynamic", "differencing")}
    guest = Guest(bed.hosts[0], Vm("carried", "02:4c:55:4e:0c:01", network.guest_address(93), memory="256M", disks=[
        *({"path": image.path} for image in images.values()), {"url": lun.parents_url, "initiator": PARENT}])).start()
    try:
        kinds = [*images, "lun"]
        devices = {kind: disks.device(guest, number) for number, kind in enumerate(kinds)}
        for kind, device in devices.items():
            guest.run(f"ioverify run {device} --mib {AREA_MIB} --depth 4 --rate 100 --report /tmp/{kind}.json "
                      f">/tmp/{kind}.log 2>&1 & echo $! >/tmp/{kind}.pid")

        def report(kind: str) -> dict:
            shown = guest.run(f"cat /tmp/{kind}.json 2>/dev/null", check=False).out
            return json.loads(shown) if shown.strip() else {"ended": False, "reads": 0, "writes": 0, "errors": 0}

        def progress() -> None:
            before = {kind: report(kind)["writes"] for kind in kinds}
            process.wait_until("I/O goes on on every disk", lambda: all(
                report(kind)["writes"] > before[kind] + 5 for kind in kinds), 60, 0.5)

        progress()
        for _ in range(2):
            move_over(bed, guest)
            progress()
        guest.run("kill $(cat /tmp/*.pid)")
        ended = {kind: process.wait_until(f"{kind} is verified", lambda kind=kind: (shown := report(kind))["ended"] and shown,
                                          60, 0.5) for kind in kinds}
        for kind, shown in ended.items():
            assert (shown["errors"], shown["verify_errors"]) == (0, 0), (kind, guest.run(f"tail -n 5 /tmp/{kind}.log").out)
        guest.run("; ".join(f"sg_sync {device}" for device in devices.values()))
        print({kind: shown["longest_stall_ms"] for kind, shown in ended.items()})
        assert guest.dmesg("storvsc.*\\(fail\\|error\\|timed\\)\\|I/O error") == []
    finally:
        guest.stop()
    for kind, image in images.items():
        assert disks.check(bed.hosts[0], image) == []
        read = disks.contents(bed.hosts[0], image, bed.directory / "moved")
        assert disks.digest(read, AREA_MIB) == ended[kind]["digest"], kind
    assert disks.digest(lun.luns[1], AREA_MIB) == ended["lun"]["digest"]


@pytest.mark.deadline(180)
def test_vm_whose_disk_the_other_host_lacks_does_not_move(bed: Bed) -> None:
    """lunar migrate --check names the disk; the move is refused, and the VM runs on."""
    host = bed.hosts[0]
    host.prepare_disks()
    image = disks.create(host, host.disk_dir, "at-home", "dynamic", MIB)
    guest = Guest(host, Vm("homely", "02:4c:55:4e:0c:02", network.guest_address(94), memory="256M",
                           disks=[{"path": image.path}])).start()
    try:
        checked = host.migrate(guest.vm, other(bed, host), "--check", check=False)
        assert checked.rc == EXIT_CANNOT_MOVE
        assert image.path in checked.out
        assert host.migrate(guest.vm, other(bed, host), check=False).rc != 0
        report = disks.verified(guest, disks.device(guest, 0), AREA_MIB, 1)
        assert (report["errors"], report["verify_errors"]) == (0, 0)
    finally:
        guest.stop()


@pytest.mark.deadline(180)
def test_two_hosts_never_write_one_image(bed: Bed) -> None:
    """An image on the share that a VM of one host has is refused to a VM of the other, until the first has ended."""
    first, second = bed.hosts
    share = {host.name: (bed.nas, host.prepare_disks(), host.mount_share())[2] for host in bed.hosts}[first.name]
    image = disks.create(first, share, "contended", "dynamic", MIB)
    guests = [Guest(host, Vm(f"rival{number}", f"02:4c:55:4e:0c:1{number}", network.guest_address(95 + number), memory="256M",
                             disks=[{"path": image.path}])) for number, host in enumerate((first, second))]
    guests[0].start()
    try:
        second.create_vm(guests[1].vm)
        refused = second.run(f"lunar start {guests[1].vm.name}", 60)
        assert refused.rc != 0 and image.path in refused.out + second.vm_log(guests[1].vm), refused.out
        second.stop_vm(guests[1].vm)
    finally:
        guests[0].stop()
    guests[1].start().stop()


@pytest.mark.deadline(240)
def test_share_that_hangs_and_comes_back_loses_nothing(bed: Bed) -> None:
    """The file server dies amid I/O, and comes back: the guest waits, and every block is right."""
    host = bed.hosts[0]
    bed.nas, host.prepare_disks()
    share = host.mount_share()
    image = disks.create(host, share, "patient", "dynamic", MIB)
    guest = Guest(host, Vm("patient", "02:4c:55:4e:0c:03", network.guest_address(97), memory="256M",
                           disks=[{"path": image.path}])).start()
    try:
        device = disks.device(guest, 0)
        guest.run(f"ioverify run {device} --mib {AREA_MIB} --report /tmp/io.json >/tmp/io.log 2>&1 & echo $! >/tmp/io.pid")
        for _ in range(2):
            guest.run("sleep 1")
            bed.nas.stop()
            guest.run("sleep 3")
            bed.nas.start()
        writes = process.wait_until("a report", lambda: guest.run("cat /tmp/io.json", check=False).out, 60, 0.5)
        process.wait_until("I/O goes on", lambda: json.loads(guest.run("cat /tmp/io.json").out)["writes"]
                           > json.loads(writes)["writes"] + 5, 90, 0.5)
        guest.run("kill $(cat /tmp/io.pid)")
        process.wait_until("all is verified", lambda: '"ended": true' in guest.run("cat /tmp/io.json").out, 60, 0.5)
        report = json.loads(guest.run(f"sg_sync {device} >/dev/null; cat /tmp/io.json").out)
        assert (report["errors"], report["verify_errors"]) == (0, 0), guest.run("tail -n 5 /tmp/io.log").out
    finally:
        guest.stop()
    assert disks.check(host, image) == []
    assert disks.digest(disks.contents(host, image, bed.directory / "patient"), AREA_MIB) == report["digest"]
