#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""
A VLAN's end on an interface, as a kernel without the 8021q module cannot have it: a tap device whose frames go out by the
interface with an 802.1Q tag, and to which frames with that tag come. Offloads of what comes in are kept (both ends speak
virtio's header). Run as a program inside a namespace; San.plug_vlan() does that.
"""

import fcntl
import os
import select
import socket
import struct
import sys

TUNSETIFF, TUNSETVNETHDRSZ = 0x400454CA, 0x400454D8
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
ETH_P_ALL = 0x0003
PACKET_AUXDATA, PACKET_VNET_HDR = 8, 15
PACKET_OUTGOING = 4
TP_STATUS_VLAN_VALID = 0x10
HEADER_BYTES = 10  # struct virtio_net_hdr
MAX_BYTES = HEADER_BYTES + 65550


def open_tap(name: str) -> int:
    """A tap device; its frames have virtio's header in front."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(tap, TUNSETVNETHDRSZ, struct.pack("i", HEADER_BYTES))
    return tap


def open_wire(interface: str) -> socket.socket:
    """All frames of the interface, tags beside them."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    wire.setsockopt(263, PACKET_AUXDATA, 1)
    wire.setsockopt(263, PACKET_VNET_HDR, 1)
    wire.bind((interface, 0))
    wire.setblocking(False)
    return wire


def tag_of(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The frame's VLAN id; -1: it has no tag."""
    for _, kind, data in ancillary:
        if kind == PACKET_AUXDATA:
            status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", data[:20])
            return tci & 0xFFF if status & TP_STATUS_VLAN_VALID else -1
    return -1


def relay(wire: socket.socket, tap: int, vlan: int) -> None:
    """For ever."""
    tag = struct.pack("!HH", 0x8100, vlan)
    while True:
        ready, _, _ = select.select([wire, tap], [], [])
        try:
            if wire in ready:
                frame, ancillary, _, address = wire.recvmsg(MAX_BYTES, 256)
                if address[2] != PACKET_OUTGOING and tag_of(ancillary) == vlan:
                    os.write(tap, frame)
            if tap in ready:
                frame = os.read(tap, MAX_BYTES)[HEADER_BYTES:]
                wire.send(bytes(HEADER_BYTES) + frame[:12] + tag + frame[12:])
        except OSError:
            continue  # a full queue, or a frame that does not fit: lost, as on any wire


def main() -> None:
    """vlan_peer.py INTERFACE VLAN TAP"""
    interface, vlan, name = sys.argv[1:]
    wire, tap = open_wire(interface), open_tap(name)
    print("ready", flush=True)
    relay(wire, tap, int(vlan))


if __name__ == "__main__":
    main()
