"""Own activations that write into their input, read images in rows, or come from TorchScript: as out-of-place ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from relubench.activations import build, select
from relubench.activations.checks.activation_check import check_activation
from relubench.errors import UsageError
from relubench.models.builder import Builder
from relubench.models.external.activation_trial import try_activation
from relubench.timing.buffers import Buffers
from relubench.timing.operators import Unmeasurable, timed_call
from relubench.training.images import Images
from relubench.training.population import Population
from relubench.verification.check import check
from specs import digits, runs

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")

SOURCE = """
import torch
import torch.nn.functional as F
from torch import nn

def bent_(x):
    return x.mul_(torch.tanh(x)).add_(0.1)

def bent(x):
    return x * torch.tanh(x) + 0.1

def scratch_(x):
    y = x.clamp_(-1, 2)
    return 3 * y

def scratch(x):
    return 3 * x.clamp(-1, 2)

def under_(x):
    with torch.no_grad():
        x.data.sub_(0.5)
    return F.elu(x)

def under(x):
    return F.elu(x - 0.5)

class Act_(nn.Module):
    def __init__(self, inplace=True):
        super().__init__()
        self.height = nn.Parameter(torch.tensor(1.25))
        self.inplace = inplace
    def forward(self, x):
        y = F.hardswish(x, self.inplace)
        return y.mul_(self.height) if self.inplace else y * self.height

def timm(act_layer=Act_):
    return nn.Sequential(act_layer(inplace=True), nn.Identity())

class InTraining_(nn.Module):
    def forward(self, x):
        return F.mish(x, inplace=True) if self.training else F.mish(x)

class Viewed(nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.3))
    def forward(self, x):
        return self.one(x.view(len(x), -1)).view(x.size())
    def one(self, x):
        return torch.where(x > 0, x, self.slope * x)

class Plain(Viewed):
    def forward(self, x):
        return self.one(x)

class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0
    def forward(self, x):
        self.calls += 1
        return torch.relu(x) * (1.0 if self.calls < 50 else 2.0)

class Bend(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.PReLU(init=0.15)
        self.height = nn.Parameter(torch.tensor(0.9))
        self.register_buffer("seen", torch.zeros(1))
    def forward(self, x):
        return self.height * self.inner(x) + 0.1 * torch.sin(x)

scripted = torch.jit.script(Bend())
counting = torch.jit.script(Counting())

@torch.jit.script
def scripted_(x: torch.Tensor) -> torch.Tensor:
    return x.mul_(torch.tanh(x)).add_(0.1)

class Sometimes(nn.Module):
    def forward(self, x):
        return x.mul_(2) if len(x) == 6 else x * 2

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3), nn.Linear(144, num_classes)
        self.act = Act_()
    def forward(self, x):
        return self.last(self.act(self.first(x)).flatten(1))
"""

PAIRS = [
    ("bent_", "bent"),
    ("scratch_", "scratch"),
    ("under_", "under"),
    ("Act_", "Act_:inplace=False"),
    ("timm", "Act_:inplace=False"),
    ("InTraining_", "torch.nn:Mish"),
    ("torch.nn:CELU:inplace=True", "torch.nn:CELU"),
    ("torch.nn.functional:relu6:inplace=True", "torch.nn:ReLU6"),
    ("Viewed", "Plain"),
    ("scripted", "Bend"),
    ("scripted_", "bent"),
]


def named(text: str, mine: Path) -> str:
    return text if text.startswith("torch") else f"{mine}:{text}"


class Gradients:
    """Stands for the optimizer, and keeps what it is given."""

    def __init__(self) -> None:
        self.values: list[torch.Tensor] = []

    def gradient(self, parameter: object, value: torch.Tensor) -> None:
        self.values.append(value)


def step(act: str, *, image: bool) -> list[torch.Tensor]:
    """What the engine's layer computes in training and in evaluation, with all gradients; its input stays as it was."""
    choice, (spec,) = runs(act, train={"epochs": 1})
    builder = Builder(spec, choice, [0], batched=False)
    layer = builder._activation(builder.activations[0], -3 if image else -1, 14)
    x = torch.randn(6, *((14, 5, 7) if image else (14,)), generator=torch.Generator().manual_seed(4))
    x = x.contiguous(memory_format=torch.channels_last) if image else x
    before, update = x.clone(), Gradients()
    h = layer.forward(x, training=True).clone()
    below = layer.backward(torch.cos(before), update, first=False)  # type: ignore[arg-type]
    evaluated = layer.forward(x, training=False).detach()
    assert torch.equal(x, before)
    return [h, below, evaluated, *update.values]


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize(("act", "plain"), PAIRS)
def test_a_step_through_it_is_that_of_its_plain_form(act: str, plain: str, image: bool, mine: Path):
    for one, other in zip(step(named(act, mine), image=image), step(named(plain, mine), image=image), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("act", "plain"), [("bent_", "bent"), ("scripted", "Bend")])
def test_it_trains_as_its_plain_form_does(act: str, plain: str, mine: Path):
    def trained(name: str) -> list[torch.Tensor]:
        choice, specs = runs(named(name, mine), train={"epochs": 1}, model={"name": "mlp-12-12"})
        population = Population(specs, choice, Images.open(digits(), device="cpu", flat=True))
        list(population.train())
        return list(population.weights(0, best=True).values())

    for one, other in zip(trained(act), trained(plain), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("act", ["bent_", "scratch_", "timm", "Viewed", "scripted", "scripted_"])
def test_it_is_trained_in_a_user_s_network(act: str, mine: Path):
    assert check_activation(select([named(act, mine)])[0]).warnings == ()
    choice, (spec,) = runs(named(act, mine), train={"epochs": 1}, model={"name": f"{mine}:Net"})
    try_activation(spec, choice)


def test_it_is_verified(mine: Path):
    assert {row.outcome for row in check(select([f"{mine}:Act_"])[0], "bf16")} == {"ok"}


def arena() -> Buffers:
    return Buffers.make(4096, 1, torch.float32, "cpu", 0, pool=True)


@pytest.mark.parametrize(("act", "in_place"), [("bent_", True), ("Act_", True), ("scratch_", False), ("Plain", False)])
def test_speed_has_a_form_in_place_and_keeps_its_input(act: str, in_place: bool, mine: Path):
    activation, made = build(select([f"{mine}:{act}"])[0]), arena()
    before = made.z.clone()
    with torch.no_grad():
        timed_call(activation, "forward", made).call()
        assert torch.equal(made.z, before)
        if not in_place:
            with pytest.raises(Unmeasurable, match="no form in place"):
                timed_call(activation, "inplace", made)
            return
        timed_call(activation, "inplace", made)
    expected = build(select([f"{mine}:{'bent' if act == 'bent_' else 'Act_:inplace=False'}"])[0])
    module = expected.module
    wanted = module()(before) if module is not None else expected.function(before)
    torch.testing.assert_close(made.pool[0], wanted.detach())


def test_only_what_writes_into_its_input_gets_a_copy(mine: Path):
    found = {name: build(select([f"{mine}:{name}"])[0]).copied for name in ("bent", "bent_", "Act_", "Viewed", "Plain")}
    assert found == {"bent": False, "bent_": True, "Act_": True, "Viewed": False, "Plain": False}
    assert not build(select([f"{mine}:Plain"])[0]).module()._forward_pre_hooks  # type: ignore[misc]


def test_what_writes_at_some_calls_only_is_refused(mine: Path):
    with pytest.raises(UsageError, match="Sometimes changes its input in place, but not always"):
        check_activation(select([f"{mine}:Sometimes"])[0])


def test_a_counter_inside_torchscript_is_refused(mine: Path):
    with pytest.raises(UsageError, match="counting changes calls in TorchScript: it cannot be stored"):
        build(select([f"{mine}:counting"])[0])
