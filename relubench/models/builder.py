"""Builds networks: hidden stages of (weights, norm, activation, sign flip, dropout, pooling), then a softmax output.

One network for each seed; several lie batched along a leading member dimension. Initial weights come from the members'
own streams: the same unit draws for every activation, times the scale that the initialisation asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from relubench.activations import ActivationChoice, build, matched_gain, select
from relubench.activations.definition import Activation, trainable
from relubench.models.architecture import activation_frames, architecture_of, head_inputs, layer_shapes
from relubench.models.backend import backend_of, uses_kernels
from relubench.models.families import family_of
from relubench.models.family import KEPT_ACTIVATION, LayerShape
from relubench.models.initialisation import SIREN, init_scale, siren_scale
from relubench.models.layers.activation import AnalyticActivation, AutogradActivation, UserModule
from relubench.models.layers.base import AlphaDropout, Dropout, Layer, SignFlip
from relubench.models.layers.convolution import Convolution, MaxPool
from relubench.models.layers.dense import Linear
from relubench.models.layers.normalisation import Norm
from relubench.models.matmul import library
from relubench.models.norm_table import NORMS
from relubench.models.optimizers import Parameter
from relubench.models.random_streams import MemberNoise, ModuleNoise, stream
from relubench.runs.spec import RunSpec
from relubench.system.lookup import load_target

if TYPE_CHECKING:
    from relubench.models.kernels.layer import CompiledKernels


class Builder:
    """Makes the layers of one population; `place` counts the parametered stages, and names their streams."""

    def __init__(self, spec: RunSpec, choice: ActivationChoice, seeds: Sequence[int], batched: bool) -> None:
        self.spec, self.seeds, self.batched, self.device = spec, list(seeds), batched, spec.device
        self.choice = choice
        self.stage_choice = choice.at(0)
        """The activation of the current stage, or of the last one with the activation that is compared."""
        self.shapes = layer_shapes(architecture_of(spec), spec.input_shape)
        frames = activation_frames(architecture_of(spec), spec.input_shape)
        self.activations: list[Activation] = [build(kind) for kind in choice.alone]
        self.gains = [matched_gain(kind, frames) if spec.init == "auto" else 1.0 for kind in choice.alone]
        self.num_compared = 0
        """Hidden stages so far that have the activation that is compared."""
        self.kept: Activation = build(select([KEPT_ACTIVATION])[0])
        self.place = 0
        self.kernels: CompiledKernels | None = None

    def layers(self) -> list[Layer]:
        """Every layer in order, input to logits."""
        spec = self.spec
        if uses_kernels(spec) and not self.batched:
            # Imported here: a compiler is of no use to the others.
            from relubench.models.kernels.layer import CompiledKernels

            outputs = [*(shape.units * self.choice.inputs_per_unit for shape in self.shapes), spec.classes]
            slopes = [slope for activation in self.activations if (slope := activation.negative_slope) is not None]
            self.kernels = CompiledKernels(spec.batch_size, max(1, spec.threads), outputs, slopes[0] if slopes else 0.0)
        layers = family_of(spec.model).layers(self)
        if spec.output_act:
            layers.append(self._output_activation())
        if self.kernels is not None:
            self._join(layers)
        return layers

    def _join(self, layers: list[Layer]) -> None:
        """Let the kernels do the activations' work, where nothing lies in between."""
        assert self.kernels is not None
        for below, layer, above in zip(layers, layers[1:], layers[2:], strict=False):
            if (
                not isinstance(layer, AnalyticActivation)
                or layer.activation.negative_slope != self.kernels.negative_slope
                or not isinstance(below, Linear)
            ):
                continue
            assert below.passes is not None
            below.passes.fuse_activation()
            layer.forward_fused = True
            # The penalty on activations comes between the gradient of h and the slope.
            if isinstance(above, Linear) and above.passes is not None and not self.spec.l1:
                above.passes.fuse_backward_into(below.passes)
                layer.backward_fused = True

    def hidden_stages(self) -> list[list[Layer]]:
        """The layers of each hidden stage, bottom up."""
        return [self.stage(shape) for shape in self.shapes]

    def output(self) -> Linear:
        """The layer that gives the logits."""
        fan_in = head_inputs(architecture_of(self.spec), self.spec.input_shape)
        return self.linear(fan_in, self.spec.classes, rule=self.head_rule)

    @property
    def head_rule(self) -> str:
        """The rule of initial weights of a dense layer that no activation follows."""
        return "lecun" if self.spec.init == "he" else self.spec.init

    def noise(self, role: str) -> MemberNoise:
        """The members' random streams of that role at the current place."""
        return MemberNoise(self.seeds, role, self.place, self.device)

    def stage(self, shape: LayerShape, *, normalised: bool = True) -> list[Layer]:
        """The layers of the next hidden stage: weights, norm unless it stands elsewhere, activation, sign flip,
        dropout, pooling.

        What has another activation than the one that is compared is not counted among the hidden activations.
        """
        spec, activation, gain = self.spec, self.kept, 1.0
        kind = 0
        if shape.compared:
            self.stage_choice = self.choice.at(self.num_compared)
            kind = self.choice.alone.index(self.stage_choice)
            activation, gain = self.activations[kind], self.gains[kind]
            self.num_compared += 1
        elif spec.init == "auto":
            gain = matched_gain(self.kept)
        outputs = shape.units * activation.inputs_per_unit
        dim = -3 if shape.convolution else -1
        if shape.convolution:
            stage: list[Layer] = [self._convolution(shape, outputs, gain)]
        else:
            stage = [self.linear(shape.inputs, outputs, gain=gain, rule=spec.init)]
        if normalised and NORMS[spec.norm].target:
            stage.append(self._norm(outputs, shape.convolution))
        stage.append(self._activation(activation, dim, shape.units))
        stage[-1].hidden, stage[-1].kind = shape.compared, kind
        if spec.sign_flip:
            stage.append(SignFlip(self._signs(shape)))
        if spec.dropout:
            kind = AlphaDropout if spec.dropout_kind == "alpha" else Dropout
            stage.append(kind(spec.dropout, self.noise("dropout")))
        self.place += 1
        return [*stage, MaxPool()] if shape.convolution else stage

    def linear(self, fan_in: int, outputs: int, *, rule: str, gain: float = 1.0, name: str = "") -> Linear:
        """A dense layer at the current place; a second one there has a `name`, and so its own numbers."""
        weight, bias = self._weights((outputs, fan_in), fan_in, outputs, gain, rule, name)
        bias.value = bias.value[:, None, :].contiguous() if self.batched else bias.value
        spec = self.spec
        chosen = library(backend_of(spec), fan_in * outputs)
        affine = Linear(weight, bias, self.batched, spec.precision == "bf16", chosen)
        if self.kernels is not None:
            from relubench.models.kernels.layer import KernelLinear

            affine.passes = KernelLinear(weight, bias, self.kernels, chosen, first=self.place == 0)
        return affine

    def _convolution(self, shape: LayerShape, outputs: int, gain: float) -> Convolution:
        side = shape.kernel
        fans = shape.fan_in, outputs * side**2
        weight, bias = self._weights((outputs, shape.inputs, side, side), *fans, gain, self.spec.init)
        if not self.batched:
            # Not contiguous(): with one input channel it takes the strides as they are, and the network runs unlike.
            strided = torch.empty_like(weight.value, memory_format=torch.channels_last)
            weight.value = strided.copy_(weight.value)
        return Convolution(weight, bias, self.batched, self.spec.precision == "bf16")

    def _weights(
        self, shape: tuple[int, ...], fan_in: int, fan_out: int, gain: float, rule: str, name: str = ""
    ) -> tuple[Parameter, Parameter]:
        uniform, scale = self._init_scale(rule, fan_in, fan_out, gain)
        prefix = f"{name}-" if name else ""

        def weight(seed: int) -> Tensor:
            generator = stream(seed, f"{prefix}init", self.place)
            unit = torch.empty(shape)
            values = unit.uniform_(-1.0, 1.0, generator=generator) if uniform else unit.normal_(generator=generator)
            return values.mul_(scale)

        def bias(seed: int) -> Tensor:
            if rule not in ("uniform", SIREN):
                return torch.zeros(shape[0])
            generator = stream(seed, f"{prefix}init-bias", self.place)
            # The paper's program leaves biases as torch.nn.Linear draws them, whatever its rule for the weights.
            bound = init_scale("uniform", fan_in, fan_out, gain)[1]
            return torch.empty(shape[0]).uniform_(-1.0, 1.0, generator=generator).mul_(bound)

        return self.parameter(f"{prefix}weight", weight, decays=True), self.parameter(f"{prefix}bias", bias)

    def _init_scale(self, rule: str, fan_in: int, fan_out: int, gain: float) -> tuple[bool, float]:
        """Whether weights at the current place are uniform, else normal, and their bound or standard deviation."""
        if rule != SIREN:
            return init_scale(rule, fan_in, fan_out, gain)
        frequency = float(dict(self.stage_choice.parameters).get("frequency", 1.0))
        return True, siren_scale(fan_in, frequency, first=self.place == 0)

    def _norm(self, outputs: int, image: bool) -> Norm:
        row = NORMS[self.spec.norm]
        parameters = [
            self.parameter(name, lambda _, value=value: torch.full((outputs,), value)) for name, value in row.parameters
        ]
        return load_target(row.target)(row, parameters, image, self.batched)

    def _output_activation(self) -> Layer:
        """The activation of the outputs, which is no hidden one."""
        layer = self._activation(build(select([self.spec.output_act])[0]), -1, self.spec.classes)
        layer.hidden = False
        return layer

    def _activation(self, activation: Activation, dim: int, units: int) -> Layer:
        if activation.module is not None:
            return self._user_module(activation.module)
        noise = self.noise("activation") if activation.draw else None
        if activation.gradient is not None and not activation.learned and noise is None:
            return AnalyticActivation(activation, dim)
        # One number a member: [1], or [P, 1, 1] (in images [P, 1, 1, 1, 1]) to lie along the members of a stack; or one
        # for each unit, in the dimension in which z has the units.
        features = (
            units if activation.per_unit else 1,
            *[1] * (-1 - dim if self.batched or activation.per_unit else 0),
        )
        shape = (1, *features) if self.batched else features
        learned = [
            self.parameter(f"learned-{number}", lambda _, value=value: torch.full(shape, value), learned=True)
            for number, value in enumerate(activation.learned)
        ]
        return AutogradActivation(activation, dim, learned, noise)

    def _user_module(self, make: Callable[[], nn.Module]) -> UserModule:
        modules = []
        for seed in self.seeds:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(stream(seed, "init-module", self.place).initial_seed())
                modules.append(make().to(self.device))
        named = [trainable(module) for module in modules]

        def value(name: str) -> Callable[[int], Tensor]:
            tensors = iter([tensors_by_name[name].detach().clone() for tensors_by_name in named])
            return lambda _: next(tensors)

        parameters = [self.parameter(f"module-{name}", value(name), learned=True) for name in named[0]]
        noise = ModuleNoise(self.seeds, self.place, self.device)
        return UserModule(modules, parameters, noise, self.batched)

    def _signs(self, shape: LayerShape) -> Tensor:
        def signs(seed: int) -> Tensor:
            order = torch.randperm(shape.units, generator=stream(seed, "signs", self.place))
            return torch.where(order < shape.units // 2, -1.0, 1.0)

        members = torch.stack([signs(seed) for seed in self.seeds]).to(self.device)
        if not self.batched:
            return members[0, :, None, None] if shape.convolution else members[0]
        return members[:, None, :, None, None] if shape.convolution else members[:, None, :]

    def parameter(
        self, name: str, value: Callable[[int], Tensor], *, decays: bool = False, learned: bool = False
    ) -> Parameter:
        """A trained tensor at the current place; `value` gives that of a seed, `learned`: an activation's own."""
        values = [value(seed) for seed in self.seeds]
        stackable = torch.stack(values) if self.batched else values[0]
        return Parameter(f"{self.place}.{name}", stackable.to(self.device), decays, learned)
