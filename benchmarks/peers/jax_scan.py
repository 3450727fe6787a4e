"""JAX: the whole epoch in one jitted lax.scan over batches, parameters donated."""

from __future__ import annotations

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from benchmarks.mnist import Mnist, load
from benchmarks.network import Weights, xavier
from benchmarks.peers.task import VALID_BATCH, Clock, Measurement, Task

UNROLL = 2
"""Steps in one turn of the loop. A turn copies the parameters: at batch 10 two are a third faster than one."""

Params = list[tuple[Array, Array]]
"""Of each layer W [I, O] and b [O]; of a convolution its kernel [Y, X, I, O]."""
Forward = Callable[[Params, Array], Array]
"""Logits [B, 10] of parameters and images."""
Batches = list[tuple[Array, Array]]


def to_params(weights: Weights) -> Params:
    """JAX's own layout."""
    return [(jnp.array(weight.T), jnp.array(bias)) for weight, bias in weights]


def forward(params: Params, x: Array) -> Array:
    """Logits [B, 10]."""
    *hidden, (weight, bias) = params
    for w, b in hidden:
        x = jax.nn.relu(x @ w + b)
    return x @ weight + bias


def loss(params: Params, x: Array, y: Array, forward: Forward) -> Array:
    """Mean softmax cross-entropy."""
    log_p = jax.nn.log_softmax(forward(params, x))
    return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))


def train_step(params: Params, x: Array, y: Array, lr: float, forward: Forward = forward) -> Params:
    """One update."""
    grads = jax.grad(loss)(params, x, y, forward)
    return jax.tree.map(lambda value, grad: value - lr * grad, params, grads)


def epoch(
    params: Params,
    key: Array,
    x: Array,
    y: Array,
    batch_size: int,
    lr: float,
    forward: Forward = forward,
    unroll: int = UNROLL,
) -> Params:
    """Every image once, in a random order; the last batch may be smaller."""
    order = jax.random.permutation(key, len(x))
    whole = len(x) // batch_size * batch_size

    def body(params: Params, index: Array) -> tuple[Params, None]:
        return train_step(params, x[index], y[index], lr, forward), None

    params, _ = jax.lax.scan(body, params, order[:whole].reshape(-1, batch_size), unroll=unroll)
    rest = order[whole:]
    return train_step(params, x[rest], y[rest], lr, forward) if len(rest) else params


def count_wrong(params: Params, x: Array, y: Array, forward: Forward = forward) -> tuple[Array, Array]:
    """Wrong answers, and the sum of losses, on one batch."""
    log_p = jax.nn.log_softmax(forward(params, x))
    wrong = jnp.sum(jnp.argmax(log_p, axis=1) != y)
    return wrong, -jnp.sum(jnp.take_along_axis(log_p, y[:, None], axis=1))


def validation_batches(data: Mnist) -> Batches:
    """x [B, 784] and y [B] of equal sizes, so that one compilation does for all."""
    x, y = jnp.asarray(data.x_valid), jnp.asarray(data.y_valid)
    return list(zip(jnp.split(x, len(x) // VALID_BATCH), jnp.split(y, len(y) // VALID_BATCH), strict=True))


def run(task: Task) -> Measurement:
    """One network."""
    data = load(task.data_dir, task.images)
    params = to_params(xavier(task.seed, task.hidden))
    return train(task, params, jnp.asarray(data.x_train), jnp.asarray(data.y_train), validation_batches(data))


def train(
    task: Task, params: Params, x: Array, y: Array, batches: Batches, forward: Forward = forward, unroll: int = UNROLL
) -> Measurement:
    """All epochs; both functions are compiled ahead of time, before the clock starts."""
    keys = jax.random.split(jax.random.key(task.seed), task.epochs)
    started = time.perf_counter()
    settings = {"batch_size": task.batch_size, "lr": task.lr, "forward": forward, "unroll": unroll}
    compiled = jax.jit(partial(epoch, **settings), donate_argnums=0).lower(params, keys[0], x, y).compile()
    wrong = jax.jit(partial(count_wrong, forward=forward)).lower(params, *batches[0]).compile()
    num_valid = sum(len(labels) for _, labels in batches)
    compile_seconds = time.perf_counter() - started
    clock = Clock()
    for key in keys:
        params = jax.block_until_ready(compiled(params, key, x, y))
        clock.trained()
        clock.validated(sum(int(wrong(params, *batch)[0]) for batch in batches) / num_valid)
    return clock.measurement(threads="XLA's own pool", compile_seconds=compile_seconds)
