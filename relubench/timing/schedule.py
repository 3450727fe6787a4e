"""The schedule: rounds in which every candidate of every cell is sampled once, in random order, until it is enough.

A cell is one size, dtype, mode and pass. Its candidates are the activations, ReLU (the base of every ratio), ReLU once
more under another name (the A/A control), and the roofs of the traffic patterns that occur. The first round (of several
processes, that of the first) finds the number of calls of a sample, and is left out. A cell ends when the interval of
each ratio is narrow enough; the others end with the budget. Order and inputs come from named streams.
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
from relubench.timing.buffers import TORCH_DTYPES, Buffers
from relubench.timing.clocks import Clock
from relubench.timing.operators import TimedCall, Unmeasurable, timed_call
from relubench.timing.request import DTYPES, RECORDED, Request, Size
from relubench.timing.roof import timed_roof
from relubench.timing.traffic import patterns

BASE = "relu"
"""The base of the ratios where a cell does not name another."""

AGAIN = " again"
"""The suffix of the base's second name, that of the A/A control."""

SAMPLE_S = 0.003
"""A sample repeats a short call until it lasts about this long."""

COLD_CACHES = 2
"""A cell is cold if input and output together are this many times the last cache or more."""


@dataclass(slots=True)
class Candidate:
    """One call that competes in a cell, with its samples in ns an element, one for each round."""

    label: str
    role: str
    """activation (what is compared), base, twin (the A/A control) or roof."""
    timed_call: TimedCall | None
    number: int = 1
    """The number of calls of a sample."""
    samples: list[float] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    """The position of each sample in its round."""
    first: float | None = None
    """The sample of the round that is left out."""
    failure: str = ""
    skipped: bool = False
    """Whether it has no such form: then it has no row."""


@dataclass(slots=True)
class Cell:
    """One size, dtype, mode and pass."""

    size: Size
    dtype: str
    mode: str
    name: str
    """The pass."""
    cold: bool
    candidates: list[Candidate] = field(default_factory=list)
    base: str = BASE
    done: bool = False
    rounds: list[int] = field(default_factory=list)
    """The number of rounds of each process, if several have measured."""

    def candidate(self, label: str) -> Candidate:
        return next(candidate for candidate in self.candidates if candidate.label == label)

    @property
    def control(self) -> Candidate:
        """The A/A control: the base once more."""
        return self.candidate(self.base + AGAIN)

    @property
    def running(self) -> list[Candidate]:
        return [candidate for candidate in self.candidates if candidate.timed_call is not None]

    def ratio(self, candidate: Candidate) -> timings.Estimate:
        """The ratio to the base, over the rounds in which both were sampled."""
        base = self.candidate(self.base).samples
        return self.estimate(
            [sample / base_sample for sample, base_sample in zip(candidate.samples, base, strict=False)]
        )

    def estimate(self, values: Sequence[float]) -> timings.Estimate:
        """The estimate from values of all rounds, over the processes if several have measured."""
        return timings.of_rounds(values, self.rounds)

    @property
    def stamp(self) -> tuple[int, str, str, str]:
        """The values that identify the cell."""
        return self.size.elements, self.dtype, self.mode, self.name

    def enough(self, rel_ci: float) -> bool:
        """Whether the interval of every ratio is narrow enough."""
        compared = [candidate for candidate in self.running if candidate.role in ("activation", "twin")]
        return all(
            len(candidate.samples) > 0 and self.ratio(candidate).relative_width <= rel_ci for candidate in compared
        )


@dataclass(slots=True)
class Session:
    """A measurement in progress; see `run`."""

    request: Request
    cells: list[Cell]
    clock: Clock
    now: Callable[[], float] = time.perf_counter
    rounds: int = 0
    ended: str = ""
    """What ended it: interval or budget."""
    seconds: float = 0.0
    rounds_before: int = 0
    """The rounds of earlier processes, after which this one continues the random order."""
    calibrated: bool = False
    """Whether the number of calls of a sample is known, so that no round is left out."""

    def run(self) -> Iterator[float]:
        """Measure; yields after every round the share of the budget that is used."""
        start = self.now()
        if not self.calibrated:
            self._round(first=True, late=lambda: False)
            yield (self.now() - start) / self.request.budget_s
        while True:
            round_start = self.now()
            # One round is measured even after the budget: a late number is better than none.
            is_first = self.rounds == 0
            late = (lambda: False) if is_first else lambda: self.now() - start >= self.request.budget_s
            self._round(first=False, late=late)
            self.rounds += 1
            for cell in self.cells:
                cell.done = cell.done or cell.enough(self.request.rel_ci)
            self.seconds = self.now() - start
            yield self.seconds / self.request.budget_s
            if all(cell.done for cell in self.cells):
                self.ended = "interval"
                return
            if self.seconds + 0.5 * (self.now() - round_start) >= self.request.budget_s:
                self.ended = "budget"
                return

    def _round(self, first: bool, late: Callable[[], bool]) -> None:
        """Sample every candidate of every open cell once; a cell is sampled completely or not at all."""
        generator = stream(self.request.seed, "speed-order", -1 if first else self.rounds_before + self.rounds)
        # Cells come in random order, so that no cell always finds the same data in the cache.
        for cell_index in torch.randperm(len(self.cells), generator=generator).tolist():
            cell = self.cells[cell_index]
            if cell.done or late():
                continue
            candidates = cell.running
            order = torch.randperm(len(candidates), generator=generator).tolist()
            for position, index in enumerate(order):
                self._sample(cell, candidates[index], position, first)

    def _sample(self, cell: Cell, candidate: Candidate, position: int, first: bool) -> None:
        assert candidate.timed_call is not None
        try:
            candidate.timed_call.refill()
            if first:
                seconds = self.clock.sample(candidate.timed_call.call, 1, cold=cell.cold)
                candidate.number = max(1, round(SAMPLE_S / max(seconds, 1e-9)))
                candidate.first = 1e9 * seconds / (candidate.timed_call.calls * cell.size.elements)
                return
            seconds = self.clock.sample(candidate.timed_call.call, candidate.number, cold=cell.cold)
        except Exception as problem:
            candidate.failure, candidate.timed_call = reason(problem), None
            return
        candidate.samples.append(1e9 * seconds / (candidate.timed_call.calls * cell.size.elements))
        candidate.positions.append(position)


def prepare(
    request: Request, choices: Sequence[ActivationChoice], *, device: str, last_cache: int, clock: Clock
) -> Session:
    """The session of all cells with their candidates, each called once; an exception becomes its failure."""
    built = {choice.label: _build_or_reason(choice) for choice in choices}
    activations = [activation for activation in built.values() if isinstance(activation, Activation)]
    inputs_per_unit = max((activation.inputs_per_unit for activation in activations), default=1)
    cells: list[Cell] = []
    for size in request.sizes:
        for dtype in request.dtypes:
            pool = "inplace" in request.passes
            shape = (size.elements, inputs_per_unit, TORCH_DTYPES[dtype], device, request.seed)
            buffers = {False: Buffers.make(*shape, pool=pool)}
            if request.inputs:
                buffers[True] = Buffers.make(*shape, pool=pool, inputs=request.inputs)
            cold = 2 * size.elements * DTYPES[dtype] >= COLD_CACHES * last_cache
            for mode in request.modes:
                for name in request.passes:
                    cell = Cell(size, dtype, mode, name, cold)
                    cell.candidates = _candidates(cell, buffers[mode.endswith(RECORDED)], built)
                    if any(candidate.role == "activation" and not candidate.skipped for candidate in cell.candidates):
                        cells.append(cell)
    return Session(request, cells, clock)


def reason(problem: BaseException) -> str:
    """The reason of a failure, in one line."""
    if isinstance(problem, RelubenchError):
        return problem.message
    text = (str(problem).strip().splitlines() or [""])[0]
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__


def _build_or_reason(choice: ActivationChoice) -> Activation | str:
    try:
        return build(choice)
    except Exception as problem:
        return reason(problem)


def _candidates(cell: Cell, buffers: Buffers, built: dict[str, Activation | str]) -> list[Candidate]:
    relu = build(select([BASE])[0])
    candidates = [_try_candidate(label, "activation", activation, cell, buffers) for label, activation in built.items()]
    if BASE not in built:
        candidates.append(_try_candidate(BASE, "base", relu, cell, buffers))
    candidates.append(_try_candidate(BASE + AGAIN, "twin", relu, cell, buffers))
    calls = [candidate.timed_call for candidate in candidates if candidate.timed_call is not None]
    for name in sorted({pattern for call in calls for pattern in patterns(call.traffic)}):
        roof = timed_roof(name, buffers)
        roof.refill()
        roof.call()
        candidates.append(Candidate(name, "roof", roof))
    return candidates


def _try_candidate(label: str, role: str, activation: Activation | str, cell: Cell, buffers: Buffers) -> Candidate:
    if isinstance(activation, str):
        return Candidate(label, role, None, failure=activation)
    try:
        with torch.no_grad():
            return Candidate(
                label, role, timed_call(activation, cell.name, buffers, compiled=cell.mode.startswith("compiled"))
            )
    except Unmeasurable as error:
        return Candidate(label, role, None, failure=str(error), skipped=True)
    except Exception as problem:
        return Candidate(label, role, None, failure=reason(problem))
