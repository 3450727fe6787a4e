"""What somebody else's module holds beside its parameters: the best epoch's is tested, stored and resumed."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from relubench.models.external.module_state import capture, restore
from relubench.models.external.module_state_file import packed, unpacked
from relubench.models.families import family_of
from relubench.runs.checkpoint import from_bytes, to_bytes
from relubench.runs.store import Store
from relubench.training.images import Images
from relubench.training.population import Population
from specs import digits, finish, finished, job, runs

SOURCE = """
import collections, random
import numpy as np
import torch
from torch import nn

def fades(x, n):
    # After the second epoch it is turned off, and the first epoch or the second stays the best.
    return torch.relu(x) * float(n <= 30)

class Counting(nn.Module):
    def count(self): return self.n
    def forward(self, x):
        if self.training:
            self.step()
        return fades(x, self.count())

class InPlace(Counting):
    def __init__(self):
        super().__init__()
        self.register_buffer("n", torch.zeros(()))
    def step(self): self.n += 1

class Replaced(InPlace):
    def step(self): self.n = self.n + 1

class Hidden(InPlace):
    def __init__(self):
        super().__init__()
        self.register_buffer("n", torch.zeros(()), persistent=False)
    def step(self): self.n = self.n + 1

class Number(Counting):
    def __init__(self):
        super().__init__()
        self.n = 0
    def step(self): self.n += 1

class Tensor(Counting):
    def __init__(self):
        super().__init__()
        self.n = torch.zeros(())
    def step(self): self.n = self.n + 1

class Array(Counting):
    def __init__(self):
        super().__init__()
        self.a = np.zeros(2)
    def count(self): return self.a[1]
    def step(self): self.a[1] += 1

class History(Counting):
    def __init__(self):
        super().__init__()
        self.seen = collections.deque([0], maxlen=3)
    def count(self): return self.seen[-1]
    def step(self): self.seen.append(self.seen[-1] + 1)

class InDictionary(Counting):
    def __init__(self):
        super().__init__()
        self.state = {"steps": [0, torch.zeros(3)]}
    def count(self): return self.state["steps"][1][2]
    def step(self): self.state["steps"][1][2] += 1

class Meter:
    def __init__(self): self.total = 0
class InObject(Counting):
    def __init__(self):
        super().__init__()
        self.meter = Meter()
    def count(self): return self.meter.total
    def step(self): self.meter.total += 1

class Late(Counting):
    def count(self): return getattr(self, "n", 0)
    def step(self): self.n = self.count() + 1

class Frozen(Counting):
    def __init__(self):
        super().__init__()
        self.n = nn.Parameter(torch.zeros(()), requires_grad=False)
    def step(self): self.n.data += 1

class InChild(Counting):
    def __init__(self):
        super().__init__()
        self.inner, self.layers = nn.Identity(), [nn.Identity()]
        self.layers[0].n = 0
    def count(self): return self.layers[0].n
    def step(self):
        self.layers[0].n += 1
        self.inner.twice = 2 * self.layers[0].n

class Network(nn.Module):
    def __init__(self, num_classes=10, kind="Number"):
        super().__init__()
        self.a, self.b, self.act = nn.Linear(64, 16), nn.Linear(16, num_classes), nn.ReLU()
        self.counting = globals()[kind]()
    def forward(self, x):
        h = self.act(self.a(x.flatten(1)))
        if self.training:
            self.counting.step()
        return self.b(h * float(self.counting.count() <= 30))

class Twisted(nn.Module):
    # A permutation of the batch's units that the module's own generator draws: resumed, it has to go on.
    def __init__(self):
        super().__init__()
        self.chance, self.scale = random.Random(3), 1.0
    def forward(self, x):
        if self.training:
            self.scale = self.chance.uniform(0.9, 1.1)
        return torch.tanh(x * self.scale)
"""
KINDS = ["InPlace", "Replaced", "Hidden", "Number", "Tensor", "Array", "History", "InDictionary", "InObject", "Late"]
TRAIN = {"epochs": 3, "batch_size": 50, "lr": 0.5}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "counting.py"
    path.write_text(SOURCE)
    return str(path)


def trained(act: str, model: str = "mlp-1x16") -> Population:
    return finished(population_of(act, model))


def population_of(act: str, model: str = "mlp-1x16") -> Population:
    choice, (spec,) = runs(act, train=TRAIN, model={"name": model})
    return Population([spec], choice, Images.open(digits(), device="cpu", flat=not family_of(spec.model).can("images")))


def error_of(population: Population) -> float:
    return float(population.evaluate("test", best=True).scores[0].mean())


@pytest.fixture
def expected(file: str) -> float:
    one = trained(f"{file}:InPlace")
    best = one.members[0].best_epoch
    assert best is not None and best < 3
    assert float(one.evaluate("test").scores[0].mean()) > 0.8, "by the last epoch it is turned off"
    return error_of(one)


@pytest.mark.parametrize("kind", [*KINDS[1:], "InChild"])
def test_the_best_epoch_is_tested_with_its_own_state_however_it_is_kept(kind: str, file: str, expected: float):
    one = trained(f"{file}:{kind}")
    assert error_of(one) == expected < 0.85
    assert error_of(one) == expected, "testing leaves no trace"


@pytest.mark.parametrize("kind", ["Replaced", "Number", "InChild", "Frozen"])
def test_a_network_is_tested_with_the_best_epochs_state(kind: str, file: str):
    found = {kind: error_of(trained("relu", f"{file}:Network:kind={kind}")) for kind in ("InPlace", kind)}
    assert found[kind] == found["InPlace"] < 0.85


@pytest.mark.parametrize("act", [*KINDS, "InChild", "Twisted"])
def test_a_resumed_run_ends_in_the_same_bits(act: str, file: str):
    whole = finished(population_of(f"{file}:{act}"))
    broken = population_of(f"{file}:{act}")
    for number, _ in enumerate(broken.train()):
        if number % 2:
            content = to_bytes(*broken.state())
            broken = population_of(f"{file}:{act}")
            broken.load(*from_bytes(content))
            break
    finished(broken)
    assert to_bytes(*broken.state()) == to_bytes(*whole.state())
    assert error_of(broken) == error_of(whole)


@pytest.mark.parametrize("act", ["Number", "InDictionary", "Replaced"])
def test_kept_weights_hold_the_state(act: str, file: str, tmp_path: Path):
    """Tested again under noise of nothing, in a process that knows only the file."""
    one = job(f"{file}:{act}", tmp_path / "store", train=TRAIN, model={"name": "mlp-1x16"})
    store, run = Store(tmp_path / "store"), one.specs[0].id
    finish(one)
    finish(replace(one, noise=(1e-9,)))
    wrong, under_noise = store.wrong(run), store.noise(run, 1e-9)
    assert wrong is not None and under_noise is not None
    assert 0 < wrong.mean() < 0.85
    assert np.array_equal(wrong, under_noise)


def test_every_member_of_a_stack_keeps_its_own(file: str):
    choice, specs = runs(f"{file}:Number", seeds=2, train=TRAIN, model={"name": "mlp-1x16"})
    together = finished(Population(specs, choice, Images.open(digits(), device="cpu", flat=True)))
    alone = [finished(Population([spec], choice, Images.open(digits(), device="cpu", flat=True))) for spec in specs]
    found = together.evaluate("test", best=True)
    for place, one in enumerate(alone):
        assert float(found.scores[place].mean()) == pytest.approx(error_of(one), abs=0.01)


class Everything(nn.Module):
    one: Tensor
    two: Tensor

    def __init__(self) -> None:
        super().__init__()
        shared = torch.arange(3.0)
        self.register_buffer("one", shared)
        self.two = shared
        self.numbers = {"a": [1, 2.5, True, None, "text", b"bytes", 1 + 2j], (1, 2): {3, 1}}
        self.window = deque([np.float32(0.5)], maxlen=2)
        self.chance = random.Random(0)
        self.numpy = np.random.default_rng(0)
        self.torch = torch.Generator().manual_seed(0)
        self.array = np.arange(4, dtype=np.int16)
        self.function, self.device = torch.tanh, torch.device("cpu")
        self.itself = [self]


def drawn_by(one: Everything) -> tuple[float, float, float]:
    return one.chance.random(), float(one.numpy.random()), float(torch.rand(1, generator=one.torch))


@pytest.mark.parametrize("written", [False, True])
def test_what_is_put_back_is_what_was_taken(written: bool):
    module = Everything()
    state = capture(module)
    if written:
        tensors, values = from_bytes(to_bytes(packed(state, "m")[0], {"held": packed(state, "m")[1]}))
        state = unpacked(tensors, values["held"], "cpu")
    drawn = drawn_by(module)
    module.one.add_(1)
    module.numbers["a"].append(4)
    module.numbers["new"] = [1]
    module.window.append(np.float32(2))
    module.array += 1
    module.later = 3  # type: ignore[assignment]
    restore(module, state)
    assert drawn_by(module) == drawn
    assert module.one.tolist() == [0, 1, 2] and module.two is module.one
    assert module.numbers == {"a": [1, 2.5, True, None, "text", b"bytes", 1 + 2j], (1, 2): {3, 1}}
    assert list(module.window) == [0.5] and module.window.maxlen == 2
    assert module.array.tolist() == [0, 1, 2, 3] and module.array.dtype == np.int16
    assert not hasattr(module, "later") and module.function is torch.tanh and module.itself[0] is module


def test_a_view_of_the_images_is_not_written_to():
    """A module that keeps what it saw last holds a part of the data set itself."""

    class Keeps(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.last = x
            return x

    module, images = Keeps(), torch.zeros(4, 2)
    module(images[:2])
    state = capture(module)
    images[:2] = 1.0
    module(images[2:])
    restore(module, state)
    assert images.tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]
    assert module.last.tolist() == [[0, 0], [0, 0]]
