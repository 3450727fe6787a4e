"""What a run leaves behind: plain records, to and from JSON. Torch-free.

A `RunResult` is everything that the same command gives again, bit for bit; a `Timing` holds the seconds, which differ
each time. They are stored apart, so that a resumed run can be compared with an uninterrupted one byte by byte.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from relubench.runs.task import CLASSIFICATION, Task

METRICS = ("valid_metric", "test_metric")
"""The keys of a record that hold the scores of other tasks than classification."""

AT_EXCHANGE = ("before_exchange", "zeros_before_exchange_pct", "after_exchange", "zeros_after_exchange_pct")
"""What is measured on the test part where one activation takes the place of another: the score, and exact zeros."""

Outcome = Literal["ok", "stalled", "diverged", "failed"]
"""ok; stalled: still at chance, it keeps its error; diverged: a non-finite loss; failed: an error stopped it."""


def _without_metrics(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a record without the metrics that classification has not."""
    return {key: value for key, value in values.items() if key not in METRICS or value is not None}


def valid_values(task: Task, score: float | None) -> dict[str, float | None]:
    """The fields of a record that hold a validation score of this task."""
    is_error = task.name == CLASSIFICATION
    return {"valid_error_pct": score if is_error else None, "valid_metric": None if is_error else score}


def test_values(task: Task, score: float | None) -> dict[str, float | None]:
    """The fields of a record that hold a test score of this task."""
    is_error = task.name == CLASSIFICATION
    return {"test_error_pct": score if is_error else None, "test_metric": None if is_error else score}


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochPoint:
    """One point of a learning curve, taken after an epoch (1-based)."""

    epoch: int
    train_loss: float | None
    """Mean over the epoch's batches, of classification the cross-entropy in nats; None where it was not finite."""
    valid_loss: float | None
    valid_error_pct: float | None
    """Of classification; None for any other task."""
    lr: float
    """The learning rate of the epoch's last step."""
    valid_metric: float | None = None
    """Of any other task."""

    @property
    def valid_score(self) -> float | None:
        """The validation score in the unit of the task's metric."""
        return self.valid_metric if self.valid_error_pct is None else self.valid_error_pct

    def to_json(self) -> dict[str, Any]:
        return _without_metrics(asdict(self))


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerProbe:
    """The statistics of one hidden layer on the probe images, in evaluation mode, after an epoch (0: before training).

    Shares are percent of units times images; a number that was not finite, or not measured, is None.
    """

    epoch: int
    layer: int
    """1-based, from the input."""
    units: int
    """Of a convolution: its channels."""
    zeros_pct: float | None
    """Outputs that are exactly 0."""
    near_zeros_pct: float | None
    """Outputs with |h| at most 1 % of the layer's root mean square, exact zeros included."""
    mean: float | None
    variance: float | None
    """Of the outputs, over units and images together."""
    quantiles: list[float | None]
    """Of the pre-activations: at 1, 25, 50, 75 and 99 %, over the first 100 images."""
    saturated_pct: float | None
    """Outputs whose slope |f'(z)| is below 1 % of the activation's largest."""
    dead: int | None
    """Units whose |f'(z)| exceeds `eps` at none of the images."""
    died: int | None
    """Dead units that were not dead at the previous probe."""
    revived: int | None
    """Living units that were dead at the previous probe."""
    cut_off: int | None
    """Living units whose every weight into the next layer is 0 or ends at a dead or cut-off unit."""
    idle_columns: int | None
    """Pre-activations without slope at any image; more than `dead` only where a unit has several (maxout, gated)."""
    weight_gradient: float | None = None
    """Norm of the loss's gradient in the layer's weights, averaged over the images."""
    activation_gradient: float | None = None
    """Norm of the gradient of an image's loss in the layer's outputs, mean over the images."""
    update_ratio: float | None = None
    """Norm of the next step's update of the weights, over the weights' norm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadUnits:
    """The dead units of one hidden layer after the last epoch, confirmed on the whole training set."""

    layer: int
    units: int
    dead: int
    candidates: int
    """Dead on the probe images."""
    cut_off: int
    born_dead: int
    """Dead on the probe images before training."""
    eps: float
    """A unit is dead if |f'(z)| <= eps at every training image; 0 where f is piecewise linear or has flat parts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionPoint:
    """Linear pieces of the network along lines between training images, after an epoch (0: before training)."""

    epoch: int
    lines: list[int]
    """The number of pieces on each line, the same lines at every epoch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredValue:
    """What a probe measured of the whole network after an epoch (0: before training)."""

    name: str
    epoch: int
    value: float | None
    """None where it was not finite."""

    @property
    def at_exchange(self) -> bool:
        """Whether it was measured where one activation took the place of another, not after every epoch."""
        return self.name in AT_EXCHANGE


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """One trained network: the specification it came from, its curve, and its scores.

    Errors in percent are those of classification; any other task has its metric instead.
    """

    id: str
    spec: dict[str, Any]
    """The resolved RunSpec as JSON values: it reproduces the run."""
    outcome: Outcome
    message: str = ""
    """Why it diverged, stalled or failed; empty when ok."""
    parameters: int
    path: str
    """The backend that computed it, e.g. 'cpu, 1 thread'."""
    epochs: int
    """Epochs trained."""
    best_epoch: int | None
    """The epoch (1-based) with the lowest validation error, whose weights were tested."""
    valid_error_pct: float | None
    test_error_pct: float | None
    test_examples: int
    sparsity_pct: float | None
    """Exact zeros among the hidden activations on the test set, averaged over hidden layers."""
    sparsity_by_layer_pct: list[float] = field(default_factory=list)
    near_zeros_pct: float | None = None
    """Outputs close to zero with the tested weights, on the probe images, averaged over hidden layers."""
    dead_units_pct: float | None = None
    """Share of all hidden units that are dead after the last epoch."""
    curve: list[EpochPoint] = field(default_factory=list)
    probes: list[LayerProbe] = field(default_factory=list)
    """By epoch, then by layer."""
    dead_units: list[DeadUnits] = field(default_factory=list)
    regions: list[RegionPoint] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    measured: list[MeasuredValue] = field(default_factory=list)
    valid_metric: float | None = None
    test_metric: float | None = None

    @property
    def valid_score(self) -> float | None:
        """The validation score of the best epoch in the unit of the task's metric."""
        return self.valid_metric if self.valid_error_pct is None else self.valid_error_pct

    @property
    def test_score(self) -> float | None:
        """The test score in the unit of the task's metric."""
        return self.test_metric if self.test_error_pct is None else self.test_error_pct

    def to_json(self) -> dict[str, Any]:
        """JSON values, without what only other tasks have, and without `measured` where no probe gave any."""
        values = _without_metrics({**asdict(self), "curve": [point.to_json() for point in self.curve]})
        return values if self.measured else {key: value for key, value in values.items() if key != "measured"}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunResult:
        kinds = {"curve": EpochPoint, "probes": LayerProbe, "dead_units": DeadUnits, "regions": RegionPoint}
        kinds |= {"measured": MeasuredValue}
        records = {key: [kind(**entry) for entry in values.get(key, ())] for key, kind in kinds.items()}
        return cls(**{**values, **records})


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerPoint:
    """How well a layer explains its input, after an epoch (1-based) of its pre-training."""

    epoch: int
    train_error: float | None
    """Mean squared reconstruction error per input value, over the epoch's steps; None where it was not finite."""
    valid_error: float | None
    """The same on the validation images, with the weights at the end of the epoch."""
    train_free_energy: float | None = None
    """Mean free energy of training images in nats (rbm); far below that of validation images, the layer overfits."""
    valid_free_energy: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainedLayer:
    """One pre-trained layer, without its weights: the same settings give it again, bit for bit."""

    id: str
    layer: int
    """1-based, bottom up."""
    units: int
    outcome: Literal["ok", "diverged"]
    message: str = ""
    """Why it diverged."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Its settings."""
    curve: list[LayerPoint] = field(default_factory=list)

    @property
    def error(self) -> float | None:
        """The last validation reconstruction error; None if it diverged or was read from a file."""
        return self.curve[-1].valid_error if self.curve and self.outcome == "ok" else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> PretrainedLayer:
        return cls(**{**values, "curve": [LayerPoint(**point) for point in values["curve"]]})


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """How long one run took, in seconds of wall-clock time; sums over interruptions."""

    seconds: float
    """Pre-training, training, validation and the final test; not start-up."""
    epoch_seconds: list[float]
    """Seconds from the start of training to the end of each epoch, validation included."""
    images_per_second: float
    """Training images per second, validation time excluded."""
    host: str
    finished: str
    """UTC, ISO 8601."""
    interruptions: int = 0
    pretraining_seconds: float = 0.0
    """The part of `seconds` that pre-training took, also where another run had already done it."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Timing:
        return cls(**values)
