"""How often are two sets of trainings of one activation called different? relu against relu, disjoint seeds.

    python -m benchmarks.false_differences --output benchmarks/results/false-differences.json

Trains relu on the embedded digits once for every seed, splits the seeds into pairs of sets, and compares the two sets
of each pair as a table would. Whatever is called different is a false alarm: at most 5 % should be. The runs are
stored, so that a repeated command only computes the statistics.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import relubench
from relubench.statistics.error_rates import paired_difference, unpaired_difference
from relubench.version import __version__

ALLOWED = 0.05


@dataclass(frozen=True, kw_only=True)
class Alarms:
    """How many of `pairs` comparisons were called different, two ways of comparing."""

    pairs: int
    seeds_a_set: int
    epochs: int
    as_pairs_of_seeds: int
    """Seed k of one set beside seed k of the other, as `train` pairs them."""
    as_unpaired_seeds: int
    expected: float
    upper_limit: int
    """What 5 % would exceed in one of a hundred such experiments."""


def count(masks: list[np.ndarray], pairs: int, seeds: int, epochs: int) -> Alarms:
    """Compare `pairs` pairs of disjoint sets of `seeds` masks."""
    paired = unpaired = 0
    for start in range(0, pairs * 2 * seeds, 2 * seeds):
        a, b = masks[start : start + seeds], masks[start + seeds : start + 2 * seeds]
        paired += paired_difference(a, b).p < ALLOWED
        unpaired += unpaired_difference(a, b).p < ALLOWED
    return Alarms(
        pairs=pairs,
        seeds_a_set=seeds,
        epochs=epochs,
        as_pairs_of_seeds=int(paired),
        as_unpaired_seeds=int(unpaired),
        expected=ALLOWED * pairs,
        upper_limit=_upper_limit(pairs),
    )


def _upper_limit(pairs: int) -> int:
    """The least k with P(K > k) <= 1 % for K binomial over `pairs` with 5 %."""
    tail = 1.0
    for k in range(pairs + 1):
        tail -= math.comb(pairs, k) * ALLOWED**k * (1 - ALLOWED) ** (pairs - k)
        if tail <= 0.01:
            return k
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200, help="pairs of sets (200)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of a set (3)")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of a training (5)")
    parser.add_argument("--runs-dir", type=Path, help="where runs are stored (relubench's own place)")
    parser.add_argument("--output", type=Path, help="a JSON file for the result (stdout)")
    asked = parser.parse_args()
    table = relubench.train(
        "relu",
        dataset="digits",
        seeds=2 * asked.pairs * asked.seeds,
        epochs=asked.epochs,
        settings={"keep": "none"},
        runs_dir=asked.runs_dir,
    )
    masks = [table.masks[run.id] for run in table.runs]
    alarms = count(masks, asked.pairs, asked.seeds, asked.epochs)
    errors = np.array([100 * mask.mean() for mask in masks])
    facts = {
        **asdict(alarms),
        "test_error_mean_pct": round(float(errors.mean()), 4),
        "test_error_sd_pct": round(float(errors.std(ddof=1)), 4),
        "runs": len(masks),
        "training_seconds": round(table.rows[0]["seconds"] or 0.0, 1),
        "version": __version__,
        "python": platform.python_version(),
        "device": table.report.device,
    }
    text = json.dumps(facts, indent=1) + "\n"
    if asked.output:
        asked.output.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
