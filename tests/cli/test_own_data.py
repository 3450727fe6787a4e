"""What commands say of a user's own data: once, on stderr, also of a prepared copy and with --quiet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import relubench
from relubench.cli.output import once
from tests.cli.fakes import Cli, Ended

pytestmark = pytest.mark.usefixtures("train_here")

TRAIN = ("train", "--act", "relu,tanh", "--model", "mlp-1x8", "--epochs", "1", "--dataset", "own.npz")
LABELS = "warning: own.npz: labels run from 1 to 3, not 0 to 2: they are numbered as the 3 classes 0 to 2"


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with own.npz, whose labels run from 1, and flat.npz, whose rows are no pictures."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 256, (150, 4, 4), dtype=np.uint8), np.arange(150) % 3
    np.savez("own.npz", x_train=x[:120], y_train=y[:120] + 1, x_test=x[120:], y_test=y[120:] + 1)
    flat = x.reshape(150, 16) / 255
    np.savez("flat.npz", x_train=flat[:120], y_train=y[:120], x_test=flat[120:], y_test=y[120:])
    return tmp_path


def test_a_command_says_what_was_read_and_what_to_know_once(cli: Cli) -> None:
    for attempt in range(2):
        ended = cli(*TRAIN)
        lines = ended.err.splitlines()
        assert ended.code == 0 and lines.count(LABELS) == 1, attempt
        about = [line for line in lines if line.startswith("data: own.npz: ")]
        assert len(about) == 1 and "100 training, 20 validation and 30 test images of 1x4x4" in about[0]
        assert "warning" not in ended.out


def test_quiet_leaves_the_warnings(cli: Cli) -> None:
    ended = cli(*TRAIN, "--quiet")
    assert (ended.code, ended.err) == (0, f"{LABELS}\n")


def test_python_warns(own: Path) -> None:
    with pytest.warns(UserWarning, match=r"own.npz: labels run from 1 to 3") as caught:
        relubench.train("relu", dataset="own.npz", model="mlp-1x8", epochs=1)
    assert [warning.filename for warning in caught if warning.category is UserWarning] == [__file__]


def test_several_studies_of_one_command_say_it_once(cli: Cli) -> None:
    said: list[str] = []
    say = once(said.append)
    for line in ("one", "two", "one"):
        say(line)
    assert said == ["one", "two"]
    argv = ("--dataset", "own.npz", "--model", "mlp-1x8", "--epochs", "1", "--nets", "2")
    ended = cli("ablate-sparsity", *argv)
    assert ended.err.splitlines().count(LABELS) == 1


@pytest.mark.parametrize("format", ["json", "table", "markdown", "tsv", "csv", "latex", "jsonl"])
def test_show_data_prints_all_of_it_in_every_format(cli: Cli, format: str) -> None:
    ended = cli("show", "data", "own.npz", "--format", format, "--quiet")
    assert ended.code == 0 and "train" in ended.out and "100" in ended.out
    assert "labels run from 1 to 3" in ended.out + ended.err
    if format == "json":
        shown = json.loads(ended.out)
        assert (shown["classes"], shown["input_shape"], shown["sheet"]) == (["1", "2", "3"], [1, 4, 4], "own.png")
        assert [row["images"] for row in shown["rows"]] == [100, 20, 30]
        assert sum(shown["counts"]["train"]) == 100 and "labels run from 1" in shown["warnings"][0]


def test_show_data_has_numbers_where_there_is_no_picture(cli: Cli, own: Path) -> None:
    ended = cli("show", "data", "flat.npz")
    assert ended.code == 0 and "rows of 16 values" in ended.err and "no picture" in ended.err
    assert list(own.glob("*.png")) == []
    assert cli("show", "data", "flat.npz", "--output", "x.png").code == 2


def test_show_data_takes_all_images_of_a_small_part(cli: Cli, own: Path) -> None:
    assert cli("show", "data", "own.npz", "--split", "valid").code == 0
    assert (own / "own.png").exists()


def test_a_mistyped_data_dir_is_refused_whatever_is_asked(cli: Cli, own: Path) -> None:
    (own / "data").mkdir()
    for argv in (TRAIN, ("show", "data", "digits"), ("train", "--dataset", "mnist"), ("list", "datasets")):
        ended = cli(*argv, "--data-dir", "dta")
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("error: --data-dir: there is no folder dta\nhint: did you mean data? ")
    assert not (own / "dta").exists()


@pytest.mark.parametrize(
    ("column", "place", "value", "fact", "cure"),
    [
        ("price", 0, "nan", "1 row without a value of its target 'price', the first is row 1", "delete these rows"),
        ("town", 1, "Trier", "with a category in 'town' that no training row has: Trier", "data.ignore=[town]"),
    ],
)
def test_a_row_of_which_nothing_can_be_learned_is_refused_with_two_lines(
    cli: Cli, own: Path, column: str, place: int, value: str, fact: str, cure: str
) -> None:
    argv = ("train", "--act", "relu", "--model", "mlp-1x8", "--epochs", "1", "--dataset", "houses.csv")

    def with_row(row: int) -> Ended:
        prices = [f"{number % 7}.5" for number in range(60)]
        towns = [("Ulm", "Bonn")[number % 2] for number in range(60)]
        {"price": prices, "town": towns}[column][row] = value
        lines = ["town,price", *(f"{town},{price}" for town, price in zip(towns, prices, strict=True))]
        (own / "houses.csv").write_text("\n".join(lines) + "\n")
        return cli(*argv, "--target", "price")

    # Two in five rows are held out.
    ended = next(ended for row in range(place, 60) if (ended := with_row(row)).code)
    assert ended.code == 3
    first, second = ended.err.splitlines()[-2:]
    assert first.startswith("error: ") and fact in first and second.startswith("hint: ") and cure in second
