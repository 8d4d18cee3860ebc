# SPDX-License-Identifier: BSD-3-Clause
"""
bench/storage's figures as one picture: a panel for each kind of job, a bar for each way to storage, the ways named once a
line; the colours tell in-guest iSCSI, storvsp and QEMU apart. Written as SVG by hand: it needs no program.
"""

from collections.abc import Callable
from html import escape

# Who carries the bytes, by the first word of a way's name.
COLOURS = {"in": ("in the guest", "#2a7f62"), "storvsp:": ("storvsp", "#2f5fa8"), "QEMU": ("QEMU's virtio-scsi", "#c0792f")}
PARTS = {"guest": "#7aa6dc", "vmwp or QEMU": "#2f5fa8", "netvspd": "#2a7f62", "rest of the host": "#b0b0b0",
         "target": "#d9a441"}
MARGIN, LABELS, PANEL, BETWEEN = 20, 190, 185, 45   # across: the names, a panel's bars, room for its figures
BAR, STEP, GROUP_GAP, HEAD, FOOT = 13, 18, 9, 46, 14  # down
FONT = "font-family='sans-serif' font-size='12'"
CPU_JOB = (65536, 100, 8)
# Lines of panels: title, what is in flight, block, reads in percent, depth, figure, unit.
PANELS = [
    [("4k random read", "1 in flight", 4096, 100, 1, "iops", "IOPS"),
     ("4k random write", "1 in flight", 4096, 0, 1, "iops", "IOPS"),
     ("4k random read", "32 in flight", 4096, 100, 32, "iops", "IOPS"),
     ("4k random write", "32 in flight", 4096, 0, 32, "iops", "IOPS")],
    [("64k read in sequence", "8 in flight", 65536, 100, 8, "mib_s", "MiB/s"),
     ("64k write in sequence", "8 in flight", 65536, 0, 8, "mib_s", "MiB/s"),
     ("1M read in sequence", "4 in flight", 1 << 20, 100, 4, "mib_s", "MiB/s"),
     ("1M write in sequence", "4 in flight", 1 << 20, 0, 4, "mib_s", "MiB/s")],
]


def _colour(way: str) -> str:
    return COLOURS.get(way.split()[0], ("", "#888888"))[1]


def _text(x: float, y: float, words: str, more: str = "") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' {FONT} {more}>{escape(words)}</text>"


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height:.1f}' fill='{colour}'/>"


def _say(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _tops(groups: dict[str, str]) -> dict[str, float]:
    """How far below a panel's top the bar of each way is: a group's ways together."""
    tops, y, last = {}, float(HEAD), ""
    for way, group in groups.items():
        y += GROUP_GAP if last and group != last else 0
        tops[way] = y
        y, last = y + STEP, group
    return tops


def _labels(y: float, tops: dict[str, float]) -> list[str]:
    return [_text(MARGIN + LABELS - 8, y + top + BAR - 2, way, f"text-anchor='end' fill='{_colour(way)}'")
            for way, top in tops.items()]


def _panel(x: float, y: float, title: str, more: str, tops: dict[str, float], row: Callable[[str], dict],
           figure: str) -> list[str]:
    """Horizontal bars with their figures; a thin line from the least to the most that a round had."""
    ends = {way: max(row(way)[f"{figure}_rounds"]) for way in tops}
    scale = PANEL / (max(ends.values()) or 1)
    out = [_text(x, y + 16, title, "font-weight='bold'"), _text(x, y + 32, more, "fill='#555555'"),
           _box(x - 1, y + HEAD - 4, 1, max(tops.values()) - HEAD + STEP + 4, "#999999")]
    for way, below in tops.items():
        top, value = y + below, row(way)[figure]
        least = min(row(way)[f"{figure}_rounds"])
        out += [_box(x, top, scale * value, BAR, _colour(way)),
                _box(x + scale * least, top + BAR / 2 - 0.5, scale * (ends[way] - least), 1, "#222222"),
                _text(x + scale * max(value, ends[way]) + 4, top + BAR - 2, _say(value))]
    return out


def _cpu_panel(x: float, y: float, width: float, tops: dict[str, float], cost: Callable[[str], dict[str, float]]) -> list[str]:
    """Stacked bars: whose processor time a GiB costs."""
    scale = width / (max(sum(cost(way).values()) for way in tops) or 1)
    out = [_text(x, y + 16, "Processor seconds that a GiB costs, 64k read in sequence, 8 in flight: shorter is better",
                 "font-weight='bold'")]
    for number, (part, colour) in enumerate(PARTS.items()):
        out += [_box(x + number * 120, y + 24, 11, 11, colour), _text(x + number * 120 + 16, y + 34, part)]
    for way, below in tops.items():
        left = x
        for part, colour in PARTS.items():
            length = scale * max(cost(way).get(part, 0.0), 0.0)
            out.append(_box(left, y + below, length, BAR, colour))
            left += length
        out.append(_text(left + 4, y + below + BAR - 2, _say(sum(cost(way).values()))))
    return out


def draw(rows: list[dict]) -> str:
    """The SVG file's text."""
    groups = {row["way"]: row["group"] for row in rows}
    by = {(row["way"], row["block"], row["reads"], row["depth"]): row for row in rows}
    tops = _tops(groups)
    height = max(tops.values()) + STEP + FOOT
    left = MARGIN + LABELS
    total_width, total_height = left + 4 * (PANEL + BETWEEN) + MARGIN, 64 + 3 * height
    out = [_text(MARGIN, 26, "From a guest to its storage: the same jobs by every way. Longer is better.",
                 "font-weight='bold' style='font-size:16px'"),
           _text(MARGIN, 46, f"Bars: medians of {rows[0]['rounds']} rounds in turn; thin lines: from the least to the most.",
                 "fill='#555555'")]
    for number, (who, colour) in enumerate(COLOURS.values()):
        out += [_box(total_width - 400 + number * 130, 16, 11, 11, colour), _text(total_width - 384 + number * 130, 26, who)]
    for line, panels in enumerate(PANELS):
        y = 56 + line * height
        out += _labels(y, tops)
        for number, (title, flight, block, reads, depth, figure, unit) in enumerate(panels):
            out += _panel(left + number * (PANEL + BETWEEN), y, title, f"{flight}, {unit}", tops,
                          lambda way: by[way, block, reads, depth], figure)
    y = 56 + len(PANELS) * height
    out += _labels(y, tops)
    out += _cpu_panel(left, y, 3 * (PANEL + BETWEEN), tops, lambda way: by[way, *CPU_JOB]["cpu_s_per_gib"])
    return (f"<svg xmlns='http://www.w3.org/2000/svg' width='{total_width}' height='{total_height:.0f}' "
            f"viewBox='0 0 {total_width} {total_height:.0f}'>" + _box(0, 0, total_width, total_height, "white")
            + "\n".join(out) + "</svg>\n")
