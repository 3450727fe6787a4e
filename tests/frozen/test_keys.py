"""The keys, types and columns of every result that a program reads, and of what is stored, from small real runs."""

from __future__ import annotations

import csv
import json
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.fakes import training_here
from tests.frozen.conftest import Frozen, printed
from tests.frozen.shapes import Shape, comparable, differences, shape_of

# In one process: each trains the store anew.
pytestmark = [pytest.mark.xdist_group("frozen keys"), pytest.mark.usefixtures("train_here")]

NETWORK = ["--model", "mlp-12-8", "--batch-size", "64", "--epochs", "2", "--lr", "0.1", "--device", "cpu", "--quiet"]
JSON = ["--format", "json"]
KEPT = [*NETWORK, "--runs-dir", "STORE"]
LAYERS = ["--pretrain-epochs", "1", "--pretrain-lr", "0.1", "--set", "train.probe=all"]
PRETRAINED = ["pretrain", "--act", "relu", *LAYERS, *KEPT, "--method"]
# However wide: a timing ends as soon as it has intervals.
TIMED = ["--rel-ci", "1000%", "--budget", "5s", "--quiet"]

COMMANDS = {
    "train": ["train", "--act", "sigmoid,relu", "--seeds", "2", *KEPT],
    "pretrain": [*PRETRAINED, "none,rbm,dae"],
    "ablate-sparsity": ["ablate-sparsity", "--act", "relu", "--l1", "0,0.1", *KEPT],
    "speed": ["speed", "--act", "tanh", "--size", "512", "--pass", "forward+backward", "--device", "cpu", *TIMED],
    "speed-network": ["speed", "--network", "--act", "sigmoid,relu", *KEPT, *TIMED],
    "speed-sparsity": ["speed", "--sparsity", "--act", "relu", *KEPT, "--budget", "0.5s"],
    "speed-arithmetic": ["speed", "--arithmetic", *TIMED],
    "verify": ["verify", "--act", "relu", "--dtype", "bf16", "--quiet"],
    "choose": ["choose", "--act", "sigmoid,relu", "--budget", "10runs", "--seeds", "2..2", *KEPT],
    "compare": ["compare", "RESULT", "RESULT", "--quiet"],
    "run": ["run", "PRESET", "--device", "cpu", "--runs-dir", "STORE", "--quiet"],
    "run-dry-run": ["run", "PRESET", "--device", "cpu", "--dry-run", "--runs-dir", "STORE"],
    "runs": ["runs", "--runs-dir", "STORE"],
    "runs-show": ["runs", "show", "ID", "--runs-dir", "STORE"],
    "show-data": ["show", "data", "digits", "--quiet"],
    "doctor": ["doctor", "--runs-dir", "STORE"],
    **{f"list-{kind}": ["list", kind] for kind in ("activations", "functions", "datasets", "models", "presets")},
    **{f"list-{kind}": ["list", kind] for kind in ("references", "formats", "columns")},
}
"""File -> the command. STORE stands for the folder of runs, ID for one of them, RESULT and PRESET for files."""

FORMATS = {
    **{name: ("json", "tsv") for name in COMMANDS if name.startswith(("speed", "list", "verify"))},
    "doctor": ("json",),
    "choose": ("json", "tsv"),
}
"""File -> what is asked for, where that is not every format: the words of lists are frozen too, timings take time."""
EVERY = ("json", "jsonl", "tsv", "csv", "markdown")

PRESET = """\
description: Two small networks
act: [sigmoid, relu]
model: {name: mlp-12-8}
train: {batch_size: 64, epochs: 2, lr: 0.1}
seeds: [0, 1]
"""


@dataclass(frozen=True, slots=True)
class Trained:
    """A store with a few runs in it, and what the words in capitals stand for."""

    words: dict[str, str]

    def printed(self, *argv: str) -> str:
        """What a command prints whose arguments may be words in capitals."""
        return printed(*(self.words.get(word, word) for word in argv))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A few small networks on the digits, with and without pre-training; ID is one with."""
    folder = tmp_path_factory.mktemp("frozen")
    places = {"STORE": "runs", "RESULT": "result.json", "PRESET": "preset.yaml"}
    words = {word: str(folder / name) for word, name in places.items()}
    with pytest.MonkeyPatch.context() as patch, training_here():
        patch.setenv("RELUBENCH_CACHE_DIR", str(folder / "cache"))
        result, pretrained = (Trained(words).printed(*COMMANDS[name], *JSON) for name in ("train", "pretrain"))
    Path(words["RESULT"]).write_text(result)
    Path(words["PRESET"]).write_text(PRESET)
    return Trained({**words, "ID": json.loads(pretrained)["runs"][-1]["id"]})


@pytest.mark.parametrize("name", COMMANDS)
def test_keys_and_columns_are_what_they_were(frozen: Frozen, trained: Trained, name: str) -> None:
    def text(format: str) -> str:
        return trained.printed(*COMMANDS[name], "--format", format)

    readers: dict[str, Callable[[str], Any]] = {
        "json": lambda text: shape_of(json.loads(text)),
        "jsonl": lambda text: shape_of([json.loads(line) for line in text.splitlines()]),
        "tsv": lambda text: text.splitlines()[0].split("\t"),
        "csv": lambda text: next(csv.reader(text.splitlines())),
        "markdown": lambda text: list(_headings(text)),
    }
    now = {format: readers[format](text(format)) for format in FORMATS.get(name, EVERY)}
    frozen.record(f"keys/{name}.json", now, _without_what_depends_on_the_machine)


def _headings(markdown: str) -> Iterator[list[str]]:
    """The columns of each table."""
    for line, below in pairwise(markdown.splitlines()):
        if re.fullmatch(r"\|[-:| ]+\|", below):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _without_what_depends_on_the_machine(before: Any, now: Any) -> tuple[Any, Any]:
    shapes = {key: comparable(before[key], now[key]) for key in ("json", "jsonl") if key in before and key in now}
    then = {**before, **{key: pair[0] for key, pair in shapes.items()}}
    return then, {**now, **{key: pair[1] for key, pair in shapes.items()}}


def test_what_is_stored_is_what_it_was(frozen: Frozen, trained: Trained) -> None:
    documents: dict[str, list[Any]] = {}
    store = Path(trained.words["STORE"])
    # A plan is there only where the test of `choose` has run in this process.
    places = set(store.rglob("*")) - {store / "index.sqlite", *(store / "plans").rglob("*")}
    for place in sorted(places):
        if place.is_file():
            name = re.sub(r"s?[0-9a-f]{15,16}", "ID", str(place.relative_to(store)))
            documents.setdefault(name, []).append(_content(place))
    now = {"json": {f"{name} {path}": kind for name in documents for path, kind in shape_of(documents[name]).items()}}
    frozen.record("keys/store.json", now, _without_what_depends_on_the_machine)


def test_an_exported_stack_is_what_it_was(frozen: Frozen, trained: Trained, tmp_path: Path) -> None:
    place = tmp_path / "stack.safetensors"
    trained.printed(*PRETRAINED, "rbm", "--export", str(place))
    frozen.record("keys/export.json", {"json": shape_of(_content(place))}, _without_what_depends_on_the_machine)


def _content(place: Path) -> Any:
    """What a file says of itself: a JSON document, or the names and types of tensors with their metadata."""
    if place.suffix == ".json":
        return json.loads(place.read_text("utf-8"))
    if place.suffix != ".safetensors":
        return None
    content = place.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    metadata = {key: _document(value) for key, value in header.pop("__metadata__", {}).items()}
    return {"metadata": metadata, "tensors": {name: {facts["dtype"]: facts["shape"]} for name, facts in header.items()}}


def _document(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def test_presets_written_out_have_the_keys_they_had(frozen: Frozen) -> None:
    names = [row["name"] for row in json.loads(printed("list", "presets", *JSON))["rows"]]
    documents = [yaml.safe_load(printed("run", name, "--scale", "smoke", "--print")) for name in names]
    frozen.record("keys/presets.json", {"json": shape_of(documents)}, _without_what_depends_on_the_machine)


def test_no_file_is_kept_of_a_command_that_is_gone(frozen: Frozen) -> None:
    frozen.only("keys", {f"{name}.json" for name in [*COMMANDS, "store", "export", "presets"]})


def test_missing_values_and_empty_lists_are_no_difference_and_types_are() -> None:
    def lines(before: Any, now: Any) -> list[str]:
        return list(differences(*comparable(shape_of(before), shape_of(now))))

    rows = {"rows": [{"n": 2, "ci": None, "lr": 0.1}, {"n": 2, "ci": 0.5, "lr": 0.2}], "warnings": []}
    busy = {"rows": [{"n": 2, "ci": None, "lr": 0.1}], "warnings": ["busy"]}
    assert lines(rows, busy) == lines(busy, rows) == []
    assert lines(rows, {**rows, "rows": [{"n": 2.0, "ci": 0.5, "lr": 0.1}]}) == [
        "rows[].n was 'integer', is 'float'",
    ]
    assert lines(rows, {**rows, "rows": [{"n": 2, "ci": 0.5}]}) == ["the whole lost rows[].lr"]
    assert lines(rows, {**rows, "rows": [{"n": 2, "ci": 0.5, "lr": 1.0}, {"n": 2, "ci": 0.5}]}) == [
        "rows[].lr was 'float', is 'absent or float'",
    ]
    shape: Shape = shape_of(rows)
    assert shape["rows[].ci"] == "float"
    assert lines({"a": {"b": 1}}, {"a": None}) == lines({"a": None}, {"a": {"b": 1}}) == []
