# SPDX-License-Identifier: BSD-3-Clause
"""
Child processes. Each one dies with the testbed (PR_SET_PDEATHSIG), so that even a killed testbed leaves nothing
behind, and every wait has a deadline: on a machine that has much else to do, LUNAR_PATIENCE times what is written.
"""

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PATIENCE = float(os.environ.get("LUNAR_PATIENCE", "1"))


class CommandFailed(Exception):
    """A command returned nonzero or passed its deadline; the message holds the end of its output."""


def spawn(argv: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None,
          **popen: object) -> subprocess.Popen:
    """
    Starts argv in the background, its output in the file log. Call it on the main thread only: the kernel kills the
    child when the thread that started it ends.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *map(str, argv)],
                                stdin=popen.pop("stdin", subprocess.DEVNULL), stdout=output, stderr=output,
                                env={**os.environ, **(env or {})}, start_new_session=True, **popen)


def stop(child: subprocess.Popen | None, seconds: float = 3.0) -> None:
    """Ends a child: SIGTERM, and SIGKILL after seconds. Takes None and a child that has ended."""
    if child is None or child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def run(argv: Sequence[str | Path], seconds: float = 30.0, env: Mapping[str, str] | None = None,
        check: bool = True, **options: object) -> str:
    """Runs argv to its end and returns its output, stderr included. CommandFailed if it fails (unless check=False)."""
    words = list(map(str, argv))
    seconds *= PATIENCE
    try:
        done = subprocess.run(words, stdin=options.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=seconds, env={**os.environ, **(env or {})}, **options)
    except subprocess.TimeoutExpired as late:
        raise CommandFailed(f"no end after {seconds:.0f} s: {shlex.join(words)}\n{text(late.output or b'')[-2000:]}")
    output = text(done.stdout)
    if check and done.returncode != 0:
        raise CommandFailed(f"exit {done.returncode}: {shlex.join(words)}\n{output[-2000:]}")
    return output


def text(data: bytes) -> str:
    """Bytes from a program as text, whatever they are."""
    return data.decode("utf-8", "replace")


def wait_until(what: str, holds: Callable[[], object], seconds: float, pause: float = 0.05) -> object:
    """Calls holds() until it returns something true, and returns that. CommandFailed after seconds."""
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() > end:
            raise CommandFailed(f"waited {seconds:.0f} s in vain for: {what}")
        time.sleep(pause)
