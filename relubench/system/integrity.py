"""Stored files that carry their own SHA-256, so that damage is noticed before a number is believed. Torch-free.

The digest is that of the file's name in the store and of its content. The name is part of it, so that another run's
file is not taken for this one's. JSON has the digest in its first field, other files in their first 32 bytes.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

DIGEST_BYTES = 32
BLANK = "0" * 2 * DIGEST_BYTES
"""Stands for the digest in a JSON file's text while the digest is computed."""
_OPENING = b'{\n "sha256": "'
"""How a JSON file with a digest begins."""


class DamagedError(ValueError):
    """The content is not what was written under this name."""


def digest_of(content: bytes) -> str:
    """The SHA-256 of a file's content, 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def sealed_json(values: dict[str, Any], name: str) -> bytes:
    """The values as JSON text with a digest; raises ValueError for a number that JSON does not have."""
    text = json.dumps({"sha256": BLANK, **values}, indent=1, allow_nan=False) + "\n"
    return text.replace(BLANK, _digest(text.encode(), name).hex(), 1).encode()


def read_json(content: bytes, name: str) -> dict[str, Any]:
    """The values that `sealed_json` was given; raises DamagedError if the content was changed since."""
    start, stop = len(_OPENING), len(_OPENING) + len(BLANK)
    blank = content[:start] + BLANK.encode() + content[stop:]
    if not content.startswith(_OPENING):
        raise DamagedError("it carries no SHA-256")
    if _digest(blank, name).hex().encode() != content[start:stop]:
        raise DamagedError("its content does not match its SHA-256")
    values = json.loads(content)
    values.pop("sha256")
    return values


def sealed(content: bytes, name: str) -> bytes:
    """The content with its digest before it."""
    return _digest(content, name) + content


def read(content: bytes, name: str) -> bytes:
    """The content that `sealed` was given; raises DamagedError if it was changed since."""
    plain = content[DIGEST_BYTES:]
    if _digest(plain, name) != content[:DIGEST_BYTES]:
        raise DamagedError("its content does not match its SHA-256")
    return plain


def _digest(content: bytes, name: str) -> bytes:
    total = hashlib.sha256(name.encode() + b"\0")
    total.update(content)
    return total.digest()
