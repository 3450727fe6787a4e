"""What an experiment is: the one place where defaults live, checked wherever a value enters. Torch-free.

The defaults are the `paper` protocol (Glorot, Bordes & Bengio 2011, section 4.1, with the gaps filled as README says);
`PROTOCOLS` holds what each other protocol changes. Values are merged in the order schema < protocol < preset < --set <
flags.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from relubench.errors import UsageError, shown
from relubench.system.lookup import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_SEED = 2**31 - 1

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
BoundedUniform = Annotated[str, Field(pattern=r"^uniform:(0*\.0*[1-9]\d*|0*[1-9]\d*(\.\d+)?)$")]
""" `uniform:B`: weights from [-B, B], a positive decimal number; zero biases."""


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values are never changed after the check."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DataSection(Section):
    name: str = "digits"
    """A data set of `relubench list datasets`, a .npz file or an image folder."""
    augment: Literal["none", "crop", "flip", "crop+flip"] = "none"
    """Random crops and flips of the training images; for convolutional networks."""
    image_size: Annotated[int, Field(ge=4, le=1024)] | None = None
    """Side in pixels that the images of a folder are resized to; by default they must all agree."""
    train_size: Annotated[int, Field(ge=1)] | None = None
    """Train on this many images only, drawn once and for all from the training part; perturbed sets can have more."""
    split: Literal["standard", "paper"] = "standard"
    """The usual split of the data set, or that of Glorot et al. 2011 (another for cifar10: 50k/5k/5k)."""
    labels: Annotated[int, Field(ge=1)] | None = None
    """Train on the labels of this many training images only; pre-training still sees all images."""
    test_noise: tuple[NonNegative, ...] = ()
    """Test each network again under Gaussian noise of these standard deviations, in units of the scaled input."""


class ModelSection(Section):
    name: str = "auto"
    """mlp-3x1000, resmlp-20x100, cnn, torchvision:resnet18, ./file.py:Net, ...; auto: the data set's own."""
    init: Literal["auto", "xavier", "he", "lecun", "uniform", "own"] | BoundedUniform = "xavier"
    """Initial weights; auto matches the gain to the activation, uniform:0.01 draws from [-0.01, 0.01].

    Networks of torchvision and your own keep their own."""
    norm: Literal["none", "batch", "layer", "rms"] = "none"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability of zeroing a hidden unit in training."""
    sign_flip: bool = False
    """Multiply the outputs of half of the hidden units by -1 (Glorot et al. 2011, section 3.1)."""
    keep_act: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Places of a torchvision or own network whose activations stay as they are; * matches anything."""
    match: Literal["parameters", "width"] = "parameters"
    """How a gated network is made comparable to a plain one: equal parameter count, or equal width."""


class TrainSection(Section):
    protocol: Literal["paper", "modern"] = "paper"
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: Positive | Literal["auto"] = 0.1
    """Learning rate; auto chooses it for each activation by validation error, on a seed that is not reported."""
    lr_grid: tuple[Positive, ...] | None = None
    """Learning rates that auto tries; by default the paper's for sgd, and 0.01, 0.001, 0.0001 for adam and adamw."""
    lr_seeds: Annotated[int, Field(ge=1, le=100)] = 1
    """Trainings of each activation at each rate of the grid; their mean validation error decides."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: NonNegative = 0.0
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 30
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: NonNegative = 0.0
    """Epochs over which the learning rate rises linearly from zero."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many epochs without a lower validation error."""
    l1: NonNegative | Annotated[tuple[NonNegative, ...], Field(min_length=1)] = 0.0
    """Strength of the L1 penalty on the hidden activations, averaged over the batch; several are compared."""
    l1_scale: Literal["sum", "mean", "paper"] = "sum"
    """Over a layer's units the penalty is their sum, their mean, or a thirtieth of the sum (see plan.l1_of_sum)."""
    l1_pairs: bool = False
    """With several strengths: the first with the first seed and so on, instead of each with every seed."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    probe: Literal["none", "activations", "gradients", "regions", "all"] = "activations"
    """What is looked at after each epoch: activations and dead units, gradients as well, linear regions as well."""

    @property
    def strengths(self) -> tuple[float, ...]:
        """The L1 strengths, as they were asked for."""
        return self.l1 if isinstance(self.l1, tuple) else (self.l1,)

    @model_validator(mode="after")
    def _consistent(self) -> TrainSection:
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"momentum (={self.momentum}) belongs to the optimizer sgd, not {self.optimizer}")
        if self.lr != "auto" and (self.lr_grid is not None or self.lr_seeds != 1):
            name = "lr_seeds" if self.lr_grid is None else "lr_grid"
            raise ValueError(f"{name} belongs to lr auto, not to lr {self.lr:g}")
        if self.lr_grid is not None and len(set(self.lr_grid)) < max(2, len(self.lr_grid)):
            raise ValueError(f"lr_grid must not have fewer than two rates or one of them twice, got {self.lr_grid}")
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs (={self.warmup_epochs:g}) must not exceed epochs (={self.epochs})")
        return self


Method = Literal["none", "rbm", "dae", "file"]

_METHOD_OF: dict[str, Method] = dict.fromkeys(("visible", "k", "momentum", "weight_decay", "sampled"), "rbm")
_METHOD_OF |= dict.fromkeys(("reconstruction", "noise", "corruption", "tied", "l1"), "dae")
"""Key of PretrainSection -> the one method that it belongs to."""


class PretrainSection(Section):
    methods: tuple[Method, ...] = ("none",)
    """How the hidden layers are pre-trained; several make several rows of each activation."""
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 10
    """Passes over the images for each layer."""
    lr: Positive | Literal["auto"] = "auto"
    """Learning rate of pre-training; auto chooses each layer's by reconstruction error, on a seed not reported."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """By default that of the supervised training, as in the paper."""
    source: str | None = None
    """The file of weights that the method file starts from."""
    control: bool = False
    """Add a row that starts from the pre-trained weights shuffled within each layer."""
    visible: Literal["auto", "bernoulli", "gaussian"] = "auto"
    """rbm: the first layer's visible units; auto: bernoulli for images in [0, 1], else gaussian, standardised."""
    k: Annotated[int, Field(ge=1, le=1000)] = 1
    """rbm: steps of contrastive divergence."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """rbm."""
    weight_decay: NonNegative = 0.0
    """rbm."""
    sampled: bool = False
    """rbm: draw the last reconstruction too, instead of taking its mean."""
    reconstruction: Literal["auto", "softplus", "scaled", "linear", "rectifier", "cross-entropy"] = "auto"
    """dae: output layer and cost; auto: cross-entropy for sigmoid and tanh, else softplus with quadratic cost."""
    noise: Literal["masking", "salt-pepper", "gaussian"] = "masking"
    """dae: how the input is corrupted."""
    corruption: Annotated[float, Field(ge=0, le=1)] = 0.25
    """dae: share of the inputs that noise replaces; with gaussian its standard deviation."""
    tied: bool = True
    """dae: the decoder uses the encoder's weights, transposed."""
    l1: NonNegative = 0.0
    """dae: L1 penalty on the code: summed over units, averaged over the batch."""

    def only(self, methods: Sequence[Method]) -> PretrainSection:
        """The same for those of its methods that are among these; what belongs to another is at its default."""
        kept = tuple(one for one in self.methods if one in methods)
        unused = [key for key, method in _METHOD_OF.items() if method not in kept]
        changes: dict[str, Any] = {key: type(self).model_fields[key].default for key in unused}
        changes |= {"source": self.source if "file" in kept else None}
        return self.model_copy(update=changes | {"methods": kept, "control": self.control and set(kept) != {"none"}})

    @model_validator(mode="after")
    def _consistent(self) -> PretrainSection:
        for key, method in _METHOD_OF.items():
            value = getattr(self, key)
            if value != type(self).model_fields[key].default and method not in self.methods:
                raise ValueError(f"{key} (={value}) belongs to the method {method}, which is not asked for")
        if ("file" in self.methods) != (self.source is not None):
            raise ValueError("the method file and pretrain.source belong together: --from FILE sets both")
        if self.control and set(self.methods) == {"none"}:
            raise ValueError("control (=True) belongs to a pre-training method, and none is asked for")
        return self

    @field_validator("methods")
    @classmethod
    def _each_once(cls, methods: tuple[Method, ...]) -> tuple[Method, ...]:
        if not methods:
            raise ValueError("at least one method is needed")
        return tuple(dict.fromkeys(methods))


class ExperimentConfig(Section):
    """A whole experiment: which activations, on what, how trained, over which seeds."""

    act: tuple[str, ...] = ("sigmoid", "tanh", "relu", "gelu")
    data: DataSection = DataSection()
    model: ModelSection = ModelSection()
    train: TrainSection = TrainSection()
    pretrain: PretrainSection = PretrainSection()
    seeds: tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...] = (0,)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    keep: Literal["best", "last", "none"] = "best"
    """Which weights are stored with each run."""

    def one_strength(self) -> ExperimentConfig:
        """The same without an L1 penalty."""
        return self.model_copy(update={"train": self.train.model_copy(update={"l1": 0.0, "l1_pairs": False})})

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds:
            raise ValueError("at least one seed is needed")
        return tuple(sorted(set(seeds)))

    @model_validator(mode="after")
    def _paired(self) -> ExperimentConfig:
        if self.train.l1_pairs and len(self.train.strengths) != len(self.seeds):
            strengths, seeds = len(self.train.strengths), len(self.seeds)
            raise ValueError(f"the {strengths} strengths of train.l1 must not differ in number from the {seeds} seeds")
        return self

    @field_validator("act")
    @classmethod
    def _some(cls, act: tuple[str, ...]) -> tuple[str, ...]:
        if not act:
            raise ValueError("at least one activation is needed")
        return act

    @model_validator(mode="after")
    def _testable(self) -> ExperimentConfig:
        if any(self.data.test_noise) and self.keep != "best":
            raise ValueError(f"test_noise needs the best weights, so keep (={self.keep}) must not be other than best")
        return self


PROTOCOLS: dict[str, dict[str, Any]] = {
    "paper": {},
    "modern": {
        "train": {
            "optimizer": "adamw",
            "lr": 0.001,
            "weight_decay": 0.01,
            "batch_size": 128,
            "schedule": "cosine",
            "warmup_epochs": 1.0,
        },
        "model": {"init": "auto"},
    },
}
"""What each protocol changes of the defaults."""


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """One nested mapping out of several: a later one overrides an earlier one key by key.

    Raises UsageError where one has a value and another keys: neither may vanish behind the other.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            old = merged.get(key, value)
            if isinstance(old, Mapping) != isinstance(value, Mapping):
                lone, keys = (value, old) if isinstance(old, Mapping) else (old, value)
                raise UsageError(
                    f"{key} cannot be {lone!r} and have keys of its own ({', '.join(keys)})",
                    "set a section's keys one by one, such as train.l1=0.001",
                )
            merged[key] = merge(old, value) if isinstance(old, Mapping) and old is not value else value
    return merged


def leaves(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """A nested mapping laid flat: 'train.lr' -> its value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{above}{key}"
        flat |= leaves(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return flat


def contradictions(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Keys that two layers of one request set to different values, with both values."""
    mine, theirs = leaves(one), leaves(other)

    def plain(value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value

    return [(key, mine[key], theirs[key]) for key in mine if key in theirs and plain(mine[key]) != plain(theirs[key])]


def experiment(*layers: Mapping[str, Any]) -> ExperimentConfig:
    """The checked configuration out of layers of overrides, weakest first; raises UsageError naming key and value."""
    asked = merge(*layers)
    train = asked.get("train")
    protocol = train.get("protocol", "paper") if isinstance(train, Mapping) else "paper"
    base = PROTOCOLS.get(protocol, {}) if isinstance(protocol, str) else {}
    values = merge(base, asked)
    _shorten_warmup(values, asked)
    try:
        return ExperimentConfig.model_validate(values)
    except ValidationError as error:
        raise refusal(error) from error


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """The nested mapping that `--set key.path=value` asks for; values are read as YAML scalars or lists."""
    from relubench.system.plain_yaml import assignment_of

    merged: dict[str, Any] = {}
    for text in assignments:
        keys, value = assignment_of(text)
        for key in reversed(keys):
            value = {key: value}
        for key, first, second in contradictions(merged, value):
            raise UsageError(f"--set {key} is given twice: {shown(first)} and {shown(second)}", "leave one of them out")
        merged = merge(merged, value)
    return merged


def check_strength(option: str, text: str) -> float:
    """The L1 strength that `text` is; raises UsageError for what is no number, negative or not finite."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        hint = f"for example {option} 0,0.001,0.01"
        raise UsageError(f"{option} must be finite numbers of at least 0, split at commas, got {text!r}", hint)
    return value + 0.0


def _shorten_warmup(values: dict[str, Any], asked: Mapping[str, Any]) -> None:
    """A protocol's own warm-up gives way to a shorter training; one that the user asked for does not."""
    asked_train, train = asked.get("train", {}), values.get("train")
    if not isinstance(train, dict) or not isinstance(asked_train, Mapping) or "warmup_epochs" in asked_train:
        return
    epochs, warmup = train.get("epochs"), train.get("warmup_epochs")
    if isinstance(epochs, int) and isinstance(warmup, float) and warmup > epochs / 2:
        train["warmup_epochs"] = epochs / 2


def key_path(found: ErrorDetails) -> list[str]:
    """The key that a check of the schema failed at, without the types that a union tried."""
    path = [str(part) for part in found["loc"] if not str(part).startswith(("function-", "constrained-", "literal"))]
    return [part for part in path if part not in ("float", "int", "str", "none")]


def refusal(error: ValidationError) -> UsageError:
    """What the schema found first, as an error for the user."""
    first = error.errors()[0]
    path = key_path(first)
    key = ".".join(path) or "the configuration"
    if first["type"] == "extra_forbidden":
        return UsageError(f"there is no configuration key {key}", did_you_mean(key, known_keys(), _KEYS_HINT))
    rule = first["msg"].removeprefix("Value error, ")
    rule = rule[0].lower() + rule[1:]
    if first["type"] == "value_error":
        return UsageError(
            f"{key}: {rule}", "change one of the two" if "must not" in rule or "belongs" in rule else rule
        )
    alternatives = [one for one in error.errors() if one["loc"][: len(path)] == first["loc"][: len(path)]]
    rule = " or ".join(dict.fromkeys(_rule(one) for one in alternatives))
    wanted = "[VALUE, ...]" if first["type"] == "tuple_type" else "VALUE"
    names = _NAMES.findall(first["msg"]) if first["type"] == "literal_error" else []
    hint = did_you_mean(shown(first["input"]).strip("'"), names, f"set it with --set {key}={wanted} or its own flag")
    return UsageError(f"{key} {rule}, got {shown(first['input'])}", hint)


_NAMES = re.compile(r"'([^']+)'")


def _rule(found: ErrorDetails) -> str:
    """What the schema wants, in the words of a command line."""
    if found["type"] == "string_pattern_mismatch":
        return "'uniform:B' with a bound B above 0"
    rule = found["msg"].removeprefix("Input ").replace("a valid tuple", "a list")
    return rule[0].lower() + rule[1:]


_KEYS_HINT = "the keys are " + ", ".join(
    ["act", "data.*", "model.*", "train.*", "pretrain.*", "seeds", "device", "keep"]
)


def known_keys() -> list[str]:
    """Every key path of the schema, e.g. 'train.lr'."""
    keys: list[str] = []
    for name, field in ExperimentConfig.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            keys += [f"{name}.{one}" for one in inner.model_fields]
        else:
            keys.append(name)
    return keys
