# SPDX-License-Identifier: BSD-3-Clause
"""
A host on the machine itself, for machines whose KVM runs on hardware: a network namespace, with an uplink that DPDK
drives as a packet socket. It needs no huge pages. vmwp, netvspd and lunar are those of the checkout.
"""

import os
import shlex
import signal
import socket
import subprocess
from pathlib import Path

from testbed import network, paths, process
from testbed.host import Host
from testbed.remote import Result


class DirectHost(Host):
    """Host number 1, 2, ... as a network namespace."""

    uplink_devargs = "net_af_packet0,iface=uplink,framecnt=1024"
    netvspd_options = ["--no-huge"]

    def __init__(self, number: int, guest_kernel: Path, guest_initrd: Path, directory: Path, share: Path,
                 shelf: Path | None = None):
        """share: the NAS's folder. shelf: what library.build() made."""
        self.name = f"host{number}"
        self.guest_kernel = guest_kernel
        self.guest_initrd = guest_initrd
        self.directory = directory
        self._shelf = shelf
        # A unix socket's path is short: keep ours so.
        self.run_dir = f"/tmp/lunar-{os.getpid()}-{self.name}"
        directory.mkdir(parents=True, exist_ok=True)
        os.makedirs(self.run_dir, exist_ok=True)
        hosts = directory / "hosts"
        hosts.write_text(network.hosts_file())
        self.namespace = network.Namespace(self.name, directory / "namespace.log", hosts)
        self.uplink_tap = self.namespace.plug(network.LAN, "uplink")
        self.mgmt_address = network.mgmt_address(number)
        self.mgmt_tap = self.namespace.plug(network.MGMT, "eth0", f"{self.mgmt_address}/24")
        self.tls_dir = str(directory / "tls")
        self.state_dir = str(directory / "state")
        self.disk_dir = str(directory / "disks")
        self.library_dir = str(directory / "library")
        self._share = self.mount_point = str(share)
        own = {"LUNAR_RUN_DIR": self.run_dir, "LUNAR_STATE_DIR": self.state_dir, "LUNAR_TLS_DIR": self.tls_dir,
               "PATH": f"{paths.BIN}:{os.environ['PATH']}"}
        self._environment = {**os.environ, **own}
        self.shell_command = shlex.join(["env", *(f"{key}={value}" for key, value in own.items()), *self.namespace.prefix,
                                         "sh", "-i"])

    def wait_ready(self, seconds: float = 0) -> None:
        """It is ready."""

    def _spawn(self, script: str, stdin: object, stdout: object) -> subprocess.Popen:
        return subprocess.Popen([*self.namespace.prefix, "sh", "-c", script], stdin=stdin, stdout=stdout,
                                stderr=subprocess.STDOUT, env=self._environment, start_new_session=True)

    def run(self, script: str, seconds: float = 30.0, check: bool = False) -> Result:
        child = self._spawn(script, subprocess.DEVNULL, subprocess.PIPE)
        try:
            output = process.text(child.communicate(timeout=seconds)[0])
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            output = process.text(child.communicate()[0])
            raise process.CommandFailed(f"{self.name}: no end after {seconds:.0f} s: {script}\n{output[-2000:]}") from None
        if check and child.returncode != 0:
            raise process.CommandFailed(f"{self.name}: exit {child.returncode}: {script}\n{output[-2000:]}")
        return Result(child.returncode, output)

    def put(self, path: str, content: bytes) -> None:
        Path(path).write_bytes(content)

    def get(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def stream(self, script: str) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._spawn(script, theirs, theirs)
        return ours

    def prepare_disks(self) -> None:
        os.makedirs(self.disk_dir, exist_ok=True)
        if self._shelf and not os.path.ismount(self.library_dir):
            os.makedirs(self.library_dir, exist_ok=True)
            process.run(["mount", "-o", "ro,loop", self._shelf, self.library_dir])

    def mount_share(self, path: str = "/srv/share") -> str:
        # One machine: the folder that the NAS serves is at hand.
        return self._share

    def close(self) -> None:
        if os.path.ismount(self.library_dir):
            process.run(["umount", self.library_dir], check=False)
        # What lunar and netvspd left running here has our namespace; nothing else has.
        inside = os.readlink(f"/proc/{self.namespace.pid}/ns/net")
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(entry / "ns/net") == inside and int(entry.name) != self.namespace.pid:
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                continue
        self.namespace.close()
        process.run(["rm", "-rf", self.run_dir])
