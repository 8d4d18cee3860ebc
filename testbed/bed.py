# SPDX-License-Identifier: BSD-3-Clause
"""The whole testbed: a SAN and hosts on one layer 2, started and ended together."""

import contextlib
import functools
import os
import shlex
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from testbed import host, images, kernel, network, paths, process
from testbed.host import Host
from testbed.host_direct import DirectHost
from testbed.host_qemu import QemuHost
from testbed.nas import Nas
from testbed.san import San


class Bed:
    """
    Starts in the constructor (the process must be isolated, see network.py), ends with close(). Files are in directory,
    which names the process that owns them.
    """

    def __init__(self, host_count: int = 2, layers: Iterable[str] = (), say: Callable[[str], None] = lambda line: None,
                 guest_kernel: Path | None = None, guest_initrd: Path | None = None, bridge_nics: bool = False,
                 shelf: Path | None = None):
        """layers, bridge_nics: for hosts in QEMU alone. shelf: see library.build()."""
        network.require_isolation()
        self.kind, self.reason = host.choose_kind()
        say(f"{self.kind} mode: {self.reason}")
        self.directory = _own_directory()
        self.hosts: list[Host] = []
        self._closing = contextlib.ExitStack()
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self.close)
            self._closing.callback(network.delete_bridges)
            network.create_bridges()
            self.san = San(self.directory / "san", offloads=self.kind == "qemu")
            self._closing.callback(self.san.close)
            self._add_shell("lan", '"${@:-sh}"')
            self._add_shell("san", shlex.join(self.san.namespace.prefix) + ' "${@:-sh}"')
            self.san.start()
            say(f"SAN is up: tgt at {network.SAN_IP}, port 3260")
            for number in range(1, host_count + 1):
                directory = self.directory / f"host{number}"
                if self.kind == "qemu":
                    self.add_host(QemuHost(number, kernel.fetch(), images.host(layers), directory, bridge_nic=bridge_nics,
                                           shelf=shelf))
                else:
                    self.add_host(DirectHost(number, guest_kernel or kernel.fetch().image, guest_initrd or images.guest(),
                                             directory, self.directory / "nas/share", shelf))
            for each in self.hosts:
                each.wait_ready()
                say(f"{each.name} is up")
            on_failure.pop_all()

    def start_moves(self) -> None:
        """Hosts get certificates of one authority, and take VMs from each other."""
        lab = self.directory / "tls"
        if not lab.exists():
            process.run([paths.BIN / "lunar", "tls", "lab", lab, *(host.name for host in self.hosts)], 60)
        for host in self.hosts:
            host.install_tls(lab / host.name)
            host.start_receiver()

    @functools.cached_property
    def nas(self) -> Nas:
        """The file server, started when it is first asked for."""
        started = Nas(self.san, self.directory / "nas")
        self._closing.callback(started.close)
        return started

    def cut(self) -> None:
        """From now on the hosts do not reach each other by the management network; the testbed reaches them all."""
        for host in self.hosts:
            network.isolate(host.mgmt_tap, True)

    def heal(self) -> None:
        """Undoes cut()."""
        for host in self.hosts:
            network.isolate(host.mgmt_tap, False)

    def add_host(self, added: Host) -> None:
        """Takes a host in: close() ends it, testbed/shell finds it."""
        self.hosts.append(added)
        self._closing.callback(added.close)
        self._add_shell(added.name, added.shell_command)

    def close(self) -> None:
        """Ends everything that the testbed started, the last first."""
        self._closing.close()

    def _add_shell(self, name: str, command: str) -> None:
        """Leaves for testbed/shell how to get into name."""
        shells = self.directory / "shells"
        shells.mkdir(exist_ok=True)
        # "0 0 4294967295": the machine's own user namespace. Any other is one that testbed/enter made.
        own_user = Path("/proc/self/uid_map").read_text().split()[2] != "4294967295"
        user = "-U --preserve-credentials " if own_user else ""
        (shells / name).write_text(f"exec nsenter -t {os.getpid()} {user}-n -- {command}\n")


def _own_directory() -> Path:
    """build/testbed/run/PID, and "latest" pointing there; what processes left that are gone is removed."""
    paths.RUN.mkdir(parents=True, exist_ok=True)
    for old in paths.RUN.iterdir():
        if old.name.isdigit() and not Path(f"/proc/{old.name}").exists():
            shutil.rmtree(old, ignore_errors=True)
    directory = paths.RUN / str(os.getpid())
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    latest = paths.RUN / "latest"
    latest.unlink(missing_ok=True)
    latest.symlink_to(directory.name)
    return directory
