"""The flags of every command: names, type, default, help, and whether one may be given several times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from typer.main import get_command

from relubench.cli.app import app
from tests.frozen.conftest import Frozen
from tests.frozen.shapes import differences

Commands = dict[str, dict[str, Any]]


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its name as it is typed; the program itself is `relubench`."""
    yield from _under("", get_command(app))


def _under(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name or "relubench", command
    for word, inner in getattr(command, "commands", {}).items():
        yield from _under(f"{name} {word}".strip(), inner)


def flags() -> Commands:
    """By command its parameters, by the long name of each, as the command line sees them."""
    return {
        name: {max(parameter.opts, key=len): _facts(parameter) for parameter in command.params}
        for name, command in commands()
    }


def _facts(parameter: Any) -> dict[str, Any]:
    """What a person relies on who types this flag or argument."""
    default = parameter.default
    return {
        "kind": parameter.param_type_name,
        "names": parameter.opts,
        "negative": parameter.secondary_opts,
        "type": _type_name(parameter.type_descriptor.annotation),
        "values": parameter.metavar,
        "default": default if default is None or isinstance(default, bool | int | float) else str(default),
        "required": parameter.required,
        "repeated": parameter.multiple or parameter.nargs != 1,
        "variable": parameter.envvar,
        "hidden": parameter.hidden,
        "heading": parameter.rich_help_panel,
        "help": parameter.help,
    }


def _type_name(annotation: Any) -> str:
    """`str`, `Path`, `list[str]`."""
    inner = ", ".join(_type_name(argument) for argument in get_args(annotation))
    return annotation.__name__ + (f"[{inner}]" if inner else "")


def test_flags_are_what_they_were(frozen: Frozen) -> None:
    frozen.record("flags.json", flags())


def test_a_difference_names_the_command_and_the_flag() -> None:
    before, now = flags(), flags()
    del now["train"]["--seeds"], now["runs show"]
    now["speed"]["--fast"] = now["speed"].pop("--quiet")
    now["show data"]["--seed"]["default"] = 1
    now["pretrain"]["--control"]["negative"].append("--no-control")
    assert sorted(differences(before, now)) == [
        "pretrain --control negative gained --no-control",
        "show data --seed default was 0, is 1",
        "speed gained --fast",
        "speed lost --quiet",
        "the whole lost runs show",
        "train lost --seeds",
    ]
    assert not list(differences(before, flags()))
