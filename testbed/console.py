# SPDX-License-Identifier: BSD-3-Clause
"""
A shell on a serial console, driven like a function. It needs no network in the guest, and only a stream of bytes here.
Each byte costs the guest an exit: keep outputs short.
"""

import itertools
import re
import socket
import time

from testbed import process
from testbed.remote import Result


class Console:
    """A guest's serial console. All that came is kept in transcript."""

    _tags = itertools.count(1)

    def __init__(self, stream: socket.socket, name: str):
        self._stream = stream
        self.name = name
        self.transcript = b""
        self._seen = 0  # what expect() has consumed of the transcript
        self._plain = False

    def close(self) -> None:
        """Lets go of the console."""
        self._stream.close()

    def moved(self, stream: socket.socket) -> None:
        """Goes on with another stream to the same shell: the machine it runs on has moved."""
        self._stream.close()
        self._stream = stream

    def send(self, text: str) -> None:
        """Types text."""
        self._stream.settimeout(10)
        self._stream.sendall(text.encode())

    def skip(self) -> None:
        """Has expect() look only at what comes from now on."""
        self._seen = len(self.transcript)

    def expect(self, pattern: str, seconds: float) -> re.Match[bytes]:
        """Waits for a regular expression in what comes from here on. CommandFailed with the end of the transcript."""
        seconds *= process.PATIENCE
        end = time.monotonic() + seconds
        wanted = re.compile(pattern.encode(), re.M)
        while True:
            match = wanted.search(self.transcript, self._seen)
            if match:
                self._seen = match.end()
                return match
            left = end - time.monotonic()
            if left <= 0:
                raise process.CommandFailed(f"{self.name}: no {pattern!r} on the console in {seconds:.0f} s; its end:\n"
                                            f"{self.tail()}")
            self._stream.settimeout(left)
            try:
                chunk = self._stream.recv(65536)
            except TimeoutError:
                continue
            if not chunk:
                raise ConnectionError(f"{self.name}: the console closed; its end:\n{self.tail()}")
            self.transcript += chunk

    def run(self, command: str, seconds: float = 30.0, check: bool = False) -> Result:
        """Runs a shell command (one line or more) and returns its status and output. With check, failure raises."""
        if not self._plain:
            self._make_plain(seconds)
        tag = f"{next(self._tags)}"
        # The markers are split in what is typed, so that an echo of it does not match.
        self.send(f"echo '@''{tag}<'; {{ {command}\n}} </dev/null 2>&1; echo \"$?@\"'{tag}>'\n")
        self.expect(f"@{tag}<\\r?\\n", seconds)
        start = self._seen
        match = self.expect(f"(\\d+)@{tag}>", seconds)
        output = process.text(self.transcript[start:match.start()]).replace("\r", "")
        result = Result(int(match[1]), output)
        if check and result.rc != 0:
            raise process.CommandFailed(f"{self.name}: exit {result.rc}: {command}\n{output[-2000:]}")
        return result

    def _make_plain(self, seconds: float) -> None:
        """
        Puts a shell there that neither prompts nor echoes: each byte back is an exit. Said until the shell answers, since
        one that is just starting reads ahead, and loses what was typed behind the line that replaces it.
        """
        end = time.monotonic() + seconds * process.PATIENCE
        pause = 3.0
        while not self._plain:
            tag = f"plain{next(self._tags)}"
            self.send(f"stty -echo -onlcr; exec sh $(tty)\necho '@''{tag}@'\n")
            try:
                self.expect(f"@{tag}@", min(pause, max(end - time.monotonic(), 0.1)))
                self._plain = True
            except process.CommandFailed:
                if time.monotonic() > end:
                    raise
                pause *= 2  # a machine so busy that each try only makes the guest begin anew

    def restarted(self) -> None:
        """Says that the guest booted again: its shell is a new one."""
        self._plain = False

    def tail(self, size: int = 2000) -> str:
        """The end of the transcript, for messages."""
        return process.text(self.transcript[-size:])
