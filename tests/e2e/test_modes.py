# SPDX-License-Identifier: BSD-3-Clause
"""
How the testbed chooses between QEMU and the machine's own KVM, and that the second way works: a host in QEMU has AMD-V,
so the testbed started in it must take hosts that are network namespaces.
"""

from collections.abc import Iterator

import pytest

from testbed import images, kernel, paths
from testbed.bed import Bed
from testbed.host import choose_kind
from testbed.host_qemu import QemuHost


@pytest.mark.parametrize("flags, kind", [("fpu svm npt", "direct"), ("fpu vmx", "direct"), ("fpu sse2 svm_lock", "qemu"),
                                         ("", "qemu")])
def test_processor_flags_decide_the_mode(flags: str, kind: str) -> None:
    """Whole words of the flags line only, whatever /dev/kvm claims."""
    assert choose_kind(f"model name\t: svm vmx\nflags\t\t: {flags}\n")[0] == kind


@pytest.fixture
def machine(bed: Bed) -> Iterator[QemuHost]:
    """A machine with hardware virtualization: a host image with the testbed inside."""
    made = QemuHost(9, kernel.fetch(), images.host(["testbed"]), bed.directory / "host9", memory_mib=4096, huge_pages=0)
    try:
        made.wait_ready()
        yield made
    finally:
        made.close()


@pytest.mark.deadline(540)
def test_demo_passes_in_direct_mode(machine: QemuHost) -> None:
    """The whole demonstration, inside."""
    made = machine.run("export LUNAR_BIN=/usr/bin LUNAR_TESTBED_DIR=/tmp/testbed LUNAR_DEMO_MIB=8; "
                       f"/lunar/testbed/demo --built {paths.GUEST_IN_HOST}/vmlinuz {paths.GUEST_IN_HOST}/initrd", 480)
    assert made.rc == 0, made.out
    assert "direct mode: the processor has svm" in made.out
    assert "the guest reached its LUN by itself, and took its session along" in made.out
    # Nothing is left: no process of ours, no bridge.
    left = machine.run("pidof vmwp netvspd tgtd tcpdump; ip link | grep -c -e lan -e mgmt")
    assert left.out.split() == ["0"]
