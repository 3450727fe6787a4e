"""Ten A/A runs of the whole command: how often is relu called different from itself, and do the tables agree?

    python -m benchmarks.speed_aa [--runs 10] [--tables FOLDER [--new N]] [--output FILE] [-- flags of speed]

Each run is a process of its own with a seed of its own. Prints the false differences against the binomial band of the
stated 5 %, and for every activation in memory how far two successive tables are apart: within 5 %, or within the
interval. With --tables every run's JSON is kept, those that are there already are not repeated, and at most --new are
added, so that the machine need not be quiet for a quarter of an hour in one piece.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe
from relubench.statistics.timings import LEVEL, Estimate, binomial_band, is_difference, of_rounds

CLOSE = 0.05
KEYS = ("ns_per_element", "ratio_to_relu")


def measure(seed: int, flags: list[str], path: Path) -> None:
    command = [sys.executable, "-m", "relubench", "speed", "--seed", str(seed), "--output", str(path), *flags]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    for line in ended.stderr.splitlines():
        print(f"  {line}", flush=True)


def false_differences(made: dict[str, Any]) -> tuple[int, int]:
    """How many of a run's A/A intervals leave out 1, and how many there are."""
    cells: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for run in made["runs"]:
        key = tuple(run[name] for name in ("elements", "dtype", "mode", "pass"))
        cells.setdefault(key, {})[run["contestant"]] = run
    found = [_against_itself(one["relu again"], one["relu"]) for one in cells.values()]
    judged = [one for one in found if one.low is not None]
    return sum(is_difference(one) for one in judged), len(judged)


def _against_itself(twin: dict[str, Any], relu: dict[str, Any]) -> Estimate:
    mine, base = (one["samples_ns_per_element"] for one in (twin, relu))
    return of_rounds([a / b for a, b in zip(mine, base, strict=True)], relu["rounds_of_processes"])


def estimates(made: dict[str, Any], key: str) -> dict[str, Estimate]:
    """What the command makes of its samples in memory, of every activation and pass: ns, or ratios to relu."""
    known = {(run["contestant"], run["pass"]): run for run in made["runs"] if run["size"] == "memory"}
    found: dict[str, Estimate] = {}
    for (label, name), run in known.items():
        relu = known["relu", name]
        if run["role"] != "activation" or (key == "ratio_to_relu" and run is relu):
            continue
        values = run["samples_ns_per_element"]
        if key == "ratio_to_relu":
            values = [a / b for a, b in zip(values, relu["samples_ns_per_element"], strict=True)]
        found[f"{label} {name}"] = of_rounds(values, run["rounds_of_processes"])
    return found


def compare(first: dict[str, Any], second: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """For every activation in memory: how far two tables are apart, and whether their intervals touch."""
    found = []
    others = estimates(second, key)
    for what, a in estimates(first, key).items():
        b = others[what]
        if a.low is None or a.high is None or b.low is None or b.high is None:
            continue
        touching = a.low <= b.high and b.low <= a.high
        found.append({"what": what, "gap": abs(a.median / b.median - 1), "touching": touching})
    return found


def agreement(tables: list[dict[str, Any]], key: str) -> dict[str, Any]:
    """Of all successive pairs: how many are within 5 %, within the interval, and neither."""
    pairs = [one for a, b in itertools.pairwise(tables) for one in compare(a, b, key)]
    gaps = sorted(one["gap"] for one in pairs)
    neither = [one for one in pairs if one["gap"] > CLOSE and not one["touching"]]
    return {
        "comparisons": len(pairs),
        "within_5_pct": sum(gap <= CLOSE for gap in gaps),
        "further_apart_but_intervals_touch": sum(one["gap"] > CLOSE and one["touching"] for one in pairs),
        "neither": [f"{one['what']} {100 * one['gap']:.1f} %" for one in neither],
        "median_gap_pct": round(100 * gaps[len(gaps) // 2], 3) if gaps else None,
        "largest_gap_pct": round(100 * gaps[-1], 3) if gaps else None,
    }


def between_processes(tables: list[dict[str, Any]]) -> dict[str, list[float]]:
    """The tenth, the half and the ninth tenth of the processes' median ratios in memory, for what spreads most."""
    found: dict[str, list[float]] = {}
    for made in tables:
        known = {(run["contestant"], run["pass"]): run for run in made["runs"] if run["size"] == "memory"}
        for (label, name), run in known.items():
            if run["role"] == "activation" and label != "relu":
                found.setdefault(f"{label} {name}", []).extend(_by_process(run, known["relu", name]))
    spreads = {what: np.quantile(ratios, (0.1, 0.5, 0.9)).round(3).tolist() for what, ratios in found.items()}
    most = sorted(spreads, key=lambda what: spreads[what][0] / spreads[what][2])
    return {what: spreads[what] for what in most[:5]}


def _by_process(run: dict[str, Any], relu: dict[str, Any]) -> list[float]:
    pairs = zip(run["samples_ns_per_element"], relu["samples_ns_per_element"], strict=True)
    ratios, ends = [a / b for a, b in pairs], np.cumsum(relu["rounds_of_processes"])
    return [float(np.median(part)) for part in np.split(ratios, ends[:-1])]


def summary(tables: list[dict[str, Any]]) -> dict[str, Any]:
    counts = [false_differences(made) for made in tables]
    called, cells = sum(one for one, _ in counts), sum(one for _, one in counts)
    low, high = binomial_band(cells, LEVEL)
    return {
        "runs": len(tables),
        "false_differences": called,
        "aa_intervals": cells,
        "expected_low": low,
        "expected_high": high,
        "level": LEVEL,
        "by_run": counts,
        **{key: agreement(tables, key) for key in KEYS},
        "between_processes": between_processes(tables),
        "version": tables[0]["version"],
        "device": tables[0]["device"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--tables", type=Path, help="keep each run's JSON here, and take from it what is there")
    parser.add_argument("--new", type=int, help="with --tables, measure at most so many runs this time")
    parser.add_argument("--output", type=Path, help="a JSON file for the result")
    parser.add_argument("flags", nargs="*", help="flags of `relubench speed`, after --")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.tables or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{seed}.json" for seed in range(given.runs)]
        missing = [path for path in paths if not path.exists()]
        for path in missing[: given.new]:
            measure(int(path.stem), given.flags, path)
            print(f"run {path.stem}: {false_differences(json.loads(path.read_text()))}", flush=True)
        tables = [json.loads(path.read_text()) for path in paths if path.exists()]
    if len(tables) < given.runs:
        print(f"{len(tables)} of {given.runs} runs are there; the same command goes on")
        return 0
    made = summary(tables)
    print(json.dumps(made, indent=1))
    if given.output:
        machine = describe(["python", "-m", "benchmarks.speed_aa", "--", *given.flags], None)
        given.output.write_text(json.dumps({**made, "machine": machine}, indent=1) + "\n")
    # An interval may cover a little more than it says: fewer than expected is no fault.
    return 0 if made["false_differences"] <= made["expected_high"] else 1


if __name__ == "__main__":
    sys.exit(main())
