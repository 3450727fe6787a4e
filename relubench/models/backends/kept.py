"""Backends that were measured on this machine, kept in the cache folder, so that they stay the same. Torch-free.

A file holds one answer. Its name is made of all that the answer may depend on: processor, versions, question.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from relubench.models.backends.question import BACKENDS, WITH_ONEDNN, Question
from relubench.system.device import Device
from relubench.system.kept_answers import keep_answer, read_answer
from relubench.system.paths import cache_root
from relubench.version import ENGINE_VERSION

MARGIN = 0.95
"""A backend is taken in place of a simpler one if it takes at most this share of its time."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of a training step by backend, and of an evaluation of the same layers by library."""

    training: dict[str, float]
    evaluation: dict[str, float]

    def evaluated_by(self) -> str:
        """The faster library of an evaluation."""
        return _fastest(self.evaluation)

    def fastest(self) -> str:
        """The fastest backend, with the library that evaluates its networks."""
        return with_library(_fastest(self.training), self.evaluated_by())


Measure = Callable[[Question, str], Timings]
"""The timings of a question on the processor of that name, which is this machine's."""

_unkept: dict[Path, Timings] = {}
"""What this process has measured and could not keep."""


def with_library(backend: str, library: str) -> str:
    """The whole name of a backend: that of kernels says which library evaluates."""
    return backend + WITH_ONEDNN if (backend, library) == ("kernels", "onednn") else backend


def timings(question: Question, device: Device, measure: Measure) -> Timings:
    """The timings that are kept for this question, whatever would be measured now; else they are measured and kept.

    Where nothing can be kept (a read-only or a full disk) they hold for this process.
    """
    path = folder() / f"{_digest(question, device)}.json"
    with _locked(path):
        answer = _read(path) or _unkept.get(path)
        if answer is None:
            answer = measure(question, device.name)
            try:
                keep_answer(path, _record(question, device, answer))
            except OSError:
                _unkept[path] = answer
    return answer


def records() -> Iterator[dict[str, Any]]:
    """What is kept, the oldest first; files that cannot be read are left out."""
    found_records: list[dict[str, Any]] = []
    for path in folder().glob("*.json"):
        found_records += [record for record in (read_answer(path),) if record is not None and _read(path)]
    yield from sorted(found_records, key=lambda record: str(record.get("date")))


def folder() -> Path:
    """Where answers are kept."""
    return cache_root() / "backends"


def _fastest(seconds: dict[str, float]) -> str:
    """The fastest, where it is so by more than the margin; `seconds` holds the simplest first."""
    fastest, *more = seconds
    for name in more:
        fastest = name if seconds[name] < MARGIN * seconds[fastest] else fastest
    return fastest


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Inside, no other process measures the same; where no file can be made, nobody waits for anybody."""
    with contextlib.ExitStack() as stack:
        if not path.is_file():
            from filelock import FileLock

            # filelock raises NotImplementedError on a file system that has no locks.
            with contextlib.suppress(OSError, NotImplementedError):
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(FileLock(path.with_suffix(".lock")))
        yield


def _digest(question: Question, device: Device) -> str:
    """The name of all that an answer may depend on."""
    facts = [device.name, device.features, device.torch, ENGINE_VERSION, question.to_json()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def _record(question: Question, device: Device, answer: Timings) -> dict[str, Any]:
    processor = {"processor": device.name, "features": device.features, "torch": device.torch, "engine": ENGINE_VERSION}
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {**processor, "question": question.to_json(), "backend": answer.fastest(), **asdict(answer), "date": date}


def _read(path: Path) -> Timings | None:
    """The answer in that file; None if there is none, or not a whole one."""
    values = read_answer(path)
    if values is None:
        return None
    training, evaluation = ({k: float(v) for k, v in values[key].items()} for key in ("training", "evaluation"))
    is_whole = training and evaluation and {*training, *evaluation} <= set(BACKENDS)
    return Timings(training, evaluation) if is_whole else None
