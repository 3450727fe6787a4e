"""The guide's activation: its block is outside the package, one line adds it, and the whole program knows it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.cli.fakes import ROOT, program

GUIDE = ROOT / "docs" / "adding-an-activation.md"

IMPORTS = """
from __future__ import annotations
from typing import TYPE_CHECKING
from relubench.activations import ACTIVATIONS
from relubench.activations.definition import Activation, elementwise
from relubench.activations.row import ActivationRow
if TYPE_CHECKING:
    from torch import Tensor
"""

Toy = Callable[..., CompletedProcess[str]]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """The program in a process whose table, like that of its workers, has the guide's activation."""
    (block,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    source = (ROOT / "relubench" / "activations" / "families" / "smooth.py").read_text()
    assert block in source, "the guide shows what the package has"
    block = block.replace("def smelu(", "def toy(")
    # Python imports a module of this name before anything else.
    (tmp_path / "sitecustomize.py").write_text(f'{IMPORTS}\n{block}\nACTIVATIONS["toy"] = toy\n')
    folders = {f"RELUBENCH_{name}_DIR": str(tmp_path / name) for name in ("RUNS", "CACHE")}

    def run(*argv: str, script: str = "") -> CompletedProcess[str]:
        done = program(*argv, script=script, PYTHONPATH=f"{tmp_path}:{ROOT}", **folders)
        assert done.returncode == 0, done.stderr
        return done

    return run


def rows(done: CompletedProcess[str]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(done.stdout), delimiter="\t"))


def test_it_is_listed_without_torch(toy: Toy) -> None:
    (row,) = [row for row in rows(toy("list", "activations")) if row["name"] == "toy"]
    assert (row["family"], row["parameters"], row["gain"], row["year"]) == ("smooth", "beta=1", "1.3803", "2022")
    assert toy(script="import sys; print('torch' in sys.modules)").stdout == "False\n"


def test_it_is_trained_beside_its_formula_which_is_named_as_one_function(toy: Toy) -> None:
    formulas = "0 if x<=-2 else (x if x>=2 else (x+2)**2/8), 0 if x<=-1 else (x if x>=1 else (x+1)**2/4)"
    small = ("--dataset", "digits", "--model", "mlp-1x16", "--epochs", "2", "--seeds", "1")
    done = toy("train", "--act", f"toy,toy:beta=2,{formulas}", *small)
    assert [row["activation"] for row in rows(done)][:2] == ["toy", "toy:beta=2"]
    default, wide, wide_formula, default_formula = (row["test_error_pct"] for row in rows(done))
    assert default == default_formula != wide == wide_formula
    assert re.search(r"equals smelu$", done.stderr, flags=re.MULTILINE)


def test_it_is_verified_against_its_own_formula(toy: Toy) -> None:
    done = toy("verify", "--act", "toy,toy:beta=0.3", "--dtype", "bf16")
    verified = rows(done)
    assert len(verified) == 4
    assert {(row["outcome"], row["against"]) for row in verified} == {("ok", "truth")}


def test_its_speed_is_measured(toy: Toy) -> None:
    timed = rows(toy("speed", "--act", "relu,toy", "--size", "4k", "--budget", "2", "--pass", "forward"))
    assert {row["activation"] for row in timed} == {"relu", "toy"}


def test_its_gain_and_its_truth_are_exact(toy: Toy) -> None:
    script = """
import numpy as np, mpmath
from relubench.activations import ACTIVATIONS, matched_gain, select
from relubench.verification import truth
from tests.activations.reference import true_function
assert abs(matched_gain(select(["toy"])[0]) - ACTIVATIONS["toy"].gain) < 1e-9
true = truth.of_row(ACTIVATIONS["toy"], {"beta": 0.75})
assert true.kinks == (-0.75, 0.75), true.kinks
f = true_function("toy", {"beta": 0.75})
for x in (-3.0, -0.7, 0.2, 0.7, 3.0):
    assert np.isclose(true.value(np.array([x]))[0], float(f(x)), rtol=1e-13)
    assert np.isclose(true.slope(np.array([x]))[0], float(mpmath.diff(f, x)), rtol=1e-12)
"""
    toy(script=script)
