"""Pictures to fit: which pixels train, what a network sees and has to give, and what is refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from relubench.data import DataOptions, arrays, outline, prepare
from relubench.data.table import TABLE
from relubench.errors import DataError, UsageError

SIDE = 12


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_every_second_pixel_of_every_second_row_trains_and_places_are_theirs(photo: Path) -> None:
    data = prepare(str(photo), options=DataOptions(image_size=SIDE))
    assert (data.task, data.classes, data.input_shape) == ("picture", 3, (2,))
    assert (data.n_train, data.n_valid, data.n_test) == (36, 27, 81)
    pixels = np.asarray(Image.open(photo)) / 255
    line = np.linspace(-1, 1, SIDE)
    seen = set()
    for split in ("train", "valid", "test"):
        for (row, column), colour in zip(*arrays(data, split), strict=True):
            place = int(np.abs(line - row).argmin()), int(np.abs(line - column).argmin())
            np.testing.assert_allclose(colour, pixels[place], atol=1e-6)
            assert (split == "train") == (place[0] % 2 == 0 == place[1] % 2)
            seen.add(place)
    assert len(seen) == SIDE**2
    assert data.facts is not None and data.facts.warnings == () and data.facts.names == ("red", "green", "blue")


@pytest.mark.parametrize("size", [None, 32, 33])
def test_a_sample_image_has_the_sizes_that_its_row_says(size: int | None) -> None:
    options = DataOptions(image_size=size)
    data, sketch = prepare("image:china", options=options), outline("image:china", options)
    assert sketch is not None
    assert [data.n_train, data.n_valid, data.n_test] == [sketch.n_train, sketch.n_valid, sketch.n_test]
    assert data.n_train + data.n_valid + data.n_test == (size or 128) ** 2 and data.task == sketch.task == "picture"


def test_pictures_with_nothing_to_fit_are_refused(tmp_path: Path, photo: Path) -> None:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "red.png")
    with pytest.raises(DataError, match=r"red.png is of one colour throughout"):
        prepare(str(tmp_path / "red.png"))
    with pytest.raises(DataError, match=r"photo.png is scaled to 4 pixels a side"):
        prepare(str(photo), options=DataOptions(image_size=4))
    with pytest.raises(UsageError, match=r"--target red names a column of a table: .*photo.png is none"):
        prepare(str(photo), options=DataOptions(target="red"))
    with pytest.raises(UsageError, match=r"data.task regression: a picture's colours are fitted"):
        prepare(str(photo), options=DataOptions(task="regression"))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"text.png cannot be read as an image"):
        prepare(str(tmp_path / "text.png"))


@pytest.mark.parametrize("name", ["breast-cancer", "wine", "diabetes"])
def test_embedded_tables_have_the_sizes_that_their_rows_say(name: str) -> None:
    data, row = prepare(name), TABLE[name]
    assert (data.n_train, data.n_valid, data.n_test) == (row.n_train, row.n_valid, row.n_test)
    assert (data.input_shape, data.classes, data.task) == (row.input_shape, row.classes, row.task)
    x, y = arrays(data, "train")
    # Of a few inputs of two values the spread is 1, too.
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-5)
    if data.task == "regression":
        np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-5)


def california(folder: Path, rows: np.ndarray) -> None:
    """Writes the archive of that data set with these rows."""
    text = "\n".join(",".join(f"{value:.4f}" for value in row) for row in rows).encode()
    member = tarfile.TarInfo("CaliforniaHousing/cal_housing.data")
    member.size = len(text)
    folder.mkdir()
    with tarfile.open(folder / "cal_housing.tgz", "w:gz") as archive:
        archive.addfile(member, io.BytesIO(text))


def test_california_is_read_with_scikit_learns_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).uniform(1, 100, (20_640, 9))
    california(tmp_path / "california", rows)
    data = prepare("california", data_dir=tmp_path)
    assert (data.n_train, data.n_test, data.task) == (12_384, 4_128, "regression")
    x = np.concatenate([arrays(data, split)[0] for split in ("train", "valid", "test")])
    # Longitude, latitude, age, rooms, bedrooms, population, households, income, value.
    expected = rows.T[3] / rows.T[6]
    ours = np.sort(x[:, 5])
    spread = (np.sort(expected) - expected.mean()) / expected.std()
    assert np.corrcoef(ours, spread)[0, 1] > 0.9999
    california(tmp_path / "california2", rows[:100])
    (tmp_path / "california2").rename(tmp_path / "few")
    (tmp_path / "other").mkdir()
    (tmp_path / "few").rename(tmp_path / "other" / "california")
    with pytest.raises(DataError, match="holds 100 rows of 8 numbers, not 20640 of 8"):
        prepare("california", data_dir=tmp_path / "other")
