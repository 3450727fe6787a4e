"""The lines that compare a table with published values in order alone, and with a claim about the best activation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from relubench.experiments.published_order import PublishedOrder
from relubench.reports.formatting import join_names
from relubench.reports.report import Row
from relubench.reports.scores import TEST_KEYS, score_of

NAMED_PAIRS = 3
"""Pairs in the other order are named up to so many."""


def order_line(order: PublishedOrder, rows: Sequence[Row]) -> str:
    """'order agrees: 7 of 9 pairs', with the source and why its values are not compared; empty without any pairs.

    Rows of several settings count together: each pair once in every setting.
    """
    scores_by_setting: dict[tuple[Any, ...], dict[str, float]] = {}
    for row in rows:
        if (score := score_of(row, TEST_KEYS[0])) is not None:
            setting = tuple(row.get(key) for key in ("variant", "dataset", "model", "pretraining"))
            scores_by_setting.setdefault(setting, {})[row["activation"]] = score
    agreements = [order.agreement(scores, _lower(rows[0])) for scores in scores_by_setting.values()]
    total = sum(agreement.pairs for agreement in agreements)
    if not total:
        return ""
    same = sum(len(agreement.agreeing) for agreement in agreements)
    reasons = order.differs_in(rows[0]["model"], rows[0]["dataset"], rows[0].get("metric", "error_pct"))
    against = [f"{a} and {b}" for agreement in agreements for a, b in agreement.turned]
    turned = f", not for {join_names(list(dict.fromkeys(against)), limit=NAMED_PAIRS)}" if against else ""
    where = f"{order.citation}, {order.place}" if order.place else order.citation
    reason = "; ".join(reasons) or "another protocol"
    pairs = f"{same} of {total} pair{'s' if total > 1 else ''}"
    return f"{where}: not comparable ({reason}); of the means the order agrees: {pairs}{turned}"


def claim_line(claimed_best: str, rows: Sequence[Row]) -> str:
    """Whether an activation that a source calls the best is so here, by the verdicts of the rows compared with it.

    Empty where no row was compared with it.
    """
    words = [(row["activation"], _verdict(row)) for row in rows if row["activation"] != claimed_best]
    named = {word: [name for name, own in words if own == word] for word in ("worse", "better", "noise")}
    if not any(named.values()):
        return ""
    phrases = [
        f"{join_names(names)} {'are' if len(names) > 1 else 'is'} {text}"
        for word, text in (("better", "better"), ("worse", "worse"), ("noise", "no different beyond noise"))
        if (names := named[word])
    ]
    if named["better"]:
        answer = "does not hold here"
    elif named["noise"]:
        answer = "is neither confirmed nor refuted here" if not named["worse"] else "holds here in part"
    else:
        answer = "holds here"
    return f"the claim that {claimed_best} is the best {answer}: compared with it, {'; '.join(phrases)}"


def _verdict(row: Mapping[str, Any]) -> str:
    """'better', 'worse' or 'noise' than the baseline; empty where nothing is said, and of one seed."""
    verdict = str(row.get("difference_verdict") or "")
    if verdict not in ("lower", "higher"):
        return verdict if verdict == "noise" else ""
    return "better" if (verdict == "lower") == _lower(row) else "worse"


def _lower(row: Mapping[str, Any]) -> bool:
    return row.get("lower_is_better", True) is not False
