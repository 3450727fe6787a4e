"""Ten own activations of different make, each trained and verified; what they learn, keep and are refused for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from relubench.activations import build
from relubench.errors import UsageError
from relubench.experiments.config import experiment
from relubench.experiments.study import Study
from relubench.runs.checkpoint import from_bytes
from relubench.runs.store import Store
from relubench.timing.operators import training
from relubench.training.images import Images
from relubench.training.population import Population
from relubench.verification.check import check
from specs import digits, finish, job, runs, stored

SOURCE = """
import functools
import torch
import torch.nn.functional as F
from torch import nn

print("a line that is no result")

leaky = functools.partial(nn.LeakyReLU, negative_slope=0.2)
instance = nn.Hardtanh(-2.0, 2.0)

def function(x, height=1.0):
    return height * torch.relu(x)

def factory():
    return nn.Sequential(nn.ReLU(), nn.Hardtanh(0.0, 4.0))

class PerUnit(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.slope = nn.Parameter(torch.rand(units) / 2)
    def forward(self, x):
        return torch.where(x > 0, x, self.slope * x)

class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.rand(()), requires_grad=False)
        self.height = nn.Parameter(torch.ones(()))
    def forward(self, x):
        return torch.where(x > 0, self.height * x, self.slope * x)

class Noisy(nn.Module):
    def forward(self, x):
        return F.rrelu(x, 0.1, 0.3, self.training)

class Printing(nn.Module):
    def forward(self, x):
        print("forward", x.shape)
        return F.relu(x)

class Called:
    def __call__(self, x):
        return F.relu6(x)

class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clamp(min=0)
    @staticmethod
    def backward(ctx, grad):
        return grad

class LateError(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0
    def forward(self, x):
        self.calls += 1
        if self.training and self.calls > 30:
            raise RuntimeError("thirty calls are enough")
        return F.relu(x)

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 10))
"""

TEN = {
    "function": 0,
    "function:height=1.5": 0,
    "leaky": 0,
    "instance": 0,
    "factory": 0,
    "PerUnit:units=16": 16,
    "Frozen": 1,
    "Noisy": 0,
    "Printing": 0,
    "Called": 0,
    "Straight": 0,
}
"""Trained numbers of each in a layer."""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    return file


@pytest.mark.parametrize("name", TEN)
def test_an_own_activation_is_trained_timed_and_verified(
    name: str, mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    one = job(f"{mine}:{name}", tmp_path, train={"epochs": 1}, model={"name": "mlp-16-16"})
    finish(one)
    result = Store(tmp_path).result(one.specs[0].id)
    assert result is not None and result.test_error_pct is not None and result.test_error_pct < 60
    plain = 64 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10
    assert result.parameters == plain + 2 * TEN[name]
    capsys.readouterr()
    z = torch.linspace(-3, 3, 999)
    call, leaves = training(build(one.choice), z)
    assert call(z).shape == z.shape and sum(leaf.numel() for leaf in leaves) == TEN[name]
    # A gradient that passes where the values are flat is no slope of these values.
    backward = "wrong" if name == "Straight" else "ok"
    assert [row.outcome for row in check(one.choice, "bf16")] == ["ok", backward]


def test_a_frozen_parameter_is_kept_and_not_trained(mine: Path, tmp_path: Path):
    one = job(f"{mine}:Frozen", tmp_path, train={"epochs": 1}, model={"name": "mlp-1x8"})
    drawn = Population(one.specs, one.choice, Images.open(one.prepared, device="cpu", flat=True)).weights(0, best=False)
    finish(one)
    path = Store(tmp_path).weights(one.specs[0].id)
    assert path is not None
    kept, _ = from_bytes(path.read_bytes())
    ((name, value),) = [(key, one) for key, one in kept.items() if key.endswith("slope")]
    assert torch.equal(value, drawn[name])
    assert not torch.equal(kept["0.module-height"], drawn["0.module-height"])


def test_a_stack_of_networks_has_frozen_parameters_of_each(mine: Path):
    choice, specs = runs(f"{mine}:Frozen", seeds=2, train={"epochs": 1}, model={"name": "mlp-1x8"})
    data = Images.open(digits(), device="cpu", flat=True)
    batched = Population(specs, choice, data)
    list(batched.train())
    for place, spec in enumerate(specs):
        alone = Population([spec], choice, data)
        list(alone.train())
        for name, value in alone.weights(0, best=True).items():
            torch.testing.assert_close(batched.weights(place, best=True)[name].reshape(value.shape), value)


def opened(mine: Path, *acts: str, **sections: object) -> list[str]:
    """What opening a study says; nothing is trained."""
    notes: list[str] = []
    text = {"act": list(acts), "train": {"epochs": 1}, **sections}
    Study.open(experiment(text), runs_dir=mine.parent / "runs", note=notes.append)
    return notes


def test_what_the_check_saw_is_noted(mine: Path, capsys: pytest.CaptureFixture[str]):
    acts = [f"{mine}:{name}" for name in ("PerUnit:units=8", "Noisy", "Straight", "instance")]
    told = "\n".join(opened(mine, *acts, "tan(x)", model={"name": "mlp-2x8"}))
    assert f"{acts[1]} is leaky_relu:negative_slope=0.2 in evaluation only: in training it draws noise" in told
    assert f"{acts[2]}: its slope is not the derivative of its values" in told
    assert f"{acts[3]} equals hardtanh between -2 and 2" in told
    assert "tan(x): tan(x) has no usable gain" in told and "--init auto cannot be used with it" in told
    assert capsys.readouterr().out == ""


def test_without_a_gain_the_matched_initial_weights_are_refused(mine: Path):
    with pytest.raises(UsageError, match=r"--init auto: tan.x. has no usable gain") as refusal:
        opened(mine, "tan(x)", model={"name": "mlp-1x8", "init": "auto"})
    assert "--init xavier needs none" in refusal.value.hint


@pytest.mark.parametrize("first", ["relu", ""])
def test_every_activation_is_tried_in_somebody_else_s_network(first: str, mine: Path):
    acts = [*([first] if first else []), f"{mine}:PerUnit:units=12"]
    told = r"PerUnit:units=12 failed in .*RuntimeError: .*must match.*in the place of relu in 4, which has 9 units"
    with pytest.raises(UsageError, match=told):
        opened(mine, *acts, model={"name": f"{mine}:Net"})


def test_a_frozen_parameter_in_somebody_else_s_network(mine: Path, tmp_path: Path):
    study = Study.open(
        experiment({"act": [f"{mine}:Frozen"], "train": {"epochs": 1}, "model": {"name": f"{mine}:Net"}}),
        runs_dir=tmp_path / "runs",
    )
    assert study.specs[0].foreign is not None
    (made,) = study._jobs(study.specs, tuning=False)
    one = stored(made, study.store.root)
    finish(one)
    result = Store(one.store).result(one.specs[0].id)
    assert result is not None
    assert result.parameters == study.specs[0].foreign.parameters + 2


def test_an_error_in_the_middle_of_training_names_its_line(mine: Path, tmp_path: Path):
    from relubench.executors.failures import user_error

    one = job(f"{mine}:LateError", tmp_path, train={"epochs": 1}, model={"name": "mlp-1x8"})
    with pytest.raises(RuntimeError) as problem:
        finish(one)
    told = user_error(problem.value, one, Store(one.store))
    assert "LateError failed: RuntimeError: thirty calls are enough (mine.py, line " in told.message
    assert "your own code" in told.hint
