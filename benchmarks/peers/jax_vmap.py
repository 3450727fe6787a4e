"""JAX: a population of networks as one, jax.vmap over the jitted epoch; each member has its own weights and order."""

from __future__ import annotations

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import time
from functools import partial

import jax
import jax.numpy as jnp

from benchmarks.mnist import load
from benchmarks.network import xavier
from benchmarks.peers.jax_scan import count_wrong, epoch, to_params, validation_batches
from benchmarks.peers.task import Clock, Measurement, Task


def run(task: Task) -> Measurement:
    """`members` networks at once; compiled ahead of time, before the clock starts."""
    data = load(task.data_dir, task.images)
    x, y = jnp.asarray(data.x_train), jnp.asarray(data.y_train)
    batches = validation_batches(data)
    members = [to_params(xavier(task.seed + member, task.hidden)) for member in range(task.members)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    keys = jax.random.split(jax.random.key(task.seed), (task.epochs, task.members))
    started = time.perf_counter()
    one_epoch = partial(epoch, batch_size=task.batch_size, lr=task.lr)
    population = jax.jit(jax.vmap(one_epoch, in_axes=(0, 0, None, None)), donate_argnums=0)
    compiled = population.lower(stacked, keys[0], x, y).compile()
    wrong = jax.jit(jax.vmap(count_wrong, in_axes=(0, None, None))).lower(stacked, *batches[0]).compile()
    compile_seconds = time.perf_counter() - started
    clock = Clock()
    for key in keys:
        stacked = jax.block_until_ready(compiled(stacked, key, x, y))
        clock.trained()
        answers = [float(wrong(stacked, *batch)[0].mean()) for batch in batches]
        clock.validated(sum(answers) / len(data.y_valid))
    return clock.measurement(threads="XLA's own pool", compile_seconds=compile_seconds)
