"""Do the intervals, words and advice of a table hold where the truth is known? Simulated tables of known truth.

    python -m benchmarks.statistics_simulation --minutes 60 --output benchmarks/results/statistics-simulation.json

Every cell of a grid (seeds, test examples, error, how much trainings differ) draws tables, lets
`relubench.statistics.error_rates` judge them, and counts how often it is right. Rounds go over all cells until the time
is up, so that a short run is a coarse one. The process that draws a table:

- Test example i has a difficulty, on the scale of logits: normal with a standard deviation of 3 ("normal"), or that of
  a beta distribution with the concentration 0.3, where a few examples carry nearly all errors ("beta").
- Activation k finds the example harder or easier by a normal number of its own, standard deviation 0.7.
- Training s of activation k shifts all logits by a normal number with standard deviation `between`; 0.3 of its variance
  is common to all activations that are trained with seed s, as pairing has it.
- The network is wrong on the example with the chance that the logit gives: seeds and activations err on the same
  examples, more often than by chance, as real networks do.

The true error is the mean over trainings and examples; with one seed it is that of the trained network on all examples
that there could be, since one seed's interval is about the test set alone. Everything is in percent or points.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relubench.statistics.error_rates import critical, mean_error, paired_difference, seeds_to_resolve
from relubench.statistics.example_scores import Scores
from relubench.statistics.power import SeedsNeeded, fewest_seeds, power_of_seeds
from relubench.statistics.variance import Spread
from relubench.version import __version__

OWN, COMMON, CONCENTRATION = 0.7, 0.3, 0.3
SAMPLE, PARTS = 4_000_000, 10_000
"""Difficulties over which a true error is averaged, and the means of parts of them that stand for all."""
SHIFTS = np.linspace(-30.0, 30.0, 601)

Values = NDArray[Any]


def difficulties(rng: np.random.Generator, kind: str, number: int) -> Values:
    """Logits of the examples' difficulty, without a level."""
    if kind == "normal":
        return 3.0 * rng.standard_normal(number)
    share = np.clip(rng.beta(0.05 * CONCENTRATION, 0.95 * CONCENTRATION, number), 1e-9, 1 - 1e-9)
    return np.log(share / (1 - share))


def chance(logits: Values) -> Values:
    return 1 / (1 + np.exp(-np.clip(logits, -40, 40)))


class World:
    """One process: the kind of difficulty and how much trainings differ, on the scale of logits."""

    def __init__(self, kind: str, between: float) -> None:
        self.kind, self.between = kind, between
        rng = np.random.default_rng(1)
        sample = np.sort(difficulties(rng, kind, SAMPLE)).reshape(PARTS, -1).mean(axis=1)
        nodes, weights = np.polynomial.hermite_e.hermegauss(31)
        plain = np.array([chance(sample + shift).mean() for shift in SHIFTS])
        own = [np.interp(SHIFTS + OWN * node, SHIFTS, plain) for node in nodes]
        self.of_network = 100 * np.average(own, axis=0, weights=weights)
        """The error of a network whose logits are shifted by each of SHIFTS."""
        shifted = [np.interp(SHIFTS + between * node, SHIFTS, self.of_network) for node in nodes]
        self.of_activation = np.average(shifted, axis=0, weights=weights)
        """The same, averaged over trainings."""

    def level(self, error: float) -> float:
        """The shift at which the mean over trainings is `error`."""
        return float(np.interp(error, self.of_activation, SHIFTS))

    def table(
        self, rng: np.random.Generator, seeds: int, examples: int, errors: Sequence[float]
    ) -> tuple[list[list[Scores]], list[float]]:
        """For each activation its masks, and its true error (that of the one network, with one seed)."""
        common = difficulties(rng, self.kind, examples)
        shared = rng.standard_normal(seeds)
        masks, truths = [], []
        for error in errors:
            training = np.sqrt(COMMON) * shared + np.sqrt(1 - COMMON) * rng.standard_normal(seeds)
            shifts = self.level(error) + self.between * training
            logits = common + OWN * rng.standard_normal(examples)
            masks.append(list(rng.random((seeds, examples)) < chance(logits + shifts[:, None])))
            truths.append(float(np.interp(shifts[0], SHIFTS, self.of_network)) if seeds == 1 else error)
        return masks, truths

    def truth(self, rng: np.random.Generator, errors: Sequence[float], examples: int) -> Spread:
        """The true variances of the difference of two activations, for one seed and so many examples."""
        trainings, number = 4000, 20_000
        shared = rng.standard_normal(trainings)
        means = []
        for error in errors:
            training = np.sqrt(COMMON) * shared + np.sqrt(1 - COMMON) * rng.standard_normal(trainings)
            means.append(np.interp(self.level(error) + self.between * training, SHIFTS, self.of_network) / 100)
        of_seeds = float((means[0] - means[1]).var())
        common = difficulties(rng, self.kind, number)
        chances = []
        for error in errors:
            own = common + OWN * rng.standard_normal(number)
            pair = [chance(own + self.level(error) + self.between * draw) for draw in rng.standard_normal(12)]
            chances.append(np.array(pair))
        gap = chances[0].mean(axis=0) - chances[1].mean(axis=0)
        noise = sum((each * (1 - each)).mean() for each in chances)
        return Spread(np.inf, of_seeds + noise / examples, float(gap.var()) / examples, noise / examples)


@dataclass
class Cell:
    """One place of a grid, and what was counted there."""

    section: str
    facts: dict[str, Any]
    draw: Callable[[np.random.Generator], dict[str, float]]
    """Counts of one table; a name's mean over tables is what is recorded."""
    tables: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def round(self, seed: Sequence[int], tables: int) -> None:
        rng = np.random.default_rng(list(seed))
        for _ in range(tables):
            for name, value in self.draw(rng).items():
                self.sums[name] = self.sums.get(name, 0.0) + value
        self.tables += tables

    def to_json(self) -> dict[str, Any]:
        means = {name: round(total / self.tables, 4) for name, total in self.sums.items()}
        known = {name: mean for name, mean in means.items() if "_of_" not in name}
        for name in means:
            if "_of_" in name:
                # A share of those to whom it applies.
                part, whole = name.split("_of_")
                known[f"{part} of the {whole}"] = round(self.sums[name] / max(self.sums[whole], 1.0), 4)
        return {"section": self.section, **self.facts, "tables": self.tables, **known}


def mean_cell(world: World, seeds: int, examples: int, error: float) -> Cell:
    """How often the 95 % interval of a mean error covers it, and on which side it does not."""

    def draw(rng: np.random.Generator) -> dict[str, float]:
        (masks,), (truth,) = world.table(rng, seeds, examples, [error])
        found = mean_error(masks)
        return {
            "covers": found.low <= truth <= found.high,
            "above": truth > found.high,
            "width": found.high - found.low,
        }

    return Cell("mean", facts(world, seeds, examples, error), draw)


def table_cell(world: World, seeds: int, examples: int, error: float, rows: int, spread: float) -> Cell:
    """Tables of `rows` comparisons, every other of which differs by `spread` of the error: do all intervals cover?

    A false difference is one that is said of a pair without, or that has the wrong sign.
    """
    errors = [error] + [error * (1 + spread * (row % 2)) for row in range(rows)]

    def draw(rng: np.random.Generator) -> dict[str, float]:
        masks, truths = world.table(rng, seeds, examples, errors)
        differences = [paired_difference(each, masks[0], rows) for each in masks[1:]]
        gaps = [truth - truths[0] for truth in truths[1:]]
        covered = [each.low <= gap <= each.high for each, gap in zip(differences, gaps, strict=True)]
        said = [each.verdict != "noise" for each in differences]
        wrong = [
            s and (gap == 0 or gap * each.difference < 0) for s, gap, each in zip(said, gaps, differences, strict=True)
        ]
        if seeds > 1:
            wrong = [w or (s and not row % 2) for row, (w, s) in enumerate(zip(wrong, said, strict=True))]
        return {"all_cover": all(covered), "false_difference": any(wrong), "called": float(np.mean(said))}

    return Cell("table", {**facts(world, seeds, examples, error), "comparisons": rows, "difference": spread}, draw)


def power_cell(world: World, seeds: int, examples: int, error: float, rows: int, sign: int) -> Cell:
    """A table of equal activations prints the difference that it could have seen; a second one has just that.

    How often is it called? `sign`: +1 where the second activation is worse by that much, -1 where it is better. Where
    nothing is printed, or more than the error for -1, there is nothing to try.
    """

    def draw(rng: np.random.Generator) -> dict[str, float]:
        (first, second), _ = world.table(rng, seeds, examples, [error, error])
        size = paired_difference(second, first, rows).detectable
        if size is None or not 0 < error + sign * size < 99:
            return {"tried": 0, "seen_of_tried": 0, "points_of_tried": 0}
        seen = 0
        for _ in range(3):
            (first, second), _ = world.table(rng, seeds, examples, [error, error + sign * size])
            seen += paired_difference(second, first, rows).verdict.startswith("higher" if sign > 0 else "lower")
        return {"tried": 3, "seen_of_tried": seen, "points_of_tried": 3 * size}

    return Cell("power", {**facts(world, seeds, examples, error), "comparisons": rows, "sign": sign}, draw)


def seeds_cell(world: World, seeds: int, examples: int, error: float, difference: float) -> Cell:
    """Of tables that call a true difference noise: does the range of seeds hold the number that it takes?

    `as_seen`: for a true difference as large as the one seen, which is what the line says; `true`: for the true one.
    """
    errors = [error, error + difference]
    truth = world.truth(np.random.default_rng(2), errors, examples)

    def needed(size: float) -> int | None:
        quantile = critical(1)
        return fewest_seeds(seeds, lambda more: power_of_seeds(truth.of_seeds(1, more), size, quantile) >= 0.8)

    really = needed(difference / 100)

    def draw(rng: np.random.Generator) -> dict[str, float]:
        (first, second), _ = world.table(rng, seeds, examples, errors)
        found = paired_difference(second, first)
        if found.verdict != "noise" or found.difference == 0:
            return {"noise": 0, "as_seen_of_noise": 0, "true_of_noise": 0, "too_few_of_noise": 0}
        told = seeds_to_resolve(second, first)
        seen = needed(abs(found.difference) / 100)
        below = seen is None or (told.likely is not None and told.likely < seen)
        return {
            "noise": 1,
            "as_seen_of_noise": holds(told, seen),
            "true_of_noise": holds(told, really),
            "too_few_of_noise": below,
        }

    return Cell("seeds", {**facts(world, seeds, examples, error), "difference": difference, "needed": really}, draw)


def holds(told: SeedsNeeded, needed: int | None) -> bool:
    """Whether a range holds a number; None is more than any."""
    low, high, number = (np.inf if each is None else each for each in (told.low, told.high, needed))
    return bool(low <= number <= high)


def facts(world: World, seeds: int, examples: int, error: float) -> dict[str, Any]:
    return {"kind": world.kind, "between": world.between, "seeds": seeds, "examples": examples, "error_pct": error}


SECTIONS = {"mean": (0.4, 50), "table": (0.2, 20), "power": (0.3, 5), "seeds": (0.1, 20)}
"""Each section's share of the time, and the tables that a cell draws in a round of it."""
KINDS, BETWEEN = ("normal", "beta"), (0.0, 0.1, 0.4)
WORLDS = {(kind, between): World(kind, between) for kind in KINDS for between in BETWEEN}


def cells() -> list[Cell]:
    """The grids of all sections."""
    found = []
    for world, seeds, examples, error in itertools.product(
        WORLDS.values(), (1, 2, 3, 5, 10), (100, 1000, 10_000), (0.2, 1.5, 5.0, 30.0)
    ):
        if seeds > 1 or world.between == 0:
            found.append(mean_cell(world, seeds, examples, error))
    for world, seeds, examples, error in itertools.product(
        WORLDS.values(), (1, 2, 3, 5, 10), (100, 1000, 10_000), (0.2, 1.5, 5.0, 30.0)
    ):
        if seeds == 1 and world.between:
            continue
        for sign in (-1, 1):
            found.append(power_cell(world, seeds, examples, error, 1, sign))
        if examples == 1000:
            found.append(table_cell(world, seeds, examples, error, 1, 0.0))
            found.append(table_cell(world, seeds, examples, error, 4, 0.5))
            found.append(power_cell(world, seeds, examples, error, 4, 1))
        if examples == 1000 and error in (1.5, 30.0):
            found.append(table_cell(world, seeds, examples, error, 28, 0.5))
            found.append(power_cell(world, seeds, examples, error, 28, 1))
        if examples > 100 and 1 < seeds < 10 and error in (1.5, 5.0, 30.0):
            found += [seeds_cell(world, seeds, examples, error, part * error) for part in (0.1, 0.3)]
    return found


def simulate(found: Sequence[Cell], minutes: float) -> None:
    """Rounds over the cells of each section in turn, until its share of the time is up; first rounds are whole."""
    sections = [name for name in SECTIONS if any(cell.section == name for cell in found)]
    whole = sum(SECTIONS[name][0] for name in sections)
    for name in sections:
        share, tables = SECTIONS[name]
        end = time.monotonic() + 60 * minutes * share / whole
        mine = [(place, cell) for place, cell in enumerate(found) if cell.section == name]
        for number in itertools.count():
            for place, cell in mine:
                if number and time.monotonic() > end:
                    break
                cell.round((number, place), tables)
            if time.monotonic() > end:
                break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long it may take (30)")
    parser.add_argument("--section", choices=tuple(SECTIONS), help="only this one (all)")
    parser.add_argument("--output", type=Path, help="a JSON file for the result (stdout)")
    asked = parser.parse_args()
    found = [cell for cell in cells() if asked.section in (None, cell.section)]
    simulate(found, asked.minutes)
    result = {
        "version": __version__,
        "python": platform.python_version(),
        "minutes": asked.minutes,
        "cells": [cell.to_json() for cell in found],
    }
    lines = ",\n ".join(json.dumps(each) for each in result.pop("cells"))
    text = json.dumps(result)[:-1] + f', "cells": [\n {lines}\n]}}\n'
    if asked.output:
        asked.output.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
