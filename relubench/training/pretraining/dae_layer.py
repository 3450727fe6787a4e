"""A hidden layer of a network, pre-trained as a denoising autoencoder.

The encoder is the network's own layer with its own initial weights. The target is the uncorrupted input, with the
signs of a flipped layer below taken back, mapped to 0..1 where the reconstruction asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from relubench.models.initialisation import init_scale
from relubench.models.layers.base import Layer
from relubench.models.random_streams import MemberNoise, stream
from relubench.runs.spec import RunSpec
from relubench.training.pretraining.denoising import Autoencoder, corrupt
from relubench.training.pretraining.source import AffineMap, Statistics

LEAST_MEAN = 0.001
"""A target that is nearly always 0, or 1 where that is the most, starts as one whose mean is this far from it."""


class DaeLayer:
    """The model that `greedy.LayerTraining` drives."""

    def __init__(
        self, spec: RunSpec, layer: int, encoder: Sequence[Layer], statistics: Statistics, signs: Tensor | None
    ) -> None:
        stack = spec.stack
        assert stack is not None
        self.spec, self.stack, self.layer, self.signs = spec, stack, layer, signs
        self.statistics, self.encoder = statistics, encoder
        self.target = target_map(stack.reconstruction[layer], statistics, signs)
        inputs, units = len(statistics.mean), spec.hidden[layer]
        self.autoencoder = Autoencoder(
            encoder,
            None if stack.tied else self._decoder(units, inputs),
            initial_bias(
                stack.reconstruction[layer], self.target(statistics.mean if signs is None else statistics.mean * signs)
            ),
            reconstruction=stack.reconstruction[layer],
            rate=stack.rates[layer],
            l1=stack.l1,
        )
        self.layers = encoder
        self.corruption = MemberNoise([spec.seed], "pretrain-corruption", layer, spec.device)
        self.noises = [self.corruption, *(stage.noise for stage in encoder if stage.noise is not None)]

    def _decoder(self, units: int, inputs: int) -> Tensor:
        _, bound = init_scale("xavier", units, inputs, 1.0)
        generator = stream(self.spec.seed, "pretrain-decoder", self.layer)
        return torch.empty(units, inputs).uniform_(-bound, bound, generator=generator).to(self.spec.device)

    def working(self) -> AbstractContextManager[None]:
        return nullcontext()

    def prepare(self, x: Tensor) -> tuple[Tensor, ...]:
        """The corrupted rows and the targets of a chunk, which `step` takes by batches."""
        return self._corrupt(x, self.corruption.generators[0]), self.target(x)

    def step(self, *rows: Tensor) -> Tensor:
        """One update; returns the sum of squared reconstruction errors."""
        noisy, target = rows
        return self.autoencoder.step(noisy, target)

    def squared_error(self, batches: Iterable[Tensor]) -> Iterable[Tensor]:
        """The squared errors [n, I] of each batch of the layer's inputs; their corruption is the same every time."""
        generator = stream(self.spec.seed, "pretrain-valid", self.layer, device=self.spec.device)
        for x in batches:
            yield (self.autoencoder.reconstruct(self._corrupt(x, generator)) - self.target(x)).square_()

    def free_energy(self, x: Tensor) -> Tensor | None:
        """None: an autoencoder has no free energy."""
        return None

    def network(self) -> dict[str, Tensor]:
        """The layer's parameters as the network has them, by name."""
        return {parameter.name: parameter.value.clone() for parameter in self.autoencoder.parameters}

    def reconstruction(self, x: Tensor) -> Tensor:
        """[n, I] in the network's own values, from an uncorrupted input."""
        r = self.autoencoder.reconstruct(x)
        r = r if self.target.shift is None else r - self.target.shift
        return r if self.target.factor is None else r / self.target.factor

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.autoencoder.tensors())

    def _corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        # Salt and pepper are the ends of the range before the flip; the other noises know no sign.
        signs = self.signs if self.stack.noise == "salt-pepper" else None
        low, high = self.statistics.low, self.statistics.high
        x = x if signs is None else x * signs
        noisy = corrupt(x, self.stack.noise, self.stack.corruption, low, high, generator)
        return noisy if signs is None else noisy * signs


def initial_bias(reconstruction: str, mean: Tensor) -> Tensor:
    """The decoder's biases [I] at which a code of nothing is reconstructed as the targets' mean.

    From zero, codes learn to be the mean first: on images with a bright ground all units are then always on.
    """
    if reconstruction in ("cross-entropy", "scaled"):
        return torch.logit(mean.clamp(LEAST_MEAN, 1.0 - LEAST_MEAN))
    if reconstruction == "softplus":
        return torch.log(torch.expm1(mean.clamp(min=LEAST_MEAN)))
    return mean.clone()


def target_map(reconstruction: str, statistics: Statistics, signs: Tensor | None) -> AffineMap:
    """The targets of the decoder, out of the network's values.

    Signs are taken back; then a bounded reconstruction's target is brought from -1..1 to 0..1 if any of it is negative,
    and that of `scaled` to 0..1 by its own range.
    """
    low, high = statistics.low, statistics.high
    factor, shift = 1.0, 0.0
    if reconstruction == "scaled":
        low = min(low, 0.0)
        factor = 1.0 / max(high - low, 1e-12)
        shift = -low * factor
    elif reconstruction != "linear" and low < 0.0:
        factor, shift = 0.5, 0.5
    if signs is None and factor == 1.0 and shift == 0.0:
        return AffineMap()
    base = torch.full_like(statistics.mean, factor)
    shifts = torch.full_like(base, shift) if shift else None
    return AffineMap(base if signs is None else base * signs, shifts)
