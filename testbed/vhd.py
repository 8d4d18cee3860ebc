# SPDX-License-Identifier: BSD-3-Clause
"""
Reads a chain of dynamic and differencing VHDs, for tests: written from the format's description alone, so that it can
disagree with storvsp's. (qemu-img takes no differencing image.) Source: Virtual Hard Disk Image Format Specification 1.0.
"""

import struct
from pathlib import Path

SECTOR = 512
UNUSED = 0xffffffff
TYPE_DYNAMIC, TYPE_DIFFERENCING = 3, 4


class BadImage(Exception):
    """What is wrong, and where."""


def _checksum(data: bytes, at: int) -> int:
    return ~(sum(data) - sum(data[at:at + 4])) & 0xffffffff


class Vhd:
    """One dynamic or differencing image."""

    def __init__(self, path: Path):
        self._file = open(path, "rb")
        self._file.seek(-SECTOR, 2)
        footer, copy = self._file.read(SECTOR), self._read(0, SECTOR)
        if footer[:8] != b"conectix":
            raise BadImage(f"{path}: no footer at the end")
        if footer != copy:
            raise BadImage(f"{path}: the footer and its copy differ")
        if struct.unpack_from(">I", footer, 64)[0] != _checksum(footer, 64):
            raise BadImage(f"{path}: the footer's checksum is wrong")
        self.size, self.type = struct.unpack_from(">Q", footer, 48)[0], struct.unpack_from(">I", footer, 60)[0]
        self.id = footer[68:84]
        if self.type not in (TYPE_DYNAMIC, TYPE_DIFFERENCING):
            raise BadImage(f"{path}: type {self.type}")
        header = self._read(struct.unpack_from(">Q", footer, 16)[0], 1024)
        if header[:8] != b"cxsparse" or struct.unpack_from(">I", header, 36)[0] != _checksum(header, 36):
            raise BadImage(f"{path}: the header is wrong")
        self.parent_id = header[40:56]
        table, _, entries, self.block = struct.unpack_from(">QIII", header, 16)
        self._bat = struct.unpack(f">{entries}I", self._read(table, entries * 4))
        self._bitmap = -(-self.block // SECTOR // 8 // SECTOR) * SECTOR
        self._end = self._file.seek(0, 2) - SECTOR

    def _read(self, offset: int, count: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(count)
        if len(data) != count:
            raise BadImage(f"the file ends before {offset + count}")
        return data

    def overlay(self, onto: bytearray) -> None:
        """Puts what this image holds over its parent's bytes (zeroes, for one without a parent)."""
        seen: set[int] = set()
        for number, place in enumerate(self._bat):
            if place == UNUSED:
                continue
            if place in seen or place * SECTOR + self._bitmap + self.block > self._end:
                raise BadImage(f"block {number} at sector {place}: twice, or past the end")
            seen.add(place)
            bitmap = self._read(place * SECTOR, self._bitmap)
            data = self._read(place * SECTOR + self._bitmap, self.block)
            base = number * self.block
            for sector in range(min(self.block, self.size - base) // SECTOR):
                if bitmap[sector // 8] >> (7 - sector % 8) & 1:
                    at = sector * SECTOR
                    onto[base + at:base + at + SECTOR] = data[at:at + SECTOR]


def flatten(chain: list[Path], raw: Path) -> None:
    """Writes the bytes of a chain, the image itself first and its parents after it, to a raw file."""
    images = [Vhd(path) for path in chain]
    for child, parent in zip(images, images[1:]):
        if child.parent_id != parent.id:
            raise BadImage("a parent is not the one that its child names")
    content = bytearray(images[0].size)
    for image in reversed(images):
        image.overlay(content)
    raw.write_bytes(content)
