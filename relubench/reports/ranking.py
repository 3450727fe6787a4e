"""One ranking of activations over several data sets and networks, from saved results or from a choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from relubench.errors import UsageError
from relubench.reports.formatting import bracket, count, fixed, join_names
from relubench.reports.questions import ranking_question
from relubench.reports.report import Column, Report, Row, footnotes
from relubench.reports.saved import SavedRow, SavedTable
from relubench.statistics.ranking import Estimate, Ranking, rank

LEAST_SETS = 5
"""With fewer data sets hardly any difference of mean ranks is beyond chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedSet:
    """One data set and network: the scores of each activation's seeds, lower being better."""

    name: str
    scores: Mapping[str, Sequence[float]]


def sets_of(tables: Sequence[SavedTable]) -> list[RankedSet]:
    """The data sets and networks of saved tables; UsageError where an activation stands twice in one of them."""
    scores: dict[str, dict[str, list[float]]] = {}
    for table in tables:
        for saved_row in table.rows.values():
            name, label = _set_name(saved_row), saved_row.row["activation"]
            of_set = scores.setdefault(name, {})
            if label in of_set:
                raise UsageError(
                    f"{table.path}: {label} on {name} stands in the files twice", "give each result in one file only"
                )
            of_set[label] = _scores_of(saved_row)
    return [RankedSet(name=name, scores=of_set) for name, of_set in scores.items()]


def ranking_rows(sets: Sequence[RankedSet]) -> tuple[list[Row], Ranking, list[str]]:
    """A row for each activation that every set has, the best first; the ranking; the activations that are left out.

    Raises UsageError where fewer than two are in all sets.
    """
    names = list(dict.fromkeys(label for ranked in sets for label, values in ranked.scores.items() if values))
    common = [label for label in names if all(ranked.scores.get(label) for ranked in sets)]
    if len(common) < 2:
        raise UsageError(
            f"a ranking needs two activations with a score in every data set, and {join_names(common) or 'none'} has",
            "train the same activations on all data sets",
        )
    ranking = rank([[np.array(ranked.scores[label], dtype=np.float64) for label in common] for ranked in sets])
    rows = [
        {
            "activation": label,
            "sets": ranking.sets,
            **_values("mean_rank", method.mean_rank),
            **_values("probability_of_improvement", method.improvement),
            **_values("interquartile_mean", method.interquartile_mean),
            "not_told_apart_from_best": None,
        }
        for label, method in zip(common, ranking.methods, strict=True)
    ]
    rows.sort(key=lambda row: row["mean_rank"])
    if ranking.critical_difference is not None:
        for row in rows:
            row["not_told_apart_from_best"] = row["mean_rank"] - rows[0]["mean_rank"] < ranking.critical_difference
    return rows, ranking, [label for label in names if label not in common]


def ranking_report(sets: Sequence[RankedSet], command: str = "rank") -> Report:
    """The table of the ranking, with what it means and how far it can be trusted."""
    rows, ranking, missing = ranking_rows(sets)
    base = next(label for label in sets[0].scores if any(row["activation"] == label for row in rows))
    return Report(
        command=command,
        rows=rows,
        columns=ranking_columns(base),
        about={
            "sets": [ranked.name for ranked in sets],
            "critical_difference": ranking.critical_difference,
            "p": ranking.p,
            "compared_with": base,
        },
        title=f"{len(rows)} activations over {count(len(sets), 'data set')}, each with its network",
        caption=", ".join(ranked.name for ranked in sets) if len(sets) < 7 else "",
        notes=footnotes(_notes(sets, ranking, missing, base)),
        sentence=_sentence(rows, ranking),
        question=ranking_question(rows, len(sets)),
        figures=("ranking",),
    )


def _set_name(saved_row: SavedRow) -> str:
    row = saved_row.row
    details = [row.get("variant") or "", "" if row["pretraining"] == "none" else f"pretraining {row['pretraining']}"]
    details += [f"{key} {row[key]:g}" for key in ("l1", "test_noise") if row.get(key)]
    return ", ".join([row["dataset"], row["model"], *(detail for detail in details if detail)])


def _scores_of(saved_row: SavedRow) -> list[float]:
    """The test scores of a row's runs, else the row's own; lower being better."""
    sign = 1.0 if saved_row.row.get("lower_is_better", True) else -1.0
    scores = [
        run.get("test_metric") if run["test_error_pct"] is None else run["test_error_pct"] for run in saved_row.runs
    ]
    numbers = [sign * score for score in scores if score is not None]
    score = saved_row.score[0]
    return numbers or ([] if score is None else [sign * score])


def _values(name: str, estimate: Estimate | None) -> Row:
    values = (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)
    keys = (name, f"{name}_ci_low", f"{name}_ci_high")
    return {key: None if value is None else round(value, 6) for key, value in zip(keys, values, strict=True)}


def ranking_columns(base: str) -> list[Column]:
    """The columns for people; improvement is over the activation `base`."""
    headers = {
        "mean_rank": "mean rank",
        "probability_of_improvement": f"better than {base}",
        "interquartile_mean": "interquartile mean",
    }
    return [
        Column(header="activation", cell=lambda row: [row["activation"]], right=False),
        *(Column(header=header, cell=_cell(key)) for key, header in headers.items()),
        Column(header="as good as the best", cell=_as_good, right=False),
    ]


def _cell(key: str) -> Callable[[Row], list[str]]:
    def cell(row: Row) -> list[str]:
        if row[key] is None:
            return []
        return [fixed(row[key]), bracket(row[f"{key}_ci_low"], row[f"{key}_ci_high"])]

    return cell


def _as_good(row: Row) -> list[str]:
    return {None: [], True: ["yes"], False: ["no"]}[row["not_told_apart_from_best"]]


def _notes(sets: Sequence[RankedSet], ranking: Ranking, missing: Sequence[str], base: str) -> list[str]:
    seeds = [len(values) for ranked in sets for values in ranked.scores.values() if values]
    spread = f"{min(seeds)} to {max(seeds)}" if len(set(seeds)) > 1 else f"{seeds[0]} each"
    notes = [
        f"intervals: 95 %, from a bootstrap over the seeds of each set ({spread}); the sets stay "
        "the same, so that the intervals say nothing of other data sets (Agarwal et al. 2021)",
        f"better than {base}: the probability that a run of it has the better score, the mean over sets",
        "interquartile mean: of the scores over the average of each set, the middle half; below 1 is better where "
        "lower scores are",
    ]
    if ranking.critical_difference is not None:
        p = "" if ranking.p is None else f"; all are equal with p = {ranking.p:.2g}"
        notes.append(
            f"mean ranks that differ by less than {ranking.critical_difference:.2f} are not told apart (Nemenyi's test "
            f"at 5 %, Demsar 2006){p}"
        )
    if len(sets) < LEAST_SETS:
        notes.append(f"ranks over fewer than {LEAST_SETS} data sets hardly tell anything apart")
    if missing:
        notes.append(f"left out, because not every set has a score of it: {join_names([*missing])}")
    return notes


def _sentence(rows: Sequence[Row], ranking: Ranking) -> str:
    best, as_good = rows[0], [row["activation"] for row in rows[1:] if row["not_told_apart_from_best"]]
    text = f"{best['activation']} has the best mean rank, {best['mean_rank']:.2f} of 1 to {len(rows)}"
    if ranking.critical_difference is None:
        return f"{text}; one data set says nothing about others."
    if not as_good:
        return f"{text}, and every other activation is worse by more than the critical difference."
    return f"{text}; {join_names(as_good, 10)} cannot be told apart from it by ranks over {ranking.sets} sets."
