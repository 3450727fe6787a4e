"""Mixtures of experts: what `-moe-8x2` in a model's name says. Torch-free."""

from __future__ import annotations

import re
from dataclasses import dataclass

from relubench.errors import UsageError

SUFFIX = r"(?:-moe-(\d{1,9})x(\d{1,9}))?"
"""What may follow in the name of a Transformer, with the numbers of a mixture as groups."""

MOST_EXPERTS = 256


@dataclass(frozen=True, slots=True)
class Mixture:
    """So many feed-forward networks in each block, of which a few work on each row of the stream."""

    experts: int
    chosen: int

    def rows(self, rows: int) -> int:
        """The rows that an expert works on, of so many, where all of them work on as many."""
        return -(-rows * self.chosen // self.experts)


PLAIN = Mixture(experts=1, chosen=1)
"""One network, which works on every row."""


def checked_mixture(name: str, experts: int, chosen: int, units: int) -> Mixture:
    """The mixture that `name` asks for; UsageError unless so many units can be dealt out to the chosen experts."""
    if not (2 <= experts <= MOST_EXPERTS and 1 <= chosen < experts):
        raise UsageError(
            f"{name}: a mixture has 2 to {MOST_EXPERTS} experts, and fewer of them work on a character than there are",
            "for example --ffn moe-8x2: two of eight experts",
        )
    if units % chosen:
        raise UsageError(
            f"{name}: {units} hidden units cannot be dealt out evenly to {chosen} experts",
            "for example --ffn moe-8x2: two of eight experts",
        )
    return Mixture(experts, chosen)


def mixture_of(model: str) -> Mixture:
    """The mixture in a checked model name; PLAIN where it has none."""
    match = re.search(r"-moe-(\d+)x(\d+)$", model)
    return Mixture(int(match[1]), int(match[2])) if match else PLAIN
