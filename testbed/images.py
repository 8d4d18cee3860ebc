# SPDX-License-Identifier: BSD-3-Clause
"""
Images of hosts and guests: initramfs archives made of layers. A layer is rebuilt only when its content changed; an
image is its layers one after the other, which the kernel unpacks in that order.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from testbed import closure, kernel, paths, process
from testbed.cpio import Tree

GUEST_MODULES = [
    "hv_vmbus", "hv_netvsc", "hv_utils", "hv_storvsc", "hv_balloon", "uio_hv_generic",
    "target_core_user", "tcm_loop", "iscsi_tcp", "sd_mod", "sr_mod", "sg", "isofs", "crc32c_intel",
    "virtio_pci", "virtio_net", "virtio_blk", "virtio_scsi", "tcp_diag", "msr", "bridge", "8021q",
]
HOST_MODULES = [
    "kvm_amd", "kvm_intel", "uio_pci_generic", "virtio_pci", "virtio_net", "tun", "veth", "bridge", "vhost_net",
    "tcp_diag", "msr", "virtio_blk", "loop", "nfsv4", "iscsi_tcp", "sd_mod", "sg", "crc32c_intel",
]
GUEST_PROGRAMS = ["iscsid", "iscsiadm", "iscsi-iname", "iperf3", "ethtool", "sg_inq", "sg_vpd", "sg_persist", "sg_turs",
                  "sg_readcap", "sg_unmap", "sg_reset", "sg_luns", "sg_modes", "sg_opcodes", "sg_sync", "sg_start", "sg_prevent",
                  "sg_write_same", "sg_compare_and_write", "sg_verify", "sg_requests", "sg_raw", "iscsi-test-cu", "kmod"]
LUNAR_HOST_PROGRAMS = ["vmwp", "netvspd", "lunar"]
# lunar-iscsi, and what tests and benchmarks run in guests (tests/tools).
LUNAR_GUEST_PROGRAMS = ["lunar-iscsi", "ioverify", "ioflush", "iobench", "dirtier"]
HOST_PROGRAMS = ["socat", "ethtool", "ip", "iperf3", "perl", "iscsid", "iscsiadm", "kmod"]
QEMU_PLUGINS = Path("/usr/lib/x86_64-linux-gnu/qemu")
# What the machine needs that runs the testbed in direct mode: a host image with this layer is such a machine.
TESTBED_PROGRAMS = ["python3", "tgtd", "tgtadm", "tcpdump", "unshare", "nsenter", "setpriv"]
PMD_DIRECTORY = "/usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0"
PMDS = ["bus_pci", "bus_vdev", "mempool_ring", "mempool_stack", "net_virtio", "net_af_packet", "net_tap", "net_ring",
        "net_null", "net_pcap", "net_vhost", "net_bond"]
PYTHON_OMITTED = {"test", "idlelib", "tkinter", "ensurepip", "lib2to3", "pydoc_data", "distutils", "turtledemo"}


def guest() -> Path:
    """
    The guest's initrd. Not compressed, as no image is: it is unpacked by emulated processors far more often than it is
    copied.
    """
    return _image("guest", [_layer("guest-base", _guest_base), _layer("guest-lunar", _guest_lunar)])


def host(extra: Iterable[str] = ()) -> Path:
    """A host's initrd with the guest inside. extra: further layers, "qemu" and "testbed"."""
    makers = {"qemu": _qemu, "testbed": _testbed}
    layers = [_layer("host-base", _host_base), _layer("host-lunar", _host_lunar), _layer("host-guest", _host_guest)]
    layers += [_layer(f"host-{name}", makers[name]) for name in extra]
    return _image("-".join(["host", *extra]), layers)


def _layer(name: str, fill: Callable[[Tree], None]) -> Path:
    """The archive of one layer, from the cache if nothing in it changed."""
    tree = Tree()
    fill(tree)
    key = hashlib.sha256(tree.fingerprint().encode()).hexdigest()[:16]
    path = paths.IMAGES / f"{name}-{key}.cpio"
    if not path.exists():
        paths.IMAGES.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=paths.IMAGES, delete=False) as out:
            tree.write(out)
        os.replace(out.name, path)
        _forget_others(path, name)
    return path


def _image(name: str, layers: list[Path]) -> Path:
    key = hashlib.sha256("".join(layer.name for layer in layers).encode()).hexdigest()[:16]
    path = paths.IMAGES / f"{name}-{key}.initrd"
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=paths.IMAGES, delete=False) as out:
            for layer in layers:
                with open(layer, "rb") as archive:
                    shutil.copyfileobj(archive, out)
        os.replace(out.name, path)
        _forget_others(path, name)
    return path


def _forget_others(path: Path, name: str) -> None:
    """Removes older builds of what path is now; a run that still has one open keeps its bytes."""
    for other in paths.IMAGES.glob(f"{name}-????????????????{path.suffix}"):
        if other != path:
            other.unlink(missing_ok=True)


def _base(tree: Tree, init: str, modules: list[str]) -> None:
    """What every image has: busybox, the kernel's modules with their index, an init script."""
    for path in ("/proc", "/sys", "/dev", "/run", "/tmp", "/root", "/var/lib", "/etc", "/mnt", "/usr/bin", "/usr/sbin"):
        tree.directory(path)
    for path, target in Tree.LINKS.items():
        tree.symlink(path, target)
    tree.symlink("/var/run", "/run")
    tree.node("/dev/console", 5, 1)
    busybox = closure.find_program("busybox")
    tree.copy("/bin/busybox", busybox)
    for applet in set(process.run([busybox, "--list"]).split()) - {"busybox"}:
        tree.symlink(f"/bin/{applet}", "busybox")
    tree.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    tree.text("/etc/group", "root:x:0:\n")
    tree.text("/etc/nsswitch.conf", "passwd: files\nhosts: files\n")
    tree.text("/etc/hosts", "127.0.0.1 localhost\n")
    tree.copy("/init", paths.IMAGE_FILES / init, 0o755)
    _add_modules(tree, modules)


def _add_modules(tree: Tree, names: list[str]) -> None:
    linux = kernel.fetch()
    files = linux.module_files(names)
    target = f"/lib/modules/{linux.version}"
    with tempfile.TemporaryDirectory() as work:
        stage = Path(work) / target.lstrip("/")
        for file in files:
            (stage / file).parent.mkdir(parents=True, exist_ok=True)
            (stage / file).symlink_to(linux.modules / file)
            tree.copy(f"{target}/{file}", linux.modules / file, 0o644)
        for index in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
            shutil.copy(linux.modules / index, stage)
        process.run(["depmod", "-b", work, linux.version])
        for index in sorted(stage.glob("modules.*")):
            tree.binary(f"{target}/{index.name}", index.read_bytes())


def _guest_base(tree: Tree) -> None:
    _base(tree, "guest-init", GUEST_MODULES)
    for program in GUEST_PROGRAMS:
        closure.add_program(tree, closure.find_program(program))
    tree.symlink("/usr/sbin/modprobe", "../bin/kmod")
    tree.copy("/etc/iscsi/iscsid.conf", Path("/etc/iscsi/iscsid.conf"), 0o600)
    tree.copy("/etc/protocols", Path("/etc/protocols")) if Path("/etc/protocols").exists() else None


def _guest_lunar(tree: Tree) -> None:
    _add_built(tree, LUNAR_GUEST_PROGRAMS)


def _host_base(tree: Tree) -> None:
    _base(tree, "host-init", HOST_MODULES)
    for program in HOST_PROGRAMS:
        closure.add_program(tree, closure.find_program(program))
    tree.symlink("/usr/sbin/modprobe", "../bin/kmod")
    tree.copy("/etc/iscsi/iscsid.conf", Path("/etc/iscsi/iscsid.conf"), 0o600)
    for script in ("agent", "kvm-holder"):
        tree.copy(f"/usr/lib/testbed/{script}", paths.IMAGE_FILES / script, 0o755)
    for pmd in PMDS:
        for plugin in sorted(Path(PMD_DIRECTORY).glob(f"librte_{pmd}.so*")):
            closure.add_library(tree, plugin)
        for library in closure.libraries(plugin):
            closure.add_library(tree, library)


def _host_lunar(tree: Tree) -> None:
    _add_built(tree, LUNAR_HOST_PROGRAMS)


def _host_guest(tree: Tree) -> None:
    tree.copy(str(paths.GUEST_IN_HOST / "vmlinuz"), kernel.fetch().image, 0o644)
    tree.copy(str(paths.GUEST_IN_HOST / "initrd"), guest(), 0o644)


def _qemu(tree: Tree) -> None:
    closure.add_program(tree, closure.find_program("qemu-system-x86_64"))
    closure.add_program(tree, closure.find_program("qemu-img"))
    closure.add_program(tree, QEMU_PLUGINS / "block-iscsi.so")
    for directory in ("/usr/share/qemu", "/usr/share/seabios"):
        for name in ("bios-256k.bin", "bios-microvm.bin", "bios.bin", "kvmvapic.bin", "linuxboot_dma.bin", "linuxboot.bin",
                     "multiboot.bin", "efi-virtio.rom", "pvh.bin", "vgabios-stdvga.bin"):
            if (Path(directory) / name).exists():
                tree.copy(f"{directory}/{name}", Path(directory) / name, 0o644)


def _testbed(tree: Tree) -> None:
    """The testbed itself with the Python that runs it, to be proven in direct mode inside a host."""
    _add_built(tree, ["ioverify"])  # the demonstration's witness at the SAN
    for program in TESTBED_PROGRAMS:
        closure.add_program(tree, closure.find_program(program))
    library = Path(f"/usr/lib/python{sys.version_info.major}.{sys.version_info.minor}")
    for source in sorted(library.rglob("*")):
        omitted = PYTHON_OMITTED.intersection(source.relative_to(library).parts) or ".opt-" in source.name
        if source.is_file() and not omitted:
            tree.copy(str(source), source, 0o644)
            for needed in closure.libraries(source) if source.suffix == ".so" else []:
                closure.add_library(tree, needed)
    for source in sorted((paths.ROOT / "testbed").rglob("*")):
        if source.is_file() and source.suffix != ".pyc":
            tree.copy(f"/lunar/testbed/{source.relative_to(paths.ROOT / 'testbed')}", source)


def _add_built(tree: Tree, programs: list[str]) -> None:
    """Programs of this checkout. One that was not built is an error that names it."""
    for name in programs:
        program = paths.BIN / name
        if not program.exists():
            raise FileNotFoundError(f"{program} is not built: run make")
        closure.add_program(tree, program, f"/usr/bin/{name}")
