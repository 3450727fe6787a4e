"""A flag that sets a field of the configuration: its name, type, text and choices follow from the schema."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from relubench.cli.options import MACHINES, NETWORK, PRETRAINING, TRAINING
from relubench.cli.schema_field import SchemaField, schema_field
from relubench.errors import UsageError
from relubench.system.lookup import did_you_mean

HEADINGS = {
    "data": NETWORK,
    "model": NETWORK,
    "train": TRAINING,
    "pretrain": PRETRAINING,
    "executor": MACHINES,
    "": TRAINING,
}
"""Section of the configuration -> the heading of the help under which its flags stand."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """A flag that sets a field of the configuration. What is empty here follows from the field."""

    field: str
    """The path of the field: `train.lr`."""
    name: str = ""
    """Of the option, without dashes; by default the field's own."""
    heading: str = ""
    """Of the help; by default that of the section."""
    values: str = ""
    """What the help says of the value; by default the choices, N for whole numbers, X for others, NAME for text."""
    help: str = ""
    """By default the field's docstring."""
    default: str = ""
    """The default in words, where the field's own value says too little."""
    completion: Callable[[str], list[str]] | None = None
    read: Callable[[str, Any], Any] | None = None
    """(option, text) -> value; by default by the field's type."""

    @property
    def option(self) -> str:
        """The flag as it is typed: `--lr`."""
        return "--" + (self.name or self.field.rpartition(".")[2].replace("_", "-"))

    @property
    def parameter(self) -> inspect.Parameter:
        """The flag as a parameter of a function that Typer takes; None unless it is typed."""
        field = schema_field(self.field)
        kind = bool if field.is_switch else list[str] if field.is_list else str
        option = typer.Option(
            self.option,
            metavar=None if field.is_switch else self.values or _values_of(field),
            autocompletion=self.completion,
            rich_help_panel=self.heading or HEADINGS[self.field.rpartition(".")[0]],
            help=f"{self.help or field.text} Default: {self.default or field.default}.",
        )
        name = self.option.removeprefix("--").replace("-", "_")
        annotation = Annotated[kind | None, option]
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)

    def value(self, text: Any) -> Any:
        """The field's value that was typed as `text`; raises UsageError naming the flag for what is none."""
        if self.read is not None:
            return self.read(self.option, text)
        field = schema_field(self.field)
        if field.is_switch:
            return text
        if field.is_list:
            return tuple(text)
        if field.number is not None and text not in field.words:
            return number(self.option, text, field.number, field.words)
        if field.is_closed and text not in field.words:
            hint = did_you_mean(text, field.words, f"for example {self.option} {field.words[0]}")
            raise UsageError(f"{self.option} must be one of {', '.join(field.words)}, got {text!r}", hint)
        return text


def number(option: str, text: str, kind: type[int] | type[float], words: Sequence[str] = ()) -> int | float:
    """The number that `text` is; raises UsageError if it is none. `words` may stand in its place."""
    try:
        return kind(text)
    except ValueError as error:
        rule, example = ("a whole number", "30") if kind is int else ("a number", "0.01")
        rule = " or ".join((rule, *words))
        raise UsageError(f"{option} must be {rule}, got {text!r}", f"for example {option} {example}") from error


def whole_number(option: str, text: str, low: int, high: int) -> int:
    """The whole number that `text` is; raises UsageError if it is none or lies outside low..high."""
    value = number(option, text, int)
    if not low <= value <= high:
        raise UsageError(f"{option} must be {low} to {high}, got {text}", f"for example {option} {max(low, 5)}")
    return int(value)


def _values_of(field: SchemaField) -> str:
    """What a help says of the values: `sgd|adam|adamw`, `N`, `X|auto`, `NAME`."""
    if field.is_closed:
        return "|".join(field.words)
    if field.number is not None:
        return "|".join(("N" if field.number is int else "X", *field.words))
    return "NAME"
