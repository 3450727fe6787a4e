"""An audit of somebody else's table: means, standard deviations and n, and which differences they can bear."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from relubench.errors import UsageError, shown
from relubench.reports.formatting import count, join_names
from relubench.reports.report import Column, Report, Row, footnotes
from relubench.reports.training.groups import rounded
from relubench.statistics.means import Mean, difference_of_means
from relubench.system.files import read_at_most

MOST_BYTES = 10_000_000
MOST_N = 10**9

NAMES: Mapping[str, tuple[str, ...]] = {
    "name": ("name", "activation", "method", "model", "row"),
    "mean": ("mean", "average", "avg", "error", "accuracy", "score", "value"),
    "deviation": ("deviation", "standard deviation", "std", "std dev", "stdev", "sd", "sigma", "+-", "±"),
    "n": ("n", "runs", "seeds", "trials", "repeats"),
}
"""The columns of such a table, and the headers by which each is known."""

HINT = "a header and a row for each method: name,mean,std,n"


def published_report(path: Path) -> Report:
    """Each row against the first; raises UsageError for a file that holds no such table."""
    means = read_means(path)
    comparisons = max(1, len(means) - 1)
    rows = [_row(mean, means[0], comparisons) for mean in means]
    return Report(
        command="check",
        rows=rows,
        columns=_columns(means[0].name),
        title=f"{path}: each row against {means[0].name}",
        notes=footnotes(_notes(means, comparisons)),
        sentence=_sentence(rows),
    )


def read_means(path: Path) -> list[Mean]:
    """The rows of a CSV or TSV file; raises UsageError naming the line and what is wrong with it."""
    try:
        text = read_at_most(path, MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}", "check the name") from error
    except ValueError as error:
        raise UsageError(f"{path} is no text: {error}", HINT) from error
    first_line = text.partition("\n")[0]
    separator = max("\t;,", key=first_line.count)
    lines = [line for line in csv.reader(io.StringIO(text), delimiter=separator) if any(cell.strip() for cell in line)]
    if len(lines) < 3:
        raise UsageError(f"{path} has {count(max(len(lines) - 1, 0), 'row')}, and a comparison needs two", HINT)
    places = _places(lines[0], path)
    means = [_mean(line, places, f"{path}, row {number}") for number, line in enumerate(lines[1:], 1)]
    repeated_names = [
        mean.name for number, mean in enumerate(means) if mean.name in {earlier.name for earlier in means[:number]}
    ]
    if repeated_names:
        raise UsageError(f"{path} has two rows of {shown(repeated_names[0])}", "give each row a name of its own")
    return means


def _places(header: Sequence[str], path: Path) -> dict[str, int]:
    """Where each column stands."""
    titles = [title.strip().lower().replace("_", " ").removesuffix(" %") for title in header]
    places: dict[str, int] = {}
    for column, names in NAMES.items():
        matching = [titles.index(name) for name in names if name in titles]
        if not matching:
            raise UsageError(
                f"{path} has no column {column}; it has {join_names([*map(shown, header)], limit=8)}", HINT
            )
        places[column] = matching[0]
    return places


def _mean(line: Sequence[str], places: Mapping[str, int], place: str) -> Mean:
    if max(places.values()) >= len(line):
        raise UsageError(f"{place} has {count(len(line), 'cell')}, fewer than the header", HINT)
    texts = {column: line[index].strip() for column, index in places.items()}
    mean, deviation, n = (_number(texts[column], column, place) for column in ("mean", "deviation", "n"))
    if deviation < 0:
        raise UsageError(f"{place}: a standard deviation is not negative, got {shown(texts['deviation'])}", HINT)
    if not (1 <= n <= MOST_N and n == int(n)):
        raise UsageError(f"{place}: n is a whole number of at least 1, got {shown(texts['n'])}", HINT)
    return Mean(name=texts["name"], mean=mean, deviation=deviation, n=int(n))


def _number(text: str, column: str, place: str) -> float:
    try:
        number = text.removesuffix("%").strip()
        value = float(number.replace(",", ".") if "." not in number else number)  # 1,43 in much of Europe
    except ValueError:
        value = math.nan
    if not abs(value) <= 1e15:
        raise UsageError(f"{place}: the {column} is no number: {shown(text)}", HINT)
    return value


def _row(mean: Mean, first: Mean, comparisons: int) -> Row:
    difference = None if mean is first else difference_of_means(mean, first, comparisons)
    interval = mean.interval() or (None, None)
    return {
        "name": mean.name,
        "mean": mean.mean,
        "deviation": mean.deviation,
        "n": mean.n,
        "ci_low": rounded(interval[0]),
        "ci_high": rounded(interval[1]),
        "difference": rounded(difference and difference.difference),
        "difference_ci_low": rounded(difference and difference.low),
        "difference_ci_high": rounded(difference and difference.high),
        "difference_p": difference and float(f"{difference.p:.4g}"),
        "difference_verdict": difference and difference.verdict,
        "detectable_difference": rounded(difference and difference.detectable),
    }


def _columns(first: str) -> list[Column]:
    return [
        Column(header="name", cell=lambda row: [row["name"]], right=False),
        Column(header="mean", cell=lambda row: [_text(row["mean"]), _range(row, "ci")]),
        Column(header="std", cell=lambda row: [_text(row["deviation"])], drop_order=1),
        Column(header="n", cell=lambda row: [str(row["n"])]),
        Column(header=f"vs {first}", cell=_difference_cell),
        Column(header="p", cell=lambda row: [_text(row["difference_p"])], drop_order=2),
        Column(header="could see", cell=lambda row: [_text(row["detectable_difference"])]),
    ]


def _difference_cell(row: Row) -> list[str]:
    if row["difference"] is None:
        return [""]
    return [f"{row['difference']:+.4g}", _range(row, "difference_ci"), row["difference_verdict"]]


def _range(row: Row, key: str) -> str:
    low, high = row[f"{key}_low"], row[f"{key}_high"]
    return "" if low is None else f"[{low:.4g}, {high:.4g}]"


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _notes(means: Sequence[Mean], comparisons: int) -> list[str]:
    notes = ["differences are unpaired, by Welch's t; the standard deviations are taken as those of single runs"]
    if comparisons > 1:
        notes.append(f"with 95 % probability all {comparisons} intervals hold (Bonferroni); p is adjusted alike")
    notes.append("could see: the true difference that such a comparison finds with 80 % probability")
    single = [mean.name for mean in means if mean.n < 2]
    notes += [f"of one run nothing can be said: {join_names(single)}"] if single else []
    flat = [mean.name for mean in means if mean.n > 1 and mean.deviation == 0]
    notes += [f"a standard deviation of 0 over several runs is hard to believe: {join_names(flat)}"] if flat else []
    return notes


def _sentence(rows: Sequence[Row]) -> str:
    words_by_verdict = {"lower": "lower", "higher": "higher", "noise": "within noise", None: "without a verdict"}
    phrases = []
    for verdict, words in words_by_verdict.items():
        names = [row["name"] for row in rows[1:] if row["difference_verdict"] == verdict]
        phrases += [f"{len(names)} {words} ({join_names(names)})"] if names else []
    return f"Compared with {rows[0]['name']}: {', '.join(phrases)}."
