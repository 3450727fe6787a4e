"""A choice from its request to its answers: a contest for each data set and network, and the prices of each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from relubench.errors import UsageError
from relubench.experiments.choosing.answer import Answer, Effort, Want, answer_of
from relubench.experiments.choosing.budget import Account, Budget, spoken
from relubench.experiments.choosing.contest import Contest
from relubench.experiments.choosing.course import CONFIRMATION_SEEDS, carry_out
from relubench.experiments.choosing.outcomes import Outcomes
from relubench.experiments.choosing.plan import SequentialPlan, plan_of
from relubench.experiments.choosing.prices import Price, prices, soundness
from relubench.experiments.choosing.rates import most_runs, open_search
from relubench.experiments.choosing.trainings import Trainings, Watch
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.events import Event
from relubench.experiments.plan import Variant
from relubench.experiments.study import Study
from relubench.models.optimizer_table import OPTIMIZERS
from relubench.runs.task import task_called
from relubench.statistics.sequential import LEAST_SEEDS, looks_between
from relubench.system.interrupts import stop_requested

ELIMINATION_RATE, CONFIRMATION_RATE = 0.025, 0.025
"""The error rates of the looks and of the confirmation: 5 % together."""

MOST_SEEDS = 20
"""The last look, unless another is asked for."""

PRICE_SHARE, PRICE_SECONDS = 0.15, (2.0, 20.0)
"""The part of the time that prices may take, and their fewest and most seconds for each data set and network."""

STEPS_TIMED = 30
"""A network's timing takes at least about so many times one training step: its memory, and six rounds of steps, their
stages and inference."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceRequest:
    """What is to be chosen, for how much."""

    configs: Sequence[ExperimentConfig]
    """One for each data set and network."""
    budget: Budget
    want: Want = "error"
    within: float = 0.0
    """Differences up to this count as none."""
    seeds: tuple[int, int] = (LEAST_SEEDS, MOST_SEEDS)
    """Of the first look and of the last."""


@dataclass(slots=True)
class Choice:
    """A choice being made; `plans` are frozen before `run`."""

    request: ChoiceRequest
    open_study: Callable[[Sequence[Variant]], Study]
    watch: Watch
    studies: list[Study]
    """One for each data set and network, opened and not carried out: its activations and its data."""
    plans: list[SequentialPlan]
    opened: float
    """The moment from which a budget of time counts."""
    contests: list[Contest] = field(default_factory=list)
    """Those that have begun."""
    trainings: list[Trainings] = field(default_factory=list)
    """One for each of them."""
    answers: list[Answer] = field(default_factory=list)
    soundness: dict[str, str] = field(default_factory=dict)
    """By activation, once it is checked: it depends on neither data nor network."""
    interrupted: bool = False

    @classmethod
    def open(cls, request: ChoiceRequest, open_study: Callable[[Sequence[Variant]], Study], watch: Watch) -> Choice:
        """Everything that can be refused is refused here, and the plans are frozen."""
        opened = time.monotonic()
        seeds = tuple(range(request.seeds[0]))
        studies = [
            open_study([Variant(config=config.model_copy(update={"seeds": seeds}))]) for config in request.configs
        ]
        for study in studies:
            _check(request, study)
        plans = [_plan(request, study) for study in studies]
        for study, plan in zip(studies, plans, strict=True):
            plan.freeze(study.store.root)
        return cls(request, open_study, watch, studies, plans, opened)

    def run(self) -> None:
        """Carry the contests out, one after the other, each with an equal part of what is left of the budget.

        Ctrl-C ends it at any moment, with the answer so far for each contest that has begun.
        """
        try:
            self._carry_out()
        except KeyboardInterrupt:
            self.interrupted = True
        for contest, trainings in [*zip(self.contests, self.trainings, strict=True)][len(self.answers) :]:
            self.answers.append(self._answer(contest, trainings))

    def _carry_out(self) -> None:
        total = Account(self.request.budget, started=self.opened)
        for position, (config, study, plan) in enumerate(
            zip(self.request.configs, self.studies, self.plans, strict=True)
        ):
            account = Account(_rest(total).part(len(self.studies) - position), reserve_share=PRICE_SHARE)
            choices = {choice.label: choice for choice in study.parts[0].choices}
            account.least_runs = _least_runs(config, len(choices), plan.looks[0])
            part = study.parts[0]
            task = task_called(part.prepared.task)
            outcomes = Outcomes(part.prepared.name, part.config.model.name, task, part.prepared.n_valid)
            trainings = Trainings(config, self.open_study, self._watched, account, outcomes, choices, study=study)
            contest = Contest([*choices], plan, outcomes, open_search(config))
            self.contests.append(contest)
            self.trainings.append(trainings)
            carry_out(contest, trainings)
            plan.check(study.store.root)
            total.runs |= account.runs
            self.answers.append(self._answer(contest, trainings))
            if self.interrupted:
                return

    def _watched(self, study: Study, events: Generator[Event]) -> bool:
        self.interrupted = self.watch(study, events) or self.interrupted
        return self.interrupted

    def _answer(self, contest: Contest, trainings: Trainings) -> Answer:
        """The answer with what can still be measured; an interruption leaves prices out, not the answer."""
        measured, account = {}, trainings.account
        if not self.interrupted:
            try:
                measured = self._prices(contest, trainings)
                choices = {label: c for label, c in trainings.choices.items() if label not in self.soundness}
                self.soundness |= soundness(choices, trainings.config.train.precision, account.seconds_left)
            except KeyboardInterrupt:
                self.interrupted = True
        self.interrupted = self.interrupted or stop_requested()
        effort = Effort(
            runs_needed=account.least_runs,
            seconds_a_run=account.pace.seconds_a_run(),
            seconds_needed=account.seconds_needed() if account.is_timed and not contest.seeds else None,
        )
        return answer_of(contest, self.request.want, measured, self.soundness, effort)

    def _prices(self, contest: Contest, trainings: Trainings) -> dict[str, Price]:
        """The prices of the activations that were trained, unless timing them would take more than is left."""
        account = trainings.account
        rates = {label: rate for label, rate in contest.rates.items() if contest.scored_seeds(label)}
        specs = trainings.first_specs(rates)
        if not specs:
            return {}
        epoch_steps = math.ceil(trainings.prepared_study.parts[0].prepared.n_train / specs[0].batch_size)
        step_s = (account.pace.seconds_a_run() or 0.0) / (epoch_steps * specs[0].epochs)
        needed = STEPS_TIMED * (len(specs) + 1) * step_s
        if needed > account.seconds_left:
            message = f"it would take about {spoken(needed)}, and {spoken(max(account.seconds_left, 0.0))} are left"
            return {spec.activation: Price(not_timed=message) for spec in specs}
        return prices(trainings, rates, min(_price_seconds(account), account.seconds_left))


def _rest(account: Account) -> Budget:
    """What is left of a budget."""
    if account.budget.runs is not None:
        return Budget(runs=max(account.budget.runs - len(account.runs), 0))
    assert account.budget.seconds is not None
    return Budget(seconds=max(account.budget.seconds - account.elapsed, 0.0))


def _price_seconds(account: Account) -> float:
    """The seconds for timing steps: half of what is reserved, else that part of what the trainings took."""
    least, most = PRICE_SECONDS
    total = account.elapsed if account.budget.seconds is None else account.budget.seconds
    return min(most, max(least, PRICE_SHARE / 2 * total))


def _check(request: ChoiceRequest, study: Study) -> None:
    """Raises UsageError for a choice without choice, and for a number of runs that cannot decide anything."""
    config, labels = study.config, [choice.label for choice in study.parts[0].choices]
    if len(labels) < 2:
        raise UsageError(f"choose needs two activations or more, got {', '.join(labels)}", "add --act NAME")
    if config.train.l1_pairs or len(config.train.strengths) > 1 or set(config.pretrain.methods) != {"none"}:
        raise UsageError("choose compares activations alone", "leave L1 strengths and pre-training out")
    runs = request.budget.runs
    least_runs = _least_runs(config, len(labels), request.seeds[0]) * len(request.configs)
    if runs is not None and runs < least_runs:
        raise UsageError(
            f"--budget {runs}runs is too little for one look: {len(labels)} activations need up to {least_runs} runs",
            f"--budget {least_runs}runs, fewer --act, or a fixed --lr",
        )


def _least_runs(config: ExperimentConfig, num_activations: int, first_look: int) -> int:
    """The runs with which there is a first look and a confirmation, however long the search for rates is."""
    train = config.train
    rates = (train.lr_grid or OPTIMIZERS[train.optimizer].rates) if train.lr == "auto" else ()
    search = most_runs(rates, train.lr_seeds, num_activations)
    return search + num_activations * (first_look + CONFIRMATION_SEEDS[0])


def _plan(request: ChoiceRequest, study: Study) -> SequentialPlan:
    return plan_of(
        study,
        looks_between(*request.seeds),
        command="choose",
        decides_on="validation",
        compared="all pairs",
        error_rate=ELIMINATION_RATE,
        confirmation_error_rate=CONFIRMATION_RATE,
        within=request.within,
    )
