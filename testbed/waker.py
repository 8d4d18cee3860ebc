# SPDX-License-Identifier: BSD-3-Clause
"""
A frame to a host every now and then, so that its NIC interrupts. QEMU's emulation of AMD-V notes a virtual interrupt at
VMRUN without the lock that others take (target/i386/tcg/sysemu/svm_helper.c: `interrupt_request |= CPU_INTERRUPT_VIRQ`), so
an interrupt that comes at the same instant can be lost until the next one comes. Where the lost one was the timer's of a
host that waits for its timer, that is never. No physical host needs this.
"""

import socket
import threading

PERIOD_SECONDS = 0.1
PORT = 9  # discard: nobody listens


class Waker:
    """Sends until close()."""

    def __init__(self, address: str):
        self._address = (address, PORT)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"waker {address}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not self._ended.wait(PERIOD_SECONDS):
                try:
                    sender.sendto(b"\0", self._address)
                except OSError:
                    continue  # unreachable, says an ICMP answer to the one before

    def close(self) -> None:
        """Ends it."""
        self._ended.set()
        self._thread.join()
