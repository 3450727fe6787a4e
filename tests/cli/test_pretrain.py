"""`relubench pretrain`: from argv to the configuration, and from runs to gains, costs and footnotes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relubench.experiments.pretraining_plan import RBM_HIDDEN
from relubench.runs.result import RunResult
from relubench.runs.spec import PretrainingSpec
from tests.cli.fakes import Cli, FakeStudy, result

pytestmark = pytest.mark.usefixtures("train_here")

QUICK = [
    "--act",
    "relu",
    "--model",
    "mlp-24-16",
    "--epochs",
    "2",
    "--pretrain-epochs",
    "1",
    "--device",
    "cpu",
    "--quiet",
]


def with_stack(method: str, seed: int = 0, **spec: Any) -> RunResult:
    import dataclasses

    stack = PretrainingSpec(
        method="rbm", rates=(0.1, 0.01), epochs=10, visible=("bernoulli", "gaussian"), hidden="nrelu", k=1
    )
    return result("relu", seed, run_id=f"{method}{seed}", pretraining=method, stack=dataclasses.asdict(stack), **spec)


def test_flags_become_a_configuration(cli: Cli, study: FakeStudy) -> None:
    study.script = [result()]
    argv = "pretrain --act relu --method none,rbm,dae --pretrain-epochs 3 --pretrain-lr 0.2 --control --seeds 2"
    assert cli(*argv.split()).code == 0
    assert study.config is not None
    section = study.config.pretrain
    assert section.methods == ("none", "rbm", "dae")
    assert (section.epochs, section.lr, section.control) == (3, 0.2, True)
    study.results.clear()
    assert cli("pretrain").code == 0
    assert set(study.config.act) <= set(RBM_HIDDEN), "the default method is rbm"
    assert study.config.pretrain.methods == ("none", "rbm")
    assert study.config.pretrain.lr == "auto"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("--method rmb", "--method must be of none, rbm, dae, file, got 'rmb'"),
        ("--pretrain-lr fast", "--pretrain-lr must be a number or auto, got 'fast'"),
        ("--pretrain-epochs 0", "--pretrain-epochs should be greater than or equal to 1"),
        ("--from x --method rbm", "--from x and --method rbm exclude each other"),
        ("--export x.safetensors --method rbm,dae", "--export writes one stack"),
        ("--export no/such/x.safetensors", "there is no folder"),
        ("--act swiglu", "swiglu is gated: there is no RBM with such units"),
        ("--method dae --set pretrain.k=2", "belongs to the method rbm"),
        ("--method none --control", "control (=True) belongs to a pre-training method"),
    ],
)
def test_refusals_name_the_flag(cli: Cli, argv: str, words: str) -> None:
    ended = cli("pretrain", "--quiet", *argv.split())
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.strip().splitlines()) == 2


def test_the_table_compares_methods_within_an_activation(cli: Cli, study: FakeStudy) -> None:
    study.script = [run for seed in range(2) for run in (result("relu", seed), with_stack("rbm", seed))]
    ended = cli("pretrain", "--format", "markdown")
    assert "vs none" in ended.out
    assert (
        "relu rbm: visible units bernoulli, gaussian, hidden nrelu, CD-1, 10 epochs a layer at lr 0.1, 0.01"
        in ended.out
    )
    assert "relu: rbm gains no more than noise" in ended.out
    study.results.clear()
    rows = json.loads(cli("pretrain", "--format", "json").out)["rows"]
    assert [row["pretraining"] for row in rows] == ["none", "rbm"]
    assert rows[1]["difference_pct"] == 0.0
    assert rows[0]["pretraining_seconds"] == 0.0


def test_published_gains_stand_beside_the_measured_one(cli: Cli, study: FakeStudy) -> None:
    place = {"dataset": "mnist", "model": "mlp-3x1000"}
    study.script = [result("relu", **place), with_stack("rbm", **place), with_stack("dae", **place)]
    out = cli("pretrain", "--format", "markdown").out
    assert "the article's is -0.07 (1.43 to 1.50)" in out
    assert "the paper's gain is +0.23 (1.43 to 1.20)" in out


def test_end_to_end_with_export_import_and_pictures(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "stack.safetensors"
    ended = cli("pretrain", *QUICK, "--pretrain-lr", "0.01", "--export", str(path), "--format", "json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert [row["pretraining"] for row in found["rows"]] == ["none", "rbm"]
    assert found["rows"][1]["pretraining_seconds"] > 0
    again = cli("pretrain", *QUICK, "--from", str(path), "--format", "json")
    assert again.code == 0, again.err
    rows = json.loads(again.out)["rows"]
    assert [row["pretraining"] for row in rows] == ["none", "file"]
    # The same weights, seed and batches: the same network.
    assert rows[1]["test_error_pct"] == found["rows"][1]["test_error_pct"]
    shown = cli("show", "run", found["runs"][1]["id"], "--output", str(tmp_path))
    assert shown.code == 0, shown.err
    names = [Path(line).name.partition("-")[2] for line in shown.out.split()]
    assert names == ["filters-finetuned.png", "filters-pretrained.png", "reconstructions.png", "regions.png"]
    assert all(Path(line).read_bytes().startswith(b"\x89PNG") for line in shown.out.split())
    pretrained, plain = found["runs"][1]["id"], found["runs"][0]["id"]
    listed = {row["id"]: row["pretraining"] for row in json.loads(cli("runs", "--format", "json").out)["rows"]}
    assert (listed[plain], listed[pretrained]) == ("none", "rbm")
    layers = json.loads(cli("runs", "show", pretrained, "--format", "json").out)["layers"]
    assert [(layer["layer"], layer["units"], len(layer["curve"])) for layer in layers] == [(1, 24, 1), (2, 16, 1)]
    assert layers[0]["curve"][0]["valid_free_energy"] is not None
    told = cli("runs", "show", pretrained, "--format", "markdown").out
    assert "pre-training of layer 2, 16 units: mean squared reconstruction errors, free energies in nats" in told
    assert json.loads(cli("runs", "show", plain, "--format", "json").out)["layers"] == []
    assert "pre-training of layer" not in cli("runs", "show", plain, "--format", "markdown").out
    misfit = cli("pretrain", "--act", "relu", "--model", "mlp-25-16", "--from", str(path))
    assert misfit.code == 2
    assert "does not fit the network" in misfit.err


def test_rates_are_searched_on_reconstruction_error(cli: Cli) -> None:
    argv = "--act relu --model mlp-16 --epochs 1 --pretrain-epochs 1 --device cpu --method dae --format json"
    ended = cli("pretrain", *argv.split())
    assert ended.code == 0, ended.err
    assert "relu (dae): learning rates of pre-training 0.1" in ended.err
    [run] = json.loads(ended.out)["runs"]
    assert run["spec"]["stack"]["rates"] == [0.1]


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (("--act", "relu,tanh", "--export", "two.safetensors"), "this asks for 2 activations"),
        (("--method", "none,file"), "--method file starts from a stack, and none is given"),
    ],
)
def test_refused_before_any_training(cli: Cli, tmp_path: Path, argv: tuple[str, ...], error: str) -> None:
    ended = cli("pretrain", "--dataset", "digits", "--device", "cpu", "--runs-dir", str(tmp_path / "runs"), *argv)
    assert (ended.code, ended.out) == (2, "")
    assert error in ended.err
    assert not list((tmp_path / "runs").glob("stacks/*"))
