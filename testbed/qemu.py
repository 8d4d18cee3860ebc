# SPDX-License-Identifier: BSD-3-Clause
"""
The QEMU that emulates the hosts. Debian 12's own (7.2) now and then runs a nested guest or a whole host into the ground:
see README.md, "When a host hangs". Debian's backport for the same release does not, so it is used where it can be had:
downloaded and unpacked below build/, never installed.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from testbed import paths, process

PACKAGES = ["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"]
DIRECTORY = paths.STATE / "qemu"


@dataclass(frozen=True)
class Emulator:
    """How to call it, and what to say of it."""
    argv: list[str]
    name: str


def fetch() -> Emulator:
    """The backport, downloaded if it is not there yet; the machine's own QEMU where that fails (which is remembered)."""
    done = DIRECTORY / "done"
    if not done.exists():
        try:
            _download()
        except (process.CommandFailed, OSError) as failure:
            shutil.rmtree(DIRECTORY, ignore_errors=True)
            DIRECTORY.mkdir(parents=True)
            (DIRECTORY / "none").write_text(f"{failure}\n")
        done.touch()
    tree = DIRECTORY / "tree"
    program = tree / "usr/bin/qemu-system-x86_64"
    if not program.exists():
        return Emulator(["qemu-system-x86_64"], "the machine's own QEMU; the backport cannot be had here")
    firmware = [str(tree / "usr/share" / name) for name in ("qemu", "seabios")]
    return Emulator([str(program), "-L", firmware[0], "-L", firmware[1]], "QEMU from Debian's backports")


def _download() -> None:
    """apt, on lists of its own: the machine's sources are read, and not changed."""
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    tree, lists, debs = (DIRECTORY / name for name in ("tree", "lists", "debs"))
    for directory in (tree, lists / "partial", debs):
        directory.mkdir(parents=True)
    uri, codename = _debian_mirror()
    (DIRECTORY / "sources.list").write_text(f"deb {uri} {codename} main\ndeb {uri} {codename}-backports main\n")
    options = ["-o", f"Dir::Etc::SourceList={DIRECTORY}/sources.list", "-o", "Dir::Etc::SourceParts=/dev/null",
               "-o", f"Dir::State::Lists={lists}", "-o", "APT::Sandbox::User=root"]
    process.run(["apt-get", "-q", *options, "update"], 300)
    process.run(["apt-get", "-q", *options, "download", *(f"{name}/{codename}-backports" for name in PACKAGES)], 300, cwd=debs)
    for package in debs.glob("*.deb"):
        process.run(["dpkg", "-x", package, tree], 120)
    shutil.rmtree(debs)
    shutil.rmtree(lists)
    # The backport was built for this release; a library that is missing all the same is told now.
    process.run([tree / "usr/bin/qemu-system-x86_64", "--version"])


def _debian_mirror() -> tuple[str, str]:
    """Where this machine gets Debian's main section from, and its codename."""
    lines = process.run(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)",
                         "Created-By: Packages"])
    for line in lines.splitlines():
        origin, uri, codename, component = line.split("|")
        if origin == "Debian" and component == "main" and "-" not in codename:
            return uri, codename
    raise process.CommandFailed("apt knows no mirror of Debian")
