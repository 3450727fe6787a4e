"""How often is an answer of `choose` wrong, and how many runs does it take? Simulated studies whose truth is known.

    python -m benchmarks.choose_simulation --studies 1000 --output benchmarks/results/choose-simulation.json

Ten activations, of which none, one or three are better than the others by 0, 0.1, 0.3 or 1 points. Every study is
looked at as `relubench choose` plans it, and stops at each of its looks in turn: a set of activations only loses
members, so that whoever stops earlier has a wider answer, and an answer that is right at the last look was right at
every look before it. A study stops, too, where its last look could tell nobody apart any more. Counted are studies:

- in which the true best one (any of those that are equally good) is in the answer: at least 95 % should be;
- with a false elimination: one of the best, all of which must stay (with none better, all ten): at most 5 % may be.

The runs are those of all activations until each is out. The fixed design trains all with the same number of seeds and
compares them once, at the same error rate; its number is the smallest that takes POWER of the worse ones out, and it is
compared with the shortest plan of `choose` that takes as many out: whoever fixes the number has to know the difference
before, which `choose` need not. Where differences are so large that the fixed design needs 5 seeds, no plan whose first
look is at 3 seeds can take less than 0.6 of its runs, and 0.72 where three of the ten stay to the end.

Variances of a difference of two activations are as real trainings have them (WORLDS), in percentage points: between
seeds, of the validation examples for all seeds alike, and of the examples for each seed anew, which the first contains.
The last two are known from the test results, and count as known.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from relubench.statistics.sequential import (
    LEAST_SEEDS,
    Gaps,
    Looks,
    all_pairs,
    can_change,
    eliminate,
    gaps_of,
    looks_between,
)
from relubench.version import __version__

ACTIVATIONS, ERROR_RATE, MOST_SEEDS, MOST, POWER = 10, 0.05, 20, 60, 0.9
NUM_BETTER, SIZES = (0, 1, 3), (0.0, 0.1, 0.3, 1.0)


@dataclass(frozen=True, kw_only=True)
class World:
    """Standard deviations of a difference of two activations, in points."""

    name: str
    seeds: float
    """Between the differences of single seeds."""
    examples: float
    """Of the validation examples, the same for every seed."""
    interaction: float
    """Of one seed's examples; a part of `seeds`."""


WORLDS = (
    World(name="mnist, mlp-2x100", seeds=0.18, examples=0.05, interaction=0.11),
    World(name="digits", seeds=0.8, examples=0.18, interaction=0.75),
)


@dataclass(frozen=True, kw_only=True)
class Count:
    """What came of the studies of one kind."""

    world: str
    better: int
    points: float
    studies: int
    best_kept_pct: float
    false_eliminations_pct: float
    worse_out_pct: float
    """Of the worse activations, those that are out at the end; 0 where there is no worse one."""
    runs: float
    """The mean number of runs of a study of at most MOST_SEEDS seeds."""
    full_runs: int
    """Of all activations with MOST_SEEDS seeds."""
    fixed_runs: int | None
    """Of the smallest fixed design that takes POWER of the worse ones out; None where MOST seeds are not enough."""
    matched_runs: float | None
    """The mean number of runs of the shortest plan of `choose` with as much power."""

    @property
    def saving(self) -> float | None:
        """The runs of `choose` over those of the fixed design of equal power."""
        if self.fixed_runs is None or self.matched_runs is None:
            return None
        return self.matched_runs / self.fixed_runs


def scores(rng: np.random.Generator, world: World, truth: NDArray[np.float64], studies: int, seeds: int) -> NDArray:
    """Validation errors of every study, activation and seed in points: [studies, A, seeds]."""
    examples = rng.standard_normal((studies, truth.size, 1)) * world.examples / np.sqrt(2)
    return truth[:, None] + examples + rng.standard_normal((studies, truth.size, seeds)) * world.seeds / np.sqrt(2)


def followed(values: NDArray, world: World, looks: Looks) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Who is left when each study stops, bool [studies, A], and its runs [studies].

    It stops with one left, or where the last look could tell nobody apart any more; an activation has the runs of the
    look at which it went out.
    """
    remaining = np.ones(values.shape[:2], dtype=bool)
    going, runs, previous = np.ones(len(values), dtype=bool), np.zeros(len(values)), 0
    for seeds in looks.seeds:
        going &= remaining.sum(axis=1) > 1
        runs[going] += remaining[going].sum(axis=1) * (seeds - previous)
        previous, gaps = seeds, _gaps(values[going], world, seeds)
        left = remaining[going] = eliminate(remaining[going], gaps, looks)
        going[going] = can_change(left, gaps, looks)
    return remaining, runs


def _gaps(values: NDArray, world: World, seeds: int) -> Gaps:
    return gaps_of(values[..., :seeds], world.examples**2, world.interaction**2 / seeds)


def count(
    rng: np.random.Generator, world: World, better: int, points: float, studies: int, *, with_design: bool = True
) -> Count:
    """The studies of one kind, looked at until the end, and `with_design` the fixed design of equal power."""
    truth = np.where(np.arange(ACTIVATIONS) < better, -points, 0.0)
    best = truth == truth.min()
    values = scores(rng, world, truth, studies, MOST)
    looks = Looks(seeds=looks_between(LEAST_SEEDS, MOST_SEEDS), error_rate=ERROR_RATE)
    left, runs = followed(values, world, looks)
    fixed = _fixed_seeds(values, world, best) if with_design else None
    matched = None if fixed is None else _matched_looks(values, world, best)
    return Count(
        world=world.name,
        better=better,
        points=points,
        studies=studies,
        best_kept_pct=100 * float(left[:, best].any(axis=1).mean()),
        false_eliminations_pct=100 * float((~left[:, best]).any(axis=1).mean()),
        worse_out_pct=100 * _share_out(left, best),
        runs=float(runs.mean()),
        full_runs=ACTIVATIONS * MOST_SEEDS,
        fixed_runs=None if fixed is None else ACTIVATIONS * fixed,
        matched_runs=None if matched is None else float(followed(values, world, matched)[1].mean()),
    )


def _share_out(left: NDArray[np.bool_], best: NDArray[np.bool_]) -> float:
    """The share of the worse activations that are out."""
    return float((~left[:, ~best]).mean()) if (~best).any() else 0.0


def _fixed_seeds(values: NDArray, world: World, best: NDArray[np.bool_]) -> int | None:
    """The fewest seeds of a design with one look, at all pairs (Bonferroni), that takes POWER of the worse ones out."""
    level = ERROR_RATE / all_pairs(ACTIVATIONS)

    def share_out(seeds: int) -> float:
        is_worse = _gaps(values, world, seeds).is_worse(level)
        return _share_out(~is_worse.any(axis=2), best)

    return _fewest(2, share_out)


def _matched_looks(values: NDArray, world: World, best: NDArray[np.bool_]) -> Looks | None:
    """The shortest plan of `choose` that does so."""

    def looks(most: int) -> Looks:
        return Looks(seeds=looks_between(LEAST_SEEDS, most), error_rate=ERROR_RATE)

    most = _fewest(LEAST_SEEDS, lambda most: _share_out(followed(values, world, looks(most))[0], best))
    return None if most is None else looks(most)


def _fewest(low: int, share_out: Callable[[int], float]) -> int | None:
    """The smallest number from `low` to MOST at which the rising share reaches POWER; None where none does."""
    high = MOST
    if share_out(high) < POWER:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if share_out(middle) >= POWER else (middle + 1, high)
    return low


def simulate(studies: int, seed: int = 0, worlds: tuple[World, ...] = WORLDS) -> list[Count]:
    """Every kind of study in every world; with none better, a size of 0 alone."""
    rng = np.random.default_rng(seed)
    kinds = [(better, points) for better in NUM_BETTER for points in SIZES if bool(better) == bool(points)]
    return [count(rng, world, better, points, studies) for world in worlds for better, points in kinds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    start = time.perf_counter()
    counts = simulate(arguments.studies)
    for entry in counts:
        saving = "" if entry.saving is None else f"{entry.matched_runs:.0f} of {entry.fixed_runs}: {entry.saving:.2f}"
        print(
            f"{entry.world:18} {entry.better} better by {entry.points:.1f}: best kept {entry.best_kept_pct:5.1f} %, "
            f"false eliminations {entry.false_eliminations_pct:4.1f} %, worse out {entry.worse_out_pct:5.1f} %, "
            f"runs {entry.runs:.0f} of {entry.full_runs}; at equal power {saving or '-'}"
        )
    if arguments.output:
        content = {"version": __version__, "seconds": round(time.perf_counter() - start, 1)}
        content |= {"counts": [{**asdict(entry), "runs_ratio": entry.saving} for entry in counts]}
        arguments.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
