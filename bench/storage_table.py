# SPDX-License-Identifier: BSD-3-Clause
"""bench/storage's figures as Markdown tables, which read well on a terminal too: all ways, and ours beside QEMU's."""

import statistics

# What is compared line by line: the same bytes, by storvsp and by QEMU's virtio-scsi.
PAIRS = {"LUN": ("storvsp: LUN, passed through", "QEMU virtio-scsi: LUN"),
         "raw file": ("storvsp: raw file", "QEMU virtio-scsi: raw file")}
# Columns of the first table: head, block, reads in percent, depth.
SHOWN = [("4k r qd1", 4096, 100, 1), ("4k r qd32", 4096, 100, 32), ("4k w qd1", 4096, 0, 1), ("4k w qd32", 4096, 0, 32),
         ("64k r qd8", 65536, 100, 8), ("64k w qd8", 65536, 0, 8), ("1M r qd4", 1 << 20, 100, 4), ("1M w qd4", 1 << 20, 0, 4)]


def _markdown(lines: list[list[str]]) -> str:
    """The first line is the head, the first column words, the others figures."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    def drawn(line: list[str]) -> str:
        return "| " + " | ".join(cell.rjust(width) if column else cell.ljust(width)
                                 for column, (cell, width) in enumerate(zip(line, widths))) + " |"
    rule = "|" + "|".join("-" * (width + 1) + (":" if column else "-") for column, width in enumerate(widths)) + "|"
    return "\n".join([drawn(lines[0]), rule, *map(drawn, lines[1:])])


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _ways(rows: list[dict]) -> str:
    by = {(row["way"], row["block"], row["reads"], row["depth"]): row for row in rows}
    lines = [["way", *(f"{head} {'IOPS' if block == 4096 else 'MiB/s'}" for head, block, _, _ in SHOWN), "CPU s/GiB"]]
    for way in dict.fromkeys(row["way"] for row in rows):
        figures = [by[way, *job]["iops" if job[0] == 4096 else "mib_s"] for _, *job in SHOWN]
        cpu = sum(by[way, 65536, 100, 8]["cpu_s_per_gib"].values())
        lines.append([way, *map(_figure, figures), _figure(cpu)])
    return _markdown(lines)


def _latencies(rows: list[dict]) -> str:
    by = {(row["way"], row["block"], row["reads"], row["depth"]): row for row in rows}
    small = [(head, *job) for head, *job in SHOWN if job[0] == 4096]
    lines = [["way", *(head for head, *_ in small)]]
    for way in dict.fromkeys(row["way"] for row in rows):
        shown = [by[way, *job] for _, *job in small]
        lines.append([way, *(" / ".join(f"{row[key] / 1e3:.1f}" for key in ("p50_us", "p99_us")) for row in shown)])
    return _markdown(lines)


def _beside_qemu(rows: list[dict]) -> str:
    by = {(row["way"], row["job"]): row for row in rows}
    lines = [["job", *(f"{name}: {what}" for name in PAIRS for what in ("storvsp", "QEMU", "ratio", "CPU"))]]
    for job in dict.fromkeys(row["job"] for row in rows):
        line = [job]
        for pair in PAIRS.values():
            ours, peer = (by[way, job] for way in pair)
            ratio = statistics.median(mine / theirs for mine, theirs in zip(ours["iops_rounds"], peer["iops_rounds"]))
            cpu = sum(ours["cpu_s_per_gib"].values()) / sum(peer["cpu_s_per_gib"].values())
            figure = "iops" if ours["block"] == 4096 else "mib_s"
            line += [_figure(ours[figure]), _figure(peer[figure]), f"{ratio:.2f}", f"{cpu:.2f}"]
        lines.append(line)
    return _markdown(lines)


def tables(rows: list[dict]) -> str:
    """All of them. r, w: read, write; qd: how many are in flight."""
    return (f"Throughput: IOPS of small blocks, MiB/s of larger ones; CPU: all processors' seconds a GiB, of 64k r qd8.\n\n"
            f"{_ways(rows)}\n\nLatency in ms, the 50th and the 99th percentile.\n\n{_latencies(rows)}\n\n"
            "storvsp beside QEMU's virtio-scsi, IOPS of 4k and MiB/s of larger blocks. ratio: ours by QEMU's, the median over "
            "the rounds, above 1 is\nfaster; CPU: ours by QEMU's, below 1 is cheaper.\n\n"
            f"{_beside_qemu(rows)}\n")
