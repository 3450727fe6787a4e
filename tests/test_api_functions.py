"""`relubench.run`, `ablate_sparsity`, `speed`, `verify`, `compare`, `list_*`, and what `train` takes beside names."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import relubench
from relubench.experiments import named_settings
from relubench.experiments.python_objects import activation_name, dataset_name
from relubench.reports.render import render

here = pytest.mark.usefixtures("train_here")

TINY: dict[str, Any] = {"epochs": 1, "model": "mlp-1x8"}


def squared_relu(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x) ** 2


class Doubled(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * torch.relu(x)


def digits() -> tuple[np.ndarray, ...]:
    images, labels = load_digits(return_X_y=True)
    x, y = images.astype(np.float32) / 16, labels.astype(np.int64)
    return x[:300], y[:300], x[300:400], y[300:400]


def test_functions_classes_and_names_are_activations_side_by_side() -> None:
    table = relubench.train(act=[squared_relu, Doubled, torch.nn.GELU, "relu"], **TINY)
    assert [row["outcome"] for row in table.rows] == ["ok"] * 4
    labels = [row["activation"] for row in table.rows]
    assert labels[0] == f"{__file__}:squared_relu" and labels[1] == f"{__file__}:Doubled"
    assert labels[2:] == ["torch.nn.modules.activation:GELU", "relu"]
    by_name = relubench.train(act=f"{__file__}:squared_relu", **TINY)
    assert by_name.runs[0].id in {run.id for run in table.runs}


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda x: x, "no name that a worker process can import"),
        (torch.nn.ReLU(), "instance of ReLU"),
        (3, "an activation is a name, a function or a class, not 3"),
    ],
)
def test_what_no_worker_can_import_is_refused(act: object, message: str) -> None:
    with pytest.raises(relubench.UsageError, match=message):
        relubench.train(act=act, **TINY)


def test_functions_of_an_extension_are_named_by_their_module() -> None:
    assert activation_name(torch.tanh) == "torch:tanh"
    assert activation_name("relu") == "relu"


@here
def test_a_data_set_is_arrays_a_mapping_or_a_path(tmp_path: Path) -> None:
    x_train, y_train, x_test, y_test = arrays = digits()
    of_tuple = relubench.train("relu", dataset=arrays, **TINY)
    mapping = {"x_test": x_test, "y_test": y_test, "x_train": x_train, "y_train": y_train}
    assert relubench.train("relu", dataset=mapping, **TINY).runs[0].id == of_tuple.runs[0].id
    np.savez(tmp_path / "data.npz", **mapping)
    of_path = relubench.train("relu", dataset=tmp_path / "data.npz", **TINY)
    assert of_path.rows[0]["test_error_pct"] == of_tuple.rows[0]["test_error_pct"]
    assert of_tuple.runs[0].test_examples == 100


def test_equal_arrays_are_kept_in_equal_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = []
    for folder in ("a", "b"):
        monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(tmp_path / folder))
        contents.append(Path(dataset_name(digits())).read_bytes())
    assert contents[0] == contents[1]
    images, *others = digits()
    assert Path(dataset_name((images + 1, *others))).read_bytes() != contents[0]


def test_a_wrong_number_of_arrays_is_refused() -> None:
    with pytest.raises(relubench.UsageError, match="a data set has 4 or 6 arrays, got 3"):
        relubench.train("relu", dataset=digits()[:3], **TINY)


@here
def test_flags_and_names_are_one() -> None:
    table = relubench.train(
        "relu", momentum=0.5, optimizer="sgd", dropout=0.1, norm="batch", batch_size=20, init="he", seed=3, **TINY
    )
    spec = table.runs[0].spec
    keys = ("momentum", "optimizer", "dropout", "norm", "batch_size", "init", "seed")
    assert [spec[key] for key in keys] == [0.5, "sgd", 0.1, "batch", 20, "he", 3]


def test_a_name_that_no_setting_has_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="there is no setting 'epoch': did you mean epochs"):
        relubench.train("relu", epoch=3)  # pyright: ignore[reportCallIssue]


def test_a_key_set_twice_is_refused() -> None:
    with pytest.raises(relubench.UsageError, match=r"train\.lr is given twice: 0\.2 and 0\.1"):
        relubench.train("relu", lr=0.1, settings={"train": {"lr": 0.2}})
    with pytest.raises(relubench.UsageError, match="seeds=2 and seed=1 exclude each other"):
        relubench.train("relu", seeds=2, seed=1)


@pytest.mark.parametrize("seeds", ["x", "5", 2.5, True, [1, "x"], {"a": 1}, [0.5]])
def test_seeds_of_another_kind_are_refused(seeds: Any) -> None:
    with pytest.raises(relubench.UsageError, match="seeds is a number or a list of numbers here, got"):
        relubench.run("glorot2011-table1", scale="smoke", seeds=seeds)
    with pytest.raises(relubench.UsageError, match="seed is a whole number, got"):
        relubench.train("relu", seed=seeds)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"seeds": 5}, "seeds are those of the first look and of the last, got 5"),
        ({"seeds": ()}, "seeds are those of the first look and of the last"),
        ({"seeds": (3, "x")}, "--seeds must be LEAST..MOST"),
        ({"budget": 20}, "--budget must be a time or a number of runs, got 20"),
        ({"within": [1]}, "--within must be a number of at least 0"),
    ],
)
def test_a_choice_refuses_values_of_another_kind(named: dict[str, Any], message: str) -> None:
    with pytest.raises(relubench.UsageError, match=re.escape(message)):
        relubench.choose(["relu", "tanh"], dataset="digits", **named)


def test_whole_numbers_of_numpy_are_seeds() -> None:
    assert named_settings._seeds(np.int64(2), None) == (0, 1) == named_settings._seeds(range(2), None)
    assert named_settings._seeds(None, np.int32(7)) == (7,)


def test_an_error_says_its_hint_and_survives_pickling() -> None:
    with pytest.raises(relubench.UsageError) as refused:
        relubench.train("rellu")
    error = pickle.loads(pickle.dumps(refused.value))
    assert str(error).splitlines() == [refused.value.message, f"hint: {refused.value.hint}"]
    assert issubclass(relubench.DataError, relubench.RelubenchError)
    assert issubclass(relubench.ComputeError, relubench.RelubenchError)


def test_a_script_that_would_start_itself_anew_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    call = "relubench.train(act, epochs=1, model='mlp-1x8')"
    script.write_text(f"import relubench, torch\ndef act(x):\n    return torch.relu(x)\nprint(len({call}.rows))\n")
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1 and "__main__" in ended.stderr
    script.write_text(
        "import relubench, torch\ndef act(x):\n    return torch.relu(x)\n"
        f"if __name__ == '__main__':\n    print(len({call}.rows))\n"
    )
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300)
    assert ended.stdout == "1\n", ended.stderr


@here
def test_sparsity_at_given_strengths_and_over_a_range() -> None:
    table = relubench.ablate_sparsity(l1=[0.01, 0], **TINY)
    assert [row["l1"] for row in table.rows] == [0.0, 0.01]
    sampled = relubench.ablate_sparsity(nets=3, **TINY)
    strengths = [run.spec["l1_asked"] for run in sampled.runs]
    assert len(strengths) == 3 and 0.0 in strengths and len(set(strengths)) == 3
    with pytest.raises(relubench.UsageError, match=r"nets=3 and l1=0\.1 exclude each other"):
        relubench.ablate_sparsity(l1=0.1, nets=3)


@here
def test_a_preset_runs_narrowed_to_an_activation(tmp_path: Path) -> None:
    preset = tmp_path / "small.yaml"
    preset.write_text(
        "description: two\nact: [relu, tanh]\nmodel: {name: mlp-1x8}\ntrain: {epochs: 1}\ndata: {name: digits}\n"
    )
    table = relubench.run(preset, act="tanh", seeds=2)
    assert [(row["activation"], row["n"]) for row in table.rows] == [("tanh", 2)]
    assert table.report.command == "run"
    with pytest.raises(relubench.UsageError, match="there is no preset called 'glorot'"):
        relubench.run("glorot")


def test_speed_of_two_activations() -> None:
    table = relubench.speed(["tanh", squared_relu], size="4096", passes="forward", budget=1.0)
    assert {row["activation"] for row in table.rows} >= {"relu", "tanh", f"{__file__}:squared_relu"}
    with pytest.raises(relubench.UsageError, match="--dtype"):
        relubench.speed("relu", dtype="fp7")


@here
def test_speed_of_networks_beside_the_first_and_at_a_target() -> None:
    table = relubench.speed(
        ["sigmoid", "relu"], network=True, model="mlp-1x16", epochs=2, budget=0.1, target=50, device="cpu"
    )
    assert [(row["activation"], row["ratio_to"]) for row in table.rows] == [("sigmoid", "sigmoid"), ("relu", "sigmoid")]
    assert all(row["seconds_per_epoch"] > 0 and row["target_error_pct"] == 50 for row in table.rows)
    assert table.report.command == "speed" and "Pareto front" in repr(table) and "Pareto front" in table._repr_html_()


def test_speed_of_products_and_of_the_articles_operations() -> None:
    products = relubench.speed(sparsity=True, model="mlp-2x24", epochs=1, budget=0.5, device="cpu")
    assert {row["source"] for row in products.rows} == {"trained", "shifted"}
    assert "break-even" in repr(products)
    operations = relubench.speed(arithmetic=True, budget=0.2)
    assert [row["operation"] for row in operations.rows] == ["add", "multiply", "compare", "divide", "exp", "log"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 3}, "--epochs means nothing without --network or --sparsity"),
        ({"dropout": 0.1}, "--dropout means nothing without --network or --sparsity"),
        ({"network": True, "size": "64k"}, "--size means nothing with --network"),
        ({"network": True, "sparsity": True}, "--network and --sparsity are different measurements"),
        ({"network": True, "target": 200}, "--target must be a validation error between 0 and 100 %"),
        ({"sparsity": True, "keep": "none"}, "keep=none stores none"),
        ({"arithmetic": True, "settings": {"seeds": [0]}}, "--set means nothing with --arithmetic"),
        ({"budget": -1.0}, "--budget must be a number above 0"),
    ],
)
def test_speed_refuses_what_the_command_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(relubench.UsageError, match=message):
        relubench.speed(None if settings.get("arithmetic") else "relu", **settings)
    with pytest.raises(TypeError, match="there is no setting 'epoch': did you mean epochs"):
        relubench.speed("relu", network=True, epoch=3)  # pyright: ignore[reportCallIssue]


@here
def test_a_stack_is_written_and_fine_tuned_from(tmp_path: Path) -> None:
    file = tmp_path / "stack.safetensors"
    quick: dict[str, Any] = {"pretrain_epochs": 1, **TINY}
    relubench.pretrain("sigmoid", method=["none", "dae"], seed=0, export=file, **quick)
    table = relubench.pretrain("sigmoid", from_=str(file), seed=0, **TINY)
    assert [row["pretraining"] == "none" for row in table.rows] == [True, False]
    with pytest.raises(relubench.UsageError, match=r"--from .* and --method dae exclude each other"):
        relubench.pretrain("sigmoid", method="dae", from_=file, **TINY)
    with pytest.raises(relubench.UsageError, match="--export writes one stack: this asks for 2 activations"):
        relubench.pretrain(["sigmoid", "tanh"], method="dae", seed=0, export=file, **quick)
    with pytest.raises(relubench.UsageError, match="--export writes one stack: this asks for 2 methods and 1 seeds"):
        relubench.pretrain("sigmoid", method=["rbm", "dae"], seed=0, export=file, **quick)


def test_verify_finds_right_values_right_and_another_function_wrong() -> None:
    assert {row["outcome"] for row in relubench.verify("relu", dtype="fp32").rows} == {"ok"}
    wrong = relubench.verify(squared_relu, dtype="fp32", against="relu")
    assert "wrong" in {row["outcome"] for row in wrong.rows}


@here
def test_saved_results_are_compared(tmp_path: Path) -> None:
    table = relubench.train("relu,tanh", **TINY)
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(render(table.report, "json"))
    compared = relubench.compare(tmp_path / "a.json", str(tmp_path / "b.json"))
    assert len(compared.rows) == 2
    with pytest.raises(relubench.UsageError, match="compare needs two files or more, got 1"):
        relubench.compare("a.json")


def test_lists_are_those_of_the_command() -> None:
    from relubench.reports.listings import LISTS

    for kind, rows_of in LISTS.items():
        assert getattr(relubench, f"list_{kind}") is rows_of and rows_of()
    assert set(relubench.__all__) <= set(dir(relubench))
