"""Memory traffic of a pass: elements read and written, and how long the measured roof takes for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Elements that one sweep reads and writes for each output element."""

    reads: int
    writes: int
    in_place: bool = False
    """Whether it writes to memory that it also reads."""

    @property
    def total(self) -> int:
        return self.reads + self.writes

    @property
    def pattern(self) -> str:
        """The name of the measured pattern that is most similar."""
        if self.reads == 1:
            return "read-write in place" if self.in_place else "read-write"
        return "two reads and a write in place" if self.in_place else "two reads and a write"


PATTERNS: dict[str, Traffic] = {
    sweep.pattern: sweep
    for sweep in (
        Traffic(reads=1, writes=1),
        Traffic(reads=1, writes=1, in_place=True),
        Traffic(reads=2, writes=1),
        Traffic(reads=2, writes=1, in_place=True),
    )
}


def patterns(traffic: tuple[Traffic, ...]) -> set[str]:
    return {sweep.pattern for sweep in traffic}


def roof_ns(traffic: tuple[Traffic, ...], measured: Mapping[str, float]) -> float:
    """The ns an output element that this traffic takes at the roof, in proportion to the bytes of its pattern.

    Raises KeyError for a pattern that was not measured.
    """
    return sum(measured[sweep.pattern] * sweep.total / PATTERNS[sweep.pattern].total for sweep in traffic)


def bytes_per_element(traffic: tuple[Traffic, ...], itemsize: int) -> int:
    return itemsize * sum(sweep.total for sweep in traffic)
