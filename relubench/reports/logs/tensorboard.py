"""Runs as TensorBoard reads them: a folder of events for each run, with its curves, settings and final numbers."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from relubench.errors import UsageError
from relubench.reports.logs.run import LoggedRun, file_name
from relubench.reports.report import Report
from relubench.system.paths import user_path

INSTALL = "pip install 'relubench[tensorboard]'"


def check(address: str) -> None:
    """Raises UsageError where TensorBoard is not installed, or the folder is a file."""
    try:
        importlib.import_module("tensorboard.summary.writer.event_file_writer")
    except ImportError as error:
        raise UsageError("--log tensorboard needs TensorBoard, which is not installed here", INSTALL) from error
    if user_path(address).exists() and not user_path(address).is_dir():
        raise UsageError(f"--log tensorboard:{address}: this is a file, not a folder", "name a folder")


def write(report: Report, runs: Sequence[LoggedRun], address: str) -> int:
    """The number of runs that were written below the folder; a run that it has already is left alone."""
    new = [run for run in runs if not _is_there(user_path(address) / file_name(run))]
    for run in new:
        _write_run(run, user_path(address) / file_name(run))
    return len(new)


def _is_there(folder: Path) -> bool:
    """Whether the folder has events; the same run has the same numbers."""
    return any(folder.glob("events.out.tfevents.*"))


def _write_run(run: LoggedRun, folder: Path) -> None:
    library: Any = importlib.import_module("torch.utils.tensorboard")
    summaries: Any = importlib.import_module("torch.utils.tensorboard.summary")
    start = None if run.finished is None else run.finished - run.seconds
    with library.SummaryWriter(str(folder)) as writer:
        # Settings and final numbers stand in the same folder as the curves: TensorBoard then has one run, not two.
        for summary in summaries.hparams(run.settings, run.final):
            writer.file_writer.add_summary(summary)
        writer.add_text("outcome", run.outcome, walltime=run.finished)
        for point in run.points:
            clock = None if start is None or point.seconds is None else start + point.seconds
            for name, value in point.values.items():
                writer.add_scalar(name, value, point.epoch, walltime=clock)
        for name, value in run.final.items():
            writer.add_scalar(name, value, len(run.points), walltime=run.finished)
