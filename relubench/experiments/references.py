"""The numbers that others published, from presets/reference/*.csv: the paper's own, and a secondary article's.

The two sources are never mixed: `published` reads the paper (Glorot, Bordes & Bengio 2011), `article` the article, and
`footnotes` names each source under a table that shows its numbers. Errors and sparsities are in percent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relubench.data import TABLE
from relubench.experiments.reference_files import Entry, entries
from relubench.experiments.rows import SummaryRow

PAPER = "Glorot et al. 2011"
PAPER_NOTE = 'published: Glorot, Bordes & Bengio 2011, "Deep Sparse Rectifier Neural Networks"'
ARTICLE_TITLE = 'ReLU — How max(0, x) Turned Deep Networks from "Lab Toy" to "Industrial Cornerstone"'
ARTICLE_NOTE = f"article: “{ARTICLE_TITLE}”; most of its numbers are not in the published paper"
NORB_NOTE = (
    "norb is small NORB; the paper used jittered-cluttered NORB (norb-jittered-cluttered): no published value. "
    "The article names neither set; its network is an “MLP-3layer”, the paper's is mlp-4000-2000"
)
GENERATED_NOTE = "norb-generated is rendered by relubench: it is not NORB, and nothing published compares with it"
NISTP_NOTE = "nistp-like is made from NIST SD19 alone and is not NISTP: the article's numbers beside it are not its own"

TABLE_1 = f"{PAPER}, Table 1"
RESCALED = f"{PAPER}, rescaled softplus"
FIGURE_4 = f"{PAPER}, figure 4 (digitised)"
SPARSITY = f"{PAPER}, section 4.1"
FIGURE_4_LABELS = 233_172
"""Labelled images at the right end of figure 4: all of them."""
REBUILT_NISTP = "nistp-like"
"""The article's rows for NISTP are shown beside it, with a note; the paper's are not: it says what its data were."""
PAPER_NETWORK = {"norb-jittered-cluttered": (4000, 2000)}
"""Hidden widths of the paper's network where they are not three times 1000."""
ARTICLE_ALSO: dict[tuple[str, tuple[int, ...] | None], tuple[int, ...]] = {("norb", (4000, 2000)): (1000, 1000, 1000)}
"""Networks that the article's rows for another stand beside: it gives what the paper's network reached on NORB."""


@dataclass(frozen=True, slots=True)
class Published:
    """A published test error and sparsity in percent, with where they stand; None where the source is silent."""

    error_pct: float | None
    sparsity_pct: float | None
    source: str


def published(
    dataset: str, model: str, activation: str, pretraining: str, table: str | None = None, labels: int | None = None
) -> Published | None:
    """What the paper reports for this network, or None.

    Table 1 for the error; section 4.1 for the sparsity of its rectifiers, which it does not split by pre-training; and
    for softplus with another beta the comparison of (1 / alpha) softplus(alpha x), which is softplus:beta=alpha.
    `table`: one of the paper's tables alone; there the rectifier is alpha = inf, and figure 4 has rows by `labels`, the
    number of labelled training images (None: all), of which the others know nothing.
    """
    if not same_network(dataset, model):
        return None
    name, beta = _name_and_beta(activation)
    of_dataset = [entry for entry in entries("glorot2011") if entry.dataset == dataset]
    if table == "figure4":
        error = _first(_entries_of(of_dataset, table, name, pretraining, f"labels={labels or FIGURE_4_LABELS}"))
        return Published(error, None, FIGURE_4) if error is not None and beta == 1 else None
    if labels is not None:
        return None
    if table == "rescaled-softplus" or (table is None and beta != 1):
        alpha = "alpha=inf" if name == "relu" else f"alpha={beta:g}" if beta else ""
        source, of_table = RESCALED, _entries_of(of_dataset, "rescaled-softplus", "softplus", pretraining, alpha)
        of_table = of_table if name in ("relu", "softplus") else []
    else:
        source, of_table = TABLE_1, _entries_of(of_dataset, "table1", name, pretraining, "") if beta == 1 else []
    error = _first(of_table)
    rectifier = [entry for entry in of_dataset if entry.table == "section4.1" and entry.activation == name]
    sparsity = _first(rectifier) if pretraining in ("none", "dae") else None
    if error is None and sparsity is None:
        return None
    return Published(error, sparsity, source if error is not None else SPARSITY)


def article(
    dataset: str, model: str, activation: str, pretraining: str, l1: float | None = None, table: str | None = None
) -> Published | None:
    """What the article reports for this network, or None: its main table for the data set first, then its others.

    `l1`: with a value, the row of its sparsity table for that coefficient comes before the main table. `table`: that
    table alone.
    """
    of_network = _in_article(dataset, model, activation, pretraining)
    of_network = [entry for entry in of_network if table is None or entry.table == table]
    condition = "" if l1 is None else f"l1={_plain(l1)}"
    with_l1 = [entry for entry in of_network if condition and entry.condition == condition]
    errors = [
        entry
        for entry in [*with_l1, *of_network]
        if entry.metric == "test_error" and entry.condition in ("", condition)
    ]
    sparsity = _first(entry for entry in with_l1 if entry.metric == "sparsity")
    if not errors and sparsity is None:
        return None
    place = errors[0].table if errors else "sparsity"
    return Published(errors[0].value if errors else None, sparsity, f"article, table {place}")


def footnotes(rows: Sequence[SummaryRow]) -> list[str]:
    """The lines that name the sources of the reference numbers in these rows, and what to mind about them."""
    notes: list[str] = []
    if any(row.published_error_pct is not None or row.published_sparsity_pct is not None for row in rows):
        tables = list(dict.fromkeys(row.published_source for row in rows if row.published_error_pct is not None))
        places = [source.removeprefix(f"{PAPER}, ") for source in tables if source]
        if any(row.published_sparsity_pct is not None for row in rows):
            places.append("section 4.1 (sparsity)")
        notes.append(f"{PAPER_NOTE}, {', '.join(places)}")
    if any(row.article_error_pct is not None or row.article_sparsity_pct is not None for row in rows):
        other_values = list(dict.fromkeys(note for row in rows if (note := _other_values(row))))
        notes.append("; ".join([ARTICLE_NOTE, *other_values]))
    if any(row.dataset == REBUILT_NISTP and row.article_error_pct is not None for row in rows):
        notes.append(NISTP_NOTE)
    if any(row.dataset == "norb" for row in rows):
        notes.append(NORB_NOTE)
    if any(row.dataset == "norb-generated" for row in rows):
        notes.append(GENERATED_NOTE)
    return notes


def split_notes(rows: Sequence[SummaryRow], splits: Collection[tuple[str, str]]) -> list[str]:
    """A line for each data set whose published numbers stand beside runs on another split than the paper's.

    `splits`: the pairs of data set and split ('standard' or 'paper') that the runs have.
    """
    shown = {row.dataset for row in rows if row.published_error_pct is not None}
    notes: list[str] = []
    for name in dict.fromkeys(row.dataset for row in rows):
        data_set = TABLE.get(name)
        if data_set is None or data_set.paper is None or name not in shown or (name, "standard") not in splits:
            continue
        size_here, size_in_paper = (
            f"{counts.n_train:,}/{counts.n_valid:,}/{counts.n_test:,}" for counts in (data_set, data_set.paper)
        )
        if size_here != size_in_paper:
            notes.append(
                f"{name} is split {size_here} here (training/validation/test), in the paper {size_in_paper}: "
                "--set data.split=paper does the same"
            )
    return notes


def same_network(dataset: str, model: str) -> bool:
    """Whether `model` is the network that the paper has for the data set."""
    return hidden_widths(model) == PAPER_NETWORK.get(dataset, (1000, 1000, 1000))


def is_mnist_network(spec: Mapping[str, Any]) -> bool:
    """Whether a run is of the network and the data of the article's tables of speed and sparsity, and of Figure 3.

    That is three layers of 1000 units on all of MNIST's training images. The article does not name the data of its
    table of speed; MNIST is the paper's first.
    """
    all_images = spec.get("train_size") is None and spec.get("labels") is None
    return spec.get("dataset") == "mnist" and hidden_widths(spec.get("model", "")) == (1000, 1000, 1000) and all_images


def typical_error_pct(source: str, dataset: str) -> float:
    """A source's rectifier without pre-training, whose noise stands for that of all its values on the data set."""
    of_dataset = [entry for entry in entries(source) if entry.dataset == dataset and entry.metric == "test_error"]
    plain = [
        entry for entry in of_dataset if (entry.activation, entry.pretraining, entry.condition) == ("relu", "none", "")
    ]
    return (plain or of_dataset)[0].value


def hidden_widths(model: str) -> tuple[int, ...] | None:
    """The hidden widths that an mlp's name stands for, so that mlp-3x1000 and mlp-1000-1000-1000 are one network."""
    if repeated := re.fullmatch(r"mlp-(\d+)x(\d+)", model):
        return (int(repeated[2]),) * int(repeated[1])
    if re.fullmatch(r"mlp(-\d+)+", model):
        return tuple(int(width) for width in model.split("-")[1:])
    return None


def _entries_of(
    candidates: Sequence[Entry], table: str, activation: str, pretraining: str, condition: str
) -> list[Entry]:
    """The test errors of one table for one network."""
    return [
        entry
        for entry in candidates
        if entry.table == table
        and entry.metric == "test_error"
        and (entry.activation, entry.pretraining, entry.condition) == (activation, pretraining, condition)
    ]


def _in_article(dataset: str, model: str, activation: str, pretraining: str) -> list[Entry]:
    """The article's rows for one network, those of the data set's main table first."""
    name, beta = _name_and_beta(activation)
    dataset = "nistp" if dataset == REBUILT_NISTP else dataset
    widths = hidden_widths(model)
    widths = ARTICLE_ALSO.get((dataset, widths), widths)
    matching = [
        entry
        for entry in entries("article")
        if beta == 1
        and entry.dataset == dataset
        and (entry.model == model or (widths is not None and hidden_widths(entry.model) == widths))
        and (entry.activation, entry.pretraining) == (name, pretraining)
    ]
    return sorted(matching, key=lambda entry: entry.table != dataset)


def _other_values(row: SummaryRow) -> str | None:
    """What else the article says of the row's network, where its tables disagree."""
    shown = row.article_error_pct
    of_network = _in_article(row.dataset, row.model, row.activation, row.pretraining)
    differing = [
        value_entry
        for value_entry in of_network
        if value_entry.metric == "test_error" and not value_entry.condition and value_entry.value != shown
    ]
    if (
        shown is None
        or not differing
        or all(value_entry.value != shown for value_entry in of_network if not value_entry.condition)
    ):
        return None
    also = ", ".join(f"{value_entry.value:g} in its table “{value_entry.table}”" for value_entry in differing)
    return f"for {row.activation} it also gives {also}"


def _name_and_beta(activation: str) -> tuple[str, float | None]:
    """The activation's bare name and its beta: 1 if it has no parameters, None if it has any that no table knows."""
    name, *parameters = activation.split(":")
    values = {key: value for key, _, value in (parameter.partition("=") for parameter in parameters)}
    if not values:
        return name, 1.0
    # PyTorch's threshold of 20, beyond which softplus is x, changes no digit: named or not, it is the same function.
    threshold = values.pop("threshold", "20")
    try:
        is_softplus = name == "softplus" and float(threshold) == 20 and not values.keys() - {"beta"}
        return name, float(values.get("beta", "1")) if is_softplus else None
    except ValueError:
        return name, None


def _plain(number: float) -> str:
    """The number as the article's conditions write it: 0, 0.001, 1.0."""
    return "0" if number == 0 else f"{number:.1f}" if number == round(number, 1) else f"{number:g}"


def _first(candidates: Iterable[Entry]) -> float | None:
    return next((entry.value for entry in candidates), None)


def paper_sparsity() -> float:
    """The paper's share of exact zeros in a rectifier network on MNIST, in per cent (section 4.1)."""
    return next(
        entry.value for entry in entries("glorot2011") if entry.dataset == "mnist" and entry.metric == "sparsity"
    )
