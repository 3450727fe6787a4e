"""From stored runs to table rows: means over seeds, intervals, paired differences to the first row, published numbers.

Rows with the same data set and model share their test examples and are compared with the first of them, unless a
`Comparison` says otherwise. Pairs are made on the seeds that both rows have; the intervals of all differences of the
table hold together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from relubench.experiments import comparison as baselines
from relubench.experiments import references
from relubench.experiments.comparison import Comparison
from relubench.experiments.rows import SummaryRow, Tuning
from relubench.reports.training import gradients, verdicts
from relubench.reports.training.footnotes import (
    OUTCOMES,
    match_notes,
    method_notes,
    outcome_notes,
    tuning_notes,
    uncounted_notes,
)
from relubench.reports.training.gains import gains
from relubench.reports.training.pretraining_notes import stack_notes, stack_seconds
from relubench.reports.training.sentence import SMOKE, Standing, closing, settling
from relubench.runs.result import RunResult, Timing
from relubench.statistics.error_rates import (
    IN_A_SMOKE_TEST,
    ON_THIS_TEST_SET,
    Difference,
    Mask,
    mean_error,
    paired_difference,
    seeds_to_resolve,
)
from relubench.statistics.power import SeedsNeeded

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
    """For each row the keys, beside SummaryRow's, in which the rows differ: l1, test_noise, variant."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What every run's specification has in common."""
    seeds: int = 0
    """The most seeds that any row has, finished or not."""
    against: str = ""
    """The activation or variant that rows are compared with, if it was named."""

    def json_rows(self) -> list[dict[str, Any]]:
        """The rows with every column of the contract, in its order, and the varied keys after them."""
        return [{**row.to_json(), **extra} for row, extra in zip(self.rows, self.varied, strict=True)]


@dataclass(frozen=True, slots=True)
class Group:
    """The runs of one row, by seed, and their masks."""

    runs: dict[int, RunResult]
    masks: dict[int, Mask]
    l1: float | None
    variant: str
    noise: float | None

    @property
    def spec(self) -> dict[str, Any]:
        return next(iter(self.runs.values())).spec

    @property
    def complete(self) -> list[Mask]:
        """The masks, if every run with a test error has one and all are of the same test set; else none."""
        tested = sum(one.test_error_pct is not None for one in self.runs.values())
        whole = tested == len(self.masks) and len({mask.shape for mask in self.masks.values()}) == 1
        return list(self.masks.values()) if whole else []

    @property
    def test_examples(self) -> int:
        return next(iter(self.runs.values())).test_examples

    @property
    def place(self) -> tuple[Any, ...]:
        """Rows of one place are compared with each other."""
        return self.spec["dataset"], self.spec["model"], self.variant, self.noise

    @property
    def variant_and_noise(self) -> str:
        noise = None if self.noise is None else f"test noise {self.noise:g}"
        return ", ".join(part for part in (self.variant, noise) if part)


def summarize(
    results: Sequence[RunResult],
    timings: Mapping[str, Timing | None],
    wrong: WrongOf,
    tuned: Sequence[Tuning] = (),
    comparison: Comparison | None = None,
    *,
    by_strength: bool = False,
) -> Summary:
    """The table of these runs: a row for each activation (data set, model, pre-training, l1), in order of appearance.

    Variants and strengths of test noise have rows of their own; without a `comparison` a row is compared with the first
    of its data set, model, variant and noise.

    `timings`: by run id; `wrong`: a run's mask over the test examples, or None where there is none; `tuned`: what
    `--lr auto` found; `by_strength`: rows are those of an L1 strength even where there is only one, and say their near
    zeros. Raises ValueError if two runs would be the same seed of the same row.
    """
    comparison = comparison or Comparison()
    groups = _groups(results, wrong, by_strength)
    methods = {baselines.method_of(group) for group in groups}
    by_row = {(one.variant, one.activation, one.pretraining): one for one in tuned}
    firsts = baselines.firsts(groups, comparison)
    rows = [_row(group, timings, by_row, comparison.references) for group in groups]
    rows = _compared(groups, rows, firsts)
    rows = [_of_a_smoke_test(row) for row in rows] if comparison.smoke else rows
    labels = _labels(groups, rows)
    judged = [
        verdicts.judge(label, row, group.spec, group.complete, group.test_examples, smoke=comparison.smoke)
        for label, row, group in zip(labels, rows, groups, strict=True)
    ]
    rows = [one.row for one in judged]
    standings = _standings(groups, rows, firsts)
    notes = [
        *outcome_notes([list(group.runs.values()) for group in groups], rows, labels),
        *method_notes(rows),
        *([] if comparison.smoke else settling(standings)),
        *match_notes([group.spec for group in groups]),
        *uncounted_notes([group.spec for group in groups]),
        *baselines.notes(comparison, methods),
        *tuning_notes(tuned),
        *stack_notes(results),
        *references.footnotes(rows),
        *references.split_notes(rows, {(one.spec["dataset"], one.spec.get("split", "standard")) for one in results}),
        *verdicts.footnotes(judged),
    ]
    sentences = [_closing(groups, rows, firsts, comparison.pretraining), verdicts.sentence(judged)]
    sentences = [SMOKE] if comparison.smoke else sentences
    varied = _varied(groups)
    if any(group.spec.get("stack") for group in groups):
        shares = [stack_seconds(list(group.runs.values()), timings) for group in groups]
        varied = [{**one, "pretraining_seconds": share} for one, share in zip(varied, shares, strict=True)]
    if by_strength:
        varied = [{**one, "near_zeros_pct": _near(group)} for one, group in zip(varied, groups, strict=True)]
    if gradients.has_gradients(results):
        pairs = zip(varied, groups, strict=True)
        varied = [{**one, **gradients.gradient_facts(list(group.runs.values()))} for one, group in pairs]
        notes.append(gradients.NOTE)
    return Summary(
        rows,
        notes,
        " ".join(one for one in sentences if one),
        varied,
        _shared([one.spec for one in results]),
        max((len(group.runs) for group in groups), default=0),
        baselines.against(comparison, methods),
    )


def _near(group: Group) -> float | None:
    return _mean([one.near_zeros_pct for one in group.runs.values() if one.test_error_pct is not None])


def _strength(spec: Mapping[str, Any]) -> float:
    """The L1 strength as it was asked for."""
    return spec.get("l1_asked", spec.get("l1", 0.0))


def _groups(results: Sequence[RunResult], wrong: WrongOf, by_strength: bool) -> list[Group]:
    l1_varies = by_strength or len({_strength(one.spec) for one in results}) > 1
    groups: dict[tuple[Any, ...], Group] = {}
    for one in results:
        l1 = _strength(one.spec) if l1_varies else None
        variant, noise = one.spec.get("variant", ""), one.spec.get("test_noise")
        names = ("activation", "dataset", "model", "pretraining")
        key = (*(one.spec.get(name, "none") for name in names), l1, variant, noise)
        group = groups.setdefault(key, Group({}, {}, l1, variant, noise))
        seed = one.spec["seed"]
        if seed in group.runs:
            raise ValueError(f"runs {group.runs[seed].id} and {one.id} are both seed {seed} of {key}")
        group.runs[seed] = one
        if one.test_error_pct is not None and (mask := wrong(one)) is not None:
            group.masks[seed] = mask
    return list(groups.values())


def _varied(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """The extra keys of each row: what varies beside the columns, and the variant where that leaves rows alike."""

    def known(group: Group) -> dict[str, Any]:
        extra = {} if group.l1 is None else {"l1": group.l1}
        return extra if group.noise is None else {**extra, "test_noise": group.noise}

    names = ("activation", "dataset", "model", "pretraining")
    told = {(*(group.spec.get(name) for name in names), group.l1, group.noise) for group in groups}
    alike = len(told) < len(groups)
    return [{**known(group), "variant": group.variant} if alike else known(group) for group in groups]


def _row(
    group: Group,
    timings: Mapping[str, Timing | None],
    tuned: Mapping[tuple[str, str, str], Tuning],
    tables: Mapping[str, str] | None,
) -> SummaryRow:
    runs, spec = list(group.runs.values()), group.spec
    tested = [one for one in runs if one.test_error_pct is not None]
    errors = [one.test_error_pct for one in tested]
    interval = mean_error(group.complete) if group.complete else None
    tuning = tuned.get((group.variant, spec["activation"], spec.get("pretraining", "none")))
    clocks = [timings.get(one.id) for one in runs]
    row = SummaryRow(
        activation=spec["activation"],
        dataset=spec["dataset"],
        model=spec["model"],
        pretraining=spec.get("pretraining", "none"),
        n=len(errors),
        n_learned=sum(one.outcome != "stalled" for one in tested),
        test_error_pct=_mean(errors),
        test_error_ci_low_pct=_rounded(interval and interval.low),
        test_error_ci_high_pct=_rounded(interval and interval.high),
        valid_error_pct=_mean([one.valid_error_pct for one in tested]),
        outcome=max((one.outcome for one in runs), key=OUTCOMES.index),
        lr=_same([one.spec.get("lr") for one in runs]),
        init=_same([one.spec.get("init") for one in runs]),
        parameters=_same([one.parameters for one in runs]),
        sparsity_pct=_mean([one.sparsity_pct for one in tested]),
        dead_units_pct=_mean([one.dead_units_pct for one in tested]),
        epochs=_mean([one.epochs for one in runs]),
        seconds=None if None in clocks else round(sum(one.seconds for one in clocks if one), 3),
        lr_budget=tuning and tuning.budget,
        lr_edge=tuning and tuning.edge,
    )
    # Nothing is published of tests under noise.
    return row if group.noise else _with_references(row, spec, group.l1, tables)


def _with_references(
    row: SummaryRow, spec: Mapping[str, Any], l1: float | None, tables: Mapping[str, str] | None
) -> SummaryRow:
    if spec.get("train_size") is not None:
        # On a part of the training images there is nothing published to stand beside.
        return row
    network = (row.dataset, row.model, row.activation, row.pretraining)
    shown = {"glorot2011": None, "article": None} if tables is None else tables
    labels = spec.get("labels")
    paper = references.published(*network, shown["glorot2011"], labels) if "glorot2011" in shown else None
    # On a part of the labels only figure 4 of the paper has something to stand beside.
    told = "article" in shown and labels is None
    # Where the penalty does not vary the article's main table speaks, and its l1 = 0 row adds only a sparsity.
    penalty = 0.0 if l1 is None and not spec.get("l1") else l1
    # Its strengths are read as coefficients of a mean: under another scale they are other penalties.
    told = told and (not spec.get("l1") or spec.get("l1_scale", "sum") == "mean" or l1 is None)
    article = references.article(*network, l1=penalty, table=shown["article"]) if told else None
    return replace(
        row,
        published_error_pct=paper and paper.error_pct,
        published_sparsity_pct=paper and paper.sparsity_pct,
        published_source=paper and paper.source,
        article_error_pct=article and article.error_pct,
        article_sparsity_pct=article and article.sparsity_pct,
    )


def _pair(group: Group, first: Group) -> tuple[list[Mask], list[Mask]]:
    """The masks of both on the seeds they share, in the order of the first, where they have the same examples."""
    if group.spec.get("data_digest") != first.spec.get("data_digest"):
        return [], []
    seeds = [seed for seed in first.masks if seed in group.masks]
    seeds = [
        seed for seed in seeds if first.masks[seed].shape == group.masks[seed].shape == first.masks[seeds[0]].shape
    ]
    return [group.masks[seed] for seed in seeds], [first.masks[seed] for seed in seeds]


def _compared(groups: Sequence[Group], rows: Sequence[SummaryRow], firsts: Sequence[int]) -> list[SummaryRow]:
    """The rows with their differences to those they are compared with, their intervals for as many as there are."""
    pairs = [([], []) if index == first else _pair(groups[index], groups[first]) for index, first in enumerate(firsts)]
    comparisons = sum(bool(mine) for mine, _ in pairs)
    return [
        _different(row, paired_difference(*pair, comparisons), pair, comparisons) if pair[0] else row
        for row, pair in zip(rows, pairs, strict=True)
    ]


def _different(row: SummaryRow, found: Difference, pair: tuple[list[Mask], list[Mask]], comparisons: int) -> SummaryRow:
    unsettled = found.verdict == "noise" and found.seeds > 1 and found.difference
    needed = seeds_to_resolve(*pair, comparisons) if unsettled else SeedsNeeded(None, None, None)
    return replace(
        row,
        difference_pct=_rounded(found.difference),
        difference_ci_low_pct=_rounded(found.low),
        difference_ci_high_pct=_rounded(found.high),
        difference_verdict=found.verdict,
        difference_p=float(f"{found.p:.4g}"),
        effect_size=None if found.effect is None else round(found.effect, 4),
        detectable_difference_pct=_rounded(found.detectable),
        seeds_to_resolve=needed.likely,
        seeds_to_resolve_low=needed.low,
        seeds_to_resolve_high=needed.high,
    )


def _of_a_smoke_test(row: SummaryRow) -> SummaryRow:
    """The row whose word concludes nothing; its numbers stay."""
    word = (row.difference_verdict or "noise").removesuffix(ON_THIS_TEST_SET)
    return row if word == "noise" else replace(row, difference_verdict=word + IN_A_SMOKE_TEST)


def _labels(groups: Sequence[Group], rows: Sequence[SummaryRow]) -> list[str]:
    """Activations, with whatever else tells the rows of the whole table apart."""
    variants = len({group.variant_and_noise for group in groups}) > 1
    extras = [_extra(group, row, rows, variants=variants) for group, row in zip(groups, rows, strict=True)]
    return [
        f"{row.activation} ({', '.join(extra)})" if extra else row.activation
        for row, extra in zip(rows, extras, strict=True)
    ]


def _closing(groups: Sequence[Group], rows: Sequence[SummaryRow], firsts: Sequence[int], base: str | None) -> str:
    """The sentence over the rows, with what pre-training gained for those that are compared with method `base`."""
    kind = "variants" if any(group.variant for group in groups) else "data sets and models"
    kept = [index for index, row in enumerate(rows) if base in (None, row.pretraining)]
    places = {index: place for place, index in enumerate(kept)}
    plain = ([groups[one] for one in kept], [rows[one] for one in kept], [places[firsts[one]] for one in kept])
    pairs = [
        (row.activation + (f" ({told})" if (told := groups[index].variant_and_noise) else ""), row, rows[first])
        for index, (row, first) in enumerate(zip(rows, firsts, strict=True))
        if index not in places and index != first
    ]
    plainly = closing(_standings(*plain), kind) if kept else ""
    return " ".join(one for one in (plainly, gains(pairs)) if one)


def _standings(
    groups: Sequence[Group], rows: Sequence[SummaryRow], firsts: Sequence[int]
) -> list[tuple[str, list[Standing]]]:
    """The rows with their labels, by the row that they are compared with, which leads its list."""
    lists: dict[int, list[int]] = {first: [first] for first in firsts}
    for index, first in enumerate(firsts):
        lists[first] += [index] if index != first else []
    found: list[tuple[str, list[Standing]]] = []
    for first, members in lists.items():
        variants = {groups[index].variant_and_noise for index in members}
        acts = {rows[index].activation for index in members}
        standings = []
        for index in members:
            extra = _extra(groups[index], rows[index], rows, variants=len(variants) > 1)
            label = rows[index].activation if len(acts) > 1 or not groups[index].variant_and_noise else ""
            label = f"{label} ({', '.join(extra)})" if label and extra else label or ", ".join(extra)
            label = label or rows[index].activation
            compared = rows[index].difference_pct is not None
            seeds = len(_pair(groups[index], groups[first])[0]) if compared else 0
            standings.append(Standing(label, rows[index], seeds))
        one = rows[first]
        shared = next(iter(variants)) if len(variants) == 1 else one.activation if len(acts) == 1 else ""
        found.append((shared or f"{one.dataset}, {one.model}", standings))
    return found


def _extra(group: Group, row: SummaryRow, rows: Sequence[SummaryRow], *, variants: bool) -> list[str]:
    """What a row's label says beside its activation."""
    extra = [f"pretraining {row.pretraining}"] if len({one.pretraining for one in rows}) > 1 else []
    extra += [group.variant_and_noise] if variants and group.variant_and_noise else []
    return extra + ([f"l1 {group.l1:g}"] if group.l1 is not None and not group.variant else [])


def _shared(specs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The keys on which all specifications agree."""
    if not specs:
        return {}
    shared = {key: value for key, value in specs[0].items() if all(one.get(key) == value for one in specs)}
    changes = [one.get("departures", ()) for one in specs]
    return shared | {"departures": [one for one in changes[0] if all(one in other for other in changes)]}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return _rounded(sum(known) / len(known)) if known else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _same(values: Sequence[Any]) -> Any:
    """The one value that all have, or None."""
    return values[0] if values and all(one == values[0] for one in values) else None
