"""Values and slopes of every activation as the device computes them, against the true function.

The judge is that of `relubench verify`: what is allowed is what the roundings of the computation's own steps explain on
a processor. A device's own exp or tanh may round differently: a row says by how many units in the last place.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.gpu.setting import Row, Setting

POINTS, SMALL_POINTS = 60_000, 5_000
SMALL = ("relu", "gelu", "swiglu")
TYPES = ("fp32", "bf16", "fp16")


def rows(setting: Setting) -> Iterator[Row]:
    """A row for each activation, type and pass, then one that counts them."""
    import torch

    from relubench.activations import select

    torch.set_flush_denormal(False)
    outcomes: dict[str, int] = {}
    choices = select(SMALL) if setting.small else select(["all"])
    for choice, dtype in itertools.product(choices, TYPES[:1] if setting.small else TYPES):
        try:
            found = _checked(choice, dtype, setting)
        except Exception as problem:
            fault = f"{type(problem).__name__}: {problem}"
            found = [{"activation": choice.label, "dtype": dtype, "outcome": "failed", "error": fault}]
        for row in found:
            outcomes[row["outcome"]] = outcomes.get(row["outcome"], 0) + 1
            yield row
    yield {"device": setting.device, "outcomes": outcomes}


def _checked(choice: Any, dtype: str, setting: Setting) -> list[Row]:
    """Forward and backward pass of an activation in a type, every form that the device has."""
    import torch

    from relubench.activations import build
    from relubench.verification import points
    from relubench.verification.bounds import backward_allowance, forward_allowance
    from relubench.verification.compare import ulp_size
    from relubench.verification.forms import backward_forms, forward_forms
    from relubench.verification.judge import Expected, RowHeader, row_of
    from relubench.verification.reference import reference_of

    activation = build(choice)
    reference = reference_of(choice, activation, dtype, None)
    number = SMALL_POINTS if setting.small else POINTS
    drawn = (
        points.stratified(reference.kinks, 0, number) if dtype == "fp32" else points.every_pattern(points.DTYPES[dtype])
    )
    z = (points.shuffled if choice.name == "maxout" else points.partners)(drawn, choice.inputs_per_unit, 0)
    x = z.to(torch.float64).numpy()
    on_device = z.to(setting.device)
    rows = []
    for pass_ in ("forward", "backward"):
        if pass_ == "forward":
            allowed, true = forward_allowance(activation, z, dtype, emulate=False), reference.values(x)
            usable = np.ones(true.shape, bool)
            forms = ((form, h.cpu()) for form, h in forward_forms(activation, on_device, compiled=False))
        else:
            allowed, true = backward_allowance(activation, z, dtype, emulate=False), reference.slopes(x)
            usable = np.broadcast_to(~np.isnan(x).any(axis=0), true.shape)
            forms = ((form, s.cpu()) for form, s, _ in backward_forms(activation, on_device, compiled=False))
        size = allowed.size + 1e-3 * ulp_size(true, dtype)
        flat = {name: np.broadcast_to(part, true.shape)[usable] for name, part in allowed.excuses.items()}
        at = np.broadcast_to(x[-1], true.shape)[usable]
        expected = Expected(true[usable], np.broadcast_to(size, true.shape)[usable], at, flat, dtype, reference.kinks)
        kept = torch.from_numpy(usable.copy())
        header = RowHeader(choice.label, dtype, pass_, int(usable.sum()), reference.name)
        # What an activation learns is made where the values are.
        with torch.device(setting.device):
            judged = row_of(header, ((form, values[kept]) for form, values in forms), expected).to_json()
        rows.append({**judged, **({"error": _fault(judged)} if judged["outcome"] in ("wrong", "failed") else {})})
    return rows


def _fault(row: Row) -> str:
    detail = row.get("message") or f"{row.get('max_ulp')} ulp"
    return f"{row['activation']} {row['dtype']} {row['pass']}: {row['outcome']}, {detail}"
