"""JAX: the small CNN, the whole epoch in one jitted lax.scan over batches, parameters donated; images [B, Y, X, C]."""

from __future__ import annotations

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from benchmarks.mnist import load
from benchmarks.network import CLASSES
from benchmarks.peers.jax_scan import Params, train
from benchmarks.peers.task import Measurement, Task

SIDE = 28
VALID_BATCH = 250
"""Images validated at once, as by the PyTorch peer."""
CHANNELS, UNITS, KERNEL = (32, 64), 256, 5


def initial(seed: int) -> Params:
    """W ~ U(+-sqrt(6 / (fan in + fan out))), b = 0."""
    generator = np.random.default_rng(seed)
    rows = CHANNELS[-1] * (SIDE // 4) ** 2
    shapes = [(KERNEL, KERNEL, inputs, outputs) for inputs, outputs in zip((1, *CHANNELS), CHANNELS, strict=False)]
    shapes += [(rows, UNITS), (UNITS, CLASSES)]
    params = []
    for *window, inputs, outputs in shapes:
        bound = (6.0 / (np.prod(window, dtype=int) * (inputs + outputs))) ** 0.5
        weight = generator.uniform(-bound, bound, (*window, inputs, outputs)).astype(np.float32)
        params.append((jnp.asarray(weight), jnp.zeros(outputs)))
    return params


def forward(params: Params, x: Array) -> Array:
    """Logits [B, 10] of images [B, Y, X, 1]."""
    *convolutions, hidden, output = params
    for kernel, bias in convolutions:
        x = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias
        x = lax.reduce_window(jax.nn.relu(x), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = jax.nn.relu(x.reshape(len(x), -1) @ hidden[0] + hidden[1])
    return x @ output[0] + output[1]


def run(task: Task) -> Measurement:
    """One network."""
    data = load(task.data_dir, task.images)
    x, x_valid = (jnp.asarray(images.reshape(-1, SIDE, SIDE, 1)) for images in (data.x_train, data.x_valid))
    y, y_valid = jnp.asarray(data.y_train), jnp.asarray(data.y_valid)
    parts = len(x_valid) // VALID_BATCH
    batches = list(zip(jnp.split(x_valid, parts), jnp.split(y_valid, parts), strict=True))
    return train(task, initial(task.seed), x, y, batches, forward, unroll=1)
