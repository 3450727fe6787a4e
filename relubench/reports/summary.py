"""From stored runs to table rows: means over seeds, intervals, paired differences to the first row, published numbers.

Rows with the same data set and model share their test examples and are compared with the first of them. Pairs are made
on the seeds that both rows have; Holm's correction goes over the whole table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from relubench.reports import references
from relubench.reports.cells import count
from relubench.reports.sentence import Standing, closing
from relubench.results import RunResult, SummaryRow, Timing
from relubench.stats import ALPHA, Difference, Mask, holm, mean_error, paired_difference, seeds_to_resolve

OUTCOMES = ("ok", "stalled", "diverged", "failed")
"""From best to worst: a row shows the worst of its seeds."""

DIGITS = 6
"""Decimals kept of a percentage: one test example in a million is 0.0001 %."""

WrongOf = Callable[[RunResult], Mask | None]


@dataclass(frozen=True, slots=True)
class Summary:
    """A table of results: its rows, the lines below it, and what all of its runs share."""

    rows: list[SummaryRow]
    footnotes: list[str]
    sentence: str
    varied: list[dict[str, Any]]
    """For each row the keys, beside SummaryRow's, in which the rows differ: `l1`; empty where none does."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What every run's specification has in common."""
    seeds: int = 0
    """The most seeds that any row has, finished or not."""

    def json_rows(self) -> list[dict[str, Any]]:
        """The rows with every column of the contract, in its order, and the varied keys after them."""
        return [{**row.to_json(), **extra} for row, extra in zip(self.rows, self.varied, strict=True)]


@dataclass(frozen=True, slots=True)
class Group:
    """The runs of one row, by seed, and their masks."""

    runs: dict[int, RunResult]
    masks: dict[int, Mask]
    l1: float | None
    within: tuple[str, ...] = ()
    """Keys of the specification on which rows must agree too to be compared with each other."""

    @property
    def spec(self) -> dict[str, Any]:
        return next(iter(self.runs.values())).spec

    @property
    def place(self) -> tuple[str, ...]:
        """Rows of one place are compared with each other."""
        return (self.spec["dataset"], self.spec["model"], *(self.spec[key] for key in self.within))


def summarize(
    results: Sequence[RunResult],
    timings: Mapping[str, Timing | None],
    wrong: WrongOf,
    *,
    within: tuple[str, ...] = (),
) -> Summary:
    """The table of these runs: a row for each activation (data set, model, pre-training, l1), in order of appearance.

    Rows are compared with the first row that agrees with them on data set, model and the keys `within`.

    `timings`: by run id; `wrong`: a run's mask over the test examples, or None where there is none. Raises ValueError
    if two runs would be the same seed of the same row.
    """
    groups = [replace(one, within=within) for one in _groups(results, wrong)]
    rows = [_row(group, timings) for group in groups]
    differences = _differences(groups)
    rows = _with_verdicts(rows, differences)
    notes = [*_outcome_notes(groups, rows), *_method_notes(rows, differences), *references.footnotes(rows)]
    notes += _departure_notes(results, rows)
    varied = [{} if group.l1 is None else {"l1": group.l1} for group in groups]
    sentence = closing(_standings(groups, rows, differences))
    seeds = max((len(group.runs) for group in groups), default=0)
    return Summary(rows, notes, sentence, varied, _shared([one.spec for one in results]), seeds)


def _groups(results: Sequence[RunResult], wrong: WrongOf) -> list[Group]:
    l1_varies = len({one.spec.get("l1") for one in results}) > 1
    groups: dict[tuple[Any, ...], Group] = {}
    for one in results:
        l1 = one.spec.get("l1", 0.0) if l1_varies else None
        key = (*(one.spec.get(name, "none") for name in ("activation", "dataset", "model", "pretraining")), l1)
        group = groups.setdefault(key, Group({}, {}, l1))
        seed = one.spec["seed"]
        if seed in group.runs:
            raise ValueError(f"runs {group.runs[seed].id} and {one.id} are both seed {seed} of {key}")
        group.runs[seed] = one
        if one.test_error_pct is not None and (mask := wrong(one)) is not None:
            group.masks[seed] = mask
    return list(groups.values())


def _row(group: Group, timings: Mapping[str, Timing | None]) -> SummaryRow:
    runs, spec = list(group.runs.values()), group.spec
    errors = [one.test_error_pct for one in runs if one.test_error_pct is not None]
    tested = [one for one in runs if one.test_error_pct is not None]
    complete = (
        bool(errors) and len(group.masks) == len(errors) and len({mask.shape for mask in group.masks.values()}) == 1
    )
    interval = mean_error(list(group.masks.values())) if complete else None
    clocks = [timings.get(one.id) for one in runs]
    row = SummaryRow(
        activation=spec["activation"],
        dataset=spec["dataset"],
        model=spec["model"],
        pretraining=spec.get("pretraining", "none"),
        n=len(errors),
        test_error_pct=_mean(errors),
        test_error_ci_low_pct=_rounded(interval and interval.low),
        test_error_ci_high_pct=_rounded(interval and interval.high),
        valid_error_pct=_mean([one.valid_error_pct for one in tested]),
        outcome=max((one.outcome for one in runs), key=OUTCOMES.index),
        lr=_same([one.spec.get("lr") for one in runs]),
        init=_same([one.spec.get("init") for one in runs]),
        parameters=_same([one.parameters for one in runs]),
        sparsity_pct=_mean([one.sparsity_pct for one in tested]),
        epochs=_mean([one.epochs for one in runs]),
        seconds=None if None in clocks else sum(one.seconds for one in clocks if one),
    )
    return _with_references(row, spec, group.l1)


def _with_references(row: SummaryRow, spec: Mapping[str, Any], l1: float | None) -> SummaryRow:
    if spec.get("train_size") is not None:
        # On a part of the training images there is nothing published to stand beside.
        return row
    network = (row.dataset, row.model, row.activation, row.pretraining)
    paper = references.published(*network)
    # Where the penalty does not vary the article's main table speaks, and its l1 = 0 row adds only a sparsity.
    article = references.article(*network, l1=0.0 if l1 is None and not spec.get("l1") else l1)
    return replace(
        row,
        published_error_pct=paper and paper.error_pct,
        published_sparsity_pct=paper and paper.sparsity_pct,
        published_source=paper and paper.source,
        article_error_pct=article and article.error_pct,
        article_sparsity_pct=article and article.sparsity_pct,
    )


def _firsts(groups: Sequence[Group]) -> list[int]:
    """For each group the index of the first one in its place."""
    places = [group.place for group in groups]
    return [places.index(place) for place in places]


def _pair(group: Group, first: Group) -> tuple[list[Mask], list[Mask]]:
    """The masks of both on the seeds they share, in the order of the first, where they have the same examples."""
    if group.spec.get("data_digest") != first.spec.get("data_digest"):
        return [], []
    seeds = [seed for seed in first.masks if seed in group.masks]
    seeds = [
        seed for seed in seeds if first.masks[seed].shape == group.masks[seed].shape == first.masks[seeds[0]].shape
    ]
    return [group.masks[seed] for seed in seeds], [first.masks[seed] for seed in seeds]


def _differences(groups: Sequence[Group]) -> list[Difference | None]:
    found: list[Difference | None] = []
    for index, first in enumerate(_firsts(groups)):
        mine, base = _pair(groups[index], groups[first])
        found.append(paired_difference(mine, base) if index != first and mine else None)
    return found


def _with_verdicts(rows: Sequence[SummaryRow], differences: Sequence[Difference | None]) -> list[SummaryRow]:
    adjusted = iter(holm([one.p for one in differences if one]))
    return [
        row if one is None else _judged(row, one, next(adjusted)) for row, one in zip(rows, differences, strict=True)
    ]


def _judged(row: SummaryRow, one: Difference, p: float) -> SummaryRow:
    return replace(
        row,
        difference_pct=_rounded(one.difference),
        difference_ci_low_pct=_rounded(one.low),
        difference_ci_high_pct=_rounded(one.high),
        verdict="noise" if p >= ALPHA else "higher" if one.difference > 0 else "lower",
    )


def _standings(
    groups: Sequence[Group], rows: Sequence[SummaryRow], differences: Sequence[Difference | None]
) -> list[tuple[str, list[Standing]]]:
    """The rows with their labels, by place."""
    varying = [name for name in ("pretraining",) if len({getattr(row, name) for row in rows}) > 1]
    places: dict[tuple[str, ...], list[Standing]] = {}
    for index, first in enumerate(_firsts(groups)):
        row, difference, l1 = rows[index], differences[index], groups[index].l1
        extra = [*(f"{name} {getattr(row, name)}" for name in varying), *([] if l1 is None else [f"l1 {l1:g}"])]
        label = f"{row.activation} ({', '.join(extra)})" if extra else row.activation
        undecided = (
            difference is not None and row.verdict == "noise" and difference.seeds > 1 and difference.difference != 0
        )
        needed = seeds_to_resolve(*_pair(groups[index], groups[first])) if undecided else None
        standing = Standing(label, row, difference.seeds if difference else 0, needed, undecided)
        places.setdefault(groups[index].place, []).append(standing)
    return [(", ".join(place), standings) for place, standings in places.items()]


def _outcome_notes(groups: Sequence[Group], rows: Sequence[SummaryRow]) -> list[str]:
    notes = []
    for group, row in zip(groups, rows, strict=True):
        runs = list(group.runs.values())
        for outcome in OUTCOMES[1:]:
            which = [one for one in runs if one.outcome == outcome]
            if not which:
                continue
            why = next((" ".join(one.message.split()) for one in which if one.message), "")
            counted = (
                f"; its mean is over the {count(row.n, 'seed')} with a test error" if 0 < row.n < len(runs) else ""
            )
            reason = f" ({why})" if why else ""
            label = row.activation if row.pretraining == "none" else f"{row.activation} ({row.pretraining})"
            label = label if group.l1 is None else f"{label} (l1 {group.l1:g})"
            notes.append(f"{label}: {len(which)} of {count(len(runs), 'seed')} {outcome}{reason}{counted}")
        if row.n and row.test_error_ci_low_pct is None:
            notes.append(f"{row.activation}: no interval, since which test examples it got wrong is not stored")
    return notes


def _method_notes(rows: Sequence[SummaryRow], differences: Sequence[Difference | None]) -> list[str]:
    """What the intervals and verdicts mean."""
    spans = {row.n > 1 for row in rows if row.test_error_ci_low_pct is not None}
    if not spans:
        return []
    words = {True: "over seeds and test examples", False: "over test examples only (one seed)"}
    note = "95 % intervals " + " or ".join(words[one] for one in sorted(spans, reverse=True))
    if any(differences):
        note += "; differences are paired by seed and example and called noise unless p < 0.05 after Holm's correction"
    return [note]


def _departure_notes(results: Sequence[RunResult], rows: Sequence[SummaryRow]) -> list[str]:
    """What to mind where reference numbers stand beside runs that were trained otherwise."""
    if all(row.published_error_pct is None and row.article_error_pct is None for row in rows):
        return []
    changed = list(dict.fromkeys(str(one) for result in results for one in result.spec.get("departures", ())))
    changed += ["modern protocol"] if any(one.spec.get("protocol") == "modern" for one in results) else []
    if not changed:
        return []
    return [f"trained otherwise than the reference numbers were ({', '.join(changed)}): not a reproduction of them"]


def _shared(specs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The keys on which all specifications agree."""
    if not specs:
        return {}
    return {key: value for key, value in specs[0].items() if all(one.get(key) == value for one in specs)}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return _rounded(sum(known) / len(known)) if known else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _same(values: Sequence[Any]) -> Any:
    """The one value that all have, or None."""
    return values[0] if values and all(one == values[0] for one in values) else None
