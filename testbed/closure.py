# SPDX-License-Identifier: BSD-3-Clause
"""Programs with all the shared libraries that they need, for images."""

import re
import shutil
from pathlib import Path

from testbed import process
from testbed.cpio import Tree


def find_program(name: str) -> Path:
    """A program's path. FileNotFoundError names the remedy."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        raise FileNotFoundError(f"{name} is not installed: run make deps")
    return Path(found)


def libraries(program: Path) -> list[Path]:
    """The shared libraries that program is linked with, the loader included; none if it is static."""
    output = process.run(["ldd", program], check=False)
    if "not found" in output:
        raise process.CommandFailed(f"{program} lacks libraries:\n{output}")
    return [Path(path) for path in re.findall(r"(?:=>\s+|^\s+)(/\S+)", output, re.M)]


def add_library(tree: Tree, library: Path) -> None:
    """
    Adds a shared library where it is; a name that is a link stays one. (The loader takes two copies of a file for two
    libraries, and DPDK's drivers register themselves when loaded.)
    """
    real = library.resolve()
    tree.copy(str(real), real)
    if library.name != real.name or library.parent.resolve() != real.parent:
        tree.symlink(str(library), str(real))


def add_program(tree: Tree, source: Path, path: str | None = None) -> None:
    """Adds source at path (default: its own) with its libraries at theirs."""
    tree.copy(path or str(source), source)
    for library in libraries(source):
        add_library(tree, library)
