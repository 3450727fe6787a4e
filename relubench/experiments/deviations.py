"""What an experiment sets otherwise than its protocol has it, in words. Torch-free."""

from __future__ import annotations

from relubench.data.source_row import LANGUAGE
from relubench.data.table_outline import task_of_data
from relubench.experiments.config import ExperimentConfig, experiment

COMPARED = (
    "name",
    "lr",
    "lr_grid",
    "lr_seeds",
    "init",
    "match",
    "protocol",
    "probe",
    "backend",
    "l1_pairs",
    "l1_scale",
    "test_noise",
    "target",
    "ffn",
    "task",
)
"""Settings that have a place of their own in a table, or change no result: not told as deviations."""


def deviations(config: ExperimentConfig, as_published: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Whatever is set otherwise than the protocol has it, the learning rate and the initialisation aside.

    Those two have columns of their own, and so have what is compared: activations, data set, model, seeds and test
    noise. `as_published`: keys that do not count, such as 'train.l1'.
    """
    standard = experiment({"train": {"protocol": config.train.protocol, "epochs": config.train.epochs}})
    usual_epochs = experiment({"train": {"protocol": config.train.protocol}}).train.epochs
    example = "window" if task_of_data(config.data.name) == LANGUAGE else "image"
    texts: list[str] = []
    for section in ("train", "model", "data"):
        values, standard_values = getattr(config, section), getattr(standard, section)
        for key in type(values).model_fields:
            value = getattr(values, key)
            compared = key in COMPARED or isinstance(value, tuple) or f"{section}.{key}" in as_published
            if not compared and value != getattr(standard_values, key):
                texts.append(spoken(key, value, example) + (_scale(config) if key == "l1" and value else ""))
    if config.train.epochs != usual_epochs and "train.epochs" not in as_published:
        texts.append(f"{config.train.epochs} epoch{'s' if config.train.epochs > 1 else ''}")
    return tuple(texts)


def _scale(config: ExperimentConfig) -> str:
    """What an L1 strength multiplies, where it is not the sum over units: ' (paper scale)'."""
    return "" if config.train.l1_scale == "sum" else f" ({config.train.l1_scale} scale)"


def spoken(key: str, value: object, example: str = "image") -> str:
    """A setting in words: 'sign flip', 'no momentum', 'batch size 64', '500 training images', 'all labels'."""
    if key == "train_size":
        return f"all training {example}s" if value is None else f"{value} training {example}s"
    if key == "labels":
        count = f"{value:,}" if isinstance(value, int) else str(value)
        return "all labels" if value is None else f"{count} label{'s' if value != 1 else ''}"
    if key == "split":
        return f"the {value} split" if value == "standard" else "the paper's split"
    words = {"l1": "L1", "act_lr": "learning rate of what activations learn", "exchange": "exchange for"}.get(
        key, key.replace("_", " ")
    )
    if value is True:
        return words
    if value in (0, None, "none"):
        return f"no {words}"
    return f"{words} {value:g}" if isinstance(value, float) else f"{words} {value}"
