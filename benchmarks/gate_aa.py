"""Does a gate let what is unchanged pass, and stop what is worse? Real trainings, compared as `compare --fail-on` does.

    python -m benchmarks.gate_aa --output benchmarks/results/gate-aa.json     # digits, 60 small networks: two minutes

Each pair has two results of one network and one activation with different seeds, drawn without a seed in common from
runs that are trained once. Unchanged: both from the same runs; at least 95 of 100 pairs must pass or be called
inconclusive. Worse: the later one from networks that were trained with a hundredth of the learning rate.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import relubench
from relubench.reports.comparison import compare
from relubench.reports.gate import gated
from relubench.reports.render import render
from relubench.reports.saved import SavedTable, read_table
from relubench.statistics.gate import parse_gate
from relubench.version import __version__

GATES = ("higher", "any", "higher:0.5", "higher:2")
PLANTED = 0.01
"""The part of the learning rate with which the worse networks are trained."""
NETWORK: dict[str, Any] = {"dataset": "digits", "model": "mlp-1x16", "epochs": 3, "batch_size": 64}
RATE = 0.3


def saved(folder: Path, seeds: list[int], lr: float) -> SavedTable:
    """The result of these seeds as `relubench train --output` writes it, read back; runs are stored once."""
    path = folder / "table.json"
    results = relubench.train("relu", **NETWORK, seeds=seeds, lr=lr, runs_dir=folder / "runs")
    path.write_text(render(results.report, "json"))
    return read_table(path)


def outcomes(folder: Path, pairs: int, seeds: int, pool: int, lr: float) -> dict[str, dict[str, int]]:
    """Gate -> how many pairs regressed, passed or were inconclusive, the later one trained at that rate."""
    rng = random.Random(0)
    counts: dict[str, Counter[str]] = {gate: Counter() for gate in GATES}
    for _ in range(pairs):
        drawn = rng.sample(range(pool), 2 * seeds)
        tables = [saved(folder, sorted(drawn[:seeds]), RATE), saved(folder, sorted(drawn[seeds:]), lr)]
        report = compare(tables)
        for gate, count in counts.items():
            (row,) = gated(report, tables, parse_gate(gate)).rows
            count[row["gate"]] += 1
    return {gate: dict(count) for gate, count in counts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pool", type=int, default=60)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for lr in (RATE, RATE * PLANTED):
            saved(folder, list(range(arguments.pool)), lr)
        sizes = (arguments.pairs, arguments.seeds, arguments.pool)
        unchanged = outcomes(folder, *sizes, RATE)
        worse = outcomes(folder, *sizes, RATE * PLANTED)
    for kind, counts in (("unchanged", unchanged), ("worse", worse)):
        for gate, count in counts.items():
            print(f"{kind:9} {gate:10} " + ", ".join(f"{number} {word}" for word, number in sorted(count.items())))
    if arguments.output:
        content = {"version": __version__, "network": NETWORK, "pairs": arguments.pairs, "seeds": arguments.seeds}
        content |= {"unchanged": unchanged, "worse": worse}
        arguments.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
