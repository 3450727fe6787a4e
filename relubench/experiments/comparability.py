"""May a run be held against a reference number? Only where it was trained as the reference says its own was.

What a source does not state (epochs, the bounds of the initial weights, early stopping) bars nothing, with one
exception: fewer epochs than the paper protocol has would make a verdict about patience.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from relubench.data import TABLE, split_row
from relubench.experiments import references
from relubench.experiments.rows import SummaryRow
from relubench.experiments.sections import PretrainSection, TrainSection
from relubench.models.optimizer_table import PAPER_RATES
from relubench.runs.task import CLASSIFICATION

PAPER_TRAINING = {
    "optimizer": "sgd",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "batch_size": 10,
    "schedule": "constant",
    "warmup_epochs": 0.0,
    "dropout": 0.0,
    "norm": "none",
    "augment": "none",
    "precision": "fp32",
}
"""Section 4.1: plain SGD at a constant rate, mini-batches of 10, and nothing else mentioned."""

PAPER_NOISE = ("masking", 0.25)
"""Section 4.1: what the denoising autoencoders' inputs are corrupted by."""

PAPER_L1 = 0.001
"""The paper's coefficient on activations; its scaling is not stated, so anything up to it is its protocol."""

PAPER_IMAGES = {
    "mnist": (50_000, 10_000),
    "cifar10": (50_000, 5_000),
    "nistp": (81_920_000, 20_000),
    "norb-jittered-cluttered": (233_172, 58_320),
}
"""Training and test images of section 4.1."""

NEAR = 0.01
"""The share of the training images that two splits may differ by and be one."""

EPOCHS = TrainSection().epochs


def why_not(row: SummaryRow, spec: Mapping[str, Any], test_examples: int) -> str | None:
    """Why this row has nothing to be held against, in a few words; None if its reference number may judge it."""
    if row.task != CLASSIFICATION:
        return f"nothing is published on the test {row.posed.noun}"
    if spec.get("train_size") is not None:
        return f"trained on {spec['train_size']:,} images only"
    if spec.get("test_noise"):
        return "tested on noisy images"
    if row.published_error_pct is not None:
        return _data_split(row.dataset, spec.get("split", "standard"), test_examples) or _training(spec)
    if row.dataset == references.REBUILT_NISTP:
        return "a rebuild of NISTP, which is not public"
    if spec.get("labels") is not None:
        return f"trained on {spec['labels']:,} labels only"
    if row.article_error_pct is not None:
        if references.hidden_widths(row.model) is None:
            return f"the article does not describe its {row.model}"
        return _training(spec, article=True)
    return _no_value(row)


def _training(spec: Mapping[str, Any], *, article: bool = False) -> str | None:
    """What was set otherwise than in the paper, whose training the article says it reports."""
    changed = [_spoken(key, spec[key]) for key, paper in PAPER_TRAINING.items() if key in spec and spec[key] != paper]
    if spec.get("epochs", EPOCHS) < EPOCHS:
        changed.append(f"{spec['epochs']} epoch{'' if spec['epochs'] == 1 else 's'} of {EPOCHS}")
    if spec.get("optimizer", "sgd") == "sgd" and "lr" in spec and spec["lr"] not in PAPER_RATES:
        changed.append(f"learning rate {spec['lr']:g}")
    l1 = spec.get("l1_asked", 0.0) if spec.get("l1_scale") == "paper" else spec.get("l1", 0.0)
    if not article and l1 > PAPER_L1:
        changed.append(f"L1 {l1:g}")
    changed += _pretraining(spec.get("stack"))
    return f"trained otherwise: {', '.join(changed)}" if changed else None


def _pretraining(stack: Mapping[str, Any] | None) -> list[str]:
    """What a stack was pre-trained with otherwise than stated; of the article's RBMs nothing is."""
    if not stack or stack["source"]:
        return []
    usual = PretrainSection().epochs
    changed = [f"{stack['epochs']} of {usual} epochs a layer of pre-training"] if stack["epochs"] < usual else []
    if stack["method"] == "dae" and (stack["noise"], stack["corruption"]) != PAPER_NOISE:
        changed.append(f"{stack['noise']} noise {stack['corruption']:g}")
    return changed


def _data_split(dataset: str, split: Literal["standard", "paper"], test_examples: int) -> str | None:
    """Other numbers of images than the paper's; of training images one in a hundred is no matter.

    (NORB has 233,280 where the paper has 233,172, which nobody explains.)
    """
    train, test = PAPER_IMAGES[dataset]
    num_train = split_row(TABLE[dataset], split).n_train if dataset in TABLE else train
    if abs(num_train - train) > NEAR * train:
        return f"another split: {num_train:,} training images, in the paper {train:,}"
    return None if test_examples == test else f"another split: {test_examples:,} test images, in the paper {test:,}"


def _no_value(row: SummaryRow) -> str:
    """Which of activation, network, pre-training and data set neither source has."""
    papers = [entry for entry in references.entries("glorot2011") if entry.dataset == row.dataset]
    entries = papers or [entry for entry in references.entries("article") if entry.dataset == row.dataset]
    if row.dataset == "norb":
        return "the paper used jittered-cluttered NORB"
    if not entries:
        return f"nothing is published on {row.dataset}"
    source = "the paper" if papers else "the article"
    if not references.same_network(row.dataset, row.model):
        return f"another network than {source}'s{_elsewhere(row)}"
    if all(entry.activation != row.activation for entry in entries):
        return f"not among {source}'s activations{_elsewhere(row)}"
    if row.pretraining not in {entry.pretraining for entry in entries}:
        return f"{source} has no pre-training by {row.pretraining}"
    if any(
        entry.activation == row.activation and entry.metric == "test_error" and not entry.condition for entry in entries
    ):
        return "no table of published numbers was asked for"
    return f"{source} gives no value"


def _elsewhere(row: SummaryRow) -> str:
    """Who else published this activation on this data set, with a network of another kind."""
    entries = [entry for entry in references.entries("others") if entry.dataset == row.dataset]
    models = list(dict.fromkeys(entry.model for entry in entries if entry.activation == row.activation and entry.model))
    return f"; published for {', '.join(models[:2])}" if models else ""


def _spoken(key: str, value: object) -> str:
    words = key.replace("_", " ")
    return f"{words} {value:g}" if isinstance(value, float) else f"{words} {value}"
