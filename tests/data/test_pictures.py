"""A user's folder of image files: how its parts may be spelled, what is read of each file, what is refused by name."""

from __future__ import annotations

import os
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from relubench.data import arrays, lines_about, prepare
from relubench.errors import DataError

SIZE = (6, 4)


def pixels(seed, channels=()):
    return np.random.default_rng(seed).integers(0, 256, (*SIZE[::-1], *channels), dtype=np.uint8)


def picture(path, image=None, seed=0, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(pixels(seed)) if image is None else image).save(path, **how)


def fill(root, train="train", test="test", suffix=".png", draw=None, **how):
    """Two classes, cat and dog: 18 training images of each, 4 test images of each; returns the folder."""
    seed = 0
    for part, n in ((train, 18), (test, 4)):
        for name in ("cat", "dog"):
            for k in range(n):
                seed += 1
                picture(root / part / name / f"{k:02}{suffix}", draw(seed) if draw else None, seed, **how)
    return root


def lines(root):
    prepared = prepare(f"{root}/")
    return prepared, [line for line in lines_about([prepared]) if "choose the best epoch" not in line]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("TRAIN", "TEST"),
        ("training", "testing"),
        ("Training_Set", "Test_Set"),
        ("train_images", "test-images"),
        ("trainset", "testset"),
        ("train", "eval"),
        ("images_train", "images_test"),
    ],
)
def test_the_parts_however_they_are_spelled(tmp_path, train, test):
    prepared, (line,) = lines(fill(tmp_path / "pets", train, test))
    assert (prepared.n_train, prepared.n_valid, prepared.n_test, prepared.classes) == (30, 6, 8, 2)
    assert "2 classes (cat, dog)" in line and line.endswith("; no file skipped")


@pytest.mark.parametrize("valid", ["val", "Valid", "VALIDATION", "dev", "val_images", "validation_set"])
def test_the_validation_part_however_it_is_spelled(tmp_path, valid):
    root = fill(tmp_path / "pets")
    for k, name in enumerate(("cat", "dog")):
        picture(root / valid / name / "0.png", seed=100 + k)
    prepared = prepare(str(root))
    assert (prepared.n_train, prepared.n_valid) == (36, 2) and "the folder's own" in prepared.source


def test_training_and_validation_alone_leave_the_latter_for_the_test(tmp_path):
    prepared, (_, warning) = lines(fill(tmp_path / "pets", "train", "val"))
    assert (prepared.n_train, prepared.n_valid, prepared.n_test) == (30, 6, 8)
    assert "there is no test part: val/ is the test set" in warning


def test_a_class_may_be_called_train(tmp_path):
    for k in range(20):
        for place, name in enumerate(("train", "tram")):
            picture(tmp_path / "traffic" / name / f"{k}.png", seed=100 * place + k)
    prepared = prepare(str(tmp_path / "traffic"))
    assert prepared.facts is not None and prepared.facts.names == ("train", "tram")


def test_a_folder_beside_the_parts_is_said_and_two_spellings_are_refused(tmp_path):
    root = fill(tmp_path / "pets")
    picture(root / "extra" / "cat" / "0.png")
    assert "beside test, train these folders are not read: extra" in lines(root)[1][1]
    (root / "TRAINING").mkdir()
    with pytest.raises(DataError, match="both TRAINING and train"):
        prepare(str(root))


def test_classes_are_the_same_whatever_their_case(tmp_path):
    root = fill(tmp_path / "pets")
    (root / "test" / "cat").rename(root / "test" / "Cat")
    prepared, (line,) = lines(root)
    assert "test/Cat is read as the class cat" in line and arrays(prepared, "test")[1].tolist() == [0] * 4 + [1] * 4


def test_a_folder_in_a_folder_is_hinted_at(tmp_path):
    fill(tmp_path / "download" / "pets")
    with pytest.raises(DataError, match="download holds pets where") as caught:
        prepare(str(tmp_path / "download"))
    assert f"--dataset {tmp_path / 'download' / 'pets'} may be meant" in caught.value.hint


@pytest.mark.parametrize("suffix", [".gif", ".bmp", ".ppm", ".tif", ".webp", ".jfif", ".PNG", ".Jpeg", ".pgm"])
def test_every_usual_type_of_file_is_read(tmp_path, suffix):
    how = {"lossless": True} if suffix == ".webp" else {}
    prepared, said = lines(fill(tmp_path / "pets", suffix=suffix, **how))
    assert prepared.n_test == 8
    if suffix not in (".jfif", ".Jpeg", ".webp"):
        assert len(said) == 1 and prepared.input_shape == (1, 4, 6)
        assert np.array_equal(arrays(prepared, "test")[0][0, 0], pixels(37))


def test_two_types_side_by_side_are_one_set(tmp_path):
    plain = fill(tmp_path / "plain")
    mixed = fill(tmp_path / "mixed")
    for k, file in enumerate(sorted(mixed.rglob("*.png"))):
        if k % 2:
            Image.open(file).save(file.with_suffix(".gif"))
            file.unlink()
    first, second = (lines(root)[0] for root in (plain, mixed))
    assert np.array_equal(arrays(first, "train")[0], arrays(second, "train")[0])


def test_what_is_skipped_is_counted_by_type(tmp_path):
    root = fill(tmp_path / "pets")
    for name in ("README", "labels.csv", "Thumbs.db", ".DS_Store", "cat/notes.txt", "dog/notes.TXT"):
        (root / "train" / name).touch()
    assert lines(root)[1][0].endswith("; 2 files skipped: 2 .txt")
    for k in range(5):
        (root / "train" / "cat" / f"{k}.heic").touch()
    (root / "test" / "dog" / "1.svg").touch()
    picture(root / "train" / "lost.png")
    _, (_, warning) = lines(root)
    assert "9 files skipped: 5 .heic, 2 .txt, 1 ." in warning and " .svg" in warning
    assert "1 .png" in warning and "(1 of them in no class's folder; what is read: .png, .jpg" in warning


def alpha(colour):
    def draw(seed):
        image = Image.new("RGBA", SIZE, colour)
        image.putalpha(Image.fromarray(pixels(seed)))
        return image

    return draw


@pytest.mark.parametrize("colour", ["black", "white", "#336699"])
def test_a_shape_in_the_transparency_alone_is_read(tmp_path, colour):
    prepared, (_, warning) = lines(fill(tmp_path / "pets", draw=alpha(colour)))
    assert "with the shape in their transparency: that is read as grey" in warning
    assert np.array_equal(arrays(prepared, "test")[0][0, 0], pixels(37)) and prepared.input_shape == (1, 4, 6)


def test_transparent_pixels_are_shown_over_white(tmp_path):
    def draw(seed):
        image = Image.fromarray(pixels(seed, (3,))).convert("RGBA")
        image.putpixel((0, 0), (0, 0, 0, 0))
        return image

    prepared, (_, warning) = lines(fill(tmp_path / "pets", draw=draw))
    assert "44 images with transparent pixels: shown over white" in warning
    x = arrays(prepared, "test")[0][0].transpose(1, 2, 0)
    assert x[0, 0].tolist() == [255] * 3 and np.array_equal(x[1:], pixels(37, (3,))[1:])


def test_opaque_alpha_is_nothing_to_speak_of(tmp_path):
    prepared, said = lines(
        fill(tmp_path / "pets", draw=lambda seed: Image.fromarray(pixels(seed, (3,))).convert("RGBA"))
    )
    assert len(said) == 1 and prepared.input_shape == (3, 4, 6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_is_turned_as_its_camera_says(tmp_path, orientation, suffix):
    upright = Image.fromarray(np.kron(np.array([[0, 90], [170, 255], [60, 200]], np.uint8), np.ones((8, 8), np.uint8)))
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(back[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation

    def draw(seed):
        return stored.point(lambda value: (value + seed) % 256) if seed < 37 else stored

    prepared, said = lines(fill(tmp_path / "pets", draw=draw, suffix=suffix, exif=exif))
    assert prepared.input_shape == (1, 24, 16)
    told = any("44 images turned as the EXIF orientation says" in line for line in said)
    assert told == (orientation != 1)
    got = arrays(prepared, "test")[0][0, 0].astype(int)
    assert np.abs(got - np.asarray(upright)).max() <= (0 if suffix == ".png" else 12)


def test_palettes_frames_and_printing_colours(tmp_path):
    root = fill(tmp_path / "grey", draw=lambda seed: Image.fromarray(pixels(seed)).convert("P"))
    assert lines(root)[0].input_shape == (1, 4, 6)
    root = fill(tmp_path / "colour", draw=lambda seed: Image.fromarray(pixels(seed, (3,))).quantize(16))
    assert lines(root)[0].input_shape == (3, 4, 6)
    root = fill(tmp_path / "print", draw=lambda seed: Image.fromarray(pixels(seed, (4,)), "CMYK"), suffix=".tif")
    assert lines(root)[0].input_shape == (3, 4, 6)
    root = fill(tmp_path / "film", suffix=".gif")
    first, second = (Image.fromarray(pixels(seed)) for seed in (101, 102))
    first.save(root / "test" / "cat" / "00.gif", save_all=True, append_images=[second])
    prepared, (_, warning) = lines(root)
    assert "1 file with several pictures: only the first of each is read" in warning
    assert np.array_equal(arrays(prepared, "test")[0][0, 0], pixels(101))


def bomb(path):
    """A PNG of a few hundred bytes that announces 60,000 x 60,000 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def cut_jpeg(path):
    Image.fromarray(pixels(1)).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-40])


def postscript(path):
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n%%EndComments\n(ran) print\n")


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def dead_link(path):
    path.unlink()
    path.symlink_to("gone.png")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (bomb, "cannot be read as an image: Image size"),
        (cut_jpeg, "cannot be read as an image: image file is truncated"),
        (postscript, "cannot be read as an image"),
        (lambda path: path.write_bytes(b""), "cannot be read as an image"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "cannot be read as an image"),
        (pipe, "is a pipe, no file"),
        (dead_link, "is a link to nothing"),
        (lambda path: Image.new("I;16", SIZE).save(path, "PNG"), "is an image of type I;16"),
        (lambda path: Image.new("F", SIZE).save(path, "TIFF"), "is an image of type F"),
    ],
)
def test_a_broken_picture_is_refused_by_name(tmp_path, harm, message):
    root = fill(tmp_path / "pets")
    harm(root / "test" / "dog" / "02.png")
    with pytest.raises(DataError, match=f"test/dog/02.png {message}") as caught:
        prepare(str(root))
    assert caught.value.exit_code == 3 and caught.value.hint


def test_hostile_pictures_are_read_or_refused(tmp_path):
    """Bytes exchanged anywhere in files of six types: nothing but a DataError, never a hang."""
    root = fill(tmp_path / "pets", suffix=".bmp")
    rng = random.Random(0)
    target, exif = root / "test" / "dog" / "02.png", Image.Exif()
    exif[0x0112] = 6
    samples = []
    for suffix in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        Image.fromarray(pixels(1)).save(target, suffix, **({"exif": exif} if suffix in ("PNG", "JPEG") else {}))
        samples.append(target.read_bytes())
    outcomes = set()
    for _ in range(60):
        content = bytearray(rng.choice(samples))
        for _ in range(rng.randrange(1, 5)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        target.write_bytes(content[: rng.choice((len(content), rng.randrange(len(content))))])
        try:
            outcomes.add(prepare(str(root)).n_test)
        except DataError as error:
            outcomes.add("refused")
            assert "02.png" in error.message and error.hint
    assert outcomes == {9, "refused"}


def test_names_that_are_no_utf8(tmp_path):
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/p\xe9ts\xff"))
    fill(root)
    (root / "train" / "cat").rename(Path(os.fsdecode(os.fsencode(root) + b"/train/k\xe4tze")))
    (root / "test" / "cat").rename(Path(os.fsdecode(os.fsencode(root) + b"/test/k\xe4tze")))
    prepared, said = lines(root)
    "\n".join([prepared.name, prepared.source.encode("ascii", "backslashreplace").decode(), *said]).encode("utf-8")
    assert "k\\udce4tze" in said[0]


def test_links_in_a_circle_end(tmp_path):
    root = fill(tmp_path / "pets")
    (root / "train" / "cat" / "again").symlink_to(root / "train")
    (root / "train" / "cat" / "self").symlink_to(root / "train" / "cat")
    # The cats are 18, and those of train/ that are not being looked at already: the 18 dogs.
    assert prepare(str(root)).n_train == 45


def test_too_many_pixels_for_the_memory_are_refused(tmp_path, monkeypatch):
    root = fill(tmp_path / "pets")
    monkeypatch.setattr("relubench.data.memory.memory", lambda: 3000)
    with pytest.raises(DataError, match="the 44 images of 6x4 pixels takes"):
        prepare(str(root))


def test_one_test_image_is_refused(tmp_path):
    root = fill(tmp_path / "pets")
    for file in sorted((root / "test").rglob("*.png"))[1:]:
        file.unlink()
    (root / "test" / "dog").rmdir()
    with pytest.raises(DataError, match="has 1 test image") as caught:
        prepare(str(root))
    assert "at least 2 test images" in caught.value.hint


def test_a_folder_without_parts_says_how_the_test_set_is_made(tmp_path):
    for seed in range(48):
        picture(tmp_path / "pets" / ("cat" if seed % 2 else "dog") / f"{seed:02}.png", seed=seed)
    prepared, (line, *_) = lines(tmp_path / "pets")
    assert prepared.n_test == 8
    assert (
        "no train/ and test/: one in 6 (at most 10,000), a fixed shuffle by class is set aside as the test set" in line
    )
