"""`relubench speed` and `relubench verify` from argv: what is refused, what is printed, and how they end."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from relubench.experiments.study import Study
from relubench.timing.schedule import Session
from tests.cli.fakes import Cli

pytestmark = pytest.mark.usefixtures("train_here")

QUICK = ("--size", "512", "--budget", "2s", "--device", "cpu")


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (("--dtype", "fp23"), "there is no dtype called 'fp23'"),
        (("--budget", "0"), "--budget must be a number above 0"),
        (("--rel-ci", "x%"), "--rel-ci must be a number above 0"),
        (("--size", "huge"), "--size is cache, last, memory, sweep or 1 to"),
        (("--size", "2147483648"), "--size 2147483648 needs about"),
        (("--pass", "sideways"), "there is no pass called 'sideways'"),
        (("--threads", "0"), "--threads must be 1 to 4096"),
        (("--threads", "999", "--device", "cpu"), "the processors that may be used here, got 999"),
        (("--dataset", "mnist"), "--dataset means nothing without --network"),
        (("--network", "--size", "64k"), "--size means nothing with --network"),
        (("--network", "--target", "200%"), "--target must be a validation error between 0 and 100 %"),
        (("--plot", "x.bmp"), "the suffix does not say the format"),
    ],
)
def test_speed_refuses(cli: Cli, argv: tuple[str, ...], error: str) -> None:
    ended = cli("speed", "--device", "cpu", *argv)
    assert (ended.code, ended.out) == (2, "")
    assert error in ended.err.splitlines()[0]
    assert ended.err.splitlines()[1].startswith("hint: ")


def test_cuda_without_one_says_what_was_found(cli: Cli) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    ended = cli("speed", "--device", "cuda")
    assert ended.code == 2
    assert "there is no cuda device here" in ended.err
    assert "found: " in ended.err


def test_speed_prints_rows_and_raw_samples(cli: Cli, tmp_path: Path) -> None:
    plot = tmp_path / "speed.png"
    ended = cli("speed", *QUICK, "--act", "relu,gelu,glu", "--format", "json", "--plot", str(plot))
    assert ended.code == 0, ended.err
    value = json.loads(ended.out)
    assert list(value) == ["command", "version", "device", "measurement", "rows", "runs", "words"]
    assert (value["measurement"]["processes"], value["measurement"]["aa_cells"]) == (1, 2)
    assert [row["activation"] for row in value["rows"] if row["pass"] == "forward"] == ["relu", "gelu", "glu"]
    for row in value["rows"]:
        assert (row["elements"], row["dtype"], row["outcome"]) == (512, "fp32", "ok")
        assert all(row[key] > 0 for key in ("ns_per_element", "gb_per_s", "ratio_to_relu", "roof_share"))
        assert (row["kept_bytes_per_element"] is not None) == (row["pass"] == "forward+backward")
    twins = [run for run in value["runs"] if run["role"] == "twin"]
    assert [len(run["samples_ns_per_element"]) == len(run["position_in_round"]) > 0 for run in twins] == [True, True]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_speed_table_says_what_it_rests_on(cli: Cli) -> None:
    ended = cli("speed", *QUICK, "--rel-ci", "0.01%", "--act", "relu,tanh", "--format", "table")
    assert ended.code == 0, ended.err
    for words in (
        "A/A test: relu was also timed against itself",
        "trust the ratio",
        "ended it before",
        "roof, measured here",
        "Timer, 1 thread",
        "In fwd+bwd",
    ):
        assert words in ended.out, words


def test_a_longer_budget_takes_several_processes(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def broken(x): raise ValueError('no luck')\n")
    argv = ("--act", f"relu,tanh,{tmp_path}/mine.py:broken", "--size", "512", "--pass", "forward", "--device", "cpu")
    ended = cli("speed", *argv, "--budget", "48s", "--rel-ci", "1000%", "--output", str(tmp_path / "speed.json"))
    assert ended.code == 0, ended.err
    value = json.loads((tmp_path / "speed.json").read_text())
    tanh = next(row for row in value["rows"] if row["activation"] == "tanh")
    assert tanh["processes"] == 4
    assert tanh["rounds"] >= 4 * 6
    assert tanh["ratio_to_relu_ci_low"] < tanh["ratio_to_relu"] < tanh["ratio_to_relu_ci_high"]
    assert [row["outcome"] for row in value["rows"]] == ["ok", "ok", "failed"]
    assert all(len(run["rounds_of_processes"]) == 4 for run in value["runs"])


def test_a_failed_activation_is_a_row(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def broken(x): raise ValueError('no luck')\n")
    mine = f"{tmp_path}/mine.py:broken"
    ended = cli("speed", *QUICK, "--act", f"{mine},tanh", "--pass", "forward", "--format", "json")
    assert ended.code == 0
    rows = json.loads(ended.out)["rows"]
    assert [row["outcome"] for row in rows] == ["failed", "ok", "ok"]
    assert rows[-1]["activation"] == "relu", "what the ratios are to has a row, asked for or not"
    assert f"{mine}: failed (ValueError: no luck)" in ended.err
    alone = cli("speed", *QUICK, "--act", mine)
    assert (alone.code, "no activation could be measured" in alone.err) == (1, True)
    # A busy machine's line may come before.
    assert alone.err.splitlines()[-1] == f"hint: {mine}: ValueError: no luck"
    misspelt = cli("speed", *QUICK, "--act", f"relu,{tmp_path}/mine.py:brokn")
    assert (misspelt.code, "there is no 'brokn' in it" in misspelt.err) == (2, True)


@pytest.mark.parametrize("rounds", [0, 3])
def test_what_was_measured_before_an_interruption_is_printed(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    real, left = Session._round, rounds + 1

    def interrupted(self: Session, first: bool, late: Callable[[], bool]) -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        real(self, first, late)

    monkeypatch.setattr(Session, "_round", interrupted)
    ended = cli(
        "speed", "--act", "relu,tanh", "--size", "512", "--budget", "20s", "--rel-ci", "0.001%", "--format", "table"
    )
    assert ended.code == 130
    assert ("3 rounds in" in ended.out and "it was interrupted before" in ended.out) == bool(rounds)


def test_verify_is_silent_about_what_is_right_and_fails_for_what_is_wrong(cli: Cli) -> None:
    right = cli("verify", "--act", "relu", "--dtype", "bf16", "--format", "json")
    assert right.code == 0, right.err
    assert [row["pass"] for row in json.loads(right.out)["rows"]] == ["forward", "backward"]
    assert "Nothing is wrong" in right.err
    wrong = cli("verify", "--act", "log(1+exp(x))", "--dtype", "fp16", "--format", "table")
    assert wrong.code == 1
    assert "Overflows: log(1+exp(x)) (fp16 forward)" in wrong.out
    assert "error: 2 of 2 checks overflow" in wrong.err


def test_verify_against_another(cli: Cli) -> None:
    assert cli("verify", "--act", "max(0,x)", "--dtype", "bf16", "--against", "relu").code == 0
    refused = cli("verify", "--act", "glu", "--against", "relu")
    assert (refused.code, "--against compares functions of one variable" in refused.err) == (2, True)


def test_networks_are_trained_and_timed(cli: Cli, tmp_path: Path) -> None:
    plot = tmp_path / "pareto.png"
    argv = ("--network", "--act", "sigmoid,relu", "--model", "mlp-1x16", "--epochs", "2", "--budget", "0.1s")
    ended = cli("speed", *argv, "--device", "cpu", "--format", "json", "--plot", str(plot))
    assert ended.code == 0, ended.err
    value = json.loads(ended.out)
    assert [row["activation"] for row in value["rows"]] == ["sigmoid", "relu"]
    assert all(row["seconds_per_epoch"] > 0 for row in value["rows"])
    assert value["rows"][1]["article_epoch_ratio"] is None, "the article has another network, on other data"
    assert value["rows"][1]["epoch_ratio_to_sigmoid"] == value["rows"][1]["epoch_ratio"]
    assert value["pareto"][0]["seconds"] > 0
    twin = next(run for run in value["runs"] if run.get("role") == "twin")
    assert len(twin["samples_us_per_image"]) >= 6
    assert plot.read_bytes().startswith(b"\x89PNG")
    shown = cli("speed", *argv, "--device", "cpu", "--format", "table")
    for words in (
        "Pareto front",
        "A/A test: sigmoid was also timed against itself",
        "On this machine an epoch with relu takes",
    ):
        assert words in shown.out, words


OWN = """
import torch.nn as nn
class Net(nn.Sequential):
    def __init__(self, num_classes=10):
        super().__init__(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, num_classes))
"""


def test_a_network_of_ones_own_is_timed_and_compared_with_the_first_activation(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    argv = ("--network", "--act", "relu,silu", "--model", f"{tmp_path}/own.py:Net", "--epochs", "2")
    plot = tmp_path / "pareto.png"
    ended = cli(
        *("speed", *argv, "--budget", "0.1s", "--device", "cpu", "--batch-size", "32", "--lr", "0.05"),
        *("--format", "json", "--plot", str(plot)),
    )
    assert ended.code == 0, ended.err
    relu, silu = json.loads(ended.out)["rows"]
    assert (relu["ratio_to"], silu["ratio_to"], relu["epoch_ratio"]) == ("relu", "relu", 1.0)
    assert silu["epoch_ratio"] > 0 and silu["forward_us_per_image"] > 0
    assert (silu["epoch_ratio_to_sigmoid"], silu["article_epoch_ratio"]) == (None, None)
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_plot_that_cannot_be_drawn_is_an_error_below_the_table(cli: Cli, tmp_path: Path) -> None:
    plot = tmp_path / "pareto.png"
    argv = ("--network", "--act", "tanh", "--model", "mlp-1x4", "--epochs", "1", "--lr", "1e-9", "--budget", "0.1s")
    ended = cli("speed", *argv, "--device", "cpu", "--format", "table", "--plot", str(plot))
    assert (ended.code, plot.exists()) == (1, False)
    assert "no target, and nothing to draw: no training ended ok (tanh stalled)" in ended.out
    assert f"--plot {plot} was not written" in ended.err


def test_a_network_that_learns_nothing_is_a_row_with_a_reason_and_the_exit_code_says_so(cli: Cli) -> None:
    argv = ("--network", "--act", "tanh", "--model", "mlp-1x4", "--epochs", "1", "--lr", "1e-9", "--budget", "0.1s")
    ended = cli("speed", *argv, "--device", "cpu", "--format", "json")
    (row,) = json.loads(ended.out)["rows"]
    assert (ended.code, row["outcome"]) == (1, "stalled")
    assert row["message"] == "the validation error is no better than always naming the commonest class"
    assert row["forward_us_per_image"] > 0 and row["inference_us"] > 0 and row["peak_memory_bytes"] > 0
    assert "error: no network trained and was timed: tanh stalled" in ended.err


def test_a_network_that_diverges_beside_one_that_learns_is_named(cli: Cli) -> None:
    argv = ("--network", "--act", "relu,1000*x", "--model", "mlp-1x32", "--epochs", "2", "--budget", "0.1s")
    ended = cli("speed", *argv, "--device", "cpu", "--format", "json")
    assert [row["outcome"] for row in json.loads(ended.out)["rows"]] == ["ok", "diverged"]
    assert (ended.code, "warning: not every network trained and was timed: 1000*x diverged" in ended.err) == (0, True)


def test_sparsity_of_a_trained_network(cli: Cli, tmp_path: Path) -> None:
    plot = tmp_path / "zeros.png"
    argv = ("--sparsity", "--model", "mlp-2x24", "--epochs", "1", "--budget", "1s", "--device", "cpu")
    ended = cli("speed", *argv, "--format", "json", "--plot", str(plot))
    assert ended.code == 0, ended.err
    value = json.loads(ended.out)
    assert {row["source"] for row in value["rows"]} == {"trained", "shifted"}
    assert all(row["outcome"] == "ok" and row["dense_us"] > 0 for row in value["rows"])
    assert [row["batch"] for row in value["break_even"]] == [1, 10, 128]
    assert value["paper_sparsity_pct"] == 83.4
    assert any(run["role"] == "twin" and run["samples_ns_per_element"] for run in value["runs"])
    assert plot.read_bytes().startswith(b"\x89PNG")
    shown = cli("speed", *argv, "--format", "table")
    for words in ("layer 1 as trained", "the paper's zeros", "break-even"):
        assert words in shown.out, words
    # Where a busy machine leaves time for a few rounds only, nothing is concluded.
    assert "At 83.4 % zeros, which is what the paper's" in shown.out or "too few rounds for an interval" in shown.out


@pytest.mark.parametrize(
    ("argv", "code", "error"),
    [
        (("--sparsity", "--network"), 2, "--network and --sparsity are different measurements"),
        (("--sparsity", "--act", "relu,tanh"), 2, "--sparsity takes one network, and 2 are asked for"),
        (("--sparsity", "--dtype", "bf16"), 2, "--dtype means nothing with --sparsity"),
        (("--arithmetic", "--act", "relu"), 2, "--act means nothing with --arithmetic"),
        (
            ("--sparsity", "--act", "glu", "--epochs", "1"),
            2,
            "--sparsity needs a hidden layer that a dense one follows",
        ),
        (("--sparsity", "--act", "tanh"), 2, "tanh has no exact zeros"),
        (("--sparsity", "--act", "gelu", "--model", "cnn"), 2, "gelu has no exact zeros"),
        (("--sparsity", "--act", "relu", "--model", "torchvision:resnet18"), 2, "not those of torchvision:resnet18"),
        (("--sparsity", "--model", "OWN"), 2, "not those of"),
        (("--sparsity", "--set", "keep=none"), 2, "--sparsity needs the trained weights, and keep=none stores none"),
    ],
)
def test_sparsity_and_arithmetic_refuse_before_any_training(
    cli: Cli, argv: tuple[str, ...], code: int, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(study: Study) -> None:
        raise AssertionError("trained before it was refused")

    monkeypatch.setattr(Study, "run", trained)
    (tmp_path / "own.py").write_text(OWN)
    ended = cli("speed", *(f"{tmp_path}/own.py:Net" if word == "OWN" else word for word in argv))
    assert (ended.code, ended.out) == (code, "")
    assert error in ended.err.splitlines()[-2]


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    "argv", [("speed", "--network", "--act", "relu"), ("speed", "--sparsity"), ("ablate-sparsity", "--nets", "2")]
)
def test_a_closed_stdout_is_refused_before_any_training(argv: tuple[str, ...], tmp_path: Path) -> None:
    small = ("--model", "mlp-1x8", "--epochs", "1", "--batch-size", "200", "--runs-dir", str(tmp_path / "runs"))
    command = shlex.join([sys.executable, "-m", "relubench", *argv, *small, "--device", "cpu"])
    ended = subprocess.run(["bash", "-c", f"{command} >&-"], capture_output=True, text=True, timeout=300, check=False)
    assert (ended.returncode, "stdout is closed" in ended.stderr) == (1, True)
    assert not list(tmp_path.rglob("run.json"))


def test_arithmetic_prints_the_articles_cycles(cli: Cli) -> None:
    ended = cli("speed", "--arithmetic", "--budget", "0.2s", "--format", "json")
    assert ended.code == 0, ended.err
    rows = json.loads(ended.out)["rows"]
    assert [row["operation"] for row in rows] == ["add", "multiply", "compare", "divide", "exp", "log"]
    assert (rows[-1]["article_cycles_low"], rows[-1]["article_cycles_high"]) == (50, 100)
    assert all(row["rounds"] >= 1 and row["call_ns"] > 0 for row in rows)
