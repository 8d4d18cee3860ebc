# SPDX-License-Identifier: BSD-3-Clause
"""
Images that hosts give to guests, made once, with the machine's network: a Debian root file system in a dynamic VHD, and an
ISO image. Both lie in an ext4 file system, which each host has as a second disk, read only.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from testbed import paths, process

SUITE = "bookworm"
# Beyond what debootstrap takes for the smallest system: an init.
PACKAGES = ["systemd-sysv", "udev"]
ROOT_LABEL = "lunar-root"
ROOT_MIB = 1024
DEBIAN_VHD = "debian.vhd"
DVD_ISO = "dvd.iso"
DVD_TEXT = "a file on a DVD\n"
# What nobody reads in a test.
OMITTED = ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/zoneinfo", "var/cache/apt",
           "var/lib/apt/lists"]
MASKED = ["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
          "motd-news.timer", "getty.target", "getty-static.service", "serial-getty@ttyS0.service", "systemd-timesyncd.service",
          "systemd-networkd.service", "systemd-resolved.service", "systemd-update-utmp.service", "e2scrub_reap.service",
          "systemd-update-utmp-runlevel.service", "systemd-pstore.service", "systemd-random-seed.service", "modprobe@.service",
          "proc-sys-fs-binfmt_misc.automount", "dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount",
          "sys-kernel-tracing.mount", "sys-kernel-config.mount", "sys-fs-fuse-connections.mount"]
# The shell that testbed/guest.py drives, started by the guest's init once the system is up.
CONSOLE_UNIT = """[Unit]
Description=A shell on the serial console
After=basic.target
[Service]
ExecStart=/bin/sh -c 'echo "lunar guest ready"; exec /bin/sh -i'
Environment=HOME=/root PS1=#
StandardInput=tty-force
StandardOutput=tty
TTYPath=/dev/ttyS0
Restart=always
[Install]
WantedBy=multi-user.target
"""


def build() -> Path:
    """The disk image with the library's files; from the cache if it was made before."""
    key = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    path = paths.IMAGES / f"library-{key}.ext4"
    if path.exists():
        return path
    paths.IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=paths.IMAGES) as work:
        files = Path(work) / "files"
        files.mkdir()
        _debian(Path(work), files / DEBIAN_VHD)
        _dvd(Path(work), files / DVD_ISO)
        image = Path(work) / "image"
        size = sum(file.stat().st_size for file in files.iterdir())
        _make_file_system(image, files, (size >> 20) + 64, "lunar-library")
        os.replace(image, path)
    for other in paths.IMAGES.glob("library-*.ext4"):
        if other != path:
            other.unlink()
    return path


def empty_disk(path: Path, mib: int) -> None:
    """An image of a disk with an empty ext4 file system, sparse."""
    with tempfile.TemporaryDirectory() as nothing:
        _make_file_system(path, Path(nothing), mib, "lunar-disks")


def _make_file_system(path: Path, content: Path, mib: int, label: str) -> None:
    process.run(["truncate", "-s", f"{mib}M", path])
    process.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-L", label, "-E", "lazy_itable_init=1,lazy_journal_init=1",
                 "-d", content, path], 300)


def _debian(work: Path, vhd: Path) -> None:
    """The root file system, as debootstrap makes it from the mirror that this machine's apt uses."""
    root, raw = work / "root", work / "root.raw"
    include = ",".join(PACKAGES)
    process.run(["debootstrap", "--variant=minbase", f"--include={include}", SUITE, root, *_mirror()], 1200)
    for folder in OMITTED:
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir(parents=True)
    (root / "etc/hostname").write_text("debian\n")
    (root / "etc/fstab").write_text(f"LABEL={ROOT_LABEL} / ext4 rw 0 1\n")
    (root / "etc/machine-id").write_text("")
    units = root / "etc/systemd/system"
    for unit in MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    (units / "lunar-console.service").write_text(CONSOLE_UNIT)
    wants = units / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "lunar-console.service").symlink_to("../lunar-console.service")
    (units / "default.target").unlink(missing_ok=True)
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
    _make_file_system(raw, root, ROOT_MIB, ROOT_LABEL)
    process.run(["qemu-img", "convert", "-O", "vpc", "-o", "subformat=dynamic,force_size", raw, vhd], 300)
    shutil.rmtree(root)
    raw.unlink()


def _mirror() -> list[str]:
    """The mirror that apt has the base system from; none: debootstrap's own."""
    for line in process.run(["apt-cache", "policy", "base-files"]).splitlines():
        words = line.split()
        if len(words) > 2 and words[1].startswith("http") and words[2].startswith(f"{SUITE}/"):
            return [words[1]]
    return []


def _dvd(work: Path, iso: Path) -> None:
    content = work / "dvd"
    content.mkdir()
    (content / "readme.txt").write_text(DVD_TEXT)
    (content / "data").write_bytes(bytes(range(256)) * 4096)
    process.run(["genisoimage", "-quiet", "-R", "-J", "-V", "LUNAR_DVD", "-o", iso, content], 60)
