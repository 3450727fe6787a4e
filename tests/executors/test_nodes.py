"""What nodes say of themselves, which of them take jobs, and data on their way to them."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relubench.data import prepare
from relubench.data.reference import copy_here
from relubench.data.shipment import Piece, pieces, receive
from relubench.errors import DataError, UsageError
from relubench.executors.remote.facts import SOURCE, NodeFacts, left_out, pinned, usable
from relubench.system.device import Device, resolve
from relubench.version import ENGINE_VERSION, __version__

PYTHON = platform.python_version()


def device(name: str = "EPYC", threads: int = 8, kind: str = "cpu", **values: Any) -> Device:
    return Device(kind=kind, name=name, threads=threads, memory=2**33, torch="2.9", features="zen", **values)


def node(host: str = "a", *devices: Device, **values: Any) -> NodeFacts:
    named = {own.kind: own for own in devices or (device(),)}
    versions = {"python": PYTHON, "relubench": __version__, "engine": ENGINE_VERSION, "torch": "2.9"}
    return NodeFacts(**{"host": host, "devices": named, **versions, **values})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"relubench": "0.0.1"},
            f"relubench 0.0.1 with engine .* there, relubench {__version__} with",
        ),
        ({"python": "3.9.1"}, f"Python 3.9.1 is there, Python {PYTHON} here"),
        ({"relubench": "", "error": "ModuleNotFoundError: x"}, "relubench is not installed there .ModuleNotFoundError"),
        ({"torch": "", "devices": {}, "error": "torch is not installed"}, "torch does not work there .torch is not"),
    ],
)
def test_a_cluster_without_a_node_that_fits_is_refused_with_both_versions(values: dict[str, Any], reason: str):
    with pytest.raises(UsageError, match=reason):
        usable([node(**values)])
    well = node("b")
    nodes = [node(**values), well]
    assert usable(nodes) == [well]
    (line,) = left_out(nodes, [well], device())
    assert line.startswith("1 of 2 nodes take no jobs: ")


def test_a_patch_release_of_python_is_no_other_version():
    assert not node(python=f"{PYTHON}9").problem


def test_runs_are_pinned_to_the_kind_with_the_most_threads_and_the_least_of_its_nodes():
    nodes = [node("a", device("Xeon", 48)), node("b", device(threads=32)), node("c", device(threads=24))]
    chosen, takers = pinned("cpu", nodes)
    assert (chosen.name, chosen.threads) == ("EPYC", 24) and [taker.host for taker in takers] == ["b", "c"]
    assert "Xeon, torch 2.9: all runs are pinned to EPYC" in left_out(nodes, takers, chosen)[0]
    assert pinned("cpu", nodes, "xeon")[0].name == "Xeon"
    with pytest.raises(UsageError, match="Opteron: no node has it"):
        pinned("cpu", nodes, "Opteron")


def test_another_torch_or_other_instructions_are_another_kind():
    nodes = [node("a"), node("b", replace(device(), torch="2.8")), node("c", replace(device(), features="zen 2"))]
    _, takers = pinned("cpu", nodes)
    assert len(takers) == 1


def test_auto_takes_a_gpu_where_a_node_has_any():
    gpu = device("H100", 1, "cuda")
    nodes = [node("a"), node("b", device(), gpu)]
    assert pinned("auto", nodes)[0].name == "H100"
    with pytest.raises(UsageError, match="no node of the cluster has a mps device"):
        pinned("mps", nodes)


def look(tmp_path: Path, *, with_path: str) -> dict[str, Any]:
    """What a Python without site packages, but with this folder, says of itself."""
    code = f"import sys, json\nsys.path.append({with_path!r})\n{SOURCE}\nprint(json.dumps(look()))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    return json.loads(done.stdout)


def test_a_node_without_relubench_says_so(tmp_path: Path):
    facts = NodeFacts.from_json(look(tmp_path, with_path=str(tmp_path)))
    assert facts.problem.startswith("relubench is not installed there (ModuleNotFoundError")


def test_a_node_with_another_relubench_says_which(tmp_path: Path):
    (tmp_path / "relubench").mkdir()
    (tmp_path / "relubench" / "__init__.py").touch()
    (tmp_path / "relubench" / "version.py").write_text('__version__, ENGINE_VERSION = "0.0.1", 1')
    facts = NodeFacts.from_json(look(tmp_path, with_path=str(tmp_path)))
    assert facts.problem.startswith("relubench 0.0.1 with engine 1 is there, ")


def test_a_node_without_torch_says_so(tmp_path: Path):
    package = Path(__file__).parents[2]
    facts = NodeFacts.from_json(look(tmp_path, with_path=str(package)))
    assert facts.relubench == __version__ and facts.problem.startswith("torch does not work there")


def test_this_machine_can_take_jobs():
    names: dict[str, Any] = {}
    exec(SOURCE, names)
    facts = NodeFacts.from_json(json.loads(json.dumps(names["look"]())))
    assert not facts.problem and facts.devices["cpu"] == resolve("cpu")


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of the user's own that is prepared here; afterwards this is a machine that has neither it nor its file."""
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (300, 4, 4), dtype=np.uint8), np.arange(300) % 3
    np.savez(tmp_path / "own.npz", x_train=x[:240], y_train=y[:240], x_test=x[240:], y_test=y[240:])
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_a_data_set_travels_once_and_is_the_same(away: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("relubench.data.shipment.PIECE_BYTES", 1000)
    reference = prepare(str(away / "own.npz")).reference
    sent = list(pieces(reference))
    assert len(sent) > 7 and max(len(piece.content) for piece in sent) == 1000
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(away / "there"))
    assert copy_here(reference) is None
    receive(reference, sent)
    prepared = copy_here(reference)
    assert prepared is not None and prepared.reference == reference
    receive(reference, iter(()))  # It is there: nothing is read.
    home = {path.name: path.read_bytes() for path in (away / "home" / "prepared").glob("own-*/*")}
    assert home == {path.name: path.read_bytes() for path in prepared.folder.iterdir()}


@pytest.mark.parametrize("fault", ["altered", "short", "foreign"])
def test_a_data_set_that_was_altered_on_its_way_is_refused(fault: str, away: Path, monkeypatch: pytest.MonkeyPatch):
    reference = prepare(str(away / "own.npz")).reference
    sent = list(pieces(reference))
    x = next(piece for piece in sent if piece.file == "x_train.npy")
    changed = {
        "altered": replace(x, content=x.content[:-1] + bytes([x.content[-1] ^ 1])),
        "short": replace(x, content=x.content[:-1]),
        "foreign": Piece(file="../x_train.npy", offset=0, content=b""),
    }
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(away / "there"))
    with pytest.raises(DataError, match="no file of a prepared" if fault == "foreign" else "was altered on its way"):
        receive(reference, [changed[fault] if piece is x else piece for piece in sent])
    assert copy_here(reference) is None


def test_a_data_set_that_is_gone_at_home_cannot_be_sent(away: Path):
    prepared = prepare(str(away / "own.npz"))
    shutil.rmtree(prepared.folder)
    with pytest.raises(DataError, match=r"the prepared copy of .* is gone"):
        list(pieces(prepared.reference))
