"""Do intervals of numbers (losses, PSNR) hold where the truth is known, however skew and heavy-tailed the losses are?

    python -m benchmarks.number_scores --output benchmarks/results/number-scores.json

takes about two minutes on one core. Every cell of a grid (kind of losses, seeds, test examples) draws two activations,
lets `relubench.statistics.error_rates` judge them, and counts how often the 95 % intervals of a mean and of the paired
difference hold the truth. Test example i is hard by a number that all networks share, each activation finds it harder
or easier by one of its own, and each training by another; a training has a level of its own, 5 % from seed to seed.

- "normal squared", "t5 squared", "t3 squared": squares of residuals that are normal, or Student's with 5 or 3 degrees
  of freedom. The last have no variance: no interval of a mean can hold there.
- "lognormal 1", "1.5", "2": losses whose logarithms have this standard deviation.
- "PSNR": decibels of the mean of squared normal residuals, by the values that a run stores of each pixel.

With one seed the truth is that of these trainings on all examples that there could be.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from relubench.runs.task import decibels
from relubench.statistics.error_rates import mean_score, paired_difference
from relubench.version import __version__

BETWEEN = 0.05
"""How much trainings differ in level, as a share of it."""
SHARED, OWN, EACH = 0.6, 0.2, 0.2
"""Shares of the variance between examples: common to all, of an activation, of a training."""
Draw = Callable[[np.random.Generator, int, int], tuple[np.ndarray, float]]


def pairs(kind: str) -> Callable[[np.random.Generator, int, int], list[tuple[np.ndarray, float]]]:
    """Draws of two activations: losses [S, N] and the true mean of each."""
    squared = kind.endswith("squared") or kind == "PSNR"
    degrees = {"t5 squared": 5, "t3 squared": 3}.get(kind)
    sigma = 1.0 if squared else float(kind.split()[1])
    shared, own, each = (sigma * math.sqrt(share) for share in (SHARED, OWN, EACH))

    def draw(rng: np.random.Generator, seeds: int, examples: int) -> list[tuple[np.ndarray, float]]:
        common = rng.standard_normal(examples)
        if degrees is not None:
            common = rng.standard_t(degrees, examples) / math.sqrt(degrees / (degrees - 2))
        return [network(rng, seeds, examples, common) for _ in range(2)]

    def network(rng: np.random.Generator, seeds: int, examples: int, common: np.ndarray) -> tuple[np.ndarray, float]:
        noise = shared * common + own * rng.standard_normal(examples) + each * rng.standard_normal((seeds, examples))
        level = rng.standard_normal(seeds)[:, None]
        if squared:
            scale = 1 + BETWEEN * level
            truth = sigma**2 * (float(scale[0, 0]) ** 2 if seeds == 1 else 1 + BETWEEN**2)
            return np.square(scale * noise), truth
        truth = math.exp(sigma**2 / 2 + (BETWEEN * float(level[0, 0]) if seeds == 1 else BETWEEN**2 / 2))
        return np.exp(BETWEEN * level + noise), truth

    return draw


def as_decibels(losses: np.ndarray, truth: float, seeds: int) -> tuple[np.ndarray, float]:
    """The stored values and the true PSNR; over trainings the PSNR is a mean of theirs, not that of a mean."""
    if seeds > 1:
        nodes, weights = np.polynomial.hermite_e.hermegauss(31)
        levels = -10 * np.log10(np.square(1 + BETWEEN * nodes))
        return np.stack([decibels(row) for row in losses]), float(np.average(levels, weights=weights))
    return np.stack([decibels(row) for row in losses]), -10 * math.log10(truth)


def cell(kind: str, seeds: int, examples: int, tables: int, rng: np.random.Generator) -> dict[str, Any]:
    """How often both intervals held, in percent, over so many tables."""
    draw, held = pairs(kind), np.zeros(2)
    for _ in range(tables):
        sides = draw(rng, seeds, examples)
        if kind == "PSNR":
            sides = [as_decibels(losses, truth, seeds) for losses, truth in sides]
        (a, true_a), (b, true_b) = [(losses.astype(np.float32), truth) for losses, truth in sides]
        mean, gap = mean_score([*a]), paired_difference([*a], [*b])
        held += (mean.low <= true_a <= mean.high, gap.low <= true_a - true_b <= gap.high)
    share_mean, share_difference = (round(100 * float(count) / tables, 1) for count in held)
    facts = {"losses": kind, "seeds": seeds, "examples": examples, "tables": tables}
    return {**facts, "mean_held_pct": share_mean, "difference_held_pct": share_difference}


KINDS = ("normal squared", "PSNR", "t5 squared", "t3 squared", "lognormal 1", "lognormal 1.5", "lognormal 2")


def main() -> None:
    """Fill the grid, print it, and write it where --output says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=500, help="tables of each cell")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rng, start, cells = np.random.default_rng(2011), time.monotonic(), []
    for kind in KINDS:
        for seeds in (1, 2, 5):
            for examples in (100, 1000, 5000):
                cells.append(cell(kind, seeds, examples, arguments.tables, rng))
                print("  ".join(f"{value}" for value in cells[-1].values()), flush=True)
    document = {
        "version": __version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "seconds": round(time.monotonic() - start),
        "cells": cells,
    }
    if arguments.output:
        arguments.output.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
