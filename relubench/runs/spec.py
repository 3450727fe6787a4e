"""What a run is: a specification with all settings that may change its numbers, whose digest is its id. Torch-free."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from relubench.runs.task_names import CLASSIFICATION
from relubench.system.device_kinds import DEVICES
from relubench.version import ENGINE_VERSION

SHUFFLED = "-shuffled"
"""The suffix of the method of the control, whose pre-trained weights are shuffled."""

FROM_FILE = "file"
"""The method of pre-trained layers that were read from a file."""


_LEFT_OUT = {
    "task": CLASSIFICATION,
    "target": None,
    "parts_digest": None,
    "latent": 0,
    "act_in": "both",
    "act_lr": None,
    "exchange": None,
    "output_act": "",
    "heads": 0,
    "balance": 0.0,
    "dropout_kind": "zero",
}
"""Fields of a RunSpec that its JSON lacks where they have this value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainingSpec:
    """The settings of a pre-training; those of the method that is not used have their neutral value."""

    method: str
    """rbm, dae or file."""
    rates: tuple[float, ...]
    """The learning rate of each layer, bottom up; there are as many layers as rates."""
    epochs: int = 0
    """Passes over the images, for each layer."""
    batch_size: int = 0
    shuffled: bool = False
    """Whether the network starts from the finished weights in random order, layer by layer: the control."""
    source: str = ""
    """SHA-256 of the file that the layers were read from."""
    origin: str = ""
    """The description in that file's header."""
    visible: tuple[str, ...] = ()
    """The rbm's visible units, layer by layer: bernoulli, bipolar, gaussian."""
    hidden: str = ""
    """The rbm's hidden units: bernoulli, bipolar, nrelu, stepped."""
    k: int = 0
    momentum: float = 0.0
    weight_decay: float = 0.0
    sampled: bool = False
    """Whether an rbm's last reconstruction is a sample; else its mean."""
    reconstruction: tuple[str, ...] = ()
    """The autoencoder's output, layer by layer: cross-entropy, softplus, scaled, linear, rectifier."""
    noise: str = ""
    corruption: float = 0.0
    tied: bool = False
    l1: float = 0.0
    backend: str | None = None
    """What multiplies the layers; None: what the package knows to be the fastest (`models.backend`)."""
    version: int = 0
    """PRETRAINING_VERSION of the program that trained the layers; 0 for a file."""

    @property
    def layers(self) -> int:
        return len(self.rates)

    @property
    def total_epochs(self) -> int:
        """Epochs over all layers."""
        return self.layers * self.epochs

    def facts(self, layer: int) -> dict[str, Any]:
        """The settings that the training of one layer depends on."""
        shared = ("method", "epochs", "batch_size", "hidden", "k", "momentum")
        shared += ("weight_decay", "sampled", "noise", "corruption", "tied", "l1")
        facts = {name: getattr(self, name) for name in shared}
        facts["visible"] = self.visible[layer] if self.visible else ""
        facts["reconstruction"] = self.reconstruction[layer] if self.reconstruction else ""
        facts |= {"backend": self.backend} if self.backend else {}
        return {**facts, "rate": self.rates[layer], "version": self.version}

    def with_rates(self, rates: Sequence[float]) -> PretrainingSpec:
        """The same settings with these rates; with fewer rates there are fewer layers."""
        return replace(self, rates=tuple(rates))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> PretrainingSpec:
        lists = {key: tuple(values[key]) for key in ("rates", "visible", "reconstruction")}
        return cls(**{**values, **lists})


@dataclass(frozen=True, kw_only=True, slots=True)
class ExternalModel:
    """An external model: a network that the program did not write itself, as its inspection found it."""

    exchanged: int
    """Places where it called an activation, and calls another one now."""
    functions: str
    """The activations that it called there: '19 relu, 21 hardswish'."""
    kept: str
    """The activations that were not exchanged, and why: '8 hardsigmoid (a gate)'."""
    stem: str
    """How its first layers were adapted to the images, in words."""
    parameters: int
    """Trained numbers, those of the activation itself not included."""
    training_bytes: int
    """Bytes that training keeps for one image, as measured."""
    evaluation_bytes: int
    layout: str = ""
    """'contiguous' where it takes no images with their channels last."""
    pairs: bool = False
    """Whether it needs two images or more (batch normalisation): a single one at the end of an epoch is left out."""
    merged: tuple[str, ...] = ()
    """Modules whose number of calls depends on the batch size: all calls of a function in one count as one place."""
    places: tuple[str, ...] = ()
    """The places of the exchanged activations, as `--keep-act` names them."""
    remarks: tuple[str, ...] = ()
    """Its peculiarities, a line each."""
    narrowed: str = ""
    """How the widths of its linear layers were changed for a gated activation, in words: '3072 units become 2048'."""

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ExternalModel:
        lists = {key: tuple(values[key]) for key in ("merged", "places", "remarks") if key in values}
        return cls(**{**values, **lists})


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpec:
    """One network to train, fully resolved. Fields marked as notes are printed and do not enter the run's id."""

    activation: str
    """The canonical label; `select([label])` gives the activation back."""
    activation_digest: str | None
    """SHA-256 of a user's own source file."""
    dataset: str
    data_digest: str
    augment: str
    input_shape: tuple[int, ...]
    classes: int
    model: str
    model_digest: str | None = field(default=None, metadata={"absent": True})
    """SHA-256 of the source of a user's own network; torchvision's version for its networks."""
    parts_digest: str | None = field(default=None, metadata={"absent": True})
    """SHA-256 of the source of its family, task, optimizer, norm and probes, as far as they are not the package's."""
    keep_act: tuple[str, ...] | None = field(default=None, metadata={"absent": True})
    """Patterns of places whose activations are not exchanged; None: no patterns."""
    layout: str | None = field(default=None, metadata={"absent": True})
    """'contiguous' for an external model that takes no images with their channels last; None for all others."""
    channels: tuple[int, ...]
    hidden: tuple[int, ...]
    """Units after the activation, of each dense hidden layer."""
    latent: int = field(default=0, metadata={"absent": True})
    """Units of the code between an encoder and a decoder; 0: the network has none."""
    act_in: Literal["both", "encoder", "decoder"] = field(default="both", metadata={"absent": True})
    """Which half of an autoencoder has the activation; the other one's is `models.family.KEPT_ACTIVATION`."""
    output_act: str = field(default="", metadata={"absent": True})
    """The label of the outputs' own activation; empty: none but what the task's loss applies."""
    heads: int = field(default=0, metadata={"absent": True})
    """Of each attention; 0 where there is none."""
    balance: float = field(default=0.0, metadata={"absent": True})
    """The coefficient of the loss that balances the experts of a mixture."""
    match: str
    """'-' for a plain activation."""
    init: str
    norm: str
    dropout: float
    dropout_kind: Literal["zero", "alpha"] = field(default="zero", metadata={"absent": True})
    """What stands in the place of a dropped unit: 0, or the floor of SELU (AlphaDropout)."""
    sign_flip: bool
    optimizer: str
    lr: float
    exchange: str | None = field(default=None, metadata={"absent": True})
    """The label of the activation of the last tenth of the epochs; None: the same to the end."""
    act_lr: float | None = field(default=None, metadata={"absent": True})
    """The learning rate of what activations learn, under the same schedule; None: `lr`."""
    momentum: float
    weight_decay: float
    batch_size: int
    epochs: int
    schedule: str
    warmup_epochs: float
    patience: int | None
    l1: float
    """The coefficient of the sum over a layer's units, averaged over the batch."""
    precision: str
    probe: str
    """What is measured after each epoch; it changes what is stored of a run, not its numbers."""
    task: str = field(default=CLASSIFICATION, metadata={"absent": True})
    """The name of the task that the data set poses."""
    pretraining: str = "none"
    """The method: none, rbm, dae, or one of them with -shuffled appended (the control)."""
    stack: PretrainingSpec | None = field(default=None, metadata={"absent": True})
    """How the hidden layers were pre-trained; None: not at all."""
    images_digest: str | None = field(default=None, metadata={"absent": True})
    """Digest of all images used in pre-training, where only some of them have a label; None: `data_digest`."""
    seed: int
    device: str
    device_name: str
    threads: int
    """Processor threads that train a network: their number changes the last bits of a sum. 0 on other devices."""
    backend: str | None = field(default=None, metadata={"absent": True})
    """What multiplies the dense layers; None: what the package knows to be the fastest (`models.backend`)."""
    torch: str
    engine: int = ENGINE_VERSION
    protocol: str = field(metadata={"note": True})
    l1_asked: float = field(metadata={"note": True})
    """The coefficient as the user gave it, in `l1_scale`."""
    l1_scale: str = field(metadata={"note": True})
    departures: tuple[str, ...] = field(metadata={"note": True})
    """Deviations from the protocol, e.g. 'momentum 0.9'."""
    train_size: int | None = field(metadata={"note": True})
    """Training images asked for; None: all of them. The data's digest tells them apart."""
    labels: int | None = field(default=None, metadata={"note": True})
    """Labelled training images asked for; None: all of them."""
    split: str = field(default="standard", metadata={"note": True})
    target: str | None = field(default=None, metadata={"note": True})
    """The column of a table that is predicted; None for other data."""
    parameters: int = field(metadata={"note": True})
    """0 for an external model that was not inspected."""
    foreign: ExternalModel | None = field(default=None, metadata={"note": True})
    variant: str = field(default="", metadata={"note": True})
    """The label of the study's variant that asked for it."""

    @property
    def on_processor(self) -> bool:
        """Whether it is trained on the threads of a processor."""
        return DEVICES[self.device].is_processor

    @property
    def id(self) -> str:
        """The run's id: 16 hexadecimal digits of the SHA-256 over every field that is not a note.

        A field marked as absent does not enter while it has its default, so that a field added later changes no
        earlier id.
        """
        notes = {item.name for item in fields(self) if item.metadata.get("note")}
        notes |= {
            item.name
            for item in fields(self)
            if item.metadata.get("absent") and getattr(self, item.name) == item.default
        }
        facts = {key: value for key, value in self.to_json().items() if key not in notes}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def notes(self) -> dict[str, Any]:
        """The notes as JSON values; they may differ between two commands that name the same run."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.metadata.get("note")}
        if self.target is None:
            del values["target"]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    def to_json(self) -> dict[str, Any]:
        """The specification as JSON values; what only few runs have is left out of the others."""
        # Not asdict of all, which copies every value: a hundred thousand runs have their ids in seconds.
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        parts = {name: part for name, part in values.items() if isinstance(part, PretrainingSpec | ExternalModel)}
        values |= {name: asdict(part) for name, part in parts.items()}
        for part in (values, values["stack"] or {}):
            if part.get("backend", "") is None:
                del part["backend"]
        for name, usual in _LEFT_OUT.items():
            if values[name] == usual:
                del values[name]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunSpec:
        shapes = {key: tuple(values[key]) for key in ("input_shape", "channels", "hidden", "departures")}
        foreign, stack = values.get("foreign"), values.get("stack")
        inner = {
            "foreign": ExternalModel.from_json(foreign) if foreign else None,
            "keep_act": tuple(values["keep_act"]) if values.get("keep_act") else None,
            "stack": PretrainingSpec.from_json(stack) if stack else None,
        }
        return cls(**{**values, **shapes, **inner})
