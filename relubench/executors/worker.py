"""The process that trains: reads jobs from standard input, one JSON line each, and reports on standard output likewise.

A job is one population. Whoever started the worker closes its input to end it, or sends SIGTERM to interrupt it: it
then writes a checkpoint and leaves. Ctrl-C, which reaches every process of a terminal, is left to whoever started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from relubench.errors import ComputeError
from relubench.executors.failures import check_unchanged, explain, free_memory, is_out_of_memory
from relubench.executors.job import Job, lines_of_jobs
from relubench.models.architecture import architecture_of
from relubench.models.backend import route
from relubench.runs.clock import Clock
from relubench.runs.result import RunResult, Timing
from relubench.runs.spec import RunSpec
from relubench.runs.store import Busy, Store
from relubench.system.page_faults import prefault_constants
from relubench.training.pretraining.layers import CHECKPOINT_SECONDS, PROGRESS_SECONDS, Emit, Interrupted, Stack, obtain
from relubench.version import __version__

if TYPE_CHECKING:
    from relubench.training.evaluation import Evaluation
    from relubench.training.population import Member, Population


def carry_out(job: Job, emit: Emit, stop: Callable[[], bool]) -> None:
    """Train a population and store its runs, in halves if it is too large for the memory; see `train_and_store`.

    A job with noise tests its stored network instead.
    """
    if job.noise:
        test_under_noise(job, emit)
        return
    try:
        train_and_store(job, emit, stop)
        return
    except (MemoryError, RuntimeError) as error:
        if len(job.specs) == 1 or not is_out_of_memory(error):
            raise
        print(f"{len(job.specs)} networks at once do not fit into the memory: trying halves", file=sys.stderr)
    # Only here, with the error gone, is nothing of the whole population left in memory.
    free_memory()
    middle = len(job.specs) // 2
    for half in (job.specs[:middle], job.specs[middle:]):
        carry_out(replace(job, specs=half), emit, stop)


def train_and_store(job: Job, emit: Emit, stop: Callable[[], bool]) -> None:
    """Train one population and store its runs; raises Interrupted after `stop`, RelubenchError for what failed.

    Raises Busy if another process is training one of them and the job is not patient.
    """
    store = Store(job.store)
    with contextlib.ExitStack() as held:
        for run in sorted(spec.id for spec in job.specs):
            held.enter_context(store.lock(run, _waiting(job, run, emit, stop)))
        if not (job.fresh or job.pretrain_only) and all(store.has(spec.id) for spec in job.specs):
            for spec in job.specs:
                emit({"event": "done", "run": spec.id, "cached": True})
            return
        job, stacks = _pretrain(job, store, emit, stop)
        if job.pretrain_only or not job.specs:
            return
        population = _open(job, stacks)
        clock = Clock() if job.fresh else _resume(job, store, population)
        if clock is None:
            population, clock = _open(job, stacks), Clock()
        _tell(job, population, clock, emit, "progress")
        _train(job, store, population, clock, emit, stop)
        test = population.evaluate("test", best=True, sparsity=True)
        clock.tick()
        for place, stack in enumerate(stacks):
            _put(job, store, population, test, clock, place, stack.seconds, emit)
        store.discard(job.name)


def _waiting(job: Job, run: str, emit: Emit, stop: Callable[[], bool]) -> Callable[[], bool]:
    """Whether to wait on while another process trains `run`: asked again and again, told once."""
    told = False

    def go_on() -> bool:
        nonlocal told
        if stop():
            raise Interrupted
        if job.patient and not told:
            emit({"event": "waiting", "run": run})
            told = True
        return job.patient

    return go_on


def _pretrain(job: Job, store: Store, emit: Emit, stop: Callable[[], bool]) -> tuple[Job, list[Stack]]:
    """The job without the members whose stack diverged, which are stored as such, and the stacks of the others."""
    specs: list[RunSpec] = []
    stacks: list[Stack] = []
    for spec in job.specs:
        stack = Stack()
        if spec.stack is not None:
            _prepare_torch(spec)
            # Of a fresh run the stack was trained anew before, by a job of its own.
            fresh = job.fresh and job.pretrain_only
            stack = obtain(spec, job.choice, job.prepared, store, fresh=fresh, emit=emit, stop=stop)
        if job.pretrain_only:
            emit({"event": "pretrained", "run": spec.id})
        elif stack.diverged:
            _store(
                store, _diverged(spec, stack, job.prepared.n_test), Clock().timing(1, stack.seconds), None, None, emit
            )
        else:
            specs.append(spec)
            stacks.append(stack)
    return replace(job, specs=specs), stacks


def test_under_noise(job: Job, emit: Emit) -> None:
    """Test a stored network once for each strength of noise, and store which test examples it gets wrong."""
    from relubench.runs.checkpoint import from_bytes

    store, spec = Store(job.store), job.specs[0]
    weights = store.weights_of(spec.id)
    if weights is None:
        raise ComputeError(f"the weights of {spec.id} are gone from {job.store}", "repeat with --no-cache")
    population = _open(job)
    tensors, values = from_bytes(weights)
    population.load_weights(tensors, values.get("held", ()))
    for strength in job.noise:
        population.data.noise = strength
        store.put_noise(spec.id, strength, population.evaluate("test").wrong[0])
    emit({"event": "done", "run": spec.id})


def _diverged(spec: RunSpec, stack: Stack, test_examples: int) -> RunResult:
    """The run whose pre-training ended it: its finished layers stay in the store."""
    return RunResult(
        id=spec.id,
        spec=spec.to_json(),
        outcome="diverged",
        message=stack.diverged,
        parameters=spec.parameters,
        path=route(spec, 1),
        epochs=0,
        best_epoch=None,
        valid_error_pct=None,
        test_error_pct=None,
        test_examples=test_examples,
        sparsity_pct=None,
        versions=_versions(spec),
    )


def _open(job: Job, stacks: Sequence[Stack] = ()) -> Population:
    """The networks before their first step, on top of their pre-trained stacks."""
    from relubench.training.images import Images
    from relubench.training.population import Population

    first = job.specs[0]
    check_unchanged(job)
    _prepare_torch(first)
    data = Images.open(job.prepared, device=first.device, flat=not architecture_of(first).takes_images)
    population = Population(job.specs, job.choice, data)
    for place, stack in enumerate(stacks):
        population.start_from(place, stack.weights)
    return population


def _prepare_torch(spec: RunSpec) -> None:
    """Threads, precision and determinism, as the run has them."""
    import torch

    if spec.threads:
        torch.set_num_threads(spec.threads)
    torch.set_flush_denormal(True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = spec.precision == "tf32"
    if spec.device == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False


def _resume(job: Job, store: Store, population: Population) -> Clock | None:
    """Load the checkpoint, if there is one; the clock goes on from where it stood.

    None: it cannot be used, and a part of it may have got into the population.
    """
    from relubench.runs.checkpoint import from_bytes

    try:
        tensors, values = from_bytes(store.checkpoint_of(job.name))
        population.load(tensors, values["population"])
    except FileNotFoundError:
        return Clock()
    except (ValueError, KeyError, RuntimeError) as error:
        print(f"the checkpoint {store.checkpoint(job.name)} cannot be used ({error}): starting anew", file=sys.stderr)
        return None
    clock = Clock(**values["clock"])
    clock.interruptions += 1
    return clock


def _train(job: Job, store: Store, population: Population, clock: Clock, emit: Emit, stop: Callable[[], bool]) -> None:
    saved = shown = time.perf_counter()
    for step in population.train():
        passed = clock.tick()
        clock.images += step.images
        if step.epoch_ended:
            clock.epoch_seconds.append(clock.seconds)
        else:
            clock.train_seconds += passed
        now = time.perf_counter()
        if step.epoch_ended or now - shown >= PROGRESS_SECONDS:
            shown = now
            _tell(job, population, clock, emit, "epoch" if step.epoch_ended else "progress")
        if stop() or now - saved >= CHECKPOINT_SECONDS:
            saved = now
            _save(job, store, population, clock)
            if stop():
                raise Interrupted


def _tell(job: Job, population: Population, clock: Clock, emit: Emit, kind: str) -> None:
    """Report how far every member is, its pre-training behind it."""
    stack = job.specs[0].stack
    pretrained = stack.total_epochs if stack is not None else 0
    for member in population.members:
        point = member.curve[-1] if member.curve else None
        emit(
            {
                "event": kind,
                "run": member.spec.id,
                "epochs_done": pretrained + population.epochs_done,
                "images_per_second": clock.images * len(job.specs) / clock.seconds if clock.images else None,
                "valid_error_pct": point.valid_error_pct if point else None,
            }
        )


def _save(job: Job, store: Store, population: Population, clock: Clock) -> None:
    from relubench.runs.checkpoint import to_bytes

    tensors, values = population.state()
    content = to_bytes(tensors, {"population": values, "clock": clock.to_json()})
    try:
        store.put_checkpoint(job.name, content)
        store.put_unfinished(job.name, [spec.to_json() for spec in job.specs])
    except OSError as error:
        # Training goes on without: a full disk may be emptied before the run ends.
        print(f"no checkpoint was written: {error}", file=sys.stderr)


def _put(
    job: Job,
    store: Store,
    population: Population,
    test: Evaluation,
    clock: Clock,
    place: int,
    pretraining: float,
    emit: Emit,
) -> None:
    """Store the member's run, with its weights if they are to be kept, and report it."""
    spec, member = job.specs[place], population.members[place]
    diverged = member.stopped == "diverged"
    wrong = None if diverged else test.wrong[place]
    zeros = [] if diverged else [100.0 * float(one) for one in test.zeros[place]]
    outcome, message = "ok", ""
    if diverged:
        outcome, message = "diverged", f"the loss was not finite in epoch {member.curve[-1].epoch}"
    elif population.still_at_chance(member):
        outcome, message = "stalled", "the validation error is no better than always naming the commonest class"
    result = RunResult(
        id=spec.id,
        spec=spec.to_json(),
        outcome=outcome,
        message=message,
        parameters=population.parameter_count,
        path=route(spec, len(job.specs)),
        epochs=len(member.curve),
        best_epoch=None if diverged else member.best_epoch,
        valid_error_pct=None if diverged else member.best_error,
        test_error_pct=None if wrong is None else 100.0 * float(wrong.mean()),
        test_examples=job.prepared.n_test,
        sparsity_pct=sum(zeros) / len(zeros) if zeros else None,
        sparsity_by_layer_pct=zeros,
        near_zeros_pct=None if diverged else _near_zeros(member),
        dead_units_pct=_dead_units(member),
        curve=member.curve,
        probes=member.probes,
        dead_units=member.dead_units,
        regions=member.regions,
        versions=_versions(spec),
    )
    timing = clock.timing(len(job.specs), pretraining)
    _store(store, result, timing, wrong, _weights(job, population, place), emit)


def _store(
    store: Store, result: RunResult, timing: Timing, wrong: np.ndarray | None, weights: bytes | None, emit: Emit
) -> None:
    """Store a finished run and report it."""
    try:
        store.put(result, timing, wrong, weights)
        emit({"event": "done", "run": result.id})
    except OSError as error:
        # It is computed all the same: reported now, and trained again another time.
        mask = None if wrong is None else np.packbits(wrong).tobytes().hex()
        lost = {"result": result.to_json(), "timing": timing.to_json(), "wrong": mask}
        emit({"event": "done", "run": result.id, "not_stored": error.strerror or str(error), **lost})


def _versions(spec: RunSpec) -> dict[str, str]:
    return {"relubench": __version__, "torch": spec.torch, "python": platform.python_version()}


def _near_zeros(member: Member) -> float | None:
    """Near zeros of the tested weights, which the best epoch's look saw, over the hidden layers; None unless looked."""
    seen = [one.near_zeros_pct for one in member.probes if one.epoch == member.best_epoch]
    known = [one for one in seen if one is not None]
    return sum(known) / len(known) if known and len(known) == len(seen) else None


def _dead_units(member: Member) -> float | None:
    """The share of dead units among all hidden ones, in percent; None unless they were counted."""
    if not member.dead_units:
        return None
    return 100.0 * sum(one.dead for one in member.dead_units) / sum(one.units for one in member.dead_units)


def _weights(job: Job, population: Population, place: int) -> bytes | None:
    from relubench.runs.checkpoint import to_bytes

    if job.keep == "none":
        return None
    spec = job.specs[place]
    best = job.keep == "best"
    facts = {"run": spec.id, "activation": spec.activation, "model": spec.model, "kept": job.keep}
    held = population.held_values(place, best=best)
    return to_bytes(population.weights(place, best=best), facts | ({"held": held} if held else {}))


def main() -> None:
    """Carry out jobs until the input ends."""
    # What a user's own module prints must not end up between the reports.
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    stopping = False

    def on_terminate(signum: int, frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, on_terminate)

    def emit(message: dict[str, Any]) -> None:
        nonlocal stopping
        try:
            channel.write(json.dumps(message) + "\n")
        except BrokenPipeError:
            stopping = True

    if not os.environ.get("RELUBENCH_DEBUG"):
        # What libraries warn of was said once, when the network was looked at.
        warnings.simplefilter("ignore")
    with contextlib.suppress(ImportError, OSError, MemoryError):
        prefault_constants()  # Where torch cannot be loaded, the first job says so.
    for line in lines_of_jobs(on_terminate):
        job = Job.from_json(json.loads(line))
        try:
            carry_out(job, emit, lambda: stopping)
        except Interrupted:
            break
        except Busy:
            emit({"event": "busy"})
        except Exception as error:
            if os.environ.get("RELUBENCH_DEBUG"):
                traceback.print_exc()
            told = explain(error, job)
            for spec in job.specs:
                report = {"event": "failed", "run": spec.id, "message": told.message, "hint": told.hint}
                emit({**report, "exit_code": told.exit_code})
        # A network's layers hold each other: left to themselves they are let go many networks later.
        free_memory()
        emit({"event": "idle"})
        if stopping:
            break
    # Flushing at interpreter exit would complain about a reader that has gone.
    with contextlib.suppress(BrokenPipeError):
        channel.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
