"""`verify` under any parameter that the table admits: bounds follow from the function, not from its defaults."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relubench.activations import ACTIVATIONS, select
from relubench.verification.check import check

ADJUSTABLE = [row for row in ACTIVATIONS.values() if row.ranges and row.name not in ("maxout", "rrelu")]


@st.composite
def labels(draw: st.DrawFn) -> str:
    row = draw(st.sampled_from(ADJUSTABLE))
    settings = [row.name]
    for key, (low, high) in row.ranges.items():
        value = draw(st.one_of(st.sampled_from([low, high]), st.floats(low, high)))
        settings.append(f"{key}={value!r}")
    return ":".join(settings)


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(labels(), st.sampled_from(["fp32", "fp16", "bf16"]))
def test_any_parameter_is_right(label: str, dtype: str) -> None:
    for row in check(select([label])[0], dtype, num_points=8_000):
        assert row.outcome == "ok", row


@pytest.mark.parametrize(
    "label",
    [
        "softplus:beta=3",
        "softplus:beta=17.3:threshold=3.7",
        "swish:beta=10",
        "swish:beta=100",
        "celu:alpha=0.001",
        "elu:alpha=100",
        "prelu:init=0.3",
        "leaky_relu:negative_slope=-1e-30",
        "rrelu:lower=0.1:upper=0.7",
        "gelu:approximate=tanh",
        "maxout:pieces=5",
    ],
)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_parameters_at_their_extremes(label: str, dtype: str) -> None:
    for row in check(select([label])[0], dtype, num_points=15_000):
        assert row.outcome == "ok", row
        assert row.bound_used is not None
        assert row.bound_used <= 1
