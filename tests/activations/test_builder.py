"""Users' own activations: imported by path or module, instantiated, and refused in words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from relubench.activations import ActivationChoice, build, select
from relubench.activations.builder import as_function
from relubench.errors import UsageError

SOURCE = """
from dataclasses import dataclass

import torch

def cubic(x, scale=1.0):
    return scale * x**3

@dataclass
class Settings:
    size: float

class Scaled(torch.nn.Module):
    def __init__(self, size: float = 2.0) -> None:
        super().__init__()
        self.size = torch.nn.Parameter(torch.tensor(float(size)))

    def forward(self, x):
        return torch.tanh(x) * self.size

class Group:
    Scaled = Scaled

class Needy(torch.nn.Module):
    def __init__(self, width):
        super().__init__()

instance = torch.nn.ReLU()
number = 3
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    return file


def test_a_function(mine: Path):
    one = build(select(["./mine.py:cubic"])[0])
    assert one.function(torch.tensor([2.0])).item() == 8
    assert one.module is None and one.gradient is None
    assert build(select(["./mine.py:cubic:scale=0.5"])[0]).function(torch.tensor([2.0])).item() == 4


@pytest.mark.parametrize("name", ["Scaled", "Group.Scaled"])
def test_a_class_gives_instances_of_its_own(name: str, mine: Path):
    one = build(select([f"./mine.py:{name}:size=3"])[0])
    assert one.module is not None
    first, second = one.module(), one.module()
    assert first is not second
    assert first(torch.tensor([100.0])).item() == 3
    assert as_function(one)(torch.tensor([100.0], dtype=torch.float64)).item() == 3
    with pytest.raises(AssertionError, match="use its instances"):
        one.function(torch.zeros(1))


def test_building_leaves_the_random_numbers_alone(mine: Path):
    mine.write_text("import torch\nclass Drawn(torch.nn.Module):\n    def __init__(self):\n"
                    "        super().__init__()\n        self.a = torch.rand(3)\n")  # fmt: skip
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    build(select(["./mine.py:Drawn"])[0])
    assert torch.equal(torch.rand(1), expected)


def test_an_installed_module_s_class():
    one = build(select(["torch.nn:Hardtanh:max_val=2"])[0])
    assert one.module is not None
    assert one.module()(torch.tensor([-3.0, 3.0])).tolist() == [-1, 2]


def test_a_worker_elsewhere_builds_the_same(mine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    values = select(["mine.py:cubic"])[0].to_json()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert build(ActivationChoice.from_json(values)).function(torch.tensor([2.0])).item() == 8


def test_an_edited_file_is_imported_again(mine: Path):
    assert build(select(["./mine.py:cubic"])[0]).function(torch.tensor([2.0])).item() == 8
    mine.write_text("def cubic(x):\n    return -x\n")
    assert build(select(["./mine.py:cubic"])[0]).function(torch.tensor([2.0])).item() == -2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Cubic", "there is no 'Cubic' in it"),
        ("Group.Other", "there is no 'Other' in it"),
        ("Needy", "cannot be instantiated: TypeError: .*width"),
        ("Scaled:sise=3", "takes no argument 'sise'"),
        ("instance:size=3", "is an instance of ReLU, which takes no more arguments"),
        ("Settings", "is a class that is not a torch.nn.Module"),
        ("number", "is neither a class nor a function, but int"),
    ],
)
def test_what_is_named_is_not_usable(name: str, message: str, mine: Path):
    with pytest.raises(UsageError, match=message):
        build(select([f"./mine.py:{name}"])[0])


def test_near_names_are_offered(mine: Path):
    with pytest.raises(UsageError) as refusal:
        build(select(["./mine.py:cubik"])[0])
    assert "did you mean cubic?" in refusal.value.hint


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def broken(:", "SyntaxError"),
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("1/0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("\0", "importing .* failed"),
    ],
)
def test_a_file_that_does_not_import(source: str, message: str, mine: Path):
    mine.write_text(source)
    before = set(sys.modules)
    with pytest.raises(UsageError, match=message):
        build(select(["./mine.py:cubic"])[0])
    assert not [name for name in set(sys.modules) - before if name.startswith("relubench_own")]


def test_a_file_that_went_away(mine: Path):
    choice = select(["./mine.py:cubic"])[0]
    mine.unlink()
    with pytest.raises(UsageError, match=r"importing .* failed: FileNotFoundError"):
        build(choice)
