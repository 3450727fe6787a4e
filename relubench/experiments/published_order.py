"""Published values that cannot stand beside ours, compared in order and sign alone: 'order agrees: 7 of 9 pairs'.

Another network, other data or another metric make two numbers incomparable; which of two activations was the better one
can be compared all the same. Torch-free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from relubench.errors import UsageError
from relubench.experiments.reference_files import Entry, entries
from relubench.system.lookup import did_you_mean

FILES = ("others", "modern")
"""Reference files whose sources are compared in order."""

LOWER_IS_BETTER = {
    **dict.fromkeys(("test_error", "top1_error", "perplexity", "log_perplexity", "loss", "val_loss"), True),
    **dict.fromkeys(("accuracy", "top1_accuracy", "average_accuracy", "average_score", "BLEU", "F1"), False),
    "exact_match": False,
}
"""Metrics whose direction is known; values of any other one are not compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedOrder:
    """What one source reports of several activations in one network, on one data set, by one protocol."""

    citation: str
    place: str
    """Where it stands: 'table 1, steps=65536'."""
    model: str
    dataset: str
    metric: str
    values: Mapping[str, float]
    """Activation -> value."""

    def differs_in(self, model: str, dataset: str, metric: str) -> list[str]:
        """Why its values are not comparable with those of our network, in words: 'T5-base FFN, not mlp-3x1000'."""
        pairs = ((self.model, model), (self.dataset, dataset), (self.metric, metric))
        return [f"{published.replace('_', ' ')}, not {own}" for published, own in pairs if published != own]

    def agreement(self, scores: Mapping[str, float], lower_is_better: bool) -> Agreement:
        """How many pairs of activations stand in the same order here; pairs that are equal on a side do not count."""
        agreeing: list[tuple[str, str]] = []
        turned: list[tuple[str, str]] = []
        shared = [activation for activation in self.values if activation in scores]
        for first, second in combinations(shared, 2):
            published, own = self.values[first] - self.values[second], scores[first] - scores[second]
            if published and own:
                is_better_there = (published < 0) == LOWER_IS_BETTER[self.metric]
                is_better_here = (own < 0) == lower_is_better
                (agreeing if is_better_there == is_better_here else turned).append((first, second))
        return Agreement(agreeing, turned)


@dataclass(frozen=True, slots=True)
class Agreement:
    """The pairs of activations in the same order as in a source, and those in the other order."""

    agreeing: list[tuple[str, str]]
    turned: list[tuple[str, str]]

    @property
    def pairs(self) -> int:
        return len(self.agreeing) + len(self.turned)


def published_order(
    source: str, metric: str, *, table: str = "", dataset: str = "", model: str = "", condition: str = ""
) -> PublishedOrder:
    """The values of a source that have all that is named; what is left out must be the same in all of them.

    Raises UsageError where there is no such source, too few activations, several protocols, or no known direction.
    """
    of_source = [entry for file in FILES for entry in entries(file) if entry.source == source]
    if not of_source:
        sources = sorted({entry.source for file in FILES for entry in entries(file)})
        hint = did_you_mean(source, sources, "`relubench list references` has them all")
        raise UsageError(f"there is no source of references called {source!r}", hint)
    if metric not in LOWER_IS_BETTER:
        raise UsageError(
            f"whether a higher {metric} is better is not known: such values have no order",
            f"metrics with a direction are {', '.join(LOWER_IS_BETTER)}",
        )
    setting = {"metric": metric, "table": table, "dataset": dataset, "model": model, "condition": condition}
    setting = {key: value for key, value in setting.items() if value}
    matching = [entry for entry in of_source if all(getattr(entry, key) == value for key, value in setting.items())]
    return _one_order(source, setting, matching)


def _one_order(source: str, setting: Mapping[str, str], matching: list[Entry]) -> PublishedOrder:
    """The values of these rows, which must be of one protocol; raises UsageError."""
    text = f"{source} ({', '.join(f'{key} {value}' for key, value in setting.items())})"
    for key in ("table", "dataset", "model", "condition", "pretraining"):
        values = list(dict.fromkeys(getattr(entry, key) for entry in matching))
        if len(values) > 1:
            raise UsageError(f"{text} has several values of {key}: {', '.join(map(repr, values))}", f"name one {key}")
    if len({entry.activation for entry in matching}) < 2:
        raise UsageError(f"{text} has fewer than two activations to compare", "see `relubench list references`")
    first = matching[0]
    place = ", ".join(part for part in (first.table.replace("table", "table "), first.condition) if part)
    return PublishedOrder(
        citation=first.citation.partition(",")[0],
        place=place,
        model=first.model,
        dataset=first.dataset,
        metric=first.metric,
        values={entry.activation: entry.value for entry in matching},
    )
