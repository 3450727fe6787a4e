"""Runs peers in processes of their own, round after round, each round in another order."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.peers.task import Measurement, Task

ROOT = Path(__file__).parents[2]
ORDER_SEED = 20110411
"""Of the order of the peers within each round."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One peer's measurement in one round, or why there is none."""

    peer: str
    round: int
    measurement: Measurement | None
    process_seconds: float
    """The whole life of the process: start-up, imports, data, compilation, training."""
    neighbours: float
    """Cores that others kept busy meanwhile: more than a tenth or so, and it says nothing."""
    error: str = ""

    def images_per_second(self, task: Task) -> float | None:
        """Training images (of all networks) a second, validation included."""
        if self.measurement is None:
            return None
        return task.images * task.epochs * task.members / self.measurement.seconds

    def to_json(self, task: Task) -> dict[str, Any]:
        return {
            "peer": self.peer,
            "round": self.round,
            "images_per_second": self.images_per_second(task),
            "process_seconds": self.process_seconds,
            "neighbours": self.neighbours,
            "error": self.error,
            **(self.measurement.to_json() if self.measurement else {}),
        }


def measure(peer: str, task: Task, *, number: int = 0, timeout: float | None = None) -> Sample:
    """Run one peer in a fresh process and wait for it."""
    neighbours = machine.Neighbours()
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        arguments = [peer, json.dumps(task.to_json()), str(result)]
        started = time.perf_counter()
        measurement, error = _wait([sys.executable, "-m", "benchmarks.peers.child", *arguments], result, timeout)
        passed = time.perf_counter() - started
    if measurement is not None and measurement.command_seconds is not None:
        passed = measurement.command_seconds
    return Sample(
        peer=peer,
        round=number,
        measurement=measurement,
        process_seconds=passed,
        neighbours=neighbours.cores(),
        error=error,
    )


def _wait(command: Sequence[str], result: Path, timeout: float | None) -> tuple[Measurement | None, str]:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return None, f"took more than {timeout:.0f} s"
    if done.returncode or not result.exists():
        lines = done.stderr.strip().splitlines()
        return None, lines[-1] if lines else f"exit code {done.returncode}"
    return Measurement(**json.loads(result.read_text())), ""


def interleave(peers: Sequence[str], tasks: dict[int, Task], *, timeout: float | None = None) -> Iterator[Sample]:
    """Every peer once in each round; `tasks` holds a round's task, which differs from the others' in its seed.

    A peer that fails is not tried again.
    """
    shuffle = random.Random(ORDER_SEED).shuffle
    left = list(peers)
    for number, task in tasks.items():
        shuffle(left)
        for peer in list(left):
            sample = measure(peer, task, number=number, timeout=timeout)
            if sample.measurement is None:
                left.remove(peer)
            yield sample
