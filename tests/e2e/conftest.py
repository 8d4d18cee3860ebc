# SPDX-License-Identifier: BSD-3-Clause
"""
One testbed for all end-to-end tests, a deadline for each test, and the closing line 'N passed, N failed'.
Run them by make e2e, or tests/run-e2e -k NAME.
"""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from testbed import library, network
from testbed.bed import Bed
from testbed.guest import Guest
from testbed.host import Host, Vm

DEADLINE_SECONDS = 120
_beds: list[Bed] = []
# Tests with a verdict: passed, or failed while all hosts answered.
_passed: set[str] = set()
_failed: set[str] = set()


def pytest_configure(config: pytest.Config) -> None:
    """Refuses to touch the machine's own network."""
    config.addinivalue_line("markers", f"deadline(seconds): the test's deadline, {DEADLINE_SECONDS} by default")
    try:
        network.require_isolation()
    except network.NotIsolated as reason:
        raise pytest.UsageError(f"{reason}; tests/run-e2e does that")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test that passes its deadline fails, wherever it waits; its clean-up gets a minute more."""
    marker = item.get_closest_marker("deadline")
    seconds = marker.args[0] if marker else DEADLINE_SECONDS

    def late(*_: object) -> None:
        signal.alarm(60)
        raise TimeoutError(f"the test's deadline of {seconds} s has passed")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """
    Keeps the verdict; a failed test shows what the hosts logged. A host that hangs as a whole gives no verdict, and ends
    the run: see tests/run-e2e.
    """
    outcome = yield
    report = outcome.get_result()
    if report.passed and report.when == "call":
        _passed.add(item.nodeid)
    if report.passed:
        return
    for host in _beds[0].hosts if _beds else []:
        try:
            logs = host.run(f"cd {host.run_dir}; tail -n 15 netvspd.log vm/*/vmwp.log 2>&1; dmesg | tail -n 5", 20).out
        except Exception as failure:  # a dead host must not hide the test's own failure
            logs = str(failure)
            item.session.shouldstop = f"{host.name} hangs"
        report.sections.append((f"{host.name}'s logs", logs))
    if not item.session.shouldstop:
        _failed.add(item.nodeid)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """The closing line, and for tests/run-e2e the names of tests without a verdict. A skipped test did not pass."""
    session = terminalreporter._session
    unknown = [item.nodeid for item in session.items if item.nodeid not in _passed | _failed]
    hung = os.environ.get("LUNAR_E2E_HUNG")
    if hung and session.shouldstop:
        Path(hung).write_text("".join(f"{name}\n" for name in unknown))
        unknown = []
    if "LUNAR_E2E_FAILED" in os.environ:
        with open(os.environ["LUNAR_E2E_FAILED"], "a", encoding="utf-8") as names:
            names.writelines(f"{name}\n" for name in sorted(_failed) + unknown)
    # After pytest's own last line.
    terminalreporter.config.add_cleanup(
        lambda: print(f"{len(_passed - _failed)} passed, {len(_failed) + len(unknown)} failed", flush=True))


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """The SAN and two hosts; netvspd runs on both."""
    built = Bed(shelf=library.build())
    _beds.append(built)
    try:
        for host in built.hosts:
            host.start_netvspd()
        yield built
    finally:
        _beds.clear()
        built.close()


@pytest.fixture(scope="session")
def moves(bed: Bed) -> None:
    """The hosts take VMs from each other."""
    bed.start_moves()


@pytest.fixture
def host1(bed: Bed) -> Host:
    """The first host."""
    return bed.hosts[0]


@pytest.fixture
def host2(bed: Bed) -> Host:
    """The second host."""
    return bed.hosts[1]


@pytest.fixture(scope="module")
def guest(bed: Bed) -> Iterator[Guest]:
    """A guest with one VP on host 1, for all tests of a file."""
    vm = Vm("shared", "02:4c:55:4e:01:01", network.guest_address(1), memory="768M")
    started = Guest(bed.hosts[0], vm).start()
    yield started
    started.stop()
