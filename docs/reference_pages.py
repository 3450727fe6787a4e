"""The pages of the reference that follow from the program: commands, settings, lists, keys of JSON.

Nothing on them is written by hand, so that no page can differ from the program. `docs/conf.py` writes them at each
build.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import typer
from pydantic import BaseModel

from relubench.cli.app import COMMANDS, app
from relubench.cli.config_flags import Offer
from relubench.cli.flags import Flag
from relubench.cli.schema_field import schema_field
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.docstrings import docstring_of
from relubench.experiments.rows import SummaryRow
from relubench.reports.listings import LISTS

LISTED = {
    "activations": "Activations",
    "functions": "Functions of formulas",
    "datasets": "Data sets",
    "models": "Models",
    "presets": "Presets",
    "references": "Published numbers",
    "columns": "Columns of the table",
    "formats": "Formats",
}
"""Kind of a list -> the title of its page."""


def write_reference(folder: Path) -> None:
    """Write all pages into the folder; a page that has not changed keeps its date, so that builds stay short."""
    pages = {"commands": commands(), "settings": settings(), "json": json_keys()}
    pages |= {kind: listed(kind, title) for kind, title in LISTED.items() if kind in LISTS}
    for name, lines in pages.items():
        path = folder / f"{name}.md"
        text = "\n".join(lines) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def commands() -> Iterator[str]:
    """The page of the commands: what each does, and each of its arguments and options."""
    yield from ("# Commands", "", "`relubench COMMAND --help` prints the same.", "")
    group = typer.main.get_command(app)
    for path, command in _commands(group, "relubench"):
        yield from (f"## {path}", "", *_paragraphs(command.help or ""), "")
        rows = [_option(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        yield from _table(("option", "meaning"), rows)


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command below a group, with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from _commands(command, f"{path} {name}")
        elif not command.hidden:
            yield f"{path} {name}", command


def _option(parameter: Any) -> tuple[str, str]:
    """An option's or argument's names, and what its help says."""
    if parameter.param_type_name == "argument":
        return f"`{(parameter.metavar or parameter.name).upper()}`", getattr(parameter, "help", None) or ""
    metavar = "" if parameter.is_flag else f" {parameter.metavar or 'TEXT'}"
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    return names + (f" `{metavar.strip()}`" if metavar else ""), parameter.help or ""


def settings() -> Iterator[str]:
    """The page of the settings: each key of the configuration, with its default, its values and its meaning."""
    yield from (
        "# Settings",
        "",
        "`--set KEY=VALUE` sets each of them, and a preset's YAML has the same keys. Some have a flag of their own.",
        "",
    )
    offered: dict[str, Flag] = {}
    for flag in _offered():
        offered.setdefault(flag.field, flag)
    rows = []
    for path, schema, name in _fields(ExperimentConfig, ""):
        field, flag = schema_field(path), offered.get(path)
        meaning = docstring_of(schema, name) or (flag.help if flag else "")
        rows.append((f"`{path}`", f"`{flag.option}`" if flag else "", field.default, ", ".join(field.words), meaning))
    yield from _table(("key", "flag", "default", "words", "meaning"), rows)


def _offered() -> Iterator[Flag]:
    """The flags of the configuration's fields that some command offers."""
    for command in COMMANDS.values():
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            for item in getattr(parameter.annotation, "__metadata__", ()):
                if isinstance(item, Offer):
                    yield from (flag for flag in item.flags() if isinstance(flag, Flag))


def _fields(schema: type[BaseModel], above: str) -> Iterator[tuple[str, type[BaseModel], str]]:
    """Each leaf of a configuration: its path, the section that declares it, and its name there."""
    for name, field in schema.model_fields.items():
        annotation = field.annotation
        if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
            yield from _fields(annotation, f"{above}{name}.")
        else:
            yield f"{above}{name}", schema, name


def json_keys() -> Iterator[str]:
    """The page of the keys that a row of a training table has in JSON, CSV and TSV."""
    yield from (
        "# Keys of a row",
        "",
        "`--format json` writes one object: `command`, `version`, `device`, `rows` (one for each row of the table)",
        "and `runs` (one for each network). These are the keys of a row. A missing value is null, never 0 or NaN.",
        "",
    )
    meanings = {row["name"]: row["meaning"] for row in LISTS["columns"]()}
    rows = [
        (f"`{field.name}`", " ".join((_docstring(field.name) or str(meanings.get(field.name) or "")).split()))
        for field in dataclasses.fields(SummaryRow)
    ]
    yield from _table(("key", "meaning"), rows)


def _docstring(field: str) -> str:
    return docstring_of(SummaryRow, field)  # pyright: ignore[reportArgumentType] -- any class with field docstrings will do


def listed(kind: str, title: str) -> Iterator[str]:
    """The page of what `relubench list KIND` prints."""
    yield from (f"# {title}", "", f"`relubench list {kind}` prints the same.", "")
    rows = LISTS[kind]()
    keys = [key for key in _keys(rows) if key != "present"]
    yield from _table(keys, [[_text(key, row.get(key)) for key in keys] for row in rows])


def _keys(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _text(key: str, value: Any) -> str:
    return "" if value is None else f"`{value}`" if key in ("name", "formula", "written") else str(value)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table and an empty line."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + " - |" * len(head)
    for row in rows:
        yield "| " + " | ".join(_cell(text) for text in row) + " |"
    yield ""


def _cell(text: str) -> str:
    """A cell's text on one line; what Markdown or HTML would take for a mark of its own stays as it is."""
    plain = " ".join(str(text).split()).replace("|", "\\|")
    pieces = plain.split("`")
    pieces[::2] = [piece.replace("*", "\\*").replace("_", "\\_").replace("<", "&lt;") for piece in pieces[::2]]
    return "`".join(pieces)


def _paragraphs(text: str) -> list[str]:
    return inspect.cleandoc(text).replace("\f", "").splitlines()
