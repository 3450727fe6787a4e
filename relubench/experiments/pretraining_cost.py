"""What the pre-training of a study would cost: every layer that is not stored counts once, whoever starts from it.

A few steps of pre-training are timed for each method and activation; other layers are scaled by their weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from relubench.activations import ActivationChoice
from relubench.models.architecture import architecture_of, layer_shapes
from relubench.models.optimizer_table import PAPER_RATES
from relubench.runs.layer_id import layer_id
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store

TRIAL_S = 0.2
"""Seconds of trial pre-training for each method, activation and batch size."""

TRIAL_RATE = 1e-4
"""Small, so that random images do not make it diverge."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer to pre-train, and how often: several times where its rate is searched."""

    spec: RunSpec
    layer: int
    trainings: int = 1


@dataclass(slots=True)
class StackPrices:
    """Prices layers; one that was counted for one variant costs the next one nothing."""

    store: Store
    fresh: bool
    counted: set[str] = field(default_factory=set)
    speeds: dict[tuple[str, str, int], tuple[float, int]] = field(default_factory=dict)
    """Method, activation and batch size -> images a second, and the weights of the layer that was timed."""

    def layers(self, reported: Sequence[RunSpec], tuning: Sequence[RunSpec], *, searched: bool) -> list[Layer]:
        """What has to be pre-trained for these runs, and before them for those on the tuning seeds.

        `searched`: whether each layer's rate is found first, on the tuning seeds, whose own stacks are then there.
        """
        trials = len(PAPER_RATES) if searched else 1
        return [*self._new(tuning, trials, rates_known=not searched), *self._new(reported, 1, rates_known=not searched)]

    def _new(self, specs: Sequence[RunSpec], trainings: int, *, rates_known: bool) -> list[Layer]:
        layers: list[Layer] = []
        for spec in specs:
            if spec.stack is None or spec.stack.source:
                continue
            for layer in range(spec.stack.layers):
                name = layer_id(spec, layer)
                # Without its rate a layer has no name to be found by.
                stored = rates_known and not self.fresh and self.store.has_layer(name)
                if name not in self.counted and not stored:
                    layers.append(Layer(spec, layer, trainings))
                self.counted.add(name)
        return layers

    def seconds(self, layers: Sequence[Layer], choices: Mapping[str, ActivationChoice], images: int) -> float:
        """Of one worker, for layers that all see this many training images."""
        return sum(
            layer.trainings * layer.spec.stack.epochs * images / self._speed(layer, choices[layer.spec.activation])
            for layer in layers
            if layer.spec.stack is not None
        )

    def _speed(self, layer: Layer, choice: ActivationChoice) -> float:
        from relubench.training.pretraining.calibration import layer_images_per_second

        stack = layer.spec.stack
        assert stack is not None
        key = (stack.method, choice.label, stack.batch_size)
        if key not in self.speeds:
            slow = replace(layer.spec, stack=replace(stack, rates=(TRIAL_RATE,) * stack.layers))
            self.speeds[key] = layer_images_per_second(slow, choice, TRIAL_S), _weights(slow, 0)
        speed, weights = self.speeds[key]
        return speed * weights / _weights(layer.spec, layer.layer)


def _weights(spec: RunSpec, layer: int) -> int:
    shape = list(layer_shapes(architecture_of(spec), spec.input_shape))[layer]
    return shape.inputs * shape.units
