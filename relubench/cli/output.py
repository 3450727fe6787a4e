"""Where a command's result goes: checked before any work, written whole or not at all."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from relubench.cli.streams import ClosedStdout
from relubench.errors import ComputeError, UsageError
from relubench.system import interrupts
from relubench.system.files import write_file
from relubench.system.lookup import find
from relubench.system.output_files import check_file

if TYPE_CHECKING:
    from relubench.reports.report import Report


UNLIMITED = 10_000
"""Characters a line, where nothing may be wrapped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A place for a result; `path` None is stdout."""

    format: str
    path: Path | None = None

    @property
    def human_readable(self) -> bool:
        """Whether the format carries title, notes and closing sentence."""
        from relubench.reports.render import FORMATS

        return FORMATS[self.format].human_readable

    @property
    def width(self) -> int | None:
        """None: as the terminal has it."""
        return UNLIMITED if self.path is not None else None

    @property
    def colour(self) -> bool | None:
        """None: as the terminal has it."""
        return False if self.path is not None else None


def choose(format_name: str | None, output: Path | None) -> Target:
    """The target that --format and --output ask for; raises UsageError where the file could not be written."""
    from relubench.reports.render import FORMATS

    if format_name is not None:
        find(format_name, FORMATS, kind="format", see=f"formats are {', '.join(FORMATS)}")
    if output is None:
        if format_name is not None and FORMATS[format_name].binary and on_terminal():
            raise UsageError(f"--format {format_name} is no text for a terminal", "add --output FILE.parquet")
        return Target(format=format_name or ("table" if on_terminal() else "tsv"))
    check_file("--output", output)
    format_by_suffix = {format.suffix: name for name, format in FORMATS.items()}
    if format_name is None and output.suffix.lower() not in format_by_suffix:
        raise UsageError(
            f"--output {output}: the suffix does not say the format",
            f"use one of {' '.join(format_by_suffix)}, or add --format",
        )
    return Target(format=format_name or format_by_suffix[output.suffix.lower()], path=output)


def check_stdout(target: Target) -> None:
    """Raises ComputeError where a result is meant for a stdout that is closed: said before long work, not after it."""
    if target.path is None and isinstance(sys.stdout, ClosedStdout):
        sys.stdout.write("")


def check_plot(plot: Path | None) -> None:
    """Raises UsageError where --plot could not be written."""
    if plot is None:
        return
    from relubench.reports.plots.figure import SUFFIXES as PLOT_SUFFIXES

    if plot.suffix.lower() not in PLOT_SUFFIXES:
        raise UsageError(f"--plot {plot}: the suffix does not say the format", f"use one of {' '.join(PLOT_SUFFIXES)}")
    check_file("--plot", plot)


def emit_report(report: Report, target: Target, *, quiet: bool = False) -> None:
    """Write a report; where the format has no room for them, its warnings and its sentence are said on stderr.

    `quiet`: the warnings alone.
    """
    from relubench.reports.render import FORMATS, render

    binary = FORMATS[target.format].binary
    text = render(report, target.format, width=target.width, colour=target.colour)
    emit(text, target, content=binary(report) if binary else None)
    if target.path is not None and not quiet:
        say(f"written: {target.path}")
    if not target.human_readable:
        for line in [*report.warnings, *([report.sentence] if report.sentence and not quiet else [])]:
            say(line)


def emit(text: str, target: Target, *, content: bytes | None = None) -> None:
    """Write the result to the target, with one line end behind it; `content` is what a file has that is no text."""
    text = text if text.endswith("\n") or not text else text + "\n"
    content = text.encode("utf-8", "backslashreplace") if content is None else content
    if target.path is not None:
        try:
            write_file(target.path, content)
        except OSError as error:
            # It may have taken hours, and it may be stored nowhere else.
            emit(text, replace(target, path=None))
            raise ComputeError(
                f"--output {target.path} was not written: {error.strerror or error}",
                "the result is on stdout instead; name another file",
            ) from error
        return
    # Half of a result is worse than none.
    with interrupts.FinishedFirst():
        _write(text, content, target)


def _write(text: str, content: bytes, target: Target) -> None:
    """Write the result to stdout: as text where people read it."""
    if target.format != "table" and (binary := getattr(sys.stdout, "buffer", None)) is not None:
        # Programs read it: UTF-8, whatever the terminal can show, as in a file.
        sys.stdout.flush()
        rest = memoryview(content)
        while rest:
            # Without a buffer (PYTHONUNBUFFERED) a signal ends a write early.
            rest = rest[binary.write(rest) or 0 :]
    else:
        sys.stdout.write(text)
    sys.stdout.flush()


def say(text: str) -> None:
    """Write one line to stderr."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def once(say: Callable[[str], None]) -> Callable[[str], None]:
    """`say`, but each line only the first time."""
    texts: set[str] = set()

    def say_new(text: str) -> None:
        if text not in texts:
            texts.add(text)
            say(text)

    return say_new


def on_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()
