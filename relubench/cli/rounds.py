"""The counter of a timing run's rounds, on a terminal."""

from __future__ import annotations

import sys

WIDTH = 78


def show_round(rounds: int, share: float, *, ended: bool, quiet: bool, more: str = "") -> None:
    """The round in progress and the share of the budget that is used; wiped out at the end."""
    if quiet or not sys.stderr.isatty():
        return
    text = f"round {rounds + 1}, {more}{100 * share:.0f} % of the budget"
    sys.stderr.write("\r" + " " * WIDTH + "\r" if ended else f"\r{text:<{WIDTH}}")
    sys.stderr.flush()
