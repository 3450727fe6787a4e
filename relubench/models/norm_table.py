"""The normalisations between weights and activation, a row each. Torch-free.

A new normalisation is a class in `relubench.models.layers.normalisation` and a row here.
"""

from __future__ import annotations

from dataclasses import dataclass

SCALE, SHIFT = ("norm-scale", 1.0), ("norm-shift", 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class NormRow:
    """What configuration, parameter count and probes have to know of a normalisation."""

    target: str
    """"module:class" of its `relubench.models.layers.normalisation.Norm`; empty: there is none."""
    parameters: tuple[tuple[str, float], ...] = ()
    """Name and initial value of each number that every unit learns."""
    over_batch: bool = False
    """Whether it takes its statistics over the batch in training: then it cannot train on one image alone."""
    linear: bool = False
    """Whether it is linear in evaluation."""
    stream_target: str = ""
    """"module:class" of the same in front of a Transformer's layers; empty: there is none."""


NORMS: dict[str, NormRow] = {
    "none": NormRow(target="", linear=True),
    "batch": NormRow(
        target="relubench.models.layers.normalisation:BatchNorm",
        parameters=(SCALE, SHIFT),
        over_batch=True,
        linear=True,
    ),
    "layer": NormRow(
        target="relubench.models.layers.normalisation:LayerNorm",
        parameters=(SCALE, SHIFT),
        stream_target="relubench.models.layers.transformer:StreamLayerNorm",
    ),
    "rms": NormRow(
        target="relubench.models.layers.normalisation:RmsNorm",
        parameters=(SCALE,),
        stream_target="relubench.models.layers.transformer:StreamRms",
    ),
}
"""Value of `--norm` -> its row."""
