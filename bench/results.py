# SPDX-License-Identifier: BSD-3-Clause
"""
Results of a benchmark. A row compares one figure of ours with a peer's: taken in turn (ours, peer, ours, peer, ...), the
ratio is taken pair by pair, and the median is kept, so that a machine whose speed drifts does not favour either.
"""

import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Row:
    """One figure: medians of n pairs. ratio is ours/peer; better says which way is up."""
    name: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    better: str  # "higher" or "lower"
    n: int
    ours_command: str
    peer_command: str


@dataclass(frozen=True)
class Side:
    """One side of a comparison: how it is called, its command line, and what measures it once."""
    name: str
    command: str
    measure: Callable[[], float]


def compare(name: str, unit: str, better: str, ours: Side, peer: Side, pairs: int = 5,
            say: Callable[[str], None] = print) -> Row:
    """Measures both sides in turn, pairs times, after one pair that does not count."""
    taken: list[tuple[float, float]] = []
    for number in range(pairs + 1):
        pair = ours.measure(), peer.measure()
        say(f"{name}: {pair[0]:.2f} {unit}, {peer.name} {pair[1]:.2f} {unit}" + ("" if number else " (not counted)"))
        if number:
            taken.append(pair)
    return Row(name, unit, statistics.median(mine for mine, _ in taken), statistics.median(theirs for _, theirs in taken),
               peer.name, statistics.median(mine / theirs for mine, theirs in taken), better, pairs, ours.command,
               peer.command)


def write(name: str, rows: list[Row]) -> Path:
    """Writes bench/results/NAME.json and prints the rows as a table."""
    DIRECTORY.mkdir(exist_ok=True)
    path = DIRECTORY / f"{name}.json"
    path.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    print(f"\n{'':40} {'ours':>10} {'peer':>10} {'ours/peer':>10}")
    for row in rows:
        print(f"{row.name + ', ' + row.unit:40} {row.ours:10.2f} {row.peer:10.2f} {row.ratio:10.2f}"
              f"  {row.peer_name}, {row.better} is better")
    print(f"\nwritten to {path}")
    return path
