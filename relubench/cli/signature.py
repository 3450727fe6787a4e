"""A command's function as Typer takes it: each flag a parameter of its own, put together again for the function."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import typer

from relubench.cli import options
from relubench.cli.config_flags import ConfigFlags, Offer, TypedFlag
from relubench.cli.flags import Flag

SET = inspect.Parameter("assignments", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=options.Assignments)
"""--set, which sets any field of the configuration."""


@dataclass(frozen=True, slots=True)
class _Group:
    """A parameter of a command's function: the parameters of Typer's that it is made of, and how."""

    parameters: Sequence[inspect.Parameter]
    value: Callable[[Mapping[str, Any]], Any]
    """Values by name -> the value of the function's parameter."""


def with_single_flags(function: Callable[..., None]) -> Callable[..., None]:
    """The function with a parameter for each flag, where its own may be a dataclass of flags or ConfigFlags."""
    hints = get_type_hints(function, include_extras=True)
    groups = {
        name: _group(name, hints[name], parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
    }

    def command(**values: Any) -> None:
        function(**{name: group.value(values) for name, group in groups.items()})

    parameters = [parameter for group in groups.values() for parameter in group.parameters]
    offers = [item for hint in hints.values() for item in get_args(hint)[1:] if isinstance(item, Offer)]
    for item in offers:
        parameters = _in_order(parameters, item)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__doc__ = function.__doc__
    return command


def _group(name: str, hint: Any, default: Any) -> _Group:
    kind, *metadata = get_args(hint) or (hint,)
    if kind is ConfigFlags:
        return _config_group(metadata[0])
    if dataclasses.is_dataclass(kind):
        return _dataclass_group(kind)
    parameter = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
    return _Group([parameter], lambda values: values[name])


def _config_group(offers: Offer) -> _Group:
    flags = {item.parameter.name: item for item in offers.flags() if isinstance(item, Flag)}

    def value(values: Mapping[str, Any]) -> ConfigFlags:
        texts = {name: values[name] for name in flags if values[name] not in (None, [])}
        assignments = values.get(SET.name) or ()
        return ConfigFlags(tuple(TypedFlag(flags[name], text) for name, text in texts.items()), tuple(assignments))

    more = [SET] if "--set" in offers.items else []
    return _Group([*(flag.parameter for flag in flags.values()), *more], value)


def _dataclass_group(kind: Any) -> _Group:
    hints = get_type_hints(kind, include_extras=True)
    fields = dataclasses.fields(kind)
    parameters = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields
    ]
    return _Group(parameters, lambda values: kind(**{field.name: values[field.name] for field in fields}))


def _in_order(parameters: Sequence[inspect.Parameter], offers: Offer) -> list[inspect.Parameter]:
    """The parameters in the order of the offer; those that it does not name come last."""
    order = [item.option if isinstance(item, Flag) else item for item in offers.flags()]

    def place(parameter: inspect.Parameter) -> int:
        option = _option(parameter)
        return order.index(option) if option in order else len(order)

    return sorted(parameters, key=place)


def _option(parameter: inspect.Parameter) -> str:
    """The option of a parameter as it is typed; nothing for an argument or Typer's context."""
    metadata = get_args(parameter.annotation)[1:]
    option = metadata[0] if metadata else None
    return str(option.default) if isinstance(option, typer.models.OptionInfo) else ""
