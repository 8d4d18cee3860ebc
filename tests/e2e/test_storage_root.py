# SPDX-License-Identifier: BSD-3-Clause
"""A Debian system, made by debootstrap, whose root file system is on a disk by the parent's way."""

import pytest

from testbed import disks, library, network
from testbed.bed import Bed
from testbed.guest import Guest
from testbed.host import Host, Vm


def debian(host: Host, image: str, number: int) -> Guest:
    """A guest that boots from an image."""
    vm = Vm(f"debian{number}", f"02:4c:55:4e:0d:0{number}", network.guest_address(80 + number), memory="512M",
            extra_cmdline=f"lunar.root={library.ROOT_LABEL}", disks=[{"path": image}])
    return Guest(host, vm).start(300)


def check_system(guest: Guest, mark: str) -> None:
    """It is Debian, up, on the disk, without a complaint; and it keeps what it writes."""
    assert "Debian" in guest.run("cat /etc/os-release").out
    assert guest.run("cat /proc/1/comm").out.strip() == "systemd"
    assert guest.run("findmnt -n -o SOURCE,FSTYPE /").out.split()[1] == "ext4"
    assert guest.run("apt-get --version | head -n 1").out.startswith("apt")
    guest.run(f"dd if=/dev/urandom of=/root/{mark} bs=1M count=8 2>/dev/null && sync && "
              f"sha256sum /root/{mark} >/root/{mark}.sum && sync")
    guest.run("echo 3 >/proc/sys/vm/drop_caches")
    guest.run(f"cd / && sha256sum -c /root/{mark}.sum")
    assert guest.dmesg("EXT4-fs error\\|I/O error\\|Call Trace") == []


@pytest.mark.deadline(720)
def test_debian_boots_from_a_vhd_and_from_a_chain(bed: Bed) -> None:
    """
    From a dynamic VHD of its own; then from a differencing one over a differencing one over it, which has what was written
    below; the parents are as they were.
    """
    host = bed.hosts[0]
    host.prepare_disks()
    base, middle, top = (f"{host.disk_dir}/debian-{name}.vhd" for name in ("base", "middle", "top"))
    host.run(f"cp {host.library_dir}/{library.DEBIAN_VHD} {base} && sync", 120, check=True)
    guest = debian(host, base, 1)
    try:
        check_system(guest, "first")
    finally:
        guest.stop()
    host.run(f"lunar vhd check {base} && lunar vhd snapshot {base} {middle} && lunar vhd snapshot {middle} {top}", 120,
             check=True)
    before = host.run(f"sha256sum {middle}; stat -c '%Y %s' {base}", 60).out
    guest = debian(host, top, 2)
    try:
        check_system(guest, "second")
        guest.run("cd / && sha256sum -c /root/first.sum")
    finally:
        guest.stop()
    assert host.run(f"sha256sum {middle}; stat -c '%Y %s' {base}", 60).out == before
    assert disks.check(host, disks.Image("differencing", top, library.ROOT_MIB)) == []
