# SPDX-License-Identifier: BSD-3-Clause
"""
bench/storage's figures as one picture: a panel for each kind of job, a bar for each way; the colours tell in-guest iSCSI,
storvsp and QEMU apart. Written as SVG by hand: it needs no program.
"""

from collections.abc import Callable
from html import escape

# By the first word of a way's name.
COLOURS = {"in": "#2a7f62", "storvsp:": "#2f5fa8", "QEMU": "#a8672f"}
PARTS = {"guest": "#5b8bd0", "vmwp or QEMU": "#2f5fa8", "netvspd": "#2a7f62", "host's kernel": "#b0b0b0", "target": "#d9a441"}
PANEL_WIDTH, LABEL_WIDTH, BAR, GAP, HEAD = 330, 190, 13, 4, 46
FONT = "font-family='sans-serif' font-size='11'"
# Panels from left to right and top to bottom: title, block, reads in percent, depth, figure, unit.
PANELS = [
    ("4k random read, one at a time", 4096, 100, 1, "iops", "IOPS"),
    ("4k random write, one at a time", 4096, 0, 1, "iops", "IOPS"),
    ("4k mixed, one at a time", 4096, 70, 1, "iops", "IOPS"),
    ("4k random read, 32 in flight", 4096, 100, 32, "iops", "IOPS"),
    ("4k random write, 32 in flight", 4096, 0, 32, "iops", "IOPS"),
    ("4k mixed, 32 in flight", 4096, 70, 32, "iops", "IOPS"),
    ("64k read in sequence, 8 in flight", 65536, 100, 8, "mib_s", "MiB/s"),
    ("64k write in sequence, 8 in flight", 65536, 0, 8, "mib_s", "MiB/s"),
    ("1M read in sequence, 4 in flight", 1 << 20, 100, 4, "mib_s", "MiB/s"),
    ("1M write in sequence, 4 in flight", 1 << 20, 0, 4, "mib_s", "MiB/s"),
]


def _colour(way: str) -> str:
    return COLOURS.get(way.split()[0], "#888888")


def _text(x: float, y: float, words: str, more: str = "") -> str:
    return f"<text x='{x:.0f}' y='{y:.0f}' {FONT} {more}>{escape(words)}</text>"


def _say(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _panel(x: float, y: float, title: str, ways: list[str], value: Callable[[str], float]) -> list[str]:
    """Horizontal bars with their figures."""
    width = PANEL_WIDTH - LABEL_WIDTH - 60
    most = max((value(way) for way in ways), default=1) or 1
    out = [_text(x, y + 14, title, "font-weight='bold'")]
    for number, way in enumerate(ways):
        top = y + 24 + number * (BAR + GAP)
        length = width * value(way) / most
        out.append(_text(x + LABEL_WIDTH - 6, top + BAR - 3, way, "text-anchor='end'"))
        out.append(f"<rect x='{x + LABEL_WIDTH:.0f}' y='{top:.0f}' width='{length:.1f}' height='{BAR}' fill='{_colour(way)}'/>")
        out.append(_text(x + LABEL_WIDTH + length + 4, top + BAR - 3, _say(value(way)), "fill='#333333'"))
    return out


def _cpu_panel(x: float, y: float, title: str, ways: list[str], cost: Callable[[str], dict[str, float]]) -> list[str]:
    """Stacked bars: whose processor time a GiB costs."""
    width = PANEL_WIDTH * 2 - LABEL_WIDTH - 60
    most = max((sum(cost(way).values()) for way in ways), default=1) or 1
    out = [_text(x, y + 14, title, "font-weight='bold'")]
    for number, way in enumerate(ways):
        top, left = y + 24 + number * (BAR + GAP), x + LABEL_WIDTH
        out.append(_text(left - 6, top + BAR - 3, way, "text-anchor='end'"))
        for part, colour in PARTS.items():
            length = width * max(cost(way).get(part, 0.0), 0.0) / most
            out.append(f"<rect x='{left:.1f}' y='{top:.0f}' width='{length:.1f}' height='{BAR}' fill='{colour}'/>")
            left += length
        out.append(_text(left + 4, top + BAR - 3, f"{sum(cost(way).values()):.1f}", "fill='#333333'"))
    for number, (part, colour) in enumerate(PARTS.items()):
        left, top = x + LABEL_WIDTH + number * 110, y + 30 + len(ways) * (BAR + GAP)
        out.append(f"<rect x='{left:.0f}' y='{top:.0f}' width='10' height='10' fill='{colour}'/>")
        out.append(_text(left + 14, top + 9, part))
    return out


def draw(rows: list[dict]) -> str:
    """The SVG file's text."""
    ways = list(dict.fromkeys(row["way"] for row in rows))
    by = {(row["way"], row["block"], row["reads"], row["depth"]): row for row in rows}
    height = HEAD + len(ways) * (BAR + GAP)
    out = [_text(20, 24, "Ways from a guest to its storage: same jobs, same guest, one target. Longer is better.",
                 "font-weight='bold' style='font-size:15px'")]
    panels = [panel for panel in PANELS if all((way, *panel[1:4]) in by for way in ways)]
    for number, (title, block, reads, depth, figure, unit) in enumerate(panels):
        x, y = 20 + number % 3 * (PANEL_WIDTH + 20), 40 + number // 3 * height
        out += _panel(x, y, f"{title} ({unit})", ways, lambda way: by[way, block, reads, depth][figure])
    lines = -(-len(panels) // 3)
    y = 40 + lines * height
    job = (65536, 100, 8)
    if all((way, *job) in by for way in ways):
        out += _cpu_panel(20, y, "64k read in sequence, 8 in flight: processor seconds a GiB costs (shorter is better)", ways,
                          lambda way: by[way, *job]["cpu_s_per_gib"])
    total_width, total_height = 3 * (PANEL_WIDTH + 20) + 20, y + height + 40
    return (f"<svg xmlns='http://www.w3.org/2000/svg' width='{total_width}' height='{total_height}' "
            f"viewBox='0 0 {total_width} {total_height}'><rect width='100%' height='100%' fill='white'/>"
            + "".join(out) + "</svg>\n")
