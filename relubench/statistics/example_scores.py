"""What is stored of each test example of a run, as bytes and as text: a bit (was it wrong?), or a float32. Torch-free.

Bits are packed, eight a byte; numbers are little-endian. The length tells the two apart.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[Any]
"""Of one network, [N]: bool, True where it was wrong on that test example, or float32, its score of that example."""


def to_bytes(scores: Scores) -> bytes:
    """The scores as the store and messages have them."""
    return np.packbits(scores).tobytes() if scores.dtype == bool else scores.astype("<f4").tobytes()


def from_bytes(content: bytes, num_examples: int) -> Scores:
    """The scores that `to_bytes` wrote; raises ValueError where the content is not that of so many examples."""
    if len(content) == (num_examples + 7) // 8:
        return np.unpackbits(np.frombuffer(content, dtype=np.uint8), count=num_examples).astype(bool)
    if len(content) != 4 * num_examples:
        raise ValueError(f"{len(content)} bytes do not hold {num_examples} examples")
    scores = np.frombuffer(content, dtype="<f4").astype(np.float32)
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    return scores


def pack(scores: Scores) -> str:
    """The scores as text: their bytes, deflated, in base 64. 143 wrong ones of 10,000 take some 300 characters."""
    return base64.b64encode(zlib.compress(to_bytes(scores), 9)).decode("ascii")


def unpack(text: str, num_examples: int) -> Scores:
    """The scores of so many examples that `pack` wrote; raises ValueError for any other text."""
    try:
        # The limit is needed: a few bytes may unpack to gigabytes.
        content = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), 4 * num_examples + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    return from_bytes(content, num_examples)
