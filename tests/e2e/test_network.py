# SPDX-License-Identifier: BSD-3-Clause
"""
Guests talk to each other on one host and across hosts, and to the SAN, at the same time and for a while
(LUNAR_IPERF_SECONDS each, 60 by default), and no log has an error.
"""

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from testbed import network, process
from testbed.bed import Bed
from testbed.capture import Capture
from testbed.guest import Guest
from testbed.host import Host, Vm

SECONDS = int(os.environ.get("LUNAR_IPERF_SECONDS", "60"))
EXIT_EXISTS = 15
LOG_ERRORS = r"\b(error|err|fail|failed|warn|warning|fatal)\b"


@pytest.fixture(scope="module")
def trio(bed: Bed) -> Iterator[list[Guest]]:
    """Two guests on host 1, one on host 2, each with an iperf3 server; one on the SAN."""
    server = bed.san.namespace.spawn(["iperf3", "-s"], bed.directory / "iperf3.log")
    guests: list[Guest] = []
    try:
        for number, host in ((11, 0), (12, 0), (13, 1)):
            vm = Vm(f"net{number}", f"02:4c:55:4e:03:{number:02x}", network.guest_address(number), memory="256M")
            guests.append(Guest(bed.hosts[host], vm).start())
            guests[-1].run("iperf3 -s -D")
        yield guests
    finally:
        for guest in guests:
            guest.stop()
        process.stop(server)


def log_sizes(hosts: list[Host]) -> list[int]:
    """How long netvspd's logs are."""
    return [int(host.run(f"wc -l <{host.run_dir}/netvspd.log", check=True).out) for host in hosts]


def measure(guest: Guest, server: str, options: str = "") -> float:
    """iperf3 from guest to server; Mbit/s as the receiver counted."""
    out = guest.run(f"iperf3 -c {server} -t {SECONDS} -i 0 -f m {options} | grep -E 'receiver|error'", SECONDS + 60).out
    rates = [float(rate) for rate in re.findall(r"([\d.]+) Mbits/sec.*receiver", out)]
    assert rates and "error" not in out, out
    return min(rates)


def check_logs(bed: Bed, guests: list[Guest], before: list[int]) -> None:
    """No guest's kernel and no netvspd complained since before."""
    for guest in guests:
        assert guest.dmesg("hv_.*\\(error\\|fail\\|timed out\\)\\|NETDEV WATCHDOG\\|Call Trace") == []
    for host, lines in zip(bed.hosts, before):
        assert host.run(f"tail -n +{lines + 1} {host.run_dir}/netvspd.log | grep -i -w -E '{LOG_ERRORS}'").out == ""


def talk(bed: Bed, guests: list[Guest], flows: list[tuple[Guest, str, str]]) -> None:
    """All flows at the same time, then the logs."""
    before = log_sizes(bed.hosts)
    with ThreadPoolExecutor(len(flows)) as pool:
        rates = list(pool.map(lambda flow: measure(*flow), flows))
    print("Mbit/s:", [f"{flow[0].vm.name} → {flow[1]} {flow[2]}: {rate}" for flow, rate in zip(flows, rates)])
    assert all(rate > 1 for rate in rates)
    check_logs(bed, guests, before)


@pytest.mark.deadline(SECONDS + 180)
def test_two_guests_on_one_host_talk(bed: Bed, trio: list[Guest]) -> None:
    """Both directions, through one switch."""
    first, second, _ = trio
    talk(bed, trio, [(first, second.vm.ip, "--bidir")])


@pytest.mark.deadline(SECONDS + 120)
def test_two_guests_on_two_hosts_talk(bed: Bed, trio: list[Guest]) -> None:
    """Over the uplinks, both directions, while the third talks too."""
    first, second, third = trio
    talk(bed, trio, [(first, third.vm.ip, ""), (third, second.vm.ip, "")])


@pytest.mark.deadline(SECONDS + 120)
def test_guest_and_san_talk(bed: Bed, trio: list[Guest]) -> None:
    """To the SAN and back."""
    talk(bed, trio, [(trio[0], network.SAN_IP, "--bidir")])


def test_spoofed_source_addresses_do_not_leave_the_host(bed: Bed, trio: list[Guest]) -> None:
    """Frames from another MAC address (a bridge in the guest has one) are dropped and counted; the guest's own pass."""
    guest, mac = trio[1], "02:66:66:66:66:66"
    capture = Capture(guest.host.uplink_tap, bed.directory / "spoof.pcap", "arp or icmp")
    guest.run(f"ping -c 1 -W 5 {network.SAN_IP}")
    guest.run(f"brctl addbr br0 && ip link set br0 address {mac} && brctl addif br0 eth0 && ip link set br0 up && "
              "ip address flush dev eth0 && ip address add 10.77.0.180/24 dev br0")
    try:
        assert guest.run(f"ping -c 2 -W 2 {network.SAN_IP}", check=False).rc != 0
    finally:
        guest.run(f"ip link set br0 down && brctl delbr br0 && ip address add {guest.vm.address} dev eth0")
    guest.run(f"ping -c 1 -W 5 {network.SAN_IP}")
    capture.stop()
    assert guest.vm.mac in capture.sources("icmp") and mac not in capture.sources("")
    shown = json.loads(guest.host.run(f"lunar show {guest.vm.name} --json", check=True).out)
    assert shown["nics"][0]["stats"]["tx_spoofed"] > 0


def test_vm_with_a_mac_that_is_in_use_is_refused(trio: list[Guest]) -> None:
    """lunar knows the VMs of its host, and names the one that has the address."""
    host, taken = trio[0].host, trio[0].vm
    twin = Vm("twin", taken.mac, network.guest_address(14), memory="128M")
    host.put(f"{host.run_dir}/twin.yaml", host.yaml(twin).encode())
    refused = host.run(f"lunar create {host.run_dir}/twin.yaml")
    assert refused.rc == EXIT_EXISTS and taken.name in refused.out
