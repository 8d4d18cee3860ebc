# SPDX-License-Identifier: BSD-3-Clause
"""The yardstick: QEMU running the same kernel and initrd on a host of the testbed."""

import shlex

from testbed.console import Console
from testbed.host import Host, Vm

BRIDGE = "br0"
# By its path: the shell of the hosts is busybox, which would run its own ip.
IP = "/usr/sbin/ip"


def machine_argv(machine: str, host: Host, memory: str, vps: int, cmdline: str, cpu: str = "host") -> list[str]:
    """QEMU's command line for a guest without any device but a serial port. machine: "microvm", "q35" or "pc"."""
    options = ["-machine", f"{machine},accel=kvm", "-cpu", cpu, "-smp", str(vps), "-m", memory, "-nodefaults",
               "-no-user-config", "-display", "none", "-no-reboot", "-kernel", str(host.guest_kernel), "-initrd",
               str(host.guest_initrd), "-append", cmdline]
    return ["qemu-system-x86_64", *options]


def bridge_uplink(host: Host, pci: str) -> None:
    """Gives the host's uplink back to the kernel and puts it into a bridge: the place of netvspd."""
    host.run(f"""set -e
        echo {pci} >/sys/bus/pci/drivers/uio_pci_generic/unbind || true
        echo >/sys/bus/pci/devices/{pci}/driver_override
        echo {pci} >/sys/bus/pci/drivers_probe
        modprobe bridge; modprobe tun; modprobe vhost_net
        {IP} link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0
        uplink=$(ls /sys/bus/pci/devices/{pci}/virtio*/net)
        {IP} link set $uplink master {BRIDGE} up
        {IP} link set {BRIDGE} up""", check=True)


class QemuGuest:
    """A guest under QEMU with virtio-net and vhost on the bridge of bridge_uplink()."""

    def __init__(self, host: Host, vm: Vm):
        self.host = host
        self.vm = vm
        tap = f"tap-{vm.name}"
        host.run(f"{IP} tuntap add dev {tap} mode tap vnet_hdr && {IP} link set {tap} master {BRIDGE} up", check=True)
        cmdline = f"console=ttyS0 quiet panic=-1 lunar.name={vm.name} lunar.ip={vm.address} lunar.iqn={vm.iqn}"
        argv = machine_argv("q35", host, vm.memory, vm.vps, cmdline) + [
            "-netdev", f"tap,id=n0,ifname={tap},script=no,downscript=no,vhost=on",
            "-device", f"virtio-net-pci,netdev=n0,mac={vm.mac},romfile="]
        self.command = shlex.join(argv)
        self._socket = f"/tmp/{vm.name}.sock"
        argv += ["-serial", f"unix:{self._socket},server=on,wait=on"]
        host.run(f"setsid {shlex.join(argv)} >/tmp/{vm.name}.log 2>&1 </dev/null & echo $! >/tmp/{vm.name}.pid; "
                 f"while ! test -S {self._socket}; do sleep 0.05; done", 20, check=True)
        self.console = Console(host.stream(f"exec socat - UNIX-CONNECT:{self._socket}"), vm.name)

    def wait_ready(self, seconds: float = 90.0) -> None:
        """Waits for the guest's shell."""
        self.console.expect("lunar guest ready", seconds)

    def run(self, command: str, seconds: float = 60.0):
        """Runs a shell command in the guest."""
        return self.console.run(command, seconds, check=True)

    def stop(self) -> None:
        """Ends the guest at once."""
        self.console.close()
        self.host.run(f"kill $(cat /tmp/{self.vm.name}.pid); {IP} link del tap-{self.vm.name}")
