"""A gate for pipelines: is an error beyond what is allowed, not beyond, or could that not be seen?

A difference's interval lies above the allowed points (a regression), below them (passed), or holds them
(inconclusive): the two one-sided tests of non-inferiority, as in Schuirmann 1987, J. Pharmacokinet. Biopharm. 15.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from relubench.errors import UsageError, shown

Outcome = Literal["regression", "passed", "inconclusive"]

DIRECTIONS = ("higher", "lower", "any")
HINT = "for example --fail-on higher, higher:0.2 (percentage points), lower or any"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """What counts as a regression: an error that is higher (or lower, or either) by more than so many points."""

    direction: str
    points: float

    def __str__(self) -> str:
        return f"{self.direction}:{self.points:g}" if self.points else self.direction

    def judge(self, low: float, high: float) -> Outcome:
        """The outcome for a difference whose interval is [low, high], in points, later less earlier."""
        ends = {"higher": [(low, high)], "lower": [(-high, -low)], "any": [(low, high), (-high, -low)]}[self.direction]
        if any(least > self.points for least, _ in ends):
            return "regression"
        if any(most > self.points for _, most in ends):
            return "inconclusive"
        return "passed"


def parse_gate(text: str) -> Gate:
    """The gate that --fail-on names; raises UsageError for another direction, or points that are no number."""
    match = re.fullmatch(r"([a-z]+)(?::(.*))?", text.strip(), re.IGNORECASE)
    direction = match[1].lower() if match else ""
    if direction not in DIRECTIONS:
        raise UsageError(f"--fail-on is one of {', '.join(DIRECTIONS)}, got {shown(text)}", HINT)
    assert match is not None
    try:
        points = float(match[2]) if match[2] is not None else 0.0
    except ValueError:
        points = math.nan
    if not 0 <= points <= 100:
        raise UsageError(f"the points of --fail-on are a number from 0 to 100, got {shown(match[2])}", HINT)
    return Gate(direction=direction, points=points)
