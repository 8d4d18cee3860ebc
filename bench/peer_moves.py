# SPDX-License-Identifier: BSD-3-Clause
"""
The yardstick of a move: QEMU's own live migration between two hosts of the testbed. A guest with virtio-net and vhost on
each host's Linux bridge, with Hyper-V's clock, timers and hints; commanded by QMP.
"""

import json
import shlex
import socket
import time

from bench.peers import BRIDGE, IP, machine_argv
from testbed import process
from testbed.console import Console
from testbed.host import Host, Vm

PORT = 49300
CPU = ("host,migratable=on,kvm=off,hv-relaxed,hv-vapic,hv-time,hv-vpindex,hv-runtime,hv-synic,hv-stimer,hv-stimer-direct,"
       "hv-tlbflush,hv-ipi,hv-frequencies")
TLS_DIRECTORY = "/run/peer-tls"
# No limit of QEMU's own on the wire; its default downtime target is that of ours too (300 ms).
PARAMETERS = {"max-bandwidth": 1 << 40, "downtime-limit": 300}

# RFC 7919, ffdhe2048: QEMU makes parameters of its own otherwise, which takes an emulated processor minutes.
DH_PARAMETERS = """-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""


def install_tls(host: Host) -> None:
    """The host's own certificates (lunar tls) by the names that QEMU looks for."""
    names = {"ca-cert.pem": "ca.crt", "server-cert.pem": "host.crt", "server-key.pem": "host.key", "client-cert.pem": "host.crt",
             "client-key.pem": "host.key"}
    links = "; ".join(f"ln -sf {host.tls_dir}/{ours} {TLS_DIRECTORY}/{theirs}" for theirs, ours in names.items())
    host.run(f"mkdir -p {TLS_DIRECTORY}; {links}", check=True)
    host.put(f"{TLS_DIRECTORY}/dh-params.pem", DH_PARAMETERS.encode())


class Qmp:
    """QEMU's machine protocol, by way of the host's command channel."""

    def __init__(self, stream: socket.socket):
        self._stream = stream
        self._lines = stream.makefile("rb")
        self._next()  # the greeting
        self.ask("qmp_capabilities")

    def _next(self) -> dict:
        line = self._lines.readline()
        if not line:
            raise ConnectionError("QEMU closed its monitor")
        return json.loads(line)

    def ask(self, command: str, seconds: float = 30.0, **arguments: object) -> dict:
        """A command; what it returned. CommandFailed with QEMU's words."""
        self._stream.settimeout(seconds)
        self._stream.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = self._next()
            if "error" in answer:
                raise process.CommandFailed(f"QEMU, {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def close(self) -> None:
        """Lets go of the monitor."""
        self._lines.close()
        self._stream.close()


class MovingGuest:
    """A QEMU guest that moves between hosts. machine: "q35", "pc" or "microvm"."""

    def __init__(self, host: Host, vm: Vm, machine: str = "q35", tls: bool = False, multifd: int = 0):
        self.host = host
        self.vm = vm
        self.machine = machine
        self.tls = tls
        self.multifd = multifd
        self._number = 0
        self.command = ""
        self._monitor = self._start(host, [])
        self.console = Console(self._console_stream(host), vm.name)

    def _path(self, kind: str) -> str:
        return f"/tmp/{self.vm.name}-{self._number}.{kind}"

    def _start(self, host: Host, more: list[str]) -> Qmp:
        """Starts a QEMU on host; more: what makes it wait for a move."""
        self._number += 1
        vm, tap = self.vm, f"tap-{self.vm.name}"
        host.run(f"{IP} link del {tap} 2>/dev/null; {IP} tuntap add dev {tap} mode tap vnet_hdr && "
                 f"{IP} link set {tap} master {BRIDGE} up", check=True)
        cmdline = (f"console=ttyS0 quiet panic=-1 lunar.virtio lunar.name={vm.name} lunar.ip={vm.address} "
                   f"lunar.iqn={vm.iqn}")
        argv = machine_argv(self.machine, host, vm.memory, vm.vps, cmdline, CPU) + [
            "-netdev", f"tap,id=n0,ifname={tap},script=no,downscript=no,vhost=on",
            "-device", f"virtio-net-{'device' if self.machine == 'microvm' else 'pci'},netdev=n0,mac={vm.mac}"
                       + ("" if self.machine == "microvm" else ",romfile=")]
        self.command = self.command or shlex.join(argv)
        if self.tls and more:
            argv += ["-object", f"tls-creds-x509,id=tls-in,dir={TLS_DIRECTORY},endpoint=server,verify-peer=on"]
        argv += ["-serial", f"unix:{self._path('console')},server=on,wait=off",
                 "-qmp", f"unix:{self._path('qmp')},server=on,wait=off", *more]
        host.run(f"setsid {shlex.join(argv)} >{self._path('log')} 2>&1 </dev/null & echo $! >{self._path('pid')}; "
                 f"for try in $(seq 200); do test -S {self._path('qmp')} && break; sleep 0.05; done; "
                 f"test -S {self._path('qmp')} || {{ cat {self._path('log')}; exit 1; }}", 30, check=True)
        monitor = Qmp(host.stream(f"exec socat - UNIX-CONNECT:{self._path('qmp')}"))
        capabilities = [{"capability": "multifd", "state": bool(self.multifd)}]
        monitor.ask("migrate-set-capabilities", capabilities=capabilities)
        parameters = dict(PARAMETERS)
        if self.multifd:
            parameters["multifd-channels"] = self.multifd
        if self.tls and more:
            parameters |= {"tls-creds": "tls-in"}
        monitor.ask("migrate-set-parameters", **parameters)
        return monitor

    def _console_stream(self, host: Host) -> socket.socket:
        return host.stream(f"exec socat - UNIX-CONNECT:{self._path('console')}")

    def wait_ready(self, seconds: float = 90.0) -> None:
        """Waits for the guest's shell."""
        self.console.expect("lunar guest ready", seconds)

    def run(self, command: str, seconds: float = 60.0):
        """Runs a shell command in the guest."""
        return self.console.run(command, seconds, check=True)

    def move(self, host: Host, seconds: float = 600.0) -> dict:
        """
        Moves the guest. Returns QEMU's own figures: "total-time", "downtime" (both ms), "ram", ... The destination is
        ready before the clock starts, as QEMU counts.
        """
        old_host, old_monitor, old_pid = self.host, self._monitor, self._path("pid")
        new_monitor = self._start(host, ["-incoming", "defer"])
        new_monitor.ask("migrate-incoming", uri=f"tcp:0:{PORT}")
        if self.tls:
            old_monitor.ask("object-add", **{"qom-type": "tls-creds-x509", "id": "tls-out", "dir": TLS_DIRECTORY,
                                             "endpoint": "client", "verify-peer": True})
            old_monitor.ask("migrate-set-parameters", **{"tls-creds": "tls-out", "tls-hostname": host.name})
        old_monitor.ask("migrate", uri=f"tcp:{host.mgmt_address}:{PORT}")
        end = time.monotonic() + seconds
        while True:
            figures = old_monitor.ask("query-migrate")
            # Completed comes a moment before its figures do.
            if figures.get("status") in ("failed", "cancelled") or figures.get("total-time") and \
                    figures["status"] == "completed" or time.monotonic() > end:
                break
            time.sleep(0.05)
        if figures.get("status") != "completed":
            raise process.CommandFailed(f"QEMU's migration: {figures}")
        process.wait_until("the guest runs there", lambda: new_monitor.ask("query-status")["status"] == "running", 20)
        old_monitor.close()
        old_host.run(f"kill $(cat {old_pid}); while kill -0 $(cat {old_pid}) 2>/dev/null; do sleep 0.05; done; "
                     f"{IP} link del tap-{self.vm.name}", check=True)
        self._monitor, self.host = new_monitor, host
        self.console.moved(self._console_stream(host))
        return figures

    def stop(self) -> None:
        """Ends the guest at once."""
        self.console.close()
        self._monitor.close()
        self.host.run(f"kill $(cat {self._path('pid')}); {IP} link del tap-{self.vm.name}")
