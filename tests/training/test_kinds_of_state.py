"""State of every kind is put back, by the process that took it and from a file: tests/own_files/state.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from relubench.activations import select
from relubench.activations.checks.activation_check import check_activation
from relubench.errors import UsageError
from relubench.models.external.module_state import capture, restore
from relubench.models.external.module_state_file import packed, unpacked
from relubench.runs.checkpoint import from_bytes, to_bytes
from relubench.system.user_code.loading import load

FILE = Path(__file__).parents[1] / "own_files" / "state.py"
OWN = load(FILE)
KINDS = [
    name
    for name, kind in vars(OWN).items()
    if isinstance(kind, type) and issubclass(kind, OWN.Counting) and kind is not OWN.Counting
]


def stepped(name: str, steps: int) -> Any:
    module = getattr(OWN, name)().train()
    for _ in range(steps):
        module(torch.ones(2))
    return module


def steps_left(module: Any) -> int:
    """How many steps it takes until it is off."""
    return next((steps for steps in range(60) if float(module(torch.ones(2)).sum()) == 0), 60)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_state_is_put_back(name: str):
    module = stepped(name, 20)
    best = capture(module)
    for _ in range(15):
        module(torch.ones(2))
    last = capture(module)
    for state, left in ((best, 10), (last, 0), (best, 10)):
        restore(module, state)
        assert steps_left(module) == left


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_state_goes_on_from_a_file(name: str):
    tensors, values = packed(capture(stepped(name, 20)), "module")
    tensors, values = from_bytes(to_bytes(tensors, {"held": values}))
    fresh = stepped(name, 0)
    restore(fresh, unpacked(tensors, values["held"], "cpu"))
    assert steps_left(fresh) == 10


class LateLibrary(nn.Module):
    """It makes an object in forward whose class is neither its own nor known."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.optimizer = torch.optim.SGD([torch.zeros(1)])
        return x


def test_what_cannot_be_made_again_is_no_state_from_a_file():
    module = LateLibrary()
    module(torch.ones(1))
    tensors, values = packed(capture(module), "module")
    with pytest.raises(ValueError, match="made in forward, and is not made again"):
        restore(LateLibrary(), unpacked(tensors, values, "cpu"))


def test_a_key_that_two_dictionaries_share_stays_that_key():
    module, shared = nn.Identity(), (1, "a")
    module.held = [{shared: 1, (2, "b"): 2}, {shared: 3}]
    tensors, values = packed(capture(module), "module")
    fresh = nn.Identity()
    restore(fresh, unpacked(tensors, values, "cpu"))
    assert fresh.held == [{(1, "a"): 1, (2, "b"): 2}, {(1, "a"): 3}]


REFUSED = """
import collections, torch
from torch import nn

class NewParameter(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(()))
    def forward(self, x):
        if self.training:
            self.w = nn.Parameter(self.w.detach() + 1)
        return torch.relu(x) * self.w

class LateParameter(nn.Module):
    def forward(self, x):
        if not hasattr(self, "scale"):
            self.scale = nn.Linear(1, 1, bias=False)
        return torch.relu(x) * self.scale.weight[0, 0]

class Box:
    def __init__(self): self.stream = [iter(range(10**9))]
class DeepIterator(nn.Module):
    def __init__(self):
        super().__init__()
        self.boxes = {"one": Box()}
    def forward(self, x):
        return torch.relu(x) * min(next(self.boxes["one"].stream[0]), 1)
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NewParameter", "replaces its parameter w in forward"),
        ("LateParameter", "makes its parameter scale.weight in forward"),
        ("DeepIterator", "keeps range_iterator in boxes"),
    ],
)
def test_what_would_be_lost_is_refused(name: str, message: str, tmp_path: Path):
    (tmp_path / "mine.py").write_text(REFUSED)
    with pytest.raises(UsageError, match=message):
        check_activation(select([f"{tmp_path}/mine.py:{name}"])[0])
