# SPDX-License-Identifier: BSD-3-Clause
"""
A VM moves between two hosts while it does what VMs do. The verdicts are the far end's: the target's session table and
backing file, a capture at the SAN, a ping and a TCP stream from there.
"""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from testbed import network, process
from testbed.bed import Bed
from testbed.capture import Capture
from testbed.guest import READY, Guest
from testbed.host import Host, Vm
from testbed.moves import EXIT_CANNOT_MOVE, background, hosts_running, move_over, other, show
from testbed.pinger import Pinger
from testbed.san import Target
from testbed.verified_io import VerifiedIo

pytestmark = pytest.mark.usefixtures("moves")

# Far longer than a move with a stream beside it, so that there is a stream to be seen after it.
STREAM_SECONDS = 25


@pytest.fixture(scope="module")
def mover(bed: Bed, moves: None) -> Iterator[Guest]:
    """A guest that the tests of this file move about; they find it on either host."""
    guest = Guest(bed.hosts[0], Vm("mover", "02:4c:55:4e:04:01", network.guest_address(31), memory="256M")).start()
    yield guest
    guest.stop()


@pytest.fixture
def target(bed: Bed, request: pytest.FixtureRequest) -> Iterator[Target]:
    """A target of the test's own."""
    made = bed.san.add_target(re.sub(r"[^a-z0-9]+", "-", request.node.name)[:60].strip("-"))
    yield made
    bed.san.remove_target(made)


def lines(guest: Guest, path: str) -> int:
    """How many lines a file in the guest has."""
    return int(guest.run(f"cat {path} 2>/dev/null | wc -l").out)


def wait_lines(guest: Guest, path: str, count: int) -> None:
    """Waits until the file has more than count lines: what writes it goes on."""
    process.wait_until(f"more than {count} lines in {path}", lambda: lines(guest, path) > count, 30, 0.3)


@pytest.mark.deadline(240)
@pytest.mark.parametrize("initiator", ["lunar-iscsi", "open-iscsi"])
def test_disk_goes_on_without_a_reconnect(bed: Bed, mover: Guest, target: Target, initiator: str) -> None:
    """The main promise: there and back under verified I/O; one session, one connection, every block right."""
    disk = mover.attach(target.url) if initiator == "lunar-iscsi" else mover.open_iscsi_login(target.iqn, network.SAN_IP)
    io = VerifiedIo(bed, mover, target, disk)
    for _ in range(2):
        io.wait_progress()
        move_over(bed, mover)
        io.wait_progress()
    verdict = io.finish()
    print(verdict)
    assert verdict.problems == ()
    if initiator == "lunar-iscsi":
        mover.detach(disk)
    else:
        mover.open_iscsi_logout(target.iqn)
    assert bed.san.sessions(target) == []


@pytest.mark.deadline(180)
def test_tcp_and_ping_from_a_third_party_go_through(bed: Bed, mover: Guest) -> None:
    """iperf3 from the SAN loses no connection; a 1 kHz ping tells the gap; the destination's switch says where the guest is."""
    mover.run("iperf3 -s -D")
    to = other(bed, mover.host)
    capture = Capture(to.uplink_tap, bed.directory / "announce.pcap", "ether proto 0x8035")
    pinger = Pinger(bed, mover.vm.ip)
    stream = bed.san.namespace.spawn(["iperf3", "-J", "-c", mover.vm.ip, "-t", str(STREAM_SECONDS)], bed.directory / "stream.json")
    time.sleep(2)
    move_over(bed, mover)
    stream.wait(60)
    time.sleep(1)
    gap = pinger.stop()
    capture.stop()
    streamed = json.loads((bed.directory / "stream.json").read_text())
    assert "error" not in streamed
    assert streamed["end"]["sum_received"]["bytes"] > 1 << 20
    print([interval["sum"]["bytes"] for interval in streamed["intervals"]])
    assert streamed["intervals"][-1]["sum"]["bytes"] > 0, "the stream stands still after the move"
    print(gap)
    assert gap.duplicates == 0
    assert gap.longest_ms < 5000
    assert capture.sources("")[mover.vm.mac] >= 1, "no RARP from the destination"
    mover.run("killall iperf3")


@pytest.mark.deadline(300)
def test_four_vps_and_4_gib_under_load(bed: Bed, target: Target) -> None:
    """CPU load on each VP, memory that is dirtied and checked, sleeping loops, I/O; memory is sparse."""
    guest = Guest(bed.hosts[0], Vm("wide", "02:4c:55:4e:04:02", network.guest_address(32), vps=4, memory="4G")).start()
    try:
        disk = guest.attach(target.url)
        io = VerifiedIo(bed, guest, target, disk, mib=8)
        guest.run("for cpu in 0 1 2 3; do taskset $((1 << cpu)) sh -c 'while [ ! -e /tmp/enough ]; do :; done' & done; "
                  "dirtier --mib 48 --rate 16 --report /tmp/dirtier.json & echo $! >/tmp/dirtier.pid")
        with background(guest, "while [ ! -e /tmp/enough ]; do sleep 0.05; cut -d' ' -f1 /proc/uptime >>/tmp/ticks; done"):
            time.sleep(1)
            for _ in range(2):
                ticks = lines(guest, "/tmp/ticks")
                move_over(bed, guest)
                wait_lines(guest, "/tmp/ticks", ticks + 3)
            io.wait_progress()
        guest.run("for cpu in 0 1 2 3; do taskset $((1 << cpu)) sh -c 'sleep 0.1' || exit 1; done")
        verdict = io.finish()
        assert verdict.problems == ()
        guest.run("kill $(cat /tmp/dirtier.pid); sleep 2")
        dirtied = json.loads(guest.run("cat /tmp/dirtier.json").out)
        print(dirtied)
        assert dirtied["ended"] and dirtied["errors"] == 0 and dirtied["passes"] > 0
        uptimes = [float(line) for line in guest.run("tail -n 400 /tmp/ticks").lines()]
        assert uptimes == sorted(uptimes)
        assert guest.dmesg("Call Trace\\|soft lockup\\|rcu.*stall") == []
        guest.detach(disk)
    finally:
        guest.stop()


@pytest.mark.deadline(240)
def test_guest_moves_while_it_boots(bed: Bed) -> None:
    """Again and again, from the kernel's first instructions to the shell."""
    guest = Guest(bed.hosts[0], Vm("early", "02:4c:55:4e:04:03", network.guest_address(33), vps=2, memory="256M"))
    guest.host.create_vm(guest.vm)
    try:
        guest.console = guest.host.start_vm(guest.vm)
        count = 0
        while READY not in process.text(guest.console.transcript) and count < 30:
            guest.move(other(bed, guest.host))
            count += 1
            try:
                guest.console.expect(READY, 0.3)
            except process.CommandFailed:
                continue
        assert count >= 1
        print(f"{count} moves during the boot")
        guest.run(f"ping -c 2 -W 5 {network.SAN_IP}")
        assert guest.dmesg("hv_.*\\(error\\|fail\\|timed out\\|unable\\)") == []
    finally:
        guest.stop()


@pytest.mark.deadline(240)
def test_guest_moves_while_it_logs_in(bed: Bed, mover: Guest, target: Target) -> None:
    """Logins and logouts follow each other, and moves come at any point of them; each one succeeds."""
    script = (f"while [ ! -e /tmp/enough ]; do lunar-iscsi attach {target.url} >/tmp/attached && echo in >>/tmp/logins || "
              "echo bad; lunar-iscsi detach $(grep -o '/dev/sd[a-z]*' /tmp/attached) || echo bad; done")
    mover.run("rm -f /tmp/logins; touch /tmp/logins")
    with background(mover, script):
        for _ in range(3):
            before = lines(mover, "/tmp/logins")
            move_over(bed, mover)
            wait_lines(mover, "/tmp/logins", before)
    assert "bad" not in mover.run("cat /tmp/background.log").out
    assert bed.san.sessions(target) == []


@pytest.mark.deadline(240)
def test_guest_moves_while_it_sets_its_channels_up(bed: Bed) -> None:
    """ethtool -L takes the NIC's sub-channels away and asks for them anew, all the time."""
    guest = Guest(bed.hosts[0], Vm("fourq", "02:4c:55:4e:04:04", network.guest_address(34), vps=4, memory="256M")).start()
    try:
        with background(guest, "while [ ! -e /tmp/enough ]; do for n in 1 4 2 3; do ethtool -L eth0 combined $n || echo bad; "
                               "echo $n >>/tmp/set; done; done"):
            for _ in range(3):
                move_over(bed, guest)
                wait_lines(guest, "/tmp/set", lines(guest, "/tmp/set") + 1)
        assert "bad" not in guest.run("cat /tmp/background.log").out
        guest.run("ethtool -L eth0 combined 4")
        assert guest.run("ls -d /sys/class/net/eth0/queues/rx-* | wc -l").out.strip() == "4"
        guest.run(f"ping -c 2 -W 5 {network.SAN_IP}")
        assert guest.dmesg("hv_.*\\(error\\|fail\\|timed out\\|unable\\)") == []
    finally:
        guest.stop()


@pytest.mark.deadline(240)
def test_vm_saved_to_a_file_goes_on_at_the_other_host(bed: Bed, mover: Guest, target: Target) -> None:
    """lunar save, the file carried by hand, lunar restore: the session lives on through it."""
    disk = mover.attach(target.url)
    io = VerifiedIo(bed, mover, target, disk, mib=8)
    origin, to = mover.host, other(bed, mover.host)
    path = f"{origin.run_dir}/mover.saved"
    origin.run(f"rm -f {path} {to.run_dir}/mover.saved; lunar save {mover.vm.name} {path}", 60, check=True)
    assert hosts_running(bed, mover.vm) == []
    saved = origin.get(path)
    print(f"{len(saved) >> 20} MiB in the file")
    # A file that is cut off, or was changed, is refused, and nothing runs.
    for wrong in (saved[:len(saved) // 2], saved[:4000] + b"x" + saved[4001:]):
        to.put(f"{to.run_dir}/wrong.saved", wrong)
        assert to.run(f"lunar restore {to.run_dir}/wrong.saved", 60).rc != 0
    assert hosts_running(bed, mover.vm) == []
    to.run(f"rm -f {to.run_dir}/wrong.saved")
    to.put(f"{to.run_dir}/mover.saved", saved)
    origin.run(f"rm {path}; lunar delete {mover.vm.name}")
    to.run(f"lunar restore {to.run_dir}/mover.saved", 60, check=True)
    mover.moved_to(to)
    assert hosts_running(bed, mover.vm) == [to.name]
    io.wait_progress()
    verdict = io.finish()
    assert verdict.problems == ()
    mover.detach(disk)


def findings(bed: Bed, guest: Guest, to: Host) -> dict[str, str]:
    """lunar migrate --check: each finding's severity by its item."""
    checked = guest.host.migrate(guest.vm, to, "--check", check=False)
    found = (checked.last.get("check") or {}).get("findings", [])
    print(found)
    assert all(finding["text"] for finding in found)
    stops = any(finding["severity"] == "stops" for finding in found)
    assert checked.rc == (EXIT_CANNOT_MOVE if stops else 0), checked.out
    assert hosts_running(bed, guest.vm) == [guest.host.name]
    return {finding["item"]: finding["severity"] for finding in found}


@pytest.mark.deadline(240)
def test_check_names_what_would_stop_a_move(bed: Bed, mover: Guest, target: Target) -> None:
    """Each fault on the destination is found, a healthy one is not accused, and nothing moves."""
    host, to = mover.host, other(bed, mover.host)
    disk = mover.attach(target.url)
    assert "stops" not in findings(bed, mover, to).values()

    to.stop_netvspd()
    try:
        assert findings(bed, mover, to).get("switch") == "stops"
    finally:
        to.start_netvspd()

    to.put(f"{to.run_dir}/same.yaml", to.yaml(mover.vm).encode())
    to.run(f"lunar create {to.run_dir}/same.yaml", check=True)
    try:
        assert findings(bed, mover, to).get("name") == "stops"
        refused = host.migrate(mover.vm, to, check=False)
        assert refused.rc == EXIT_CANNOT_MOVE and hosts_running(bed, mover.vm) == [host.name]
    finally:
        to.run(f"lunar delete {mover.vm.name}", check=True)

    to.run(f"mv {to.guest_kernel} {to.guest_kernel}.away", check=True)
    try:
        assert findings(bed, mover, to).get("kernel") in ("harms", "stops")
    finally:
        to.run(f"mv {to.guest_kernel}.away {to.guest_kernel}", check=True)

    # A switch that heard the portal's MAC address lately takes it for a router's: so this one has just started.
    to.cut_uplink()
    try:
        to.stop_netvspd()
        to.start_netvspd()
        assert findings(bed, mover, to).get("portal") in ("harms", "stops")
    finally:
        to.heal_uplink()
    assert "stops" not in findings(bed, mover, to).values()
    mover.detach(disk)


def test_figures_stay_on_both_sides(bed: Bed, mover: Guest) -> None:
    """lunar show tells of the last move where the VM was, and where it is."""
    origin = mover.host
    move = move_over(bed, mover)
    for host in (origin, mover.host):
        shown = process.wait_until("the figures are kept", lambda host=host: json.loads(
            host.run(f"lunar show {mover.vm.name} --json").out).get("migration"), 15, 0.5)
        assert shown["phase"] == "done"
        assert shown["downtime_ms"] == move.last["downtime_ms"]
        assert shown["total_ms"] > 0 and shown["bytes_sent"] > 0
    text = origin.run(f"lunar show {mover.vm.name}", check=False).out
    assert mover.host.name in text


def test_move_that_is_cancelled_leaves_the_vm_where_it_is(bed: Bed, mover: Guest) -> None:
    """lunar migrate --cancel, in the middle of the copy; the next move succeeds."""
    host, to = mover.host, other(bed, mover.host)
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(host.migrate, mover.vm, to, "--bandwidth 2M", 60, False)
        process.wait_until("the move copies", lambda: (json.loads(host.run(f"lunar show {mover.vm.name} --json").out).get(
            "migration") or {}).get("phase") == "copying", 20, 0.2)
        host.run(f"lunar migrate --cancel {mover.vm.name}", check=True)
        cancelled = moving.result()
    assert cancelled.rc != 0 and cancelled.last["phase"] == "cancelled"
    assert hosts_running(bed, mover.vm) == [host.name]
    assert mover.run("echo alive").out.strip() == "alive"
    process.wait_until("nothing is left at the destination", lambda: to.vm_state(mover.vm) in ("", "stopped"), 10, 0.3)
    move_over(bed, mover)


@pytest.mark.deadline(180)
def test_guest_that_dirties_faster_than_the_wire(bed: Bed, mover: Guest) -> None:
    """With a short time-out the move is given up, and the VM stays; throttled, it moves."""
    host, to = mover.host, other(bed, mover.host)
    mover.run("dirtier --mib 64 --report /tmp/fast.json >/dev/null 2>&1 & echo $! >/tmp/fast.pid; sleep 2")
    late = host.migrate(mover.vm, to, "--bandwidth 8M --timeout 8s --downtime 50ms", check=False)
    show(late)
    assert late.rc != 0 and hosts_running(bed, mover.vm) == [host.name]
    forced = move_over(bed, mover, "--timeout 10s --late force --downtime 100ms")
    assert forced.last["rounds"] >= 1
    mover.run("kill $(cat /tmp/fast.pid); sleep 1")
    dirtied = json.loads(mover.run("cat /tmp/fast.json").out)
    assert dirtied["ended"] and dirtied["errors"] == 0
