"""The backend of dense layers: what is known, what is measured once and kept, what a user names."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relubench.activations import build, select
from relubench.activations.table import ACTIVATIONS
from relubench.data.prepared import share_of_zeros
from relubench.errors import UsageError
from relubench.experiments import backend_choice
from relubench.experiments.config import experiment
from relubench.experiments.plan import expand
from relubench.models.backend import backend_of, network_question, stack_backend, uses_kernels
from relubench.models.backends import kept
from relubench.models.backends.kept import Timings
from relubench.models.backends.known import known_backend
from relubench.models.backends.question import BACKENDS, Question, candidates
from relubench.runs.spec import RunSpec
from relubench.system.device import Device
from specs import digits, finish, job, layer_ids, through_json

PROCESSOR = Device(kind="cpu", name="Made-up (AVX2)", threads=2, memory=2**33, torch="test", features="family 1")
WIDE = {"name": "mlp-2x300"}
"""Wide enough that a backend is chosen at all."""
VENDORS = re.compile("AMD|Intel|EPYC|Xeon")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "cache_root", lambda: tmp_path / "cache")
    monkeypatch.setattr(kept, "_unkept", {})


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Question]]:
    """Makes that backend the fastest one, evaluations by that library; what is asked from then on is in the list."""

    def make(fastest: str, library: str = "torch") -> list[Question]:
        questions: list[Question] = []

        def measure(question: Question, device_name: str) -> Timings:
            questions.append(question)
            training = {name: 1.0 if name == fastest else 2.0 for name in candidates(question, device_name)}
            return Timings(training, {name: 1.0 if name == library else 2.0 for name in ("torch", "onednn")})

        monkeypatch.setattr(backend_choice, "_measured", measure)
        return questions

    return make


@pytest.fixture
def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: object) -> Timings:
        pytest.fail("something was measured")

    monkeypatch.setattr(backend_choice, "_measured", measure)


def planned(act: str = "relu", *, device: Device = PROCESSOR, **sections: Any) -> RunSpec:
    config = experiment({"act": [act], "model": WIDE, **sections})
    [*_, spec] = expand(config, select([act]), digits(), device, [0.1] * len(config.pretrain.methods))
    return spec


@pytest.mark.parametrize("fastest", BACKENDS)
def test_the_choice_follows_the_processor_and_is_kept(processor: Callable[..., list[Question]], fastest: str):
    questions = processor(fastest)
    spec = planned()
    assert spec.backend == backend_of(spec) == fastest and uses_kernels(spec) == (fastest == "kernels")
    assert questions == [
        Question(kind="sgd", layers=((64, 300), (300, 300), (300, 10)), batch=10, threads=2, fused=True, zeros=0.5)
    ]
    again = processor(next(name for name in BACKENDS if name != fastest))
    assert planned() == spec and through_json(spec).id == spec.id
    assert again == []
    (record,) = kept.records()
    assert (record["backend"], record["processor"]) == (fastest, "Made-up (AVX2)")


def test_the_question_holds_the_share_of_zeros_among_the_inputs():
    # Half of the digits' numbers are zero; shifted, none is; of an outline nothing is known.
    prepared = digits()
    assert share_of_zeros(prepared) == 0.5
    assert share_of_zeros(replace(prepared, shift=-0.5)) == 0.0
    assert share_of_zeros(replace(prepared, folder=prepared.folder / "nothing")) == 0.0


def test_a_network_of_kernels_is_evaluated_by_the_faster_library(processor: Callable[..., list[Question]]):
    processor("kernels", "onednn")
    assert planned().backend == "kernels+onednn"
    processor("onednn", "onednn")
    assert planned(train={"batch_size": 20}).backend == "onednn"


@pytest.mark.parametrize(
    ("act", "sections"),
    [
        ("relu", {"train": {"batch_size": 128}}),
        ("tanh", {}),
        ("relu", {"train": {"momentum": 0.9}}),
        ("relu", {"model": {"name": "mlp-3x300"}}),
        ("relu", {"model": {**WIDE, "norm": "batch"}}),
        ("swiglu", {"model": {**WIDE, "match": "width"}}),
    ],
)
def test_what_may_change_an_answer_is_a_question_of_its_own(
    processor: Callable[..., list[Question]], act: str, sections: dict[str, Any]
):
    questions = processor("onednn")
    planned()
    planned(act, **sections)
    assert len(questions) == len(set(questions)) == 2


def test_of_a_convolutional_network_the_dense_layers_are_asked_for():
    spec = replace(planned(model={"name": "cnn"}), input_shape=(1, 28, 28))
    question = network_question(spec, fused=True)
    assert question == Question(kind="dense", layers=((3136, 256), (256, 10)), batch=10, threads=2)


def test_another_processor_or_version_is_asked_anew(processor: Callable[..., list[Question]]):
    questions = processor("onednn")
    devices = [{}, {"features": "family 2"}, {"name": "Made-up (AVX512)"}, {"torch": "other"}, {}]
    for other in devices:
        planned(device=replace(PROCESSOR, **other))
    assert len(questions) == 4


def test_a_backend_is_part_of_an_id(processor: Callable[..., list[Question]]):
    processor("torch")
    measured = planned()
    named = [planned(train={"backend": name}) for name in BACKENDS]
    assert len({measured.id, *(spec.id for spec in named)}) == len(BACKENDS)
    assert [spec.backend for spec in named] == list(BACKENDS) and measured == named[0]


@pytest.mark.usefixtures("nothing_is_measured")
def test_known_processors_and_small_networks_are_not_measured():
    fast = replace(PROCESSOR, name="AMD EPYC (AVX512)")
    for spec in (
        planned(device=fast),
        planned(device=fast, train={"batch_size": 2000}),
        planned(device=fast, train={"backend": "kernels"}),
        planned(model={"name": "mlp-2x50"}),
        planned(device=replace(PROCESSOR, features="")),
        planned(device=replace(PROCESSOR, kind="cuda")),
        planned(train={"precision": "bf16"}),
    ):
        assert spec.backend is None
    assert backend_of(planned(device=fast, train={"backend": "torch"})) == "torch"


@pytest.mark.parametrize(
    ("train", "device", "reason"),
    [
        ({"backend": "kernels", "momentum": 0.9}, PROCESSOR, "kernels train an mlp by plain SGD"),
        ({"backend": "kernels", "optimizer": "adam", "lr": 0.001}, PROCESSOR, "kernels train an mlp by plain SGD"),
        ({"backend": "kernels"}, replace(PROCESSOR, name="Made-up (DEFAULT)"), "need a processor with AVX"),
        ({"backend": "turned", "batch_size": 65}, PROCESSOR, "it is for batches of up to 64"),
        ({"backend": "torch"}, replace(PROCESSOR, kind="cuda"), "for processors only, not for cuda"),
        ({"backend": "onednn", "precision": "bf16"}, PROCESSOR, "in bf16"),
    ],
)
@pytest.mark.usefixtures("nothing_is_measured")
def test_a_backend_that_cannot_be_is_refused(train: dict[str, Any], device: Device, reason: str):
    with pytest.raises(UsageError, match=reason):
        planned(train=train, device=device)


@pytest.mark.usefixtures("nothing_is_measured")
def test_kernels_without_their_compiler_are_refused(monkeypatch: pytest.MonkeyPatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "llvmlite" else find_spec(name))
    with pytest.raises(UsageError, match="need the compiler, llvmlite"):
        planned(train={"backend": "kernels"})


@pytest.mark.parametrize("fastest", ["torch", "onednn", "kernels"])
def test_rbms_are_asked_for_themselves(processor: Callable[..., list[Question]], fastest: str):
    questions = processor(fastest)
    pretrain = {"methods": ["rbm"], "lr": 0.01, "batch_size": 50}
    spec = planned(pretrain=pretrain)
    assert stack_backend(spec) == fastest
    assert [(question.kind, question.batch) for question in questions] == [("sgd", 10), ("rbm", 50)]
    assert through_json(spec) == spec
    assert spec.stack is not None
    another = replace(spec, stack=replace(spec.stack, backend="another"))
    assert another.id != spec.id and not set(layer_ids(another)) & set(layer_ids(spec))


@pytest.mark.parametrize("obstacle", ["no folder", "full"])
def test_where_nothing_can_be_kept_the_choice_holds_for_the_process(
    processor: Callable[..., list[Question]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, obstacle: str
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if obstacle == "full":
        monkeypatch.setattr(kept, "keep_answer", full)
    else:
        (tmp_path / "cache").mkdir()
        kept.folder().write_text("in the way")
    questions = processor("onednn")
    assert [planned().backend, planned().backend] == ["onednn", "onednn"] and len(questions) == 1
    assert list(kept.records()) == []


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"training": {"abacus": 1.0}, "evaluation": {"torch": 1.0}}'])
def test_an_answer_that_cannot_be_read_is_measured_anew(processor: Callable[..., list[Question]], content: str):
    processor("onednn")
    planned()
    (path,) = kept.folder().glob("*.json")
    path.write_text(content)
    assert list(kept.records()) == []
    assert len(processor("turned")) == 0 and planned().backend == "turned"
    assert [record["backend"] for record in kept.records()] == ["turned"]


def test_a_small_lead_is_none():
    assert Timings({"torch": 1.0, "onednn": 0.97, "kernels": 0.96}, {"torch": 1.0}).fastest() == "torch"
    assert Timings({"torch": 1.0, "onednn": 0.9, "kernels": 0.88}, {"torch": 1.0}).fastest() == "onednn"


@pytest.mark.parametrize("kind", ["sgd", "dense", "rbm"])
def test_every_backend_is_timed_and_threads_stay_as_they_were(kind: Any):
    import torch

    from relubench.training.backend_timing import measure

    threads = torch.get_num_threads()
    layers = ((300, 400), (400, 10))
    for fused in (False, True):
        question = Question(kind=kind, layers=layers, batch=20, threads=1, inputs_per_unit=2 - fused, fused=fused)
        found = measure(question, "Made-up (AVX2)")
        assert list(found.training) == candidates(question, "Made-up (AVX2)")
        assert all(seconds > 0 for seconds in (*found.training.values(), *found.evaluation.values()))
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("backend", [*BACKENDS, "kernels+onednn"])
def test_every_backend_trains(backend: str, tmp_path: Path):
    whole = job("relu", tmp_path, model={"name": "mlp-1x1500"}, train={"epochs": 1, "batch_size": 50})
    spec = replace(whole.specs[0], backend=backend)
    finish(replace(whole, specs=[spec]))
    record = json.loads(next(tmp_path.rglob("run.json")).read_text())
    assert record["spec"]["backend"] == backend and record["path"].endswith("kernels") == uses_kernels(spec)
    assert record["valid_error_pct"] < 30


def test_a_command_measures_once_and_finds_its_run_again(tmp_path: Path):
    # Without AVX no processor is known, and no kernels are compiled.
    env = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"}
    env |= {"RELUBENCH_RUNS_DIR": str(tmp_path / "runs"), "RELUBENCH_CACHE_DIR": str(tmp_path / "cache")}
    argv = [sys.executable, "-m", "relubench"]
    train = [*argv, "train", "--act", "relu", "--model", "mlp-1x1500", "--epochs", "1", "--batch-size", "200"]
    train += ["--device", "cpu", "--format", "json"]
    ids = []
    for _ in range(2):
        done = subprocess.run(train, env=env, capture_output=True, text=True, check=True)
        (run,) = json.loads(done.stdout)["runs"]
        ids.append(run["id"])
    assert len(set(ids)) == 1 and len(list((tmp_path / "runs").rglob("run.json"))) == 1
    doctor = subprocess.run([*argv, "doctor", "--format", "json"], env=env, capture_output=True, text=True, check=False)
    (line,) = (row["detail"] for row in json.loads(doctor.stdout)["rows"] if row["name"] == "backend measured")
    assert line.startswith(f"64-1500-10, plain SGD, batch 200, 1 thread: {run['spec']['backend']} (")
    shown = subprocess.run(
        [*argv, "runs", "show", ids[0], "--format", "markdown"], env=env, capture_output=True, text=True, check=True
    )
    cells = [[cell.strip() for cell in row.split("|")] for row in shown.stdout.splitlines()]
    assert ["", "backend", run["spec"]["backend"], ""] in cells


def test_kernels_compute_the_activations_that_are_said_to_be_fused():
    fused = {name for name in ACTIVATIONS if build(select([name])[0]).negative_slope is not None}
    assert fused == set(backend_choice.FUSED)


def test_no_vendor_decides_anything_in_the_code():
    package = Path(backend_choice.__file__).parents[1]
    texts = {path: path.read_text() for path in package.rglob("*.py")}
    for path, text in texts.items():
        if not VENDORS.search(text):
            continue
        tree = ast.parse(text)
        prose = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose:
                assert not VENDORS.search(node.value), path


def test_a_row_of_the_known_holds_for_every_kind_that_it_names():
    layers = ((784, 1000), (1000, 10))
    for kind, largest, more in (("sgd", 1024, "onednn"), ("rbm", 256, "onednn")):
        question = Question(kind=kind, layers=layers, batch=largest, threads=1)
        assert known_backend(question, "AMD EPYC (AVX512)") == "kernels+onednn"
        assert known_backend(replace(question, batch=largest + 1), "AMD EPYC (AVX512)") == more
        assert known_backend(question, "AMD EPYC (AVX2)") is None
