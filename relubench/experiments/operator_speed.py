"""Activations timed as operators, and the operations they are made of: requests and measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from relubench.activations import ActivationChoice
from relubench.errors import UsageError
from relubench.experiments.operator_inputs import RecordedInputs
from relubench.experiments.speed import timing_request
from relubench.experiments.timings import Timed, Watch, time_rounds, unwatched
from relubench.system.device import Device, usable_processors
from relubench.timing import arithmetic
from relubench.timing import request as checks
from relubench.timing.clocks import check_dtypes, choose_clock
from relubench.timing.machine import caches, free_memory
from relubench.timing.preparation import check_measurable, operators_session, set_up
from relubench.timing.processes import ProcessSeries, choose_num_processes
from relubench.timing.request import Request
from relubench.timing.schedule import Session


def operator_request(
    choices: Sequence[ActivationChoice],
    device: Device,
    *,
    size: Sequence[str] | None = None,
    dtype: Sequence[str] | None = None,
    passes: Sequence[str] | None = None,
    compiled: bool = False,
    threads: int | None = None,
    inputs: RecordedInputs | None = None,
    rel_ci: str | None = None,
    budget: str | None = None,
    seed: int | None = None,
) -> Request:
    """The checked request for what to measure; raises UsageError before anything is allocated."""
    names = [name for text in passes or checks.DEFAULT_PASSES for name in text.split(",")]
    request = timing_request(
        "",
        rel_ci,
        budget,
        seed,
        sizes=checks.parse_sizes(list(size or checks.NAMED_SIZES), caches(), device.kind),
        dtypes=checks.check_names("--dtype", list(dtype or ["fp32"]), tuple(checks.DTYPES)),
        passes=checks.check_names("--pass", list(checks.PASSES) if "all" in names else names, checks.PASSES),
        compiled=compiled,
        threads=1 if threads is None else threads,
        inputs=inputs.values if inputs is not None else (),
    )
    if threads is not None and not device.is_processor:
        raise UsageError(f"--threads {threads} means nothing on {device.kind}", "leave it out, or add --device cpu")
    if threads is not None and not 1 <= threads <= usable_processors():
        raise UsageError(
            f"--threads must be 1 to {usable_processors()}, the processors that may be used here, got {threads}",
            "threads that share a processor wait for each other; leave --threads out for one",
        )
    columns = max(choice.inputs_per_unit for choice in choices)
    checks.check_memory(request, columns, device.memory, free_memory() if device.is_processor else None)
    if compiled:
        checks.check_compiler(device)
    return request


def time_operators(
    request: Request,
    choices: Sequence[ActivationChoice],
    acts: Sequence[str],
    device: Device,
    watch: Watch = unwatched,
    note: Callable[[str], None] = lambda text: None,
    *,
    keep_interrupted: bool = False,
) -> Timed[Session]:
    """These activations, timed; with enough time several processes measure one after the other.

    Raises ComputeError where nothing can be measured.
    """
    check_dtypes(request.dtypes, device.kind)
    if choose_num_processes(request, device.kind) > 1:
        timed = time_rounds(
            lambda: ProcessSeries(request, acts), device.name, watch, note, keep_interrupted=keep_interrupted
        )
        series = timed.measurement
        return Timed(series.session, device.name, [*series.warnings, *timed.warnings])

    def prepare() -> Session:
        session = operators_session(request, choices, device.kind)
        check_measurable(session)
        return session

    return time_rounds(prepare, device.name, watch, note, keep_interrupted=keep_interrupted)


def time_arithmetic(
    request: Request, device: Device, watch: Watch = unwatched, note: Callable[[str], None] = lambda text: None
) -> Timed[Session]:
    """The article's operations in the first cache, timed; raises UsageError for another device than the processor."""
    if not device.is_processor:
        raise UsageError(f"--arithmetic measures the processor, not {device.kind}", "leave --device out")

    def prepare() -> Session:
        set_up(request)
        with torch.no_grad():
            return arithmetic.prepare(request, caches().first, choose_clock("cpu", request.threads))

    return time_rounds(prepare, device.name, watch, note)
