# SPDX-License-Identifier: BSD-3-Clause
"""
Commands in a host over its management NIC: one TCP connection to image/agent a command, so that many may run at the
same time, and each has a deadline after which its processes are killed.
"""

import shlex
import socket
import time
from dataclasses import dataclass

from testbed import process

COMMAND_PORT = 514
SHELL_PORT = 515
END = b"\001"


@dataclass(frozen=True)
class Result:
    """What a command returned."""
    rc: int
    out: str

    def lines(self) -> list[str]:
        """The output by lines."""
        return self.out.splitlines()


class Agent:
    """The command channel of one host."""

    def __init__(self, address: str):
        self.address = address

    def open(self, script: str, seconds: float = 5.0) -> tuple[socket.socket, int]:
        """Starts a script; its stdin and stdout are the socket. Returns that and the script's process group."""
        connection = socket.create_connection((self.address, COMMAND_PORT), timeout=seconds * process.PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(script.encode() + END)
        line = b""
        while not line.endswith(b"\n"):
            byte = connection.recv(1)
            if not byte:
                raise ConnectionError(f"{self.address}: the agent closed the connection")
            line += byte
        return connection, int(line)

    def alive(self) -> bool:
        """Whether the agent answers."""
        try:
            return self.run("true", 3).rc == 0
        except (OSError, process.CommandFailed):
            return False

    def transfer(self, script: str, seconds: float, stdin: bytes = b"") -> tuple[int, bytes]:
        """Runs a script with these bytes on its stdin. Returns its exit status and its output as bytes."""
        seconds *= process.PATIENCE
        end = time.monotonic() + seconds
        connection, group = self.open(script)
        with connection:
            try:
                connection.settimeout(seconds)
                connection.sendall(stdin)
                connection.shutdown(socket.SHUT_WR)
                chunks = []
                while True:
                    connection.settimeout(max(end - time.monotonic(), 0.001))
                    chunk = connection.recv(1 << 18)
                    if not chunk:
                        break
                    chunks.append(chunk)
            except TimeoutError:
                self._kill(group)
                raise process.CommandFailed(f"{self.address}: no end after {seconds:.0f} s: {script}\n"
                                            f"{process.text(b''.join(chunks)[-2000:])}") from None
        output, separator, status = b"".join(chunks).rpartition(END)
        if not separator:
            raise process.CommandFailed(f"{self.address}: connection lost in: {script}\n{process.text(status[-2000:])}")
        return int(status), output

    def run(self, script: str, seconds: float = 30.0, check: bool = False) -> Result:
        """Runs a shell script. With check, CommandFailed if its exit status is not 0."""
        rc, output = self.transfer(script, seconds)
        if check and rc != 0:
            raise process.CommandFailed(f"{self.address}: exit {rc}: {script}\n{process.text(output)[-2000:]}")
        return Result(rc, process.text(output))

    def put(self, path: str, content: bytes, seconds: float = 60.0) -> None:
        """Writes a file in the host."""
        rc, output = self.transfer(f"cat >{shlex.quote(path)}", seconds, content)
        if rc != 0:
            raise process.CommandFailed(f"{self.address}: cannot write {path}: {process.text(output)}")

    def get(self, path: str, seconds: float = 60.0) -> bytes:
        """Reads a file of the host."""
        rc, output = self.transfer(f"cat {shlex.quote(path)}", seconds)
        if rc != 0:
            raise process.CommandFailed(f"{self.address}: cannot read {path}: {process.text(output)}")
        return output

    def _kill(self, group: int) -> None:
        try:
            connection, _ = self.open(f"kill -9 -{group}")
            connection.close()
        except OSError:
            pass
