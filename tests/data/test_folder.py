from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from relubench.data import DataOptions, arrays, prepare
from relubench.errors import DataError


def picture(path, value=0, size=(6, 4), mode="RGB"):
    """A lossless image of one colour, (W, H)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(path)


@pytest.fixture
def split(tmp_path):
    """train/ and test/ with the classes cat (values 0..) and dog (values 100..): 9 and 3 images each, 6x4 pixels."""
    root = tmp_path / "pets"
    for part, n in (("train", 9), ("test", 3)):
        for start, name in ((0, "cat"), (100, "dog")):
            for k in range(n):
                picture(root / part / name / f"{k}.png", start + k)
    return root


def test_train_and_test(split):
    prepared = prepare(f"{split}/")
    assert prepared.input_shape == (3, 4, 6) and prepared.classes == 2 and prepared.scale == 1 / 255
    assert (prepared.n_train, prepared.n_valid, prepared.n_test) == (15, 3, 6)
    assert "validation: one in 6" in prepared.source
    for part in ("train", "valid", "test"):
        x, y = arrays(prepared, part)
        assert np.array_equal(x[:, 0, 0, 0] >= 100, y == 1) and np.ptp(x, axis=(1, 2, 3)).max() == 0
    everything = np.concatenate([arrays(prepared, part)[0][:, 0, 0, 0] for part in ("train", "valid")])
    assert sorted(everything.tolist()) == [*range(9), *range(100, 109)]


def test_its_own_validation(split):
    (split / "val").mkdir()
    for name in ("cat", "dog"):
        picture(split / "val" / name / "v.png", 200)
    prepared = prepare(str(split))
    assert (prepared.n_train, prepared.n_valid) == (18, 2) and "the folder's own" in prepared.source


def test_classes_only_are_split_and_said(split):
    prepared = prepare(str(split / "train"))
    assert (prepared.n_train, prepared.n_valid, prepared.n_test) == (12, 3, 3)
    assert "no train/ and test/: one in 6" in prepared.source


def test_test_classes_are_numbered_as_in_training(split):
    for path in (split / "test" / "cat").iterdir():
        path.unlink()
    (split / "test" / "cat").rmdir()
    assert arrays(prepare(str(split)), "test")[1].tolist() == [1, 1, 1]


def test_grey_stays_grey_and_mixed_becomes_colour(split, tmp_path):
    for path in split.rglob("*.png"):
        picture(path, 7, mode="L")
    grey = prepare(str(split))
    assert grey.input_shape == (1, 4, 6)
    picture(split / "train" / "cat" / "0.png", 7, mode="RGBA")
    mixed = prepare(str(split))
    assert mixed.input_shape == (3, 4, 6) and "23 grey images read as RGB beside 1 in colour" in mixed.source


def test_image_size_scales_the_shorter_side_and_cuts_the_centre(split):
    wide = Image.new("L", (20, 10))
    wide.paste(255, (3, 0, 17, 10))
    wide.convert("RGB").save(split / "test" / "cat" / "0.png")
    prepared = prepare(str(split), options=DataOptions(image_size=5))
    assert prepared.input_shape == (3, 5, 5) and "scaled to 5 pixels on the shorter side" in prepared.source
    assert arrays(prepared, "test")[0][0].min() == 255


def test_the_digest_follows_contents_and_options(split):
    first = prepare(str(split))
    assert prepare(str(split), options=DataOptions(image_size=4)).digest != first.digest
    (split / "train" / "cat" / "notes.txt").touch()
    (split / ".ipynb_checkpoints").mkdir()
    (split / "train" / ".ipynb_checkpoints").mkdir()
    assert prepare(str(split)) == first
    picture(split / "train" / "cat" / "0.png", 99)
    assert prepare(str(split)).digest != first.digest


def test_folders_that_are_links_are_followed(split, tmp_path):
    (split / "test").rename(tmp_path / "elsewhere")
    (split / "test").mkdir()
    for name in ("cat", "dog"):
        (split / "test" / name).mkdir()
        (split / "test" / name / "linked").symlink_to(tmp_path / "elsewhere" / name)
    assert prepare(str(split)).n_test == 6


def change_size(root):
    picture(root / "test" / "dog" / "1.png", size=(7, 4))


def cut_image(root):
    path = root / "train" / "dog" / "1.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:70])


def deep_image(root):
    Image.fromarray(np.zeros((4, 6), np.uint16)).save(root / "train" / "dog" / "1.png")


def empty_class(root):
    (root / "train" / "bird").mkdir()


def unknown_class(root):
    picture(root / "test" / "bird" / "1.png")


def remove_test(root):
    (root / "test").rename(root.parent / "gone")


def two_validations(root):
    (root / "val").mkdir()
    (root / "valid").mkdir()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_size, r"the images differ in size: .*train/cat/0\.png has 6x4 pixels, .*test/dog/1\.png 7x4"),
        (cut_image, r"train/dog/1\.png cannot be read as an image"),
        (lambda root: (root / "train" / "dog" / "1.png").write_text("no"), r"dog/1\.png cannot be read as an image"),
        (deep_image, r"train/dog/1\.png is an image of type I;16"),
        (empty_class, "train/bird holds no image"),
        (unknown_class, "test holds bird, never seen in training"),
        (remove_test, "pets holds train: no test/"),
        (two_validations, "both val and valid"),
    ],
)
def test_bad_folders_are_refused(split, change, message):
    change(split)
    with pytest.raises(DataError, match=message) as caught:
        prepare(str(split))
    assert caught.value.exit_code == 3 and caught.value.hint


def test_one_class_or_few_images_are_refused(tmp_path):
    picture(tmp_path / "one" / "cat" / "0.png")
    with pytest.raises(DataError, match="one holds cat where a folder for each of two or more classes"):
        prepare(str(tmp_path / "one"))
    picture(tmp_path / "one" / "dog" / "0.png")
    with pytest.raises(DataError, match="one has only 2 images to split"):
        prepare(str(tmp_path / "one"))
