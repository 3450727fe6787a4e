"""Pieces of HTML: escaped text, tables, lists of facts."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from typing import Any

CLASSES = {"green": "good", "red": "bad", "cyan": "info", "yellow": "bad", "dim": "dim"}
"""A rich style of a cell -> its class in a page."""


def text_of(text: object) -> str:
    """The text with what HTML would read as markup escaped."""
    return html.escape(str(text), quote=True)


def element(tag: str, content: str, **attributes: str | int | None) -> str:
    """The element around markup; `class_` is class, an underscore a hyphen; None leaves an attribute out."""
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    written = "".join(f' {key}="{text_of(value)}"' for key, value in named.items())
    return f"<{tag}{written}>{content}</{tag}>"


def paragraph(text: str, class_: str | None = None) -> str:
    """The text as a paragraph; empty for an empty text."""
    return element("p", text_of(text), class_=class_) if text else ""


def facts(pairs: Mapping[str, object]) -> str:
    """Names and values below each other."""
    lines = "".join(f"<dt>{text_of(name)}</dt><dd>{text_of(value)}</dd>" for name, value in pairs.items())
    return f'<dl class="facts">{lines}</dl>' if lines else ""


def bullets(texts: Iterable[str], class_: str | None = None) -> str:
    """The texts as a list; empty without any."""
    lines = "".join(f"<li>{text_of(text)}</li>" for text in texts)
    return element("ul", lines, class_=class_) if lines else ""


def folded(summary: str, content: str, class_: str | None = None) -> str:
    """Content that a click opens."""
    return element("details", f"<summary>{text_of(summary)}</summary>{content}", class_=class_)


def data_island(name: str, values: Any) -> str:
    """Values that the page's script reads; nothing in them can end the element."""
    written = json.dumps(values, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    safe = written.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f'<script type="application/json" id="{name}">{safe}</script>'
