"""Golden curves: a change that should not move results leaves them; one that should raises ENGINE_VERSION.

`python tests/test_golden.py` writes them anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from specs import digits, runs

GOLDEN = Path(__file__).parent / "golden" / "curves.json"

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "paper": ("relu", {"train": {"lr": 0.05}}),
    "modern": ("gelu", {"train": {"protocol": "modern", "lr": 0.001}}),
    "everything": (
        "prelu",
        {
            "train": {"momentum": 0.5, "lr": 0.01, "l1": 1e-4, "weight_decay": 1e-3, "batch_size": 32},
            "model": {"norm": "batch", "dropout": 0.2, "sign_flip": True, "init": "he"},
        },
    ),
    "gated": ("swiglu", {"train": {"lr": 0.05}, "model": {"init": "auto"}}),
    "noisy": ("nrelu", {"train": {"lr": 0.02}}),
    "convolutional": ("tanh", {"train": {"lr": 0.02, "batch_size": 64}, "model": {"name": "cnn"}}),
}


def curve(name: str, members: int = 1) -> list[dict[str, float]]:
    """Loss and error after each of two epochs, of the member with seed 0."""
    from relubench.training.images import Images
    from relubench.training.population import Population

    act, sections = CASES[name]
    sections = {**sections, "train": {**sections["train"], "epochs": 2}}
    choice, specs = runs(act, seeds=members, **sections)
    population = Population(specs, choice, Images.open(digits(), device="cpu", flat=not specs[0].channels))
    for _ in population.train():
        continue
    points = population.members[0].curve
    return [{"train_loss": one.train_loss or 0.0, "valid_error_pct": one.valid_error_pct or 0.0} for one in points]


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_the_curve_is_what_it_was(name: str, members: int):
    for now, then in zip(curve(name, members), json.loads(GOLDEN.read_text())[name], strict=True):
        # Float32 rounding differs between processors and grows in training; a wrong step is far outside of this.
        assert now["train_loss"] == pytest.approx(then["train_loss"], rel=5e-3)
        assert now["valid_error_pct"] == pytest.approx(then["valid_error_pct"], abs=1.2)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({name: curve(name) for name in CASES}, indent=1) + "\n")
