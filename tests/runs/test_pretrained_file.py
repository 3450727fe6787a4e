"""A stack from a file: whatever a file holds, it is read or refused by name."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from relubench.errors import DataError
from relubench.runs import pretrained_file

GOOD = {"method": "rbm", "activation": "relu", "dataset": "digits", "seconds": [1.0]}


@pytest.mark.parametrize(
    "facts",
    [
        *({**GOOD, key: value} for key in ("method", "activation", "dataset") for value in (1, None, [], {"a": 1})),
        *({**GOOD, "seconds": value} for value in (1, "x", [1, 2], [-1], ["1"], [1e300], [True], {})),
        *([], 3, None, "x", {"long": "x" * 200_000}),
    ],
    ids=lambda facts: json.dumps(facts)[:40],
)
def test_a_header_that_says_what_cannot_be_is_refused(tmp_path: Path, facts: Any):
    path = tmp_path / "stack"
    path.write_bytes(save({"0.weight": np.zeros((2, 3)), "0.bias": np.zeros(2)}, {"relubench": json.dumps(facts)}))
    with pytest.raises(DataError, match=r"--from .*stack"):
        pretrained_file.read(path)


@pytest.mark.parametrize(
    ("tensors", "rule"),
    [
        ({"0.weight": np.zeros((2, 3), np.int32)}, "0.weight is int32"),
        ({"0.weight": np.full((2, 3), np.nan)}, "0.weight is not finite"),
        ({"0.bias": np.array([np.inf])}, "0.bias is not finite"),
        ({"9" * 5000 + ".weight": np.zeros(3)}, "is no layer's tensor"),
        ({"\u00b2.weight": np.zeros(3)}, "is no layer's tensor"),
    ],
)
def test_tensors_that_are_no_weights_are_refused(tmp_path: Path, tensors: dict[str, np.ndarray], rule: str):
    path = tmp_path / "stack"
    path.write_bytes(save(tensors))
    with pytest.raises(DataError, match=rule):
        pretrained_file.read(path)


def test_flipped_bytes_of_a_stack_are_refused_or_read(tmp_path: Path):
    content = save({"0.weight": np.zeros((2, 3)), "0.bias": np.zeros(2)}, {"relubench": json.dumps(GOOD)})
    rng, path = np.random.default_rng(0), tmp_path / "stack"
    for _ in range(400):
        broken = bytearray(content[: len(content) - int(rng.integers(0, 3))])
        broken[int(rng.integers(0, len(content) - 60))] = int(rng.integers(0, 256))
        path.write_bytes(broken)
        with contextlib.suppress(DataError):
            pretrained_file.read(path)


@pytest.mark.parametrize("place", [".", "/dev/zero"])
def test_what_is_no_file_is_no_stack(place: str):
    if not Path(place).exists():
        pytest.skip(f"there is no {place}")
    with pytest.raises(DataError, match="is not a file"):
        pretrained_file.read(Path(place))
