"""What an experiment is: the one place where defaults live, checked wherever a value enters. Torch-free.

The defaults are the `paper` protocol (Glorot, Bordes & Bengio 2011, section 4.1; docs/explanation/protocols.md says how
its gaps are filled). `PROTOCOLS` holds what each other protocol changes. Values are merged in the order schema <
protocol < preset < --set < flags.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from relubench.activations.mix import with_mixes
from relubench.errors import UsageError, shown
from relubench.experiments.choices import NameOf
from relubench.experiments.executor_sections import ExecutorSection, SlurmSection
from relubench.experiments.sections import DataSection, ModelSection, PretrainSection, Section, TrainSection
from relubench.models.architecture import default_model
from relubench.models.families import family_of
from relubench.system.device_kinds import device_choices
from relubench.system.lookup import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_SEED = 2**31 - 1


class ExperimentConfig(Section):
    """A whole experiment: which activations, on what, how trained, over which seeds."""

    act: tuple[str, ...] = ("sigmoid", "tanh", "relu", "gelu")
    act_by_layer: tuple[str, ...] = ()
    """Mixes: an activation for each hidden layer, the lowest first: relu*4,gelu*2."""
    data: DataSection = DataSection()
    model: ModelSection = ModelSection()
    train: TrainSection = TrainSection()
    pretrain: PretrainSection = PretrainSection()
    seeds: tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...] = (0,)
    device: Annotated[str, NameOf(device_choices)] = "auto"
    keep: Literal["best", "last", "none"] = "best"
    """Which weights are stored with each run."""
    executor: ExecutorSection = ExecutorSection()
    slurm: SlurmSection = SlurmSection()

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

    @model_validator(mode="before")
    @classmethod
    def _with_mixes(cls, values: Any) -> Any:
        """`act_by_layer` as activations of the list; without `act` the list has nothing else."""
        return with_mixes(values)

    @field_validator("act")
    @classmethod
    def _not_empty(cls, act: tuple[str, ...]) -> tuple[str, ...]:
        if not act:
            raise ValueError("at least one activation is needed")
        return act

    @model_validator(mode="after")
    def _placed(self) -> ExperimentConfig:
        if self.slurm != SlurmSection() and self.executor.name != "slurm":
            raise ValueError(f"slurm.* belongs to the executor slurm, not to {self.executor.name}")
        return self

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
    "transformer": {
        "train": {
            "optimizer": "adamw",
            "lr": 0.003,
            "weight_decay": 0.1,
            "batch_size": 16,
            "epochs": 5,
            "schedule": "cosine",
            "warmup_epochs": 0.25,
        },
        "model": {"init": "auto", "norm": "rms"},
    },
}
"""What each protocol changes of the defaults; the last is that of Transformers unless another is asked for."""


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


def contradictions(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Keys that two layers of one request set to different values, with both values."""
    first_values, second_values = leaves(first), leaves(second)

    def plain(value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value

    return [
        (key, first_values[key], second_values[key])
        for key in first_values
        if key in second_values and plain(first_values[key]) != plain(second_values[key])
    ]


def experiment(*layers: Mapping[str, Any]) -> ExperimentConfig:
    """The checked configuration out of layers of overrides, weakest first; raises UsageError naming key and value."""
    overrides = merge(*layers)
    train = overrides.get("train")
    protocol = train.get("protocol") if isinstance(train, Mapping) else None
    if protocol is None:
        protocol = _usual_protocol(overrides)
        overrides = merge({"train": {"protocol": protocol}}, overrides) if protocol != "paper" else overrides
    base = PROTOCOLS.get(protocol, {}) if isinstance(protocol, str) else {}
    values = merge(base, overrides)
    _shorten_warmup(values, overrides)
    try:
        return ExperimentConfig.model_validate(values)
    except ValidationError as error:
        raise refusal(error) from error


def _usual_protocol(overrides: Mapping[str, Any]) -> str:
    """The protocol of the model's family, or of the model that the data set is usually trained with."""
    model, data = (values if isinstance(values := overrides.get(key), Mapping) else {} for key in ("model", "data"))
    name, dataset = model.get("name", "auto"), data.get("name", "digits")
    if not isinstance(name, str) or not isinstance(dataset, str):
        return "paper"
    try:
        return family_of(name if name != "auto" else default_model(dataset)).protocol
    except UsageError:
        # What is wrong with the name is said where the network is laid out.
        return "paper"


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """The nested mapping that `--set key.path=value` asks for; values are read as YAML scalars or lists."""
    merged: dict[str, Any] = {}
    if not assignments:
        return merged
    from relubench.system.plain_yaml import assignment_of

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


def _shorten_warmup(values: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    """A protocol's own warm-up gives way to a shorter training; one that the user asked for does not."""
    train_overrides, train = overrides.get("train", {}), values.get("train")
    if not isinstance(train, dict) or not isinstance(train_overrides, Mapping) or "warmup_epochs" in train_overrides:
        return
    epochs, warmup = train.get("epochs"), train.get("warmup_epochs")
    if isinstance(epochs, int) and isinstance(warmup, float) and warmup > epochs / 2:
        train["warmup_epochs"] = epochs / 2


def key_path(detail: ErrorDetails) -> list[str]:
    """The key that a check of the schema failed at, without the types that a union tried."""
    path = [str(part) for part in detail["loc"] if not str(part).startswith(("function-", "constrained-", "literal"))]
    return [part for part in path if part not in ("float", "int", "str", "none")]


def refusal(error: ValidationError) -> UsageError:
    """What the schema found first, as an error for the user."""
    first = error.errors()[0]
    path = key_path(first)
    key = ".".join(path) or "the configuration"
    if first["type"] == "extra_forbidden":
        see = f"the keys are {', '.join(f'{name}.*' if section else name for name, section in sections().items())}"
        return UsageError(f"there is no configuration key {key}", did_you_mean(key, known_keys(), see))
    rule = first["msg"].removeprefix("Value error, ")
    rule = rule[0].lower() + rule[1:]
    if first["type"] == "value_error":
        return UsageError(
            f"{key}: {rule}", "change one of the two" if "must not" in rule or "belongs" in rule else rule
        )
    alternatives = [detail for detail in error.errors() if detail["loc"][: len(path)] == first["loc"][: len(path)]]
    rule = " or ".join(dict.fromkeys(_rule(detail) for detail in alternatives))
    form = "[VALUE, ...]" if first["type"] == "tuple_type" else "VALUE"
    names = _NAMES.findall(first["msg"]) if first["type"] == "literal_error" else []
    hint = did_you_mean(shown(first["input"]).strip("'"), names, f"set it with --set {key}={form} or its own flag")
    return UsageError(f"{key} {rule}, got {shown(first['input'])}", hint)


_NAMES = re.compile(r"'([^']+)'")


def _rule(detail: ErrorDetails) -> str:
    """What the schema wants, in the words of a command line."""
    if detail["type"] == "string_pattern_mismatch":
        return "'uniform:B' with a bound B above 0"
    rule = detail["msg"].removeprefix("Input ").replace("a valid tuple", "a list")
    return rule[0].lower() + rule[1:]


def sections() -> dict[str, type[Section] | None]:
    """The keys at the top of the schema, with the section that each holds; None for a key with a value of its own."""
    kinds = {name: field.annotation for name, field in ExperimentConfig.model_fields.items()}
    return {
        name: kind if isinstance(kind, type) and issubclass(kind, Section) else None for name, kind in kinds.items()
    }


def known_keys() -> list[str]:
    """Every key path of the schema, e.g. 'train.lr'."""
    return [
        path
        for name, section in sections().items()
        for path in ([f"{name}.{key}" for key in section.model_fields] if section else [name])
    ]
