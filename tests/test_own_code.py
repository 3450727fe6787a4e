"""A run's id holds all that a user's code brings in: activations and networks, first and cached runs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from relubench.activations import check_activation
from relubench.activations.user import checked, is_checked, renewed, resolve_user_object
from relubench.errors import UsageError
from relubench.experiments.config import experiment
from relubench.experiments.study import Study
from relubench.models.external.networks import draw_network
from relubench.system.user_code import manifest
from specs import runs

ACT = "import os\nfrom near import S\ndef act(x): return S * x.relu()\n"
NEAR = "import os\nwith open(os.path.dirname(__file__) + '/scale.txt') as file: S = float(file.read())\n"
NET = (
    "import os, torch\nfrom near import S\n"
    "class Net(torch.nn.Module):\n"
    "    def __init__(self, num_classes=10):\n"
    "        super().__init__()\n"
    "        self.a, self.b = torch.nn.Linear(64, 8), torch.nn.Linear(8, num_classes)\n"
    "    def forward(self, x): return self.b(torch.relu(self.a(x.flatten(1))) * S)\n"
)
QUICK = {"epochs": 1, "batch_size": 500}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "lab"
    folder.mkdir()
    for name, text in (("mine.py", ACT), ("near.py", NEAR), ("net.py", NET), ("scale.txt", "1")):
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    return folder


def opened(act: str = "./mine.py:act", model: str = "mlp-1x8", notes: list[str] | None = None) -> Study:
    config = experiment({"act": [act], "model": {"name": model}, "train": QUICK, "device": "cpu"})
    return Study.open(config, note=(notes if notes is not None else []).append)


CHANGES = [("near.py", NEAR + "\n"), ("scale.txt", "2")]


@pytest.mark.parametrize(("act", "model"), [("./mine.py:act", "mlp-1x8"), ("relu", "./net.py:Net")])
def test_a_run_is_another_once_what_its_code_uses_has_changed(act: str, model: str, lab: Path):
    before = opened(act, model).specs[0].id
    seen = {before}
    for name, text in CHANGES:
        old = (lab / name).read_text()
        (lab / name).write_text(text)
        seen.add(opened(act, model).specs[0].id)
        (lab / name).write_text(old)
        assert opened(act, model).specs[0].id == before
    assert len(seen) == 1 + len(CHANGES)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_two_networks_in_one_process_have_their_own_helpers(order: str, tmp_path: Path):
    specs = {}
    for name, scale in (("a", 2), ("b", 3)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "net.py").write_text(NET)
        (tmp_path / name / "near.py").write_text(f"S = {scale}.0\n")
        _, (specs[name],) = runs("relu", model={"name": f"{tmp_path}/{name}/net.py:Net"})
    x = torch.ones(1, 64)
    found = {name: draw_network(specs[name])[0](x) for name in order}
    assert not torch.equal(found["a"], found["b"])
    own = {name: sys.modules[type(draw_network(specs[name])[0]).__module__].S for name in order}
    assert own == {"a": 2, "b": 3}


def test_one_file_as_activation_and_as_network_is_checked_as_either(lab: Path):
    """Their checks run other code: what the one was seen to use says nothing of the other."""
    study = opened("./mine.py:act", "./net.py:Net")
    assert study.specs[0].activation_digest != study.specs[0].model_digest
    assert opened("./mine.py:act", "./net.py:Net").specs == study.specs


def test_code_that_changes_while_its_runs_wait_is_not_trained(lab: Path):
    study = opened()
    (lab / "scale.txt").write_text("3")
    failed = [one.message for one in study.run() if one.kind == "failed"]
    assert failed == [f"{lab}/scale.txt has changed since the command began"]
    assert study.store.ids() == []


def test_where_the_cache_cannot_be_written_the_id_is_the_same(lab: Path, monkeypatch: pytest.MonkeyPatch):
    """Then every command checks the code again, and comes to the same."""
    before = resolve_user_object("./mine.py:act").source_digest
    (lab / "file").write_text("")
    monkeypatch.setattr(manifest, "cache_root", lambda: lab / "file" / "cache")
    monkeypatch.setattr(manifest, "_MANIFESTS", {})
    choice = resolve_user_object("./mine.py:act")
    assert choice.source_digest == before and not is_checked(choice)
    checked(choice, "activation", lambda: check_activation(choice))
    without = renewed(choice).source_digest
    monkeypatch.undo()
    monkeypatch.chdir(lab)
    assert opened().specs[0].activation_digest == without != before


def test_a_cached_command_runs_none_of_the_code_and_imports_no_torch(lab: Path, tmp_path: Path):
    script = (
        "import sys\nfrom relubench.__main__ import run\n"
        "code = run(['train', '--act', './mine.py:act', '--model', './net.py:Net', '--epochs', '1', '--seed', '0',"
        " '--batch-size', '500', '--device', 'cpu', '--format', 'tsv', '-q'])\n"
        "own = [name for name in sys.modules if name.startswith('relubench_own_')]\n"
        "print(code, [name for name in ('torch', 'near') if name in sys.modules] + own)\n"
    )
    told = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-P", "-c", script], capture_output=True, text=True, env={**os.environ}, timeout=300
        )
        assert done.returncode == 0, done.stderr
        told.append(done.stdout.splitlines())
    assert told[0][1] == told[1][1], "the second row is the stored one"
    assert "torch" in told[0][2] and told[1][2] == "0 []"


UNSEEN = "import subprocess, torch\ndef act(x):\n    subprocess.run(['true'])\n    return torch.relu(x)\n"


@pytest.mark.usefixtures("train_here")
def test_what_is_out_of_sight_is_said_beside_a_stored_answer_too(lab: Path):
    (lab / "mine.py").write_text(UNSEEN)
    for _ in range(2):
        notes: list[str] = []
        study = opened(notes=notes)
        for _ in study.run():
            continue
        assert [line for line in notes if line.startswith("warning: ./mine.py:act") and "--no-cache" in line]


COUNTERS = {
    "closure": (
        "def make():\n    n = [0]\n    def act(x):\n        n[0] += 1\n        return x.relu()\n    return act\n"
        "act = make()\n"
    ),
    "default": "def act(x, n=[0]):\n    n[0] += 1\n    return x.relu()\n",
    "growing list": "N = []\ndef act(x):\n    N.append(1)\n    return x.relu()\n",
    "partial": (
        "import functools\ndef f(x, n):\n    n[0] += 1\n    return x.relu()\nact = functools.partial(f, n=[0])\n"
    ),
    "object": (
        "class C:\n    def __init__(self):\n        self.n = 0\n    def __call__(self, x):\n        self.n += 1\n"
        "        return x.relu()\nact = C()\n"
    ),
}


@pytest.mark.parametrize("kind", COUNTERS)
def test_what_counts_outside_of_a_module_is_refused(lab: Path, kind: str):
    (lab / "mine.py").write_text(COUNTERS[kind])
    with pytest.raises(UsageError, match="changes the global"):
        opened()


MOVING = (
    "import torch\n"
    "class Net(torch.nn.Module):\n"
    "    def __init__(self, num_classes=10):\n"
    "        super().__init__()\n"
    "        self.a, self.b = torch.nn.Linear(64, 8), torch.nn.Linear(8, num_classes)\n"
    "        self.register_buffer('mean', torch.zeros(8))\n"
    "    def forward(self, x):\n"
    "        h = self.a(x.flatten(1))\n"
    "        if self.training:\n"
    "            self.mean.mul_(0.9).add_(0.1 * h.detach().mean(0))\n"
    "        return self.b(torch.relu(h - self.mean))\n"
)


@pytest.mark.usefixtures("train_here")
def test_statistics_that_move_in_a_training_forward_are_no_chance(lab: Path):
    (lab / "net.py").write_text(MOVING)
    study = opened(act="relu", model="./net.py:Net")
    for _ in study.run():
        continue
    assert [result.outcome for result in study.results] != ["failed"]


def test_a_networks_warnings_begin_with_the_word(lab: Path):
    (lab / "net.py").write_text(NET.replace("* S)", "* S).softmax(1)"))
    notes: list[str] = []
    opened(act="relu", model="./net.py:Net", notes=notes)
    assert any(line.startswith("warning: ./net.py:Net: ") and "softmax" in line for line in notes)


def refusal(act: str = "./mine.py:act", model: str = "mlp-1x8") -> UsageError:
    with pytest.raises(UsageError) as raised:
        opened(act, model)
    return raised.value


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import gone\ndef act(x): return x.relu()\n", "gone"),
        ("from gone.deep import S\ndef act(x): return x.relu()\n", "gone"),
        ("from .gone import S\ndef act(x): return x.relu()\n", "gone"),
        ("def act(x):\n    import gone\n    return x.relu()\n", "gone"),
    ],
)
def test_a_missing_helper_is_named_and_what_to_set(lab: Path, text: str, name: str):
    (lab / "mine.py").write_text(text)
    error = refusal()
    assert f"No module named '{name}" in error.message and "relubench_own" not in error.message
    assert (
        error.hint
        == f"put it beside mine.py, install it, or set PYTHONPATH to the folder that has {name}.py or {name}/"
    )


@pytest.mark.parametrize("kind", ["activation", "network"])
def test_a_helper_that_lies_elsewhere_is_found_for_the_hint(lab: Path, kind: str):
    (lab / "deep").mkdir()
    (lab / "deep" / "mine.py").write_text("import near\ndef act(x): return x.relu()\n")
    (lab / "deep" / "net.py").write_text(NET)
    error = refusal("./deep/mine.py:act") if kind == "activation" else refusal("relu", "./deep/net.py:Net")
    assert "No module named 'near'" in error.message
    assert error.hint == f"near lies in {lab}, where it is not looked for: set PYTHONPATH={lab}"


def test_a_part_that_an_installed_package_lacks(lab: Path):
    (lab / "mine.py").write_text("import numpy.gone\ndef act(x): return x.relu()\n")
    assert refusal().hint == "numpy is there, and has no numpy.gone: check its version and the spelling"


@pytest.mark.parametrize("form", ["module", "package"])
def test_a_module_in_an_archive_on_the_search_path_is_the_archives(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
):
    name, archive = f"zipped_{form}", tmp_path / f"{form}.zip"

    def packed(slope: float) -> str:
        files = {f"{name}_part.py": f"S = {slope}\n"}
        code = f"import {name}_part\ndef act(x): return x.relu() * {name}_part.S\n"
        files |= {f"{name}.py": code} if form == "module" else {f"{name}/__init__.py": "", f"{name}/acts.py": code}
        with zipfile.ZipFile(archive, "w") as file:
            for path, text in files.items():
                file.writestr(path, text)
        # As in a process of its own: a dotted module is imported once.
        sys.path_importer_cache.pop(str(archive), None)
        for one in [one for one in sys.modules if one.startswith(name)]:
            del sys.modules[one]
        return opened(f"{name}:act" if form == "module" else f"{name}.acts:act").specs[0].id

    monkeypatch.syspath_prepend(str(tmp_path / f"{form}.zip"))
    before = packed(1.5)
    study = opened(f"{name}:act" if form == "module" else f"{name}.acts:act")
    assert [one.message for one in study.run() if one.kind == "failed"] == []
    assert study.results and study.results[0].test_error_pct is not None
    assert packed(2.5) != before


WARNING_FILE = (
    "import warnings\n"
    "warnings.warn('two will go', FutureWarning)\n"
    "def one(x): return x.relu()\n"
    "def two(x):\n"
    "    warnings.warn('two is slow', UserWarning)\n"
    "    return x.relu() * 1.5\n"
)


def test_a_warning_is_that_of_the_place_where_it_was_raised(lab: Path):
    (lab / "both.py").write_text(WARNING_FILE)
    (lab / "other.py").write_text("import both\ndef act(x): return both.two(x)\n")
    notes: list[str] = []
    config = experiment(
        {"act": ["./both.py:one", "./both.py:two", "./other.py:act"], "model": {"name": "mlp-1x8"}, "train": QUICK}
    )
    Study.open(config, note=notes.append)
    warned = [line for line in notes if "two will go" in line or "two is slow" in line]
    assert set(warned) == {"both.py, line 2: FutureWarning: two will go", "both.py, line 5: UserWarning: two is slow"}


def test_no_pipe_of_a_worker_is_left_open(lab: Path):
    script = (
        "import gc, sys\nfrom relubench.__main__ import run\n"
        "code = run(['train', '--act', 'relu', '--model', 'mlp-1x8', '--epochs', '1', '--seed', '0',"
        " '--batch-size', '500', '--device', 'cpu', '--format', 'tsv', '-q', '--no-cache'])\n"
        "gc.collect()\nsys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", script], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "ResourceWarning" not in done.stderr


@pytest.mark.parametrize("act", [f"{'x' * 700}.y:act", f"{'é' * 130}.y:act", ".:act", "a..b:act", "\ud800.y:act"])
def test_a_name_that_no_file_can_have_is_no_module(lab: Path, act: str):
    with pytest.raises(UsageError, match=r"there is no (module|file)|cannot be read"):
        resolve_user_object(act)
