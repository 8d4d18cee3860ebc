# SPDX-License-Identifier: BSD-3-Clause
"""
The KVM engine on a real KVM: VPs paused, saved, restored, logged and throttled by tests/kvm/test_engine_main.c, which runs
in a host. Each of its tests is one here.
"""

import re
from pathlib import Path

import pytest

from testbed import paths
from testbed.bed import Bed
from testbed.host import Host

CMOCKA = Path("/usr/lib/x86_64-linux-gnu/libcmocka.so.0")
SOURCE = Path(__file__).resolve().parent.parent / "kvm/test_engine_main.c"
NAMES = re.findall(r"^\t\t(?:CHECKER|DIRTIER)_TEST\((\w+)\),$", SOURCE.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def program(bed: Bed) -> str:
    """The command that runs the test program in host 1."""
    host1 = bed.hosts[0]
    directory = f"{host1.run_dir}/engine"
    host1.run(f"mkdir -p {directory}", check=True)
    host1.put(f"{directory}/test-engine", (paths.BIN / "test-engine").read_bytes())
    host1.put(f"{directory}/{CMOCKA.name}", CMOCKA.read_bytes())
    host1.run(f"chmod +x {directory}/test-engine", check=True)
    return f"LD_LIBRARY_PATH={directory} {directory}/test-engine"


@pytest.mark.parametrize("name", NAMES)
def test_engine(host1: Host, program: str, name: str) -> None:
    """One test of the program; it says itself what it found."""
    result = host1.run(f"{program} {name} 2>&1", 100)
    print(result.out)
    assert result.rc == 0, result.out
    assert f"[       OK ] {name}" in result.out
