"""Settings whose values are the names of a table, as it is when a value is checked or a help is shown. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic_core import CoreSchema, PydanticKnownError, core_schema


@dataclass(frozen=True, slots=True)
class NameOf:
    """Annotates a text of the schema that has to be one of these names; other texts are refused as by a Literal."""

    names: Callable[[], Iterable[str]]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked)

    def _checked(self, value: Any) -> str:
        names = tuple(self.names())
        if isinstance(value, str) and value in names:
            return value
        *first, last = (repr(name) for name in names)
        expected = f"{', '.join(first)} or {last}" if first else last
        raise PydanticKnownError("literal_error", {"expected": expected})
