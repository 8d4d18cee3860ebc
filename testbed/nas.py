# SPDX-License-Identifier: BSD-3-Clause
"""
A file server beside the SAN: NFS 4.2 by nfs-ganesha in the SAN's namespace, reached by the hosts over the management
network, as storage of the parents'. The share is a folder of this machine, so that a test can look at the files.
"""

import subprocess
from pathlib import Path

from testbed import network, process
from testbed.san import San

PORT = 2049
# Seconds; short, so that a server that comes back serves soon. A client that does not get to reclaim its locks in them has lost
# them, and writes no more. (Where all clients have, the server waits no longer.)
GRACE_SECONDS = round(min(5 * process.PATIENCE, 60))
# Seconds. Linux's client renews an idle lease after two thirds of it, but never sooner than 5 s: a lease as short as that
# ends between two renewals, and the locks of a disk at rest with it.
LEASE_SECONDS = round(min(15 * process.PATIENCE, 90))


class Nas:
    """The server; start() and stop() as often as a test likes: clients wait meanwhile."""

    def __init__(self, san: San, directory: Path):
        self._san = san
        self._directory = directory
        self.share = directory / "share"
        self.share.mkdir(parents=True, exist_ok=True)
        (directory / "recovery").mkdir(exist_ok=True)
        san.plug_parents()
        self._config = directory / "ganesha.conf"
        self._config.write_text(f"""
            NFS_CORE_PARAM {{ Protocols = 4; NFS_Port = {PORT}; Enable_NLM = false; Enable_RQUOTA = false; }}
            NFSV4 {{ Grace_Period = {GRACE_SECONDS}; Lease_Lifetime = {LEASE_SECONDS}; RecoveryBackend = fs;
                     RecoveryRoot = "{directory}/recovery"; Only_Numeric_Owners = true; Minor_Versions = 1, 2; }}
            NFS_KRB5 {{ Active_krb5 = false; }}
            EXPORT {{ Export_Id = 1; Path = "{self.share}"; Pseudo = "/share"; Access_Type = RW; Squash = No_Root_Squash;
                      SecType = sys; Protocols = 4; Transports = TCP; FSAL {{ Name = VFS; }} }}
            """)
        self._daemon: subprocess.Popen | None = None
        self.start()

    @property
    def pid(self) -> int:
        """The server's."""
        return self._daemon.pid

    def start(self) -> None:
        """Starts the server, and waits until it listens."""
        log = self._directory / "ganesha.log"
        self._daemon = self._san.namespace.spawn(
            ["ganesha.nfsd", "-F", "-f", self._config, "-L", log, "-p", self._directory / "ganesha.pid", "-N", "NIV_EVENT"],
            self._directory / "ganesha.out")
        def listens() -> bool:
            if self._daemon.poll() is not None:
                raise process.CommandFailed(f"ganesha.nfsd ended: {log.read_text()[-2000:]}")
            return f":{PORT:04X} " in self._san.namespace.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"])
        process.wait_until("the file server listens", listens, 20, 0.1)

    def wait_grace(self) -> None:
        """Waits until clients may open and lock anew, and not only reclaim what they had when the server went."""
        def is_over() -> bool:
            said = [line for line in (self._directory / "ganesha.log").read_text().splitlines() if "IN GRACE" in line]
            return bool(said) and "NOT IN GRACE" in said[-1]
        process.wait_until("the file server's grace period is over", is_over, 2 * GRACE_SECONDS + 20, 0.3)

    def stop(self) -> None:
        """Kills the server at once, as a crash would; what its clients were told is stable is on this machine's disk."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None

    close = stop

    @staticmethod
    def mount_command(path: str, client_address: str) -> str:
        """What mounts the share in a host, by busybox: the mount call itself, since there is no mount.nfs."""
        options = f"vers=4.2,addr={network.PARENTS_SAN_IP},clientaddr={client_address},hard,nconnect=1"
        return (f"grep -q ' {path} nfs' /proc/mounts || {{ modprobe nfsv4; mkdir -p {path}; "
                f"mount -i -t nfs4 -o {options} {network.PARENTS_SAN_IP}:/share {path}; }}")
