"""How a user's own object is written: './file.py:Name:key=value' or 'package.module:Name:key=value'. Torch-free."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from relubench.errors import UsageError

FORM = "./file.py:Name or package.module:Name, then :key=value for its arguments"

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_BOOLS = {"true": True, "false": False}
"""However they are written: the text 'false' would count as true to a user's code."""

UserValue = float | int | str | bool | None | tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserObject:
    """A user's own object as it was named: 'place:Name:key=value'."""

    location: str
    """A path or a dotted module, as written."""
    name: str
    parameters: tuple[tuple[str, UserValue], ...]

    @property
    def label(self) -> str:
        """The name in its canonical form, numbers as Python writes them: 3 and 3.0 may differ to the user's code."""
        return ":".join([self.location, self.name, *(f"{key}={_literal(value)}" for key, value in self.parameters)])


def parse_user_object(text: str) -> UserObject:
    """The object that `text` names; UsageError where it is malformed."""
    location, _, after_colon = split_location(text)
    name, *settings = (part.strip() for part in _split_at_colons(after_colon))
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"{text!r} does not say which class or function of {location!r} to use", FORM)
    parameters: dict[str, UserValue] = {}
    for setting in settings:
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not equals or not key.isidentifier():
            raise UsageError(f"{setting!r} in {text!r} is not an argument of the form key=value", FORM)
        if key in parameters:
            raise UsageError(f"{key} is given twice in {text!r}", "give each argument once")
        parameters[key] = _parse_value(key, value, text)
    return UserObject(location=location.strip(), name=name, parameters=tuple(sorted(parameters.items())))


def split_location(text: str) -> tuple[str, str, str]:
    """(location, ':', what follows the first colon); the colon of a Windows drive belongs to the location."""
    start = 2 if _DRIVE.match(text) else 0
    location, colon, after_colon = text[start:].partition(":")
    return text[:start] + location, colon, after_colon


def _split_at_colons(text: str) -> list[str]:
    """The parts between colons, but for those inside quotes."""
    return re.findall(r"""(?:^|(?<=:))(?:'[^']*'|"[^"]*"|[^:'"]|['"])*""", text)


def _parse_value(key: str, value: str, text: str) -> UserValue:
    """A bool, None, an int or a finite float if it reads as one; else the text itself, without its quotes."""
    if value.lower() in _BOOLS:
        return _BOOLS[value.lower()]
    if value == "None":
        return None
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    if value.startswith("("):
        return _parse_tuple(key, value, text)
    for parse in (int, float):
        try:
            number = parse(value)
        except ValueError:
            continue
        if isinstance(number, float) and not math.isfinite(number):
            raise UsageError(f"{key}={value} in {text!r} is not finite", "give a finite number")
        return number + 0
    return value


def _parse_tuple(key: str, value: str, text: str) -> tuple[float, ...]:
    """A tuple of numbers: (1,2), (0.5,)."""
    parts = [part.strip() for part in value.removeprefix("(").removesuffix(")").split(",")]
    if not value.endswith(")") or (len(parts) > 1 and not parts[-1]):
        parts = parts[:-1] if value.endswith(")") else [""]
    try:
        numbers = [float(part) if re.search(r"[.eE]|inf|nan", part) else int(part) for part in parts]
    except ValueError:
        numbers = [math.nan]
    if not all(math.isfinite(number) for number in numbers):
        raise UsageError(f"{key}={value} in {text!r} is no tuple of finite numbers", "for example :bounds=(-1,1)")
    return tuple(numbers)


def _literal(value: UserValue) -> str:
    """The value as it is written behind the colon, so that it reads as the same."""
    if isinstance(value, tuple):
        return repr(value).replace(" ", "")
    if isinstance(value, str) and not _reads_as_itself(value):
        return repr(value)
    return str(value)


def _reads_as_itself(value: str) -> bool:
    if ":" in value or value != value.strip() or value == "":
        return False
    try:
        return _parse_value("", value, "") == value
    except UsageError:
        return False
