"""A run exists whole or not at all: killed at twenty moments, some inside writes, it ends like one never killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from relubench.executors.messages import Progress
from relubench.executors.tasks import carry_out
from relubench.runs.store import Store
from relubench.training.driver import Interrupted
from specs import finish, job, notes

TRAIN = {"epochs": 8, "batch_size": 10, "lr": 0.02}
RUNS = [
    ("relu", {"train": TRAIN, "model": {"name": "mlp-2x64"}}),
    ("nrelu", {"train": {**TRAIN, "epochs": 4, "optimizer": "adamw"}, "model": {"name": "mlp-2x64", "norm": "batch"}}),
    (
        "[prelu:per=unit,gelu]",
        {"train": {**TRAIN, "momentum": 0.5, "act_lr": 0.05}, "model": {"name": "mlp-2x64", "dropout": 0.3}},
    ),
    # A module of somebody else's, which draws from torch's global generator.
    ("torch.nn:RReLU", {"train": TRAIN, "model": {"name": "mlp-2x64", "sign_flip": True}}),
    (
        "swiglu",
        {"train": {**TRAIN, "epochs": 2, "batch_size": 20}, "model": {"name": "cnn"}, "data": {"augment": "crop"}},
    ),
]


def contents(root: Path) -> dict[str, bytes]:
    return {str(one.relative_to(root)): one.read_bytes() for one in sorted(root.rglob("*")) if one.is_file()}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize("kills_each", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_runs_end_in_the_same_bytes(tmp_path: Path, kills_each: int):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    jobs = [job(act, whole, **sections) for act, sections in RUNS]
    for one in jobs:
        finish(one)
    (tmp_path / "jobs.json").write_text(json.dumps([one.to_json() for one in jobs]))
    killing = [sys.executable, "-m", "killing", str(tmp_path / "jobs.json"), str(broken), "7", str(kills_each)]
    done = subprocess.run(killing, capture_output=True, text=True, timeout=600, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    killed, inside = map(int, done.stdout.split())
    assert killed == kills_each * len(RUNS)
    assert killed * 0.15 <= inside <= killed * 0.85, (
        "half died inside a write, half anywhere: else fewer moments were tried than said"
    )
    folders = [contents(root / "runs") for root in (whole, broken)]
    assert sorted(name for name in folders[1] if not name.startswith(".")) == sorted(folders[0])
    for name, content in folders[0].items():
        assert folders[1][name] == content, name
    assert Store(broken).unfinished() == []


STATEFUL = """
import random
import torch

class Steps:
    def __init__(self): self.done = 0

class Act(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.ones(()))
        self.steps, self.chance, self.slope = Steps(), random.Random(1), 0.0
    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().abs().mean()
            self.steps.done += 1
            self.slope = self.chance.uniform(0.0, 1.0 / self.steps.done)
        return torch.nn.functional.leaky_relu(x, self.slope) / self.mean

class Net(torch.nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.a, self.norm, self.b = torch.nn.Linear(64, 16), torch.nn.BatchNorm1d(16), torch.nn.Linear(16, num_classes)
        self.seen = [0]
    def forward(self, x):
        self.seen[0] += self.training
        return self.b(torch.relu(self.norm(self.a(x.flatten(1))))) / (1 + 0.01 * self.seen[0])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_killed_runs_of_ones_own_modules_end_in_the_same_bytes(tmp_path: Path):
    """What they hold beside parameters goes on, too: replaced buffers, numbers, objects, generators."""
    (tmp_path / "own.py").write_text(STATEFUL)
    train = {"epochs": 4, "batch_size": 50, "lr": 0.1}
    own = f"{tmp_path}/own.py"
    pairs = [(f"{own}:Act", "mlp-1x16"), (f"{own}:Act", f"{own}:Net")]
    jobs = [job(act, tmp_path / "whole", train=train, model={"name": model}) for act, model in pairs]
    for one in jobs:
        finish(one)
    (tmp_path / "jobs.json").write_text(json.dumps([one.to_json() for one in jobs]))
    killing = [sys.executable, "-m", "killing", str(tmp_path / "jobs.json"), str(tmp_path / "broken"), "3", "3"]
    done = subprocess.run(killing, capture_output=True, text=True, timeout=600, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    whole, broken = (contents(tmp_path / name / "runs") for name in ("whole", "broken"))
    assert len(whole) > 3
    assert {name: broken[name] for name in whole} == whole


def test_an_interrupted_run_writes_a_checkpoint_and_goes_on_from_it(tmp_path: Path):
    one = job("relu", tmp_path, train=TRAIN, model={"name": "mlp-2x64"})
    store = Store(tmp_path)
    with pytest.raises(Interrupted):
        finish(one, stop=lambda: True)
    assert store.unfinished() == [one.specs[0].id]
    finish(one)
    assert store.unfinished() == []
    timing = store.timing(one.specs[0].id)
    assert timing is not None and timing.interruptions == 1


def test_a_checkpoint_that_cannot_be_read_starts_the_run_anew(tmp_path: Path):
    one = job("relu", tmp_path, train=TRAIN, model={"name": "mlp-2x64"})
    path = Store(tmp_path).checkpoint(one.specs[0].id)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a checkpoint at all")
    assert "cannot be used" in "".join(notes(finish(one)))
    assert Store(tmp_path).ids() == [one.specs[0].id]


def test_a_checkpoint_that_fits_in_part_leaves_no_trace(tmp_path: Path):
    """The last tensor is of another shape: what was loaded before it must not be trained on."""
    from relubench.runs.checkpoint import from_bytes, to_bytes

    one = job("relu", tmp_path / "whole", train=TRAIN, model={"name": "mlp-2x64"})
    finish(one)
    other = replace(one, store=tmp_path / "broken")
    with pytest.raises(Interrupted):
        finish(other, stop=lambda: True)
    store, run = Store(other.store), one.specs[0].id
    tensors, values = from_bytes(store.checkpoint_of(run))
    store.put_checkpoint(run, to_bytes({**tensors, "loss": tensors["loss"].repeat(2)}, values))
    assert "cannot be used" in "".join(notes(finish(other)))
    assert contents(other.store / "runs") == contents(one.store / "runs")


def test_a_resumed_run_says_at_once_how_far_it_is(tmp_path: Path):
    one = job("relu", tmp_path, train=TRAIN, model={"name": "mlp-2x64"})
    chunks = iter([False] * 4 + [True] * 9)
    messages = carry_out(one, Store(tmp_path), lambda: next(chunks))
    assert next(messages) == Progress(run=one.specs[0].id, epochs_done=0.0)
    with pytest.raises(Interrupted):
        list(messages)
    first = finish(one)[0]
    assert isinstance(first, Progress) and first.epochs_done > 0


def test_a_job_that_is_closed_writes_a_checkpoint_and_goes_on_from_it(tmp_path: Path):
    unbroken, broken = (job("relu", tmp_path / name, train=TRAIN, model={"name": "mlp-2x64"}) for name in "ab")
    messages = carry_out(broken, Store(broken.store))
    assert any(isinstance(message, Progress) and message.epoch_ended for message in messages)
    messages.close()
    store, run = Store(broken.store), broken.specs[0].id
    assert store.unfinished() == [run]
    finish(broken)
    timing = store.timing(run)
    assert timing is not None and timing.interruptions == 1
    finish(unbroken)
    assert contents(broken.store / "runs") == contents(unbroken.store / "runs")
