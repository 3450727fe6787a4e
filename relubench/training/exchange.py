"""Networks whose activation gives way to another one for the last tenth of the epochs, as in relufication.

Mirzadeh et al. 2023, "ReLU strikes back", exchange the activation of a trained network for ReLU and train on. Weights,
optimizer, order of the images and streams go on; the best epoch is one of those behind the exchange. What the exchange
does is measured on the test part just before and just after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from relubench.activations import ActivationChoice, select
from relubench.runs.spec import RunSpec
from relubench.training.driver import Step
from relubench.training.evaluation import Evaluation
from relubench.training.images import Images
from relubench.training.population import Population

BEFORE, AFTER = "before_exchange", "after_exchange"


def population_of(specs: Sequence[RunSpec], choice: ActivationChoice, data: Images) -> Population:
    """The networks before their first step, of whichever kind their specification asks for."""
    return ExchangingPopulation(specs, choice, data) if specs[0].exchange else Population(specs, choice, data)


def epochs_before(spec: RunSpec) -> int:
    """The epochs before the exchange: all but a tenth, and at least one behind it."""
    return spec.epochs - max(1, round(spec.epochs / 10))


class ExchangingPopulation(Population):
    """P networks in training on one device, which get another activation on the way."""

    def __init__(self, specs: Sequence[RunSpec], choice: ActivationChoice, data: Images) -> None:
        super().__init__(specs, choice, data)
        self.exchanged = False

    def train(self) -> Iterator[Step]:
        """Train to the end, from wherever the population stands."""
        if not self.exchanged:
            self.last_epoch = epochs_before(self.spec)
            yield from super().train()
            if all(member.stopped for member in self.members):
                return
            self._exchange()
        self.last_epoch = self.spec.epochs
        yield from super().train()

    def _exchange(self) -> None:
        self._measure(BEFORE, self.evaluate("test", sparsity=True))
        tensors, values = self.state()
        self._rebuild()
        super().load(tensors, values)
        self._measure(AFTER, self.evaluate("test", sparsity=True))
        for member in self.members:
            member.forget_best()

    def _rebuild(self) -> None:
        assert self.spec.exchange is not None
        self.build(select([self.spec.exchange])[0])
        self.exchanged = True

    def _measure(self, moment: str, test: Evaluation) -> None:
        for place, member in enumerate(self.members):
            if member.stopped:
                continue
            shares = [float(share) for share in test.zeros[place]]
            member.measure(moment, self.epoch, self.task.score(test.scores[place]))
            member.measure(f"zeros_{moment}_pct", self.epoch, 100 * sum(shares) / max(1, len(shares)))

    def load_weights(self, tensors: Mapping[str, Tensor], held: Sequence[Any] = ()) -> None:
        """Take over the weights of a finished network, which has the later activation."""
        if not self.exchanged:
            self._rebuild()
        super().load_weights(tensors, held)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that training goes on from: tensors, and plain values."""
        tensors, values = super().state()
        return tensors, {**values, "exchanged": self.exchanged}

    def load(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on from `state()`; raises KeyError, ValueError or RuntimeError if it is another population's."""
        if values["exchanged"] and not self.exchanged:
            self._rebuild()
        super().load(tensors, values)
