# SPDX-License-Identifier: BSD-3-Clause
"""
The SAN: tgt's iSCSI target in a network namespace of its own, on the layer 2 of the hosts' uplinks. LUNs are sparse
files, so that a test can read what really arrived.
"""

import hashlib
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from testbed import network, process


@dataclass(frozen=True)
class Account:
    """A CHAP user name and secret."""
    user: str
    secret: str


@dataclass(frozen=True)
class Session:
    """A line of the target's own session table."""
    initiator: str
    address: str


@dataclass
class Target:
    """A target with its LUNs' backing files, by LUN."""
    tid: int
    iqn: str
    luns: dict[int, Path] = field(default_factory=dict)
    accounts: list[tuple[Account, bool]] = field(default_factory=list)  # True: the target proves itself with it

    @property
    def url(self) -> str:
        """The LUN 1 as people write it."""
        return f"iscsi://{network.SAN_IP}/{self.iqn}/1"

    @property
    def parents_url(self) -> str:
        """The same LUN as the hosts reach it, after San.plug_parents()."""
        return f"iscsi://{network.PARENTS_SAN_IP}/{self.iqn}/1"


class San:
    """The target's daemon and what it serves. Targets outlive stop() and start(), as they would on a real SAN."""

    def __init__(self, directory: Path, offloads: bool = True):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.namespace = network.Namespace("san", directory / "namespace.log")
        self.interface = self.namespace.plug(network.LAN, "eth0", f"{network.SAN_IP}/24", offloads)
        self.targets: dict[str, Target] = {}
        self._env = {"TGT_IPC_SOCKET": str(directory / "tgtd")}
        self._daemon: subprocess.Popen | None = None
        self._next_tid = 1
        self._parents = False
        self._vlans: dict[int, subprocess.Popen] = {}

    def start(self) -> None:
        """Starts tgtd, with all targets that there were."""
        self._daemon = self.namespace.spawn(["tgtd", "-f", "--iscsi", f"portal={network.SAN_IP}:3260"],
                                            self.directory / "tgtd.log", self._env)
        process.wait_until("tgtd answers", lambda: self._daemon.poll() is None and "State: ready" in self._admin(
            "--mode", "sys", "--op", "show", check=False), 10)
        if self._parents:
            self._open_parents_portal()
        for vlan in self._vlans:
            self._open_vlan_portal(vlan)
        for target in self.targets.values():
            self._create(target)

    @property
    def pid(self) -> int:
        """tgtd's."""
        return self._daemon.pid

    def plug_parents(self) -> None:
        """The hosts reach the SAN too, over the management network: for LUNs that the parent sees. Any number of times."""
        if not self._parents:
            self.namespace.plug(network.MGMT, "eth1", f"{network.PARENTS_SAN_IP}/24")
            self._parents = True
            self._open_parents_portal()

    def _open_parents_portal(self) -> None:
        self._admin("--mode", "portal", "--op", "new", "--param", f"portal={network.PARENTS_SAN_IP}:3260")

    def plug_vlan(self, vlan: int) -> None:
        """The SAN is in this VLAN too (1..254), at network.vlan_address(vlan, 1). Any number of times."""
        if vlan in self._vlans:
            return
        name, log = f"vlan{vlan}", self.directory / f"vlan{vlan}.log"
        program = Path(__file__).with_name("vlan_peer.py")
        self._vlans[vlan] = self.namespace.spawn(["/usr/bin/python3", program, "eth0", str(vlan), name], log)
        # Its log may hold what an earlier one said.
        process.wait_until(f"{name} is there", lambda: f" {name}:" in self.namespace.run(["ip", "link"]), 10)
        network.quiet(name, self.namespace.prefix)
        self.namespace.run(["ip", "address", "add", network.vlan_address(vlan, 1), "dev", name])
        self.namespace.run(["ip", "link", "set", name, "up"])
        self._open_vlan_portal(vlan)

    def unplug_vlans(self) -> None:
        """Undoes plug_vlan()."""
        for peer in self._vlans.values():
            process.stop(peer)
        self._vlans.clear()

    def _open_vlan_portal(self, vlan: int) -> None:
        portal = f"portal={network.vlan_ip(vlan, 1)}:3260"
        self._admin("--mode", "portal", "--op", "new", "--param", portal, check=False)  # it may be open

    def stop(self) -> None:
        """Kills tgtd at once, as a power failure would: clients see their connections reset."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None

    def close(self) -> None:
        """Ends the SAN."""
        self.unplug_vlans()
        self.stop()
        self.namespace.close()

    def add_target(self, name: str, size_bytes: int = 512 << 20, login: Account | None = None,
                   proof: Account | None = None) -> Target:
        """
        A target with one LUN, number 1. login: the account an initiator must use (CHAP); proof: the one by which the
        target proves itself in turn (mutual CHAP).
        """
        target = Target(self._next_tid, f"iqn.2026-01.net.example.san:{name}")
        self._next_tid += 1
        backing = self.directory / f"{name}.img"
        with open(backing, "wb") as file:
            file.truncate(size_bytes)
        target.luns[1] = backing
        target.accounts = [(account, outgoing) for account, outgoing in ((login, False), (proof, True)) if account]
        self.targets[target.iqn] = target
        self._create(target)
        return target

    def remove_target(self, target: Target) -> None:
        """Removes a target and its files, whoever is logged in."""
        self._admin("--mode", "target", "--op", "delete", "--force", "--tid", str(target.tid))
        for backing in target.luns.values():
            backing.unlink()
        del self.targets[target.iqn]

    def sessions(self, target: Target) -> list[Session]:
        """Who is logged in, by the target's own table."""
        shown = self._admin("--mode", "target", "--op", "show")
        part = re.search(rf"^Target {target.tid}: .*?(?=^Target |\Z)", shown, re.M | re.S)
        table = re.search(r"I_T nexus information:\n(.*?)LUN information:", part[0], re.S)
        return [Session(initiator, address) for initiator, address in
                re.findall(r"Initiator: (\S+).*?\n.*?IP Address: (\S+)", table[1], re.S)]

    def tsihs(self, target: Target) -> list[int]:
        """
        The TSIH of each session that target has. tgt numbers its I_T nexuses by it, and counts on with each login, so that a
        session made anew has another one.
        """
        return [int(number) for number in re.findall(r"I_T nexus: (\d+)\n", self.session_table(target))]

    def session_table(self, target: Target) -> str:
        """The part of tgtadm's output on target's sessions, for people."""
        shown = self._admin("--mode", "target", "--op", "show")
        part = re.search(rf"^Target {target.tid}: .*?(?=^    LUN information)", shown, re.M | re.S)
        return part[0]

    @staticmethod
    def sha256(target: Target, size_bytes: int, offset_bytes: int = 0, lun: int = 1) -> str:
        """The hash of a part of the backing file: what really arrived."""
        digest = hashlib.sha256()
        with open(target.luns[lun], "rb") as file:
            file.seek(offset_bytes)
            while size_bytes > 0:
                block = file.read(min(size_bytes, 1 << 20))
                digest.update(block)
                size_bytes -= len(block)
        return digest.hexdigest()

    def _create(self, target: Target) -> None:
        tid = str(target.tid)
        self._admin("--mode", "target", "--op", "new", "--tid", tid, "--targetname", target.iqn)
        for lun, backing in target.luns.items():
            self._admin("--mode", "logicalunit", "--op", "new", "--tid", tid, "--lun", str(lun),
                        "--backing-store", str(backing))
        for account, outgoing in target.accounts:
            self._admin("--mode", "account", "--op", "delete", "--user", account.user, check=False)
            self._admin("--mode", "account", "--op", "new", "--user", account.user, "--password", account.secret)
            self._admin("--mode", "account", "--op", "bind", "--tid", tid, "--user", account.user,
                        *(["--outgoing"] if outgoing else []))
        self._admin("--mode", "target", "--op", "bind", "--tid", tid, "--initiator-address", "ALL")

    def _admin(self, *words: str, check: bool = True) -> str:
        return process.run(["tgtadm", "--lld", "iscsi", *words], 10, self._env, check)
