"""Where a command's result goes: checked before any work, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relubench.cli.streams import ClosedStdout
from relubench.errors import ComputeError, UsageError
from relubench.system.files import check_writable, write_file
from relubench.system.lookup import find
from relubench.version import __version__

if TYPE_CHECKING:
    from relubench.reports.report import Report


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """Rows whose first key is the name."""

    rows: list[dict[str, Any]]
    title: str
    drop_order: Sequence[str] = ()
    """Keys whose columns a table that is too wide does without, first to last."""
    notes: Sequence[str] = ()
    """Lines under the rows, for people."""


IDENTIFYING = ("year", "seed")
"""Whole numbers that are names: written without a sign between the thousands."""

SUFFIXES = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".md": "markdown",
    ".tex": "latex",
    ".txt": "table",
}
"""Suffix of a file -> its format."""

UNLIMITED = 10_000
"""Characters a line, where nothing may be wrapped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A place for a result; `path` None is stdout."""

    format: str
    path: Path | None = None

    @property
    def for_people(self) -> bool:
        """Whether the format carries title, footnotes and closing sentence."""
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
    if format_name is not None:
        from relubench.reports.render import FORMATS

        find(format_name, FORMATS, kind="format", see=f"formats are {', '.join(FORMATS)}")
    if output is None:
        return Target(format=format_name or ("table" if on_terminal() else "tsv"))
    check_file("--output", output)
    if format_name is None and output.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"--output {output}: the suffix does not say the format",
            f"use one of {' '.join(SUFFIXES)}, or add --format",
        )
    return Target(format=format_name or SUFFIXES[output.suffix.lower()], path=output)


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


def check_file(option: str, path: Path) -> None:
    """Raises UsageError if `path` cannot be written: its folder has to be there already."""
    try:
        check_writable(path)
    except IsADirectoryError:
        raise UsageError(f"{option} {path} is a folder", "give the name of a file in it") from None
    except FileNotFoundError as error:
        folder = path.resolve().parent if path.is_symlink() else path.parent
        raise UsageError(
            f"{option} {path}: there is no folder {folder}", f"make it first: mkdir -p {folder}"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return  # Room may be made meanwhile, and the result goes to stdout otherwise.
        reason = error.strerror or str(error)
        raise UsageError(
            f"{option} {path} cannot be written: {reason[:1].lower()}{reason[1:]}",
            "change the permissions, or choose another place",
        ) from error


def save_file(option: str, path: Path, content: bytes) -> None:
    """Write a file that a flag names; raises ComputeError where that fails after all."""
    try:
        write_file(path, content)
    except OSError as error:
        raise ComputeError(
            f"{option} {path} was not written: {error.strerror or error}", "name another file"
        ) from error


def emit_report(report: Report, target: Target) -> None:
    """Write a report in the target's format."""
    emit_reports([report], target)


def emit_reports(reports: Sequence[Report], target: Target) -> None:
    """Write reports in the target's format, one below the other."""
    from relubench.reports.render import render

    texts = [render(report, target.format, width=target.width, colour=target.colour) for report in reports]
    emit("\n".join(texts), target)


def emit_listings(listings: Sequence[Listing], command: str, target: Target) -> None:
    """Write rows with their titles, one listing after the other."""
    from relubench.reports.render import render

    reports = [_listing_report(listing, command) for listing in listings]
    texts = [render(report, target.format, width=target.width, colour=target.colour) for report in reports]
    emit("\n".join(texts), target)


def emit(text: str, target: Target) -> None:
    """Write the result to the target, with one line end behind it."""
    text = text if text.endswith("\n") or not text else text + "\n"
    if target.path is not None:
        try:
            write_file(target.path, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            # It may have taken hours, and it may be stored nowhere else.
            emit(text, replace(target, path=None))
            raise ComputeError(
                f"--output {target.path} was not written: {error.strerror or error}",
                "the result is on stdout instead; name another file",
            ) from error
        return
    if target.format != "table" and (binary := getattr(sys.stdout, "buffer", None)) is not None:
        # Programs read it: UTF-8, whatever the terminal can show, as in a file.
        sys.stdout.flush()
        binary.write(text.encode("utf-8", "backslashreplace"))
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


def _listing_report(listing: Listing, command: str) -> Report:
    from relubench.reports.report import Report, listing_columns

    rows = listing.rows
    columns = []
    for key, column in zip(dict.fromkeys(key for row in rows for key in row), listing_columns(rows), strict=True):
        if key in listing.drop_order:
            column = replace(column, drop_order=listing.drop_order.index(key) + 1)
        columns.append(replace(column, cell=_without_thousands_signs(key)) if key in IDENTIFYING else column)
    return Report(
        command=command,
        version=__version__,
        device=None,
        rows=rows,
        columns=columns,
        title=listing.title,
        footnotes=listing.notes,
    )


def _without_thousands_signs(key: str) -> Callable[[dict[str, Any]], list[str]]:
    return lambda row: ["" if row.get(key) is None else str(row[key])]
