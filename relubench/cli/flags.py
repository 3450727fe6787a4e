"""From flags to a configuration: which flag sets which key, and errors that name the flag that was typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin

from relubench.errors import UsageError
from relubench.system.lookup import did_you_mean

if TYPE_CHECKING:
    from relubench.experiments.config import ExperimentConfig
    from relubench.experiments.sections import Method

MAX_SEEDS = 10_000

TAKES_AUTO = ("--lr", "--pretrain-lr")
"""Flags that take a number or the word auto."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """A flag that sets one key of the configuration."""

    option: str
    key: str
    number: Literal["", "whole", "any"] = ""
    """How its text is read: as it stands, as a whole number, as any number."""


FLAGS: dict[str, Flag] = {
    "dataset": Flag(option="--dataset", key="data.name"),
    "augment": Flag(option="--augment", key="data.augment"),
    "model": Flag(option="--model", key="model.name"),
    "init": Flag(option="--init", key="model.init"),
    "norm": Flag(option="--norm", key="model.norm"),
    "dropout": Flag(option="--dropout", key="model.dropout", number="any"),
    "sign_flip": Flag(option="--sign-flip", key="model.sign_flip"),
    "match": Flag(option="--match", key="model.match"),
    "protocol": Flag(option="--protocol", key="train.protocol"),
    "optimizer": Flag(option="--optimizer", key="train.optimizer"),
    "lr": Flag(option="--lr", key="train.lr", number="any"),
    "momentum": Flag(option="--momentum", key="train.momentum", number="any"),
    "weight_decay": Flag(option="--weight-decay", key="train.weight_decay", number="any"),
    "batch_size": Flag(option="--batch-size", key="train.batch_size", number="whole"),
    "epochs": Flag(option="--epochs", key="train.epochs", number="whole"),
    "schedule": Flag(option="--schedule", key="train.schedule"),
    "patience": Flag(option="--patience", key="train.patience", number="whole"),
    "precision": Flag(option="--precision", key="train.precision"),
    "probe": Flag(option="--probe", key="train.probe"),
    "device": Flag(option="--device", key="device"),
    "keep": Flag(option="--keep", key="keep"),
}
"""Parameter name of a command -> what it sets."""

PRETRAIN_FLAGS: dict[str, Flag] = {
    "pretrain_epochs": Flag(option="--pretrain-epochs", key="pretrain.epochs", number="whole"),
    "pretrain_lr": Flag(option="--pretrain-lr", key="pretrain.lr", number="any"),
    "control": Flag(option="--control", key="pretrain.control"),
}
"""Those of `pretrain` alone."""

ALL_FLAGS = FLAGS | PRETRAIN_FLAGS


def experiment(
    given: Mapping[str, Any], *, defaults: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
) -> ExperimentConfig:
    """The checked configuration out of a command's parameters (`ctx.params`); raises UsageError naming the flag.

    `defaults` are the command's own, weaker than --set; `settings` come from flags of its own.
    """
    from relubench.experiments import config

    try:
        return config.experiment(defaults or {}, *layers(given), settings or {})
    except UsageError as error:
        raise _in_terms_of_flags(error, given) from error


def layers(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What --set and the flags ask for, weakest first; raises UsageError where they contradict each other."""
    from relubench.experiments import config

    assigned, flags = config.parse_assignments(given.get("assignments") or ()), overrides(given)
    for key, value, _ in config.contradictions(assigned, flags):
        raise UsageError(f"{_typed(key, given)} and --set {key}={value} exclude each other", "leave one of them out")
    return [assigned, flags]


def _typed(key: str, given: Mapping[str, Any]) -> str:
    """The flag that set `key`, as it was typed."""
    names = {"act": "--act", "keep_act": "--keep-act", "seeds": "--seeds", "seed": "--seed"}
    names |= {name: one.option for name, one in FLAGS.items()}
    keys = {"act": "act", "keep_act": "model.keep_act", "seeds": "seeds", "seed": "seeds"}
    keys |= {name: one.key for name, one in FLAGS.items()}
    name = next(name for name in names if keys[name] == key and given.get(name) is not None)
    value = ",".join(given[name]) if name in ("act", "keep_act") else given[name]
    return names[name] if value is True else f"{names[name]} {value}"


def overrides(given: Mapping[str, Any]) -> dict[str, Any]:
    """The nested mapping that the given flags ask for; a flag that was left out is not in it."""
    nested: dict[str, Any] = {}
    for name, flag in ALL_FLAGS.items():
        text = given.get(name)
        if text is None:
            continue
        section, _, key = flag.key.rpartition(".")
        place = nested.setdefault(section, {}) if section else nested
        place[key] = _value(flag, text)
    if given.get("act"):
        nested["act"] = tuple(given["act"])
    if given.get("keep_act"):
        nested.setdefault("model", {})["keep_act"] = tuple(given["keep_act"])
    if given.get("method"):
        nested.setdefault("pretrain", {})["methods"] = methods_of(given["method"])
    if seeds := _seeds(given.get("seeds"), given.get("seed")):
        nested["seeds"] = seeds
    return nested


def whole_number(option: str, text: str, low: int, high: int) -> int:
    """The whole number that `text` is; raises UsageError if it is none or lies outside low..high."""
    number = _number(option, text, int)
    if not low <= number <= high:
        raise UsageError(f"{option} must be {low} to {high}, got {text}", f"for example {option} {max(low, 5)}")
    return int(number)


def methods_of(given: Sequence[str]) -> tuple[Method, ...]:
    """The ways of pre-training that --method names, once or several times; raises UsageError for any other."""
    from relubench.experiments.sections import Method

    known = get_args(Method)
    names = [name.strip() for text in given for name in text.split(",")]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, "for example --method none,rbm")
            raise UsageError(f"--method must be of {', '.join(known)}, got {name!r}", hint)
    return tuple(cast("list[Method]", names))


def _seeds(seeds: str | None, seed: str | None) -> tuple[int, ...]:
    if seeds is not None and seed is not None:
        raise UsageError(
            f"--seeds {seeds} and --seed {seed} exclude each other",
            "--seeds N trains with the seeds 0 to N-1, --seed S with the one seed S",
        )
    if seeds is not None:
        return tuple(range(whole_number("--seeds", seeds, 1, MAX_SEEDS)))
    if seed is not None:
        from relubench.experiments.config import MAX_SEED

        return (whole_number("--seed", seed, 0, MAX_SEED),)
    return ()


def _value(flag: Flag, text: Any) -> Any:
    if flag.number == "whole":
        return _number(flag.option, text, int)
    if flag.number == "any" and not (flag.option in TAKES_AUTO and text == "auto"):
        return _number(flag.option, text, float)
    if isinstance(text, str) and (choices := _choices(flag.key)) and text not in choices:
        hint = did_you_mean(text, choices, f"for example {flag.option} {choices[0]}")
        raise UsageError(f"{flag.option} must be one of {', '.join(choices)}, got {text!r}", hint)
    return text


def _number(option: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(text)
    except ValueError as error:
        rule, example = ("a whole number", "30") if kind is int else ("a number", "0.01")
        either = " or auto" if option in TAKES_AUTO else ""
        raise UsageError(f"{option} must be {rule}{either}, got {text!r}", f"for example {option} {example}") from error


def _choices(key: str) -> Sequence[str]:
    """The values that the schema allows for a key with a fixed set of them; empty for any other key."""
    from relubench.experiments.config import ExperimentConfig

    section, _, name = key.rpartition(".")
    schema = ExperimentConfig.model_fields[section].annotation if section else ExperimentConfig
    annotation = schema.model_fields[name].annotation  # type: ignore[union-attr]
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _in_terms_of_flags(error: UsageError, given: Mapping[str, Any]) -> UsageError:
    """The same error, naming the flag that was typed where the schema names its own key."""
    for name, flag in ALL_FLAGS.items():
        if given.get(name) is not None and error.message.startswith((f"{flag.key} ", f"{flag.key}:")):
            message = flag.option + error.message.removeprefix(flag.key)
            near, question, _ = error.hint.rpartition("? ")
            return UsageError(message, f"{near}{question}give {flag.option} another value, or leave it out")
    # A rule about two keys is reported for the section that holds both.
    return UsageError(error.message.removeprefix("train: ").removeprefix("pretrain: "), error.hint)
