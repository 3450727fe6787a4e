"""What a user sees of the probes: gradients in the table and the figure, curves of a run, pictures of its regions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.fakes import Cli

SMALL = ("--model", "mlp-2x16", "--batch-size", "64", "--epochs", "2", "--device", "cpu", "--quiet")


@pytest.mark.usefixtures("train_here")
def test_gradients_and_regions_from_the_training_to_the_pictures(cli: Cli, tmp_path: Path) -> None:
    plot = tmp_path / "gradients.png"
    ended = cli("train", "--act", "relu,sigmoid", "--probe", "all", "--format", "json", "--plot", str(plot), *SMALL)
    assert ended.code == 0, ended.err
    shown = json.loads(ended.out)
    relu, sigmoid = shown["rows"]
    assert 0.1 < relu["gradient_ratio"] < 10
    assert sigmoid["article_gradient_bound"] == 0.25
    assert 0.05 < sigmoid["gradient_ratio"] < 0.5
    with Image.open(plot) as image:
        assert min(image.size) > 500
    relu_run, sigmoid_run = (run["id"] for run in shown["runs"])
    curves = cli("runs", "show", relu_run, "--format", "markdown").out
    for words in ("weight gradient", "update ratio", "died", "revived", "born dead", "linear pieces along lines"):
        assert words in curves
    everything = json.loads(cli("runs", "show", relu_run, "--format", "json").out)
    assert {(probe["epoch"], probe["layer"]) for probe in everything["probes"]} == {
        (e, n) for e in range(3) for n in (1, 2)
    }
    drawn = cli("show", "run", relu_run, "--output", str(tmp_path))
    assert [Path(line).name for line in drawn.out.splitlines()] == [
        f"{relu_run}-filters-finetuned.png",
        f"{relu_run}-regions.png",
    ]
    with Image.open(tmp_path / f"{relu_run}-regions.png") as image:
        assert len(image.convert("RGB").getcolors(10**6) or ()) > 100
    without = cli("show", "run", sigmoid_run, "--output", str(tmp_path))
    assert without.code == 0
    assert "linear regions are not drawn: sigmoid is not piecewise linear" in without.err
    assert not (tmp_path / f"{sigmoid_run}-regions.png").exists()
