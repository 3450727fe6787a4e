"""Times the backends of dense layers against each other on this machine: a few steps of the real layers, in turn.

Shapes: B batch, I/O features in/out of a layer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from relubench.activations import build, select
from relubench.models.backends.kept import Timings
from relubench.models.backends.question import LARGE, Question, candidates
from relubench.models.layers.activation import AnalyticActivation
from relubench.models.layers.base import Layer
from relubench.models.layers.dense import Linear
from relubench.models.matmul import evaluated, has_onednn, library
from relubench.models.optimizers import Parameter, Sgd
from relubench.training.pretraining.rbm import ContrastiveDivergence, Rbm
from relubench.training.pretraining.rbm_kernels import KernelDivergence
from relubench.training.pretraining.rbm_layer import SPARSE

BUDGET_S = 0.4
"""Seconds of timing backends; each has one turn of two steps whatever that takes."""

EVALUATION_BUDGET_S = 0.1
"""The same of timing libraries."""

MAX_TURNS = 40

HOPELESS = 1.5
"""A backend that takes so many times the fastest one's time has no third turn."""

EVALUATION_IMAGES = 256
"""Rows of an evaluation that is timed."""

RATE = 1e-6
"""The learning rate: numbers stay as they are."""

SETTLE_S = 0.01
"""Seconds before kernels are timed on several threads: PyTorch's threads look for work for so long after their last,
which they never do while kernels train."""


Clock = Callable[[], float]
"""Seconds. For one thread those that it has had of a processor, which nobody else lengthens; else the clock's."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Layers that are trained by one backend."""

    step: Callable[[], object]
    working: Callable[[], AbstractContextManager[None]] = nullcontext
    """What steps are taken in."""
    settle: float = 0.0
    """Seconds to wait before."""

    def seconds(self, clock: Clock) -> float:
        """The seconds of a step, after one that wakes threads and makes storage."""
        time.sleep(self.settle)
        with self.working():
            self.step()
            start = clock()
            self.step()
            return clock() - start


Trials = Sequence[Trial]
"""What one backend is timed by, one after the other."""


@torch.no_grad()
def measure(question: Question, device_name: str) -> Timings:
    """Seconds of a step by each backend that there is here, and of an evaluation by each library."""
    backends = [backend for backend in candidates(question, device_name) if backend != "onednn" or has_onednn()]
    libraries = [backend for backend in backends if backend in ("torch", "onednn")]
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, question.threads))
    try:
        clock = time.thread_time if question.threads <= 1 else time.perf_counter
        training = fastest_turns({backend: _trials(question, backend) for backend in backends}, clock, BUDGET_S)
        evaluations = {name: [_evaluation(question, name)] for name in libraries}
        return Timings(training, fastest_turns(evaluations, clock, EVALUATION_BUDGET_S))
    finally:
        torch.set_num_threads(threads)


def fastest_turns(trials_by_name: Mapping[str, Trials], clock: Clock, budget: float) -> dict[str, float]:
    """Each one's seconds in its fastest turn; they take turns, so that a busy moment meets them all."""
    start = time.perf_counter()
    best: dict[str, float] = dict.fromkeys(trials_by_name, float("inf"))
    for turn in range(MAX_TURNS):
        for name, trials in trials_by_name.items():
            if turn < 2 or best[name] < HOPELESS * min(best.values()):
                best[name] = min(best[name], sum(trial.seconds(clock) for trial in trials))
        if time.perf_counter() - start > budget:
            break
    return best


def _trials(question: Question, backend: str) -> Trials:
    """A step of all layers together, or of each layer of a stack."""
    if question.kind == "rbm":
        zeros = [question.zeros, *[0.0] * (len(question.shapes) - 1)]
        return [
            _rbm_trial(question, backend, shape, share) for shape, share in zip(question.shapes, zeros, strict=True)
        ]
    return [_network_trial(question, backend)]


def _network_trial(question: Question, backend: str) -> Trial:
    """Forward and backward pass and update of every layer, each with an input of its own."""
    generator = torch.Generator().manual_seed(0)
    layers, activations = _layers(question, backend), _activations(question, backend)
    update = Sgd([parameter for layer in layers for parameter in layer.parameters], [RATE], 0.0, 0.0, batched=False)
    x_BI, grads_BO = [], []
    for number, (inputs, outputs) in enumerate(question.shapes):
        x = torch.randn(question.batch, inputs, generator=generator)
        if not number:
            x.masked_fill_(torch.rand(x.shape, generator=generator) < question.zeros, 0.0)
        grad = torch.randn(question.batch, outputs, generator=generator)
        # Half of the activations are zero, as relu's are, and half of the gradients.
        x_BI.append(x.relu_() if question.fused and number else x)
        grads_BO.append(grad.relu_() if question.fused and number < len(question.shapes) - 1 else grad)

    def step() -> None:
        for layer, activation, x in zip(layers, activations, x_BI, strict=True):
            z = layer.forward(x, training=True)
            if activation is not None:
                activation.forward(z, training=True)
        for number in reversed(range(len(layers))):
            activation, grad = activations[number], grads_BO[number]
            grad = grad if activation is None else activation.backward(grad, update, first=False)
            layers[number].backward(grad, update, first=number == 0)

    kernels = layers[0].passes.kernels if layers[0].passes is not None else None
    return Trial(step) if kernels is None else Trial(step, kernels.working, settle_seconds(question))


def _layers(question: Question, backend: str) -> list[Linear]:
    """The layers as a network of that backend has them."""
    layers = [
        Linear(*_parameters(inputs, outputs), False, False, library(backend, inputs * outputs))
        for inputs, outputs in question.shapes
    ]
    if backend == "kernels":
        from relubench.models.kernels.layer import CompiledKernels, KernelLinear

        kernels = CompiledKernels(question.batch, max(1, question.threads), [outputs for _, outputs in question.shapes])
        for number, layer in enumerate(layers):
            layer.passes = KernelLinear(layer.weight, layer.bias, kernels, "torch", first=number == 0)
            if question.fused and number < len(layers) - 1:
                layer.passes.fuse_activation()
    return layers


def _activations(question: Question, backend: str) -> Sequence[Layer | None]:
    """What follows each layer: relu where kernels compute it, else nothing, since it costs the same everywhere."""
    activations: list[Layer | None] = [None] * len(question.layers)
    for number in range(len(activations) - 1) if question.fused else ():
        activations[number] = activation = AnalyticActivation(build(select(["relu"])[0]), -1)
        activation.forward_fused = backend == "kernels"
    return activations


def _parameters(inputs: int, outputs: int) -> tuple[Parameter, Parameter]:
    weight = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(inputs)).div_(inputs**0.5)
    return Parameter("weight", weight, decays=True), Parameter("bias", torch.zeros(outputs), decays=False)


def _rbm_trial(question: Question, backend: str, shape: tuple[int, int], zeros: float) -> Trial:
    """A step of contrastive divergence in one layer, with that share of zeros in its data."""
    (inputs, outputs), sparse = shape, zeros > SPARSE
    generator = torch.Generator().manual_seed(0)
    by_kernels = backend == "kernels" and inputs * outputs >= LARGE
    weight = torch.randn(outputs, inputs, generator=generator).mul_(0.01)
    rbm = Rbm(
        weight.t().contiguous().t() if by_kernels else weight,
        torch.zeros(outputs),
        torch.zeros(inputs),
        hidden="bernoulli",
        visible="bernoulli",
        library=library(backend, inputs * outputs),
    )
    trainer = ContrastiveDivergence(rbm, rate=RATE, sampled=False, generator=generator)
    v_BI = torch.rand(question.batch, inputs, generator=generator)
    v_BI.masked_fill_(torch.rand(v_BI.shape, generator=generator) < zeros, 0.0)
    if not by_kernels:
        return Trial(lambda: trainer.step(v_BI))
    kernels = KernelDivergence(trainer, question.batch, max(1, question.threads), sparse=sparse)
    return Trial(lambda: kernels.step(v_BI), kernels.working, settle_seconds(question))


def settle_seconds(question: Question) -> float:
    """How long kernels wait for PyTorch's threads to rest."""
    return SETTLE_S if question.threads > 1 else 0.0


def _evaluation(question: Question, name: str) -> Trial:
    """A forward pass of many images through every layer."""
    layers: list[tuple[Tensor, Tensor, Tensor]] = []
    for inputs, outputs in question.shapes:
        weight, bias = _parameters(inputs, outputs)
        layers.append((torch.ones(EVALUATION_IMAGES, inputs), weight.value, bias.value))

    def step() -> None:
        for x_BI, w, b in layers:
            evaluated(library(name, w.numel()), x_BI, w, b)

    return Trial(step)
