"""Which row each row of a table is compared with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from relubench.statistics.distributions import ALPHA
from relubench.statistics.sequential import Looks


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What the rows of a study with variants are compared with, and what stands beside them."""

    activation: str | None = None
    """Rows are compared with this activation's row: in their own variant, or in `variant` if that is given too."""
    variant: str | None = None
    """Rows are compared with the row of this variant that has their own activation, or `activation`."""
    pretraining: str | None = None
    """Rows that are pre-trained otherwise are compared with those of this method that have their own variant and
    activation; the above holds for the latter."""
    within: tuple[str, ...] = ()
    """Keys of the specification on which rows must agree to be compared with each other."""
    references: Mapping[str, str] | None = None
    """Source -> the table of it that is shown; None: the paper and the article, their main tables first."""
    smoke: bool = False
    """Whether this is a smoke test, which concludes nothing: neither its words nor its sentence."""
    looks: Looks | None = None
    """The looks at which the table may be read, where it was made to be read more than once."""
    look: int = 0
    """Its seeds at this look."""

    def effective(self, comparisons: int) -> float:
        """The number of comparisons that have the level of each of these: their own, unless looks share it, too."""
        if self.looks is None or not comparisons:
            return comparisons
        return ALPHA / self.looks.level(self.look, comparisons)


class Candidate(Protocol):
    """What of a row decides about its comparison."""

    @property
    def spec(self) -> Mapping[str, Any]: ...
    @property
    def place(self) -> tuple[Any, ...]: ...
    @property
    def variant(self) -> str: ...
    @property
    def noise(self) -> float | None: ...
    @property
    def l1(self) -> float | None: ...


def baseline_indices(candidates: Sequence[Candidate], comparison: Comparison) -> list[int]:
    """For each row the index of the one that it is compared with; its own where that one is missing."""
    places = [(*candidate.place, *(candidate.spec[key] for key in comparison.within)) for candidate in candidates]
    if comparison.pretraining is not None:
        places = [(*place, method_of(candidate)) for place, candidate in zip(places, candidates, strict=True)]
    index_of: dict[tuple[Any, ...], int] = {}
    for index, candidate in enumerate(candidates):
        row = (candidate.spec["activation"], candidate.variant, candidate.noise)
        for key in ((*row, method_of(candidate), candidate.l1), (*row, method_of(candidate)), row):
            index_of.setdefault(key, index)
    return [_first(index, candidate, comparison, index_of, places) for index, candidate in enumerate(candidates)]


def _first(
    index: int,
    candidate: Candidate,
    comparison: Comparison,
    index_of: Mapping[tuple[Any, ...], int],
    places: Sequence[tuple[Any, ...]],
) -> int:
    if comparison.pretraining not in (None, method_of(candidate)):
        row = (candidate.spec["activation"], candidate.variant, candidate.noise, comparison.pretraining)
        return index_of.get((*row, candidate.l1), index_of.get(row, index))
    if comparison.activation is None and comparison.variant is None:
        return index if comparison.pretraining is not None else places.index(places[index])
    row = (
        comparison.activation or candidate.spec["activation"],
        candidate.variant if comparison.variant is None else comparison.variant,
        candidate.noise,
    )
    fallback = index if comparison.variant else places.index(places[index])
    return index_of.get((*row, method_of(candidate)), index_of.get(row, fallback))


def method_of(candidate: Candidate) -> str:
    """How the row's networks were pre-trained."""
    return candidate.spec.get("pretraining", "none")


def against(comparison: Comparison, methods: Collection[str]) -> str:
    """What rows are compared with, in a few words; empty where it is the first of them."""
    named = comparison.variant or comparison.activation or ""
    if comparison.pretraining is None or not set(methods) - {comparison.pretraining}:
        return named
    return " / ".join(word for word in (named, comparison.pretraining) if word)


def notes(comparison: Comparison, methods: Collection[str]) -> list[str]:
    """A line where not all rows are compared with the same one."""
    named = comparison.variant or comparison.activation
    if named is None or " / " not in against(comparison, methods):
        return []
    base = "without pre-training" if comparison.pretraining == "none" else f"pre-trained by {comparison.pretraining}"
    other_rows = f"the others with {named}"
    return [f"rows with pre-training are compared with the same network {base}, {other_rows}"]
