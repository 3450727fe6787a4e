"""Variational autoencoders (Kingma & Welling 2014, arXiv 1312.6114) with Bernoulli outputs. Torch-free.

`vae-2x400` has two hidden layers of 400 units in the encoder and as many in the decoder. Between the two lies a dense
layer of the mean and the log-variance of each latent; the outputs are the logits of the pixels' probabilities.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from relubench.models.families import autoencoder
from relubench.models.family import HIDDEN_STAGES, Architecture, Family, LayerShape, NetworkBuilder
from relubench.runs.task_names import RECONSTRUCTION

if TYPE_CHECKING:
    from relubench.models.layers.base import Layer


def shapes(arch: Architecture, input_shape: tuple[int, ...]) -> list[LayerShape]:
    """The stages around the code.

    Of the latents training keeps mean, log-variance, draw and gradients; of the outputs, with the latents beside them,
    a copy and its gradient.
    """
    copies = 2 * (math.prod(input_shape) + 2 * arch.latent)
    return autoencoder.shapes_around(arch, input_shape, codes=2 * arch.latent, saved=6 * arch.latent + copies)


def layers(builder: NetworkBuilder) -> list[Layer]:
    """The encoder, the latents, the decoder, the logits and beside them the latents, for the loss."""
    from relubench.models.layers.latent import Sample, WithLatents

    latents = builder.spec.latent
    sample = Sample(latents, builder.noise("latent"))
    return [*autoencoder.layers_around(builder, 2 * latents, [sample]), WithLatents(sample)]


FAMILY = Family(
    name="vae",
    pattern=rf"vae-{autoencoder.SIZES}",
    example="vae-2x400",
    models={
        "vae-2x400": "a variational autoencoder: an encoder of 2 hidden layers of 400 units, latents (--latent), and a "
        "decoder alike; negative ELBO in nats (any DxW or list of widths works)"
    },
    parse=autoencoder.parse,
    shapes=shapes,
    layers=layers,
    abilities=HIDDEN_STAGES,
    neighbours=autoencoder.neighbours,
    scaled=autoencoder.scaled,
    task=RECONSTRUCTION,
    latent=20,
    protocol="modern",
)
