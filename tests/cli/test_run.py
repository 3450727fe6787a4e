"""`relubench run`: trained, cached without torch, printed and run again, priced, refused."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path

import pytest

from relubench.experiments.presets.catalogue import open_preset
from relubench.experiments.study import Study
from tests.cli.fakes import Cli
from tests.cli.test_program import watched

pytestmark = pytest.mark.usefixtures("train_here")

SMALL = ("--scale", "smoke", "--set", "train.epochs=1", "--device", "cpu")


def test_a_preset_is_one_table_then_cached_without_torch(cli: Cli) -> None:
    argv = ("run", "normalisation", *SMALL, "--act", "relu,tanh", "--set", "train.batch_size=64")
    first = cli(*argv, "--format", "json")
    assert first.code == 0, first.err
    shown = json.loads(first.out)
    assert [shown[key] for key in ("command", "preset", "scale")] == ["run", "normalisation", "smoke"]
    assert shown["stand_in"].startswith("digits (scikit-learn's 8x8) stands in for mnist")
    labels = ["none", "batch", "layer", "rms", "dropout 0.5"]
    assert [(row["variant"], row["activation"]) for row in shown["rows"]] == [
        (label, act) for label in labels for act in ("tanh", "relu")
    ]
    compared = [row["difference_pct"] is not None for row in shown["rows"]]
    assert compared == [False, False] + [True] * 8
    by_row = {(row["variant"], row["activation"]): row for row in shown["rows"]}
    gap = by_row["rms", "tanh"]["test_error_pct"] - by_row["none", "tanh"]["test_error_pct"]
    assert by_row["rms", "tanh"]["difference_pct"] == pytest.approx(gap, abs=1e-5)
    # Several runs take one thread each, in all of the preset.
    assert {run["path"] for run in shown["runs"]} == {"cpu, 1 thread"}
    assert "10 of 10 runs finished" in first.err

    code, _, modules = watched(*argv)
    assert code == 0
    assert not modules & {"torch", "torchvision"}
    table = cli(*argv, "--format", "table").out
    assert table.startswith("normalisation (smoke): digits")
    assert "digits (scikit-learn's 8x8) stands in for mnist" in " ".join(table.split())
    assert "vs none" in table
    words = " ".join(table.split())
    assert "A smoke test: it shows that the preset runs, and nothing is concluded" in words
    assert "lowest" not in words and "Lowest" not in words
    # Neither cells nor JSON conclude.
    words_of = {row["difference_verdict"] for row in shown["rows"]}
    assert words_of <= {None, "noise", "lower in a smoke test", "higher in a smoke test"}
    assert "on this test set" not in words


def test_noise_is_tested_once_on_stored_networks(cli: Cli) -> None:
    argv = ("run", "noise-robustness", *SMALL, "--act", "relu,tanh", "--format", "json")
    first = cli(*argv)
    assert first.code == 0, first.err
    assert "testing 2 networks under noise" in first.err
    shown = json.loads(first.out)
    assert len(shown["runs"]) == 2
    errors = {(row["activation"], row["test_noise"]): row["test_error_pct"] for row in shown["rows"]}
    assert list(errors) == [(act, noise) for act in ("relu", "tanh") for noise in (0.0, 0.1, 0.2, 0.3, 0.5)]
    assert errors["relu", 0.5] > errors["relu", 0.0]
    clean = json.loads(cli("train", "--act", "relu,tanh", "--epochs", "1", "--device", "cpu", *argv[-2:]).out)
    assert clean["rows"][0]["test_error_pct"] == errors["relu", 0.0]
    assert {run["id"] for run in clean["runs"]} == {run["id"] for run in shown["runs"]}
    again = cli(*argv)
    assert (again.out, "testing" in again.err) == (first.out, False)


def test_a_printed_preset_gives_the_same_runs(cli: Cli, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    assert cli("run", "initialisation", "--scale", "smoke", "--seeds", "2", "--print", "--output", str(mine)).code == 0
    assert "# Probability of zeroing a hidden unit in training." in mine.read_text()
    asked = open_preset("initialisation", "smoke", [{"seeds": [0, 1]}])
    again = open_preset(str(mine), None)
    ids = [[spec.id for spec in Study.open(preset.variants).specs] for preset in (asked, again)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 36


def test_the_price_of_a_large_preset_is_quick_and_trains_nothing(cli: Cli, tmp_path: Path) -> None:
    begun = time.process_time()
    ended = cli("run", "glorot2011-table1-mnist", "--scale", "paper", "--dry-run", "--data-dir", str(tmp_path))
    assert ended.code == 0, ended.err
    # Processor time of this process: other work on the machine does not count.
    assert time.process_time() - begun < 10
    rows = list(csv.DictReader(io.StringIO(ended.out), delimiter="\t"))
    assert [row["runs"] for row in rows] == ["30", "30", "30"]
    assert [row["tuning_runs"] for row in rows] == ["24", "24", "24"]
    # Three activations, three layers: five seeds, and four rates on the seed that is not reported.
    assert [row["layers"] for row in rows] == ["81", "81", "81"]
    assert all(float(row["hours"]) > 0 and int(row["disk_bytes"]) > 30 * 4 * 2_797_010 for row in rows)
    assert {row["data"] for row in rows} == {"no"}
    assert "90 runs, 72 tuning runs, 243 layers to pre-train, about" in ended.err
    assert "not here yet: mnist" in ended.err
    assert list((tmp_path / "runs").glob("runs/*")) == []


def test_the_price_goes_with_the_number_of_labels(cli: Cli, tmp_path: Path) -> None:
    argv = ("--dry-run", "--data-dir", str(tmp_path), "--method", "none")
    ended = cli("run", "glorot2011-figure4", "--scale", "paper", *argv)
    assert ended.code == 0, ended.err
    hours = [float(row["hours"]) for row in csv.DictReader(io.StringIO(ended.out), delimiter="\t")]
    assert len(hours) == 5 and hours == sorted(hours)
    # 10,000 or 233,280 training images, and as many that validate beside either.
    assert hours[4] / hours[0] == pytest.approx((233_280 + 58_320 / 4) / (10_000 + 58_320 / 4), rel=1e-3)


def test_a_stack_that_serves_all_numbers_of_labels_is_priced_once(cli: Cli, tmp_path: Path) -> None:
    argv = ("run", "pretraining-three-ways", "--scale", "smoke", "--act", "relu", "--dry-run", "--format", "json")
    fixed = json.loads(cli(*argv, "--set", "pretrain.lr=0.01").out)["rows"]
    searched = json.loads(cli(*argv).out)["rows"]
    # Two methods, two layers; four rates of each in the search. The second variant's stacks are the first one's.
    assert [row["layers"] for row in fixed] == [4, 0]
    assert [row["layers"] for row in searched] == [4 * 4 + 4, 0]
    assert searched[0]["hours"] > fixed[0]["hours"] > 0


def test_the_price_of_a_network_of_torchvision(cli: Cli, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "description: x\nact: [relu, silu]\ndata: {name: cifar10, augment: crop+flip}\n"
        "model: {name: 'torchvision:shufflenet_v2_x0_5'}\ntrain: {protocol: modern, epochs: 1}\n"
    )
    ended = cli("run", str(mine), "--dry-run", "--data-dir", str(tmp_path))
    assert ended.code == 0, ended.err
    (row,) = csv.DictReader(io.StringIO(ended.out), delimiter="\t")
    assert (row["runs"], row["data"], row["basis"]) == ("2", "no", "two seconds of training")
    assert float(row["hours"]) > 0
    # Weights of two networks with 352,042 parameters in 32 bits each, and their records.
    assert int(row["disk_bytes"]) == 2 * (20_000 + 4 * 352_042)


def test_the_price_of_perturbed_images_downloads_nothing(cli: Cli, tmp_path: Path) -> None:
    ended = cli("run", "article-nistp", "--scale", "paper", "--dry-run", "--data-dir", str(tmp_path))
    assert ended.code == 0 and "not here yet: nistp-like" in ended.err
    ended = cli("run", "article-nistp", "--scale", "paper", "--dry-run", "--set", "data.labels=600000")
    assert (ended.code, ended.out) == (2, "") and "labels 600000 is more than the 581609 training images" in ended.err


def test_the_price_of_what_is_stored_is_nothing(cli: Cli, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "description: x\nact: [relu, tanh]\ndata: {name: digits}\nmodel: {name: mlp-1x4}\ntrain: {epochs: 1}\n"
    )
    assert cli("run", str(mine), "--quiet").code == 0
    ended = cli("run", str(mine), "--dry-run", "--format", "table")
    assert "2 runs, 2 of them stored, nothing to train" in ended.out


def test_presets_are_listed(cli: Cli) -> None:
    ended = cli("list", "presets")
    assert ended.code == 0
    assert ended.out.startswith("name\tdescription\tsource\tsmoke_runs\tquick_runs\tpaper_runs\n")
    assert "article-architectures\t" in ended.out
    assert not watched("list", "presets")[2] & {"torch", "torchvision"}


@pytest.mark.parametrize(
    ("argv", "error", "hint"),
    [
        ((), "run needs a preset", "relubench list presets"),
        (("article-mnsit",), "there is no preset called 'article-mnsit'", "article-mnist"),
        (("./nothing.yaml",), "there is no file ./nothing.yaml", "relubench list presets"),
        (("article-mnist", "--scale", "tiny"), "presets/article-mnist.yaml called 'tiny'", "smoke"),
        (("article-mnist", "--print", "--dry-run"), "--print and --dry-run exclude each other", "one of them"),
        (("article-mnist", "--print", "--format", "json"), "--format means nothing to --print", "leave --format out"),
        (("article-mnist", "--print", "--plot", "x.svg"), "--plot means nothing to --print", "leave --plot out"),
        (("article-mnist", "--act", "gelu"), "--act gelu: article-mnist has no such activation", "relu"),
        (("article-mnist", "--method", "dae"), "--method dae: article-mnist does not pre-train so", "none, rbm"),
        (("article-mnist", "--method", "rmb"), "--method must be of none, rbm, dae, file, got 'rmb'", "rbm"),
        (("article-mnist", "--set", "train.lrr=1"), "there is no configuration key train.lrr", "train.lr"),
        (("article-mnist", "--seeds", "0"), "--seeds must be 1 to 10000, got 0", "--seeds 5"),
        (("depth", "--set", "model.name=cnn"), "depth varies model.name", "--print"),
        (("article-mnist", "--plot", "x.foo"), "--plot x.foo", ".png"),
    ],
)
def test_refused_before_any_work(cli: Cli, argv: tuple[str, ...], error: str, hint: str) -> None:
    ended = cli("run", *argv)
    assert (ended.code, ended.out) == (2, "")
    lines = ended.err.splitlines()
    assert len(lines) == 2, ended.err
    assert lines[0].startswith("error: ") and error in lines[0]
    assert lines[1].startswith("hint: ") and hint in lines[1]
