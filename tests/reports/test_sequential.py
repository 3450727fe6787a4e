"""`train` by looks: when it stops, what its intervals are, and that its table is derived again from its runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import relubench
from relubench import api
from relubench.errors import UsageError
from relubench.executors.inline import InlineExecutor
from relubench.experiments.choosing.seeds import looks_of
from relubench.experiments.plan import Variant
from relubench.experiments.study import Study
from relubench.reports.audit import audit
from relubench.reports.render import render
from relubench.reports.table import Results
from relubench.statistics.sequential import nominal_levels
from relubench.statistics.variance import paired_spread

TINY: dict[str, Any] = {"dataset": "digits", "model": "mlp-1x16", "batch_size": 64, "epochs": 2, "lr": 0.3}


def opened_inline(
    variants: Sequence[Variant], data_dir: None = None, runs_dir: Path | None = None, fresh: bool = False
) -> Study:
    return Study.open(variants, runs_dir=runs_dir, executor=InlineExecutor)


@pytest.fixture(scope="module", autouse=True)
def in_this_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "open_study", opened_inline)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def results(runs: Path) -> Results:
    return relubench.train(["relu", "0.001*x", "max(x,0)"], seeds="3..5", runs_dir=runs, **TINY)


def test_relu_against_a_renamed_relu_goes_on_to_the_last_look(results: Results) -> None:
    rows = {row["activation"]: row for row in results.rows}
    assert results.report.about["look"] == 5 and not results.report.about["settled"]
    assert [row["n"] for row in results.rows] == [5] * 3
    renamed = next(row for label, row in rows.items() if label not in ("relu", "0.001*x"))
    assert (renamed["difference_pct"], renamed["difference_verdict"]) == (0.0, "noise")
    assert rows["0.001*x"]["difference_verdict"] == "higher"


def test_an_interval_has_the_level_of_its_look(results: Results) -> None:
    base, other = (
        np.stack([results.masks[run.id] for run in results.runs if run.spec["activation"] == label]).astype(float)
        for label in ("relu", "0.001*x")
    )
    level = nominal_levels((3, 4, 5), 0.05 / 2)[2]
    half = 100 * paired_spread(other - base, bits=True).half_width(1 - level / 2)
    row = next(row for row in results.rows if row["activation"] == "0.001*x")
    assert row["difference_ci_high_pct"] - row["difference_pct"] == pytest.approx(half, abs=1e-5)


def test_a_clear_difference_ends_at_an_early_look(runs: Path) -> None:
    results = relubench.train(["relu", "0.001*x"], seeds="3..40", runs_dir=runs, **TINY)
    assert results.report.about["settled"] and results.report.about["look"] < 10
    assert "every difference is settled" in results.report.note_texts[-1]


def test_the_table_is_derived_again(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(render(results.report, "json"))
    assert audit(path).rows == []
    content = json.loads(path.read_text())
    content["look"] = 4
    path.write_text(json.dumps(content))
    assert {row["key"] for row in audit(path).rows} >= {"difference_ci_low_pct", "difference_p"}


def test_the_plan_lies_beside_the_runs(results: Results, runs: Path) -> None:
    plan = results.report.about["plan"]
    content = json.loads((runs / "plans" / plan["digest"] / "plan.lock").read_text())
    assert (content["decides_on"], content["looks"], content["compared"]) == ("test", [3, 4, 5], "with the first")


def test_what_seeds_may_be() -> None:
    assert looks_of("7") is None
    assert looks_of("3..4") == (3, 4)
    looks = looks_of("until-settled")
    assert looks is not None and (looks[0], looks[-1]) == (3, 50)


@pytest.mark.parametrize("text", ["3..", "..5", "5..3", "1..4", "3..99999999", "3.5..7"])
def test_no_other_range_is_taken(text: str) -> None:
    with pytest.raises(UsageError, match="--seeds must be"):
        looks_of(text)


def test_what_has_no_difference_needs_no_looks(runs: Path) -> None:
    with pytest.raises(UsageError, match="looks need two rows"):
        relubench.train("relu", seeds="3..5", runs_dir=runs, **TINY)
    with pytest.raises(UsageError, match="seeds is a number or a list"):
        relubench.ablate_sparsity("relu", seeds="3..5", **TINY)
