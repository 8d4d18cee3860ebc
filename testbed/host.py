# SPDX-License-Identifier: BSD-3-Clause
"""
What a host is for the tests: a place that runs vmwp, netvspd and lunar, with an uplink to the testbed's LAN. Two kinds
stand behind this interface (host_qemu.py, host_direct.py); the machine decides which (choose_kind).
"""

import abc
import json
import shlex
import socket
from dataclasses import dataclass, field
from pathlib import Path

from testbed import network, process
from testbed.console import Console
from testbed.remote import Result

RECEIVE_PORT = 49200


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
    disks: list[dict[str, object]] = field(default_factory=list)  # as in the YAML file
    vlan: dict[str, object] | None = None  # likewise, of its NIC

    @property
    def iqn(self) -> str:
        """The guest's initiator name."""
        return f"iqn.2026-01.net.example:{self.name}"

    @property
    def ip(self) -> str:
        """The guest's address alone."""
        return self.address.split("/")[0]


@dataclass(frozen=True)
class Move:
    """What lunar migrate --json said: its exit status, each of its lines that is JSON, and all it wrote."""
    rc: int
    events: list[dict] = field(repr=False)
    out: str = field(repr=False)

    @property
    def last(self) -> dict:
        """The last event: the figures of a move that ended, the findings of a check."""
        return self.events[-1] if self.events else {}


def parse_events(output: str) -> list[dict]:
    """The lines of output that are JSON objects; one that goes over all lines is one event."""
    try:
        whole = json.loads(output)
        return [whole] if isinstance(whole, dict) else whole
    except ValueError:
        pass
    events = []
    for line in output.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


class Host(abc.ABC):
    """A host. run(), put() and get() work from the constructor on; netvspd and VMs are started by the caller."""

    name: str
    uplink_tap: str   # the LAN's end of the uplink, for captures
    mgmt_tap: str     # the same of the management network, by which VMs move
    mgmt_address: str
    uplink_devargs: str
    netvspd_options: list[str]
    guest_kernel: Path
    guest_initrd: Path
    run_dir: str      # LUNAR_RUN_DIR here
    state_dir: str    # LUNAR_STATE_DIR here
    tls_dir: str      # LUNAR_TLS_DIR here
    disk_dir: str     # after prepare_disks(): a file system for images that takes O_DIRECT
    mount_point = "/srv/share"  # of mount_share()
    library_dir: str  # after prepare_disks(): what testbed/library.py made, to be read only
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
    def wait_ready(self, seconds: float = 180.0) -> None:
        """Waits until the host takes commands."""

    @abc.abstractmethod
    def close(self) -> None:
        """Ends the host and all that runs in it."""

    @abc.abstractmethod
    def prepare_disks(self) -> None:
        """Has disk_dir and library_dir there. Any number of times."""

    @abc.abstractmethod
    def mount_share(self, path: str = "/srv/share") -> str:
        """Mounts the NAS's share (testbed/nas.py), if it is not mounted yet. Returns where."""

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

    def kill_netvspd(self) -> None:
        """Ends netvspd as a crash would."""
        self.run(f"p=$(cat {self.run_dir}/netvspd.pid) && kill -9 $p && while kill -0 $p 2>/dev/null; do sleep 0.02; done", 10)

    def install_tls(self, files: Path) -> None:
        """Installs what lunar tls lab made for this host."""
        self.run(f"rm -rf {self.run_dir}/tls && mkdir -p {self.run_dir}/tls", check=True)
        for source in sorted(files.iterdir()):
            self.put(f"{self.run_dir}/tls/{source.name}", source.read_bytes())
        self.run(f"cd {self.run_dir}/tls && chmod 600 *.key && lunar tls install {self.run_dir}/tls && rm -r {self.run_dir}/tls",
                 check=True)

    def start_receiver(self, hold: str = "") -> None:
        """
        Starts lunar receive and waits until it listens. hold: STEP:MILLISECONDS, where the VMs that it receives wait once
        (docs/migration.md).
        """
        before = f"LUNAR_MIGRATION_HOLD={hold} " if hold else ""
        # What VMs of the other host may name here, beside /boot and the like.
        folders = [str(self.guest_kernel.parent), str(self.guest_initrd.parent), self.disk_dir, self.library_dir,
                   self.mount_point]
        before += f"LUNAR_INCOMING_DIRS={shlex.quote(':'.join(folders))} "
        self.run(f"{before}setsid lunar receive >>{self.run_dir}/receive.log 2>&1 </dev/null &\n"
                 f"echo $! >{self.run_dir}/receive.pid", check=True)
        port = f":{RECEIVE_PORT:04X} "
        try:
            process.wait_until("lunar receive listens", lambda: self.run(
                f"kill -0 $(cat {self.run_dir}/receive.pid) || exit 9; "
                f"cat /proc/net/tcp /proc/net/tcp6 | grep -i '{port}' | grep -q ' 0A '").rc in (0, 9), 20)
            self.run(f"kill -0 $(cat {self.run_dir}/receive.pid)", check=True)
        except process.CommandFailed as failure:
            raise process.CommandFailed(f"{self.name}: {failure}\n{self.receiver_log()}") from failure

    def stop_receiver(self) -> None:
        """Ends lunar receive; VMs that it received run on."""
        self.run(f"p=$(cat {self.run_dir}/receive.pid) && kill $p && while kill -0 $p 2>/dev/null; do sleep 0.02; done", 10)

    def receiver_log(self) -> str:
        """The end of lunar receive's log."""
        return self.run(f"tail -n 40 {self.run_dir}/receive.log").out

    def cut_uplink(self) -> None:
        """The uplink's frames are lost from now on; neither end is told."""
        network.cut(self.uplink_tap)

    def heal_uplink(self) -> None:
        """Undoes cut_uplink()."""
        network.heal(self.uplink_tap, network.LAN)

    def migrate(self, vm: Vm, to: "Host", options: str = "", seconds: float = 120.0, check: bool = True) -> Move:
        """lunar migrate, from this host to another, until it ends. With check, a move that fails raises."""
        done = self.run(f"lunar migrate {vm.name} {to.name} --json {options}", seconds)
        move = Move(done.rc, parse_events(done.out), done.out)
        if check and move.rc != 0:
            raise process.CommandFailed(f"lunar migrate {vm.name} from {self.name} to {to.name}: exit {move.rc}\n"
                                        f"{move.out[-3000:]}\n{self.name}, vmwp:\n{self.vm_log(vm)}\n"
                                        f"{to.name}, lunar receive:\n{to.receiver_log()}")
        return move

    def vm_state(self, vm: Vm) -> str:
        """The VM's state as lunar show tells it; empty: not known here."""
        shown = self.run(f"lunar show {vm.name} --json")
        return json.loads(shown.out).get("state", "") if shown.rc == 0 else ""

    def running(self) -> list[str]:
        """The names of the VMs that run here."""
        listed = json.loads(self.run("lunar list --json", check=True).out)
        return [each["name"] for each in listed if each["state"] == "running"]

    def vm_pid(self, vm: Vm) -> int:
        """The pid of the VM's vmwp; 0: none."""
        shown = self.run(f"lunar show {vm.name} --json")
        return json.loads(shown.out).get("pid") or 0 if shown.rc == 0 else 0

    def yaml(self, vm: Vm) -> str:
        """The VM's YAML file for this host."""
        cmdline = (f"console=ttyS0 quiet panic=-1 lunar.name={vm.name} lunar.ip={vm.address} lunar.iqn={vm.iqn} "
                   f"{vm.extra_cmdline}").strip()
        lines = [f"name: {vm.name}", f"vps: {vm.vps}", f"memory: {vm.memory}"]
        lines += ["huge_pages: true"] if vm.huge_pages else []
        lines += [f"kernel: {self.guest_kernel}", f"initrd: {self.guest_initrd}", f"cmdline: {json.dumps(cmdline)}",
                  "nics:", f"  - mac: \"{vm.mac}\""]
        lines += [f"    queues: {vm.queues}"] if vm.queues else []
        lines += [f"    vlan: {json.dumps(vm.vlan)}"] if vm.vlan else []
        # JSON is YAML.
        lines += ["disks:", *(f"  - {json.dumps(disk)}" for disk in vm.disks)] if vm.disks else []
        return "\n".join(lines) + "\n"

    def create_vm(self, vm: Vm) -> None:
        """lunar create."""
        path = f"{self.run_dir}/{vm.name}.yaml"
        self.put(path, self.yaml(vm).encode())
        self.run(f"lunar create {path}", check=True)

    def start_vm(self, vm: Vm, hold: str = "") -> "Console":
        """lunar start; returns the console. hold: as for start_receiver(), for the VM's own moves from here."""
        before = f"LUNAR_MIGRATION_HOLD={hold} " if hold else ""
        self.run(f"{before}lunar start {vm.name} --timeout {round(30 * process.PATIENCE)}", 40, check=True)
        return self.console(vm)

    def stop_vm(self, vm: Vm, delete: bool = True) -> None:
        """Stops a VM at once, and deletes its definition. Works on a VM that has ended by itself."""
        self.run(f"lunar stop --force {vm.name}", 30)
        if delete:
            self.run(f"lunar delete {vm.name}", 10)

    def console(self, vm: Vm) -> "Console":
        """The VM's serial console."""
        return Console(self.console_stream(vm), vm.name)

    def console_stream(self, vm: Vm) -> socket.socket:
        """A connection to the VM's serial console."""
        return self.stream(f"exec socat - UNIX-CONNECT:{self.run_dir}/vm/{vm.name}/console.sock")

    def vm_log(self, vm: Vm) -> str:
        """The end of the VM's vmwp log."""
        return self.run(f"tail -n 40 {self.run_dir}/vm/{vm.name}/*.log").out
