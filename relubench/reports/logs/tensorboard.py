"""Runs as TensorBoard reads them: a folder of events for each run, with its curves, settings and final numbers."""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from relubench.errors import UsageError
from relubench.reports.logs.run import LoggedRun, file_name
from relubench.reports.report import Report
from relubench.system.paths import user_path

INSTALL = "pip install 'relubench[tensorboard]'"
LIVE = ".live"
"""What the name of a file of events ends with while its run goes on."""


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
    folders = [user_path(address) / file_name(run.name, run.id) for run in runs]
    new = [(run, folder) for run, folder in zip(runs, folders, strict=True) if not _is_there(folder)]
    for run, folder in new:
        _write_run(run, folder)
    for folder in folders:
        for file in folder.glob(f"events.out.tfevents.*{LIVE}"):
            file.unlink(missing_ok=True)
    return len(new)


def _is_there(folder: Path) -> bool:
    """Whether the folder has the events of a whole run; the same run has the same numbers."""
    return any(not file.name.endswith(LIVE) for file in folder.glob("events.out.tfevents.*"))


class LiveCurves:
    """Curves of runs that go on, a file of events each; `write` puts the whole run in their place. Needs no torch."""

    def __init__(self, address: str) -> None:
        self._root = user_path(address)
        self._writers: dict[str, Any] = {}

    def add(self, folder: str, curve: str, epoch: int, value: float) -> None:
        """Write the point of one epoch, so that it can be seen at once."""
        library: Any = importlib.import_module("tensorboard.summary.writer.event_file_writer")
        events: Any = importlib.import_module("tensorboard.compat.proto.event_pb2")
        summaries: Any = importlib.import_module("tensorboard.compat.proto.summary_pb2")
        if folder not in self._writers:
            self._writers[folder] = library.EventFileWriter(str(self._root / folder), filename_suffix=LIVE)
        summary = summaries.Summary(value=[summaries.Summary.Value(tag=curve, simple_value=value)])
        self._writers[folder].add_event(events.Event(wall_time=time.time(), step=epoch, summary=summary))
        self._writers[folder].flush()

    def end(self, folder: str) -> None:
        """Close the file of a run that has ended."""
        if folder in self._writers:
            self._writers.pop(folder).close()


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
