"""Gives every part its share of the budget, one after the other, and keeps what each has written. Torch-free.

A part runs in a process of its own, so that an error, a crash or a hang of one takes nothing from the others. A part
may use its share of the time that is left; what it does not use goes to those after it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from benchmarks.gpu.setting import Row, Setting


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One question; `target` is module:function, which yields rows."""

    name: str
    target: str
    weight: float
    """Seconds that it would have of 480."""
    least: float
    """With less time than this it is not begun."""
    title: str


class Runner(Protocol):
    """Carries a part out and returns its record, at most `setting.seconds` later."""

    def __call__(self, part: Part, setting: Setting, file: Path) -> Row: ...


def run_parts(
    parts: Sequence[Part], setting: Setting, output: Path, runner: Runner, now: Callable[[], float] = time.monotonic
) -> Iterator[Row]:
    """The record of every part, which lies in `output` as well; `setting.seconds` is the budget of all."""
    start = now()
    for place, part in enumerate(parts):
        remaining = setting.seconds - (now() - start)
        allowed = remaining * part.weight / sum(later.weight for later in parts[place:])
        file = output / f"{part.name}.json"
        begun = now()
        if allowed < part.least * (0.1 if setting.small else 1.0):
            record = {"outcome": "skipped", "message": f"{max(allowed, 0.0):.0f} s were left for it", "rows": []}
        else:
            try:
                record = runner(part, replace(setting, seconds=allowed), file)
            except Exception as problem:
                record = {"outcome": "failed", "message": f"{type(problem).__name__}: {problem}", "rows": []}
        heading = {"part": part.name, "title": part.title, "setting": replace(setting, seconds=allowed).to_json()}
        record = {**heading, **record, "seconds": round(now() - begun, 2)}
        write(file, record)
        yield record


def write(file: Path, record: Row) -> None:
    """Writes a record whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".part")
    beside.write_text(json.dumps(record, indent=1, default=str) + "\n")
    beside.replace(file)


def faults(record: Row) -> list[str]:
    """What went wrong in a part, a line each: its own failure, and the rows that have an error."""
    lines = [str(row["error"]) for row in record["rows"] if row.get("error")]
    return [str(record["message"]), *lines] if record["outcome"] != "ok" else lines
