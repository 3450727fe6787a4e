"""What each kernel is allowed, and where PyTorch's own kernels are known to be wrong.

A piecewise-linear activation has to be the true value rounded once. A smooth one is allowed a few ulp; in its tails,
where exp leaves the normal numbers, an absolute error of the size of those; and where digits cancel, one of a few
roundings of numbers near 1, as each kernel's class says. The bounds are declared, about twice what was measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from relubench.verification.compare import FORMATS, Array, Bound

TAIL = 2.0**-106
"""Absolute error where exp underflows and its product with x, or with a gate's partner, is all that is left."""

CANCELLED = {"fp32": 32.0, "fp16": 4.0, "bf16": 4.0}
"""Absolute error where digits cancel, in units of the rounding error of numbers just below 1 (times 8 if gated)."""

PIECEWISE = ("hardtanh", "relu", "nrelu", "relu6", "leaky_relu", "prelu", "rrelu", "maxout")
EXACT = frozenset({*PIECEWISE, "identity", "squared_relu", "bilinear", "reglu"})
CANCELLING_FORWARD = frozenset({"gelu", "geglu", "hardswish"})
COMPOSED = {"lecun_tanh": 3.0, "softsign": 3.0, "swish": 20.0, "geglu": 8.0, "swiglu": 8.0}
"""Ulp in 16 bits of what is made of several kernels, each of which rounds; of the others 1."""

ROUNDED_ONCE = 0.501
"""Half an ulp, and what a float32 product may be off before it is rounded to 16 bits: less than any whole ulp."""

ULP_FP32, ULP_16 = 8.0, 1.0
OWN_ULP, OWN_ABSOLUTE = 64.0, 64.0
"""For a user's own: ulp, and roundings of numbers just below 1; what is wrong beyond rounding is far beyond both."""


def bound(name: str, pass_: str, dtype: str, *, own: bool = False) -> Bound:
    """What the kernel of a table's activation, or a user's own, is allowed."""
    rounding = 2.0 ** -FORMATS[dtype][0]
    if own:
        return Bound(OWN_ULP, OWN_ABSOLUTE * rounding)
    if (name, pass_) == ("squared_relu", "backward"):
        # PyTorch's vector sqrt is not always the nearest number.
        return Bound(1.0)
    if name in EXACT:
        return Bound(ROUNDED_ONCE)
    gated = 8.0 if name in ("glu", "geglu", "swiglu") else 1.0
    ulp = ULP_FP32 if dtype == "fp32" else COMPOSED.get(name, ULP_16)
    cancels = pass_ == "backward" or name in CANCELLING_FORWARD
    return Bound(ulp, max(TAIL, CANCELLED[dtype] * gated * rounding if cancels else 0.0))


@dataclass(frozen=True, slots=True)
class Known:
    """A departure of a kernel that is PyTorch's, or IEEE arithmetic's, and that the table names."""

    names: tuple[str, ...]
    passes: tuple[str, ...]
    where: Callable[[Array], np.ndarray]
    """Of the gate's x [N]: bool [N]."""
    why: str


_LARGEST = float(np.finfo(np.float32).max)
_TIMES_X = ("gelu", "silu", "swish", "hardswish", "mish", "geglu", "swiglu")

KNOWN = (
    Known(_TIMES_X, ("forward",), np.isneginf, "NaN at -inf, the product of infinity and 0"),
    Known(("softsign",), ("forward", "backward"), np.isinf, "NaN at an infinity, the quotient of two"),
    Known(_TIMES_X, ("backward",), np.isinf, "NaN slope at an infinity"),
    Known(
        ("gelu", "geglu"),
        ("forward", "backward"),
        lambda x: x > _LARGEST / 2 * (1 - 2**-8),
        "infinite above half of the largest number: the kernel forms 2x first",
    ),
    Known(
        ("hardswish",),
        ("forward",),
        lambda x: x > _LARGEST / 6 * (1 - 2**-8),
        "infinite above a sixth of the largest number: the kernel forms 6x first",
    ),
)


def known(name: str, pass_: str) -> list[Known]:
    return [one for one in KNOWN if name in one.names and pass_ in one.passes]
