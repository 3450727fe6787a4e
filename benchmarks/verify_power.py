"""Which errors does `relubench verify` find in a user's own function, and how often does it accuse a right one?

    ATEN_CPU_CAPABILITY=avx2 python -m benchmarks.verify_power --output benchmarks/results/verify-power.txt

Plants a relative error of 0.5 to 10 % into the values, then into the slopes, of each function in one binade of one
type, every binade and both signs in turn, and has it judged as `verify` judges it: how many are found? Counted are the
binades in which the right values are normal numbers of the type; elsewhere a per cent is less than a rounding. 'near 0'
are those of 2^-14 <= |x| < 16. Then every function is checked as it is: each row that is not ok is a false alarm. The
result is appended to the file.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from relubench.activations import build, select
from relubench.system.device import resolve
from relubench.verification import points
from relubench.verification.bounds import Allowance, backward_allowance, forward_allowance
from relubench.verification.check import check
from relubench.verification.compare import FORMATS, Array, ulp_size
from relubench.verification.forms import backward_forms, forward_forms
from relubench.verification.judge import Expected, assess_form
from relubench.verification.reference import reference_of
from relubench.verification.regions import regions

NEAR = (2.0**-14, 16.0)
"""Magnitudes of x between which pre-activations lie."""
SIZES = (0.005, 0.01, 0.02, 0.05, 0.1)
PLANTED = (
    "x*sigmoid(x)",
    "x*sigmoid(1.702*x)",
    "x*tanh(softplus(x))",
    "0.5*x*(1+erf(x/sqrt(2)))",
    "0.5*x*(1+tanh(0.79788456*(x+0.044715*x**3)))",
    "log(1+exp(x))",
    "x/(1+abs(x))",
    "where(x>0, x, 0.3*(exp(min(x,0))-1))",
    "max(0,x)**2",
)
RIGHT = (
    *PLANTED[:4],
    *PLANTED[6:],
    "gelu(x)",
    "mish(x)",
    "softplus(3*x)/3",
    "tanh(x)*x",
    "x+sin(x)**2",
    "sin(3*x)",
    "x*cos(x)",
    "exp(-x**2)",
    "clip(x,-0.3,0.7)",
    "where(x*1.7>1, x, 0.2*x)",
    "x*relu6(x+3)/6",
    "log(1+abs(x))*sign(x)",
    "erf(x)",
    "0.7*x*sigmoid(x)+0.3*tanh(x)",
)
"""Without those that overflow at ordinary x, of which verify says so."""


Tally = Counter[float]
"""Size of the error -> binades in which it is found; 0 -> all binades."""


def expected_of(label: str, dtype: str, pass_: str, size: int) -> tuple[torch.Tensor, Expected]:
    """What the function gives in this type, and what it is held to."""
    choice = select([label])[0]
    activation = build(choice)
    reference = reference_of(choice, activation, dtype, None)
    x = points.stratified((), 0, size) if dtype == "fp32" else points.every_pattern(points.DTYPES[dtype])
    z = x[~x.isnan()][None]
    wide = z.to(torch.float64).numpy()
    if pass_ == "values":
        _, computed = next(forward_forms(activation, z, compiled=False))
        allowed, true = forward_allowance(activation, z, dtype, emulate=True), reference.values(wide)
    else:
        computed = next(backward_forms(activation, z, compiled=False))[1][0]
        allowed, true = backward_allowance(activation, z, dtype, emulate=True), reference.slopes(wide)[0]
    return computed, _expected(true, allowed, wide[0], dtype)


def _expected(true: Array, allowed: Allowance, x: Array, dtype: str) -> Expected:
    assert allowed.emulated is not None
    size = allowed.size.reshape(true.shape) + 1e-3 * ulp_size(true, dtype)
    return Expected(true, size, x, allowed.excuses, dtype, (), allowed.emulated.reshape(true.shape))


def power(label: str, dtype: str, pass_: str, size: int) -> tuple[Tally, Tally]:
    """Of all binades, and of those in which pre-activations lie, how many there are and where each size is found."""
    computed, whole = expected_of(label, dtype, pass_, size)
    least = 2.0 ** FORMATS[dtype][1]
    everywhere, near = Tally(), Tally()
    for part in regions(whole.x, dtype, ()):
        true = np.abs(whole.true[part])
        if not (np.isfinite(whole.true[part]).all() and true.min() >= least and computed[part].isfinite().all()):
            continue
        size_of_x = np.abs(whole.x[part])
        tallies = (everywhere, near) if NEAR[0] <= size_of_x.min() and size_of_x.max() < NEAR[1] else (everywhere,)
        for tally in tallies:
            tally[0.0] += 1
        here = Expected(
            whole.true[part],
            whole.allowance[part],
            whole.x[part],
            {why: where[part] for why, where in whole.excuses.items()},
            dtype,
            (),
            None if whole.emulated is None else whole.emulated[part],
        )
        for share in SIZES:
            wrong = (computed[part].double() * (1 + share)).to(computed.dtype)
            for tally in tallies if assess_form("planted", wrong, here, 0).wrong else ():
                tally[share] += 1
    return everywhere, near


def report(size: int) -> list[str]:
    lines = [
        f"{'type':6}{'what':8}{'binades':>8}" + "".join(f"{100 * share:>8g} %" for share in SIZES) + "   found, in %"
    ]
    each: list[str] = []
    for dtype in ("fp32", "fp16", "bf16"):
        for pass_ in ("values", "slopes"):
            everywhere, near = Tally(), Tally()
            for label in PLANTED:
                all_binades, some = power(label, dtype, pass_, size)
                everywhere, near = everywhere + all_binades, near + some
                each.append(_line(dtype, pass_, all_binades) + f"   {label}")
            lines += [_line(dtype, pass_, everywhere), _line("", "near 0", near)]
    accused = [
        f"{row.activation}, {row.dtype} {row.pass_}: {row.message}"
        for label in RIGHT
        for dtype in ("fp32", "fp16", "bf16")
        for row in check(select([label])[0], dtype, num_points=size)
        if row.outcome != "ok"
    ]
    rows = len(RIGHT) * 6
    return [
        *lines,
        f"false alarms: {len(accused)} of {rows} rows of {len(RIGHT)} right functions",
        *accused,
        "",
        "by function:",
        *each,
    ]


def _line(dtype: str, what: str, tally: Tally) -> str:
    binades = tally[0.0]
    return f"{dtype:6}{what:8}{binades:8}" + "".join(f"{100 * tally[share] / max(binades, 1):10.1f}" for share in SIZES)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--points", type=int, default=60_000, help="float32 values (60000); of 16 bits all are taken")
    parser.add_argument("--output", type=Path, help="a file to which the result is appended (stdout)")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)
    given = os.environ.get("ATEN_CPU_CAPABILITY", "not set")
    when = datetime.now(UTC).date().isoformat()
    head = f"{resolve('cpu').name}, ATEN_CPU_CAPABILITY {given}, PyTorch {torch.__version__}, {when}"
    text = "\n".join([head, *report(asked.points)]) + "\n\n"
    if asked.output:
        with asked.output.open("a") as file:
            file.write(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
