"""`relubench show data`: the file it writes, what stdout carries, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.fakes import Cli, program


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return image.size


def test_the_file_is_called_like_the_data_set_and_stdout_carries_its_name(cli: Cli, here: Path) -> None:
    ended = cli("show", "data", "digits", "--count", "50", "--split", "test", "--quiet")
    assert (ended.code, ended.err) == (0, "")
    rows = [line.split("\t") for line in ended.out.splitlines()]
    assert rows[0][:3] == ["part", "images", "classes"]
    assert [row[:3] for row in rows[1:]] == [["train", "1077", "10"], ["valid", "360", "10"], ["test", "360", "10"]]
    # A row of five for each class.
    width, height = size(here / "digits.png")
    assert width < 400 < 800 < height


def test_perturbed_images_take_twice_the_room(cli: Cli, here: Path) -> None:
    wide = ("--count", "40", "--set", "data.train_size=200", "--quiet")
    assert cli("show", "data", "digits+nistp", *wide).code == 0
    assert cli("show", "data", "digits", "--count", "40", "--output", "plain.png", "--quiet").code == 0
    assert size(here / "digits+nistp.png")[0] > 1.7 * size(here / "plain.png")[0]


def test_a_users_own_arrays_and_stereo_pairs(cli: Cli, here: Path) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (24, 2, 12, 12)).astype(np.float32)
    y = np.arange(24) % 3
    np.savez(here / "own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    ended = cli("show", "data", "own.npz", "--count", "12", "--quiet")
    assert "warning: own.npz: 24 of 24 test images (100.0 %) are also training images" in ended.err
    assert size(here / "own.png")[0] > 4 * 2 * 60


def test_a_picture_of_the_users_is_no_sheet_and_stays(cli: Cli, here: Path) -> None:
    argv = ("show", "data", "digits", "--count", "3", "--quiet")
    assert [cli(*argv).code, cli(*argv).code] == [0, 0], "an earlier sheet is replaced"
    Image.new("RGB", (3, 2), "red").save(here / "digits.png")
    before = (here / "digits.png").read_bytes()
    ended = cli(*argv)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines()[0] == "error: digits.png is there already, and relubench did not write it"
    assert (here / "digits.png").read_bytes() == before


def test_a_file_that_is_there_is_replaced_whole(cli: Cli, here: Path) -> None:
    place = here / "sheet.png"
    place.write_text("old")
    assert cli("show", "data", "digits", "--count", "3", "--output", "sheet.png", "--quiet").code == 0
    size(place)
    assert [path.name for path in here.iterdir() if path.name.startswith(".")] == []


def test_seeds_show_other_images(cli: Cli, here: Path) -> None:
    for seed in ("0", "0", "1"):
        cli("show", "data", "digits", "--count", "9", "--seed", seed, "--output", f"{seed}.png", "--quiet")
    assert (here / "0.png").read_bytes() != (here / "1.png").read_bytes()


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("digits", "--count", "0"), 2, "--count must be at least 1, got 0"),
        (("digits", "--count", "1078"), 2, "--count 1078 is more than the 1077 train images of digits"),
        (("digits", "--seed", "-1"), 2, "--seed must be at least 0, got -1"),
        (("digits", "--split", "tset"), 2, "there is no split called 'tset'\nhint: did you mean test?"),
        (("digits", "--output", "digits.jpg"), 2, "--output digits.jpg: the sheet is a PNG"),
        (("digits", "--output", "none/digits.png"), 2, "there is no folder none"),
        (("digits", "--set", "train.lr=1"), 2, "--set train means nothing to `show data`"),
        (("digits", "--set", "data=3"), 2, "--set data means nothing to `show data`"),
        (("digits", "--set", "data.augment=crop"), 2, "--set data.augment means nothing to `show data`"),
        (("digits", "--set", "data.split=paper"), 2, "Glorot et al. 2011 has no split of digits"),
        (("mnsit+nistp",), 2, "there is no data set called 'mnsit' to perturb\nhint: did you mean mnist+nistp"),
        (("mnist",), 3, "mnist is not in"),
        ((), 2, "missing argument 'NAME'"),
    ],
)
def test_what_is_refused(cli: Cli, here: Path, argv: tuple[str, ...], code: int, message: str) -> None:
    ended = cli("show", "data", *argv)
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err and "\nhint: " in ended.err
    assert list(here.glob("*.png")) == []


def test_show_alone_and_an_unknown_kind_are_refused(cli: Cli) -> None:
    assert cli("show").err.startswith("error: show needs to know what to show\nhint: ")
    assert "did you mean data?" in cli("show", "dta").err


def test_a_sheet_of_prepared_data_needs_no_torch(cli: Cli, here: Path) -> None:
    cli("show", "data", "digits", "--count", "3", "--quiet")
    script = (
        "import sys; from relubench.__main__ import run\n"
        f"code = run(['show', 'data', 'digits', '--count', '3', '--output', {str(here / 'x.png')!r}])\n"
        "sys.exit(code or 'torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert program(script=script).returncode == 0
