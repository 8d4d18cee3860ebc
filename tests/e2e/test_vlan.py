# SPDX-License-Identifier: BSD-3-Clause
"""
VLAN modes. The verdicts are the far end's: which tag a frame has on the uplink (captures of the wire), which interface of
the guest a frame from the wire reaches, whether two guests reach each other, and the SAN's own view of an iSCSI session.
The tables here are those of docs/networking.md.
"""

import json
import re
from collections.abc import Iterator

import pytest

from testbed import network, process
from testbed.bed import Bed
from testbed.capture import Capture
from testbed.guest import Guest
from testbed.host import Host, Vm
from testbed.moves import move_over
from testbed.san import Session, Target
from testbed.verified_io import VerifiedIo

EXIT_EXISTS = 15
NOBODY = 250  # an address that nobody has: asking for it makes ARP requests
DROPPED = "dropped"
PLAIN = "no tag"

# Options of lunar vlan, and for a frame that the guest sends (without a tag, with VLAN 10, with VLAN 20) its tag on the uplink.
OUT = {
    "--default": (PLAIN, 10, 20),
    "--untagged": (PLAIN, DROPPED, DROPPED),
    "--access 10": (10, DROPPED, DROPPED),
    "--trunk 20 --native 10": (10, 10, 20),
    "--trunk 20": (PLAIN, DROPPED, 20),
    "--isolated 10,20": (20, DROPPED, DROPPED),
    "--community 10,20": (20, DROPPED, DROPPED),
    "--promiscuous 10,20": (10, DROPPED, DROPPED),
}
# The same, and for a frame on the wire (without a tag, with VLAN 10, with VLAN 20) how the guest gets it.
IN = {
    "--default": (PLAIN, 10, 20),
    "--untagged": (PLAIN, DROPPED, DROPPED),
    "--access 10": (DROPPED, PLAIN, DROPPED),
    "--trunk 20 --native 10": (DROPPED, PLAIN, 20),
    "--trunk 20": (PLAIN, DROPPED, 20),
    "--isolated 10,20": (DROPPED, PLAIN, DROPPED),
    "--community 10,20": (DROPPED, PLAIN, PLAIN),
    "--promiscuous 10,20": (DROPPED, PLAIN, PLAIN),
}
# For pairs: two communities and two private VLANs beside each other cannot have one secondary, so the community has 30.
PAIRS = ["--default", "--untagged", "--access 10", "--access 11", "--trunk 20 --native 10", "--isolated 10,20",
         "--community 10,30", "--promiscuous 10,20,30"]
# Whom each reaches with frames without a tag, and hears: by hand, not by the model of the unit tests.
REACHES = {
    ("--default", "--default"), ("--default", "--untagged"), ("--untagged", "--untagged"),
    ("--access 10", "--access 10"), ("--access 10", "--trunk 20 --native 10"), ("--access 10", "--promiscuous 10,20,30"),
    ("--access 11", "--access 11"),
    ("--trunk 20 --native 10", "--trunk 20 --native 10"), ("--trunk 20 --native 10", "--promiscuous 10,20,30"),
    ("--isolated 10,20", "--promiscuous 10,20,30"),
    ("--community 10,30", "--community 10,30"), ("--community 10,30", "--promiscuous 10,20,30"),
    ("--promiscuous 10,20,30", "--promiscuous 10,20,30"),
}
FRAMES = 20
DATA_MIB = 16
SEND = """
import socket, struct, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("eth0", 0))
head = bytes.fromhex("ffffffffffff" + "024c554e0599")
tags = [int(word) for word in sys.argv[2].split(",") if word]
body = b"".join(struct.pack("!HH", 0x8100, tag) for tag in tags) + struct.pack("!H", 0x88b5) + bytes(60)
for _ in range(int(sys.argv[1])):
    wire.send(head + body)
"""


@pytest.fixture(scope="module")
def pair(bed: Bed) -> Iterator[list[Guest]]:
    """Two guests on host 1, each with interfaces of its own making in VLAN 10 and 20."""
    guests: list[Guest] = []
    try:
        for number in (51, 52):
            vm = Vm(f"vlan{number}", f"02:4c:55:4e:05:{number:02x}", network.guest_address(number), memory="192M")
            guest = Guest(bed.hosts[0], vm).start()
            guests.append(guest)
            add_vlans(guest, number)
        yield guests
    finally:
        for guest in guests:
            guest.stop()


@pytest.fixture
def target(bed: Bed, request: pytest.FixtureRequest) -> Iterator[Target]:
    """A target of the test's own, reached in VLAN 10."""
    bed.san.plug_vlan(10)
    made = bed.san.add_target(re.sub(r"[^a-z0-9]+", "-", request.node.name)[:60].strip("-"))
    yield made
    bed.san.remove_target(made)
    bed.san.unplug_vlans()


def add_vlans(guest: Guest, number: int) -> None:
    """The guest's own 802.1Q interfaces."""
    guest.run("modprobe 8021q")
    for vlan in (10, 20):
        guest.run(f"ip link add link eth0 name eth0.{vlan} type vlan id {vlan} && "
                  f"echo 1 >/proc/sys/net/ipv6/conf/eth0.{vlan}/disable_ipv6; "
                  f"ip address add {network.vlan_address(vlan, number)} dev eth0.{vlan} && ip link set eth0.{vlan} up")


def set_mode(guest: Guest, options: str) -> None:
    """lunar vlan, which must succeed."""
    done = guest.host.run(f"lunar vlan {guest.vm.name} {options}")
    assert done.rc == 0, done.out


def shown_mode(guest: Guest) -> dict[str, object]:
    """What lunar show tells of the NIC's mode."""
    return json.loads(guest.host.run(f"lunar show {guest.vm.name} --json", check=True).out)["nics"][0]["vlan"]


def requests_on_wire(capture: Capture, guest: Guest, address: str) -> set[object]:
    """The tags (PLAIN: none) of the guest's ARP requests for that address."""
    out = process.run(["sh", "-c", 'exec tcpdump -Z root -n -e -r "$1" 2>/dev/null', "sh", capture.file], 60)
    tags: set[object] = set()
    for line in out.splitlines():
        if f" {guest.vm.mac} > " in line and f"who-has {address} " in line:
            found = re.search(r"vlan (\d+), p \d", line)
            tags.add(int(found[1]) if found else PLAIN)
    return tags


@pytest.mark.deadline(240)
def test_frames_of_a_guest_leave_with_the_tag_of_its_mode(bed: Bed, pair: list[Guest]) -> None:
    """Every mode, guest to wire."""
    guest, found = pair[0], {}
    subnets = (0, 10, 20)
    for options in OUT:
        set_mode(guest, options)
        capture = Capture(guest.host.uplink_tap, bed.directory / "vlan-out.pcap")
        guest.run("; ".join(f"ping -c 3 -W 1 10.77.{subnet}.{NOBODY} & " for subnet in subnets).replace("& ;", "&") + " wait",
                  check=False)
        capture.stop()
        tags = [requests_on_wire(capture, guest, f"10.77.{subnet}.{NOBODY}") for subnet in subnets]
        found[options] = tuple(next(iter(tag)) if len(tag) == 1 else tag or DROPPED for tag in tags)
    assert found == OUT
    assert json.loads(guest.host.run(f"lunar vlan show {guest.vm.name} --json").out)[0]["stats"]["tx_vlan"] > 0


def received(guest: Guest) -> dict[object, int]:
    """How many frames each of the guest's interfaces has received."""
    words = guest.run("cd /sys/class/net && cat eth0/statistics/rx_packets eth0.10/statistics/rx_packets "
                      "eth0.20/statistics/rx_packets").out.split()
    total, ten, twenty = (int(word) for word in words)
    return {PLAIN: total - ten - twenty, 10: ten, 20: twenty}


def send_from_san(bed: Bed, tags: str, count: int = FRAMES) -> None:
    """Broadcast frames of nobody's protocol, with these tags, one in the other."""
    bed.san.namespace.run(["/usr/bin/python3", "-c", SEND, str(count), tags])


def how_it_came(guest: Guest, before: dict[object, int]) -> object:
    """By which interface most of the frames came that were sent since."""
    after = received(guest)
    ways = [way for way in after if after[way] - before[way] >= FRAMES - 4]
    return ways[0] if len(ways) == 1 else ways or DROPPED


@pytest.mark.deadline(240)
def test_frames_from_the_wire_reach_the_guest_by_its_mode(bed: Bed, pair: list[Guest]) -> None:
    """Every mode, wire to guest."""
    guest, found = pair[0], {}
    for options in IN:
        set_mode(guest, options)
        ways = []
        for tags in ("", "10", "20"):
            before = received(guest)
            send_from_san(bed, tags)
            guest.run("sleep 0.3")
            ways.append(how_it_came(guest, before))
        found[options] = tuple(ways)
    assert found == IN


def test_tags_within_tags_never_come_to_light(bed: Bed, pair: list[Guest]) -> None:
    """VLAN hopping: a second tag behind the first, or behind a tag that only has a priority."""
    guest = pair[0]
    for options in ("--access 10", "--untagged", "--trunk 20 --native 10"):
        set_mode(guest, options)
        before = received(guest)
        for tags in ("10,20", "0,10", "0,20"):
            send_from_san(bed, tags)
        guest.run("sleep 0.3")
        after = received(guest)
        assert {way: after[way] - before[way] for way in after if after[way] - before[way] >= FRAMES - 4} == {}, options
    set_mode(guest, "--trunk 20")  # where the outer one stays on, the frame passes
    before = received(guest)
    send_from_san(bed, "20,10")
    guest.run("sleep 0.3")
    assert how_it_came(guest, before) == 20


@pytest.mark.deadline(600)
def test_all_pairs_of_modes_reach_each_other_as_the_table_says(bed: Bed, pair: list[Guest]) -> None:
    """Two guests on one host, without a tag."""
    first, second = pair
    for guest in pair:  # Linux answers for each of its addresses on every interface
        guest.run("ip link set eth0.10 down; ip link set eth0.20 down")
    found = set()
    for one in PAIRS:
        set_mode(first, one)
        for other in PAIRS:
            set_mode(second, other)
            if first.run(f"ip neigh flush dev eth0; ping -c 1 -W 1 {second.vm.ip}", check=False).rc == 0:
                found.add((one, other))
    assert found == REACHES | {(b, a) for a, b in REACHES}


def test_mode_that_does_not_go_with_others_is_refused(pair: list[Guest]) -> None:
    """A secondary VLAN has one primary and one kind on a switch."""
    first, second = pair
    set_mode(first, "--isolated 10,20")
    for options in ("--community 10,20", "--isolated 11,20", "--isolated 20,21"):
        refused = second.host.run(f"lunar vlan {second.vm.name} {options}")
        assert refused.rc == EXIT_EXISTS and "private VLAN" in refused.out, refused.out
    set_mode(second, "--promiscuous 10,20")
    assert shown_mode(second) == {"mode": "promiscuous", "primary": 10, "secondary": "20"}
    stored = second.host.run(f"cat {second.host.state_dir}/vms/{second.vm.name}.yaml", check=True).out
    assert 'vlan: {mode: promiscuous, primary: 10, secondary: "20"}' in stored


def vlans_of_storage(capture: Capture) -> set[object]:
    """The tags of iSCSI's frames in a capture."""
    out = process.run(["sh", "-c", 'exec tcpdump -Z root -n -e -r "$1" 2>/dev/null', "sh", capture.file], 60)
    lines = [line for line in out.splitlines() if re.search(r"\.3260[ :]", line)]
    assert lines, "no frame of iSCSI"
    return {int(found[1]) if (found := re.search(r"vlan (\d+), p \d", line)) else PLAIN for line in lines}


def announced(capture: Capture, mac: str) -> set[object]:
    """The tags of RARP announcements of that address."""
    out = process.run(["sh", "-c", 'exec tcpdump -Z root -n -e -r "$1" 2>/dev/null', "sh", capture.file], 60)
    return {int(found[1]) if (found := re.search(r"vlan (\d+), p \d", line)) else PLAIN
            for line in out.splitlines() if f" {mac} > ff:ff" in line and "Reverse" in line}


def url_in_vlan(target: Target, vlan: int) -> str:
    """The target's LUN as the VLAN's members reach it."""
    return f"iscsi://{network.vlan_ip(vlan, 1)}/{target.iqn}/1"


@pytest.mark.deadline(300)
@pytest.mark.usefixtures("moves")
@pytest.mark.parametrize("way", ["access", "trunk"])
def test_iscsi_in_a_vlan_works_and_moves_live(bed: Bed, target: Target, way: str) -> None:
    """The attach test on an access VLAN, and on a trunk with the storage VLAN in the guest; then there and back."""
    number = 61 if way == "access" else 62
    mode = {"mode": "access", "id": 10} if way == "access" else {"mode": "trunk", "allowed": "10", "native": 0}
    address = network.vlan_address(10, number) if way == "access" else network.guest_address(number)
    vm = Vm(f"storage{number}", f"02:4c:55:4e:05:{number:02x}", address, memory="256M", vlan=mode)
    guest = Guest(bed.hosts[0], vm).start()
    try:
        if way == "trunk":
            guest.run("modprobe 8021q; ip link add link eth0 name eth0.10 type vlan id 10 && "
                      f"ip address add {network.vlan_address(10, number)} dev eth0.10 && ip link set eth0.10 up")
        captures = [Capture(host.uplink_tap, bed.directory / f"vlan-{host.name}.pcap", "") for host in bed.hosts]
        disk = guest.attach(url_in_vlan(target, 10))
        assert bed.san.sessions(target) == [Session(vm.iqn, network.vlan_ip(10, number))]
        written = guest.write_random(disk, DATA_MIB)
        assert bed.san.sha256(target, DATA_MIB << 20) == written
        assert guest.read_hash(disk, DATA_MIB) == written
        io = VerifiedIo(bed, guest, target, disk, mib=8, skip_mib=DATA_MIB)
        for _ in range(2):
            io.wait_progress()
            move_over(bed, guest)
            assert shown_mode(guest) == mode
            io.wait_progress()
        verdict = io.finish()
        print(verdict)
        assert verdict.problems == ()
        guest.detach(disk)
        for capture in captures:
            capture.stop()
            assert vlans_of_storage(capture) == {10}
            assert announced(capture, vm.mac) == ({10} if way == "access" else {PLAIN, 10})
    finally:
        guest.stop()


@pytest.mark.deadline(240)
@pytest.mark.usefixtures("moves")
def test_destination_that_does_not_carry_the_vlan_is_named(bed: Bed, host1: Host, host2: Host) -> None:
    """lunar migrate --check says so, and netvspd there lets no frame of that VLAN through."""
    vm = Vm("narrow", "02:4c:55:4e:05:71", network.guest_address(71), memory="192M", vlan={"mode": "access", "id": 10})
    guest = Guest(host1, vm).start()
    options = list(host2.netvspd_options)
    try:
        findings = host1.migrate(vm, host2, "--check", check=False).last["check"]["findings"]
        assert [each for each in findings if each["item"] == "vlan"] == []
        host2.stop_netvspd()
        host2.netvspd_options += ["--vlans", "0,20-30"]
        host2.start_netvspd()
        findings = host1.migrate(vm, host2, "--check", check=False).last["check"]["findings"]
        assert ["VLAN 10" in each["text"] for each in findings if each["item"] == "vlan"] == [True], findings
        capture = Capture(host2.uplink_tap, bed.directory / "vlan-narrow.pcap")
        guest.move(host2)
        guest.run(f"ping -c 2 -W 1 10.77.0.{NOBODY}", check=False)
        capture.stop()
        assert requests_on_wire(capture, guest, f"10.77.0.{NOBODY}") == set()
    finally:
        guest.stop()
        host2.stop_netvspd()
        host2.netvspd_options[:] = options
        host2.start_netvspd()
