"""How many seeds `--seeds` asks for, where that is no number: 3..50, or until-settled. Torch-free."""

from __future__ import annotations

import re

from relubench.errors import UsageError, shown
from relubench.statistics.sequential import LEAST_SEEDS, looks_between

UNTIL_SETTLED = "until-settled"
MOST_SEEDS = 50
"""The last look of until-settled."""
LARGEST = 10_000
HINT = "for example --seeds 3..20: the first look at 3 seeds, the last at 20"


def looks_of(text: str) -> tuple[int, ...] | None:
    """The looks that a text asks for; None where it is a number. UsageError for a range that is none."""
    if text == UNTIL_SETTLED:
        return looks_between(LEAST_SEEDS, MOST_SEEDS)
    return looks_between(*seeds_range(text)) if ".." in text else None


def seeds_range(text: str) -> tuple[int, int]:
    """The seeds of the first look and of the last; raises UsageError for anything but LEAST..MOST from 2 on."""
    match = re.fullmatch(r"\s*(\d{1,6})\s*\.\.\s*(\d{1,6})\s*", text)
    if match is None:
        raise UsageError(f"--seeds must be LEAST..MOST, got {shown(text)}", HINT)
    least, most = int(match[1]), int(match[2])
    if not 2 <= least <= most <= LARGEST:
        raise UsageError(f"--seeds must be from 2 to {LARGEST}, the least first, got {shown(text)}", HINT)
    return least, most
