# SPDX-License-Identifier: BSD-3-Clause
"""
The target goes away in the middle of writes. Each write that the guest was told is done must be on the SAN afterwards,
whether the target comes back or not.
"""

import time
from collections.abc import Iterator

import pytest

from testbed.bed import Bed
from testbed.guest import Guest
from testbed.san import Target

BLOCK = 4096
# Writes numbered blocks one by one past the cache, and notes each number once its write has returned.
WRITER = """
disk=%s
writer() {
	number=1
	while [ ! -e /tmp/enough ]; do
		yes "block $number" | head -c 4096 >/tmp/block
		if dd if=/tmp/block of=$disk bs=4096 count=1 seek=$number oflag=direct 2>/dev/null; then
			echo $number >>/tmp/done
		else
			echo $number >>/tmp/refused
			[ $(wc -l </tmp/refused) -lt 3 ] || break
		fi
		number=$((number + 1))
	done
	echo ended >/tmp/ended
}
rm -f /tmp/enough /tmp/done /tmp/refused /tmp/ended
touch /tmp/done /tmp/refused
writer >/dev/null 2>&1 &
"""


@pytest.fixture
def target(bed: Bed) -> Iterator[Target]:
    """A target that a test may take away."""
    made = bed.san.add_target("loss")
    yield made
    bed.san.remove_target(made)


def counts(guest: Guest) -> tuple[int, int]:
    """Writes done and writes refused."""
    done, refused = guest.run("wc -l </tmp/done; wc -l </tmp/refused").lines()
    return int(done), int(refused)


def wait_for(guest: Guest, seconds: float, what: str, holds) -> None:
    """Polls the guest."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what}: not within {seconds} s; writes done and refused: {counts(guest)}"
        time.sleep(0.5)


def check_written(guest: Guest, target: Target) -> int:
    """Every write noted as done is in the backing file. Returns their number."""
    guest.run("touch /tmp/enough")
    wait_for(guest, 30, "the writer ends", lambda: guest.run("test -e /tmp/ended", check=False).rc == 0)
    total, _ = counts(guest)
    refused = {int(line) for line in guest.run("cat /tmp/refused").lines()}
    done = {number for number in range(1, total + len(refused) + 1)} - refused
    with open(target.luns[1], "rb") as file:
        for number in sorted(done):
            file.seek(number * BLOCK)
            line = f"block {number}\n".encode()
            assert file.read(BLOCK) == (line * (BLOCK // len(line) + 1))[:BLOCK], f"block {number} is lost"
    return total


@pytest.mark.deadline(180)
def test_writes_go_on_when_the_target_comes_back(bed: Bed, guest: Guest, target: Target) -> None:
    """A target killed and started again after 5 s: no write fails, none is lost, no session is left over."""
    disk = guest.attach(target.url)
    guest.run(WRITER % disk)
    wait_for(guest, 30, "ten writes", lambda: counts(guest)[0] >= 10)
    bed.san.stop()
    time.sleep(1)
    stalled = counts(guest)[0]
    time.sleep(4)
    assert counts(guest)[0] <= stalled + 1, "writes are acknowledged without a target"
    bed.san.start()
    wait_for(guest, 60, "writes go on", lambda: counts(guest)[0] >= stalled + 20)
    assert counts(guest)[1] == 0
    assert check_written(guest, target) >= stalled + 20
    assert len(bed.san.sessions(target)) == 1
    guest.detach(disk)
    assert bed.san.sessions(target) == []


@pytest.mark.deadline(240)
def test_writes_fail_when_the_target_stays_away(bed: Bed, guest: Guest, target: Target) -> None:
    """After the replacement time-out the disk reports errors; what was acknowledged before is there."""
    disk = guest.attach(target.url, "--replacement-timeout 10")
    guest.run(WRITER % disk)
    wait_for(guest, 30, "ten writes", lambda: counts(guest)[0] >= 10)
    bed.san.stop()
    try:
        wait_for(guest, 90, "a write is refused", lambda: counts(guest)[1] >= 1)
    finally:
        bed.san.start()
    assert check_written(guest, target) >= 10
    guest.run(f"lunar-iscsi detach {disk}", 60, check=False)
