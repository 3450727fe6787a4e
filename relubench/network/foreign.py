"""A whole network that somebody else wrote as one layer: its own forward, its activations exchanged, autograd.

One network, never a stack. Its parameters share storage with the module's own, so that the optimizer's updates in place
are the module's. Chance inside the forward (dropout, stochastic depth) comes from the member's own generators, which
stand in for torch's global ones while the forward runs. Shapes: B batch, K classes; x [B, ...], output [B, K].
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from relubench.activations.definition import Activation
from relubench.memory import FOREIGN_EVALUATION_IMAGES
from relubench.network.exchange import Exchange, Use
from relubench.network.layers import Buffer, Layer
from relubench.network.optimizers import Optimizer, Parameter
from relubench.network.streams import MemberNoise, stream


class NetworkNoise(MemberNoise):
    """A member's generators for one network: of the processor and of the device, then one for each exchanged use."""

    def __init__(self, seed: int, uses: int, device: str) -> None:
        self.devices = ["cpu"] if device == "cpu" else ["cpu", device]
        self.chance = [stream(seed, "network", place, device=one) for place, one in enumerate(self.devices)]
        self.activations = [stream(seed, "activation", place, device=device) for place in range(uses)]
        self.generators = [*self.chance, *self.activations]

    def state(self) -> Tensor:
        return torch.cat([one.get_state() for one in self.generators])

    def load(self, state: Tensor) -> None:
        sizes = [len(one.get_state()) for one in self.generators]
        for generator, one in zip(self.generators, state.split(sizes), strict=True):
            generator.set_state(one.clone())

    @contextlib.contextmanager
    def standing_in(self) -> Iterator[None]:
        """Whatever draws from torch's global generators inside draws from these."""
        aside = [_global_state(one) for one in self.devices]
        for device, generator in zip(self.devices, self.chance, strict=True):
            _set_global_state(device, generator.get_state())
        try:
            yield
            for device, generator in zip(self.devices, self.chance, strict=True):
                generator.set_state(_global_state(device))
        finally:
            for device, state in zip(self.devices, aside, strict=True):
                _set_global_state(device, state)


class Foreign(Layer):
    """logits = network(x), with `activation` at every place of `uses` that is not kept.

    What an activation learns is its own at every place; so is a user's module, which `own` holds.
    """

    def __init__(
        self, network: nn.Module, uses: Sequence[Use], activation: Activation, seed: int, *, device: str, bf16: bool
    ) -> None:
        self.network, self.activation, self.bf16, self.device = network, activation, bf16, device
        exchanged = [use for use in uses if not use.kept]
        self.noise = self.chance = NetworkNoise(seed, len(exchanged) if activation.draw else 0, device)
        self.own = nn.ModuleDict()
        self.leaves: list[Tensor] = []
        self.parameters = self.trained = self._parameters()
        functions = [self._function(number, seed) for number in range(len(exchanged))]
        self.exchange = Exchange(network, uses, functions)
        self.y = torch.empty(0)
        self.zeros = torch.zeros(len(exchanged), dtype=torch.float32 if device == "mps" else torch.float64)

    @property
    def buffers(self) -> list[Buffer]:  # type: ignore[override]
        """As the modules hold them now: a forward may replace them."""
        return [Buffer(name, one) for module in (self.network, self.own) for name, one in module.named_buffers()]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if self.network.training != training:
            self.network.train(training)
            self.own.train(training)
        if training:
            with torch.enable_grad(), self.chance.standing_in():
                self.y = self._run(x)
            return self.y.detach()
        self.zeros = torch.zeros_like(self.zeros, device=x.device)
        self.exchange.zeros = torch.zeros_like(self.zeros)
        logits = []
        for part in x.split(FOREIGN_EVALUATION_IMAGES):
            logits.append(self._run(part))
            self.zeros += self.exchange.zeros * len(part)
            self.exchange.zeros.zero_()
        self.exchange.zeros = None
        return torch.cat(logits)

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        grads = torch.autograd.grad(self.y, self.leaves, grad, allow_unused=True, materialize_grads=True)
        for parameter, one in zip(self.parameters, grads, strict=True):
            update.gradient(parameter, one)
        self.y = grad
        return grad

    @property
    def zero_counts(self) -> Sequence[Tensor]:  # type: ignore[override]
        return list(self.zeros[:, None])

    def _run(self, x: Tensor) -> Tensor:
        self.exchange.places.start()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16), self.exchange:
            return self.network(x).float()

    def _parameters(self) -> list[Parameter]:
        """The network's own, but for those of activations that are exchanged (nn.PReLU's slope)."""
        return [
            self._parameter(name, one, decays=one.dim() > 1 and name.endswith("weight"))
            for path, module in self.network.named_modules()
            if not isinstance(module, nn.PReLU)
            for name, one in ((f"{path}.{name}".strip("."), one) for name, one in module._parameters.items())
            if one is not None and one.requires_grad and not any(one is leaf for leaf in self.leaves)
        ]

    def _parameter(self, name: str, leaf: Tensor, *, decays: bool = False) -> Parameter:
        self.leaves.append(leaf)
        return Parameter(name, leaf.detach(), decays)

    def _function(self, number: int, seed: int) -> Callable[[Tensor], Tensor]:
        """The activation at one place, with parameters, generator or module of its own."""
        activation, name = self.activation, f"activation-{number}"
        if activation.module is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(stream(seed, "init-module", number).initial_seed())
                module = self.own[name] = activation.module().to(self.device)
            self.trained += [self._parameter(f"{name}.{key}", one) for key, one in module.named_parameters()]
            return module
        learned = tuple(torch.full((1,), value, device=self.device, requires_grad=True) for value in activation.learned)
        self.trained += [self._parameter(f"{name}.{place}", one) for place, one in enumerate(learned)]

        def function(z: Tensor) -> Tensor:
            noise = None
            if activation.draw is not None and self.network.training:
                noise = activation.draw(z.shape, self.chance.activations[number])
            return activation.function(z, learned=learned, noise=noise)

        return function


def _global_state(device: str) -> Tensor:
    if device == "cuda":
        return torch.cuda.get_rng_state()
    return torch.mps.get_rng_state() if device == "mps" else torch.get_rng_state()


def _set_global_state(device: str, state: Tensor) -> None:
    if device == "cuda":
        torch.cuda.set_rng_state(state)
    elif device == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.set_rng_state(state)
