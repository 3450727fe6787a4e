"""`relubench doctor`: what of this machine helps or hinders a run, each with its remedy."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import typer

from relubench.cli import options, output
from relubench.errors import EXIT_COMPUTE, RelubenchError
from relubench.reports.formatting import folder_size, readable
from relubench.version import __version__

LITTLE_SPACE, NO_SPACE = 2_000_000_000, 100_000_000
"""Free bytes below which the doctor warns, and below which it calls it an error."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """The state of a part of this machine, and what to do where it hinders a run."""

    name: str
    status: Literal["ok", "warning", "error"]
    detail: str
    remedy: str | None = None

    @property
    def in_words(self) -> str:
        """The detail, and the remedy behind it."""
        return f"{self.detail}; {self.remedy}" if self.remedy else self.detail


def doctor(
    data_dir: options.DataDir = None,
    runs_dir: options.RunsDir = None,
    executor: options.CheckedExecutor = None,
    address: options.CheckedAddress = None,
    format: options.Format = None,
    output_file: options.OutputFile = None,
) -> None:
    """Check this machine: Python, torch, device, threads, data sets, folders, disk, terminal. Exit 1 for any error."""
    target = output.choose(format, output_file)
    from relubench.cli.executor_check import checked_executor, examine_executor
    from relubench.reports.report import listing

    named = checked_executor(executor, address)
    checks = [*examine(data_dir, runs_dir), *(Check(**facts) for facts in examine_executor(named, address))]
    human_rows = [{"name": check.name, "status": check.status, "detail": check.in_words} for check in checks]
    report = listing("doctor", [asdict(check) for check in checks], title="doctor", human_rows=human_rows)
    columns = [replace(column, drop_order=0) for column in report.columns]
    output.emit_report(replace(report, columns=columns), target)
    if any(check.status == "error" for check in checks):
        raise typer.Exit(EXIT_COMPUTE)


def examine(data_dir: Path | None, runs_dir: Path | None) -> Iterator[Check]:
    """All checks, in the order in which one failure explains the next."""
    from relubench.system.installation import torch_checks
    from relubench.system.paths import PACKAGE, cache_root, runs_root

    yield Check(name="python", status="ok", detail=f"{platform.python_version()} at {sys.executable}")
    yield Check(name="relubench", status="ok", detail=f"{__version__} in {PACKAGE}")
    yield from (
        Check(name=name, status=status, detail=detail, remedy=remedy) for name, status, detail, remedy in torch_checks()
    )
    yield _threads()
    yield _memory()
    yield from _data(data_dir)
    yield _folder("runs folder", runs_root(runs_dir), "choose another with --runs-dir or RELUBENCH_RUNS_DIR")
    yield _folder("cache folder", cache_root(), "choose another with RELUBENCH_CACHE_DIR")
    for name, place in _disks(runs_root(runs_dir), cache_root()):
        yield _space(name, place)
    yield from _backends()
    yield _terminal()


def _threads() -> Check:
    """Threads against cores: more threads than cores slow each other down."""
    from relubench.system.device import quota, usable_processors

    cores = usable_processors()
    allowed = quota()
    shared = f" (a quota leaves {allowed.processors:g} of them)" if (allowed.threads or cores) < cores else ""
    cores = min(cores, allowed.threads or cores)
    limits = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if os.environ.get(name)}
    detail = f"{cores} cores to use{shared}" + "".join(f", {name}={value}" for name, value in limits.items())
    for name, value in limits.items():
        if not value.isdigit() or int(value) > cores:
            return Check(name="threads", status="warning", detail=detail, remedy=f"set {name} to {cores} or unset it")
        if int(value) < cores:
            remedy = f"unset {name}, so that a lone run can use all {cores} cores"
            return Check(name="threads", status="warning", detail=detail, remedy=remedy)
    return Check(name="threads", status="ok", detail=detail)


def _memory() -> Check:
    """Memory that training may take, and what limits it: a container's quota, or the shell's limit of addresses."""
    from relubench.system.device import TORCH_ADDRESSES, address_limit, machine_memory, quota

    limit, memory, addresses = quota().memory, machine_memory(), address_limit()
    detail = f"{readable(min(memory, limit or memory))} to use"
    detail += f" (a quota, of {readable(memory)})" if limit is not None and limit < memory else ""
    if addresses is not None and addresses < TORCH_ADDRESSES:
        detail += f", of {readable(addresses)} of addresses (ulimit -v)"
        remedy = f"ulimit -v unlimited: torch maps about {readable(TORCH_ADDRESSES)} of addresses"
        return Check(name="memory", status="warning", detail=detail, remedy=remedy)
    return Check(name="memory", status="ok", detail=detail)


def _data(data_dir: Path | None) -> Iterator[Check]:
    from relubench.data import TABLE, status
    from relubench.data.files.locate import data_roots

    roots = ", ".join(f"{root}{'' if root.is_dir() else ' (not there)'}" for root in data_roots(data_dir))
    yield Check(name="data folders", status="ok", detail=roots)
    for row in TABLE.values():
        if row.variant not in ("", "balanced"):
            continue  # The variants of EMNIST lie in one archive.
        state = status(row.name, data_dir)
        by_itself = "downloaded on first use; or " if row.download or row.remote else ""
        remedy = f"{by_itself}put the files of {row.url} into {row.folders[0]}/"
        yield Check(
            name=f"data set {row.name}",
            status="warning" if state.startswith("incomplete") else "ok",
            detail=state,
            remedy=None if state.startswith("present") else remedy,
        )


def _backends() -> Iterator[Check]:
    """What multiplies dense layers here: known for this processor, and measured for shapes that were trained."""
    from relubench.models.backends.kept import records
    from relubench.models.backends.known import rows_of
    from relubench.reports.backends import known_text, measured_text
    from relubench.system.device import probe

    try:
        processor = probe().cpu
    except RelubenchError:
        return  # The lines about torch say why.
    if known_rows := rows_of(processor):
        yield Check(name="backends known", status="ok", detail="; ".join(known_text(row) for row in known_rows))
    for record in records():
        yield Check(name="backend measured", status="ok", detail=measured_text(record))


def _folder(name: str, folder: Path, elsewhere: str) -> Check:
    size = f", {readable(folder_size(folder))}" if folder.is_dir() else " (not there yet)"
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return Check(name=name, status="ok", detail=f"{folder}{size}")
    except OSError as error:
        return Check(
            name=name, status="error", detail=f"{folder} cannot be written: {error.strerror}", remedy=elsewhere
        )


def _disks(runs: Path, cache: Path) -> Iterator[tuple[str, Path]]:
    """The disks that runs and cache are on, each once."""
    places = {"disk of the runs": _existing(runs), "disk of the cache": _existing(cache)}
    devices = {name: place.stat().st_dev for name, place in places.items()}
    if len(set(devices.values())) == 1:
        yield "disk", places["disk of the runs"]
    else:
        yield from places.items()


def _space(name: str, place: Path) -> Check:
    free = shutil.disk_usage(place).free
    detail = f"{readable(free)} free at {place}"
    if free >= LITTLE_SPACE:
        return Check(name=name, status="ok", detail=detail)
    remedy = "free some, or move --runs-dir and RELUBENCH_CACHE_DIR; `relubench runs delete` removes runs"
    return Check(name=name, status="error" if free < NO_SPACE else "warning", detail=detail, remedy=remedy)


def _terminal() -> Check:
    encoding = (getattr(sys.stdout, "encoding", None) or "none").lower()
    facts = ["stdout is a terminal" if output.on_terminal() else "stdout is not a terminal", f"encoding {encoding}"]
    facts += [f"{name}={os.environ[name]}" for name in ("NO_COLOR", "COLUMNS", "TERM") if os.environ.get(name)]
    if encoding.replace("-", "") != "utf8":
        remedy = "set LANG to a UTF-8 locale, or PYTHONUTF8=1: some signs are shown as \\x.. otherwise"
        return Check(name="terminal", status="warning", detail=", ".join(facts), remedy=remedy)
    return Check(name="terminal", status="ok", detail=", ".join(facts))


def _existing(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    with contextlib.suppress(OSError):
        folder = folder.resolve()
    return next(parent for parent in (folder, *folder.parents) if parent.is_dir())
