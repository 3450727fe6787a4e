"""JAX: the small CNN, the whole epoch in one jitted lax.scan over batches, parameters donated; images [B, Y, X, C]."""

from __future__ import annotations

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from benchmarks.mnist import load
from benchmarks.network import CLASSES
from benchmarks.peers.task import Clock, Measurement, Task

SIDE = 28
VALID_BATCH = 250
"""Images validated at once, as by the PyTorch peer."""
CHANNELS, UNITS, KERNEL = (32, 64), 256, 5

Params = list[tuple[Array, Array]]
"""Of each layer its kernel [Y, X, I, O] or weight [I, O], and b [O]."""


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


def loss(params: Params, x: Array, y: Array) -> Array:
    """Mean softmax cross-entropy."""
    log_p = jax.nn.log_softmax(forward(params, x))
    return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))


def train_step(params: Params, x: Array, y: Array, lr: float) -> Params:
    """One update."""
    grads = jax.grad(loss)(params, x, y)
    return jax.tree.map(lambda value, grad: value - lr * grad, params, grads)


def epoch(params: Params, key: Array, x: Array, y: Array, batch_size: int, lr: float) -> Params:
    """Every image once, in a random order; the last batch may be smaller."""
    order = jax.random.permutation(key, len(x))
    whole = len(x) // batch_size * batch_size

    def body(params: Params, index: Array) -> tuple[Params, None]:
        return train_step(params, x[index], y[index], lr), None

    params, _ = lax.scan(body, params, order[:whole].reshape(-1, batch_size))
    rest = order[whole:]
    return train_step(params, x[rest], y[rest], lr) if len(rest) else params


def count_wrong(params: Params, x: Array, y: Array) -> tuple[Array, Array]:
    """Wrong answers, and the sum of losses, on one batch."""
    log_p = jax.nn.log_softmax(forward(params, x))
    wrong = jnp.sum(jnp.argmax(log_p, axis=1) != y)
    return wrong, -jnp.sum(jnp.take_along_axis(log_p, y[:, None], axis=1))


def run(task: Task) -> Measurement:
    """One network; both functions are compiled ahead of time, before the clock starts."""
    data = load(task.data_dir, task.images)
    x, x_valid = (jnp.asarray(images.reshape(-1, SIDE, SIDE, 1)) for images in (data.x_train, data.x_valid))
    y, y_valid = jnp.asarray(data.y_train), jnp.asarray(data.y_valid)
    parts = len(x_valid) // VALID_BATCH
    batches = list(zip(jnp.split(x_valid, parts), jnp.split(y_valid, parts), strict=True))
    params, keys = initial(task.seed), jax.random.split(jax.random.key(task.seed), task.epochs)
    started = time.perf_counter()
    one_epoch = jax.jit(partial(epoch, batch_size=task.batch_size, lr=task.lr), donate_argnums=0)
    compiled = one_epoch.lower(params, keys[0], x, y).compile()
    wrong = jax.jit(count_wrong).lower(params, *batches[0]).compile()
    compile_seconds = time.perf_counter() - started
    clock = Clock()
    for key in keys:
        params = jax.block_until_ready(compiled(params, key, x, y))
        clock.trained()
        clock.validated(sum(int(wrong(params, *batch)[0]) for batch in batches) / len(data.y_valid))
    return clock.measurement(threads="XLA's own pool", compile_seconds=compile_seconds)
