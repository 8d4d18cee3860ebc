# SPDX-License-Identifier: BSD-3-Clause
"""
What a host is for the tests: a place that runs vmwp, netvspd and lunar, with an uplink to the testbed's LAN. Two kinds
stand behind this interface (host_qemu.py, host_direct.py); the machine decides which (choose_kind).
"""

import abc
import json
import shlex
import socket
from dataclasses import dataclass
from pathlib import Path

from testbed import process
from testbed.console import Console
from testbed.remote import Result


def choose_kind(cpuinfo: str | None = None) -> tuple[str, str]:
    """
    "direct" or "qemu", and the reason. /dev/kvm proves nothing (it can be there and be emulated one instruction at a
    time); the processor's own flags do.
    """
    text = Path("/proc/cpuinfo").read_text() if cpuinfo is None else cpuinfo
    flags = {word for line in text.splitlines() if line.startswith("flags") for word in line.split(":")[1].split()}
    for flag in ("svm", "vmx"):
        if flag in flags:
            return "direct", f"the processor has {flag}: hosts are network namespaces on this machine"
    return "qemu", "the processor shows neither svm nor vmx: hosts run in QEMU, which emulates AMD-V for their KVM"


@dataclass
class Vm:
    """A child partition as its YAML file describes it."""
    name: str
    mac: str
    address: str  # on the LAN, with its prefix length
    vps: int = 1
    memory: str = "512M"
    huge_pages: bool = False
    queues: int | None = None
    extra_cmdline: str = ""

    @property
    def iqn(self) -> str:
        """The guest's initiator name."""
        return f"iqn.2026-01.net.example:{self.name}"

    @property
    def ip(self) -> str:
        """The guest's address alone."""
        return self.address.split("/")[0]


class Host(abc.ABC):
    """A host. run(), put() and get() work from the constructor on; netvspd and VMs are started by the caller."""

    name: str
    uplink_tap: str   # the LAN's end of the uplink, for captures
    uplink_devargs: str
    netvspd_options: list[str]
    guest_kernel: Path
    guest_initrd: Path
    run_dir: str      # LUNAR_RUN_DIR here
    shell_command: str  # for people, to be run in the testbed's namespace

    @abc.abstractmethod
    def run(self, script: str, seconds: float = 30.0, check: bool = False) -> Result:
        """Runs a shell script in the host."""

    @abc.abstractmethod
    def put(self, path: str, content: bytes) -> None:
        """Writes a file."""

    @abc.abstractmethod
    def get(self, path: str) -> bytes:
        """Reads a file."""

    @abc.abstractmethod
    def stream(self, script: str) -> socket.socket:
        """Starts a script that talks on its stdin and stdout, and returns the other end."""

    @abc.abstractmethod
    def wait_ready(self, seconds: float = 60.0) -> None:
        """Waits until the host takes commands."""

    @abc.abstractmethod
    def close(self) -> None:
        """Ends the host and all that runs in it."""

    @property
    def vsp_socket(self) -> str:
        """netvspd's socket."""
        return f"{self.run_dir}/netvspd.sock"

    def start_netvspd(self, devargs: str | None = None) -> None:
        """Starts netvspd with the host's uplink and waits until it listens."""
        words = ["netvspd", "--socket", self.vsp_socket, "--uplink", devargs or self.uplink_devargs, *self.netvspd_options]
        self.run(f"rm -f {self.vsp_socket}; setsid {shlex.join(words)} >>{self.run_dir}/netvspd.log 2>&1 </dev/null &\n"
                 f"echo $! >{self.run_dir}/netvspd.pid", check=True)
        try:
            process.wait_until("netvspd listens", lambda: self.run(
                f"kill -0 $(cat {self.run_dir}/netvspd.pid) || exit 9; test -S {self.vsp_socket}").rc in (0, 9), 20)
            self.run(f"kill -0 $(cat {self.run_dir}/netvspd.pid)", check=True)
        except process.CommandFailed as failure:
            raise process.CommandFailed(f"{self.name}: {failure}\n{self.netvspd_log()}") from failure

    def stop_netvspd(self) -> None:
        """Ends netvspd."""
        self.run(f"p=$(cat {self.run_dir}/netvspd.pid) && kill $p && while kill -0 $p 2>/dev/null; do sleep 0.05; done", 10)

    def netvspd_log(self) -> str:
        """The end of netvspd's log."""
        return self.run(f"tail -n 40 {self.run_dir}/netvspd.log").out

    def yaml(self, vm: Vm) -> str:
        """The VM's YAML file for this host."""
        cmdline = (f"console=ttyS0 quiet panic=-1 lunar.name={vm.name} lunar.ip={vm.address} lunar.iqn={vm.iqn} "
                   f"{vm.extra_cmdline}").strip()
        lines = [f"name: {vm.name}", f"vps: {vm.vps}", f"memory: {vm.memory}"]
        lines += ["huge_pages: true"] if vm.huge_pages else []
        lines += [f"kernel: {self.guest_kernel}", f"initrd: {self.guest_initrd}", f"cmdline: {json.dumps(cmdline)}",
                  "nics:", f"  - mac: \"{vm.mac}\"", f"    switch: {self.vsp_socket}"]
        lines += [f"    queues: {vm.queues}"] if vm.queues else []
        return "\n".join(lines) + "\n"

    def create_vm(self, vm: Vm) -> None:
        """lunar create."""
        path = f"{self.run_dir}/{vm.name}.yaml"
        self.put(path, self.yaml(vm).encode())
        self.run(f"lunar create {path}", check=True)

    def start_vm(self, vm: Vm) -> "Console":
        """lunar start; returns the console."""
        self.run(f"lunar start {vm.name}", check=True)
        return self.console(vm)

    def stop_vm(self, vm: Vm, delete: bool = True) -> None:
        """Stops a VM at once, and deletes its definition. Works on a VM that has ended by itself."""
        self.run(f"lunar stop --force {vm.name}", 30)
        if delete:
            self.run(f"lunar delete {vm.name}", 10)

    def console(self, vm: Vm) -> "Console":
        """The VM's serial console."""
        return Console(self.stream(f"exec socat - UNIX-CONNECT:{self.run_dir}/vm/{vm.name}/console.sock"), vm.name)

    def vm_log(self, vm: Vm) -> str:
        """The end of the VM's vmwp log."""
        return self.run(f"tail -n 40 {self.run_dir}/vm/{vm.name}/*.log").out
