"""A toy of each kind of part, as somebody would add it: its code, and its row of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from relubench.data.files.locate import SourceFiles
from relubench.data.source_row import SourceRow
from relubench.data.split_arrays import SplitArrays
from relubench.models.layers.dense import Linear
from relubench.models.layers.normalisation import Norm
from relubench.models.norm_table import SCALE, NormRow
from relubench.models.optimizer_table import OptimizerRow
from relubench.models.optimizers import Optimizer, Parameter
from relubench.training.member import Member
from relubench.training.probes.base import Probe
from relubench.training.probes.table import ProbeRow


class SignSgd(Optimizer):
    """w <- w - lr sign(g) (Bernstein et al. 2018)."""

    def gradient(self, parameter: Parameter, grad: Tensor) -> None:
        parameter.value.sub_(torch.sign(grad) * self.rate_of(parameter.value))


SIGN = OptimizerRow(target="toy_parts:SignSgd", rate=0.001, rates=(0.01, 0.001))


class ScaleNorm(Norm):
    """scale x, which normalises nothing."""

    def apply(self, x: Tensor, leaves: Sequence[Tensor], training: bool) -> Tensor:
        return x * self.spread(leaves[0])

    def linear(self) -> tuple[Tensor, Tensor]:
        scale = self.parameters[0].value.detach().to("cpu", torch.float64)
        return scale, torch.zeros_like(scale)


SCALED = NormRow(target="toy_parts:ScaleNorm", parameters=(SCALE,), linear=True)


class WeightProbe(Probe):
    """The largest weight of the first layer, by its absolute value."""

    def measure(self, epoch: int, running: Mapping[int, Member]) -> None:
        first = next(layer for layer in self.population.layers if isinstance(layer, Linear))
        weights = first.weight.value.reshape(len(self.population.members), -1)
        for place, member in running.items():
            member.measure("largest_weight", epoch, float(weights[place].abs().max()))


WEIGHTS = ProbeRow(target="toy_parts:WeightProbe", measures=("largest_weight",))


def load(row: SourceRow, source: SourceFiles, work: Path) -> SplitArrays:
    """Two clouds of points in the plane, one a class."""
    del source, work
    draw, parts = np.random.default_rng(0), {}
    for split, size in (("train", row.n_train), ("valid", row.n_valid), ("test", row.n_test)):
        y = parts[f"y_{split}"] = np.arange(size) % 2
        parts[f"x_{split}"] = (draw.normal(size=(size, 2)) + 4 * y[:, None]).astype(np.float32)
    return SplitArrays(**parts, classes=2, scale=1.0, note=row.split)


BLOBS = SourceRow(
    name="blobs",
    description="two clouds of points in the plane",
    classes=2,
    input_shape=(2,),
    n_train=300,
    n_valid=50,
    n_test=50,
    split="drawn, 300, 50 and 50",
    citation="nobody",
    url="",
    target="toy_parts:load",
    package="toy_parts",
    folders=(".",),
    file_sets=((),),
)
