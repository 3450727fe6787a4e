"""Updates, fused with the gradient's product where the rule allows it.

The gradient of a weight matrix is a product, delta^T x. Plain SGD never materialises it: `addmm_` adds the product to
the weights in one pass, which at a batch of 10 is most of what there is to win, since there the traffic of the weights
is the cost. Every update exists in two forms: for one network (factors are Python numbers) and for a stack of P
networks (factors are tensors [P, 1, 1], one a member).

Shapes: P member, B batch, I/O features in/out. One network drops P.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from relubench.models.optimizer_table import OPTIMIZERS
from relubench.system.lookup import load_target

ADAM_BETAS, ADAM_EPS = (0.9, 0.999), 1e-8
"""Kingma & Ba 2015, section 2."""


@dataclass(slots=True)
class Parameter:
    """A trained tensor, with the state that the optimizer keeps for it."""

    name: str
    value: Tensor
    decays: bool
    """Whether weight decay applies: to weights, not to biases, norms and learned activations."""
    learned: bool = False
    """Whether an activation learns it: then it may have a learning rate of its own."""
    state: dict[str, Tensor] = field(default_factory=dict)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Everything that a checkpoint holds of it."""
        yield self.name, self.value
        for key, value in self.state.items():
            yield f"{self.name}/{key}", value


class Optimizer(ABC):
    """Updates parameters, given each gradient as soon as it is known: by `product` as its two factors, else whole.

    `rates` are the members' learning rates; `set_factor` scales them all, step by step. `learned_rate` is that of what
    activations learn, the same in every member; None: the members' own.
    """

    learned_rate: float | None = None

    def __init__(
        self, parameters: Sequence[Parameter], rates: Sequence[float], momentum: float, decay: float, batched: bool
    ) -> None:
        self.parameters, self.rates = list(parameters), list(rates)
        self.momentum, self.decay, self.batched = momentum, decay, batched
        self.lr = self.rates[0]
        self.factor: float | Tensor = 1.0
        self.base_P = torch.tensor(self.rates, device=parameters[0].value.device)
        self.lr_P = self.base_P.clone()

    def set_factor(self, factor: float | Tensor) -> None:
        """Make this step's learning rates `factor` times the configured ones; a tensor [] only in a stack."""
        self.factor = factor
        if isinstance(factor, float):
            self.lr = self.rates[0] * factor
        if self.batched:
            torch.mul(self.base_P, factor, out=self.lr_P)

    def rate_of(self, w: Tensor) -> float | Tensor:
        """This step's learning rate for w: a number, or in a stack a tensor [P, 1, ...] that lies along w."""
        return self.lr_P.view(-1, *[1] * (w.dim() - 1)) if self.batched else self.lr

    def rate_for(self, parameter: Parameter) -> float | Tensor:
        """This step's learning rate for a parameter, as `rate_of` gives it."""
        if parameter.learned and self.learned_rate is not None:
            return self.factor * self.learned_rate
        return self.rate_of(parameter.value)

    def product(self, parameter: Parameter, delta: Tensor, x: Tensor) -> None:
        """Take the gradient of weights [O, I], delta^T x of delta [B, O] and x [B, I] (each with P in a stack)."""
        self.gradient(parameter, torch.matmul(delta.mT, x))

    @abstractmethod
    def gradient(self, parameter: Parameter, grad: Tensor) -> None:
        """Take the gradient of a parameter, of its own shape."""

    def finish(self) -> None:
        """Do what is left to do at the end of a step."""
        return


class Sgd(Optimizer):
    """w <- (1 - lr*decay)*w - lr*g; with momentum v <- m*v + g + decay*w and w <- w - lr*v (as torch.optim.SGD)."""

    def __init__(
        self, parameters: Sequence[Parameter], rates: Sequence[float], momentum: float, decay: float, batched: bool
    ) -> None:
        super().__init__(parameters, rates, momentum, decay, batched)
        if momentum:
            for parameter in parameters:
                parameter.state["velocity"] = torch.zeros_like(parameter.value)

    def product(self, parameter: Parameter, delta: Tensor, x: Tensor) -> None:
        """Update weights by their gradient, which is made only where it has to be."""
        decay = self.decay if parameter.decays else 0.0
        if self.batched:
            return self._stacked_product(parameter, delta, x, decay)
        w = parameter.value
        if not self.momentum:
            w.addmm_(delta.t(), x, beta=1.0 - self.lr * decay, alpha=-self.lr)
            return None
        velocity = parameter.state["velocity"].addmm_(delta.t(), x, beta=self.momentum)
        if decay:
            velocity.add_(w, alpha=decay)
        w.add_(velocity, alpha=-self.lr)
        return None

    def _stacked_product(self, parameter: Parameter, delta: Tensor, x: Tensor, decay: float) -> None:
        w = parameter.value
        if self.momentum:
            velocity = parameter.state["velocity"].baddbmm_(delta.transpose(1, 2), x, beta=self.momentum)
            if decay:
                velocity.add_(w, alpha=decay)
            w.sub_(velocity * self.rate_of(w))
            return
        if decay:
            w.mul_(1.0 - self.rate_of(w) * decay)
        w.baddbmm_((delta * -self.rate_of(w)).transpose(1, 2), x)

    def gradient(self, parameter: Parameter, grad: Tensor) -> None:
        decay = self.decay if parameter.decays else 0.0
        w = parameter.value
        if self.momentum:
            velocity = parameter.state["velocity"].mul_(self.momentum).add_(grad)
            if decay:
                velocity.add_(w, alpha=decay)
            grad, decay = velocity, 0.0
        lr = self.rate_for(parameter)
        if decay:
            w.mul_(1.0 - lr * decay)
        if isinstance(lr, Tensor):
            w.sub_(grad * lr)
        else:
            w.add_(grad, alpha=-lr)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015), as in torch.optim; `decoupled`: its decay is no part of the gradient."""

    def __init__(
        self,
        parameters: Sequence[Parameter],
        rates: Sequence[float],
        momentum: float,
        decay: float,
        batched: bool,
        decoupled: bool = False,
    ) -> None:
        super().__init__(parameters, rates, momentum, decay, batched)
        self.decoupled = decoupled
        self.grads = [torch.zeros_like(parameter.value) for parameter in parameters]
        self.place = {id(parameter): place for place, parameter in enumerate(parameters)}
        for parameter in parameters:
            parameter.state["mean"] = torch.zeros_like(parameter.value)
            parameter.state["square"] = torch.zeros_like(parameter.value)
            parameter.state["steps"] = torch.zeros((), device=parameter.value.device)

    def product(self, parameter: Parameter, delta: Tensor, x: Tensor) -> None:
        """Keep the gradient of weights for `finish`."""
        grad = self.grads[self.place[id(parameter)]]
        if self.batched:
            torch.bmm(delta.transpose(1, 2), x, out=grad)
        else:
            torch.mm(delta.t(), x, out=grad)

    def gradient(self, parameter: Parameter, grad: Tensor) -> None:
        """Keep the gradient of a parameter for `finish`."""
        self.grads[self.place[id(parameter)]].copy_(grad)

    def finish(self) -> None:
        """Update every parameter by the gradients of this step."""
        apart = self.learned_rate is not None
        for decays, learned in ((True, False), (False, False), (False, True)):
            chosen = [
                place
                for place, parameter in enumerate(self.parameters)
                if parameter.decays == decays and (parameter.learned and apart) == learned
            ]
            if chosen:
                update = self._finish_stacked if self.batched else self._finish_fused
                update(chosen, self.decay if decays else 0.0)

    def _finish_fused(self, chosen: list[int], decay: float) -> None:
        states = [self.parameters[place].state for place in chosen]
        steps = [state["steps"] for state in states]
        for step in steps:
            step.add_(1.0)
        # What torch.optim's fused=True calls: its own step() imports the compiler first, for a second or more.
        fused = torch.ops.aten._fused_adamw_ if self.decoupled else torch.ops.aten._fused_adam_
        fused(
            [self.parameters[place].value for place in chosen],
            [self.grads[place] for place in chosen],
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            steps,
            lr=float(self.rate_for(self.parameters[chosen[0]])),
            beta1=ADAM_BETAS[0],
            beta2=ADAM_BETAS[1],
            weight_decay=decay,
            eps=ADAM_EPS,
            amsgrad=False,
            maximize=False,
        )

    def _finish_stacked(self, chosen: list[int], decay: float) -> None:
        for place in chosen:
            parameter, grad = self.parameters[place], self.grads[place]
            w, state = parameter.value, parameter.state
            lr = self.rate_for(parameter)
            steps = state["steps"].add_(1.0)
            if decay and self.decoupled:
                w.mul_(1.0 - lr * decay)
            elif decay:
                grad = grad + decay * w
            mean = state["mean"].lerp_(grad, 1.0 - ADAM_BETAS[0])
            square = state["square"].mul_(ADAM_BETAS[1]).addcmul_(grad, grad, value=1.0 - ADAM_BETAS[1])
            corrected = (square / (1.0 - ADAM_BETAS[1] ** steps)).sqrt_().add_(ADAM_EPS)
            w.sub_(mean / (1.0 - ADAM_BETAS[0] ** steps) * lr / corrected)


adamw = functools.partial(Adam, decoupled=True)
"""Adam with decoupled decay (Loshchilov & Hutter 2019), as in torch.optim."""


def build_optimizer(
    parameters: Sequence[Parameter],
    *,
    name: str,
    rates: Sequence[float],
    momentum: float,
    decay: float,
    batched: bool,
    learned_rate: float | None = None,
) -> Optimizer:
    """The optimizer of that name with one learning rate a member; what activations learn may have its own."""
    optimizer: Optimizer = load_target(OPTIMIZERS[name].target)(parameters, rates, momentum, decay, batched)
    optimizer.learned_rate = learned_rate
    return optimizer
