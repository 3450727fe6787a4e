"""Hostile .npz files: sound ones with something wrong at every level of zip, of .npy, and of what the arrays mean."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from relubench.data.facts import survey
from relubench.data.prepared import DataOptions
from relubench.data.sources import npz
from relubench.errors import DataError, UsageError

DTYPES = (
    *("|u1", "<f4", "<f8", "<f2", ">f4", ">i8", "<i8", "<u8", "|b1", "<c8", "<M8[s]", "<m8[D]", "|O", "|S3", "<U2"),
    *("|V4", "<U0", "<g", "<f16", "(2,)<f4", "nonsense", "<i3", "[('a', '<i4')]", "{'x': 1}", "\\x00", "<U99999999999"),
)
SHAPES = (
    *("()", "(24,)", "(24, 5, 6)", "(-1, 5)", "(0, 5)", "(10**10, 28, 28)", "(9999999999999, 9999999999999)", "[24]"),
    *("(24, 5, 6", "(1.5,)", "(True, 3)", "('a',)", "None", "(" * 400, "(1," * 40 + ")" * 40, "(2**70,)"),
)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
NAMES = (
    "x_train",
    "y_train",
    "x_test",
    "y_test",
    "x_valid",
    "y_valid",
    "X_train",
    "train_images",
    "val_labels",
    "../x",
)


def hostile_npz(rng: random.Random) -> bytes:
    """A .npz file with one to three things wrong with it, or none; the same for the same state of `rng`."""
    members = _sound(rng)
    for _ in range(rng.randrange(3)):
        _harm_member(members, rng)
    content = _packed(members, rng)
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        content = _harm_bytes(content, rng)
    return content


def check_npz(content: bytes, folder: Path) -> str:
    """'ok' if the file is read, 'refused' if it is refused in two sound lines; whatever else happens is raised."""
    path = folder / "hostile.npz"
    path.write_bytes(content)
    try:
        parts = npz.request(str(path), path, DataOptions()).load(folder)
    except (DataError, UsageError) as error:
        assert error.hint and len(error.message) < 2_000, f"too long or without a hint: {error.message[:300]}"
        return "refused"
    facts = survey(parts)
    assert facts.parts["train"].images == len(parts.y_train) and int(parts.y_test.max()) < parts.classes
    return "ok"


def _sound(rng: random.Random) -> dict[str, bytes]:
    draw = np.random.default_rng(rng.randrange(2**32))
    arrays = {
        "x_train": draw.integers(0, 256, (24, 5, 6), dtype=np.uint8),
        "y_train": np.arange(24) % 3,
        "x_test": draw.integers(0, 256, (9, 5, 6), dtype=np.uint8),
        "y_test": np.arange(9) % 3,
    }
    change = rng.choice(("none", "float", "labels", "text", "turned", "flat"))
    for key in arrays:
        if key[0] == "x":
            x = arrays[key]
            forms = {"float": x.astype(">f4"), "turned": np.asfortranarray(x), "flat": x.reshape(len(x), -1)}
            arrays[key] = forms.get(change, x)
        else:
            y = arrays[key]
            arrays[key] = {"labels": y * 7 - 3 if rng.random() < 0.5 else y + 1, "text": y.astype(str)}.get(change, y)
    return {f"{key}.npy": _npy(array) for key, array in arrays.items()}


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _harm_member(members: dict[str, bytes], rng: random.Random) -> None:
    name = rng.choice(sorted(members))
    harms: tuple[Callable[[], bytes | None], ...] = (
        lambda: None,
        lambda: b"",
        lambda: rng.randbytes(rng.randrange(300)),
        lambda: _headed(rng),
        lambda: _headed(rng) + rng.randbytes(720),
        lambda: members[name][: rng.randrange(len(members[name]) + 1)],
        lambda: members[name] + rng.randbytes(8),
        lambda: b"\x93NUMPY\x02\x00" + (10**8).to_bytes(4, "little") + b" " * 1000,
        lambda: b"\x93NUMPY" + rng.randbytes(20),
        lambda: _npy(
            np.zeros(rng.choice(((24, 5, 6), (24,), (24, 0), (1,), (3, 3, 3, 3))), rng.choice(("u1", "f4", "i8")))
        ),
        lambda: _npy(np.array([object] * 24, dtype=object)),
        lambda: _npy(np.full((24, 5, 6), rng.choice((np.nan, np.inf, 1e30, 255.0)))),
    )
    content = rng.choice(harms)()
    if content is None:
        moved = members.pop(name)
        members[f"{rng.choice(NAMES)}{rng.choice(('.npy', ''))}"] = moved
    else:
        members[name] = content
    if not members:
        members["x_train.npy"] = b""


def _headed(rng: random.Random) -> bytes:
    """The start of a .npy file that announces an odd type, shape or order."""
    dtype = rng.choice(DTYPES)
    descr = dtype if dtype[0] in "[{(" else repr(dtype)
    text = (
        f"{{'descr': {descr}, 'fortran_order': {rng.choice(('True', 'False', '3'))}, 'shape': {rng.choice(SHAPES)}, }}"
    )
    encoded = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(encoded).to_bytes(2, "little") + encoded


def _packed(members: dict[str, bytes], rng: random.Random) -> bytes:
    stream = io.BytesIO()
    method = rng.choice(METHODS) if rng.random() < 0.3 else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


def _harm_bytes(content: bytes, rng: random.Random) -> bytes:
    """The file cut, or with bytes exchanged: anywhere, or in the table of contents, where its numbers are."""
    way = rng.randrange(4)
    if way == 0:
        return content[: rng.randrange(len(content) + 1)]
    harmed = bytearray(content)
    start = max(0, content.rfind(b"PK\x01\x02")) if way == 1 else 0
    for _ in range(rng.randrange(1, 6)):
        if harmed[start:]:
            harmed[rng.randrange(start, len(harmed))] = rng.choice((0, 1, 255, rng.randrange(256)))
    return bytes(harmed) + (rng.randbytes(rng.randrange(200)) if way == 3 else b"")
