# SPDX-License-Identifier: BSD-3-Clause
"""
vmwp killed in the midst of writes: what a guest was told is on its disk is in the image, and the image is whole, every time.
"""

import random
from collections.abc import Iterator

import pytest

from testbed.bed import Bed
from testbed.crash import CrashGuest

ROUNDS = 3


@pytest.fixture
def victim(bed: Bed) -> Iterator[CrashGuest]:
    """A guest that writes to images of all kinds."""
    made = CrashGuest(bed, bed.hosts[0], "victim", bed.hosts[0].disk_dir, number=92)
    yield made
    made.close()


@pytest.mark.deadline(300)
def test_what_was_flushed_survives_vmwps_death(victim: CrashGuest) -> None:
    """Killed with SIGKILL at random moments: lunar vhd check is clean, and every batch that was flushed is there."""
    for _ in range(ROUNDS):
        victim.start()
        victim.kill_while_writing(random.uniform(0.2, 1.5))
        assert victim.problems() == []
    print(victim.flushed)
    assert all(count > 3 * ROUNDS for count in victim.flushed.values())
