"""What a run leaves behind, and what a table row says: plain records, to and from JSON. Torch-free.

A `RunResult` is everything that the same command gives again, bit for bit; a `Timing` is what the clock said, which it
does not. They are stored apart, so that a resumed run can be compared with an uninterrupted one byte by byte.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

Outcome = Literal["ok", "stalled", "diverged", "failed"]
"""ok; stalled: still at chance, it keeps its error; diverged: a non-finite loss; failed: an error stopped it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochPoint:
    """One point of a learning curve, taken after an epoch (1-based)."""

    epoch: int
    train_loss: float | None
    """Mean over the epoch's batches of the cross-entropy, in nats; None where it was not finite."""
    valid_loss: float | None
    valid_error_pct: float | None
    lr: float
    """The learning rate of the epoch's last step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """One trained network: the specification it came from, its curve, and its errors in percent."""

    id: str
    spec: dict[str, Any]
    """The resolved RunSpec as JSON values: it reproduces the run."""
    outcome: Outcome
    message: str = ""
    """Why it diverged, stalled or failed; empty when ok."""
    parameters: int
    path: str
    """Which engine path computed it, e.g. 'cpu, 1 thread'."""
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
    curve: list[EpochPoint] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunResult:
        curve = [EpochPoint(**point) for point in values["curve"]]
        return cls(**{**values, "curve": curve})


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerPoint:
    """How well a layer explains its input, after an epoch (1-based) of its pre-training."""

    epoch: int
    train_error: float | None
    """Mean squared reconstruction error per input value, over the epoch's steps; None where it was not finite."""
    valid_error: float | None
    """The same on the validation images, with the weights at the end of the epoch."""
    train_free_energy: float | None = None
    """Mean free energy of training images in nats (rbm): what it falls below that of validation images overfits."""
    valid_free_energy: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainedLayer:
    """One pre-trained layer, without its weights: what the same settings give again, bit for bit."""

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
    """What the clock said of one run, in seconds of wall-clock time; sums over interruptions."""

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
    """The part of `seconds` that pre-training took, also where another run had it done already."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Timing:
        return cls(**values)


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryRow:
    """One row of the table: an activation over its seeds. The field order is the column order of every format.

    Errors and differences are in percent of the test examples; intervals are 95 %; missing is None.
    """

    activation: str
    dataset: str
    model: str
    pretraining: str = "none"
    n: int = 0
    """Seeds with a test error."""
    test_error_pct: float | None = None
    test_error_ci_low_pct: float | None = None
    test_error_ci_high_pct: float | None = None
    valid_error_pct: float | None = None
    difference_pct: float | None = None
    """This row's error less the first row's, paired by seed and test example."""
    difference_ci_low_pct: float | None = None
    difference_ci_high_pct: float | None = None
    outcome: str = "ok"
    lr: float | None = None
    init: str | None = None
    parameters: int | None = None
    sparsity_pct: float | None = None
    dead_units_pct: float | None = None
    epochs: float | None = None
    seconds: float | None = None
    published_error_pct: float | None = None
    published_sparsity_pct: float | None = None
    published_source: str | None = None
    article_error_pct: float | None = None
    article_sparsity_pct: float | None = None
    verdict: str | None = None
    """Of the difference to the first row: 'higher', 'lower' or 'noise' (Holm-corrected over the table at 5 %)."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def columns(cls) -> list[str]:
        return [one.name for one in fields(cls)]


EventKind = Literal["note", "cached", "started", "progress", "epoch", "done", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What happens while runs are carried out, for whoever shows it: started, (progress | epoch)*, done."""

    kind: EventKind
    run: str = ""
    """The run's id; empty for a note, which concerns all."""
    activation: str = ""
    pretraining: str = "none"
    seed: int = 0
    lr: float = 0.0
    tuning: bool = False
    """A run of `--lr auto`, which is not reported."""
    epochs_done: float = 0.0
    """Epochs trained so far, the fraction of the current one included."""
    epochs: int = 0
    """Epochs asked for, those of pre-training included."""
    stage: str = ""
    """What of the run is in progress, where that is not its training: the layer that is pre-trained."""
    images_per_second: float | None = None
    valid_error_pct: float | None = None
    """After the last finished epoch."""
    outcome: Outcome | None = None
    """With done and failed."""
    message: str = ""
    """With note and failed, and with done where the outcome is not ok."""
    hint: str = ""
