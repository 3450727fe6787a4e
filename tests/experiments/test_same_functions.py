"""Two names of one function are named as one; relatives are not."""

from __future__ import annotations

import pytest

from relubench.activations import select
from relubench.experiments.same_functions import lines_about_twins


@pytest.mark.parametrize(
    ("acts", "lines"),
    [
        ("elu,relu,celu", ["elu and celu are one function: their rows differ by rounding alone"]),
        ("elu:alpha=0.5,celu:alpha=0.5", []),
        ("relu,leaky_relu:negative_slope=0", ["relu and leaky_relu:negative_slope=0 are one function"]),
        ("leaky_relu:negative_slope=1,identity,tanh", ["leaky_relu:negative_slope=1 and identity are one function"]),
        ("relu,relu6,gelu,silu,mish,nrelu,prelu,swiglu,maxout", []),
        ("elu", []),
    ],
)
def test_one_function_under_two_names(acts: str, lines: list[str]) -> None:
    remarks = lines_about_twins(select([acts]))
    assert len(remarks) == len(lines)
    assert all(remark.startswith(line) for remark, line in zip(remarks, lines, strict=True))


def test_the_whole_table_has_no_other_twins_than_elu_and_celu() -> None:
    (line,) = lines_about_twins(select(["all"]))
    assert line.startswith("elu and celu are one function") or line.startswith("celu and elu are one function")
