"""Rows that a program of somebody's own added to the tables: a family, task, optimizer, norm or probe. Torch-free.

Their source tells runs apart, as that of a user's own activation does; and only the process that added them has them.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from relubench.activations.user_sources import static_digest
from relubench.errors import UsageError
from relubench.executors.base import Executor
from relubench.executors.inline import InlineExecutor
from relubench.models.families import family_of
from relubench.models.norm_table import NORMS
from relubench.models.optimizer_table import OPTIMIZERS
from relubench.runs.spec import RunSpec
from relubench.runs.task import TASKS
from relubench.system.user_code.manifest import digest_of
from relubench.training.probes.table import probes_of

PACKAGE = __name__.partition(".")[0]


def rows_of(spec: RunSpec) -> dict[str, object]:
    """The rows that a run is computed with, by what they are: 'model family mlp'."""
    family = family_of(spec.model)
    return {
        f"model family {family.name}": family,
        f"task {spec.task}": TASKS[spec.task],
        f"optimizer {spec.optimizer}": OPTIMIZERS[spec.optimizer],
        f"norm {spec.norm}": NORMS[spec.norm],
        **{f"probe {name}": row for name, row in probes_of(spec.probe).items()},
    }


def source_digest(rows: Mapping[str, object]) -> str | None:
    """SHA-256 over the source of those of the rows, each by its name, that come from outside the package; else None.

    Raises UsageError where a row's code lies in no file: two versions of it could not be told apart.
    """
    files: set[Path] = set()
    for name, row in rows.items():
        for module, file in _outside_sources(row):
            if file is None or not file.is_file():
                fact = f"the {name} of {module} lies in no file, and runs of two versions could not be told apart"
                raise UsageError(fact, "write it into a file and import it")
            files.add(file.resolve())
    digests = [bytes.fromhex(static_digest(file, str(file))) for file in sorted(files)]
    return digest_of(digests) if digests else None


def check_rows_are_there(executor: Executor, specs: Sequence[RunSpec]) -> None:
    """Raises UsageError where a run needs a row that only this process has, and other processes are to train it."""
    if isinstance(executor, InlineExecutor):
        return
    for spec in (spec for spec in specs if spec.parts_digest is not None):
        for name, row in rows_of(spec).items():
            for module, _ in _outside_sources(row):
                raise UsageError(
                    f"worker processes do not have the {name}: {module} added it in this process",
                    "train in this process: executor='inline' in Python, --executor inline",
                )


def _outside_sources(row: object) -> Iterator[tuple[str, Path | None]]:
    """The module and the file of each function and class of a row that is not the package's own."""
    for module, file in _sources(row):
        if module.partition(".")[0] != PACKAGE:
            yield module, file


def _sources(row: Any) -> Iterator[tuple[str, Path | None]]:
    target = getattr(row, "target", "").partition(":")[0]
    if target:
        yield target, _file_of(target)
    values = [getattr(row, item.name) for item in fields(row)] if is_dataclass(row) else []
    for value in values:
        if isinstance(value, Mapping):
            values += value.values()
        elif callable(value):
            yield _source_of(value)


def _source_of(function: Any) -> tuple[str, Path | None]:
    while isinstance(function, functools.partial):
        function = function.func
    module = str(function.__module__)
    code = getattr(function, "__code__", None)
    return module, Path(code.co_filename) if code else _file_of(module)


def _file_of(module: str) -> Path | None:
    loaded = sys.modules.get(module)
    spec = importlib.util.find_spec(module) if loaded is None else None
    file = getattr(loaded, "__file__", None) or (spec.origin if spec else None)
    return Path(file) if file else None
