"""A gate on times: is an activation slower than before by more than is allowed, or could that not be seen?"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from relubench.errors import UsageError, shown
from relubench.statistics.gate import Outcome

HINT = "for example --fail-on slower, slower:5%, faster:10% or any:5%"


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedGate:
    """What counts as a regression: a time that has grown (or shrunk, or either) by more than this share."""

    direction: str
    share: float

    def __str__(self) -> str:
        return f"{self.direction}:{100 * self.share:g}%" if self.share else self.direction

    def judge(self, low: float, high: float) -> Outcome:
        """The outcome for a time now over the time before whose interval is [low, high]."""
        slower, faster = (low, high), (1 / high, 1 / low)
        ends = {"slower": [slower], "faster": [faster], "any": [slower, faster]}[self.direction]
        if any(least > 1 + self.share for least, _ in ends):
            return "regression"
        return "inconclusive" if any(most > 1 + self.share for _, most in ends) else "passed"


def parse_speed_gate(text: str) -> SpeedGate:
    """The gate that --fail-on names; raises UsageError for another direction, or a share that is none."""
    match = re.fullmatch(r"(slower|faster|any)(?::(.*))?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(f"--fail-on is one of slower, faster, any, got {shown(text)}", HINT)
    try:
        percent = float(match[2].strip().removesuffix("%")) if match[2] is not None else 0.0
    except ValueError:
        percent = math.nan
    if not 0 <= percent <= 1000:
        raise UsageError(f"the share of --fail-on is a number of per cent from 0 to 1000, got {shown(match[2])}", HINT)
    return SpeedGate(direction=match[1].lower(), share=percent / 100)
