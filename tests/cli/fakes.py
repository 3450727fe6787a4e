"""The program in a process of its own, results out of thin air, and a study that trains nothing."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from relubench.experiments.config import ExperimentConfig
from relubench.experiments.events import Event
from relubench.runs.result import EpochPoint, RunResult, Timing

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ended]


@contextmanager
def training_here() -> Iterator[None]:
    """Studies train in this process, which has torch already: a worker takes seconds to import it."""
    import torch

    from relubench.executors.inline import InlineExecutor
    from relubench.experiments import executor_choice

    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor_choice, "LocalExecutor", lambda device, store, note: InlineExecutor(store))
        yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


def program(*argv: str, script: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own: `python -m relubench ARGV`, or a Python script."""
    command = [sys.executable, *(["-c", script] if script else ["-m", "relubench"]), *argv]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment}, timeout=300, check=False
    )


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program in bash, with redirections and pipes: `relubench ARGV | head -1`."""
    script = f"set -o pipefail; {command.replace('relubench', f'{shlex.quote(sys.executable)} -m relubench', 1)}"
    env = {**os.environ, **environment}
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=ROOT, env=env, timeout=300, check=False
    )


def result(activation: str = "relu", seed: int = 0, outcome: Any = "ok", run_id: str = "", **spec: Any) -> RunResult:
    """A finished run of two epochs on 40 test examples."""
    ok = outcome in ("ok", "stalled")
    base = {"activation": activation, "dataset": "digits", "model": "mlp-3x128", "seed": seed, "lr": 0.1}
    return RunResult(
        id=run_id or f"{sum(map(ord, activation)) * 31 + seed:016x}",
        spec={**base, "init": "xavier", "hidden": [128, 128, 128], "protocol": "paper", **spec},
        outcome=outcome,
        message="" if ok else "the loss became nan",
        parameters=1000,
        path="cpu, 1 thread",
        epochs=2,
        best_epoch=2 if ok else None,
        valid_error_pct=5.0 if ok else None,
        test_error_pct=10.0 if ok else None,
        test_examples=40,
        sparsity_pct=50.0 if ok else None,
        curve=[
            EpochPoint(epoch=1, train_loss=1.0, valid_loss=0.9, valid_error_pct=7.0, lr=0.1),
            EpochPoint(epoch=2, train_loss=0.5, valid_loss=0.4, valid_error_pct=5.0, lr=0.1),
        ],
        versions={"torch": "2.9"},
    )


def timing(seconds: float = 1.5) -> Timing:
    return Timing(
        seconds=seconds,
        epoch_seconds=[seconds / 2, seconds],
        images_per_second=5800.0,
        host="here",
        finished="2026-01-02T03:04:05+00:00",
    )


def mask(seed: int) -> np.ndarray:
    """Four of 40 test examples wrong: other ones for every seed."""
    return np.isin(np.arange(40), np.arange(4) + seed)


@dataclass
class FakeStudy:
    """What `relubench.experiments.study.Study` promises, from a script; a result of None is where Ctrl-C comes."""

    script: Sequence[RunResult | None] = ()
    config: ExperimentConfig | None = None
    asked: dict[str, Any] = field(default_factory=dict)
    results: list[RunResult] = field(default_factory=list)
    tuned: dict[str, Any] = field(default_factory=dict)
    closed: bool = False
    store: Any = None
    device: Any = field(default_factory=lambda: SimpleNamespace(name="Test CPU", kind="cpu"))

    def open(self, config: ExperimentConfig, **asked: Any) -> FakeStudy:
        self.config, self.asked = config, asked
        asked["note"]("preparing digits")
        return self

    @property
    def fresh(self) -> bool:
        return bool(self.asked.get("fresh"))

    @property
    def total(self) -> int:
        return len(self.script)

    @property
    def typical_epochs(self) -> int:
        return 2

    @property
    def timings(self) -> dict[str, Timing | None]:
        return {run.id: timing() for run in self.results}

    @property
    def table_results(self) -> list[RunResult]:
        return self.results

    def wrong(self, run: RunResult) -> np.ndarray | None:
        return mask(run.spec["seed"]) if run.test_error_pct is not None else None

    def run(self) -> Iterator[Event]:
        try:
            for run in self.script:
                if run is None:
                    raise KeyboardInterrupt
                about: dict[str, Any] = {"run": run.id, "activation": run.spec["activation"], "seed": run.spec["seed"]}
                yield Event(kind="started", epochs=2, **about)
                self.results.append(run)
                kind = "failed" if run.outcome == "failed" else "done"
                yield Event(
                    kind=kind, epochs=2, epochs_done=2, outcome=run.outcome, message=run.message, hint="a hint", **about
                )
        finally:
            self.closed = True
