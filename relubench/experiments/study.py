"""Carries out a study: takes from the store what is there, and trains the rest on worker processes.

    Study.open -> select activations, prepare data, resolve the device, for each variant
    study.run  -> events, until every run of every variant is finished

On a processor every network is a job of its own, and as many single-threaded workers run as there are threads; a lone
run takes them all. On another device networks of one shape are one job. All variants share the workers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np

from relubench.errors import UsageError
from relubench.executors.base import Executor
from relubench.executors.job import Job, jobs_of
from relubench.executors.messages import Done, Failed, RunMessage
from relubench.experiments.collected_results import CollectedResults, progress_event, run_messages
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.events import Event, event
from relubench.experiments.executor_choice import nothing, open_site
from relubench.experiments.external_networks import Networks, with_network
from relubench.experiments.input_noise import lacks_weights, noise_failures, noise_jobs, under_noise
from relubench.experiments.outside_rows import check_rows_are_there
from relubench.experiments.plan import Variant
from relubench.experiments.preflight import check_own, check_probes, identify, import_stacks, other_weights, say_remarks
from relubench.experiments.pretraining_search import Rates, StackSearch, shared_stacks, with_rates
from relubench.experiments.rows import Tuning
from relubench.experiments.tuning import Trials, best_rates, describe_tuning, trials, tuning_specs
from relubench.experiments.variants import Part, check_data, lay_out, make_ready
from relubench.runs.result import RunResult, Timing
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store
from relubench.system.device import Device, check_torch_loads
from relubench.system.paths import runs_root, why_unwritable


@dataclass(slots=True)
class Study:
    """An experiment, or several variants of one, being carried out; `results` grows while `run` is iterated."""

    parts: list[Part]
    device: Device
    store: Store
    executor: Executor
    fresh: bool
    note: Callable[[str], None]
    data_dir: Path | None = None
    unwritable: UsageError | None = None
    """Why nothing can be stored; runs that are stored already are shown all the same."""
    close: Callable[[], None] = nothing
    """Lets go of other machines; `run` does so at its end."""
    networks: Networks = field(default_factory=dict)
    """Of models that somebody else wrote."""
    requested: list[tuple[Part, RunSpec]] = field(default_factory=list)
    """The runs to report, once the learning rates are known."""
    tuned: list[Tuning] = field(default_factory=list)
    """What `--lr auto` found; empty where the rates were given."""
    collected: CollectedResults = field(init=False)
    stack_rates: Rates = field(default_factory=dict)
    """What the search for rates of pre-training found."""

    def __post_init__(self) -> None:
        self.collected = CollectedResults(self.store)

    @classmethod
    def open(
        cls,
        request: ExperimentConfig | Sequence[Variant],
        *,
        data_dir: Path | None = None,
        runs_dir: Path | None = None,
        fresh: bool = False,
        note: Callable[[str], None] = lambda text: None,
        executor: Callable[[Store], Executor] | None = None,
    ) -> Study:
        """Everything that can be refused is refused here, before any work; data may be downloaded.

        `executor`: makes, of the store, who carries out the jobs, as InlineExecutor does; None: local worker processes.
        """
        variants = [Variant(config=request)] if isinstance(request, ExperimentConfig) else list(request)
        site = open_site(variants[0].config, store := Store(runs_root(runs_dir)), note)
        parts = make_ready(variants, data_dir, note)
        device, carrier = site.device, executor(store) if executor else site.executor(store, note)
        study = cls(parts, device, store, carrier, fresh, note, data_dir, why_unwritable(store.root), site.close)
        probed = identify(parts, device, study.networks, note)
        # Shapes and precision are checked even where the learning rates are not known yet.
        runs = study._lay_out()
        missing = [spec for _, spec in runs if not study._stored(spec)]
        if not study._tuned and not study._searches_stacks:
            study.requested = runs
        if study.unwritable is not None and study.requested and missing:
            raise study.unwritable
        check_rows_are_there(carrier, missing)
        import_stacks(runs, store)
        check_own(parts, [spec for _, spec in runs], study._stored, probed, note)
        check_probes(runs, note)
        say_remarks(parts, note)
        return study

    @property
    def config(self) -> ExperimentConfig:
        """The first variant's configuration."""
        return self.parts[0].config

    @property
    def specs(self) -> list[RunSpec]:
        """The runs to report."""
        return [spec for _, spec in self.requested]

    @property
    def total(self) -> int:
        """Runs to report; one that two variants share counts once."""
        if self.requested:
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
        for result in self.collected.of(self.specs):
            first.setdefault(result.id, result)
        return list(first.values())

    @property
    def table_results(self) -> list[RunResult]:
        """`results` as a table has them: once for each variant that has the run, and once for each test noise."""
        parts = [part for part, spec in self.requested if spec.id in self.collected.by_id]
        return [
            table_result
            for part, result in zip(parts, self.collected.of(self.specs), strict=True)
            for table_result in under_noise(result, part.config.data.test_noise, self.store)
        ]

    @property
    def timings(self) -> dict[str, Timing | None]:
        """The timing of each run by its id."""
        return self.collected.timings()

    def wrong(self, result: RunResult) -> np.ndarray | None:
        """Which test examples the run got wrong, bool [N]."""
        return self.collected.wrong(result)

    def run(self) -> Generator[Event, None, None]:
        """Carry the study out. Closing the iterator stops the workers, which write their checkpoints first."""
        with closing(self):
            if self._searches_stacks:
                yield from self._tune_stacks()
            rates = (yield from self._tune()) if self._tuned else None
            self.requested = self._lay_out(rates)
            yield from self._carry_out(self.specs, tuning=False)
            yield from self._measure_noise()

    @property
    def _tuned(self) -> bool:
        return any(part.config.train.lr == "auto" for part in self.parts)

    @property
    def _searches_stacks(self) -> bool:
        return any(part.searches_stacks for part in self.parts)

    def _lay_out(self, rates: Sequence[Sequence[float]] | None = None) -> list[tuple[Part, RunSpec]]:
        """Every run of every variant, with what is known of other people's networks."""
        runs = lay_out(self.parts, self.device, rates)
        company = {id(part): [spec for owner, spec in runs if owner is part] for part in self.parts}
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
        by_part = [self._trials(part) for part in self.parts]
        yield from self._carry_out(
            [spec for by_rate in by_part for specs in by_rate.values() for spec in specs], tuning=True
        )
        return [self._rates(part, by_rate) for part, by_rate in zip(self.parts, by_part, strict=True)]

    def _trials(self, part: Part) -> Trials:
        """The tuning runs of a variant, with what was found of their networks and of their rates of pre-training."""
        by_rate: Trials = {}
        for rate, specs in trials(part, self.device).items():
            company = [with_rates(spec, self.stack_rates) for spec in specs]
            by_rate[rate] = [self._with_network(part, spec, company) for spec in company]
        return by_rate

    def _rates(self, part: Part, by_rate: Trials) -> list[float]:
        """The learning rate of each row of a variant: the best of its trials, or the rate that was given."""
        if not by_rate:
            return part.fixed_rates()
        tunings = best_rates(part, by_rate, self.collected.by_id)
        for line in [line for tuning in tunings for line in describe_tuning(tuning)]:
            self.note(line)
        self.tuned += tunings
        return [tuning.lr for tuning in tunings]

    def _tune_stacks(self) -> Generator[Event, None, None]:
        """Find the rates of pre-training, layer by layer; rows of all variants share the workers."""
        searched = [part for part in self.parts if part.searches_stacks]
        search = StackSearch.of([spec for part in searched for spec in tuning_specs(part, self.device)], self.store)
        for layer in range(search.layers):
            jobs = self._jobs(search.trials(layer), tuning=True, pretrain_only=True)
            yield from self._work(jobs, tuning=True)
            search.choose(layer)
        for line in search.describe():
            self.note(line)
        self.stack_rates = search.rates

    def _measure_noise(self) -> Iterator[Event]:
        """Test the finished networks again under the noise that is asked for and not stored yet."""
        tested = [(part, spec) for part, spec in self.requested if part.config.data.test_noise]
        with_weights = [(part, spec) for part, spec in tested if self.collected.has_weights(spec)]
        jobs = noise_jobs(with_weights, self.store, fresh=self.fresh)
        if not jobs:
            return
        self._check_ready()
        self.note(f"testing {len(jobs)} networks under noise")
        with closing(run_messages(self.executor, jobs, self.note)) as messages:
            yield from noise_failures(jobs, messages)

    def _carry_out(self, specs: Sequence[RunSpec], *, tuning: bool) -> Iterator[Event]:
        """Events of these runs, stored ones first; afterwards `collected` has them all."""
        self.store.sweep()
        pending: list[RunSpec] = []
        stored: list[RunResult] = []
        for spec in {spec.id: spec for spec in specs}.values():
            result = self._believed(spec.id)
            if result is None or lacks_weights(result, self.requested, self.store):
                pending.append(spec)
                continue
            self.collected.by_id[spec.id] = result
            stored.append(result)
            yield event("cached", spec, tuning, outcome=result.outcome, valid_score=result.valid_score)
        if not tuning and (remark := other_weights(self.store, stored, self.config)):
            self.note(remark)
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
        with closing(run_messages(self.executor, jobs, self.note)) as messages:
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
            device=self.device,
            pretrain_only=pretrain_only,
        )

    def _event_of(self, message: RunMessage, spec: RunSpec, tuning: bool) -> Event:
        """The event of an executor's message; the result of a run that has ended is kept."""
        if isinstance(message, Failed):
            return self.collected.add_failed(message, spec, [part.prepared for part in self.parts], tuning)
        if not isinstance(message, Done):
            return progress_event(message, spec, tuning)
        if message.not_stored:
            label = f"{spec.activation} seed {spec.seed}"
            self.note(f"warning: {label} is not stored ({message.not_stored}): make room in {self.store.root}")
        return self.collected.add_finished(message, spec, tuning)
