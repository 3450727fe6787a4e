"""A few hundred hostile inputs for each boundary; `python -m tests.fuzz` tries more."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz import BOUNDARIES, attempt

TRIED = 150


@pytest.mark.parametrize("name", BOUNDARIES)
def test_hostile_input_is_taken_or_refused(name: str, tmp_path: Path):
    outcomes = {attempt(BOUNDARIES[name], random.Random(seed), tmp_path) for seed in range(TRIED)}
    assert len(outcomes) > 1, "the input is of one kind only"
