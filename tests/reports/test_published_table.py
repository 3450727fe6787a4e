"""`relubench check --table`: another's means against scipy's Welch test, and every file that is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_ind_from_stats

from relubench.errors import UsageError
from relubench.reports.published_table import published_report, read_means
from relubench.statistics.means import Mean, difference_of_means

RELU = Mean(name="relu", mean=7.2, deviation=0.2, n=5)


@pytest.mark.parametrize(("mean", "deviation", "n"), [(6.9, 0.2, 5), (7.1, 0.3, 3), (8.9, 1.7, 40), (7.2, 0.01, 2)])
@pytest.mark.parametrize("comparisons", [1, 3, 20])
def test_a_difference_is_welchs(mean: float, deviation: float, n: int, comparisons: int) -> None:
    difference = difference_of_means(Mean(name="a", mean=mean, deviation=deviation, n=n), RELU, comparisons)
    assert difference is not None
    expected = ttest_ind_from_stats(mean, deviation, n, RELU.mean, RELU.deviation, RELU.n, equal_var=False)
    assert difference.p == pytest.approx(min(1.0, comparisons * expected.pvalue), rel=1e-6)
    # The interval leaves zero out exactly where the adjusted p is below 5 %.
    assert (difference.verdict != "noise") == (difference.p < 0.05)
    assert (difference.low + difference.high) / 2 == pytest.approx(mean - RELU.mean, abs=1e-9)


def test_the_detectable_difference_is_found_four_times_in_five() -> None:
    rng, comparisons, sides = np.random.default_rng(0), 3, (8, 12)
    means = [Mean(name="a", mean=0.0, deviation=1.0, n=n) for n in sides]
    planned = difference_of_means(means[0], means[1], comparisons)
    assert planned is not None
    seen = 0
    for _ in range(2000):
        samples = [rng.normal(shift, 1.0, n) for shift, n in zip((planned.detectable, 0.0), sides, strict=True)]
        drawn = [Mean(name="", mean=x.mean(), deviation=float(x.std(ddof=1)), n=len(x)) for x in samples]
        difference = difference_of_means(drawn[0], drawn[1], comparisons)
        seen += difference is not None and difference.verdict == "higher"
    assert seen / 2000 == pytest.approx(0.8, abs=0.04)


def test_what_has_no_spread_has_no_difference() -> None:
    assert difference_of_means(Mean(name="a", mean=1.0, deviation=0.5, n=1), RELU, 1) is None
    flat = [Mean(name=name, mean=1.0, deviation=0.0, n=3) for name in "ab"]
    assert difference_of_means(flat[0], flat[1], 1) is None


@pytest.mark.parametrize(
    "text",
    [
        "activation,mean,std,n\nReLU,7.2,0.2,5\nSwish,6.9,0.2,5\n",
        "Method;Error %;SD;Seeds\nReLU;7.2 %;0.2;5\nSwish;6.9;0.2;5\n",
        "name;mean;std;n\nReLU;7,2;0,2;5\nSwish;6,9;0,2;5\n",
        "\ufeffname\tmean\t±\truns\nReLU\t7.2\t0.2\t5\n\nSwish\t6.9\t0.2\t5\n",
    ],
)
def test_headers_and_separators_as_people_write_them(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    assert [(mean.name, mean.mean, mean.deviation, mean.n) for mean in read_means(path)] == [
        ("ReLU", 7.2, 0.2, 5),
        ("Swish", 6.9, 0.2, 5),
    ]
    (_, row) = published_report(path).rows
    assert (row["difference"], row["difference_verdict"]) == (-0.3, "lower")
    json.dumps(row, allow_nan=False)


def test_the_sentence_says_what_the_table_can_bear(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("name,mean,std,n\na,7.2,0.2,5\nb,8.9,0.1,3\nc,7.1,0.3,5\nd,1,0,1\n")
    report = published_report(path)
    assert report.sentence == "Compared with a: 1 higher (b), 1 within noise (c), 1 without a verdict (d)."
    assert any("of one run nothing can be said: d" in note for note in report.note_texts)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "has 0 rows"),
        ("name,mean,std,n\na,1,1,2\n", "has 1 row,"),
        ("name,mean,n\na,1,2\nb,1,2\n", "no column deviation"),
        ("name,mean,std,n\na,1,1,2\nb,x,1,2\n", "row 2: the mean is no number"),
        ("name,mean,std,n\na,1,1,2\nb,nan,1,2\n", "row 2: the mean is no number"),
        ("name,mean,std,n\na,1,1,2\nb,1,-1,2\n", "not negative"),
        ("name,mean,std,n\na,1,1,2\nb,1,1,2.5\n", "whole number"),
        ("name,mean,std,n\na,1,1,2\nb,1,1,0\n", "whole number"),
        ("name,mean,std,n\na,1,1,2\nb,1\n", "has 2 cells"),
        ("name,mean,std,n\na,1,1,2\na,1,1,2\n", "two rows of"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=match):
        published_report(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xff\xfe\x00\xd8" * 10)
    with pytest.raises(UsageError, match="is no text"):
        published_report(path)
