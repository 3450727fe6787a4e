"""A whole network that somebody else wrote as one layer: its own forward, its activations exchanged, autograd.

One network, never a stack. Its parameters share storage with the module's own, so that the optimizer's updates in place
are the module's. Chance inside the forward (dropout, stochastic depth) comes from the member's own generators, which
stand in for torch's global ones while the forward runs. Shapes: B batch, K classes; x [B, ...], output [B, K].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from relubench.activations.definition import Activation, trainable
from relubench.errors import ComputeError
from relubench.models.external.activation_swap import ActivationSwap
from relubench.models.external.calls import CallSite
from relubench.models.external.outputs import class_scores
from relubench.models.family import EXTERNAL_EVALUATION_IMAGES
from relubench.models.layers.base import Layer
from relubench.models.optimizers import Optimizer, Parameter
from relubench.models.random_streams import MemberNoise, StandIn, joined_states, load_joined_states, stream
from relubench.system.device_kinds import has_float64


class NetworkNoise(MemberNoise):
    """A member's generators for one network: what stands in for torch's own, then one for each exchanged use."""

    def __init__(self, seed: int, uses: int, device: str) -> None:
        self.chance = StandIn(seed, "network", device=device)
        self.activations = [stream(seed, "activation", place, device=device) for place in range(uses)]
        self.generators = [*self.chance.generators, *self.activations]

    def state(self) -> Tensor:
        return joined_states(self.generators)

    def load(self, state: Tensor) -> None:
        load_joined_states(self.generators, state)


@dataclass(frozen=True, slots=True)
class Form:
    """What the network asks for."""

    classes: int | None = None
    """The columns of its class scores, where it gives back other things beside."""
    contiguous: bool = False
    """Whether it takes images in rows only, not with their channels last."""
    pairs: bool = False
    """Whether it takes no image alone: then a lone one is evaluated beside itself."""
    merged: tuple[str, ...] = ()
    """See `calls.Places`."""


FREE = Form()

FOLLOWED_IN_PLACE = (torch.relu_, torch.sigmoid_, torch.tanh_)
"""Functions that write over their input, and whose gradients autograd takes from their results alone."""


class ExternalNetwork(Layer):
    """logits = network(x), with `activation` at every place of `uses` that is not kept.

    What an activation learns is its own at every place; so is a user's module, which `own` holds.
    """

    def __init__(
        self,
        network: nn.Module,
        uses: Sequence[CallSite],
        activation: Activation,
        seed: int,
        *,
        device: str,
        bf16: bool,
        form: Form = FREE,
    ) -> None:
        self.network, self.activation, self.bf16, self.device, self.form = network, activation, bf16, device, form
        exchanged = [use for use in uses if not use.kept]
        self.noise = self.draws = NetworkNoise(seed, len(exchanged) if activation.draw else 0, device)
        self.own = nn.ModuleDict()
        self.held = [(self.network, 0), (self.own, 0)]
        self.leaves: list[Tensor] = []
        self.parameters = self.trained = self._parameters()
        functions = [self._function(number, seed) for number in range(len(exchanged))]
        overwriting = activation.inplace if activation.inplace in FOLLOWED_IN_PLACE else None
        self.exchange = ActivationSwap(network, uses, functions, form.merged, overwriting)
        self.y = torch.empty(0)
        self.zeros = torch.zeros(len(exchanged), dtype=torch.float64 if has_float64(device) else torch.float32)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if self.network.training != training:
            self.network.train(training)
            self.own.train(training)
        if training:
            with torch.enable_grad(), self.draws.chance.standing_in():
                self.y = self._run(x)
            return self.y.detach()
        self.zeros = torch.zeros_like(self.zeros, device=x.device)
        self.exchange.zeros = torch.zeros_like(self.zeros)
        logits = []
        for part in x.split(EXTERNAL_EVALUATION_IMAGES):
            lone = self.form.pairs and len(part) == 1
            logits.append(self._run(part.repeat(2, *[1] * (part.dim() - 1)))[:1] if lone else self._run(part))
            self.zeros += self.exchange.zeros * len(part)
            self.exchange.zeros.zero_()
        self.exchange.zeros = None
        return torch.cat(logits)

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        grads = torch.autograd.grad(self.y, self.leaves, grad, allow_unused=True, materialize_grads=True)
        for parameter, grad_of_parameter in zip(self.parameters, grads, strict=True):
            update.gradient(parameter, grad_of_parameter)
        self.y = grad
        return grad

    @property
    def zero_counts(self) -> Sequence[Tensor]:  # type: ignore[override]
        return list(self.zeros[:, None])

    def _run(self, x: Tensor) -> Tensor:
        self.exchange.start()
        x = x.contiguous() if self.form.contiguous else x
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16), self.exchange:
            y = class_scores(self.network(x), len(x), self.form.classes)
        self.exchange.finish()
        if y is None:
            raise ComputeError("the network gave no class scores", "return class scores [B, K] for every batch")
        return y.float()

    def _parameters(self) -> list[Parameter]:
        """The network's own, but for those of activations that are exchanged (nn.PReLU's slope)."""
        return [
            self._parameter(name, parameter, decays=parameter.dim() > 1 and name.endswith("weight"))
            for path, module in self.network.named_modules()
            if not isinstance(module, nn.PReLU)
            for name, parameter in (
                (f"{path}.{name}".strip("."), parameter) for name, parameter in module._parameters.items()
            )
            if parameter is not None and parameter.requires_grad and not any(parameter is leaf for leaf in self.leaves)
        ]

    def _parameter(self, name: str, leaf: Tensor, *, decays: bool = False, learned: bool = False) -> Parameter:
        self.leaves.append(leaf)
        return Parameter(name, leaf.detach(), decays, learned)

    def _function(self, number: int, seed: int) -> Callable[[Tensor], Tensor]:
        """The activation at one place, with parameters, generator or module of its own."""
        activation, name = self.activation, f"activation-{number}"
        if activation.module is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(stream(seed, "init-module", number).initial_seed())
                module = self.own[name] = activation.module().to(self.device)
            self.trained += [
                self._parameter(f"{name}.{key}", parameter, learned=True)
                for key, parameter in trainable(module).items()
            ]
            return module
        learned = tuple(torch.full((1,), value, device=self.device, requires_grad=True) for value in activation.learned)
        self.trained += [
            self._parameter(f"{name}.{place}", parameter, learned=True) for place, parameter in enumerate(learned)
        ]

        def function(z: Tensor) -> Tensor:
            noise = None
            if activation.draw is not None and self.network.training:
                noise = activation.draw(z.shape, self.draws.activations[number])
            return activation.function(z, learned=learned, noise=noise)

        return function
