# SPDX-License-Identifier: BSD-3-Clause
"""What an unmodified guest finds: the hypervisor, its clock, its NIC; many VPs; much memory; a reboot."""

import json

import pytest

from testbed import evidence, network
from testbed.bed import Bed
from testbed.guest import Guest
from testbed.host import Host, Vm

NVSP = "6.1"


def test_guest_takes_its_hypervisor_for_hyper_v(guest: Guest) -> None:
    """The kernel's words, and the clock that spares it exits."""
    assert evidence.hypervisor(guest) == "Microsoft Hyper-V, hyperv_clocksource_tsc_page"


def test_guest_and_host_agree_on_nvsp_6_1(guest: Guest) -> None:
    """The version that netvspd reports as negotiated."""
    shown = json.loads(guest.host.run(f"lunar show {guest.vm.name} --json", check=True).out)
    assert shown["nics"][0]["nvsp_version"] == NVSP


def test_guest_has_checksum_and_segmentation_offload_on(guest: Guest) -> None:
    """ethtool's view of hv_netvsc."""
    features = evidence.features(guest)
    wanted = ("rx-checksumming", "tx-checksumming", "tcp-segmentation-offload")
    assert {name: features.get(name) for name in wanted} == dict.fromkeys(wanted, True)
    assert evidence.nic(guest).startswith("hv_netvsc")


def test_guest_log_has_no_error_of_vmbus_or_nic(guest: Guest) -> None:
    """Nothing that the drivers complain of."""
    assert guest.dmesg("hv_.*\\(error\\|fail\\|timed out\\|unable\\)") == []


def test_guest_with_four_vps_uses_them_all(host1: Host) -> None:
    """Four VPs online, and as many channels of the NIC."""
    guest = Guest(host1, Vm("four", "02:4c:55:4e:01:04", network.guest_address(4), vps=4)).start()
    try:
        assert guest.run("nproc").out.strip() == "4"
        assert guest.run("ls -d /sys/class/net/eth0/queues/rx-* | wc -l").out.strip() == "4"
        guest.run(f"ping -c 3 {network.SAN_IP}")
        # Each VP runs something and its timer ticks.
        guest.run("for cpu in 0 1 2 3; do taskset $((1 << cpu)) sh -c 'sleep 0.1' || exit 1; done")
    finally:
        guest.stop()


@pytest.mark.deadline(240)
def test_guest_with_64_gib_of_sparse_memory_boots(host1: Host) -> None:
    """Far more memory than the host has: only what the guest touches is there."""
    guest = Guest(host1, Vm("large", "02:4c:55:4e:01:05", network.guest_address(5), memory="64G")).start(200)
    try:
        mib = int(guest.run("awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo").out)
        assert 62 * 1024 < mib <= 64 * 1024
    finally:
        guest.stop()


def bus_state(guest: Guest) -> dict[str, str]:
    """What vmwp and netvspd hold for the guest: counts that a reboot must not change."""
    script = (f"v=$(pidof vmwp); n=$(cat {guest.host.run_dir}/netvspd.pid); "
              "for p in $v $n; do ls /proc/$p/fd | wc -l; ls /proc/$p/task | wc -l; grep -c . /proc/$p/maps; done")
    names = [f"{process} {what}" for process in ("vmwp", "netvspd") for what in ("fds", "threads", "mappings")]
    return dict(zip(names, guest.host.run(script, check=True).lines()))


def test_reboot_of_the_guest_leaves_nothing_behind(bed: Bed) -> None:
    """After a reboot: the same number of descriptors, threads and mappings, and a NIC that works."""
    guest = Guest(bed.hosts[0], Vm("again", "02:4c:55:4e:01:06", network.guest_address(6), vps=2)).start()
    try:
        guest.run(f"ping -c 1 {network.SAN_IP}")
        before = bus_state(guest)
        guest.reboot()
        guest.run(f"ping -c 1 {network.SAN_IP}")
        guest.reboot()
        guest.run(f"ping -c 1 {network.SAN_IP}")
        after = bus_state(guest)
        # The heap may come to rest a mapping or two higher; all else is exact.
        mappings = [int(state.pop(name)) for state in (before, after) for name in ("vmwp mappings", "netvspd mappings")]
        assert after == before
        assert mappings[2] <= mappings[0] + 2 and mappings[3] <= mappings[1] + 2
    finally:
        guest.stop()
