# SPDX-License-Identifier: BSD-3-Clause
"""What each side saw, in a few words: for the demo's table and for tests. Storage is port 3260 (RFC 7143)."""

import re

from testbed.guest import Guest
from testbed.host import Host

STORAGE_PORT_HEX = ":0CBC"


def hypervisor(guest: Guest) -> str:
    """What the guest's kernel takes its hypervisor and clock to be."""
    found = guest.run("dmesg | grep -o -m1 'Microsoft Hyper-V'; "
                      "cat /sys/devices/system/clocksource/clocksource0/current_clocksource", check=False).lines()
    return ", ".join(found)


def nic(guest: Guest) -> str:
    """The guest's NIC: driver, protocol version, offloads."""
    driver = guest.run("basename $(readlink /sys/class/net/eth0/device/driver)").out.strip()
    offloads = features(guest)
    marks = ", ".join(f"{name} {'on' if offloads.get(name) else 'OFF'}" for name in
                      ("tx-checksumming", "rx-checksumming", "tcp-segmentation-offload"))
    return f"{driver}, {marks}"


def features(guest: Guest) -> dict[str, bool]:
    """ethtool -k: feature → whether it is on."""
    return {name: state == "on" for name, state in
            re.findall(r"^\s*([\w-]+): (on|off)", guest.run("ethtool -k eth0 | grep -v fixed").out
                       + guest.run("ethtool -k eth0 | grep 'on .fixed'", check=False).out, re.M)}


def disk(guest: Guest, device: str) -> str:
    """A disk's size, vendor and model."""
    name = device.rsplit("/", 1)[-1]
    vendor, model, blocks = guest.run(f"cd /sys/block/{name} && cat device/vendor device/model size").lines()
    return f"{int(blocks) // 2048} MiB, {vendor.strip()} {model.strip()}"


def connections_opened(host: Host) -> int:
    """How many TCP connections the host has opened since it started, by its kernel's count."""
    counts = host.run("grep ^Tcp: /proc/net/snmp").lines()
    return int(dict(zip(counts[0].split(), counts[1].split()))["ActiveOpens"])


def storage_connections(host: Host, opened_before: int = 0) -> str:
    """
    The host's traces of storage: sockets on port 3260, and TCP connections that it opened at all since there were
    opened_before of them. Empty: none.
    """
    sockets = host.run(f"grep -h -i '{STORAGE_PORT_HEX} ' /proc/net/tcp /proc/net/tcp6").lines()
    opened = connections_opened(host) - opened_before
    traces = [f"{len(sockets)} SOCKETS ON PORT 3260"] if sockets else []
    traces += [f"{opened} TCP CONNECTIONS OPENED"] if opened else []
    return ", ".join(traces)
