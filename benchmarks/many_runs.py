"""`python -m benchmarks.many_runs`: what 100,000 runs cost to plan, and `relubench runs` to list, once they are stored.

Planning is `Study.open` and the jobs of all seeds of one activation. The stored runs are the records of one real
training of 30 epochs with other ids, written by the store itself, but without waiting for the disk. The command makes
the list, each time in a process of its own: where the index is missing, then with it, then with 100 runs more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from relubench.executors.inline import InlineExecutor
from relubench.experiments.config import experiment
from relubench.experiments.study import Study
from relubench.runs.store import Store

PLAN = """
import sys
from pathlib import Path
from relubench.experiments.config import experiment
from relubench.experiments.study import Study

values = {"act": ["relu"], "seeds": list(range(int(sys.argv[1]))), "device": "cpu"}
study = Study.open(experiment(values), runs_dir=Path(sys.argv[2]))
jobs = study._jobs(study.specs, False)
assert len(jobs) >= 1
"""

STORE = """
import sys
from pathlib import Path
from benchmarks.many_runs import store_runs
store_runs(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
"""
"""A process of its own: what this one holds would count as the memory of those that it starts."""

LIST = "import sys; from relubench.__main__ import run; sys.exit(run(sys.argv[1:]))"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a process took."""

    what: str
    runs: int
    seconds: float
    processor_seconds: float
    memory_mb: float

    def __str__(self) -> str:
        times = f"{self.seconds:.2f} s, {self.processor_seconds:.2f} processor seconds"
        return f"{self.what}: {self.runs} runs, {times}, {self.memory_mb:.0f} MB"


def cost(what: str, runs: int, code: str, *words: str) -> Cost:
    """What a process of its own took that runs this code."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        raise SystemExit(f"{what} failed")
    return Cost(
        what=what,
        runs=runs,
        seconds=seconds,
        processor_seconds=used.ru_utime + used.ru_stime,
        memory_mb=used.ru_maxrss / 1024,
    )


@contextmanager
def without_waiting_for_the_disk() -> Iterator[None]:
    """Inside, nothing is flushed: the records are made up, and need not survive."""
    real, os.fsync = os.fsync, lambda descriptor: None
    try:
        yield
    finally:
        os.fsync = real


def store_runs(root: Path, first: int, last: int) -> None:
    """Store these runs: copies of one training with seeds and ids of their own."""
    values = {"act": ["relu"], "model": {"name": "mlp-1x4"}, "device": "cpu", "keep": "none", "train": {"epochs": 30}}
    with tempfile.TemporaryDirectory() as folder:
        study = Study.open(experiment(values), runs_dir=Path(folder), executor=InlineExecutor)
        list(study.run())
        spec, result, wrong = study.specs[0], study.results[0], study.wrong(study.results[0])
        timing = study.timings[result.id]
    assert timing is not None
    store = Store(root)
    with without_waiting_for_the_disk():
        for seed in range(first, last):
            run = replace(spec, seed=seed)
            store.put(replace(result, id=run.id, spec={**result.spec, "seed": seed}), timing, wrong, None)


def main(
    runs: Annotated[int, typer.Option(help="Runs to plan, and to list.")] = 100_000,
    output: Annotated[Path | None, typer.Option(help="A JSON file for the figures.")] = None,
) -> None:
    """Measure, and print a line for each step."""
    costs: list[Cost] = []

    def measure(what: str, runs: int, code: str, *words: str) -> None:
        costs.append(cost(what, runs, code, *words))
        print(costs[-1], flush=True)

    with tempfile.TemporaryDirectory() as folder:
        measure("planned", runs, PLAN, str(runs), folder)
        subprocess.run([sys.executable, "-c", STORE, folder, "0", str(runs)], check=True)
        words = ("runs", "--runs-dir", folder)
        measure("listed without an index", runs, LIST, *words)
        for _ in range(3):
            measure("listed", runs, LIST, *words)
        subprocess.run([sys.executable, "-c", STORE, folder, str(runs), str(runs + 100)], check=True)
        measure("listed with 100 new runs", runs + 100, LIST, *words)
    if output is not None:
        output.write_text(json.dumps([asdict(entry) for entry in costs], indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
