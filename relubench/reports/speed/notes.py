"""Notes that several tables of `relubench speed` have in common: on ratios, and on timing the base against itself."""

from __future__ import annotations

from collections.abc import Iterable

from relubench.timing.measurement import Measurement

ONE_PROCESS = "all rounds ran in one process, and another process may differ by more than the intervals say"

PAIRED = (
    "a ratio is the median of the ratios within each round, and not the quotient of the times beside it; trust the "
    "ratio, since both times of a round met the same machine"
)
"""Ratios and times differ on a busy machine: this says which of the two to trust."""
APART = 1.05
"""From this factor between a ratio and the quotient of its times on, the note gives the factor."""


def ending(measurement: Measurement, reached: str = "every interval", missed: str = "every interval") -> str:
    """Why the rounds ended: what was reached, every interval being narrow enough, or what the budget kept from it."""
    width = f"{100 * measurement.rel_ci:g} %"
    if measurement.ended == "interval":
        return f"{reached} is narrower than {width}"
    return f"the budget of {measurement.budget_s:g} s ended it before {missed} was narrower than {width}"


def plus_minus(value: float, low: float | None, high: float | None) -> str:
    """±3%: half of the interval as a share of the value; empty without an interval."""
    return "" if low is None or high is None else f"±{50 * (high - low) / value:.0f}%"


def against_itself(base: str, num_called: int, num_cells: int, expected: str, widest: float) -> str:
    """The note on the base against itself: how many of its intervals wrongly show a difference, and the widest."""
    return (
        f"A/A test: {base} was also timed against itself in the same rounds. {num_called} of {num_cells} of these "
        f"intervals wrongly show a difference ({expected}), and the widest reaches {100 * widest:.1f} %. Faster or "
        "slower is said only of a ratio beyond its own A/A interval"
    )


def paired_note(pairs: Iterable[tuple[str, float | None, float | None, float | None]]) -> str:
    """The note on what a ratio is, and how far the quotient of the printed times lies from it where that is far.

    `pairs`: for each row its name, its ratio, its time and that of the base.
    """
    factors: list[tuple[float, str]] = []
    for name, ratio, time, base in pairs:
        if ratio and time and base and ratio > 0:
            factor = time / base / ratio
            factors.append((max(factor, 1 / factor), name))
    widest, name = max(factors, default=(1.0, ""))
    if widest < APART:
        return PAIRED
    return f"{PAIRED} (the machine was so unsteady that the two differ by a factor of up to {widest:.2f} here: {name})"
