"""The order of the house: rooms, sizes, who prints, and names that say what they hold."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "relubench"
MODULES = sorted(PACKAGE.rglob("*.py"))

# fmt: off
ROOMS = frozenset((
    "activations", "cli", "data", "executors", "experiments", "models", "reports", "runs", "statistics", "system",
    "timing", "training", "verification",
))
# fmt: on
LOOSE = frozenset(("__init__.py", "__main__.py", "api.py", "errors.py", "version.py"))

MOST_LINES_OF_A_MODULE = 300
MOST_LINES_OF_A_FUNCTION = 40
MOST_LINES_OF_THE_ORDER = 9

# fmt: off
EMPTY_NAMES = frozenset((
    "one", "other", "others", "it", "its", "this", "that", "these", "those", "such", "each", "every", "both",
    "whole", "mine", "ours", "theirs", "there", "here", "told", "said", "found", "given", "asked", "wanted", "kept",
    "made", "done", "put", "taken", "seen", "known", "looked", "gathered", "drawn",
))
"""Pronouns and participles: as the name of a variable none of them says what the variable holds."""
# fmt: on

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def variables(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of every variable that a function binds, and of every parameter."""
    for function in functions(tree):
        if re.fullmatch(r"__\w+__", function.name):
            continue  # Python's own methods call what they compare with `other`.
        for node in ast.walk(function):
            if isinstance(node, ast.arg):
                yield node.lineno, node.arg
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.lineno, node.id


def test_the_top_of_the_package_has_rooms_and_five_files() -> None:
    entries = {path.name for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "py.typed")}
    assert entries - {"presets"} == ROOMS | LOOSE


def test_the_order_of_imports_has_few_lines_and_names_every_room() -> None:
    (contract,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = contract["layers"]
    assert len(layers) <= MOST_LINES_OF_THE_ORDER
    named = {name.strip() for layer in layers for name in layer.split("|")}
    assert named == {f"relubench.{room}" for room in ROOMS | {"api", "errors", "version"}}


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """Every module of the package, parsed, by its path."""
    return {name_of(path): ast.parse(path.read_text()) for path in MODULES}


def test_modules_and_functions_are_short(trees: dict[str, ast.Module]) -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES_OF_A_MODULE} == {}
    long = {
        (name, function.name): lines
        for name, tree in trees.items()
        for function in functions(tree)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    }
    assert long == {}


def test_variables_say_what_they_hold(trees: dict[str, ast.Module]) -> None:
    bound = {(name, line, variable) for name, tree in trees.items() for line, variable in variables(tree)}
    assert len(bound) > 10_000
    assert sorted(place for place in bound if place[2] in EMPTY_NAMES) == []


def test_only_the_command_line_prints(trees: dict[str, ast.Module]) -> None:
    calls = [(name, node) for name, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    printing = [
        (name, call.lineno) for name, call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"
    ]
    assert [place for place in printing if not place[0].startswith("relubench/cli/")] == []


def test_every_module_that_a_text_names_is_there() -> None:
    """Docstrings, comments and guides name modules by their dotted name or their path; none of them has moved away."""
    texts = [*MODULES, *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.py")]
    missing = [
        (name_of(text), match[0])
        for text in texts
        if text.name != "CHANGELOG.md"
        for match in re.finditer(r"\brelubench(?:/\w+)+\.py\b", text.read_text())
        if not (ROOT / match[0]).is_file()
    ]
    assert not missing
