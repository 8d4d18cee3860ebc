# SPDX-License-Identifier: BSD-3-Clause
"""
A guest attaches its own LUN by IQN. The verdicts are the far end's: the backing file, the target's session table, the
frames on the uplink, the host's own sockets. LUNAR_DATA_MIB: how much is written by each initiator (256).
"""

import os
from collections.abc import Iterator

import pytest

from testbed import evidence, network
from testbed.bed import Bed
from testbed.capture import Capture
from testbed.guest import Guest
from testbed.san import Account, Session, Target

DATA_MIB = int(os.environ.get("LUNAR_DATA_MIB", "256"))
LOGIN = Account("guest", "a-secret-of-16-b")
PROOF = Account("target", "another-secret-16")


@pytest.fixture
def target(bed: Bed, request: pytest.FixtureRequest) -> Iterator[Target]:
    """A target of the test's own."""
    made = bed.san.add_target(request.node.name.replace("_", "-").split("[")[0][:60])
    yield made
    bed.san.remove_target(made)


def check_data(bed: Bed, guest: Guest, target: Target, disk: str) -> None:
    """Random data hash to the same on the SAN, and in the guest past its cache."""
    written = guest.write_random(disk, DATA_MIB)
    assert bed.san.sha256(target, DATA_MIB << 20) == written
    assert guest.read_hash(disk, DATA_MIB) == written


@pytest.mark.deadline(300)
def test_lunar_iscsi_attaches_writes_and_reads_the_lun(bed: Bed, guest: Guest, target: Target) -> None:
    """The main job, with every witness."""
    opened = [evidence.connections_opened(host) for host in bed.hosts]
    capture = Capture(guest.host.uplink_tap, bed.directory / "attach.pcap", "tcp port 3260")
    disk = guest.attach(target.url)
    assert bed.san.sessions(target) == [Session(guest.vm.iqn, guest.vm.ip)]
    check_data(bed, guest, target, disk)
    assert [evidence.storage_connections(host, before) for host, before in zip(bed.hosts, opened)] == ["", ""]
    guest.detach(disk)
    assert bed.san.sessions(target) == []
    capture.stop()
    sources = capture.sources("tcp dst port 3260")
    assert list(sources) == [guest.vm.mac]
    # The SAN saw it all, so did the capture: a frame of what the guest sends carries 64 KiB at most.
    assert sources[guest.vm.mac] > DATA_MIB * 16


@pytest.mark.deadline(300)
def test_open_iscsi_passes_the_same(bed: Bed, guest: Guest, target: Target) -> None:
    """Debian's own initiator, unmodified."""
    disk = guest.open_iscsi_login(target.iqn, network.SAN_IP)
    assert bed.san.sessions(target) == [Session(guest.vm.iqn, guest.vm.ip)]
    check_data(bed, guest, target, disk)
    guest.open_iscsi_logout(target.iqn)
    assert bed.san.sessions(target) == []


def test_disk_shows_the_targets_own_inquiry(guest: Guest, target: Target) -> None:
    """CDBs pass through: what INQUIRY, VPD and reservations say is the target's."""
    disk = guest.attach(target.url)
    assert evidence.disk(guest, disk) == "512 MiB, IET VIRTUAL-DISK"
    assert "IET" in guest.run(f"sg_vpd -p di {disk}").out
    assert guest.run(f"sg_persist --out --register --param-sark=0x4c55 {disk}").rc == 0
    assert "0x4c55" in guest.run(f"sg_persist --in --read-keys {disk}").out
    guest.run(f"sg_persist --out --register --param-rk=0x4c55 {disk}")
    guest.detach(disk)


@pytest.mark.parametrize("mutual", [False, True], ids=["one-way", "mutual"])
def test_chap_lets_both_initiators_in(bed: Bed, guest: Guest, mutual: bool) -> None:
    """CHAP, one way and mutual, by lunar-iscsi and by open-iscsi."""
    target = bed.san.add_target("chap", login=LOGIN, proof=PROOF if mutual else None)
    try:
        secrets = f"LUNAR_ISCSI_SECRET={LOGIN.secret}"
        settings = {"node.session.auth.authmethod": "CHAP", "node.session.auth.username": LOGIN.user,
                    "node.session.auth.password": LOGIN.secret}
        options = ""
        if mutual:
            secrets += f" LUNAR_ISCSI_MUTUAL_SECRET={PROOF.secret}"
            options = f"--mutual-user {PROOF.user}"
            settings |= {"node.session.auth.username_in": PROOF.user, "node.session.auth.password_in": PROOF.secret}
        disk = guest.attach(target.url.replace("//", f"//{LOGIN.user}@"), options, secrets)
        guest.run(f"dd if=/dev/urandom of={disk} bs=1M count=1 conv=fsync")
        assert bed.san.sessions(target) == [Session(guest.vm.iqn, guest.vm.ip)]
        guest.detach(disk)
        disk = guest.open_iscsi_login(target.iqn, network.SAN_IP, settings)
        assert bed.san.sessions(target) == [Session(guest.vm.iqn, guest.vm.ip)]
        guest.open_iscsi_logout(target.iqn)
    finally:
        bed.san.remove_target(target)


def test_list_show_and_discover_know_the_session(guest: Guest, target: Target) -> None:
    """What lunar-iscsi tells of a session, and that the target is found."""
    assert target.iqn in guest.run(f"lunar-iscsi discover {network.SAN_IP}").out
    disk = guest.attach(target.url)
    assert target.iqn in guest.run("lunar-iscsi list").out
    assert target.iqn in guest.run(f"lunar-iscsi show {disk} --json").out
    guest.detach(disk)
    assert target.iqn not in guest.run("lunar-iscsi list").out
