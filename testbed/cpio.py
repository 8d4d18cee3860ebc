# SPDX-License-Identifier: BSD-3-Clause
"""
Writes cpio archives in the "newc" format that the kernel unpacks into its initramfs. The same content gives the same
bytes: entries are sorted, owned by root, and numbered in order.
Source: Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True)
class Entry:
    """One file: its bytes are data, or those of the file source."""
    mode: int
    data: bytes = b""
    source: Path | None = None
    device: tuple[int, int] = (0, 0)


class Tree:
    """What goes into an archive, by absolute path. A path that is there already is replaced."""

    # Debian's merged /usr.
    LINKS = {"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64"}

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def _add(self, path: str, entry: Entry) -> None:
        first, rest = "/" + path.split("/")[1], path.split("/")[2:]
        if first in self.LINKS and rest:
            path = "/" + "/".join([self.LINKS[first], *rest])
        parent = os.path.dirname(path)
        if parent != "/" and parent not in self.entries:
            self.directory(parent)
        self.entries[path] = entry

    def directory(self, path: str, mode: int = 0o755) -> None:
        """A directory; parents come by themselves."""
        self._add(path, Entry(stat.S_IFDIR | mode))

    def symlink(self, path: str, target: str) -> None:
        """A symbolic link at path."""
        self._add(path, Entry(stat.S_IFLNK | 0o777, target.encode()))

    def text(self, path: str, content: str, mode: int = 0o644) -> None:
        """A file with this content."""
        self._add(path, Entry(stat.S_IFREG | mode, content.encode()))

    def binary(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """A file with these bytes."""
        self._add(path, Entry(stat.S_IFREG | mode, content))

    def copy(self, path: str, source: Path, mode: int | None = None) -> None:
        """A copy of the file source, read when the archive is written."""
        permission = source.stat().st_mode & 0o777 if mode is None else mode
        self._add(path, Entry(stat.S_IFREG | permission, source=source.resolve()))

    def node(self, path: str, major: int, minor: int) -> None:
        """A character device."""
        self._add(path, Entry(stat.S_IFCHR | 0o600, device=(major, minor)))

    def fingerprint(self) -> str:
        """A line per entry that changes when the archive would: size and time stand for a source's content."""
        lines = []
        for path, entry in sorted(self.entries.items()):
            about = entry.source.stat() if entry.source else None
            lines.append(f"{path} {entry.mode:o} {entry.data!r} {entry.device} "
                         f"{(entry.source, about.st_size, about.st_mtime_ns) if about else ''}")
        return "\n".join(lines)

    def write(self, out: BinaryIO) -> None:
        """Writes the archive."""
        for number, (path, entry) in enumerate(sorted(self.entries.items()), 1):
            data, mtime = entry.data, 0
            if entry.source:
                data, mtime = entry.source.read_bytes(), int(entry.source.stat().st_mtime)
            _write_entry(out, path.lstrip("/"), entry.mode, number, data, mtime, entry.device)
        _write_entry(out, "TRAILER!!!", 0, 0, b"", 0, (0, 0))


def _write_entry(out: BinaryIO, name: str, mode: int, number: int, data: bytes, mtime: int,
                 device: tuple[int, int]) -> None:
    encoded = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, mtime & 0xffffffff, len(data), 0, 0, *device, len(encoded), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
    out.write(head + b"\0" * (-len(head) % 4))
    out.write(data)
    out.write(b"\0" * (-len(data) % 4))
