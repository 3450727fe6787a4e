"""A family of networks is a file and a row: the one of the guide, outside the package, through the whole program."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import relubench
from relubench.__main__ import run
from relubench.errors import UsageError
from relubench.executors.inline import InlineExecutor
from relubench.experiments import executor_choice
from relubench.models.families import FAMILIES, family_of, parse_model
from relubench.models.family import Family
from relubench.models.layers.dense import Linear
from relubench.runs.store import Store
from relubench.training.images import Images
from relubench.training.memory import member_bytes
from relubench.training.population import Population
from relubench.training.probes.dead_units import stage_weights, unit_statuses
from specs import check_stopped_run, digits, runs

GUIDE = Path(__file__).parents[2] / "docs" / "adding-a-model-family-or-task.md"

TRAINING = ["--dataset", "digits", "--model", "toy-2x16", "--epochs", "1", "--batch-size", "64"]


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> Family:
    """The guide's family, in the table for one test; jobs are carried out in this process, which knows it."""
    code = re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert code is not None
    module = ModuleType("toy_family")
    exec(compile(code[1], str(GUIDE), "exec"), module.__dict__)
    monkeypatch.setitem(FAMILIES, "toy", module.__dict__["FAMILY"])
    monkeypatch.setattr(executor_choice, "LocalExecutor", lambda device, store, note: InlineExecutor(store))
    return FAMILIES["toy"]


def test_the_guide_s_file_imports_no_torch_and_stands_for_itself(toy: Family):
    assert family_of("toy-3x8") is toy
    assert parse_model("toy-3x8").hidden == (8, 8, 8)
    with pytest.raises(UsageError, match="a layer has 1 to 65536 units, got toy-2x0"):
        parse_model("toy-2x0")
    assert not re.search(r"^(import|from) torch", GUIDE.read_text(), re.MULTILINE)


def test_a_table_is_printed_and_a_repeated_command_computes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    command = ["train", "--act", "relu,tanh", *TRAINING, "--runs-dir", str(tmp_path), "--quiet", "--format", "tsv"]
    assert run(command) == 0
    first = capfd.readouterr().out
    header, *rows = [line.split("\t") for line in first.splitlines()]
    values = [dict(zip(header, row, strict=True)) for row in rows]
    assert [(row["activation"], row["model"], row["outcome"]) for row in values] == [
        ("relu", "toy-2x16", "ok"),
        ("tanh", "toy-2x16", "ok"),
    ]
    assert all(float(row["test_error_pct"]) < 85 and row["dead_units_pct"] for row in values)
    monkeypatch.setattr(InlineExecutor, "run", lambda self, jobs: pytest.fail("nothing is left to compute"))
    assert run(command) == 0
    assert capfd.readouterr().out == first


def test_the_list_and_the_error_of_an_unknown_name_show_it(capfd: pytest.CaptureFixture[str]):
    assert run(["list", "models", "--format", "tsv"]) == 0
    assert re.search(r"^toy-2x16\t2 hidden layers of 16 units", capfd.readouterr().out, re.MULTILINE)
    with pytest.raises(UsageError) as refused:
        parse_model("toi-2x16")
    assert "did you mean toy-2x16?" in refused.value.hint


def test_python_s_train_knows_it_and_options_are_those_of_its_stages(tmp_path: Path):
    results = relubench.train(
        act="relu",
        dataset="digits",
        model="toy-2x16",
        epochs=1,
        batch_size=64,
        norm="batch",
        probe="all",
        runs_dir=tmp_path,
    )
    (row,) = results.rows
    assert row["outcome"] == "ok" and row["model"] == "toy-2x16"
    (result,) = [Store(tmp_path).result(name) for name in Store(tmp_path).ids()]
    assert result is not None and result.regions and result.probes
    with pytest.raises(UsageError, match="only the layers of a plain mlp are pre-trained"):
        runs("relu", model={"name": "toy-2x16"}, pretrain={"methods": ["dae"]})


@pytest.mark.parametrize(
    ("ability", "sections", "message"),
    [
        (
            "normalisation",
            {"model": {"norm": "batch"}},
            "--norm batch means nothing to toy-2x16: its layers have no such thing",
        ),
        ("probes", {"train": {"probe": "gradients"}}, "--probe gradients means nothing to toy-2x16"),
        ("l1", {"train": {"l1": [0.1]}}, "train.l1=0.1 means nothing to toy-2x16"),
        ("sign flip", {"model": {"sign_flip": True}}, "--sign-flip means nothing to toy-2x16"),
        ("initialisation", {"model": {"init": "he"}}, "--init he means nothing to toy-2x16"),
        ("dropout", {"model": {"dropout": 0.5}}, "--dropout 0.5 means nothing to toy-2x16"),
    ],
)
def test_what_the_row_does_not_state_is_refused(ability: str, sections: dict, message: str, toy: Family):
    named = {**sections, "model": {"name": "toy-2x16", **sections.get("model", {})}}
    runs("relu", **named)
    FAMILIES["toy"] = replace(toy, abilities=toy.abilities - {ability})
    with pytest.raises(UsageError, match=message):
        runs("relu", **named)


def test_a_family_without_gates_refuses_them(toy: Family):
    FAMILIES["toy"] = replace(toy, abilities=toy.abilities - {"gated"})
    with pytest.raises(UsageError, match="swiglu is gated: it needs 2 pre-activations a unit, which the layers of toy"):
        runs("swiglu", model={"name": "toy-2x16"})


def test_a_gated_network_is_narrowed_to_equal_parameters():
    (plain,), (gated,) = (runs(act, model={"name": "toy-3x64"})[1] for act in ("relu", "swiglu"))
    assert plain.parameters == 64 * 64 + 64 + 2 * 2 * (64 * 64 + 64) + 64 * 10 + 10
    assert abs(gated.parameters / plain.parameters - 1) < 0.01
    assert max(gated.hidden) < 64


def test_memory_counts_what_the_stages_have_more():
    (toy_run,), (mlp,) = (runs("relu", model={"name": f"{name}-3x400"})[1] for name in ("toy", "mlp"))
    more = member_bytes(toy_run, 1) - member_bytes(mlp, 1)
    # Parameters and the best epoch's, and what training keeps of a batch of 10: an output and its gradient.
    assert more == 4 * 2 * (2 * (400 * 400 + 400) + 10 * 2 * 400)


def test_a_study_of_it_has_a_price(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    preset = tmp_path / "toy.yaml"
    preset.write_text(
        "description: x\nact: [relu]\ndata: {name: digits}\nmodel: {name: toy-2x16}\ntrain: {epochs: 900}\n"
    )
    command = ["run", str(preset), "--dry-run", "--runs-dir", str(tmp_path / "runs"), "--format", "tsv"]
    assert run(command) == 0
    header, row = [line.split("\t") for line in capfd.readouterr().out.splitlines()]
    values = dict(zip(header, row, strict=True))
    assert (values["model"], values["runs"], values["basis"]) == ("toy-2x16", "1", "two seconds of training")
    assert float(values["hours"]) > 0 and int(values["disk_bytes"]) > 20_000


def test_a_run_that_is_stopped_ends_in_the_same_bytes(tmp_path: Path):
    sections = {"model": {"name": "toy-3x16", "dropout": 0.2}, "train": {"epochs": 6, "batch_size": 32}}
    check_stopped_run("swiglu", tmp_path, 3, **sections)


@pytest.mark.parametrize("act", ["relu", "swiglu"])
def test_probes_see_through_the_linear_layer(act: str):
    choice, (spec,) = runs(act, model={"name": "toy-2x16"})
    network = Population([spec], choice, Images.open(digits(), device="cpu", flat=True))
    first, linear, second, _ = (layer for layer in network.layers if isinstance(layer, Linear))
    assert [weight.name for weight in stage_weights(network.layers)] == [first.weight.name, second.weight.name]
    width = spec.hidden[0]
    with_slope = [np.ones((1, width * choice.inputs_per_unit), dtype=bool) for _ in spec.hidden]
    # Unit 3 feeds the linear layer's second output alone, which no unit above reads.
    linear.weight.value[:, 3] = 0.0
    linear.weight.value[1, 3] = 1.0
    second.weight.value[:, 1] = 0.0
    statuses = unit_statuses(network.layers, with_slope, choice.inputs_per_unit, batched=False)
    assert np.flatnonzero(statuses[0].cut_off) == [3] and not statuses[1].cut_off.any()
    linear.weight.value[2, 3] = 1.0
    statuses = unit_statuses(network.layers, with_slope, choice.inputs_per_unit, batched=False)
    assert not statuses[0].cut_off.any()
