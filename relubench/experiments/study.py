"""Carries out a study: takes from the store what is there, and trains the rest on worker processes.

    Study.open -> select activations, prepare data, resolve the device, for each variant
    study.run  -> events, until every run of every variant is finished

On a processor every network is a job of its own, and as many single-threaded workers run as there are threads; a lone
run takes them all. On another device networks of one shape are one job, stacked. The workers are shared by all
variants: none is idle while a run of any of them is waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

import numpy as np

from relubench.data import lines_about
from relubench.errors import UsageError
from relubench.executors.base import Executor
from relubench.executors.job import Job, jobs_of
from relubench.executors.local import LocalExecutor
from relubench.executors.messages import (
    Done,
    Failed,
    Message,
    NoiseTested,
    Postponed,
    Pretrained,
    Progress,
    Started,
    Waiting,
)
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.events import Event, event, failed_result
from relubench.experiments.input_noise import noise_jobs, under_noise
from relubench.experiments.plan import Variant
from relubench.experiments.preflight import (
    Networks,
    check_own,
    check_regions,
    import_stacks,
    other_weights,
    remarks,
    settle,
    with_network,
)
from relubench.experiments.pretraining_search import Rates, StackSearch, shared_stacks, with_rates
from relubench.experiments.rows import Tuning
from relubench.experiments.tuning import Trials, best_rate, spoken, trials, tuning_specs
from relubench.experiments.variants import Part, check_data, lay_out, make_ready
from relubench.runs.result import RunResult, Timing
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store
from relubench.system.device import Device, check_torch_loads, resolve
from relubench.system.paths import runs_root, why_unwritable


@dataclass(slots=True)
class Study:
    """An experiment, or several variants of one, being carried out; `results` grows while `run` is iterated."""

    parts: list[Part]
    device: Device
    store: Store
    executor: Executor
    """Who carries out the jobs."""
    fresh: bool
    note: Callable[[str], None]
    data_dir: Path | None = None
    unwritable: UsageError | None = None
    """Why nothing can be stored; runs that are stored already are shown all the same."""
    networks: Networks = field(default_factory=dict)
    """Of models that somebody else wrote."""
    asked: list[tuple[Part, RunSpec]] = field(default_factory=list)
    """The runs to report, once the learning rates are known."""
    tuned: list[Tuning] = field(default_factory=list)
    """What `--lr auto` found; empty where the rates were given."""
    found: dict[str, RunResult] = field(default_factory=dict)
    unstored: dict[str, RunResult] = field(default_factory=dict)
    """Computed runs that the disk had no room for; their timings and masks are beside."""
    unstored_timings: dict[str, Timing] = field(default_factory=dict)
    unstored_wrong: dict[str, np.ndarray] = field(default_factory=dict)
    stack_rates: Rates = field(default_factory=dict)
    """What the search for rates of pre-training found."""

    @classmethod
    def open(
        cls,
        asked: ExperimentConfig | Sequence[Variant],
        *,
        data_dir: Path | None = None,
        runs_dir: Path | None = None,
        fresh: bool = False,
        note: Callable[[str], None] = lambda text: None,
        executor: Executor | None = None,
    ) -> Study:
        """Everything that can be refused is refused here, before any work; data may be downloaded.

        `executor`: who carries out the jobs; None: worker processes on this machine.
        """
        variants = [Variant(config=asked)] if isinstance(asked, ExperimentConfig) else list(asked)
        store = Store(runs_root(runs_dir))
        device = resolve(variants[0].config.device)
        parts = make_ready(variants, data_dir, note)
        executor = executor or LocalExecutor(device)
        study = cls(parts, device, store, executor, fresh, note, data_dir, why_unwritable(store.root))
        probed = settle(parts, device, study.networks, note)
        # Shapes and precision are checked even where the learning rates are not known yet.
        runs = study._lay_out()
        if not study._tuned and not study._searches_stacks:
            study.asked = runs
        if study.unwritable is not None and not all(study._stored(spec) for spec in study.specs):
            raise study.unwritable
        import_stacks(runs, store)
        check_own(parts, [spec for _, spec in runs], study._stored, probed, note)
        check_regions(runs, note)
        for line in dict.fromkeys(line for part in parts for line in [*lines_about([part.prepared]), *remarks(part)]):
            note(line)
        return study

    @property
    def config(self) -> ExperimentConfig:
        """The first variant's configuration."""
        return self.parts[0].config

    @property
    def specs(self) -> list[RunSpec]:
        return [spec for _, spec in self.asked]

    @property
    def total(self) -> int:
        """Runs to report; one that two variants share counts once."""
        if self.asked:
            return len({spec.id for spec in self.specs})
        return sum(part.runs for part in self.parts)

    @property
    def typical_epochs(self) -> int:
        """Epochs of a run on average, those of pre-training included."""
        runs = self.specs or [spec for _, spec in self._lay_out()]
        return max(1, round(fmean(spec.epochs + (spec.stack.total_epochs if spec.stack else 0) for spec in runs)))

    @property
    def results(self) -> list[RunResult]:
        """What is finished or failed so far, in the order asked for."""
        first: dict[str, RunResult] = {}
        for result in self._described():
            first.setdefault(result.id, result)
        return list(first.values())

    @property
    def tabled(self) -> list[RunResult]:
        """`results` as a table has them: once for each variant that has the run, and once for each test noise."""
        parts = [part for part, spec in self.asked if spec.id in self.found]
        return [
            one
            for part, result in zip(parts, self._described(), strict=True)
            for one in under_noise(result, part.config.data.test_noise, self.store)
        ]

    def _described(self) -> list[RunResult]:
        """The result of each run asked for, with this study's notes in place of those of the one that trained it."""
        return [
            replace(self.found[spec.id], spec={**self.found[spec.id].spec, **spec.notes()})
            for spec in self.specs
            if spec.id in self.found
        ]

    @property
    def timings(self) -> dict[str, Timing | None]:
        return {run: self.unstored_timings.get(run) or self.store.timing(run) for run in self.found}

    def wrong(self, result: RunResult) -> np.ndarray | None:
        """Which test examples the run got wrong, bool [N]."""
        if noise := result.spec.get("test_noise"):
            return self.store.noise(result.id, noise)
        if result.id in self.unstored:
            return self.unstored_wrong.get(result.id)
        return self.store.wrong(result.id)

    def run(self) -> Generator[Event, None, None]:
        """Carry the study out. Closing the iterator stops the workers, which write their checkpoints first."""
        if self._searches_stacks:
            yield from self._tune_stacks()
        rates = (yield from self._tune()) if self._tuned else None
        self.asked = self._lay_out(rates)
        yield from self._carry_out(self.specs, tuning=False)
        yield from self._measure_noise()

    @property
    def _tuned(self) -> bool:
        """Whether learning rates have to be found first."""
        return any(part.config.train.lr == "auto" for part in self.parts)

    @property
    def _searches_stacks(self) -> bool:
        """Whether rates of pre-training have to be found first."""
        return any(part.searches_stacks for part in self.parts)

    def _lay_out(self, rates: Sequence[Sequence[float]] | None = None) -> list[tuple[Part, RunSpec]]:
        """Every run of every variant, with what is known of other people's networks."""
        runs = lay_out(self.parts, self.device, rates)
        company = {id(part): [one for mine, one in runs if mine is part] for part in self.parts}
        runs = [(part, with_rates(spec, self.stack_rates)) for part, spec in runs]
        return [(part, self._with_network(part, spec, company[id(part)])) for part, spec in runs]

    def _with_network(self, part: Part, spec: RunSpec, company: Sequence[RunSpec]) -> RunSpec:
        """The run with what its network, if somebody else wrote it, was found to be; looked at once a study."""
        return with_network(spec, part, company, self.networks, self._believed, self.note)

    def _stored(self, spec: RunSpec) -> bool:
        return self._believed(spec.id) is not None

    def _believed(self, run: str) -> RunResult | None:
        """The stored run, unless it is to be trained again: because that was asked for, or because it is damaged."""
        return None if self.fresh else self.store.believed(run, self.note)

    def _tune(self) -> Generator[Event, None, list[list[float]]]:
        """The learning rates of every variant, searched where they are not given; trials of all share the workers."""
        tried: list[Trials] = []
        for part in self.parts:
            found = trials(part, self.device).items()
            with_stacks = {rate: [with_rates(one, self.stack_rates) for one in specs] for rate, specs in found}
            tried.append(
                {rate: [self._with_network(part, one, specs) for one in specs] for rate, specs in with_stacks.items()}
            )
        yield from self._carry_out([spec for one in tried for specs in one.values() for spec in specs], tuning=True)
        return [self._rates(part, by_rate) for part, by_rate in zip(self.parts, tried, strict=True)]

    def _rates(self, part: Part, tried: Trials) -> list[float]:
        if not tried:
            return part.fixed_rates()
        found = [best_rate(part, choice.label, method, tried, self.found) for choice, method in part.rows]
        for tuning in found:
            for line in spoken(tuning):
                self.note(line)
        self.tuned += found
        return [tuning.lr for tuning in found]

    def _tune_stacks(self) -> Generator[Event, None, None]:
        """Find the rates of pre-training, layer by layer; rows of all variants share the workers."""
        searched = [part for part in self.parts if part.searches_stacks]
        search = StackSearch.of([spec for part in searched for spec in tuning_specs(part, self.device)], self.store)
        for layer in range(search.layers):
            jobs = self._jobs(search.trials(layer), tuning=True, pretrain_only=True)
            yield from self._work(jobs, tuning=True)
            search.choose(layer)
        for line in search.told():
            self.note(line)
        self.stack_rates = search.rates

    def _measure_noise(self) -> Iterator[Event]:
        """Test the finished networks again under the noise that is asked for and not stored yet."""
        wanted = [(part, spec) for part, spec in self.asked if part.config.data.test_noise]
        found = [(part, spec) for part, spec in wanted if self._has_weights(spec)]
        jobs = noise_jobs(found, self.store, fresh=self.fresh)
        if not jobs:
            return
        self._check_ready()
        self.note(f"testing {len(jobs)} networks under noise")
        by_id = {job.specs[0].id: job.specs[0] for job in jobs}
        with closing(self.executor.run(jobs)) as messages:
            for message in messages:
                if isinstance(message, Failed):
                    spec, text = by_id[message.run], message.message
                    yield event("failed", spec, True, outcome="failed", message=text, hint=message.hint)

    def _has_weights(self, spec: RunSpec) -> bool:
        """Whether the run has ended with a test error and its weights are stored."""
        result = self.found.get(spec.id)
        return result is not None and result.test_error_pct is not None and self.store.weights(spec.id) is not None

    def _carry_out(self, specs: Sequence[RunSpec], *, tuning: bool) -> Iterator[Event]:
        """Events of these runs, stored ones first; afterwards `found` has them all."""
        self.store.sweep()
        pending: list[RunSpec] = []
        stored: list[RunResult] = []
        for spec in {spec.id: spec for spec in specs}.values():
            result = self._believed(spec.id)
            if result is None or self._lacks_weights(result):
                pending.append(spec)
                continue
            self.found[spec.id] = result
            stored.append(result)
            yield event("cached", spec, tuning, outcome=result.outcome, valid_error_pct=result.valid_error_pct)
        if not tuning and (told := other_weights(self.store, stored, self.config)):
            self.note(told)
        stacks = shared_stacks(pending, self.store, fresh=self.fresh)
        yield from self._work(self._jobs(stacks, True, pretrain_only=True), tuning=True)
        yield from self._work(self._jobs(pending, tuning), tuning)

    def _work(self, jobs: Sequence[Job], tuning: bool) -> Iterator[Event]:
        """Events of these jobs, until the workers have done them."""
        if not jobs:
            return
        self._check_ready()
        check_data(self.parts, self.data_dir, self.note)
        by_id = {spec.id: spec for job in jobs for spec in job.specs}
        with closing(self.executor.run(jobs)) as messages:
            for message in messages:
                yield self._event_of(message, by_id[message.run], tuning)

    def _check_ready(self) -> None:
        """Raises UsageError before what is trained could not be stored, ComputeError where torch will not load."""
        if self.unwritable is not None:
            raise self.unwritable
        check_torch_loads()

    def _jobs(self, specs: Sequence[RunSpec], tuning: bool, pretrain_only: bool = False) -> list[Job]:
        return jobs_of(
            specs,
            {choice.label: choice for part in self.parts for choice in part.choices},
            {part.prepared.digest: part.prepared for part in self.parts},
            self.store,
            keep="none" if tuning else self.config.keep,
            fresh=self.fresh,
            memory=self.device.memory,
            pretrain_only=pretrain_only,
        )

    def _lacks_weights(self, result: RunResult) -> bool:
        """Whether noise is to be tested on a stored run whose weights were not kept."""
        wanted = {spec.id for part, spec in self.asked if any(part.config.data.test_noise)}
        tested = result.id in wanted and result.test_error_pct is not None
        return tested and self.store.weights(result.id) is None

    def _event_of(self, message: Message, spec: RunSpec, tuning: bool) -> Event:
        """What a message says to whoever shows the study; the result that it carries is taken over."""
        match message:
            case Progress():
                return event(
                    "epoch" if message.epoch_ended else "progress",
                    spec,
                    tuning,
                    epochs_done=message.epochs_done,
                    images_per_second=message.images_per_second,
                    valid_error_pct=message.valid_error_pct,
                    stage=message.stage,
                )
            case Done():
                return self._finish(message, spec, tuning)
            case Failed():
                self.found[spec.id] = failed_result(spec, message.message, self._test_examples(spec))
                return event("failed", spec, tuning, outcome="failed", message=message.message, hint=message.hint)
            case Pretrained():
                assert spec.stack is not None
                return event("done", spec, tuning, epochs_done=float(spec.stack.total_epochs), stage="pre-training")
            case Waiting():
                text = f"another process is training {spec.activation} seed {spec.seed}: waiting for it"
                return event("note", spec, tuning, message=text)
            case Postponed():
                return event("postponed", spec, tuning)
            case Started() | NoiseTested():
                return event("started", spec, tuning)

    def _finish(self, message: Done, spec: RunSpec, tuning: bool) -> Event:
        """Take over the result of a run that has ended."""
        if message.not_stored:
            self._keep(message)
        result = self.found[spec.id] = message.result
        return event(
            "done",
            spec,
            tuning,
            epochs_done=float(result.epochs + (spec.stack.total_epochs if spec.stack else 0)),
            outcome=result.outcome,
            valid_error_pct=result.valid_error_pct,
            message=result.message,
        )

    def _test_examples(self, spec: RunSpec) -> int:
        return next(part.prepared.n_test for part in self.parts if part.prepared.digest == spec.data_digest)

    def _keep(self, message: Done) -> None:
        """Keep a run that could not be stored for as long as the study is there."""
        result = message.result
        self.unstored[result.id] = result
        if message.timing is not None:
            self.unstored_timings[result.id] = message.timing
        if message.wrong is not None:
            self.unstored_wrong[result.id] = message.wrong
        label = f"{result.spec['activation']} seed {result.spec['seed']}"
        self.note(f"warning: {label} is not stored ({message.not_stored}): make room in {self.store.root}")
