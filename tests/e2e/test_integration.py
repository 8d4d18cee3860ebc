# SPDX-License-Identifier: BSD-3-Clause
"""The integration services, by the guest's own hv_utils: heartbeat and clean shutdown."""

import json

from testbed import network, process
from testbed.guest import Guest
from testbed.host import Host, Vm


def shown(guest: Guest) -> dict:
    """What lunar show says about the guest's services."""
    return json.loads(guest.host.run(f"lunar show {guest.vm.name} --json", check=True).out)["guest"]


def test_guest_answers_heartbeats(guest: Guest) -> None:
    """The guest's driver agreed on the newest versions, and answers."""
    process.wait_until("a heartbeat", lambda: shown(guest) == {"heartbeat": "ok", "shutdown_ready": True}, 20)
    assert guest.dmesg("Heartbeat IC version 3.0")
    assert guest.dmesg("Shutdown IC version 3.2")


def test_heartbeat_is_absent_while_the_driver_is(guest: Guest) -> None:
    """The driver leaves and comes back: its channels close and open again."""
    guest.run("rmmod hv_utils")
    assert shown(guest) == {"heartbeat": "absent", "shutdown_ready": False}
    guest.run("modprobe hv_utils")
    process.wait_until("a heartbeat", lambda: shown(guest) == {"heartbeat": "ok", "shutdown_ready": True}, 20)


def test_stop_lets_the_guest_power_off_by_itself(host1: Host) -> None:
    """The kernel's own words on the console, and vmwp saw the power go, not a deadline."""
    guest = Guest(host1, Vm("polite", "02:4c:55:4e:01:07", network.guest_address(7))).start()
    try:
        process.wait_until("the shutdown service", lambda: shown(guest)["shutdown_ready"], 20)
        # Its init is a script: what asks init to power off must do it itself.
        guest.run("echo '/bin/busybox poweroff -f' >/proc/sys/kernel/poweroff_cmd; dmesg -n 7")
        host1.run("lunar stop polite", 60, check=True)
        guest.console.expect("Shutdown request received - graceful shutdown initiated", 20)
        guest.console.expect("reboot: Power down", 20)
        assert "the guest powered off" in host1.vm_log(guest.vm)
    finally:
        guest.stop()
