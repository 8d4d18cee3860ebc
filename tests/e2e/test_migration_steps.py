# SPDX-License-Identifier: BSD-3-Clause
"""
Each step of a move's protocol, broken in each way: a killed source, a killed destination, a cut network, a killed netvspd on
either side. Afterwards exactly one VM runs (none, where its only copy was killed), its session lives, and a second try
succeeds. LUNAR_STEPS=all walks through all of docs/migration.md's steps; the default is a selection.
"""

import os
from collections.abc import Iterator

import pytest

from testbed import network
from testbed.bed import Bed
from testbed.host import Vm
from testbed.move_walk import (BEFORE_COMMIT, BEFORE_STATE, COMMIT_CAME, COMMITTED, FAULTS, Walk, documented_steps, places_after,
                               possible)

pytestmark = pytest.mark.usefixtures("moves")

# One of each kind, and those next to the commit.
SELECTION = [
    ("source-copying", "kill-source"), ("source-ready", "kill-source"), ("target-state", "kill-source"),
    ("source-round", "kill-target"), ("source-released", "kill-target"), ("target-commit", "kill-target"),
    ("target-running", "kill-target"),
    ("source-copying", "cut"), ("source-state", "cut"), ("source-ready", "cut"), ("target-commit", "cut"),
    ("source-paused", "netvspd-source"), ("source-round", "netvspd-source"),
    ("target-accepted", "netvspd-target"), ("target-ready", "netvspd-target"),
]
CASES = [(step, fault) for step in documented_steps() for fault in FAULTS if possible(step, fault)] \
    if os.environ.get("LUNAR_STEPS") == "all" else SELECTION


@pytest.fixture(scope="module")
def walk(bed: Bed, moves: None) -> Iterator[Walk]:
    """One VM for all steps."""
    made = Walk(bed, Vm("walker", "02:4c:55:4e:06:01", network.guest_address(51), memory="192M"))
    yield made
    made.close()


def test_every_documented_step_is_known_here() -> None:
    """A step that is added to docs/migration.md is walked through too."""
    assert set(documented_steps()) == BEFORE_STATE | BEFORE_COMMIT | COMMIT_CAME | COMMITTED
    assert all(step in documented_steps() and fault in FAULTS for step, fault in SELECTION)


@pytest.mark.deadline(240)
@pytest.mark.parametrize("step, fault", CASES, ids=[f"{fault}-at-{step}" for step, fault in CASES])
def test_broken_step_leaves_one_vm(walk: Walk, step: str, fault: str) -> None:
    """Exactly one runs, where the rules say; its I/O goes on; the next move succeeds."""
    walk.prepare()
    place, move = walk.break_at(step, fault)
    print(step, fault, "→", place, f"(lunar migrate: {move.rc})")
    assert place in places_after(step, fault)
    assert move.rc != 0 or place == "target" or fault == "kill-target", move.out
    walk.check(place)
    walk.second_try()
    walk.passed()


def test_nothing_was_lost_on_the_way(walk: Walk) -> None:
    """All blocks that were written since the VM was last started are right; one session, one connection."""
    walk.prepare()
    verdict = walk.io.finish()
    print(verdict)
    assert verdict.problems == ()
