"""The schedule: rounds in which every contestant of every cell is sampled once, in random order, until it is enough.

A cell is one size, dtype, mode and pass. In it compete the activations, ReLU (what the others are compared with), ReLU
once more under another name (the A/A test), and the roofs of the traffic patterns that occur. The first round, of
several processes the first one's, finds out how many calls a sample takes, and is left out. A cell ends when each of
its ratios is known as well as was asked; the rest ends with the budget. Order and inputs come from named streams.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from relubench.activations import ActivationChoice, build, select
from relubench.activations.definition import Activation
from relubench.errors import RelubenchError
from relubench.models.random_streams import stream
from relubench.statistics import timings
from relubench.timing.clocks import Clock
from relubench.timing.operators import TORCH_DTYPES, Arena, Task, Unmeasurable, task
from relubench.timing.request import DTYPES, Request, Size
from relubench.timing.roof import roof_task
from relubench.timing.traffic import patterns

BASE = "relu"
"""What ratios are taken to where a cell does not name another."""

AGAIN = " again"
"""What the base's second name, for the A/A test, ends in."""

SAMPLE_S = 0.003
"""A sample repeats a short call until it lasts about this long."""

COLD_CACHES = 2
"""From this many times the last cache on, input and output have left it when they are needed again."""


@dataclass(slots=True)
class Contestant:
    """One task of a cell with its samples, in ns an element, one a round."""

    label: str
    role: str
    """activation (what is compared), base, twin or roof."""
    task: Task | None
    number: int = 1
    """Calls a sample."""
    samples: list[float] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    """The place in its round at which each sample was taken."""
    first: float | None = None
    """The round that is left out."""
    failure: str = ""
    skipped: bool = False
    """It has no such form: no row."""


@dataclass(slots=True)
class Cell:
    """One size, dtype, mode and pass."""

    size: Size
    dtype: str
    mode: str
    name: str
    """The pass."""
    cold: bool
    contestants: list[Contestant] = field(default_factory=list)
    base: str = BASE
    done: bool = False
    rounds: list[int] = field(default_factory=list)
    """Of each process, where several have measured."""

    def one(self, label: str) -> Contestant:
        return next(one for one in self.contestants if one.label == label)

    @property
    def twin(self) -> Contestant:
        """The base once more."""
        return self.one(self.base + AGAIN)

    @property
    def running(self) -> list[Contestant]:
        return [one for one in self.contestants if one.task is not None]

    def ratio(self, one: Contestant) -> timings.Estimate:
        """The ratio to the base over the rounds that both have."""
        base = self.one(self.base).samples
        return self.estimate([mine / other for mine, other in zip(one.samples, base, strict=False)])

    def estimate(self, values: Sequence[float]) -> timings.Estimate:
        """What values of the rounds come to, over the processes where several have measured."""
        return timings.of_rounds(values, self.rounds)

    @property
    def stamp(self) -> tuple[int, str, str, str]:
        """What tells it from other cells."""
        return self.size.elements, self.dtype, self.mode, self.name

    def enough(self, rel_ci: float) -> bool:
        """Whether every ratio's interval is as narrow as was asked."""
        judged = [one for one in self.running if one.role in ("activation", "twin")]
        return all(len(one.samples) > 0 and self.ratio(one).relative_width <= rel_ci for one in judged)


@dataclass(slots=True)
class Session:
    """A measurement in progress; see `run`."""

    request: Request
    cells: list[Cell]
    clock: Clock
    now: Callable[[], float] = time.perf_counter
    rounds: int = 0
    ended: str = ""
    """interval or budget: what ended it."""
    seconds: float = 0.0
    before: int = 0
    """Rounds that other processes had: the order goes on from there."""
    calibrated: bool = False
    """Whether it is known how many calls a sample takes, so that no round is left out."""

    def run(self) -> Iterator[float]:
        """Measure; yields after every round the share of the budget that is used."""
        start = self.now()
        if not self.calibrated:
            self._round(first=True, late=lambda: False)
            yield (self.now() - start) / self.request.budget_s
        while True:
            begun = self.now()
            # One round is measured whatever it takes: a row without a number would say less than a late one.
            sure = self.rounds == 0
            late = (lambda: False) if sure else lambda: self.now() - start >= self.request.budget_s
            self._round(first=False, late=late)
            self.rounds += 1
            for cell in self.cells:
                cell.done = cell.done or cell.enough(self.request.rel_ci)
            self.seconds = self.now() - start
            yield self.seconds / self.request.budget_s
            if all(cell.done for cell in self.cells):
                self.ended = "interval"
                return
            if self.seconds + 0.5 * (self.now() - begun) >= self.request.budget_s:
                self.ended = "budget"
                return

    def _round(self, first: bool, late: Callable[[], bool]) -> None:
        """Sample every contestant of every open cell once. A cell is sampled whole or not at all."""
        generator = stream(self.request.seed, "speed-order", -1 if first else self.before + self.rounds)
        # Small sizes first: what a cell finds in the cache does not depend on which cell came before then.
        for place in torch.randperm(len(self.cells), generator=generator).tolist():
            cell = self.cells[place]
            if cell.done or late():
                continue
            order = torch.randperm(len(cell.running), generator=generator).tolist()
            contestants = cell.running
            for position, number in enumerate(order):
                self._sample(cell, contestants[number], position, first)

    def _sample(self, cell: Cell, one: Contestant, position: int, first: bool) -> None:
        assert one.task is not None
        try:
            one.task.refill()
            if first:
                seconds = self.clock.sample(one.task.call, 1, cold=cell.cold)
                one.number = max(1, round(SAMPLE_S / max(seconds, 1e-9)))
                one.first = 1e9 * seconds / (one.task.calls * cell.size.elements)
                return
            seconds = self.clock.sample(one.task.call, one.number, cold=cell.cold)
        except Exception as problem:
            one.failure, one.task = reason(problem), None
            return
        one.samples.append(1e9 * seconds / (one.task.calls * cell.size.elements))
        one.positions.append(position)


def prepare(
    request: Request, choices: Sequence[ActivationChoice], *, device: str, last_cache: int, clock: Clock
) -> Session:
    """Every cell with its contestants, each tried once; what raises is kept as a failure, with its reason."""
    built = {choice.label: _built(choice) for choice in choices}
    columns = max((one.columns for one in built.values() if isinstance(one, Activation)), default=1)
    cells: list[Cell] = []
    for size in request.sizes:
        for dtype in request.dtypes:
            pool = "inplace" in request.passes
            arena = Arena.make(size.elements, columns, TORCH_DTYPES[dtype], device, request.seed, pool=pool)
            cold = 2 * size.elements * DTYPES[dtype] >= COLD_CACHES * last_cache
            for mode in ("eager", "compiled") if request.compiled else ("eager",):
                for name in request.passes:
                    cell = Cell(size, dtype, mode, name, cold)
                    cell.contestants = _contestants(cell, arena, built)
                    if any(one.role == "activation" and not one.skipped for one in cell.contestants):
                        cells.append(cell)
    return Session(request, cells, clock)


def reason(problem: BaseException) -> str:
    """Why something failed, in one line."""
    if isinstance(problem, RelubenchError):
        return problem.message
    text = (str(problem).strip().splitlines() or [""])[0]
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__


def _built(choice: ActivationChoice) -> Activation | str:
    try:
        return build(choice)
    except Exception as problem:
        return reason(problem)


def _contestants(cell: Cell, arena: Arena, built: dict[str, Activation | str]) -> list[Contestant]:
    relu = build(select([BASE])[0])
    found = [_try(label, "activation", one, cell, arena) for label, one in built.items()]
    if BASE not in built:
        found.append(_try(BASE, "base", relu, cell, arena))
    found.append(_try(BASE + AGAIN, "twin", relu, cell, arena))
    needed = sorted({name for one in found if one.task for name in patterns(one.task.traffic)})
    roofs = [Contestant(name, "roof", roof_task(name, arena)) for name in needed]
    for one in roofs:
        assert one.task is not None
        one.task.refill()
        one.task.call()
    return [*found, *roofs]


def _try(label: str, role: str, activation: Activation | str, cell: Cell, arena: Arena) -> Contestant:
    if isinstance(activation, str):
        return Contestant(label, role, None, failure=activation)
    try:
        with torch.no_grad():
            return Contestant(label, role, task(activation, cell.name, arena, compiled=cell.mode == "compiled"))
    except Unmeasurable as why:
        return Contestant(label, role, None, failure=str(why), skipped=True)
    except Exception as problem:
        return Contestant(label, role, None, failure=reason(problem))
