# SPDX-License-Identifier: BSD-3-Clause
"""Many starts and stops (LUNAR_STARTS, 100 by default) leave nothing behind on the host."""

import os

import pytest

from testbed import network
from testbed.guest import Guest
from testbed.host import Host, Vm

STARTS = int(os.environ.get("LUNAR_STARTS", "100"))
SECONDS_PER_START = 15
# What may move a little: the kernel's own caches, and a heap's high-water mark.
MEMORY_SLACK_KIB = 24 << 10
RSS_SLACK_KIB = 2 << 10


def state(host: Host) -> dict[str, int]:
    """
    What could leak: netvspd's descriptors, threads, mappings and memory; the host's processes, memory, huge pages. Pages on
    a processor's own free list count as free: the kernel does not say so, and a partition's end puts 50 MiB there at times.
    """
    script = f"""p=$(cat {host.run_dir}/netvspd.pid)
echo 3 >/proc/sys/vm/drop_caches
echo fds $(ls /proc/$p/fd | wc -l)
echo threads $(ls /proc/$p/task | wc -l)
echo mappings $(grep -c . /proc/$p/maps)
echo rss_kib $(awk '/VmRSS/ {{print $2}}' /proc/$p/status)
echo vmwps $(pidof vmwp | wc -w)
echo vms $(ls {host.run_dir}/vm 2>/dev/null | wc -l)
echo huge_pages $(awk '/HugePages_Free/ {{print $2}}' /proc/meminfo)
echo free_kib $(awk '/MemAvailable/ {{kib += $2}} /^ +count:/ {{kib += 4 * $2}} END {{print kib}}' /proc/meminfo /proc/zoneinfo)"""
    return {name: int(value) for name, value in (line.split() for line in host.run(script, check=True).lines())}


def cycle(host: Host, vm: Vm) -> None:
    """One start up to the guest's shell, a frame to the SAN and back, one stop."""
    guest = Guest(host, vm).start()
    try:
        guest.run(f"ping -c 1 -W 5 {network.SAN_IP}")
    finally:
        guest.stop()


@pytest.mark.deadline(60 + SECONDS_PER_START * STARTS)
def test_starts_and_stops_leak_nothing(host2: Host) -> None:
    """The first three starts warm up; what stands after them must stand after the last."""
    vm = Vm("leak", "02:4c:55:4e:04:01", network.guest_address(30), memory="192M")
    for _ in range(3):
        cycle(host2, vm)
    before = state(host2)
    for _ in range(STARTS - 3):
        cycle(host2, vm)
    after = state(host2)
    for name, slack, sign in (("free_kib", MEMORY_SLACK_KIB, 1), ("rss_kib", RSS_SLACK_KIB, -1)):
        assert sign * (before.pop(name) - after.pop(name)) <= slack, f"{name} leaks"
    assert after == before
