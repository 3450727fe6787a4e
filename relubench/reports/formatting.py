"""Numbers, sizes and lists as people read them. Missing is an empty string."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from pathlib import Path


def fixed(value: float | None, digits: int = 2) -> str:
    """1.43"""
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 2) -> str:
    """+0.14; a value that rounds to zero has no sign."""
    text = "" if value is None or not math.isfinite(value) else f"{value:+.{digits}f}"
    return text[1:] if text and float(text) == 0 else text


def bracket(low: float | None, high: float | None, digits: int = 2) -> str:
    """[1.21, 1.68]"""
    return "" if low is None or high is None else f"[{fixed(low, digits)}, {fixed(high, digits)}]"


def signed_bracket(low: float | None, high: float | None, digits: int = 2) -> str:
    """[+0.02, +0.26]"""
    return "" if low is None or high is None else f"[{signed(low, digits)}, {signed(high, digits)}]"


def duration(seconds: float | None) -> str:
    """21 ms, 0.4 s, 12 s, 3m05s, 1h02m."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    if 0 < seconds < 0.0995:
        return f"{1e3 * seconds:.2g} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60}m{total % 60:02d}s"
    minutes = round(seconds / 60)
    return f"{minutes // 60}h{minutes % 60:02d}m"


def short(value: object) -> str:
    """Any value, short: 4 significant digits for a fraction, thousands apart for a whole number, yes or no."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(short(item) for item in value)
    return str(value)


def count(number: int, noun: str) -> str:
    """1 seed, 5 seeds"""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def join_names(items: list[str], limit: int = 4) -> str:
    """a, b, c, d and 3 more"""
    if len(items) <= limit:
        return ", ".join(items)
    return f"{', '.join(items[:limit])} and {len(items) - limit} more"


def verdict_parts(verdict: str | None, width: int = 6) -> list[str]:
    """'lower', 'on this test set': a word and what limits it, which may stand under it; filled up to `width`."""
    word, *limit = (verdict or "").split(" ", maxsplit=1)
    return [word, f"{limit[0]:<{width - len(word) - 1}}"] if limit else [f"{word:<{width}}"]


def verdict_width(verdicts: Iterable[str | None]) -> int:
    """Characters of the longest of a column's verdicts, so that numbers before them stand below each other."""
    return max([6, *(len(verdict or "") for verdict in verdicts)])


def seeds_range(low: int | None, likely: int | None, high: int | None, seeds: int) -> str:
    """'about 6 to 60 more seeds', 'at least 12 more seeds' of numbers of seeds in all; '' if none is enough.

    Where only the lowest is known, it is not likely that a number is enough.
    """
    ends = [None if number is None else max(number - seeds, 1) for number in (low, likely, high)]
    if ends[0] is None:
        return ""
    if ends[1] is None:
        return f"at least {count(ends[0], 'more seed')}, if any number of them,"
    if ends[2] is None:
        return f"at least {count(ends[0], 'more seed')}"
    if ends[0] == ends[2]:
        return f"about {count(ends[0], 'more seed')}"
    return f"about {ends[0]:,} to {count(ends[2], 'more seed')}"


def folder_size(folder: Path) -> int:
    """Bytes in the files under `folder`; files that vanish meanwhile do not count."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def readable(size: float) -> str:
    """`11 MB`: powers of 1000, as disks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
