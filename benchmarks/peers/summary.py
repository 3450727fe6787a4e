"""Medians, ratios and verdicts of a scenario's samples; pure functions of lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.peers.registry import BEST_PEER, CEILING, OURS, Goal
from benchmarks.peers.rounds import Sample
from benchmarks.peers.task import Task


@dataclass(frozen=True, slots=True)
class Spread:
    """A median over rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One peer over all rounds; None where it has no measurement."""

    peer: str
    rounds: int
    images_per_second: Spread | None
    ratio: Spread | None
    """Ours to theirs, taken within each round."""
    process_ratio: Spread | None
    """The same of whole processes: their seconds to ours."""
    compile_seconds: float | None
    process_seconds: float | None
    valid_error_pct: float | None
    """After the last epoch, the median over rounds (and networks)."""
    neighbours: float | None
    """The most of any round."""
    threads: str
    error: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def summarize(samples: Sequence[Sample], task: Task) -> list[Row]:
    """A row for each peer, the fastest first; failed ones last."""
    peers = list(dict.fromkeys(sample.peer for sample in samples))
    rows = [_row(peer, samples, task) for peer in peers]
    return sorted(rows, key=lambda row: -row.images_per_second.median if row.images_per_second else 0.0)


def _row(peer: str, samples: Sequence[Sample], task: Task) -> Row:
    mine = [sample for sample in samples if sample.peer == peer]
    good = [(one, one.measurement) for one in mine if one.measurement is not None]
    ours = {one.round: one for one in samples if one.peer == OURS and one.measurement is not None}
    pairs = [(ours[one.round], one) for one, _ in good if one.round in ours]
    last = [error for _, found in good for error in found.valid_error_pct[task.epochs - 1 :: task.epochs]]
    return Row(
        peer=peer,
        rounds=len(good),
        images_per_second=Spread.of([_rate(one, task) for one, _ in good]) if good else None,
        ratio=Spread.of([_rate(us, task) / _rate(one, task) for us, one in pairs]) if pairs else None,
        process_ratio=Spread.of([one.process_seconds / us.process_seconds for us, one in pairs]) if pairs else None,
        compile_seconds=median(found.compile_seconds for _, found in good) if good else None,
        process_seconds=median(one.process_seconds for one, _ in good) if good else None,
        valid_error_pct=median(last) if last else None,
        neighbours=max(one.neighbours for one, _ in good) if good else None,
        threads=good[0][1].threads if good else "",
        error=next((one.error for one in mine if one.error), ""),
    )


def _rate(sample: Sample, task: Task) -> float:
    rate = sample.images_per_second(task)
    assert rate is not None
    return rate


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A goal, and what was measured of it; None where either side is missing."""

    against: str
    at_least: float
    aim: float
    ratio: Spread | None

    @property
    def word(self) -> str:
        if self.ratio is None:
            return "not measured"
        if self.ratio.median >= self.aim:
            return "aim reached"
        return "reached" if self.ratio.median >= self.at_least else "MISSED"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.word}


def judge(rows: Sequence[Row], goals: Sequence[Goal]) -> list[Verdict]:
    """Each goal beside the measured ratio; the best peer is named."""
    by_name = {row.peer: row for row in rows}
    found = []
    for goal in goals:
        name = goal.against
        if name == BEST_PEER:
            others = [row.peer for row in rows if row.images_per_second and row.peer not in (OURS, CEILING)]
            name = others[0] if others else name
        row = by_name.get(name)
        label = name if name == goal.against else f"{goal.against} ({name})"
        found.append(
            Verdict(against=label, at_least=goal.at_least, aim=goal.aim, ratio=row.ratio if row is not None else None)
        )
    return found
