# SPDX-License-Identifier: BSD-3-Clause
"""Who has no certificate of the hosts' own authority gets nothing: no move, no answer, not a byte."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import network, paths, process
from testbed.bed import Bed
from testbed.guest import Guest
from testbed.host import RECEIVE_PORT, Host, Vm
from testbed.moves import hosts_running, move_over

TLS_ALERT = b"\x15"  # RFC 8446, 5.1

pytestmark = pytest.mark.usefixtures("moves")


@pytest.fixture(scope="module")
def strangers(bed: Bed) -> Path:
    """Certificates of another authority, for hosts of the same names."""
    lab = bed.directory / "strangers"
    process.run([paths.BIN / "lunar", "tls", "lab", lab, "host1", "host2"], 60)
    return lab


@pytest.fixture(scope="module")
def guarded(bed: Bed, moves: None) -> Iterator[Guest]:
    """A guest that nobody may have."""
    guest = Guest(bed.hosts[0], Vm("guarded", "02:4c:55:4e:05:01", network.guest_address(41), memory="192M")).start()
    yield guest
    guest.stop()


def received(host: Host, context: ssl.SSLContext | None, words: bytes) -> bytes:
    """What a client gets for words, under TLS where there is a context: all but a TLS alert, which says no more than no."""
    with socket.create_connection((host.mgmt_address, RECEIVE_PORT), 5) as plain:
        plain.settimeout(10)
        try:
            stream = context.wrap_socket(plain, server_hostname=host.name) if context else plain
            stream.sendall(words)
            answer = stream.recv(65536)
            return answer if context or answer[:1] != TLS_ALERT else answer[5 + int.from_bytes(answer[3:5]):]
        except (ssl.SSLError, ConnectionError):
            return b""


def stranger_context(files: Path | None) -> ssl.SSLContext:
    """A TLS client that trusts anybody, and shows these certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if files:
        context.load_cert_chain(files / "host.crt", files / "host.key")
    return context


def test_clients_without_a_right_certificate_get_nothing(bed: Bed, guarded: Guest, strangers: Path) -> None:
    """Plain words, no certificate, one of another authority: no byte of an answer, and the receiver goes on."""
    host = bed.hosts[1]
    assert received(host, None, b"GET / HTTP/1.1\r\n\r\n") == b""
    assert received(host, None, bytes(range(256)) * 64) == b""
    assert received(host, stranger_context(None), b"\0" * 4096) == b""
    assert received(host, stranger_context(strangers / "host1"), b"\0" * 4096) == b""
    # Silent connections, as many as it likes, do not keep others out for long.
    silent = [socket.create_connection((host.mgmt_address, RECEIVE_PORT), 5) for _ in range(20)]
    for connection in silent:
        connection.close()
    move_over(bed, guarded)


def test_destination_with_a_wrong_certificate_gets_nothing(bed: Bed, guarded: Guest, strangers: Path) -> None:
    """Neither one of another authority, nor one of another name; the VM stays, and moves when all is right again."""
    origin = guarded.host
    to = bed.hosts[1] if origin is bed.hosts[0] else bed.hosts[0]
    right = bed.directory / "tls"
    for wrong in (strangers / to.name, right / origin.name):
        to.install_tls(wrong)
        to.stop_receiver()
        to.start_receiver()
        refused = origin.migrate(guarded.vm, to, check=False)
        print(refused.last.get("error"))
        assert refused.rc != 0 and hosts_running(bed, guarded.vm) == [origin.name]
    to.install_tls(right / to.name)
    to.stop_receiver()
    to.start_receiver()
    move_over(bed, guarded)


def test_source_without_certificates_says_what_to_do(bed: Bed, guarded: Guest) -> None:
    """A host that was never set up."""
    origin = guarded.host
    to = bed.hosts[1] if origin is bed.hosts[0] else bed.hosts[0]
    origin.run(f"mv {origin.tls_dir} {origin.tls_dir}.away", check=True)
    try:
        refused = origin.migrate(guarded.vm, to, check=False)
        assert refused.rc != 0 and "lunar tls" in refused.out
        assert hosts_running(bed, guarded.vm) == [origin.name]
    finally:
        origin.run(f"mv {origin.tls_dir}.away {origin.tls_dir}", check=True)
    move_over(bed, guarded)
