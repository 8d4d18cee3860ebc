# SPDX-License-Identifier: BSD-3-Clause
"""
sg3-utils' questions to a disk in a guest, and what SPC-4 and SBC-3 have them answer. Each probe is a script that the guest
runs, and a look at what came; it returns what is wrong, or nothing. The disk's contents are lost.
"""

import re
from collections.abc import Callable, Iterator

from testbed.guest import Guest

KEY = "0x4c55"


def _supported(guest: Guest, disk: str) -> list[int]:
    """The page codes that the page of supported pages has."""
    raw = bytes.fromhex(guest.run(f"sg_vpd -p sv -r {disk} | hexdump -v -e '1/1 \"%02x \"'").out)
    return list(raw[4:4 + int.from_bytes(raw[2:4], "big")])


def _inquiry(guest: Guest, disk: str, mib: int) -> str:
    shown = guest.run(f"sg_inq {disk} | head -n 12").out
    wanted = {"PDT": "0", "resp_data_format|Resp_data_format": "2"}
    for name, value in wanted.items():
        if not re.search(rf"(?:{name})=0?{value}\b", shown):
            return f"{name} is not {value}: {shown[:200]}"
    version = re.search(r"version=0x0*([0-9a-f]+)", shown)
    return "" if version and int(version[1], 16) >= 5 else f"no SPC-3 or later: {shown[:200]}"


def _supported_pages(guest: Guest, disk: str, mib: int) -> str:
    listed = _supported(guest, disk)
    if listed != sorted(listed):
        return f"pages are not in order: {listed}"
    missing = {0x00, 0x83} - set(listed)
    return f"pages {missing} are not there" if missing else ""


def _each_page(guest: Guest, disk: str, mib: int) -> str:
    for page in _supported(guest, disk):
        done = guest.run(f"sg_vpd -p 0x{page:02x} {disk} >/tmp/page 2>&1 || {{ tail -n 3 /tmp/page; exit 1; }}", check=False)
        if done.rc != 0:
            return f"page {page:#x}: {done.out[:200]}"
    return ""


def _identification(guest: Guest, disk: str, mib: int) -> str:
    first, second = (guest.run(f"sg_vpd -p di {disk} | tail -n +2").out for _ in range(2))
    if first != second:
        return "two answers differ"
    return "" if re.search(r"NAA|T10|EUI|vendor", first) else f"no designator: {first[:200]}"


def _capacity(guest: Guest, disk: str, mib: int) -> str:
    for option in ("", "--16"):
        shown = guest.run(f"sg_readcap {option} {disk}").out
        last, block = re.search(r"Last LBA=(\d+)", shown) or re.search(r"last.*?=(\d+)", shown, re.I), \
            re.search(r"[Bb]lock length=(\d+)", shown)
        if not last or not block or (int(last[1]) + 1) * int(block[1]) != mib << 20:
            return f"not {mib} MiB: {shown[:300]}"
    return ""


def _luns(guest: Guest, disk: str, mib: int) -> str:
    lun = guest.run(f"basename $(readlink /sys/block/{disk.rsplit('/', 1)[-1]}/device)").out.strip().rsplit(":", 1)[1]
    shown = guest.run(f"sg_luns {disk}").out
    listed = [int(number[:4], 16) & 0x3fff for number in re.findall(r"^ +([0-9a-f]{16})", shown, re.M)]
    return "" if int(lun) in listed else f"LUN {lun} is not in {shown[:300]}"


def _modes(guest: Guest, disk: str, mib: int) -> str:
    done = guest.run(f"sg_modes -a {disk} 2>&1 | head -n 40", check=False)
    return "" if re.search(r"[Cc]aching", done.out) else f"no caching page: {done.out[:200]}"


def _opcodes(guest: Guest, disk: str, mib: int) -> str:
    done = guest.run(f"sg_opcodes -n {disk} 2>&1 | cut -c1-48 | head -n 60", check=False)
    if "not supported" in done.out or "Invalid" in done.out:
        return "REPORT SUPPORTED OPERATION CODES is refused"
    missing = {0x00, 0x12, 0x28, 0x2a} - {int(code, 16) for code in re.findall(r"^ *([0-9a-f]{1,2}) ", done.out, re.M)}
    return f"no word of {missing}: {done.out[:200]}" if missing else ""


def _reservations(guest: Guest, disk: str, mib: int) -> str:
    script = f"""set -e
        sg_persist --out --register --param-sark={KEY} {disk} >/dev/null
        sg_persist --in --read-keys {disk} | grep -q -i {KEY} || echo "no key"
        sg_persist --out --reserve --param-rk={KEY} --prout-type=1 {disk} >/dev/null
        sg_persist --in --read-reservation {disk} | grep -q -i "write exclusive" || echo "no reservation"
        dd if=/dev/zero of={disk} bs=4096 count=1 oflag=direct 2>/dev/null || echo "its holder cannot write"
        sg_persist --out --release --param-rk={KEY} --prout-type=1 {disk} >/dev/null
        sg_persist --in --read-reservation {disk} | grep -q -i "no reservation" || echo "the reservation stays"
        sg_persist --out --register --param-rk={KEY} --param-sark=0 {disk} >/dev/null
        sg_persist --in --read-keys {disk} | grep -q -i {KEY} && echo "the key stays" || true"""
    done = guest.run(script, check=False)
    return "" if done.rc == 0 and not done.out.strip() else f"exit {done.rc}: {done.out[-300:]}"


def _unmap(guest: Guest, disk: str, mib: int) -> str:
    shown = guest.run(f"sg_readcap --16 {disk}").out
    if not re.search(r"lbpme=1", shown):
        return ""
    reads_zeroes = "lbprz=1" in shown
    done = guest.run(f"dd if=/dev/urandom of={disk} bs=1M count=8 oflag=direct 2>/dev/null; "
                     f"sg_unmap --lba=0 --num=16384 {disk} 2>&1 && dd if={disk} bs=1M count=8 iflag=direct 2>/dev/null | "
                     "tr -d '\\0' | wc -c", check=False)
    if done.rc != 0:
        return done.out[:200]
    left = int(done.out.split()[-1])
    return f"{left} bytes are not zeroes, where lbprz is set" if reads_zeroes and left else ""


def _resets(guest: Guest, disk: str, mib: int) -> str:
    # After a reset Linux lets a bus settle for ten seconds.
    for option in ("-d", "-b"):
        # In a shell of its own: exit would end the console's.
        done = guest.run(f"(dd if={disk} of=/dev/null bs=64k count=64 iflag=direct 2>/dev/null &); "
                         f"( sg_reset {option} {disk} 2>&1 || exit; sg_turs {disk} >/dev/null 2>&1; sg_turs {disk} 2>&1 && "
                         f"dd if={disk} of=/dev/null bs=4096 count=1 iflag=direct 2>&1 )", 120, check=False)
        if done.rc != 0:
            return f"sg_reset {option}: exit {done.rc}: {done.out[:300]}"
    return ""


def _unknown_command(guest: Guest, disk: str, mib: int) -> str:
    shown = guest.run(f"sg_raw {disk} 1f 00 00 00 00 00 2>&1", check=False).out
    return "" if re.search(r"[Ii]llegal [Rr]equest", shown) and re.search(r"[Ii]nvalid command operation code", shown) \
        else f"not 5/20/00: {shown[:200]}"


def _beyond_the_end(guest: Guest, disk: str, mib: int) -> str:
    lba = (mib << 20) // 512
    shown = guest.run(f"sg_raw -r 512 {disk} 28 00 {lba >> 24:02x} {lba >> 16 & 255:02x} {lba >> 8 & 255:02x} {lba & 255:02x} 00 "
                      "00 01 00 2>&1", check=False).out
    return "" if re.search(r"out of range", shown) else f"not 5/21/00: {shown[:200]}"


def _sync_and_verify(guest: Guest, disk: str, mib: int) -> str:
    done = guest.run(f"sg_sync {disk} 2>&1 && sg_verify --lba=0 --count=64 {disk} 2>&1 && sg_requests {disk} 2>&1 && "
                     f"sg_start --start {disk} 2>&1", check=False)
    return "" if done.rc == 0 else f"exit {done.rc}: {done.out[:200]}"


PROBES: dict[str, Callable[[Guest, str, int], str]] = {
    "inq": _inquiry, "vpd-supported": _supported_pages, "vpd-each": _each_page, "vpd-identification": _identification,
    "readcap": _capacity, "luns": _luns, "modes": _modes, "opcodes": _opcodes, "persist": _reservations, "unmap": _unmap,
    "reset": _resets, "unknown-command": _unknown_command, "beyond-the-end": _beyond_the_end, "sync-verify": _sync_and_verify,
}


def run(guest: Guest, disk: str, mib: int) -> Iterator[tuple[str, str]]:
    """Each probe's name, and what is wrong (empty: nothing)."""
    for name, probe in PROBES.items():
        try:
            yield name, probe(guest, disk, mib)
        except Exception as failure:  # one probe's words that nobody expected are that probe's failure
            yield name, f"{type(failure).__name__}: {str(failure)[:300]}"
