"""Results as the engine leaves them, without an engine: errors drawn from a shared difficulty of the test examples."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from relubench.reports.figures.source import source_of
from relubench.reports.report import run_records
from relubench.reports.training.summary import summarize
from relubench.reports.training.table import training_report
from relubench.runs.result import EpochPoint, RunResult, Timing


@dataclass
class Lab:
    """Runs with their timings and masks, made one activation at a time."""

    results: list = field(default_factory=list)
    timings: dict = field(default_factory=dict)
    masks: dict = field(default_factory=dict)

    def train(self, activation, *, seeds=3, scale=1.0, epochs=8, examples=2000, **spec):
        difficulty = np.random.default_rng(0).beta(0.1, 1.9, examples)
        for seed in range(seeds):
            rng = np.random.default_rng([seed, *activation.encode()])
            wrong = rng.random(examples) < np.minimum(difficulty * scale, 1)
            self._add(activation, seed, wrong, rng, epochs, spec)
        return self

    def _add(self, activation, seed, wrong, rng, epochs, spec):
        error, number = float(100 * wrong.mean()), len(self.results)
        points = range(1, epochs + 1)
        curve = [
            EpochPoint(
                epoch=e, train_loss=1 / e, valid_loss=1 / e, valid_error_pct=error + 9 / e + rng.random() / 5, lr=0.1
            )
            for e in points
        ]
        full = {"activation": activation, "dataset": "mnist", "model": "mlp-3x1000", "seed": seed, "lr": 0.1}
        full |= {"init": "xavier", "pretraining": "none", "protocol": "paper", "l1": 0.0} | spec
        run = RunResult(
            id=f"run{number:04d}",
            spec=full,
            outcome="ok",
            parameters=2797010,
            path="cpu, 1 thread",
            epochs=epochs,
            best_epoch=epochs,
            valid_error_pct=error + 0.1,
            test_error_pct=error,
            test_examples=wrong.size,
            sparsity_pct=76.0,
            curve=curve,
        )
        self.results.append(run)
        self.masks[run.id] = wrong
        self.timings[run.id] = Timing(
            seconds=60.0 + seed,
            epoch_seconds=[5.0 * e for e in points],
            images_per_second=5000.0,
            host="here",
            finished="2025-01-01T00:00:00Z",
        )

    def spoil(self, activation, outcome, *, seeds, message="", error=None):
        """Gives those seeds of an activation an outcome, and takes their test error away."""
        for place, run in enumerate(self.results):
            if run.spec["activation"] == activation and run.spec["seed"] in seeds:
                self.results[place] = replace(run, outcome=outcome, message=message, test_error_pct=error)
        return self

    def report(self, **keywords):
        """The report of the runs, as a command makes it."""
        runs = run_records(self.results, self.timings, lambda run: self.masks.get(run.id))
        return replace(training_report(self.summary(), device="here", runs=runs), **keywords)

    def source(self, **keywords):
        """What figures are made from."""
        return source_of(self.report(**keywords))

    def summary(self):
        return summarize(self.results, self.timings, lambda run: self.masks.get(run.id))


@pytest.fixture
def lab():
    return Lab()
