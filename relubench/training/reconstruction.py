"""The loss of a VAE; that of an autoencoder is the squared error (`training.squared_error`).

Shapes: P member, B batch, D pixels, Z latents. One network drops P where its training is concerned.
"""

from __future__ import annotations

import torch
from torch import Tensor


class NegativeElbo:
    """The negative evidence lower bound of a VAE in nats (Kingma & Welling 2014, arXiv 1312.6114, eq. 10).

    For x in [0, 1] it is sum softplus(a) - x a, the Bernoulli cross-entropy with logits a, plus the divergence of
    N(mu, exp(v)) from N(0, 1), 1/2 sum mu^2 + exp(v) - 1 - v. The network's outputs are a, mu and v side by side:
    [(P,) B, D + 2 Z]. The expectation over the latents is one draw of them: see `models.layers.latent`.
    """

    def targets(self, y: Tensor, outputs: int) -> Tensor:
        return y

    def gradient(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sigmoid(a) - x, mu, (exp(v) - 1) / 2) / B, and the outputs."""
        pixels, latents = target.shape[-1], (output.shape[-1] - target.shape[-1]) // 2
        a, mu, v = output.split((pixels, latents, latents), dim=-1)
        grads = torch.sigmoid(a).sub_(target), mu, torch.expm1(v).mul_(0.5)
        return torch.cat(grads, dim=-1).mul_(1.0 / target.shape[-2]), output

    def total(self, record: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:
        return self.losses(record, target).sum(dim=-1, dtype=dtype)

    def losses(self, output: Tensor, y: Tensor) -> Tensor:
        pixels, latents = y.shape[-1], (output.shape[-1] - y.shape[-1]) // 2
        a, mu, v = output.split((pixels, latents, latents), dim=-1)
        cross_entropy = (torch.nn.functional.softplus(a) - y * a).sum(dim=-1)
        return cross_entropy + 0.5 * (mu.square() + torch.expm1(v) - v).sum(dim=-1)

    def scores(self, output: Tensor, y: Tensor) -> Tensor:
        return self.losses(output, y)
