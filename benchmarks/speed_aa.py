"""Ten A/A runs of the whole command: how often is relu called different from itself, and do the tables agree?

    python -m benchmarks.speed_aa [--runs 10] [-- more flags of `relubench speed`]

Each run is a process of its own with a seed of its own. Prints the false differences against the binomial band of the
stated 5 %, and for every activation in memory how far two successive tables are apart: within 5 %, or within the
interval.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from relubench.timing.statistics import LEVEL, binomial_band, is_difference, ratio


def table(seed: int, flags: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "relubench", "speed", "--seed", str(seed), "--format", "json", *flags]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def false_differences(made: dict[str, Any]) -> tuple[int, int]:
    """How many of a run's A/A intervals leave out 1, and how many there are."""
    cells: dict[tuple[Any, ...], dict[str, list[float]]] = {}
    for run in made["runs"]:
        key = tuple(run[name] for name in ("elements", "dtype", "mode", "pass"))
        cells.setdefault(key, {})[run["contestant"]] = run["samples_ns_per_element"]
    found = [ratio(one["relu again"], one["relu"]) for one in cells.values()]
    judged = [one for one in found if one.low is not None]
    return sum(is_difference(one) for one in judged), len(judged)


def apart(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Activations beyond the caches that two tables time more than 5 % apart, though their intervals do not say so."""
    found = []
    for a, b in zip(first["rows"], second["rows"], strict=True):
        if a["cache"] != "cold" or a["ns_per_element"] is None or b["ns_per_element"] is None:
            continue
        gap = abs(a["ns_per_element"] / b["ns_per_element"] - 1)
        touching = all(one["ns_per_element_ci_low"] is not None for one in (a, b)) and (
            a["ns_per_element_ci_low"] <= b["ns_per_element_ci_high"]
            and b["ns_per_element_ci_low"] <= a["ns_per_element_ci_high"]
        )
        if gap > 0.05 and not touching:
            found.append(f"{a['activation']} {a['pass']} {100 * gap:.0f} %")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("flags", nargs="*", help="flags of `relubench speed`, after --")
    given = parser.parse_args()
    called = cells = 0
    last: dict[str, Any] | None = None
    bad: list[str] = []
    for seed in range(given.runs):
        made = table(seed, given.flags)
        mine, judged = false_differences(made)
        called, cells = called + mine, cells + judged
        bad += apart(last, made) if last is not None else []
        last = made
        print(f"run {seed}: {mine} of {judged} A/A intervals leave out 1", flush=True)
    low, high = binomial_band(cells, LEVEL)
    print(f"{called} of {cells} false differences; {low} to {high} are expected at {100 * LEVEL:g} %")
    print(f"tables apart by more than 5 % and their intervals: {', '.join(bad) or 'none'}")
    # An interval between ranks covers a little more than it says: fewer than expected is no fault.
    return 0 if called <= high else 1


if __name__ == "__main__":
    sys.exit(main())
