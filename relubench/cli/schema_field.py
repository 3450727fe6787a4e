"""What the configuration's schema says of a field, as a flag needs it: its kind of value, choices, default and text."""

from __future__ import annotations

from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

PROTOCOL = "modern"
"""The protocol whose defaults a help names beside those of the schema."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaField:
    """A field of `ExperimentConfig`; values of any other type are plain text."""

    number: type[int] | type[float] | None
    """The type of a field that takes a number."""
    words: tuple[str, ...]
    """The words that the field takes: all its values, or what may stand in place of a number or another text."""
    is_closed: bool
    """Whether nothing but these words may stand there."""
    is_switch: bool
    is_list: bool
    """Whether it takes several names, so that its flag may be given several times."""
    text: str
    """The field's docstring, in one line."""
    default: str
    """The default as a help says it: `0.1, with --protocol modern 0.001`."""


def schema_field(path: str) -> SchemaField:
    """The schema's field of this path (`train.lr`); raises KeyError if there is none."""
    from relubench.experiments.choices import NameOf
    from relubench.experiments.config import PROTOCOLS, ExperimentConfig
    from relubench.experiments.docstrings import docstring_of

    section, _, name = path.rpartition(".")
    schema: Any = ExperimentConfig.model_fields[section].annotation if section else ExperimentConfig
    field = schema.model_fields[name]
    types = _alternatives(field.annotation)
    words = tuple(word for type_ in types if get_origin(type_) is Literal for word in get_args(type_))
    names = tuple(name for names in field.metadata if isinstance(names, NameOf) for name in names.names())
    numbers = [type_ for type_ in (int, float) if type_ in types]
    items = [item for type_ in types if get_origin(type_) is tuple for item in _alternatives(get_args(type_)[0])]
    default = _in_words(field.default)
    changes = PROTOCOLS[PROTOCOL].get(section, {})
    return SchemaField(
        number=numbers[0] if numbers else None,
        words=words + names,
        is_closed=bool(names) or all(get_origin(type_) is Literal for type_ in types),
        is_switch=bool in types,
        is_list=any(item is str or get_origin(item) is Literal for item in items),
        text=" ".join(docstring_of(schema, name).split()),
        default=default + (f", with --protocol {PROTOCOL} {_in_words(changes[name])}" if name in changes else ""),
    )


def _alternatives(annotation: Any) -> list[Any]:
    """The types of a union, each without its bounds."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [type_ for part in get_args(annotation) for type_ in _alternatives(part)]
    return [annotation]


def _in_words(value: Any) -> str:
    return "off" if value is False else "none" if value is None else str(value)
