"""The settings that Python's functions take by the names of the command line's flags. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, SupportsIndex, TypedDict, TypeGuard, TypeVar, cast

from relubench.errors import UsageError, shown
from relubench.experiments.config import ExperimentConfig, contradictions, experiment, merge
from relubench.experiments.python_objects import activation_name, dataset_name
from relubench.experiments.sections import Method
from relubench.system.lookup import did_you_mean


class TrainingSettings(TypedDict, total=False):
    """What `train` and its like may be given by name; None is as good as left out."""

    dataset: str | Path | Sequence[Any] | Mapping[str, Any] | None
    """A name, a path, or arrays: (x_train, y_train, x_test, y_test), six with x_valid and y_valid, or a mapping."""
    augment: str | None
    model: str | None
    keep_act: Sequence[str] | None
    init: str | None
    norm: str | None
    dropout: float | None
    sign_flip: bool | None
    match: str | None
    protocol: Literal["paper", "modern"] | None
    optimizer: str | None
    lr: float | Literal["auto"] | None
    momentum: float | None
    weight_decay: float | None
    batch_size: int | None
    epochs: int | None
    schedule: str | None
    patience: int | None
    precision: str | None
    probe: str | None
    seeds: int | Sequence[int] | str | None
    """A number of seeds, or the seeds themselves; of `train` also '3..50' or 'until-settled', as --seeds has them."""
    seed: int | None
    device: str | None
    executor: Literal["local", "inline", "ray", "slurm"] | None
    """Who carries out the jobs; the rest of that section by `settings`."""
    keep: Literal["best", "last", "none"] | None


class SpeedSettings(TrainingSettings, total=False):
    """What `speed` may be given by name beside what networks are trained with; None is as good as left out."""

    size: str | Sequence[str] | None
    dtype: str | Sequence[str] | None
    passes: str | Sequence[str] | None
    """Those of --pass."""
    compiled: bool | None
    threads: int | None
    inputs: str | None
    """The id of a run, whose pre-activations are inputs too."""
    rel_ci: float | None
    """A share: 0.02 is 2 %."""
    budget: float | None
    """In seconds."""
    target: float | None
    """The validation error to reach, in per cent."""
    method: Method | Sequence[Method] | None


SECTIONS: dict[str, tuple[str, ...]] = {
    "data": ("augment",),
    "model": ("keep_act", "init", "norm", "dropout", "sign_flip", "match"),
    "train": (
        *("protocol", "optimizer", "lr", "momentum", "weight_decay", "batch_size", "epochs", "schedule", "patience"),
        *("precision", "probe"),
    ),
    "": ("device", "keep"),
}
"""Section of the configuration -> the names whose keys it has; empty for the keys of no section."""


def configuration(
    act: object,
    named: Mapping[str, Any],
    settings: Mapping[str, Any] | None,
    *,
    defaults: Mapping[str, Any] | None = None,
    own: Mapping[str, Any] | None = None,
) -> ExperimentConfig:
    """The checked configuration of a call: `defaults` < `settings` (nested) < what is set by name.

    `own`: what is set by the names that only this function has, nested. Raises TypeError for a name that no setting
    has, UsageError for a value that is refused or a key that is set twice.
    """
    if settings is not None and not isinstance(settings, Mapping):
        raise UsageError(
            f"settings is a mapping, got {shown(settings)}", 'for example settings={"train": {"momentum": 0.9}}'
        )
    overrides = merge(overrides_of(act, named), own or {})
    for key, value, second in contradictions(settings or {}, overrides):
        raise UsageError(f"{key} is given twice: {value!r} and {second!r}", "leave one of them out")
    return experiment(defaults or {}, settings or {}, overrides)


def activation_names(act: object) -> tuple[str, ...]:
    """The names of one activation or of several; each is text, a function or a class."""
    several = isinstance(act, Sequence) and not isinstance(act, str)
    return tuple(activation_name(item) for item in (act if several else [act]))  # pyright: ignore[reportGeneralTypeIssues]


def overrides_of(act: object, named: Mapping[str, Any]) -> dict[str, Any]:
    """The nested mapping of what is set by name."""
    check_names(named)
    nested: dict[str, Any] = {}
    for section, names in SECTIONS.items():
        place = nested.setdefault(section, {}) if section else nested
        place |= {name: named[name] for name in names if named.get(name) is not None}
    if act is not None:
        nested["act"] = activation_names(act)
    if named.get("dataset") is not None:
        nested["data"]["name"] = dataset_name(named["dataset"])
    if named.get("model") is not None:
        nested["model"]["name"] = named["model"]
    if named.get("keep_act") is not None:
        nested["model"]["keep_act"] = tuple(named["keep_act"])
    if named.get("executor") is not None:
        nested["executor"] = {"name": named["executor"]}
    if (seeds := _seeds(named.get("seeds"), named.get("seed"))) is not None:
        nested["seeds"] = seeds
    return {key: value for key, value in nested.items() if value != {}}


def check_names(named: Mapping[str, Any], names: Mapping[str, Any] = TrainingSettings.__annotations__) -> None:
    """Raises TypeError for a name that no setting has, as Python does for an unknown argument."""
    for name in named:
        if name not in names:
            raise TypeError(f"there is no setting {name!r}: {did_you_mean(name, names, ', '.join(names))}")


def _seeds(seeds: object, seed: object) -> tuple[int, ...] | None:
    """The seeds of a call: the first so many, these, or this one; raises UsageError for anything else."""
    if seeds is not None and seed is not None:
        raise UsageError(f"seeds={seeds!r} and seed={seed} exclude each other", "leave one of the two out")
    if seeds is None and seed is None:
        return None
    if seed is not None:
        if not _is_whole(seed):
            raise UsageError(f"seed is a whole number, got {shown(seed)}", "for example seed=1")
        return (int(seed),)
    if _is_whole(seeds):
        return tuple(range(int(seeds)))
    if isinstance(seeds, Sequence | range) and not isinstance(seeds, str) and all(_is_whole(value) for value in seeds):
        return tuple(int(value) for value in seeds)
    hint = "for example seeds=5, or seeds=[3, 7]; looks (3..50) are for relubench.train"
    raise UsageError(f"seeds is a number or a list of numbers here, got {shown(seeds)}", hint)


def _is_whole(value: object) -> TypeGuard[SupportsIndex]:
    """Whether it is a whole number of Python or NumPy, and no truth value."""
    return isinstance(value, SupportsIndex) and not isinstance(value, bool)


Texts = str | Sequence[str]
Text = TypeVar("Text", bound=str)


def texts_of(texts: Text | Sequence[Text] | None) -> tuple[Text, ...]:
    """One text or several, as a tuple; empty for None."""
    return () if texts is None else (cast("Text", texts),) if isinstance(texts, str) else tuple(texts)
