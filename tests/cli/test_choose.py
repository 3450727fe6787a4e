"""What is made of a choice: its page and figure, and `relubench check`, which decides it again from its runs."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relubench.__main__ import run
from relubench.errors import UsageError
from relubench.experiments.choosing import choice
from relubench.reports.audit import audit
from relubench.reports.page.saved_result import read_report
from relubench.reports.render import words_of
from tests.cli.fakes import Cli, training_here

CHOOSE = ["choose", "--act", "relu,again=max(x,0),0.001*x", "--dataset", "digits", "--model", "mlp-1x16"]
TINY = ["--batch-size", "64", "--epochs", "2", "--set", "train.lr_grid=[0.1,0.3]", "--seeds", "3..4", "--device", "cpu"]

pytestmark = pytest.mark.xdist_group("choice reports")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A choice by the command line, with its page, its Markdown twin and its figure."""
    folder = tmp_path_factory.mktemp("choice")
    files = ["--output", "result.json", "--report", "page.html", "--plot", "figure.svg", "--runs-dir", "runs"]
    files = [word if word.startswith("--") else str(folder / word) for word in files]
    with pytest.MonkeyPatch.context() as patch, training_here():
        patch.setenv("RELUBENCH_CACHE_DIR", str(folder / "cache"))
        patch.setattr(choice, "PRICE_SECONDS", (0.2, 0.2))
        assert run([*CHOOSE, *TINY, "--budget", "40runs", "--quiet", *files]) == 0
    return folder


@pytest.fixture(scope="module")
def content(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


def findings(folder: Path, content: Any) -> list[dict[str, Any]]:
    """What `check` finds in this content."""
    path = folder / "changed.json"
    path.write_text(json.dumps(content))
    return audit(path).rows


def test_what_was_chosen_is_decided_again_from_its_runs(folder: Path, cli: Cli) -> None:
    ended = cli("check", str(folder / "result.json"), "--format", "table")
    assert ended.code == 0, ended.out
    assert "numbers that follow from others agree: 3 rows and" in ended.err


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every number and word."""
    if isinstance(value, dict | list) and value:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*above, key))
    else:
        yield above


def changed_at(content: Any, place: tuple[Any, ...]) -> Any:
    """The content with one digit, letter or truth value changed."""
    changed = json.loads(json.dumps(content))
    *above, key = place
    holder = changed
    for name in above:
        holder = holder[name]
    value = holder[key]
    if isinstance(value, bool) or value is None:
        holder[key] = not value
    elif isinstance(value, int | float):
        holder[key] = value + (1 if isinstance(value, int) else 1e-5 * max(abs(value), 1.0))
    elif isinstance(value, str):
        holder[key] = value + "x"
    else:
        holder[key] = ["x"]
    return changed


def test_a_change_in_any_kind_of_field_is_found(folder: Path, content: dict[str, Any]) -> None:
    kinds: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for place in places({key: value for key, value in content.items() if key != "runs"}):
        kinds.setdefault(tuple("[]" if isinstance(name, int) else name for name in place), place)
    # What was typed follows from nothing, and decides nothing.
    del kinds["words", "command_line"]
    assert len(kinds) > 75
    unseen = []
    for kind, place in kinds.items():
        try:
            found = findings(folder, changed_at(content, place))
        except UsageError:
            continue  # As with the command: it is no choice any more.
        if not found:
            unseen.append(kind)
    assert unseen == []


def test_a_changed_run_changes_what_was_decided(folder: Path, content: dict[str, Any]) -> None:
    changed = json.loads(json.dumps(content))
    changed["runs"][-1]["test_wrong"] = changed["runs"][-1]["test_wrong"][:-4] + "AAAA"
    assert any(row["place"].startswith("run ") for row in findings(folder, changed))
    fewer = json.loads(json.dumps(content))
    del fewer["runs"][-1]
    assert findings(folder, fewer)


@pytest.mark.parametrize("seed", range(3))
def test_damage_of_any_kind_is_a_finding_or_refused(folder: Path, content: dict[str, Any], seed: int) -> None:
    rng = random.Random(seed)
    everywhere = [place for place in places(content) if place != ("words", "command_line")]
    for _ in range(25):
        damaged = json.loads(json.dumps(content))
        place = rng.choice(everywhere)
        *above, key = place[: rng.randint(1, len(place))]
        holder = damaged
        for name in above:
            holder = holder[name]
        holder[key] = rng.choice([value for value in (None, "x", 7.5, [], {}, [None]) if value != holder[key]])
        try:
            assert findings(folder, damaged), place
        except UsageError as error:
            assert "Error" not in error.message


def test_the_page_has_answer_table_prices_front_and_runs(folder: Path, content: dict[str, Any]) -> None:
    page = (folder / "page.html").read_text()
    assert f"<title>{content['words']['question']}</title>" in page
    for text in ("Take ", "training time (µs an example)", "error less that of the best (points)", "memory"):
        assert text in page
    assert content["answers"][0]["more_budget"].split(":")[0] in page
    assert f"{len(content['runs'])} runs, one by one" in page
    # People read the name that they gave.
    assert ">again<" in page


def test_the_saved_result_makes_the_same_page(folder: Path, content: dict[str, Any], cli: Cli) -> None:
    ended = cli("report", str(folder / "result.json"), "--output", str(folder / "again.md"))
    assert ended.code == 0
    text = (folder / "again.md").read_text()
    assert content["words"]["question"].replace("*", "\\*") in text and "## How it was made" in text
    assert words_of(read_report(folder / "result.json")) == content["words"]


def test_the_figure_has_each_activation(folder: Path) -> None:
    figure = (folder / "figure.svg").read_text()
    assert "validation error (%)" in figure and "again" in figure
