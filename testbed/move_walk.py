# SPDX-License-Identifier: BSD-3-Clause
"""
Moves that something happens to: a VM under verified I/O whose next move is held at a step of the protocol, and a fault at
that moment. What must be true afterwards is docs/migration.md's, section "What each side does when something breaks".
"""

import itertools
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from testbed import paths, process
from testbed.bed import Bed
from testbed.guest import Guest
from testbed.host import Host, Move, Vm
from testbed.moves import hosts_running, move_over, other
from testbed.san import Target
from testbed.verified_io import VerifiedIo

HOLD_MS = 2500
CUT_SECONDS = 8.0    # longer than TCP bears (docs/migration.md, "Deadlines")
SETTLE_SECONDS = 45.0
FAULTS = ("kill-source", "kill-target", "cut", "netvspd-source", "netvspd-target")

# Steps by what both sides hold at them.
BEFORE_STATE = {"source-connect", "source-hello", "source-accepted", "source-copying", "source-round", "source-leaving",
                "source-paused", "source-pages", "target-hello", "target-made", "target-accepted", "target-pages"}
BEFORE_COMMIT = {"source-state", "source-ready", "source-released", "target-state", "target-restored", "target-ready"}
COMMIT_CAME = {"target-commit"}
COMMITTED = {"source-commit", "source-done", "target-running", "target-done"}


def documented_steps() -> list[str]:
    """The steps that docs/migration.md names."""
    return re.findall(r"^\| `((?:source|target)-[a-z-]+)` \|", (paths.ROOT / "docs/migration.md").read_text(), re.M)


def possible(step: str, fault: str) -> bool:
    """Whether there is anything to break: before the connection is made, there is no target."""
    return (step, fault) != ("source-connect", "kill-target")


def places_after(step: str, fault: str) -> set[str]:
    """Where the VM may run after a fault at a step: "source", "target"; "none" where its only copy was killed."""
    if fault == "kill-source":
        return {"none"} if step in BEFORE_STATE else {"target"}
    if fault == "kill-target":
        return {"none"} if step in COMMITTED else {"source"}
    if fault == "cut":
        if step in BEFORE_STATE:
            return {"source"}
        return {"target"} if step in COMMIT_CAME | COMMITTED else {"source", "target"}
    return {"source", "target"}


class Walk:
    """A VM with I/O on its LUN, made anew when it was lost."""

    def __init__(self, bed: Bed, vm: Vm):
        self.bed, self.vm = bed, vm
        self.target: Target | None = None
        self._numbers = itertools.count(1)
        self.guest: Guest | None = None
        self.io: VerifiedIo | None = None
        self._pool = ThreadPoolExecutor(1)
        self._sound = False

    def prepare(self) -> None:
        """Has a VM running that nothing is wrong with; after a case that failed, everything is made anew."""
        if not self._sound:
            self._clear()
            self._begin(self.bed.hosts[0])
        self._sound = False

    def passed(self) -> None:
        """The case that prepare() began has come to its end."""
        self._sound = True

    def _clear(self) -> None:
        """Whatever a case has left goes."""
        self.bed.heal()
        self._pool = ThreadPoolExecutor(1)
        for host in self.bed.hosts:
            host.run(f"kill -9 $(pidof vmwp) $(cat {host.run_dir}/receive.pid) $(cat {host.run_dir}/netvspd.pid); sleep 0.3; "
                     f"rm -rf {host.run_dir}/vm/* {host.run_dir}/migrations {host.state_dir}/migrations {host.state_dir}/vms/*")
            host.start_netvspd()
            host.start_receiver()

    def _begin(self, host: Host) -> None:
        """Starts the VM, with a target of its own: tgt goes on showing the session of a guest that was killed amid I/O."""
        former, self.target = self.target, self.bed.san.add_target(f"{self.vm.name}-{next(self._numbers)}")
        if former is not None:
            self.bed.san.remove_target(former)
        self.guest = Guest(host, self.vm).start()
        self.io = VerifiedIo(self.bed, self.guest, self.target, self.guest.attach(self.target.url), mib=8)

    def close(self) -> None:
        """Ends the VM, wherever it is."""
        self._pool.shutdown(cancel_futures=True)
        self.bed.heal()
        if self.guest is not None:
            self.guest.stop()
        for host in self.bed.hosts:
            host.stop_vm(self.vm)
        if self.target is not None:
            self.bed.san.remove_target(self.target)

    def _receive(self, host: Host, hold: str = "") -> None:
        host.stop_receiver()
        host.start_receiver(hold)

    def arm(self, step: str) -> tuple[Host, Host]:
        """
        Sees to it that the next move is held at step, once. Returns its source and destination. A process learns of the
        step when it starts: for one of the source's, the VM is first moved to where it will find it.
        """
        self._alone()
        hold = f"{step}:{HOLD_MS}"
        if step.startswith("source-"):
            there = other(self.bed, self.guest.host)
            self._receive(there, hold)
            move_over(self.bed, self.guest)
            self._receive(there)
            self._alone()
        else:
            self._receive(other(self.bed, self.guest.host), hold)
        return self.guest.host, other(self.bed, self.guest.host)

    def _alone(self) -> None:
        """Waits until no process of an earlier move is left."""
        for host in self.bed.hosts:
            wanted = int(host is self.guest.host)
            process.wait_until(f"{wanted} vmwp on {host.name}", lambda host=host, wanted=wanted: len(
                host.run("pidof vmwp").out.split()) == wanted, SETTLE_SECONDS, 0.3)

    def _held(self, host: Host, step: str) -> int:
        """How often the host's logs speak of the step."""
        return int(host.run(f"cat {host.run_dir}/receive.log {host.run_dir}/vm/*/*.log 2>/dev/null | grep -c '{step}'").out)

    def break_at(self, step: str, fault: str) -> tuple[str, Move]:
        """
        Moves the VM, and does the fault while the move is held at step. Returns where it runs then ("source", "target",
        "none"), and what lunar migrate said.
        """
        source, target = self.arm(step)
        holder = source if step.startswith("source-") else target
        before = self._held(holder, step)
        moving = self._pool.submit(source.migrate, self.vm, target, "", 120, False)
        process.wait_until(f"the move is held at {step}", lambda: self._held(holder, step) > before, 30, 0.05)
        self._act(fault, source, target)
        move = moving.result()
        self._receive(target)
        place = self._settle(source, target)
        if place == "target":
            self.guest.moved_to(target)
        return place, move

    def _act(self, fault: str, source: Host, target: Host) -> None:
        acts: dict[str, Callable[[], object]] = {
            "kill-source": lambda: source.run("kill -9 $(pidof vmwp)", check=True),
            "kill-target": lambda: target.run("kill -9 $(pidof vmwp)", check=True),
            "netvspd-source": source.kill_netvspd,
            "netvspd-target": target.kill_netvspd,
            "cut": self.bed.cut,
        }
        acts[fault]()
        if fault == "cut":
            time.sleep(CUT_SECONDS)
            self.bed.heal()
        elif fault.startswith("netvspd"):
            time.sleep(1)
            (source if fault == "netvspd-source" else target).start_netvspd()

    def _settle(self, source: Host, target: Host) -> str:
        """
        Waits until the VM runs at one place and has no other process, or has none at all; never may it run at two.
        """
        names = {source.name: "source", target.name: "target"}
        end = time.monotonic() + SETTLE_SECONDS
        seen = [""]
        while True:
            running = [names[name] for name in hosts_running(self.bed, self.vm)]
            if len(running) > 1:
                raise process.CommandFailed(f"{self.vm.name} runs on both hosts")
            processes = [len(host.run("pidof vmwp").out.split()) for host in (source, target)]
            now = running[0] if running else "none"
            settled = sum(processes) == len(running) and now == seen[-1]
            seen.append(now)
            if settled:
                return now
            if time.monotonic() > end:
                raise process.CommandFailed(f"{self.vm.name} does not settle: {seen[-5:]}, vmwps {processes}")
            time.sleep(0.5)

    def check(self, place: str) -> None:
        """The VM's I/O goes on with its session; one that was lost begins anew, where its definition is."""
        if place != "none":
            self.io.wait_progress(60)
            return
        self.guest.console.close()
        homes = [host for host in self.bed.hosts if self.vm.name in host.run("lunar list --json", check=True).out]
        if len(homes) != 1:
            raise process.CommandFailed(f"{self.vm.name} is defined on {[host.name for host in homes]}")
        homes[0].run(f"lunar start {self.vm.name}", 60, check=True)
        homes[0].stop_vm(self.vm)
        self._begin(homes[0])

    def second_try(self) -> None:
        """The move that failed, or any other, succeeds now."""
        self._alone()
        move_over(self.bed, self.guest)
        self.io.wait_progress()
