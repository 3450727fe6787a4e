"""What sparsity buys: a trained network's activations times the next layer's weights, with and without the zeros.

The activations are those of validation images at the best epoch's weights. Beside them, as they are, stand the same
pre-activations with their bias moved, f(z - c), so that more or fewer of them are zero: that gives forward time against
sparsity, and the break-even point of each way of multiplying.

Shapes: N images, B batch, I units of the hidden layer, O of the next; z and h [N, I], w_t [I, O].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from relubench.activations import Choice, build
from relubench.activations.builder import as_function
from relubench.data import PreparedData
from relubench.errors import ComputeError, UsageError
from relubench.models.architecture import architecture_of
from relubench.models.layers.base import Dropout, SignFlip
from relubench.models.layers.dense import Linear
from relubench.runs.checkpoint import from_bytes
from relubench.runs.spec import RunSpec
from relubench.statistics import timings
from relubench.timing import products, rows
from relubench.timing.products import WAYS, Workload
from relubench.timing.schedule import Cell, Session
from relubench.training.images import Images
from relubench.training.population import Population

BATCHES = (1, 10, 128)
"""One image, the paper's batch, a large one."""

IMAGES = {1: 32, 10: 80, 128: 256}
"""Images that a sample multiplies, batch after batch, so that no single one's zeros decide."""

LEVELS = (0.0, 25.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 98.0, 99.0)
"""Per cent of zeros that the bias is moved to, beside the paper's."""

LEAST_ZEROS = 1.0
"""Per cent of zeros from which on an activation is said to have any to leave out."""

USUAL = 4.0
"""Pre-activations up to this size are usual; far below it smooth activations underflow to zero."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hidden:
    """One hidden layer of the trained network, and what it is multiplied by."""

    name: str
    z: Tensor
    h: Tensor
    w_t: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class SparsityRow:
    """One layer, batch and sparsity: microseconds an image, and ratios to the dense product. Missing is None."""

    source: str
    """trained: the network's own activations; shifted: with their bias moved."""
    layer: str
    batch: int
    inputs: int
    outputs: int
    sparsity_pct: float
    zero_columns_pct: float
    """Inputs that are zero for a whole batch."""
    outcome: str = "ok"
    message: str = ""
    dense_us: float | None = None
    columns_us: float | None = None
    per_image_us: float | None = None
    csr_us: float | None = None
    csr_converted_us: float | None = None
    columns_ratio: float | None = None
    columns_ratio_ci_low: float | None = None
    columns_ratio_ci_high: float | None = None
    columns_verdict: str | None = None
    per_image_ratio: float | None = None
    per_image_ratio_ci_low: float | None = None
    per_image_ratio_ci_high: float | None = None
    per_image_verdict: str | None = None
    csr_ratio: float | None = None
    csr_ratio_ci_low: float | None = None
    csr_ratio_ci_high: float | None = None
    csr_verdict: str | None = None
    csr_converted_ratio: float | None = None
    csr_converted_ratio_ci_low: float | None = None
    csr_converted_ratio_ci_high: float | None = None
    csr_converted_verdict: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What a cell multiplies, in words and numbers."""

    source: str
    layer: str
    sparsity_pct: float
    zero_columns_pct: float
    load: Workload


def check_layers(spec: RunSpec, choice: Choice, prepared: PreparedData) -> None:
    """Raises UsageError, before anything is trained, for a network without a layer whose zeros could be left out.

    Its layers are not known, or no hidden one comes before a dense one, or the activation has no exact zeros: neither
    before training nor for inputs that are usual after it.
    """
    if architecture_of(spec).foreign:
        raise UsageError(
            f"--sparsity needs the hidden layers of one of relubench's own networks, not those of {spec.model}",
            "for example --model mlp-3x1000 --act relu",
        )
    layers = _dense_layers(spec, choice, prepared, None)
    usual = as_function(build(choice), torch.float32)(torch.linspace(-USUAL, USUAL, 1001))
    if max(map(_zeros, [usual, *(one.h for one in layers)])) * 100 < LEAST_ZEROS:
        raise UsageError(
            f"{spec.activation} has no exact zeros, so that there is nothing to leave out", "try --act relu"
        )


def hidden_layers(spec: RunSpec, choice: Choice, prepared: PreparedData, weights: bytes) -> list[Hidden]:
    """The dense hidden layers of a trained network whose output another dense layer reads.

    Raises UsageError where there is none, ComputeError where hardly any activation is zero.
    """
    found = _dense_layers(spec, choice, prepared, weights)
    if all(100 * _zeros(one.h) < LEAST_ZEROS for one in found):
        raise ComputeError(
            f"{spec.activation} has no exact zeros here, so that there is nothing to leave out", "try --act relu"
        )
    return found


def _dense_layers(spec: RunSpec, choice: Choice, prepared: PreparedData, weights: bytes | None) -> list[Hidden]:
    """The dense hidden layers before another dense one, at these weights or before training; UsageError for none."""
    images = Images.open(prepared, device="cpu", flat=not spec.channels)
    population = Population([spec], choice, images)
    if weights is not None:
        tensors, values = from_bytes(weights)
        population.load_weights(tensors, values.get("held", ()))
    x, _ = next(iter(images.slices("valid", max(IMAGES.values()))))
    found: list[Hidden] = []
    z = h = None
    with torch.no_grad():
        for layer in population.layers:
            if isinstance(layer, Linear) and z is not None and h is not None:
                place = f"{len(found) + 1}"
                found.append(Hidden(name=place, z=z, h=h, w_t=layer.weight.value.t().contiguous()))
            before = x.clone() if layer.hidden else x
            x = layer.forward(x, training=False)
            if layer.hidden and x.dim() == 2 and x.shape == before.shape:
                z, h = before, x.clone()
            elif not isinstance(layer, SignFlip | Dropout):
                z = h = None
    if not found:
        raise UsageError(
            f"--sparsity needs a hidden layer that a dense one follows; {spec.model} with {spec.activation} has none",
            "for example --model mlp-3x1000 --act relu",
        )
    return found


def settings(layers: Sequence[Hidden], choice: Choice, paper: float) -> list[Setting]:
    """Every layer as trained, then the largest product at each level of sparsity, for each batch."""
    widest = max(layers, key=lambda one: one.w_t.numel())
    f = as_function(build(choice), torch.float32)
    found: list[Setting] = []
    for batch in BATCHES:
        for one in layers:
            found.append(_setting("trained", one, one.h, batch))
        for level in sorted({*LEVELS, paper}):
            h = f(widest.z - _threshold(widest.z, level))
            found.append(_setting("shifted", widest, h, batch))
    return found


def sparsity_rows(session: Session, known: Sequence[Setting]) -> list[SparsityRow]:
    """A row for each setting, in their order."""
    return [_row(cell, one) for cell, one in zip(session.cells, known, strict=True)]


def break_even(made: Sequence[SparsityRow], way: str, batch: int) -> float | None:
    """The sparsity in per cent from which on this way is as fast as the dense product, or faster.

    Interpolated between the two levels around the last crossing; 0 where it is faster at every level, None where it is
    slower at the highest, and where the ratios have no interval.
    """
    key = f"{field(way)}_ratio"
    line = [
        (row.sparsity_pct, float(getattr(row, key)))
        for row in made
        if row.source == "shifted" and row.batch == batch and getattr(row, f"{field(way)}_verdict") is not None
    ]
    line.sort()
    if not line or line[-1][1] > 1:
        return None
    for (low, above), (high, below) in zip(reversed(line[:-1]), reversed(line[1:]), strict=True):
        if above > 1:
            return low + (high - low) * (above - 1) / (above - below)
    return 0.0


def field(way: str) -> str:
    """'csr, converted' as it stands in the names of keys."""
    return way.replace(", ", "_").replace(" ", "_")


def _setting(source: str, layer: Hidden, h: Tensor, batch: int) -> Setting:
    count = min(IMAGES[batch], len(h) // batch * batch) or len(h)
    batches = h[:count].split(batch)
    unused = sum(float((one == 0).all(0).float().mean()) for one in batches) / len(batches)
    load = Workload(name=f"{source} {layer.name}", batch=batch, batches=batches, w_t=layer.w_t)
    return Setting(
        source=source,
        layer=layer.name,
        sparsity_pct=100 * _zeros(h[:count]),
        zero_columns_pct=100 * unused,
        load=load,
    )


def _threshold(z: Tensor, level: float) -> Tensor | float:
    """What has to be subtracted for `level` per cent of z to be at or below zero."""
    flat = z.flatten()
    if level == 0:
        return float(flat.min()) - 1.0
    return flat.kthvalue(max(1, round(level / 100 * flat.numel()))).values


def _zeros(h: Tensor) -> float:
    return float((h == 0).to(torch.float64).mean())


def _row(cell: Cell, one: Setting) -> SparsityRow:
    inputs, outputs = one.load.w_t.shape
    failures = [f"{each.label}: {each.failure}" for each in cell.contestants if each.failure]
    facts: dict[str, Any] = {}
    band = rows.own_band(cell)
    for way in WAYS:
        mine = cell.one(way)
        if not mine.samples:
            continue
        facts[f"{field(way)}_us"] = timings.median(mine.samples).median / 1e3
        if way != products.BASE and cell.one(products.BASE).samples:
            ratio = cell.ratio(mine)
            facts |= {
                f"{field(way)}_ratio": ratio.median,
                f"{field(way)}_ratio_ci_low": ratio.low,
                f"{field(way)}_ratio_ci_high": ratio.high,
                f"{field(way)}_verdict": timings.verdict(ratio, band),
            }
    return SparsityRow(
        source=one.source,
        layer=one.layer,
        batch=one.load.batch,
        inputs=inputs,
        outputs=outputs,
        sparsity_pct=one.sparsity_pct,
        zero_columns_pct=one.zero_columns_pct,
        outcome="failed" if failures else "ok",
        message="; ".join(failures),
        **facts,
    )
