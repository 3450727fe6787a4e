"""The latent layer of a variational autoencoder: z = mu + exp(v / 2) e, e ~ N(0, 1) (Kingma & Welling 2014).

In training e comes from the member's own stream `latent`. In an evaluation it is fixed: example i of a part has the
same e for every network, whatever its activation, its seed and its batches, so that comparisons stay paired.

Shapes: P member, B batch, Z latents. One network drops P.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from relubench.models.layers.base import Layer, draw
from relubench.models.optimizers import Optimizer
from relubench.models.random_streams import MemberNoise, stream

EVALUATION_DRAWS = 10_000
"""Examples of a part that have a draw of their own; the next one has the first one's again."""

EVALUATION_SEED = 0
"""The draws belong to the examples, not to a network: they have one seed."""


class Sample(Layer):
    """z [(P,) B, Z] of mu and v, the log-variance, side by side [(P,) B, 2 Z], which it keeps for `WithLatents`."""

    in_loss = True

    def __init__(self, latents: int, noise: MemberNoise) -> None:
        self.latents, self.noise = latents, noise
        self.statistics = self.grad = self.spread = torch.empty(0)
        self.fixed = torch.empty(0)
        self.first_example = 0

    def evaluates_from(self, first_example: int) -> None:
        self.first_example = first_example

    def forward(self, x: Tensor, training: bool) -> Tensor:
        self.statistics = x
        mu, v = x.split(self.latents, dim=-1)
        assert self.noise is not None
        e = draw(self.noise, mu, _normal) if training else self._fixed_draws(mu)
        spread = torch.exp(0.5 * v) * e
        if training:
            self.spread = spread
        return mu + spread

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        """dL/dmu = g, dL/dv = g (z - mu) / 2, and what the loss takes of both directly."""
        return torch.cat([grad, 0.5 * grad * self.spread], dim=-1).add_(self.grad)

    def _fixed_draws(self, like: Tensor) -> Tensor:
        """The draws [B, Z] of the examples of an evaluated batch."""
        if not len(self.fixed):
            generator = stream(EVALUATION_SEED, "latent-evaluation")
            self.fixed = _normal((EVALUATION_DRAWS, self.latents), generator).to(like.device)
        rows = torch.arange(self.first_example, self.first_example + like.shape[-2], device=like.device)
        return self.fixed[rows % EVALUATION_DRAWS]


class WithLatents(Layer):
    """The outputs [(P,) B, D], then mu and v of the latents, which the loss needs: [(P,) B, D + 2 Z]."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample

    def forward(self, x: Tensor, training: bool) -> Tensor:
        statistics = self.sample.statistics
        self.sample.statistics = statistics.new_empty(0)
        return torch.cat([x, statistics], dim=-1)

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        outputs = grad.shape[-1] - 2 * self.sample.latents
        self.sample.grad = grad[..., outputs:]
        return grad[..., :outputs]


def _normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.empty(tuple(shape), device=generator.device).normal_(generator=generator)
