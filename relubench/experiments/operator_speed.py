"""Activations timed as operators, from the request to the finished session."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relubench.activations import ActivationChoice, select
from relubench.errors import UsageError
from relubench.system.device import Device
from relubench.timing import request as checks
from relubench.timing.machine import MachineMonitor, caches, exclusive_timing, free_memory
from relubench.timing.request import Request
from relubench.timing.schedule import Session


def operator_request(
    choices: Sequence[ActivationChoice],
    device: Device,
    *,
    size: Sequence[str],
    dtype: Sequence[str],
    passes: Sequence[str],
    compiled: bool,
    threads: int,
    rel_ci: float,
    budget_s: float,
    seed: int,
) -> Request:
    """The checked request; raises UsageError before anything is allocated."""
    request = Request(
        sizes=checks.parse_sizes(list(size), caches(), device.kind),
        dtypes=checks.check_names("--dtype", list(dtype), tuple(checks.DTYPES)),
        passes=checks.check_names("--pass", list(checks.PASSES if "all" in passes else passes), checks.PASSES),
        compiled=compiled,
        threads=threads,
        rel_ci=rel_ci,
        budget_s=budget_s,
        seed=seed,
    )
    if threads != 1 and not device.is_processor:
        raise UsageError(f"--threads {threads} means nothing on {device.kind}", "leave it out, or add --device cpu")
    columns = max(choice.inputs_per_unit for choice in choices)
    checks.check_memory(request, columns, device.memory, free_memory() if device.is_processor else None)
    if compiled:
        checks.check_compiler(device)
    return request


def time_operators(
    request: Request, acts: Sequence[str], device: Device, note: Callable[[str], None]
) -> tuple[Session, list[str]]:
    """The finished measurement, and what a reader has to know of the machine meanwhile.

    With enough time several processes measure one after the other. Raises ComputeError where nothing can be measured.
    """
    import torch

    from relubench.timing.clocks import check_dtypes
    from relubench.timing.preparation import check_measurable, operators_session
    from relubench.timing.processes import ProcessSeries, choose_num_processes

    check_dtypes(request.dtypes, device.kind)
    with exclusive_timing(lambda: note("another timing run is under way on this machine: waiting for it to end")):
        if choose_num_processes(request, device.kind) > 1:
            monitor, processes = MachineMonitor(), ProcessSeries(request, list(acts))
            for _ in processes.run():
                pass
            return processes.session, [*processes.warnings, *monitor.warnings()]
        session = operators_session(request, select(acts), device.kind)
        check_measurable(session)
        monitor = MachineMonitor()
        with torch.no_grad():
            for _ in session.run():
                pass
        return session, monitor.warnings()
