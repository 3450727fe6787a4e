"""The labels of a table's rows: the activation, and what else tells the rows of a table or of a comparison apart."""

from __future__ import annotations

from collections.abc import Sequence

from relubench.experiments.rows import SummaryRow
from relubench.reports.training.groups import Group, mask_pairs
from relubench.reports.training.sentence import TableEntry


def row_labels(groups: Sequence[Group], rows: Sequence[SummaryRow]) -> list[str]:
    """For each row its activation, with whatever else tells the rows of the table apart."""
    several_variants = len({group.variant_and_noise for group in groups}) > 1
    labels = []
    for group, row in zip(groups, rows, strict=True):
        details = _details(group, row, rows, with_variant=several_variants)
        labels.append(f"{row.activation} ({', '.join(details)})" if details else row.activation)
    return labels


def entries_by_baseline(
    groups: Sequence[Group], rows: Sequence[SummaryRow], baselines: Sequence[int]
) -> list[tuple[str, list[TableEntry]]]:
    """The rows with their labels in a list for each baseline, which leads it; every list has a name."""
    members_of: dict[int, list[int]] = {baseline: [baseline] for baseline in baselines}
    for index, baseline in enumerate(baselines):
        if index != baseline:
            members_of[baseline].append(index)
    lists: list[tuple[str, list[TableEntry]]] = []
    for baseline, members in members_of.items():
        variants = {groups[index].variant_and_noise for index in members}
        activations = {rows[index].activation for index in members}
        entries = []
        for index in members:
            details = _details(groups[index], rows[index], rows, with_variant=len(variants) > 1)
            with_activation = len(activations) > 1 or not groups[index].variant_and_noise
            has_difference = rows[index].metric_difference is not None
            seeds = len(mask_pairs(groups[index], groups[baseline])[0]) if has_difference else 0
            entries.append(TableEntry(_entry_label(rows[index], details, with_activation), rows[index], seeds))
        base_row = rows[baseline]
        name = next(iter(variants)) if len(variants) == 1 else base_row.activation if len(activations) == 1 else ""
        lists.append((name or f"{base_row.dataset}, {base_row.model}", entries))
    return lists


def _entry_label(row: SummaryRow, details: Sequence[str], with_activation: bool) -> str:
    """The activation with the details in brackets, or the details alone where all rows have that activation."""
    if not with_activation:
        return ", ".join(details) or row.activation
    return f"{row.activation} ({', '.join(details)})" if details else row.activation


def _details(group: Group, row: SummaryRow, rows: Sequence[SummaryRow], *, with_variant: bool) -> list[str]:
    """What a row's label says beside its activation."""
    details = [f"pretraining {row.pretraining}"] if len({table_row.pretraining for table_row in rows}) > 1 else []
    details += [group.variant_and_noise] if with_variant and group.variant_and_noise else []
    return details + ([f"l1 {group.l1:g}"] if group.l1 is not None and not group.variant else [])
