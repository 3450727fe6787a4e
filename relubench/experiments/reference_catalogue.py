"""Every published number that is shipped, as a row of `relubench list references`. Torch-free."""

from __future__ import annotations

import re

from relubench.data import NOT_PUBLIC
from relubench.experiments.reference_files import Entry, entries
from relubench.experiments.references import ARTICLE_TITLE

SOURCES = ("glorot2011", "article", "article_operations", "others", "modern")


OF_THE_PAPER = (
    "SGD in batches of 10, a constant rate from 0.1, 0.01, 0.001, 0.0001 by validation error, L1 of 0.001 on "
    "activations, rectifiers half of them negated; epochs, seeds and bounds of the initial weights not stated"
)
OF_ITS_PRETRAINING = "; stacked denoising auto-encoders, masking 0.25"
OF_OPENTABLE = "10-fold cross-validation, bag of 5000 words, 5000 units a layer, denoising auto-encoders, L1"
UNSTATED = "none stated"
PAGES = {"table1": "6", "rescaled-softplus": "6", "section4.1": "7", "figure4": "7", "table2": "8", "section4.2": "8"}
"""Of Glorot, Bordes & Bengio 2011."""


def _protocol(entry: Entry) -> str:
    """How the number was got, as far as its source says."""
    if entry.protocol:
        return entry.protocol
    if entry.source == "article":
        return UNSTATED
    if entry.dataset == "opentable":
        return OF_OPENTABLE
    return OF_THE_PAPER + (OF_ITS_PRETRAINING if entry.pretraining == "dae" else "")


def catalogue() -> list[dict[str, str | float | None]]:
    """Every reference number that is shipped, as `relubench list references` shows it; names are unique."""
    cited = {"glorot2011": "Glorot, Bordes & Bengio 2011", "article": ARTICLE_TITLE}
    rows: list[dict[str, str | float | None]] = []
    uses: dict[str, int] = {}
    for entry in (entry for source in SOURCES for entry in entries(source)):
        fields = (
            entry.source,
            entry.table,
            entry.dataset,
            entry.model,
            entry.activation,
            entry.pretraining,
            entry.condition,
        )
        name = ":".join(re.sub(r"[^\w.=+-]+", "-", part) for part in (*fields, entry.metric) if part)
        uses[name] = uses.get(name, 0) + 1
        rows.append(
            {
                "name": name if uses[name] == 1 else f"{name}:{uses[name]}",
                "dataset": entry.dataset or None,
                "model": entry.model or None,
                "activation": entry.activation or None,
                "pretraining": entry.pretraining or None,
                "condition": entry.condition or None,
                "metric": entry.metric,
                "value": entry.value,
                "unit": entry.unit,
                "protocol": _protocol(entry),
                "note": "; ".join(["data not public"] * (entry.dataset in NOT_PUBLIC) + [entry.note] * bool(entry.note))
                or None,
                "table": entry.table or None,
                "page": entry.page or (PAGES.get(entry.table) if entry.source == "glorot2011" else None),
                "read in": "the source" if entry.mark == "A" else "a page about it",
                "source": entry.citation or cited[entry.source],
            }
        )
    return rows
