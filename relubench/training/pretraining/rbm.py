"""A restricted Boltzmann machine, trained by contrastive divergence (CD-k, Hinton 2002).

    p(h | v): units that see x = v W^T + b;  p(v | h): units that see a = h W + c
    F(v) = energy(v) - sum_j log_partition_j(x_j)
    W += rate/B * (h0^T v0 - hk^T vk), and b and c alike

The statistics use the hidden units' means, the chain their samples. Both outer products are one product of 2B rows that
is added to the weights in place, so that they are read and written once.

Shapes: B batch, I visible units, O hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from relubench.models.matmul import Library, evaluated
from relubench.training.pretraining.units import HIDDEN, VISIBLE


class Rbm:
    """Weights [O, I], hidden biases [O] and visible biases [I], which `step` changes in place."""

    def __init__(
        self,
        weight: Tensor,
        hidden_bias: Tensor,
        visible_bias: Tensor,
        *,
        hidden: str,
        visible: str,
        library: Library = "torch",
    ) -> None:
        """`library`: who multiplies, updates aside."""
        self.weight, self.hidden_bias, self.visible_bias = weight, hidden_bias, visible_bias
        self.library: Library = library
        self.hidden, self.visible = HIDDEN[hidden], VISIBLE[visible]
        self.rows: dict[int, tuple[Tensor, Tensor]] = {}

    def hidden_mean(self, v: Tensor) -> Tensor:
        """E[h | v] [B, O]."""
        return self.hidden.mean(self._up(v))

    def visible_mean(self, h: Tensor) -> Tensor:
        """E[v | h] [B, I]."""
        return self.visible.mean(self._down(h))

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) [B], in nats: -log of the unnormalised probability of v."""
        x = self._up(v)
        return self.visible.energy(v, self.visible_bias) - self.hidden.log_partition(x).sum(dim=-1)

    def reconstruction(self, v: Tensor) -> Tensor:
        """One pass up and down with means, [B, I]."""
        return self.visible_mean(self.hidden_mean(v))

    def statistics(self, v0: Tensor, *, k: int, sampled: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Visible rows [2B, I] and hidden rows [2B, O] with a minus for the chain's end: CD-k's gradient is h^T v.

        `sampled`: whether the last visible units are drawn; else they are their mean, which is what CD-1 is mostly used
        with (Hinton 2010, section 3). Those before the last are drawn in any case.
        """
        batch = len(v0)
        v, h = self._storage(v0)
        v[:batch].copy_(v0)
        visible = v[:batch]
        for step in range(k + 1):
            x = self._up(visible)
            mean = self.hidden.mean(x)
            if step == 0:
                h[:batch].copy_(mean)
            if step == k:
                torch.neg(mean, out=h[batch:])
                break
            samples = self.hidden.sample(x, mean, generator)
            a = self._down(samples)
            visible = self.visible.mean(a)
            if sampled or step < k - 1:
                visible = self.visible.sample(a, visible, generator)
        v[batch:].copy_(visible)
        return v, h

    def _up(self, v: Tensor) -> Tensor:
        return evaluated(self.library, v, self.weight, self.hidden_bias)

    def _down(self, h: Tensor) -> Tensor:
        return evaluated(self.library, h, self.weight.t(), self.visible_bias)

    def _storage(self, v0: Tensor) -> tuple[Tensor, Tensor]:
        batch = len(v0)
        if batch not in self.rows:
            outputs, inputs = self.weight.shape
            self.rows[batch] = v0.new_empty(2 * batch, inputs), v0.new_empty(2 * batch, outputs)
        return self.rows[batch]


class ContrastiveDivergence:
    """Trains an Rbm, a batch at a time."""

    def __init__(
        self,
        rbm: Rbm,
        *,
        rate: float,
        k: int = 1,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        sampled: bool = False,
        generator: torch.Generator,
    ) -> None:
        self.rbm, self.rate, self.k, self.sampled = rbm, rate, k, sampled
        self.momentum, self.weight_decay, self.generator = momentum, weight_decay, generator
        values = (rbm.weight, rbm.hidden_bias, rbm.visible_bias)
        self.velocity = [torch.zeros_like(value) for value in values] if momentum else []

    def step(self, v0: Tensor) -> Tensor:
        """One update on a batch [B, I]; returns the sum of squared reconstruction errors []."""
        batch = len(v0)
        v, h = self.rbm.statistics(v0, k=self.k, sampled=self.sampled, generator=self.generator)
        change = v[:batch] - v[batch:]
        biases = h.sum(dim=0), change.sum(dim=0)
        error = torch.dot(change.view(-1), change.view(-1))
        self._update(h, v, biases, 1.0 / batch)
        return error

    def _update(self, h: Tensor, v: Tensor, biases: tuple[Tensor, Tensor], scale: float) -> None:
        rbm, rate, decay = self.rbm, self.rate, self.weight_decay
        if not self.momentum:
            rbm.weight.addmm_(h.t(), v, beta=1.0 - rate * decay, alpha=rate * scale)
            rbm.hidden_bias.add_(biases[0], alpha=rate * scale)
            rbm.visible_bias.add_(biases[1], alpha=rate * scale)
            return
        weight, *bias = self.velocity
        weight.addmm_(h.t(), v, beta=self.momentum, alpha=scale)
        if decay:
            weight.add_(rbm.weight, alpha=-decay)
        rbm.weight.add_(weight, alpha=rate)
        for value, velocity, gradient in zip((rbm.hidden_bias, rbm.visible_bias), bias, biases, strict=True):
            value.add_(velocity.mul_(self.momentum).add_(gradient, alpha=scale), alpha=rate)

    def tensors(self) -> Mapping[str, Tensor]:
        """All that a checkpoint holds, the generator aside."""
        tensors = {"weight": self.rbm.weight, "bias": self.rbm.hidden_bias, "visible-bias": self.rbm.visible_bias}
        return tensors | {f"velocity/{place}": velocity for place, velocity in enumerate(self.velocity)}
