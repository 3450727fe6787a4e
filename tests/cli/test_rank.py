"""`relubench rank`: one ranking from saved results, as rows, table and figure; what cannot be ranked is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import relubench
from tests.cli.fakes import Cli
from tests.cli.test_compare import save


def rows(cli: Cli, *files: Path) -> list[dict[str, Any]]:
    ended = cli("rank", *map(str, files), "--format", "json")
    assert ended.code == 0
    return json.loads(ended.out)["rows"]


def files(tmp_path: Path) -> list[Path]:
    errors = {"relu": 0.05, "tanh": 0.10, "gelu": 0.03}
    return [
        save(tmp_path / f"{name}.json", {label: error * size for label, error in errors.items()}, dataset=name)
        for name, size in (("mnist", 1.0), ("digits", 2.0), ("cifar10", 4.0))
    ]


def test_activations_are_ranked_over_the_sets(cli: Cli, tmp_path: Path) -> None:
    ranked = rows(cli, *files(tmp_path))
    assert [row["activation"] for row in ranked] == ["gelu", "relu", "tanh"]
    assert [row["mean_rank"] for row in ranked] == [1.0, 2.0, 3.0]
    assert {row["sets"] for row in ranked} == {3}
    assert [row["probability_of_improvement"] for row in ranked] == [1.0, 0.5, 0.0]


def test_python_ranks_the_same(cli: Cli, tmp_path: Path) -> None:
    assert relubench.rank(*files(tmp_path)).rows == rows(cli, *files(tmp_path))


def test_the_figure_is_drawn(cli: Cli, tmp_path: Path) -> None:
    plot = tmp_path / "ranks.svg"
    ended = cli("rank", *map(str, files(tmp_path)), "--plot", str(plot), "--format", "markdown")
    assert ended.code == 0 and "critical difference" in plot.read_text()
    assert "gelu has the best mean rank, 1.00 of 1 to 3" in ended.out


def test_the_page_has_table_and_figure_and_is_made_of_the_saved_result_too(cli: Cli, tmp_path: Path) -> None:
    page, saved, again = (tmp_path / name for name in ("ranks.html", "ranks.json", "again.html"))
    ended = cli("rank", *map(str, files(tmp_path)), "--report", str(page), "--output", str(saved))
    assert ended.code == 0 and f"written: {page}" in ended.err
    assert cli("report", str(saved), "--output", str(again)).code == 0
    for text in (page.read_text(), again.read_text()):
        assert "Which of gelu, relu, tanh is the best over 3 data sets with their networks?" in text
        assert "Mean ranks over the data sets and networks" in text and "better than relu" in text


def test_what_not_every_set_has_is_left_out(cli: Cli, tmp_path: Path) -> None:
    more = save(tmp_path / "more.json", {"relu": 0.1, "gelu": 0.2, "elu": 0.3}, dataset="svhn")
    ended = cli("rank", *map(str, [*files(tmp_path), more]), "--format", "markdown")
    assert "left out, because not every set has a score of it: tanh, elu" in ended.out


def test_what_cannot_be_ranked_is_refused(cli: Cli, tmp_path: Path) -> None:
    first, *_ = files(tmp_path)
    lone = save(tmp_path / "lone.json", {"relu": 0.1}, dataset="svhn")
    assert "a ranking needs two activations" in cli("rank", str(first), str(lone)).err
    again = cli("rank", str(first), str(first))
    assert again.code == 2 and "stands in the files twice" in again.err
