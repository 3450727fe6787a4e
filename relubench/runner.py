"""Carries out a study: takes from the store what is there, and trains the rest on worker processes.

    Study.open -> select activations, prepare data, resolve the device
    study.run  -> events, until every run is finished

On a processor every network is a job of its own, and as many single-threaded workers run as there are threads; a lone
run takes them all. On another device networks of one shape are one job, stacked.
"""

from __future__ import annotations

import contextlib
import errno
import sys
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from relubench import stack_file
from relubench.activations import Choice, select
from relubench.config import ExperimentConfig
from relubench.crew import Crew
from relubench.data import DataOptions, PreparedData, prepare
from relubench.device import Device, resolve
from relubench.errors import ComputeError, UsageError
from relubench.memory import BASE_BYTES, member_bytes, stack_members
from relubench.places import runs_root
from relubench.plan import LR_GRIDS, TUNING_SEED, RunSpec, expand, rows
from relubench.pretraining.identity import layer_id
from relubench.results import Event, EventKind, Outcome, RunResult, Timing
from relubench.stack import FROM_FILE
from relubench.stacking import import_file
from relubench.store import Store
from relubench.worker import Job


@dataclass(slots=True)
class Study:
    """One experiment being carried out; `results` grows while `run` is iterated."""

    config: ExperimentConfig
    choices: list[Choice]
    prepared: PreparedData
    device: Device
    store: Store
    fresh: bool
    note: Callable[[str], None]
    specs: list[RunSpec] = field(default_factory=list)
    """The runs to report, once the learning rates are known."""
    found: dict[str, RunResult] = field(default_factory=dict)
    unstored: dict[str, RunResult] = field(default_factory=dict)
    """Computed runs that the disk had no room for; their timings and masks are beside."""
    unstored_timings: dict[str, Timing] = field(default_factory=dict)
    unstored_wrong: dict[str, np.ndarray] = field(default_factory=dict)
    pretraining_rates: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Row (activation and method) -> the rates of its layers, where they were searched for."""

    @classmethod
    def open(
        cls,
        config: ExperimentConfig,
        *,
        data_dir: Path | None = None,
        runs_dir: Path | None = None,
        fresh: bool = False,
        note: Callable[[str], None] = lambda text: None,
    ) -> Study:
        """Everything that can be refused is refused here, before any work; data may be downloaded."""
        choices = select(config.act)
        store = Store(runs_root(runs_dir))
        _check_writable(store.root)
        device = resolve(config.device)
        options = DataOptions(image_size=config.data.image_size, train_size=config.data.train_size)
        prepared = prepare(config.data.name, data_dir=data_dir, options=options, progress=note)
        study = cls(config, choices, prepared, device, store, fresh, note)
        # Shapes and precision are checked even where the learning rates are not known yet.
        specs = study._expand([1.0 if config.train.lr == "auto" else config.train.lr] * len(study.rows))
        if config.train.lr != "auto" and not study._searches_stacks:
            study.specs = specs
        if config.pretrain.source is not None:
            file = stack_file.read(Path(config.pretrain.source))
            for spec in specs:
                if spec.stack is not None and spec.stack.source:
                    import_file(file, spec, store)
        study._check_own(specs)
        if config.model.match == "width" and all(choice.columns == 1 for choice in choices):
            note("--match width changes nothing here: none of the activations is gated")
        return study

    @property
    def rows(self) -> list[tuple[Choice, str]]:
        """What is compared: activations and methods of pre-training."""
        return rows(self.config, self.choices)

    @property
    def total(self) -> int:
        """Runs to report."""
        return len(self.rows) * len(self.config.seeds)

    @property
    def _searches_stacks(self) -> bool:
        return self.config.pretrain.lr == "auto" and not set(self.config.pretrain.methods) <= {"none", FROM_FILE}

    @property
    def results(self) -> list[RunResult]:
        """What is finished or failed so far, in the order asked for."""
        return [self.found[spec.id] for spec in self.specs if spec.id in self.found]

    @property
    def timings(self) -> dict[str, Timing | None]:
        return {run: self.unstored_timings.get(run) or self.store.timing(run) for run in self.found}

    def wrong(self, result: RunResult) -> np.ndarray | None:
        """Which test examples the run got wrong, bool [N]."""
        if result.id in self.unstored:
            return self.unstored_wrong.get(result.id)
        return self.store.wrong(result.id)

    def run(self) -> Generator[Event, None, None]:
        """Carry the study out. Closing the iterator stops the workers, which write their checkpoints first."""
        if self._searches_stacks:
            yield from self._tune_stacks()
        lr = self.config.train.lr
        rates = (yield from self._tune()) if lr == "auto" else [lr] * len(self.rows)
        self.specs = self._expand(rates)
        yield from self._carry_out(self.specs, tuning=False)

    def _expand(self, rates: Sequence[float], config: ExperimentConfig | None = None) -> list[RunSpec]:
        specs = expand(config or self.config, self.choices, self.prepared, self.device, rates)
        return [self._with_stack_rates(spec) for spec in specs]

    def _with_stack_rates(self, spec: RunSpec) -> RunSpec:
        """The run with the rates of pre-training that the search found."""
        found = self.pretraining_rates.get(_stack_name(spec))
        return spec if spec.stack is None or not found else replace(spec, stack=spec.stack.with_rates(found))

    def _check_own(self, specs: Sequence[RunSpec]) -> None:
        """Probe formulas and users' own activations, unless all their runs are stored: such a run passed before."""
        for choice in self.choices:
            mine = [spec for spec in specs if spec.activation == choice.label]
            if choice.kind == "table" or (mine and all(self._stored(spec) for spec in mine)):
                continue
            # Imports torch, which a study with nothing left to compute does without.
            from relubench.activations import probe

            # What a user's own code prints must not get between the rows.
            with contextlib.redirect_stdout(sys.stderr):
                found = probe(choice)
            for warning in found.warnings:
                self.note(f"{choice.label}: {warning}")
            if found.equals is not None:
                self.note(f"{choice.label} equals {found.equals}")

    def _stored(self, spec: RunSpec) -> bool:
        return not self.fresh and self.store.result(spec.id) is not None

    def _tune(self) -> Generator[Event, None, list[float]]:
        """Train every activation at every rate of the grid, on a seed that is not reported; the best one of each.

        Best is the lowest validation error, the larger rate where two are equal.
        """
        grid = LR_GRIDS[self.config.train.optimizer]
        alone = self.config.model_copy(update={"seeds": (TUNING_SEED,)})
        trials = {
            rate: [replace(spec, threads=min(spec.threads, 1)) for spec in specs]
            for rate in grid
            for specs in [self._expand([rate] * len(self.rows), alone)]
        }
        yield from self._carry_out([spec for specs in trials.values() for spec in specs], tuning=True)
        return [self._best_rate(place, trials) for place in range(len(self.rows))]

    def _tune_stacks(self) -> Generator[Event, None, None]:
        """Find each layer's rate of pre-training, bottom up: the lowest validation reconstruction error of the grid.

        On a seed that is not reported, as the paper did it (section 4.1); the larger rate where two are equal.
        """
        alone = self.config.model_copy(update={"seeds": (TUNING_SEED,)})
        # A control has the stack of the row that it controls.
        specs = {_stack_name(spec): spec for spec in self._expand([1.0] * len(self.rows), alone) if _trains_stack(spec)}
        for layer in range(max(spec.stack.layers for spec in specs.values() if spec.stack)):
            trials = {
                (name, rate): replace(
                    spec, threads=min(spec.threads, 1), stack=spec.stack.with_rates((*self._rates_below(name), rate))
                )
                for name, spec in specs.items()
                if spec.stack is not None
                for rate in LR_GRIDS["sgd"]
            }
            missing = [spec for spec in trials.values() if self.store.layer(layer_id(spec, layer)) is None]
            yield from self._work(self._jobs(missing, tuning=True, pretrain_only=True), tuning=True)
            for name in specs:
                mine = {rate: layer_id(spec, layer) for (of, rate), spec in trials.items() if of == name}
                self.pretraining_rates[name] = (*self._rates_below(name), self._best_stack_rate(name, layer, mine))
        for name, rates in self.pretraining_rates.items():
            self.note(f"{name}: learning rates of pre-training {', '.join(f'{rate:g}' for rate in rates)}")

    def _rates_below(self, name: str) -> tuple[float, ...]:
        return self.pretraining_rates.get(name, ())

    def _best_stack_rate(self, name: str, layer: int, layers: dict[float, str]) -> float:
        errors = {
            rate: found.error
            for rate, run in layers.items()
            if (found := self.store.layer(run)) is not None and found.error is not None
        }
        if not errors:
            raise ComputeError(
                f"--pretrain-lr auto: layer {layer + 1} of {name} trained at no learning rate of "
                f"{', '.join(f'{one:g}' for one in layers)}",
                "name one with --pretrain-lr, or see the messages above",
            )
        return min(errors, key=lambda rate: (errors[rate], -rate))

    def _best_rate(self, place: int, trials: dict[float, list[RunSpec]]) -> float:
        errors = {
            rate: result.valid_error_pct
            for rate, specs in trials.items()
            if (result := self.found.get(specs[place].id)) is not None and result.valid_error_pct is not None
        }
        choice, method = self.rows[place]
        label = choice.label if method == "none" else f"{choice.label} ({method})"
        if not errors:
            raise ComputeError(
                f"--lr auto: {label} trained at no learning rate of {', '.join(f'{one:g}' for one in trials)}",
                "name one with --lr, or see the messages above",
            )
        best = min(errors, key=lambda rate: (errors[rate], -rate))
        tried = ", ".join(f"{rate:g}: {errors[rate]:.2f} %" if rate in errors else f"{rate:g}: -" for rate in trials)
        self.note(f"{label}: learning rate {best:g} (validation error at {tried})")
        return best

    def _carry_out(self, specs: Sequence[RunSpec], *, tuning: bool) -> Iterator[Event]:
        """Events of these runs, stored ones first; afterwards `found` has them all."""
        self.store.sweep()
        pending: list[RunSpec] = []
        for spec in specs:
            result = None if self.fresh else self.store.result(spec.id)
            if result is None:
                pending.append(spec)
                continue
            self.found[spec.id] = result
            yield self._event("cached", spec, tuning, outcome=result.outcome, valid_error_pct=result.valid_error_pct)
        yield from self._work(self._jobs(pending, tuning), tuning)

    def _work(self, jobs: Sequence[Job], tuning: bool) -> Iterator[Event]:
        """Events of these jobs, until the workers have done them."""
        if not jobs:
            return
        by_id = {spec.id: spec for job in jobs for spec in job.specs}
        with Crew(self._workers(jobs), jobs) as crew:
            for message in crew.messages():
                yield self._handle(message, by_id[message["run"]], tuning)

    def _jobs(self, specs: Sequence[RunSpec], tuning: bool, pretrain_only: bool = False) -> list[Job]:
        """One job a network on a processor; elsewhere networks that differ in seed, rate or penalty share one."""
        groups: dict[RunSpec, list[RunSpec]] = {}
        for spec in specs:
            alone = spec if spec.device == "cpu" else replace(spec, seed=0, lr=0.0, l1=0.0)
            groups.setdefault(alone, []).append(spec)
        by_label = {choice.label: choice for choice in self.choices}
        jobs: list[Job] = []
        for members in groups.values():
            choice = by_label[members[0].activation]
            size = stack_members(members[0], choice.columns, choice.learned, self.device.memory)
            for start in range(0, len(members), size):
                jobs.append(
                    Job(
                        specs=members[start : start + size],
                        choice=choice,
                        prepared=self.prepared,
                        store=self.store.root.absolute(),
                        keep="none" if tuning else self.config.keep,
                        fresh=self.fresh and not pretrain_only,
                        pretrain_only=pretrain_only,
                    )
                )
        return jobs

    def _workers(self, jobs: Sequence[Job]) -> int:
        if self.device.kind != "cpu":
            return 1
        heaviest = max(member_bytes(job.specs[0], job.choice.columns, job.choice.learned) for job in jobs)
        fitting = int(0.8 * self.device.memory // (BASE_BYTES + heaviest))
        return max(1, min(len(jobs), fitting, self.device.threads // jobs[0].specs[0].threads))

    def _handle(self, message: dict[str, Any], spec: RunSpec, tuning: bool) -> Event:
        kind = message["event"]
        if kind in ("started", "progress", "epoch"):
            return self._event(
                kind,
                spec,
                tuning,
                epochs_done=message.get("epochs_done", 0.0),
                images_per_second=message.get("images_per_second"),
                valid_error_pct=message.get("valid_error_pct"),
                stage=message.get("stage", ""),
            )
        if kind == "pretrained":
            assert spec.stack is not None
            return self._event("done", spec, tuning, epochs_done=float(spec.stack.total_epochs), stage="pre-training")
        if kind == "failed":
            self.found[spec.id] = _failed(spec, message["message"], self.prepared.n_test)
            return self._event(
                "failed", spec, tuning, outcome="failed", message=message["message"], hint=message["hint"]
            )
        if "not_stored" in message:
            self._keep(message)
        result = self.unstored.get(spec.id, self.store.result(spec.id))
        if result is None:
            raise ComputeError(f"the run {spec.id} is gone from {self.store.root}", "was it deleted meanwhile? repeat")
        self.found[spec.id] = result
        return self._event(
            "done",
            spec,
            tuning,
            epochs_done=float(result.epochs + (spec.stack.total_epochs if spec.stack else 0)),
            outcome=result.outcome,
            valid_error_pct=result.valid_error_pct,
            message=result.message,
        )

    def _keep(self, message: dict[str, Any]) -> None:
        """Take a run over that could not be stored."""
        result = RunResult.from_json(message["result"])
        self.unstored[result.id] = result
        self.unstored_timings[result.id] = Timing.from_json(message["timing"])
        if message["wrong"] is not None:
            packed = np.frombuffer(bytes.fromhex(message["wrong"]), dtype=np.uint8)
            self.unstored_wrong[result.id] = np.unpackbits(packed, count=result.test_examples).astype(bool)
        label = f"{result.spec['activation']} seed {result.spec['seed']}"
        self.note(f"warning: {label} is not stored ({message['not_stored']}): make room in {self.store.root}")

    def _event(
        self,
        kind: EventKind,
        spec: RunSpec,
        tuning: bool,
        *,
        epochs_done: float = 0.0,
        images_per_second: float | None = None,
        valid_error_pct: float | None = None,
        stage: str = "",
        outcome: Outcome | None = None,
        message: str = "",
        hint: str = "",
    ) -> Event:
        return Event(
            kind=kind,
            run=spec.id,
            activation=spec.activation,
            pretraining=spec.pretraining,
            seed=spec.seed,
            lr=spec.lr,
            tuning=tuning,
            epochs_done=epochs_done,
            epochs=spec.epochs + (spec.stack.total_epochs if spec.stack else 0),
            stage=stage,
            images_per_second=images_per_second,
            valid_error_pct=valid_error_pct,
            outcome=outcome,
            message=message,
            hint=hint,
        )


def _trains_stack(spec: RunSpec) -> bool:
    return spec.stack is not None and not spec.stack.source


def _stack_name(spec: RunSpec) -> str:
    """The row whose stack the run starts from: 'relu (rbm)'."""
    return f"{spec.activation} ({spec.stack.method})" if spec.stack else spec.activation


def _check_writable(folder: Path) -> None:
    """Raises UsageError where runs could not be stored."""
    trial = folder / f".trial-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return  # What is stored can still be read, and room may be made.
        raise UsageError(
            f"the runs folder {folder} cannot be written: {error.strerror or error}",
            "name another with --runs-dir or RELUBENCH_RUNS_DIR",
        ) from error


def _failed(spec: RunSpec, message: str, test_examples: int) -> RunResult:
    """The record of a run that an error stopped; it is reported, and never stored."""
    return RunResult(
        id=spec.id,
        spec=spec.to_json(),
        outcome="failed",
        message=message,
        parameters=spec.parameters,
        path="",
        epochs=0,
        best_epoch=None,
        valid_error_pct=None,
        test_error_pct=None,
        test_examples=test_examples,
        sparsity_pct=None,
    )
