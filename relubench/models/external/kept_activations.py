"""Which places of somebody else's network stay as they are by the user's wish (`--keep-act`), and what is refused."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from relubench.errors import UsageError
from relubench.models.external.calls import CallSite
from relubench.system.lookup import did_you_mean

SAID = 3
"""Refused calls that are named; the others are counted."""

ASKED = "--keep-act"
"""Why a place stays that the user named."""


def check_refused(refused: Sequence[str], label: str) -> None:
    """Raises UsageError for calls that can be neither exchanged nor told from an activation; names a few of them."""
    if not refused:
        return
    calls = list(dict.fromkeys(refused))
    more = f"; and {len(calls) - SAID} more" if len(calls) > SAID else ""
    raise UsageError(
        f"{label}: these calls cannot be exchanged: {'; '.join(calls[:SAID])}{more}",
        "leave torch.utils.checkpoint out: call the module itself, as its own forward does"
        if all("(checkpointing)" in call for call in calls)
        else "write activations as modules or functions of torch.nn (nn.SiLU, F.relu, F.hardswish) and attention with "
        "F.softmax, or leave them as they are: --keep-act PATH (* matches anything)",
    )


def check_kept(keep: Sequence[str], uses: Sequence[CallSite], names: Collection[str], label: str) -> None:
    """Raises UsageError for a pattern of `keep` that names no place."""
    for pattern in keep:
        if not any(matches(name, [pattern]) for name in names):
            places = list(dict.fromkeys(use.name for use in uses))
            listed = f"its places are {', '.join(places[:8])}" + (", ..." if len(places) > 8 else "")
            raise UsageError(
                f"--keep-act {pattern}: {label} calls no activation there", did_you_mean(pattern, places, listed)
            )


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern names the place, the module that makes the call, or one that this module is part of."""
    path = name.partition("#")[0]
    parents = [path[:end] for end, mark in enumerate(path) if mark == "."]
    return any(fnmatchcase(candidate, pattern) for pattern in patterns for candidate in (name, path, *parents))
