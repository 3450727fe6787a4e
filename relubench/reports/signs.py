"""Signs that not every terminal can show, and what stands for them there. Torch-free."""

from __future__ import annotations

import unicodedata

SIMILAR = {
    "·": "-",
    "—": "-",
    "–": "-",
    "−": "-",
    "─": "-",
    "━": "-",
    "╸": "-",
    "╺": "-",
    "│": "|",
    "╭": "+",
    "╮": "+",
    "╯": "+",
    "╰": "+",
    "±": "+-",
    "×": "x",
    "µ": "u",
    "μ": "u",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
    "…": "...",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "→": "->",
    "\N{NO-BREAK SPACE}": " ",
}
"""ASCII for every sign that the program prints on purpose."""


def shown_in(text: str, encoding: str | None) -> str:
    """The text with what `encoding` lacks replaced by similar signs; None stands for an encoding that has all."""
    try:
        text.encode(encoding or "utf-8")
        return text
    except UnicodeEncodeError:
        return "".join(sign if _has(encoding, sign) else similar(sign) for sign in text)


def similar(text: str) -> str:
    """The text in ASCII: similar signs, letters without their accents, and for what has neither its number."""
    return "".join(SIMILAR.get(sign) or _plain(sign) for sign in text)


def _has(encoding: str | None, sign: str) -> bool:
    try:
        sign.encode(encoding or "utf-8")
        return True
    except UnicodeEncodeError:
        return False


def _plain(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":
        return f"\\x{ord(sign) - 0xDC00:02x}"  # A byte of a file's name that is no text.
    bare = "".join(part for part in unicodedata.normalize("NFKD", sign) if not unicodedata.combining(part))
    return bare if bare.isascii() and bare else sign.encode("ascii", "backslashreplace").decode("ascii")
