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
class LayerProbe:
    """What one hidden layer did on the probe images, in evaluation mode, after an epoch (0: before training).

    Shares are percent of units times images; a number that was not finite, or not looked at, is None.
    """

    epoch: int
    layer: int
    """1-based, from the input."""
    units: int
    """Of a convolution its channels."""
    zeros_pct: float | None
    """Outputs that are exactly 0."""
    near_zeros_pct: float | None
    """Outputs with |h| at most 1 % of the layer's root mean square; exact zeros are among them."""
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
    """Dead ones that were not at the look before."""
    revived: int | None
    """Living ones that were dead at the look before."""
    cut_off: int | None
    """Living units whose every weight into the next layer is 0 or ends at a dead or cut-off unit."""
    idle_columns: int | None
    """Pre-activations without slope at any image; more than `dead` only where a unit has several (maxout, gated)."""
    weight_gradient: float | None = None
    """Norm of the loss's gradient in the layer's weights, averaged over the images."""
    activation_gradient: float | None = None
    """Norm of an image's loss's gradient in the layer's outputs, mean over the images."""
    update_ratio: float | None = None
    """Norm of what the next step would add to the weights, over the weights' norm."""


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
    near_zeros_pct: float | None = None
    """Of the tested weights, on the probe images, averaged over hidden layers."""
    dead_units_pct: float | None = None
    """Of all hidden units, those that are dead after the last epoch."""
    curve: list[EpochPoint] = field(default_factory=list)
    probes: list[LayerProbe] = field(default_factory=list)
    """By epoch, then by layer."""
    dead_units: list[DeadUnits] = field(default_factory=list)
    regions: list[RegionPoint] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunResult:
        kinds = {"curve": EpochPoint, "probes": LayerProbe, "dead_units": DeadUnits, "regions": RegionPoint}
        read = {key: [kind(**one) for one in values.get(key, ())] for key, kind in kinds.items()}
        return cls(**{**values, **read})


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

    Errors and differences are in percent of the test examples; intervals are 95 %, those of differences all of a table
    together; missing is None.
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
    """Against the published error, else the article's: 'reproduced', 'better', 'worse', 'undecided', or 'not
    comparable'."""
    difference_verdict: str | None = None
    """Of the difference to the first row: 'noise' where its interval holds zero, else 'higher' or 'lower'; of one seed
    'higher on this test set' or 'lower on this test set'."""
    difference_p: float | None = None
    """Of no difference to the first row, two-sided, times the number of comparisons in the table (Bonferroni)."""
    effect_size: float | None = None
    """The difference over the standard deviation of the seeds' differences (Cohen's d_z); None with one seed."""
    detectable_difference_pct: float | None = None
    """The true difference that would have been called one with 80 % probability or more; None if none would."""
    seeds_to_resolve: int | None = None
    """Seeds with which a true difference of the size seen is called one with 80 % probability; None if no number is."""
    verdict_against: str | None = None
    """'published' or 'article'."""
    verdict_reason: str | None = None
    """Why the row is not comparable, or what would settle an undecided one."""
    reference_difference_pct: float | None = None
    """This row's error less the reference's."""
    reference_ci_low_pct: float | None = None
    """95 %, the reference's own noise included."""
    reference_ci_high_pct: float | None = None
    margin_pct: float | None = None
    """Differences to the reference up to this count as none."""
    lr_budget: str | None = None
    """What `--lr auto` spent on this activation, e.g. '4 rates x 1 seed x 30 epochs'; None where the rate was given."""
    lr_edge: str | None = None
    """Whether the chosen rate is the 'lowest' or the 'highest' of the grid, or lies 'inside' it."""
    n_learned: int | None = None
    """Seeds with a test error that are not still at chance."""
    seeds_to_resolve_low: int | None = None
    """The same if trainings differ as little as the seeds leave open (80 %)."""
    seeds_to_resolve_high: int | None = None
    """The same if they differ as much; None if no number is enough."""

    @property
    def learned(self) -> bool:
        """Whether any of its networks has risen above chance."""
        return self.n_learned != 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def columns(cls) -> list[str]:
        return [one.name for one in fields(cls)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """What `--lr auto` found for one activation, on seeds that are not reported."""

    activation: str
    errors: dict[float, float | None]
    """Learning rate -> mean validation error in percent over the tuning seeds; None where a seed has none."""
    seeds: int
    epochs: int
    """Asked for, of each trial."""
    lr: float
    """The rate with the lowest error; the larger one of two equal ones."""
    pretraining: str = "none"
    variant: str = ""
    """The label of the study's variant that it belongs to."""

    @property
    def budget(self) -> str:
        """'4 rates x 1 seed x 30 epochs'"""
        sizes = ((len(self.errors), "rate"), (self.seeds, "seed"), (self.epochs, "epoch"))
        return " x ".join(f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in sizes)

    @property
    def edge(self) -> Literal["lowest", "highest", "inside"]:
        """Where in the grid the chosen rate lies: at an edge a better one may lie outside."""
        return "lowest" if self.lr == min(self.errors) else "highest" if self.lr == max(self.errors) else "inside"


EventKind = Literal["note", "cached", "started", "postponed", "progress", "epoch", "done", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What happens while runs are carried out, for whoever shows it: started, (progress | epoch)*, done.

    A run that another process is training is postponed after it was started, and started again later.
    """

    kind: EventKind
    run: str = ""
    """The run's id; empty for a note, which concerns all."""
    activation: str = ""
    variant: str = ""
    """The label of the study's variant that the run belongs to."""
    pretraining: str = "none"
    seed: int = 0
    lr: float = 0.0
    l1: float = 0.0
    """The strength that was asked for."""
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
