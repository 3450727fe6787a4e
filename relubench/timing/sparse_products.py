"""The gain from sparsity: a trained network's activations times the next layer's weights, with and without the zeros.

The activations are those of validation images with the best epoch's weights, as trained, and again with a moved bias,
f(z - c), so that more or fewer of them are zero. That gives the time against the sparsity, and the break-even point of
each method.

Shapes: N images, B batch, I units of the hidden layer, O of the next; z and h [N, I], w_t [I, O].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from relubench.activations import ActivationChoice, build
from relubench.activations.builder import as_function
from relubench.data import PreparedData
from relubench.errors import ComputeError, UsageError
from relubench.models.families import family_of
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
"""Images that a sample multiplies, batch after batch, so that the result depends on many images' zeros."""

RATIO_ROUNDS = 2
"""Rounds from which on a ratio is given: of a single one nobody knows how far chance has moved it."""

LEVELS = (0.0, 25.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 98.0, 99.0)
"""Percentages of zeros for which the bias is moved, besides the paper's."""

LEAST_ZEROS = 1.0
"""The least percentage of zeros for which an activation counts as sparse."""

USUAL = 4.0
"""Pre-activations up to this size are usual; far below it smooth activations underflow to zero."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hidden:
    """One hidden layer of the trained network, and the weights of the next layer."""

    name: str
    z: Tensor
    h: Tensor
    w_t: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class SparsityRow:
    """One layer, batch size and sparsity: microseconds an image, and ratios to the dense product. Missing is None."""

    source: str
    """trained: the activations as trained; shifted: with a moved bias."""
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
    """The product of one cell, described in words and numbers."""

    source: str
    layer: str
    sparsity_pct: float
    zero_columns_pct: float
    load: Workload


def check_layers(spec: RunSpec, choice: ActivationChoice, prepared: PreparedData) -> None:
    """Raises UsageError, before anything is trained, for a network without a layer whose zeros could be left out.

    That is so if its layers are not known, if no hidden layer comes before a dense one, or if the activation has no
    exact zeros, neither before training nor for inputs that are usual after it.
    """
    if not family_of(spec.model).can("l1"):
        raise UsageError(
            f"--sparsity needs the hidden layers of one of relubench's own networks, not those of {spec.model}",
            "for example --model mlp-3x1000 --act relu",
        )
    layers = _dense_layers(spec, choice, prepared, None)
    usual = as_function(build(choice), torch.float32)(torch.linspace(-USUAL, USUAL, 1001))
    if max(map(_share_of_zeros, [usual, *(layer.h for layer in layers)])) * 100 < LEAST_ZEROS:
        raise UsageError(
            f"{spec.activation} has no exact zeros, so that there is nothing to leave out", "try --act relu"
        )


def hidden_layers(spec: RunSpec, choice: ActivationChoice, prepared: PreparedData, weights: bytes) -> list[Hidden]:
    """The dense hidden layers of a trained network whose output another dense layer reads.

    Raises UsageError where there is none, ComputeError where hardly any activation is zero.
    """
    layers = _dense_layers(spec, choice, prepared, weights)
    if all(100 * _share_of_zeros(layer.h) < LEAST_ZEROS for layer in layers):
        raise ComputeError(
            f"{spec.activation} has no exact zeros here, so that there is nothing to leave out", "try --act relu"
        )
    return layers


def _dense_layers(
    spec: RunSpec, choice: ActivationChoice, prepared: PreparedData, weights: bytes | None
) -> list[Hidden]:
    """The dense hidden layers before a dense one, with these weights or before training; UsageError if none."""
    images = Images.open(prepared, device="cpu", flat=not family_of(spec.model).can("images"))
    population = Population([spec], choice, images)
    if weights is not None:
        tensors, values = from_bytes(weights)
        population.load_weights(tensors, values.get("held", ()))
    x, _ = next(iter(images.slices("valid", max(IMAGES.values()))))
    hidden_layers: list[Hidden] = []
    z = h = None
    with torch.no_grad():
        for layer in population.layers:
            if isinstance(layer, Linear) and z is not None and h is not None:
                name = f"{len(hidden_layers) + 1}"
                hidden_layers.append(Hidden(name=name, z=z, h=h, w_t=layer.weight.value.t().contiguous()))
            previous = x.clone() if layer.hidden else x
            x = layer.forward(x, training=False)
            if layer.hidden and x.dim() == 2 and x.shape == previous.shape:
                z, h = previous, x.clone()
            elif not isinstance(layer, SignFlip | Dropout):
                z = h = None
    if not hidden_layers:
        raise UsageError(
            f"--sparsity needs a hidden layer that a dense one follows; {spec.model} with {spec.activation} has none",
            "for example --model mlp-3x1000 --act relu",
        )
    return hidden_layers


def settings(layers: Sequence[Hidden], choice: ActivationChoice, paper: float) -> list[Setting]:
    """The products to time, for each batch size: every layer as trained, then the largest at each sparsity."""
    widest = max(layers, key=lambda layer: layer.w_t.numel())
    f = as_function(build(choice), torch.float32)
    settings: list[Setting] = []
    for batch in BATCHES:
        for layer in layers:
            settings.append(_setting("trained", layer, layer.h, batch))
        for level in sorted({*LEVELS, paper}):
            h = f(widest.z - _threshold(widest.z, level))
            settings.append(_setting("shifted", widest, h, batch))
    return settings


def sparsity_rows(session: Session, settings: Sequence[Setting]) -> list[SparsityRow]:
    """A row for each setting, in their order."""
    return [_row(cell, setting) for cell, setting in zip(session.cells, settings, strict=True)]


def break_even(rows: Sequence[SparsityRow], way: str, batch: int) -> float | None:
    """The sparsity in per cent from which on this method is as fast as the dense product, or faster.

    Interpolated between the two levels around the last crossing; 0 where it is faster at every level, None where it is
    slower at the highest, and where the ratios have no interval.
    """
    key = f"{key_name(way)}_ratio"
    curve = [
        (row.sparsity_pct, float(getattr(row, key)))
        for row in rows
        if row.source == "shifted" and row.batch == batch and getattr(row, f"{key_name(way)}_verdict") is not None
    ]
    curve.sort()
    if not curve or curve[-1][1] > 1:
        return None
    for (low, ratio_below), (high, ratio_above) in zip(reversed(curve[:-1]), reversed(curve[1:]), strict=True):
        if ratio_below > 1:
            return low + (high - low) * (ratio_below - 1) / (ratio_below - ratio_above)
    return 0.0


def key_name(way: str) -> str:
    """The method's name as it is in keys: 'csr, converted' gives 'csr_converted'."""
    return way.replace(", ", "_").replace(" ", "_")


def _setting(source: str, layer: Hidden, h: Tensor, batch: int) -> Setting:
    count = min(IMAGES[batch], len(h) // batch * batch) or len(h)
    batches = h[:count].split(batch)
    unused = sum(float((batch_h == 0).all(0).float().mean()) for batch_h in batches) / len(batches)
    load = Workload(name=f"{source} {layer.name}", batch=batch, batches=batches, w_t=layer.w_t)
    return Setting(
        source=source,
        layer=layer.name,
        sparsity_pct=100 * _share_of_zeros(h[:count]),
        zero_columns_pct=100 * unused,
        load=load,
    )


def _threshold(z: Tensor, level: float) -> Tensor | float:
    """The constant to subtract so that `level` per cent of z are at or below zero."""
    flat = z.flatten()
    if level == 0:
        return float(flat.min()) - 1.0
    return flat.kthvalue(max(1, round(level / 100 * flat.numel()))).values


def _share_of_zeros(h: Tensor) -> float:
    return float((h == 0).to(torch.float64).mean())


def _row(cell: Cell, setting: Setting) -> SparsityRow:
    inputs, outputs = setting.load.w_t.shape
    failures = [f"{candidate.label}: {candidate.failure}" for candidate in cell.candidates if candidate.failure]
    facts: dict[str, Any] = {}
    band = rows.own_band(cell)
    for way in WAYS:
        candidate = cell.candidate(way)
        if not candidate.samples:
            continue
        facts[f"{key_name(way)}_us"] = timings.median(candidate.samples).median / 1e3
        base_samples = cell.candidate(products.BASE).samples
        if way != products.BASE and min(len(candidate.samples), len(base_samples)) >= RATIO_ROUNDS:
            ratio = cell.ratio(candidate)
            facts |= {
                f"{key_name(way)}_ratio": ratio.median,
                f"{key_name(way)}_ratio_ci_low": ratio.low,
                f"{key_name(way)}_ratio_ci_high": ratio.high,
                f"{key_name(way)}_verdict": timings.verdict(ratio, band),
            }
    return SparsityRow(
        source=setting.source,
        layer=setting.layer,
        batch=setting.load.batch,
        inputs=inputs,
        outputs=outputs,
        sparsity_pct=setting.sparsity_pct,
        zero_columns_pct=setting.zero_columns_pct,
        outcome="failed" if failures else "ok",
        message="; ".join(failures),
        **facts,
    )
