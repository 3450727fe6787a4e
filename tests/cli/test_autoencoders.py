"""`relubench train` and `show run` on autoencoders and VAEs: the table in their metric, pictures, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.fakes import Cli

pytestmark = pytest.mark.usefixtures("train_here")

SMALL = ("--dataset", "digits", "--epochs", "3", "--batch-size", "32", "--device", "cpu", "--runs-dir", "runs")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_vae_has_a_table_in_nats_with_a_verdict_and_pictures_of_a_run(cli: Cli, here: Path) -> None:
    command = ("train", "--model", "vae-32-16", "--act", "tanh,relu", "--seeds", "2", *SMALL, "--format", "json")
    ended = cli(*command)
    assert ended.code == 0
    table = json.loads(ended.out)
    for row in table["rows"]:
        assert (row["task"], row["metric"], row["lower_is_better"]) == ("reconstruction", "nats", True)
        assert row["test_metric_ci_low"] < row["test_metric"] < row["test_metric_ci_high"]
        assert row["test_error_pct"] is None and 20 < row["test_metric"] < 60
    assert table["rows"][1]["difference_verdict"] is not None
    spec = table["runs"][0]["spec"]
    assert (spec["latent"], spec["classes"], spec["optimizer"], spec["protocol"]) == (20, 64, "adamw", "modern")
    assert "act_in" not in spec, "only what is not usual is written"
    run = table["runs"][0]["id"]
    ended = cli("show", "run", run, "--runs-dir", "runs", "--quiet")
    kinds = ("filters-finetuned", "reconstructions", "samples")
    assert (ended.code, ended.out.split()) == (0, [f"{run}-{kind}.png" for kind in kinds])
    with Image.open(f"{run}-reconstructions.png") as sheet:
        # Five pairs in a row, of 64 pixels a side each.
        assert sheet.size[0] > 5 * 2 * 64
    with Image.open(f"{run}-samples.png") as sheet:
        assert sheet.size[0] > 10 * 64 and sheet.size[1] > 10 * 64


def test_an_autoencoder_has_its_squared_error_and_a_paper_protocol_where_one_is_asked_for(cli: Cli) -> None:
    command = ("train", "--model", "autoencoder-2x16", "--act", "gelu", "--latent", "4", "--protocol", "paper")
    ended = cli(*command, "--act-in", "encoder", "--output-act", "sigmoid", *SMALL, "--format", "json")
    assert ended.code == 0
    table = json.loads(ended.out)
    (row,), spec = table["rows"], table["runs"][0]["spec"]
    assert (row["task"], row["metric"]) == ("reconstruction-mse", "mse") and 0 < row["test_metric"] < 0.25
    assert {key: spec[key] for key in ("latent", "act_in", "output_act", "optimizer")} == {
        "latent": 4,
        "act_in": "encoder",
        "output_act": "sigmoid",
        "optimizer": "sgd",
    }


def test_an_output_that_stops_learning_is_pointed_out(cli: Cli) -> None:
    quick = ("train", "--model", "autoencoder-1x8", "--act", "tanh", *SMALL)
    ended = cli(*quick, "--output-act", "relu")
    assert ended.code == 0
    assert "--output-act relu has no slope at z = -5: an output that comes to lie there for every image" in ended.err
    assert "no slope" not in cli(*quick, "--output-act", "softplus").err


REFUSED = [
    ("mlp-1x8", "digits", ["--output-act", "tanh"], "the loss of the task classification itself takes the softmax"),
    ("vae-1x8", "digits", ["--output-act", "relu"], "the loss of the task reconstruction itself takes the sigmoid"),
    ("autoencoder-1x8", "digits", ["--output-act", "swiglu"], "swiglu takes 2 values a unit, an output is one"),
    ("autoencoder-1x8", "digits", ["--output-act", "prelu"], "prelu has learned parameters"),
    ("autoencoder-1x8", "digits", ["--output-act", "tanh,relu"], "tanh,relu names 2 activations"),
    ("autoencoder-1x8", "digits", ["--output-act", "0.5*sigmoid(x)"], "gives values from 0 to 0.5, but the targets of"),
    ("autoencoder-1x8", "signed.npz", ["--output-act", "relu"], "gives values from 0 to infinity, but the targets of"),
    ("autoencoder-1x8", "signed.npz", ["--output-act", "tanh"], "gives values from -1 to 1, but the targets of"),
    ("mlp-1x8", "diabetes", ["--output-act", "relu"], "as networks get them, lie between -1.6"),
    ("mlp-1x8", "diabetes", ["--output-act", "sigmoid"], "gives values from 0 to 1, but the targets of diabetes"),
    ("vae-1x8", "signed.npz", [], "a VAE's likelihood is for pixels from 0 to 1, but signed.npz has values from -"),
    ("mlp-1x8", "digits", ["--latent", "3"], "--latent 3 belongs to autoencoders, not to mlp-1x8"),
    ("mlp-1x8", "digits", ["--act-in", "decoder"], "--act-in decoder belongs to autoencoders, not to mlp-1x8"),
    ("vae-1x8", "digits", ["--latent", "0"], "--latent should be greater than or equal to 1"),
    ("vae-101x8", "digits", [], "a model has 1 to 200 hidden layers, got vae-101x8"),
]


@pytest.mark.parametrize(("model", "data", "flags", "message"), REFUSED)
def test_what_cannot_be_is_refused(model: str, data: str, flags: list[str], message: str, cli: Cli, here: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-2, 2, (60, 1, 4, 4)).astype(np.float32), np.arange(60) % 2
    np.savez(here / "signed.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    ended = cli("train", "--model", model, "--act", "tanh", "--epochs", "1", "--dataset", data, *flags)
    assert ended.code == 2
    assert message in ended.err and "hint: " in ended.err


def test_an_output_that_holds_signed_targets_is_taken(cli: Cli, here: Path) -> None:
    x, y = np.random.default_rng(0).uniform(-2, 2, (60, 1, 4, 4)).astype(np.float32), np.arange(60) % 2
    np.savez(here / "signed.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    command = ("train", "--model", "autoencoder-1x8", "--act", "tanh", "--epochs", "1", "--dataset", "signed.npz")
    assert cli(*command, "--output-act", "2.5*tanh(x)").code == 0
