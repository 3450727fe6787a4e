"""A measurement over several processes, one after another, each with a part of the budget.

Some kernels are faster or slower for as long as a process lives, most likely by where its stack and libraries happen to
lie: on an AMD EPYC gelu's forward and backward pass took 2.5 to 3.1 times relu's, process by process
(benchmarks/results/speed-aa.json). Within one of them no number of rounds shows it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from relubench.errors import ComputeError
from relubench.statistics.timings import LEAST_PROCESSES
from relubench.system.interrupts import Held
from relubench.system.processes import Stderr, command, ending, environment, folder, lacks_of_memory
from relubench.timing.clocks import choose_clock
from relubench.timing.operators import Task
from relubench.timing.preparation import check_measurable
from relubench.timing.request import Request, Size
from relubench.timing.schedule import Cell, Contestant, Session
from relubench.timing.traffic import Traffic

LEAST, MOST = LEAST_PROCESSES, 20
"""Processes; a longer budget than MOST parts makes each part longer."""
PART_S = 12.0
"""A budget has as many parts as it has of these; a part's start, about 5 s, is in it."""
SMALLER = "repeat it with a smaller --size or fewer --act"
START_SHARE = 1 / 2
"""Where starts would take more than this share of the budget, there are fewer parts."""
ABSENT: dict[str, Any] = {"failure": "not every process could measure it"}


def parts(request: Request, device: str) -> int:
    """How many processes measure in turn: one on a GPU, for compiled forms, and where the budget is short."""
    number = min(MOST, int(request.budget_s // PART_S))
    return number if device == "cpu" and not request.compiled and number >= LEAST else 1


class Parts:
    """The session that several processes make together; see `run`."""

    def __init__(self, request: Request, acts: Sequence[str]) -> None:
        self.request, self.acts = request, list(acts)
        self.session = Session(request, [], choose_clock("cpu", request.threads))
        self.done = 0
        self.warnings: list[str] = []

    def run(self) -> Iterator[tuple[int, int, float]]:
        """Measure; yields after every round the rounds so far, the cells still open, and the used share of the budget.

        Raises ComputeError where no activation can be measured, or where the first process ends without its samples;
        where a later one does, what the others found is kept.
        """
        session, budget, number = self.session, self.request.budget_s, parts(self.request, "cpu")
        start = time.monotonic()
        while not session.ended:
            begun, before, told = time.monotonic(), session.rounds, {"rounds": 0}
            yield before, len(session.cells), (begun - start) / budget
            # A part that ended early leaves its time to the others.
            until = begun + (start + budget - begun) / max(1, number - self.done)
            try:
                for told in self._part(until):
                    now = time.monotonic()
                    if self.done == 0 and told["rounds"] == 0:
                        number = max(LEAST, min(number, int(START_SHARE * budget / (now - begun))))
                    yield before + told["rounds"], told["open"], (now - start) / budget
            except ComputeError as problem:
                if self.done == 0:
                    raise
                self.warnings.append(f"warning: {problem.message}; what the {self.done} before it found is given")
                session.ended = "failure"
                break
            self._take(told)
            session.seconds = time.monotonic() - start
            if self.done >= LEAST and all(cell.enough(self.request.rel_ci) for cell in session.cells):
                session.ended = "interval"
            elif session.seconds + 0.5 * (time.monotonic() - begun) >= budget:
                session.ended = "budget"

    def _part(self, until: float) -> Iterator[dict[str, Any]]:
        """What one process tells, line by line; the last has its samples. ComputeError where it never comes to that."""
        cells = self.session.cells
        calls = [(cell.stamp, {one.label: one.number for one in cell.contestants}) for cell in cells] or None
        asked = {"request": asdict(self.request), "acts": self.acts, "before": self.session.rounds}
        lacks = lacks_of_memory()
        with Held():
            process = subprocess.Popen(
                command("from relubench.timing.process import main\nmain()"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**environment(), "PYTHONIOENCODING": "utf-8"},
                cwd=folder(),
                text=True,
            )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        stderr = Stderr(process.stderr)
        told: dict[str, Any] = {}
        try:
            with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
                stdin.write(json.dumps({**asked, "until": until, "calls": calls}))
            for line in process.stdout:
                stderr.has_begun.set()
                # One that is killed may leave half a line.
                told = json.loads(line) if line.endswith("\n") else {}
                if "rounds" in told:
                    yield told
        finally:
            process.kill()
            code = process.wait()
            process.stdout.close()
        if "cells" not in told:
            raise ComputeError(
                f"a process that measures {_how_it_ended(told, code, lacks, stderr.last_lines())}",
                told.get("hint") or SMALLER,
            )

    def _take(self, told: dict[str, Any]) -> None:
        """Add a process's samples to those of the others."""
        session = self.session
        if not session.cells:
            session.cells = [_cell(one) for one in told["cells"]]
            check_measurable(session)
        by_stamp = {_cell(found).stamp: found["contestants"] for found in told["cells"]}
        for cell in session.cells:
            by_label = {one["label"]: one for one in by_stamp.get(cell.stamp, [])}
            cell.rounds.append(max((len(one["samples"]) for one in by_label.values()), default=0))
            for one in cell.contestants:
                _add(one, by_label.get(one.label, ABSENT))
        session.rounds += told["rounds"]
        self.done += 1


def _how_it_ended(told: dict[str, Any], code: int, lacks: int | None, last_lines: str) -> str:
    if "error" in told:
        return f"failed: {told['error']}"
    return ending(code, lacks, last_lines)[0]


def _cell(found: dict[str, Any]) -> Cell:
    """A cell as a process describes it, without samples."""
    cell = Cell(Size(**found["size"]), found["dtype"], found["mode"], found["name"], found["cold"])
    for one in found["contestants"]:
        task = one["task"] and Task(
            call=_measured_elsewhere,
            refill=_measured_elsewhere,
            traffic=tuple(Traffic(**traffic) for traffic in one["task"]["traffic"]),
            storage=one["task"]["storage"],
            kept_bytes=one["task"]["kept_bytes"],
            calls=one["task"]["calls"],
        )
        contestant = Contestant(one["label"], one["role"], task, one["number"], skipped=one["skipped"])
        contestant.first, contestant.failure = one["first"], one["failure"]
        cell.contestants.append(contestant)
    return cell


def _add(one: Contestant, found: dict[str, Any]) -> None:
    """A contestant's samples of one more process; what has failed in any of them has failed."""
    one.failure = one.failure or found["failure"]
    if one.failure:
        one.task, one.samples, one.positions = None, [], []
        return
    one.samples += found["samples"]
    one.positions += found["positions"]


def _measured_elsewhere() -> None:
    raise AssertionError("this task belongs to another process")
