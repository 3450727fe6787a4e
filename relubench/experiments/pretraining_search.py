"""The search of `pretrain.lr=auto`: each layer's rate of pre-training, bottom up, by reconstruction error. Torch-free.

Every rate of the grid is tried on a layer, over the layers below it at the rates that were found for them, on a seed
that is not reported (Glorot et al. 2011, section 4.1). What was trained is stored, and never tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from relubench.errors import ComputeError
from relubench.models.optimizer_table import PAPER_RATES
from relubench.runs.layer_id import layer_id
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store

Rates = dict[str, tuple[float, ...]]
"""Row (see `stack_name`) -> the rate of each of its layers, bottom up."""


def stack_name(spec: RunSpec) -> str:
    """The row whose stack the run starts from, a control's being that of the row it controls: 'relu (rbm)'."""
    name = f"{spec.activation} ({spec.stack.method})" if spec.stack else spec.activation
    return f"{name}, {spec.variant}" if spec.variant else name


def shared_stacks(specs: Sequence[RunSpec], store: Store, *, fresh: bool) -> list[RunSpec]:
    """One run for each stack that several of these start from and that is not whole yet; all stacks if `fresh`.

    They are pre-trained first: of two workers that need one stack, the other would only wait.
    """
    runs_by_stack: dict[str, list[RunSpec]] = {}
    for spec in specs:
        if spec.stack is not None:
            runs_by_stack.setdefault(layer_id(spec, spec.stack.layers - 1), []).append(spec)
    return [
        sharing[0] for top, sharing in runs_by_stack.items() if fresh or (len(sharing) > 1 and not store.has_layer(top))
    ]


def with_rates(spec: RunSpec, rates: Rates) -> RunSpec:
    """The run with the rates of pre-training that were found for it."""
    stack_rates = rates.get(stack_name(spec))
    return spec if spec.stack is None or not stack_rates else replace(spec, stack=spec.stack.with_rates(stack_rates))


@dataclass(slots=True)
class StackSearch:
    """The rows whose rates are searched, and what is found so far; `trials` and `choose` for each layer in turn."""

    rows: dict[str, RunSpec]
    store: Store
    rates: Rates = field(default_factory=dict)

    @classmethod
    def of(cls, specs: Sequence[RunSpec], store: Store) -> StackSearch:
        """The search for these tuning runs; those that train no stack have none."""
        trained = [spec for spec in specs if spec.stack is not None and not spec.stack.source]
        return cls({stack_name(spec): spec for spec in trained}, store)

    @property
    def layers(self) -> int:
        return max((spec.stack.layers for spec in self.rows.values() if spec.stack), default=0)

    def trials(self, layer: int) -> list[RunSpec]:
        """The runs whose stacks reach up to `layer` (0-based) and are still to be trained, on one thread each."""
        specs = [spec for rates in self._tried(layer).values() for spec in rates.values()]
        return [spec for spec in specs if not self.store.has_layer(layer_id(spec, layer))]

    def choose(self, layer: int) -> None:
        """Take each row's best rate for `layer`: the lowest validation error, the larger rate where two are equal.

        Raises ComputeError if a layer trained at no rate.
        """
        for name, by_rate in self._tried(layer).items():
            layers = {rate: self.store.layer(layer_id(spec, layer)) for rate, spec in by_rate.items()}
            errors = {
                rate: layer_result.error
                for rate, layer_result in layers.items()
                if layer_result is not None and layer_result.error is not None
            }
            if not errors:
                raise ComputeError(
                    f"--pretrain-lr auto: layer {layer + 1} of {name} trained at no learning rate of "
                    f"{', '.join(f'{layer_result:g}' for layer_result in by_rate)}",
                    "name one with --pretrain-lr, or see the messages above",
                )
            self.rates[name] = (*self.rates.get(name, ()), min(errors, key=lambda rate: (errors[rate], -rate)))

    def _tried(self, layer: int) -> dict[str, dict[float, RunSpec]]:
        """For each row that has such a layer, the run of each rate; `lr` is what its progress is told by."""
        return {
            name: {
                rate: replace(
                    spec,
                    lr=rate,
                    threads=min(spec.threads, 1),
                    stack=spec.stack.with_rates((*self.rates.get(name, ()), rate)),
                )
                for rate in PAPER_RATES
            }
            for name, spec in self.rows.items()
            if spec.stack is not None and layer < spec.stack.layers
        }

    def describe(self) -> list[str]:
        """What was found, a line a row."""
        return [
            f"{name}: learning rates of pre-training {', '.join(f'{rate:g}' for rate in rates)}"
            for name, rates in self.rates.items()
        ]
