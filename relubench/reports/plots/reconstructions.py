"""What a stored autoencoder makes of test images, and images that a VAE draws, as sheets of tiles.

Shapes: B images, D pixels, Z latents.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from relubench.activations import ActivationChoice
from relubench.models.layers.base import Layer
from relubench.models.layers.latent import Sample
from relubench.models.random_streams import stream
from relubench.reports.plots import filters
from relubench.reports.plots.image_sheet import image_sheet
from relubench.runs.spec import RunSpec
from relubench.runs.task import task_called
from relubench.training.exchange import population_of
from relubench.training.images import Images
from relubench.training.population import Population

SHOWN = 20
"""Test images that are shown with their reconstructions, of each class about equally many."""
SAMPLES = 100
"""Images that a VAE draws."""


@torch.no_grad()
def reconstruction_sheets(
    spec: RunSpec, choice: ActivationChoice, weights: dict[str, Tensor], data: Images
) -> dict[str, bytes]:
    """PNGs by name: test images beside what the network makes of them, and of a VAE images decoded from N(0, 1).

    A VAE's are its pixels' probabilities; of a test image with the draw of the latents that it is scored with.
    """
    network = population_of([replace(spec, device="cpu", probe="none")], choice, data)
    network.load_weights(weights)
    name = f"{spec.activation} · {spec.model} · {spec.dataset} · seed {spec.seed}"
    sheets = {"reconstructions": _reconstructions(network, name)}
    latent = next((place for place, layer in enumerate(network.layers) if isinstance(layer, Sample)), None)
    if latent is not None:
        z = torch.empty(SAMPLES, spec.latent).normal_(generator=stream(spec.seed, "samples"))
        images = _images(_pixels(spec, _output(network.layers[latent + 1 : -1], z)), spec.input_shape)
        sheets["samples"] = image_sheet(images, 10, title=f"{name}: images decoded from N(0, 1)")
    return sheets


def _reconstructions(network: Population, name: str) -> bytes:
    """The sheet of test images of every class, each beside its reconstruction, with class and loss."""
    spec, data, task = network.spec, network.data, network.task
    labels = data.labels("test")
    x, _ = next(iter(data.slices("test", len(labels))))
    output = _output(network.layers, x)
    losses = network.objective.losses(output, x)
    places = _of_every_class(labels)
    pairs = [_images(values[places], spec.input_shape) for values in (x, _pixels(spec, output))]
    low, high = float(pairs[0].min()), float(pairs[0].max())
    # Grey images side by side are two channels of a tile; coloured ones are one wide image.
    axis = 1 if pairs[0].shape[1] == 1 else 3
    images = (np.concatenate(pairs, axis=axis) - low) / max(high - low, 1e-12)
    captions = [f"{labels[place]}: {float(losses[place]):.{task.decimals}f}" for place in places]
    score = f"{task.noun} in {task.unit}" if task.unit else task.noun
    title = f"{name}: test images (left) and their reconstructions, with class and {score}"
    return image_sheet(images, 5, captions=captions, title=title)


def _images(rows: Tensor, input_shape: tuple[int, ...]) -> np.ndarray:
    """Rows [B, D] as images [B, C, Y, X]; ValueError where they are no images."""
    images = filters.as_images(rows.numpy(), input_shape)
    return images.transpose(0, 3, 1, 2) if images.ndim == 4 else images[:, None]


def _output(layers: list[Layer], x: Tensor) -> Tensor:
    """What the layers make of x [B, ...] in evaluation mode."""
    for layer in layers:
        x = layer.forward(x, training=False)
    return x


def _pixels(spec: RunSpec, output: Tensor) -> Tensor:
    """The pixels [B, D] of the outputs, which a VAE has as logits, the latents beside them."""
    pixels = output[:, : spec.classes]
    return torch.sigmoid(pixels) if task_called(spec.task).applies == "sigmoid" else pixels


def _of_every_class(labels: np.ndarray) -> np.ndarray:
    """Places of the first images of every class in turn, ordered by class."""
    classes, starts = np.unique(labels, return_inverse=True)
    num_each = max(1, SHOWN // len(classes))
    places = [np.flatnonzero(starts == number)[:num_each] for number in range(min(len(classes), SHOWN))]
    return np.concatenate(places)
