# SPDX-License-Identifier: BSD-3-Clause
"""
The networks of the testbed, all inside network namespaces of its own: nothing touches the machine's network.

The testbed's process itself lives in the first namespace (testbed/enter put it there). That one holds two bridges:
"lan", the layer 2 that the hosts' uplinks and the SAN share, and "mgmt", by which the testbed commands the hosts.
Namespaces are unnamed: they end with the last process in them.
"""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from testbed import process

LAN = "lan"
MGMT = "mgmt"
MGMT_ADDRESS = "10.78.0.1/24"
SAN_IP = "10.77.0.1"
PARENTS_SAN_IP = "10.78.0.2"  # the SAN on the management network, for storage of the hosts themselves
MAX_HOSTS = 9


class NotIsolated(Exception):
    """The process is not in a network namespace of the testbed's own."""


def require_isolation() -> None:
    """NotIsolated unless testbed/enter made this process's network namespace."""
    if os.environ.get("LUNAR_TESTBED_ISOLATED") != "1":
        raise NotIsolated("this needs a network namespace of its own: start it by testbed/enter COMMAND")


def mgmt_address(number: int) -> str:
    """The address of host number (1..) for the testbed's commands and for moves between hosts."""
    return f"10.78.0.{10 + number}"


def hosts_file() -> str:
    """/etc/hosts of a host: its peers by name."""
    return "127.0.0.1 localhost\n" + "".join(f"{mgmt_address(number)} host{number}\n" for number in range(1, MAX_HOSTS + 1))


def guest_address(number: int) -> str:
    """The address on the LAN of guest number (1..99), with its prefix length."""
    return f"10.77.0.{100 + number}/24"


def vlan_ip(vlan: int, number: int) -> str:
    """The address of guest number in a VLAN's own subnet; 1 is the SAN's."""
    return f"10.77.{vlan}.{number}"


def vlan_address(vlan: int, number: int) -> str:
    """vlan_ip() with its prefix length."""
    return f"{vlan_ip(vlan, number)}/24"


def create_bridges() -> None:
    """The two bridges, up, without spanning tree and without learning delays."""
    process.run(["ip", "link", "set", "lo", "up"])
    for bridge in (LAN, MGMT):
        process.run(["ip", "link", "add", bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0",
                     "mcast_snooping", "0"])
        quiet(bridge)
        process.run(["ip", "link", "set", bridge, "mtu", "9000", "up"])
    process.run(["ip", "address", "add", MGMT_ADDRESS, "dev", MGMT])


def delete_bridges() -> None:
    """Undoes create_bridges()."""
    for bridge in (LAN, MGMT):
        process.run(["ip", "link", "del", bridge], check=False)


def cut(interface: str) -> None:
    """Takes a port off its bridge: frames are lost, and neither end is told."""
    process.run(["ip", "link", "set", interface, "nomaster"])


def heal(interface: str, bridge: str) -> None:
    """Undoes cut()."""
    process.run(["ip", "link", "set", interface, "master", bridge])


def isolate(port: str, isolated: bool) -> None:
    """Whether a bridge's port is cut off from the other isolated ports; the bridge's own address it reaches all the same."""
    process.run(["ip", "link", "set", "dev", port, "type", "bridge_slave", "isolated", "on" if isolated else "off"])


def quiet(interface: str, prefix: Sequence[str] = ()) -> None:
    """No IPv6 autoconfiguration on the interface: its router solicitations would only be noise in captures."""
    process.run([*prefix, "sh", "-c", f"echo 1 >/proc/sys/net/ipv6/conf/{interface}/disable_ipv6 || true"])


def add_tap(name: str, bridge: str) -> None:
    """A tap device on bridge, for QEMU to open by its name."""
    process.run(["ip", "tuntap", "add", "dev", name, "mode", "tap", "vnet_hdr"])
    quiet(name)
    process.run(["ip", "link", "set", name, "mtu", "9000", "master", bridge, "up"])


class Namespace:
    """
    A further network namespace, held by a sleeping process and entered by nsenter. hosts: a file that it sees as
    /etc/hosts.
    """

    def __init__(self, name: str, log: Path, hosts: Path | None = None):
        self.name = name
        self._own_mounts = ["-m"] if hosts else []
        if hosts:
            script = 'mount --bind "$0" /etc/hosts && exec sleep infinity'
            self._holder = process.spawn(["unshare", "--net", "--mount", "sh", "-c", script, hosts], log)
        else:
            self._holder = process.spawn(["unshare", "--net", "sleep", "infinity"], log)
        own = os.readlink("/proc/self/ns/net")
        process.wait_until(f"namespace {name}",
                           lambda: os.readlink(f"/proc/{self._holder.pid}/ns/net") != own, 5, 0.005)
        self.run(["ip", "link", "set", "lo", "up"])

    @property
    def pid(self) -> int:
        """The holder's pid, for nsenter -t."""
        return self._holder.pid

    @property
    def prefix(self) -> list[str]:
        """The words before a command that run it inside."""
        return ["nsenter", "-t", str(self.pid), "-n", *self._own_mounts, "--"]

    def run(self, argv: Sequence[str | Path], seconds: float = 30.0, **options: object) -> str:
        """process.run() inside."""
        return process.run([*self.prefix, *argv], seconds, **options)

    def spawn(self, argv: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None,
              **popen: object) -> subprocess.Popen:
        """process.spawn() inside."""
        return process.spawn([*self.prefix, *argv], log, env, **popen)

    def plug(self, bridge: str, inside: str, address: str | None = None, offloads: bool = True) -> str:
        """
        A veth pair from bridge to an interface inside. Returns the name of the bridge's end, for captures. Without
        offloads, frames leave with their checksums made, for a packet socket at the far end: it gets no hint that
        they are not.
        """
        outside = f"{bridge}-{self.name}"
        process.run(["ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", str(self.pid)])
        quiet(outside)
        quiet(inside, self.prefix)
        if not offloads:
            self.run(["ethtool", "-K", inside, "tx", "off"])
        process.run(["ip", "link", "set", outside, "master", bridge, "up"])
        if address:
            self.run(["ip", "address", "add", address, "dev", inside])
        self.run(["ip", "link", "set", inside, "up"])
        return outside

    def close(self) -> None:
        """Ends the holder; the namespace ends with the last process inside."""
        process.stop(self._holder)

    def describe(self) -> str:
        """How to get a shell inside, for people."""
        return shlex.join([*self.prefix[:-1], "sh"])
