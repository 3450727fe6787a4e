"""`relubench ablate-sparsity`: strengths, scales, refusals, the figure, and the whole program on the digits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from relubench.experiments.l1_range import draw, pilot, span
from relubench.experiments.plan import l1_of_sum
from specs import runs
from tests.cli.fakes import Cli, FakeStudy, result

pytestmark = pytest.mark.usefixtures("train_here")

SMALL = ("--model", "mlp-1x8", "--batch-size", "64", "--epochs", "1", "--device", "cpu", "--quiet")


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (("--l1", "-1"), "--l1 must be finite numbers of at least 0"),
        (("--l1", "0,inf"), "--l1 must be finite numbers of at least 0"),
        (("--l1", "0,,1"), "--l1 must be finite numbers of at least 0"),
        (("--set", "train.l1=-1"), "train.l1 should be greater than or equal to 0"),
        (("--set", "train.l1=[0,.nan]"), "train.l1"),
        (("--nets", "0"), "--nets must be 1 to"),
        (("--nets", "3", "--l1", "0"), "exclude each other"),
        (("--nets", "3", "--seeds", "2"), "exclude each other"),
        (("--l1-scale", "median"), "there is no scale called 'median'"),
    ],
)
def test_refused_before_any_work(cli: Cli, study: FakeStudy, argv: tuple[str, ...], error: str) -> None:
    ended = cli("ablate-sparsity", *argv)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert error in ended.err
    assert study.config is None


def test_one_class_is_refused(cli: Cli, tmp_path: Path) -> None:
    x, y = np.zeros((40, 4), np.uint8), np.zeros(40, np.int64)
    np.savez(tmp_path / "one.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    ended = cli("ablate-sparsity", "--dataset", str(tmp_path / "one.npz"), "--device", "cpu")
    assert ended.code == 2
    assert "one class" in ended.err


def test_the_scales_of_one_strength() -> None:
    found = {}
    for scale in ("sum", "mean", "paper"):
        _, specs = runs("relu", train={"l1": 0.3, "l1_scale": scale}, model={"name": "mlp-100-50"})
        found[scale] = specs[0].l1
        assert specs[0].l1_asked == 0.3
        assert l1_of_sum(0.3, specs[0]) == specs[0].l1
    assert found == pytest.approx({"sum": 0.3, "mean": 0.3 / 75, "paper": 0.01})
    ids = {runs("relu", train={"l1": l1, "l1_scale": scale})[1][0].id for l1, scale in ((30.0, "paper"), (1.0, "sum"))}
    assert len(ids) == 1


def test_every_strength_with_every_seed_or_each_with_its_own() -> None:
    _, every = runs("relu", seeds=2, train={"l1": [0.0, 0.1]})
    assert [(spec.l1, spec.seed) for spec in every] == [(0.0, 0), (0.0, 1), (0.1, 0), (0.1, 1)]
    _, paired = runs("relu", seeds=2, train={"l1": [0.0, 0.1], "l1_pairs": True})
    assert [(spec.l1, spec.seed) for spec in paired] == [(0.0, 0), (0.1, 1)]


def test_drawn_strengths_span_the_range_that_short_runs_found() -> None:
    from relubench.experiments.config import experiment

    config = experiment({"act": ["relu"], "train": {"l1": 0.0, "l1_scale": "mean"}})
    trial = pilot(config, (0.1, 1.0))
    assert trial.train.strengths == (0.1, 1.0)
    assert trial.train.epochs == 8
    shares = [40, 45, 60, 80, 95, 98.5, 99.5, 99.9]
    ran = [_with(result("relu", place, l1_asked=10.0**place), share) for place, share in enumerate(shares)]
    low, high = span(ran)
    assert (low, high) == (pytest.approx(10**2.5), pytest.approx(10**5.5))
    drawn = draw(config, 60, low, high).train.strengths
    assert sum(strength == 0 for strength in drawn) == 6
    assert all(low * 0.99 <= strength <= high * 1.01 for strength in drawn if strength)
    assert drawn[:20] == draw(config, 20, low, high).train.strengths


def _with(run, share):
    from dataclasses import replace

    return replace(run, sparsity_pct=share)


def test_a_range_is_not_drawn_from_short_runs_that_learned_nothing(cli: Cli, study: FakeStudy) -> None:
    study.script = [result("relu", 0, outcome="stalled", l1_asked=0.1)]
    study.specs = runs("relu")[1]
    ended = cli("ablate-sparsity", "--nets", "25")
    assert ended.code == 1
    assert "none of the" in ended.err and "learned anything" in ended.err


def test_rows_stand_beside_the_articles_and_a_collapse_is_a_row(cli: Cli, study: FakeStudy, tmp_path: Path) -> None:
    notes = {"l1_scale": "mean", "dataset": "mnist", "model": "mlp-3x1000", "batch_size": 10, "epochs": 2}
    study.script = [
        result("relu", 0, run_id="a", l1_asked=0.0, **notes),
        result("relu", 0, run_id="b", l1_asked=0.01, **notes),
        result("relu", 0, outcome="stalled", run_id="c", l1_asked=1.0, **notes),
    ]
    plot = tmp_path / "figure.svg"
    ended = cli("ablate-sparsity", "--l1", "1,0,0.01", "--format", "json", "--plot", str(plot))
    assert ended.code == 0
    assert study.config is not None
    assert study.config.train.l1 == (0.0, 0.01, 1.0)
    rows = json.loads(ended.out)["rows"]
    assert [(row["l1"], row["outcome"]) for row in rows] == [(0.0, "ok"), (0.01, "ok"), (1.0, "stalled")]
    beside = [(row["article_sparsity_pct"], row["article_error_pct"]) for row in rows]
    assert beside == [(50, 1.43), (75, 1.52), (99, 4.2)]
    assert "diverged or at chance: not drawn" in plot.read_text()


@pytest.mark.parametrize(
    ("change", "argv"),
    [
        ({"dataset": "digits"}, ()),
        ({"dataset": "./mine.npz"}, ()),
        ({"model": "mlp-2x64"}, ()),
        ({"train_size": 100}, ()),
        ({"l1_scale": "sum"}, ("--l1-scale", "sum")),
    ],
)
def test_published_numbers_stand_beside_their_own_network_and_data_only(
    cli: Cli, study: FakeStudy, tmp_path: Path, change: dict[str, object], argv: tuple[str, ...]
) -> None:
    notes = {"l1_scale": "mean", "dataset": "mnist", "model": "mlp-3x1000", "batch_size": 10, "epochs": 2, **change}
    study.script = [
        result("relu", 0, run_id=f"{place}", l1_asked=strength, **notes)
        for place, strength in enumerate([0.0, 0.001, 0.01] if "l1_scale" not in change else [0.001, 0.01])
    ]
    plot = tmp_path / "figure.svg"
    strengths = ",".join(str(run.spec["l1_asked"]) for run in study.script)
    ended = cli("ablate-sparsity", "--l1", strengths, *argv, "--format", "json", "--plot", str(plot))
    assert ended.code == 0, ended.err
    rows = json.loads(ended.out)["rows"]
    assert {(row["article_sparsity_pct"], row["article_error_pct"]) for row in rows} == {(None, None)}
    own = "l1_scale" in change
    assert ("Glorot et al. 2011, Figure 3" in plot.read_text()) == own
    ended = cli("ablate-sparsity", "--l1", strengths, *argv, "--format", "markdown")
    assert "article" not in ended.out


def test_trained_on_the_digits(cli: Cli) -> None:
    ended = cli("ablate-sparsity", "--act", "relu,gelu", "--l1", "0,1000", "--format", "json", *SMALL)
    assert ended.code == 0, ended.err
    shown = json.loads(ended.out)
    assert shown["command"] == "ablate-sparsity"
    rows = {(row["activation"], row["l1"]): row for row in shown["rows"]}
    assert list(rows) == [("relu", 0.0), ("relu", 1000.0), ("gelu", 0.0), ("gelu", 1000.0)]
    assert rows["relu", 1000.0]["dead_units_pct"] == 100
    assert rows["relu", 1000.0]["outcome"] == "stalled"
    assert rows["gelu", 0.0]["sparsity_pct"] == 0
    assert rows["gelu", 0.0]["near_zeros_pct"] is not None
    people = cli("ablate-sparsity", "--act", "relu,gelu", "--l1", "0,1000", "--format", "markdown", *SMALL)
    assert "gelu: near zeros only" in people.out
    shown_run = cli("runs", "show", shown["runs"][0]["id"], "--format", "markdown")
    assert "hidden layers on the probe images" in shown_run.out


@pytest.mark.parametrize("nets", [(), ("--nets", "2")])
def test_a_network_of_unknown_layers_is_refused(cli: Cli, nets: tuple[str, ...]) -> None:
    ended = cli("ablate-sparsity", "--model", "torchvision:squeezenet1_0", *nets)
    assert ended.code == 2
    assert "ablate-sparsity penalises the hidden layers of relubench's own networks" in ended.err
