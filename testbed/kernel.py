# SPDX-License-Identifier: BSD-3-Clause
"""
Debian's cloud kernel, for hosts and guests alike. Its package is downloaded and unpacked below build/, never installed:
a testbed has no business in the machine's boot loader.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from testbed import paths, process

META_PACKAGE = "linux-image-cloud-amd64"


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel package."""
    version: str
    image: Path
    modules: Path  # .../lib/modules/VERSION, with modules.dep

    def module_files(self, names: list[str]) -> list[Path]:
        """The files of these modules and of all that they need, relative to modules. KeyError: no such module."""
        needs: dict[str, list[str]] = {}
        by_name: dict[str, str] = {}
        for line in (self.modules / "modules.dep").read_text().splitlines():
            path, _, rest = line.partition(":")
            needs[path] = rest.split()
            by_name[Path(path).name.removesuffix(".ko").replace("-", "_")] = path
        files: dict[str, None] = {}
        for name in names:
            path = by_name[name.replace("-", "_")]
            files.update(dict.fromkeys([path, *needs[path]]))
        return [Path(path) for path in files]


def fetch() -> Kernel:
    """The kernel, downloaded if it is not there yet."""
    done = paths.KERNEL / "done"
    if not done.exists():
        try:
            _download()
        except process.CommandFailed:
            # The package lists may be older than the mirror.
            process.run(["apt-get", "-q", "update"], 300)
            _download()
        done.touch()
    [image] = paths.KERNEL.glob("tree/boot/vmlinuz-*")
    version = image.name.removeprefix("vmlinuz-")
    return Kernel(version, image, paths.KERNEL / "tree/lib/modules" / version)


def _download() -> None:
    shutil.rmtree(paths.KERNEL, ignore_errors=True)
    tree = paths.KERNEL / "tree"
    tree.mkdir(parents=True)
    depends = process.run(["apt-cache", "depends", META_PACKAGE])
    match = re.search(r"Depends: (linux-image-\S+)", depends)
    if match is None:
        raise process.CommandFailed(f"{META_PACKAGE} is unknown to apt: run apt-get update\n{depends}")
    process.run(["apt-get", "-q", "download", match[1]], 300, cwd=paths.KERNEL)
    [package] = paths.KERNEL.glob("*.deb")
    process.run(["dpkg", "-x", package, tree], 120)
    package.unlink()
    [modules] = tree.glob("lib/modules/*")
    process.run(["depmod", "-b", tree, modules.name], 60)
