"""Activations timed as operators, and the operations they are made of: requests, sessions and their rounds."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import torch

from relubench.activations import ActivationChoice
from relubench.errors import UsageError
from relubench.experiments.speed import Progress, timing_request
from relubench.system.device import Device
from relubench.timing import arithmetic
from relubench.timing import request as checks
from relubench.timing.clocks import check_dtypes, choose_clock
from relubench.timing.machine import MachineMonitor, caches, free_memory
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
    )
    if threads is not None and device.kind != "cpu":
        raise UsageError(f"--threads {threads} means nothing on {device.kind}", "leave it out, or add --device cpu")
    columns = max(choice.inputs_per_unit for choice in choices)
    checks.check_memory(request, columns, device.memory, free_memory() if device.kind == "cpu" else None)
    if compiled:
        checks.check_compiler(device)
    return request


class OperatorTiming:
    """The measurement of a request, ready to run; with enough time several processes measure one after the other.

    Raises ComputeError where nothing can be measured.
    """

    def __init__(
        self, request: Request, choices: Sequence[ActivationChoice], acts: Sequence[str], device: Device
    ) -> None:
        check_dtypes(request.dtypes, device.kind)
        self.warnings: list[str] = []
        """What a reader has to know of the machine, once the measurement has ended."""
        self.series: ProcessSeries | None = None
        if choose_num_processes(request, device.kind) > 1:
            self.series = ProcessSeries(request, acts)
            self.session: Session = self.series.session
        else:
            self.session = operators_session(request, choices, device.kind)
            check_measurable(self.session)

    def run(self) -> Generator[Progress]:
        """Measures to the end, round by round."""
        # Not before: what the compiler's processes do is not a neighbour's.
        monitor = MachineMonitor()
        try:
            yield from self._of_processes(self.series) if self.series else self._of_session()
        finally:
            self.warnings += [*(self.series.warnings if self.series else ()), *monitor.warnings()]

    def stop(self) -> bool:
        """Ends the measurement before its time; returns whether there is anything to report."""
        self.session.ended = "interrupted"
        return bool(self.series.done if self.series else self.session.rounds)

    def _of_session(self) -> Generator[Progress]:
        with torch.no_grad():
            for share in self.session.run():
                num_open = sum(not cell.done for cell in self.session.cells)
                yield Progress(self.session.rounds, share, num_open=num_open)

    def _of_processes(self, series: ProcessSeries) -> Generator[Progress]:
        for num_rounds, num_open, share in series.run():
            yield Progress(num_rounds, share, series.done + 1, num_open)


def arithmetic_session(request: Request, device: Device) -> Session:
    """The session of the article's operations in the first cache; raises UsageError for another device."""
    if device.kind != "cpu":
        raise UsageError(f"--arithmetic measures the processor, not {device.kind}", "leave --device out")
    set_up(request)
    with torch.no_grad():
        return arithmetic.prepare(request, caches().first, choose_clock("cpu", request.threads))
