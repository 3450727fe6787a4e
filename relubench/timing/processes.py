"""A measurement over several processes, one after another, each with a part of the budget.

Some kernels are faster or slower for as long as a process lives, most likely because of the addresses of its stack and
libraries: on an AMD EPYC gelu's forward and backward pass took 2.5 to 3.1 times relu's, depending on the process
(benchmarks/results/speed-aa.json). Within one process no number of rounds shows it.
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
from relubench.system.device_kinds import DEVICES
from relubench.system.interrupts import UninterruptedBlock
from relubench.system.processes import Stderr, command, ending, environment, folder, num_memory_kills
from relubench.timing.clocks import choose_clock
from relubench.timing.operators import TimedCall
from relubench.timing.preparation import check_measurable
from relubench.timing.request import Request, Size
from relubench.timing.schedule import Candidate, Cell, Session
from relubench.timing.traffic import Traffic

LEAST, MOST = LEAST_PROCESSES, 20
"""The smallest and the largest number of processes; a budget for more than MOST gives each process more time."""
PART_S = 12.0
"""Seconds of the budget for each process, of which its start takes about 5."""
SMALLER = "repeat it with a smaller --size or fewer --act"
START_SHARE = 1 / 2
"""If starts would take more than this share of the budget, there are fewer processes."""
ABSENT: dict[str, Any] = {"failure": "not every process could measure it"}


def choose_num_processes(request: Request, device: str) -> int:
    """The number of processes that measure in turn: 1 on a GPU, for compiled forms, and with a short budget."""
    num_processes = min(MOST, int(request.budget_s // PART_S))
    return num_processes if DEVICES[device].is_processor and not request.compiled and num_processes >= LEAST else 1


class ProcessSeries:
    """A measurement by several processes, one after another; see `run`."""

    def __init__(self, request: Request, acts: Sequence[str]) -> None:
        self.request, self.acts = request, list(acts)
        self.session = Session(request, [], choose_clock("cpu", request.threads))
        self.done = 0
        self.warnings: list[str] = []

    def run(self) -> Iterator[tuple[int, int, float]]:
        """Measure; yields after every round the rounds so far, the cells still open, and the used share of the budget.

        Raises ComputeError where no activation can be measured, or where the first process ends without its samples;
        where a later one does, the samples of the others are kept.
        """
        session, budget, num_processes = self.session, self.request.budget_s, choose_num_processes(self.request, "cpu")
        start = time.monotonic()
        while not session.ended:
            part_start, rounds_before, message = time.monotonic(), session.rounds, {"rounds": 0}
            yield rounds_before, len(session.cells), (part_start - start) / budget
            # The others get the time of a process that ended early.
            until = part_start + (start + budget - part_start) / max(1, num_processes - self.done)
            try:
                for message in self._part(until):
                    now = time.monotonic()
                    if self.done == 0 and message["rounds"] == 0:
                        num_processes = max(LEAST, min(num_processes, int(START_SHARE * budget / (now - part_start))))
                    yield rounds_before + message["rounds"], message["open"], (now - start) / budget
            except ComputeError as problem:
                if self.done == 0:
                    raise
                self.warnings.append(f"warning: {problem.message}; what the {self.done} before it found is given")
                session.ended = "failure"
                break
            self._add_message(message)
            session.seconds = time.monotonic() - start
            if self.done >= LEAST and all(cell.enough(self.request.rel_ci) for cell in session.cells):
                session.ended = "interval"
            elif session.seconds + 0.5 * (time.monotonic() - part_start) >= budget:
                session.ended = "budget"

    def _part(self, until: float) -> Iterator[dict[str, Any]]:
        """The messages of one process, the last one with its samples; ComputeError where it ends without them."""
        lacks = num_memory_kills()
        with UninterruptedBlock():
            process = _start_process()
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        stderr = Stderr(process.stderr)
        message: dict[str, Any] = {}
        try:
            with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
                stdin.write(json.dumps(self._process_request(until)))
            for line in process.stdout:
                stderr.has_begun.set()
                # A process that is killed may leave half a line.
                message = json.loads(line) if line.endswith("\n") else {}
                if "rounds" in message:
                    yield message
        finally:
            process.kill()
            code = process.wait()
            process.stdout.close()
        if "cells" not in message:
            raise ComputeError(
                f"a process that measures {_failure_description(message, code, lacks, stderr.last_lines())}",
                message.get("hint") or SMALLER,
            )

    def _process_request(self, until: float) -> dict[str, Any]:
        """What the next process is to measure, until that time of the monotonic clock."""
        calls = []
        for cell in self.session.cells:
            calls.append((cell.stamp, {candidate.label: candidate.number for candidate in cell.candidates}))
        return {
            "request": asdict(self.request),
            "acts": self.acts,
            "before": self.session.rounds,
            "until": until,
            "calls": calls or None,
        }

    def _add_message(self, message: dict[str, Any]) -> None:
        """Add a process's samples to those of the others."""
        session = self.session
        if not session.cells:
            session.cells = [cell_from_json(record) for record in message["cells"]]
            check_measurable(session)
        by_stamp = {cell_from_json(record).stamp: record["contestants"] for record in message["cells"]}
        for cell in session.cells:
            by_label = {record["label"]: record for record in by_stamp.get(cell.stamp, [])}
            cell.rounds.append(max((len(record["samples"]) for record in by_label.values()), default=0))
            for candidate in cell.candidates:
                _add_samples(candidate, by_label.get(candidate.label, ABSENT))
        session.rounds += message["rounds"]
        self.done += 1


def _start_process() -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("from relubench.timing.process import main\nmain()"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environment(), "PYTHONIOENCODING": "utf-8"},
        cwd=folder(),
        text=True,
    )


def _failure_description(message: dict[str, Any], code: int, lacks: int | None, last_lines: str) -> str:
    if "error" in message:
        return f"failed: {message['error']}"
    return ending(code, lacks, last_lines)[0]


def cell_from_json(record: dict[str, Any]) -> Cell:
    """A cell as a process describes it, without samples."""
    cell = Cell(Size(**record["size"]), record["dtype"], record["mode"], record["name"], record["cold"])
    cell.candidates = [_candidate_from_json(candidate) for candidate in record["contestants"]]
    return cell


def _candidate_from_json(record: dict[str, Any]) -> Candidate:
    """A candidate as a process describes it, without samples."""
    call = record["task"]
    timed_call = call and TimedCall(
        call=_measured_elsewhere,
        refill=_measured_elsewhere,
        traffic=tuple(Traffic(**traffic) for traffic in call["traffic"]),
        storage=call["storage"],
        kept_bytes=call["kept_bytes"],
        calls=call["calls"],
    )
    candidate = Candidate(record["label"], record["role"], timed_call, record["number"], skipped=record["skipped"])
    candidate.first, candidate.failure = record["first"], record["failure"]
    return candidate


def _add_samples(candidate: Candidate, record: dict[str, Any]) -> None:
    """Add a candidate's samples of one more process; a candidate that failed in any process has failed."""
    candidate.failure = candidate.failure or record["failure"]
    if candidate.failure:
        candidate.timed_call, candidate.samples, candidate.positions = None, [], []
        return
    candidate.samples += record["samples"]
    candidate.positions += record["positions"]


def _measured_elsewhere() -> None:
    raise AssertionError("this call belongs to another process")
