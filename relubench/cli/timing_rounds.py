"""A timing run before the user's eyes: its rounds are counted while it runs."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

from relubench.reports.formatting import count

if TYPE_CHECKING:
    from relubench.experiments.timings import Progress

WIDTH = 78


def show_rounds(rounds: Generator[Progress], *, quiet: bool) -> None:
    """Repeat a measurement to its end; the round in progress is shown, and wiped out at the end."""
    is_shown = not quiet and sys.stderr.isatty()
    try:
        for progress in rounds:
            if is_shown:
                sys.stderr.write(f"\r{_text(progress):<{WIDTH}}")
                sys.stderr.flush()
    finally:
        if is_shown:
            sys.stderr.write("\r" + " " * WIDTH + "\r")
            sys.stderr.flush()
        # What it knows of the machine is complete once it is closed.
        rounds.close()


def _text(progress: Progress) -> str:
    process = f"process {progress.process}, " if progress.process is not None else ""
    still = f"{count(progress.num_open, 'cell')} to go, " if progress.num_open else ""
    return f"round {progress.rounds + 1}, {process}{still}{100 * min(1.0, progress.share):.0f} % of the budget"
