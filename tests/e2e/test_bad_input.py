# SPDX-License-Identifier: BSD-3-Clause
"""Bad input: one line that says what is wrong, an exit code of its own (base/exit_code.h), and no hang."""

import re
import shlex

import pytest

from testbed import network, paths
from testbed.bed import Bed
from testbed.guest import Guest
from testbed.host import Host, Vm
from testbed.remote import Result
from testbed.san import Account

CODES = {name: int(value) for name, value in
         re.findall(r"^\s*(EXIT_\w+) = (\d+)", (paths.ROOT / "base/exit_code.h").read_text(), re.M)}
VM = Vm("bad", "02:4c:55:4e:02:01", network.guest_address(20), memory="128M")
SECONDS = 20


def check(result: Result, code: str) -> None:
    """The exit code, and one line of at least a few words."""
    lines = [line for line in result.lines() if line.strip()]
    assert (result.rc, len(lines)) == (CODES[code], 1), result.out
    assert len(lines[0].split()) >= 3


def start(host: Host, yaml: str) -> Result:
    """lunar create and start, what fails first; the definition is removed."""
    path = f"{host.run_dir}/bad.yaml"
    host.put(path, yaml.encode())
    try:
        created = host.run(f"lunar create {path}", SECONDS)
        return created if created.rc else host.run(f"lunar start {VM.name}", SECONDS)
    finally:
        host.run(f"lunar stop --force {VM.name}; lunar delete {VM.name}", SECONDS)


@pytest.mark.parametrize("code, old, new", [
    ("EXIT_CONFIG", "vps: 1", "vps: 1\ncpu_count: 3"),
    ("EXIT_CONFIG", "vps: 1", "vps: 65"),
    ("EXIT_CONFIG", "memory: 128M", "memory: lots"),
    ("EXIT_NO_KERNEL", "vmlinuz", "no-such-kernel"),
    ("EXIT_NO_KERNEL", "initrd\n", "no-such-initrd\n"),
    ("EXIT_NO_SWITCH", "nics:\n  - ", "nics:\n  - switch: /run/nobody.sock\n    "),
], ids=["unknown-key", "too-many-vps", "bad-memory", "missing-kernel", "missing-initrd", "netvspd-absent"])
def test_yaml_that_cannot_run_is_refused(host1: Host, code: str, old: str, new: str) -> None:
    """What lunar says of a VM's file."""
    yaml = host1.yaml(VM)
    assert old in yaml
    check(start(host1, yaml.replace(old, new)), code)


def test_file_that_is_no_kernel_is_refused(host1: Host) -> None:
    """A file of text in the kernel's place."""
    path = f"{host1.run_dir}/text"
    host1.put(path, b"not a kernel\n" * 100)
    check(start(host1, host1.yaml(VM).replace(str(host1.guest_kernel), path)), "EXIT_BAD_KERNEL")


def test_host_without_enough_huge_pages_is_told_so(host1: Host) -> None:
    """Huge pages asked for, more than there are."""
    check(start(host1, host1.yaml(VM).replace("memory: 128M", "memory: 4G\nhuge_pages: true")), "EXIT_NO_MEMORY")


def test_host_without_kvm_is_told_so(host1: Host) -> None:
    """/dev/kvm covered by a file that is no KVM, in a mount namespace of the test's own."""
    path = f"{host1.run_dir}/bad.yaml"
    host1.put(path, host1.yaml(VM).encode())
    script = f"mount --bind /dev/null /dev/kvm && exec vmwp --config {path}"
    check(host1.run(f"unshare -m sh -c {shlex.quote(script)}", SECONDS), "EXIT_NO_KVM")


def test_netvspd_refuses_devargs_that_name_no_device(host2: Host) -> None:
    """A PCI address where nothing is."""
    options = shlex.join(host2.netvspd_options)
    result = host2.run(f"netvspd --socket {host2.run_dir}/second.sock --uplink 0000:00:1e.7 {options}", SECONDS)
    assert result.rc == CODES["EXIT_BAD_DEVARGS"], result.out


def test_lunar_does_not_know_a_vm_that_was_never_created(host1: Host) -> None:
    """Every command on it."""
    for command in ("start", "stop", "show", "console"):
        check(host1.run(f"lunar {command} nobody", SECONDS), "EXIT_NOT_FOUND")


def test_portal_that_nobody_serves_is_unreachable(guest: Guest) -> None:
    """A closed port, and an address where nobody is."""
    for portal in (f"{network.SAN_IP}:3261", "10.77.0.99"):
        check(guest.run(f"lunar-iscsi attach iscsi://{portal}/iqn.2026-01.net.example:x/1", 40, check=False),
              "EXIT_PORTAL_UNREACHABLE")


def test_iqn_that_the_target_does_not_know_is_refused(bed: Bed, guest: Guest) -> None:
    """The portal answers, the name is wrong. tgt hangs up on everybody while it has no target at all: let it have one."""
    url = f"iscsi://{network.SAN_IP}/iqn.2026-01.net.example:nobody/1"
    target = bed.san.add_target("somebody")
    try:
        check(guest.run(f"lunar-iscsi attach {url}", check=False), "EXIT_UNKNOWN_TARGET")
    finally:
        bed.san.remove_target(target)


def test_lun_that_the_target_lacks_is_refused(bed: Bed, guest: Guest) -> None:
    """The name is right, the LUN is wrong, and no session stays."""
    target = bed.san.add_target("lun")
    try:
        check(guest.run(f"lunar-iscsi attach {target.url[:-1]}7", check=False), "EXIT_NO_LUN")
        assert bed.san.sessions(target) == []
    finally:
        bed.san.remove_target(target)


def test_wrong_chap_secret_is_refused(bed: Bed, guest: Guest) -> None:
    """A secret that is wrong, and none at all."""
    target = bed.san.add_target("secret", login=Account("guest", "the-right-secret"))
    try:
        url = target.url.replace("//", "//guest@")
        check(guest.run(f"LUNAR_ISCSI_SECRET=the-wrong-secret lunar-iscsi attach {url}", check=False), "EXIT_AUTH_FAILED")
        check(guest.run(f"lunar-iscsi attach {target.url}", check=False), "EXIT_AUTH_FAILED")
        assert bed.san.sessions(target) == []
    finally:
        bed.san.remove_target(target)
