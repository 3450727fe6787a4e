"""An optimizer, a norm, a probe and a data set are each added in two places, and the whole program works with them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import toy_parts
from relubench.data import TABLE, prepare
from relubench.executors.inline import InlineExecutor
from relubench.executors.tasks import carry_out
from relubench.experiments import executor_choice
from relubench.models.norm_table import NORMS
from relubench.models.optimizer_table import OPTIMIZERS
from relubench.runs.store import Store
from relubench.training.driver import Interrupted
from relubench.training.images import Images
from relubench.training.memory import member_bytes
from relubench.training.population import Population
from relubench.training.probes.table import PROBES
from specs import job, runs
from tests.cli.conftest import cli as cli
from tests.cli.fakes import Cli

MOST_LINES = 20
"""Of the code of a toy and of its row, each."""

OPTIMIZER = ("--optimizer", "sign", "--lr", "0.003")
NORM = ("--norm", "scale")
PROBE = ("--probe", "weights")
DATA = ("--dataset", "blobs")
NETWORK = ("train", "--act", "relu,tanh", "--model", "mlp-2x16", "--epochs", "3", "--format", "json")
TOYS = {"sign": OPTIMIZER, "scale": NORM, "weights": PROBE, "blobs": DATA}


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toys' rows in their tables, in this process, which trains, too: a worker would not have them."""
    monkeypatch.setitem(OPTIMIZERS, "sign", toy_parts.SIGN)
    monkeypatch.setitem(NORMS, "scale", toy_parts.SCALED)
    monkeypatch.setitem(PROBES, "weights", toy_parts.WEIGHTS)
    monkeypatch.setitem(TABLE, "blobs", toy_parts.BLOBS)
    monkeypatch.setattr(executor_choice, "LocalExecutor", lambda device, store, note: InlineExecutor(store))


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Training in this process sets torch's threads; other tests get theirs back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("part", [toy_parts.SignSgd, toy_parts.ScaleNorm, toy_parts.WeightProbe, toy_parts.load])
def test_a_toy_is_short(part: object) -> None:
    assert len(inspect.getsource(part).splitlines()) <= MOST_LINES  # type: ignore[arg-type]


@pytest.mark.parametrize(("option", "name"), [("--optimizer", "sign"), ("--norm", "scale"), ("--probe", "weights")])
def test_the_help_and_the_refusal_name_it(option: str, name: str, cli: Cli) -> None:
    assert f"{name}" in " ".join(cli("train", "--help").out.split())
    refused = cli("train", option, "nonsense")
    assert refused.code == 2
    assert name in refused.err.split("\n")[0].split(": ", 1)[1].replace(",", " ").split()


@pytest.mark.parametrize("toy", TOYS)
def test_the_program_trains_with_it_and_knows_the_runs_again(toy: str, cli: Cli) -> None:
    first = cli(*NETWORK, *TOYS[toy])
    assert first.code == 0, first.err
    report = json.loads(first.out)
    assert [row["outcome"] for row in report["rows"]] == ["ok", "ok"]
    spec = report["runs"][0]["spec"]
    key = {"sign": "optimizer", "scale": "norm", "weights": "probe", "blobs": "dataset"}[toy]
    assert spec[key] == toy
    again = cli(*NETWORK, *TOYS[toy])
    assert again.code == 0
    assert [run["id"] for run in json.loads(again.out)["runs"]] == [run["id"] for run in report["runs"]]
    assert "cached" in again.err or "stored" in again.err
    plain = cli(*NETWORK, "--lr", "0.003")
    assert json.loads(plain.out)["runs"][0]["id"] != report["runs"][0]["id"]


def test_what_a_probe_measured_stands_in_the_table_and_in_the_run(cli: Cli) -> None:
    ended = cli(*NETWORK, *PROBE)
    report = json.loads(ended.out)
    run = report["runs"][0]
    assert [value["epoch"] for value in run["measured"]] == [0, 1, 2, 3]
    best = next(value["value"] for value in run["measured"] if value["epoch"] == run["best_epoch"])
    assert report["rows"][0]["largest_weight"] == pytest.approx(best, abs=1e-6)
    table = cli(*NETWORK[:-1], "table", *PROBE).out
    assert "largest" in table and "weight" in table
    shown = " ".join(cli("runs", "show", run["id"], "--format", "table").out.split())
    assert "measured of the whole network epoch largest weight" in shown
    other = json.loads(cli(*NETWORK).out)
    assert all("measured" not in run for run in other["runs"])
    assert all("largest_weight" not in row for row in other["rows"])


def test_a_preset_of_all_of_them_is_priced(cli: Cli, tmp_path: Path) -> None:
    preset = tmp_path / "toys.yaml"
    train = "{optimizer: sign, lr: auto, epochs: 2, probe: weights}"
    preset.write_text(
        "description: toys\nact: [relu]\n"
        f"data: {{name: blobs}}\nmodel: {{name: mlp-1x8, norm: scale}}\ntrain: {train}\n"
    )
    priced = cli("run", str(preset), "--dry-run")
    assert priced.code == 0, priced.err
    assert f"1 run, {len(toy_parts.SIGN.rates)} tuning runs" in priced.err
    ended = cli("run", str(preset), "--format", "json")
    assert ended.code == 0, ended.err
    (row,) = json.loads(ended.out)["rows"]
    assert row["lr"] in toy_parts.SIGN.rates
    assert row["dataset"] == "blobs" and row["largest_weight"] > 0


def test_a_default_rate_that_is_large_for_it_is_remarked(cli: Cli) -> None:
    ended = cli(*NETWORK, "--optimizer", "sign")
    assert "large for sign: try --lr 0.001 or --lr auto" in ended.err
    refused = cli(*NETWORK, *OPTIMIZER, "--set", "train.momentum=0.5")
    assert refused.code == 2 and "momentum" in refused.err and "not sign" in refused.err


SECTIONS = {
    "train": {"optimizer": "sign", "lr": 0.003, "epochs": 3, "probe": "all"},
    "model": {"name": "mlp-2x16", "norm": "scale"},
}


def test_a_run_with_all_of_them_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, halted = (job("relu", tmp_path / name, **SECTIONS) for name in ("whole", "halted"))
    list(carry_out(whole, Store(whole.store), lambda: False))
    for stop_after in (2, 5):
        calls = iter(range(stop_after))
        with pytest.raises(Interrupted):
            list(carry_out(halted, Store(halted.store), lambda: next(calls, None) is None))  # noqa: B023
    list(carry_out(halted, Store(halted.store), lambda: False))
    results = [Store(part.store).result(part.specs[0].id) for part in (whole, halted)]
    assert results[0] is not None and results[0] == results[1]
    assert len(results[0].measured) == 4 and len(results[0].regions) == 4
    assert all(probe.weight_gradient is not None for probe in results[0].probes)


def test_members_side_by_side_take_the_steps_of_each_alone() -> None:
    choice, specs = runs("relu", seeds=2, **SECTIONS)
    specs = [replace(spec, lr=spec.lr * (1 + number)) for number, spec in enumerate(specs)]
    images = Images.open(prepare("digits"), device="cpu", flat=True)
    together, *alone = (Population(some, choice, images) for some in (specs, specs[:1], specs[1:]))
    for population in (together, *alone):
        assert list(population.train())
    for place, population in enumerate(alone):
        for name, value in population.weights(0, best=False).items():
            in_company = together.weights(place, best=False)[name].reshape(value.shape)
            torch.testing.assert_close(in_company, value, atol=2e-2, rtol=0, msg=name)
        found = [value.value for value in together.members[place].measured]
        assert found == pytest.approx([value.value for value in population.members[0].measured], abs=2e-2)


def test_its_row_says_what_memory_and_parameters_it_takes() -> None:
    plain, own = (
        runs("relu", model={"name": "mlp-2x16", "norm": norm}, train={"optimizer": optimizer})[1][0]
        for norm, optimizer in (("none", "adam"), ("scale", "sign"))
    )
    assert own.parameters == plain.parameters + 2 * 16
    assert member_bytes(own, 1) < member_bytes(plain, 1)
