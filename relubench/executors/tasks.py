"""Carries out one job, in whatever process it is called, and yields messages about it.

A job trains one population, pre-trains the layers below one, or tests a stored network under noise. `stop` is asked
after every chunk of steps: once it says yes, a checkpoint is written and Interrupted is raised. Closing the generator
between two messages writes a checkpoint likewise.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Generator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from relubench.activations import ActivationChoice
from relubench.data.reference import obtain
from relubench.errors import ComputeError
from relubench.executors.failures import free_memory, is_out_of_memory, user_error
from relubench.executors.job import Job
from relubench.executors.messages import Done, Failed, Message, NoiseTested, Note, Pretrained, Progress, Waiting
from relubench.executors.results import diverged_result, finished_result, stored_weights
from relubench.executors.sources import on_this_machine
from relubench.models.families import family_of
from relubench.runs.clock import Clock
from relubench.runs.job_store import JobStore
from relubench.runs.result import RunResult, Timing
from relubench.runs.spec import RunSpec
from relubench.runs.store import Busy
from relubench.system.device_kinds import DEVICES
from relubench.training.driver import Driver, Interrupted, Step, Stop
from relubench.training.pretraining.layers import PretrainedLayers

if TYPE_CHECKING:
    from relubench.training.images import Images
    from relubench.training.population import Population
    from relubench.training.side_by_side import SideBySide

Messages = Generator[Message, None, None]


def never() -> bool:
    """False: nothing but closing the generator stops a job."""
    return False


def messages_of(job: Job, store: JobStore, stop: Stop = never) -> Messages:
    """Carry out a job; an error is a message too. Raises Interrupted after `stop`, Busy as `carry_out` does."""
    try:
        yield from carry_out(job, store, stop)
    except (Interrupted, Busy):
        raise
    except Exception as error:
        if os.environ.get("RELUBENCH_DEBUG"):
            traceback.print_exc()
        failure = user_error(error, job, store)
        for spec in job.specs:
            yield Failed(run=spec.id, message=failure.message, hint=failure.hint)
    # A network's layers hold each other: without this they are let go many networks later.
    free_memory()


def carry_out(job: Job, store: JobStore, stop: Stop = never) -> Messages:
    """Train a population and store its runs, in halves if it is too large for the memory.

    A job with noise tests its stored network instead. Raises Interrupted after `stop`, RelubenchError for what failed,
    and Busy if another process is training one of the runs and the job is not patient.
    """
    if job.noise:
        yield from _test_under_noise(job, store)
        return
    try:
        yield from _train_and_store(job, store, stop)
        return
    except (MemoryError, RuntimeError) as error:
        if len(job.specs) == 1 or not is_out_of_memory(error):
            raise
        text = f"{len(job.specs)} networks at once do not fit into the memory: trying halves"
    yield Note(run=job.specs[0].id, text=text)
    # Only here, with the error gone, is nothing of the whole population left in memory.
    free_memory()
    middle = len(job.specs) // 2
    for half in (job.specs[:middle], job.specs[middle:]):
        yield from carry_out(replace(job, specs=half), store, stop)


def _train_and_store(job: Job, store: JobStore, stop: Stop) -> Messages:
    """Train one population and store its runs, with a lock on each of them."""
    with contextlib.ExitStack() as locks:
        yield from _lock(job, store, locks, stop)
        if not (job.fresh or job.pretrain_only) and all(store.has(spec.id) for spec in job.specs):
            for spec in job.specs:
                yield stored_run(store, spec)
            return
        job, pretrained = yield from _pretrain(job, store, stop)
        if job.pretrain_only or not job.specs:
            return
        driver = _driver(job, store, pretrained)
        with contextlib.closing(driver.run(stop)) as moments:
            for moment in moments:
                yield from _messages_at(job, driver, moment)
        population, clock = driver.training, driver.clock
        test = population.evaluate("test", best=True, sparsity=True)
        clock.tick()
        for place, layers in enumerate(pretrained):
            result, wrong = finished_result(job, population, test, place)
            timing = clock.timing(len(job.specs), layers.seconds)
            yield _store(store, result, timing, wrong, stored_weights(job, population, place))
        store.discard(job.name)


def _lock(job: Job, store: JobStore, locks: contextlib.ExitStack, stop: Stop) -> Messages:
    """Lock the job's runs, and wait for those that another process is training if the job is patient."""

    def go_on() -> bool:
        if stop():
            raise Interrupted
        return True

    for run in sorted(spec.id for spec in job.specs):
        try:
            locks.enter_context(store.lock(run, lambda: False))
        except Busy:
            if not job.patient:
                raise
            yield Waiting(run=run)
            locks.enter_context(store.lock(run, go_on))


def stored_run(store: JobStore, spec: RunSpec) -> Done:
    """What another process stored of the run."""
    result = store.result(spec.id)
    if result is None:
        raise ComputeError(f"the run {spec.id} is gone from {store.root}", "was it deleted meanwhile? repeat")
    return Done(run=spec.id, result=result, timing=store.timing(spec.id), wrong=store.wrong(spec.id), cached=True)


def _pretrain(job: Job, store: JobStore, stop: Stop) -> Generator[Message, None, tuple[Job, list[PretrainedLayers]]]:
    """The job without the members whose pre-training diverged, which are stored as such, and the others' layers."""
    specs: list[RunSpec] = []
    pretrained: list[PretrainedLayers] = []
    for spec in job.specs:
        layers = PretrainedLayers()
        if spec.stack is not None:
            layers = yield from _pretrained_layers(job, spec, store, stop)
        if job.pretrain_only:
            yield Pretrained(run=spec.id)
        elif layers.diverged:
            result = diverged_result(spec, layers.diverged, obtain(job.data).n_test)
            yield _store(store, result, Clock().timing(1, layers.seconds), None, None)
        else:
            specs.append(spec)
            pretrained.append(layers)
    return replace(job, specs=specs), pretrained


def _pretrained_layers(
    job: Job, spec: RunSpec, store: JobStore, stop: Stop
) -> Generator[Message, None, PretrainedLayers]:
    """The layers below one member, trained where they are not stored."""
    _prepare_torch(spec)
    # The layers of a fresh run were trained anew before, by a job of their own.
    fresh = job.fresh and job.pretrain_only
    layers = PretrainedLayers()
    choice, prepared = on_this_machine(job.choice, spec, job.sources), obtain(job.data)
    progress = layers.obtain(spec, choice, prepared, store, fresh=fresh, stop=stop)
    with contextlib.closing(progress):
        for point in progress:
            yield Note(run=spec.id, text=point) if isinstance(point, str) else Progress(run=spec.id, **asdict(point))
    return layers


def _test_under_noise(job: Job, store: JobStore) -> Messages:
    """Test a stored network once for each strength of noise, and store which test examples it gets wrong."""
    from relubench.runs.checkpoint import from_bytes

    spec = job.specs[0]
    weights = store.weights_of(spec.id)
    if weights is None:
        raise ComputeError(f"the weights of {spec.id} are gone from {store.root}", "repeat with --no-cache")
    population = _population(job)
    tensors, values = from_bytes(weights)
    population.load_weights(tensors, values.get("held", ()))
    for strength in job.noise:
        population.data.noise = strength
        store.put_noise(spec.id, strength, population.evaluate("test").scores[0])
    yield NoiseTested(run=spec.id)


def _open(job: Job, pretrained: Sequence[PretrainedLayers] = ()) -> Population | SideBySide:
    """The networks before their first step, on top of their pre-trained layers."""
    from relubench.training.side_by_side import SideBySide

    several = len(job.specs) > 1 and job.specs[0].on_processor
    population = SideBySide(job.specs, *_parts(job)) if several else _population(job)
    for place, layers in enumerate(pretrained):
        population.start_from(place, layers.weights)
    return population


def _population(job: Job) -> Population:
    """The networks as one population."""
    from relubench.training.exchange import population_of

    return population_of(job.specs, *_parts(job))


def _parts(job: Job) -> tuple[ActivationChoice, Images]:
    """What the networks of a job share."""
    from relubench.training.text import open_data

    first = job.specs[0]
    choice = on_this_machine(job.choice, first, job.sources)
    _prepare_torch(first)
    return choice, open_data(obtain(job.data), device=first.device, flat=not family_of(first.model).can("images"))


def _prepare_torch(spec: RunSpec) -> None:
    """Set threads, precision and determinism, as the run has them."""
    import torch

    if spec.threads:
        torch.set_num_threads(spec.threads)
    torch.set_flush_denormal(True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = spec.precision == "tf32"
    if not DEVICES[spec.device].deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False


def _driver(job: Job, store: JobStore, pretrained: Sequence[PretrainedLayers]) -> Driver[Population | SideBySide]:
    """The driver of the job's population, which is trained on top of these layers."""
    return Driver(
        training=_open(job, pretrained),
        anew=lambda: _open(job, pretrained),
        kind="population",
        name=job.name,
        specs=job.specs,
        store=store,
        fresh=job.fresh,
    )


def _messages_at(job: Job, driver: Driver[Population | SideBySide], moment: Step | str) -> Messages:
    """How far every member is, its pre-training included; or a line for the user."""
    if isinstance(moment, str):
        yield Note(run=job.specs[0].id, text=moment)
        return
    population, rate = driver.training, driver.clock.rate
    stack = job.specs[0].stack
    pretrained = stack.total_epochs if stack is not None else 0
    for member in population.members:
        yield Progress(
            run=member.spec.id,
            epochs_done=pretrained + population.epochs_done,
            images_per_second=rate * len(job.specs) if rate is not None else None,
            valid_score=member.curve[-1].valid_score if member.curve else None,
            epoch_ended=moment.epoch_ended,
        )


def _store(store: JobStore, result: RunResult, timing: Timing, wrong: np.ndarray | None, weights: bytes | None) -> Done:
    """Store a finished run; the message about it."""
    not_stored = ""
    try:
        store.put(result, timing, wrong, weights)
    except OSError as error:
        # The result is reported all the same, and the run is trained again another time.
        not_stored = error.strerror or str(error)
    return Done(run=result.id, result=result, timing=timing, wrong=wrong, not_stored=not_stored)
