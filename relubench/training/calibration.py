"""How fast this machine trains a network: a short training on random images, whose errors nobody reads."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from relubench.activations import ActivationChoice
from relubench.data import PreparedData
from relubench.models.families import family_of
from relubench.runs.spec import RunSpec
from relubench.runs.task import task_called
from relubench.training.images import Images
from relubench.training.population import Population
from relubench.training.text import Text

IMAGES = 2000
STEPS = 10
"""Batches between two readings of the clock."""

EXTERNAL_BATCH = 16
"""On a processor an external network is timed on batches of at most so many images, one between two readings: a batch
of 128 can take the two seconds that the timing has, and an image costs much the same in either."""


def images_per_second(specs: Sequence[RunSpec], choice: ActivationChoice, seconds: float) -> float:
    """Training images a second of these networks together, timed for `seconds` after a first chunk of steps."""
    first = specs[0]
    if first.threads:
        torch.set_num_threads(first.threads)
    torch.set_flush_denormal(True)
    steps = STEPS
    if family_of(first.model).can("external") and first.on_processor:
        specs = [replace(spec, batch_size=min(spec.batch_size, EXTERNAL_BATCH)) for spec in specs]
        steps = 1
    population = Population(specs, choice, random_images(first))
    population.batch_chunk = steps
    num_images, start = 0, None
    for step in population.train():
        now = time.perf_counter()
        if start is None:
            start = now
            continue
        num_images += step.images
        if now - start >= seconds and num_images:
            return num_images * len(specs) / (now - start)
    # The whole training was shorter than the time allowed for it.
    assert start is not None
    return num_images * len(specs) / max(time.perf_counter() - start, 1e-9)


def random_text(spec: RunSpec) -> Text:
    """Random characters in windows of the run's context."""
    (context,) = spec.input_shape
    windows = max(IMAGES // context, STEPS * spec.batch_size)
    generator = torch.Generator().manual_seed(0)
    characters = torch.randint(0, spec.classes, ((windows + 1) * context + 1,), dtype=torch.uint8, generator=generator)
    prepared = PreparedData(
        name="random characters",
        digest="",
        folder=Path(),
        input_shape=spec.input_shape,
        context=context,
        classes=spec.classes,
        n_train=windows,
        n_valid=1,
        n_test=1,
        scale=1.0,
        shift=0.0,
        source="random characters",
        task=spec.task,
    )
    on_device = characters.to(spec.device)
    return Text(prepared, False, {part: (on_device, on_device) for part in ("train", "valid", "test")})


def random_images(spec: RunSpec) -> Images:
    """Noise with random labels, in the shape of the run's data set."""
    if family_of(spec.model).can("text"):
        return random_text(spec)
    generator = torch.Generator().manual_seed(0)
    count = max(IMAGES, STEPS * spec.batch_size)
    flat = not family_of(spec.model).can("images")
    shape = (math.prod(spec.input_shape),) if flat else spec.input_shape
    x = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
    if task_called(spec.task).of_numbers:
        y = torch.randn(count, spec.classes, generator=generator)
    else:
        y = torch.randint(0, spec.classes, (count,), generator=generator)
    prepared = PreparedData(
        name="random images",
        digest="",
        folder=Path(),
        input_shape=spec.input_shape,
        classes=spec.classes,
        n_train=count,
        n_valid=spec.classes,
        n_test=spec.classes,
        scale=1 / 255,
        shift=0.0,
        source="random images",
    )
    held_out = (x[: spec.classes], y[: spec.classes])
    splits = {"train": (x, y), "valid": held_out, "test": held_out}
    on_device = {name: (images.to(spec.device), labels.to(spec.device)) for name, (images, labels) in splits.items()}
    return Images(prepared, flat, on_device)
