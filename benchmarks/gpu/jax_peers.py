"""JAX on the device: one jitted scan for a network, and vmap over it for a population; each epoch is validated."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from benchmarks.gpu.data import dataset
from benchmarks.gpu.setting import Row, Setting
from benchmarks.gpu.task import EIGHT, FIGURE3, LR, SINGLE, Training, rate_row, sized, without
from benchmarks.network import xavier
from benchmarks.peers.task import VALID_BATCH

PEER = "JAX"
MOST_EPOCHS = 5
"""Of a longer training so many are timed."""


def rows(setting: Setting) -> Iterator[Row]:
    """A row for each training of dense networks."""
    if importlib.util.find_spec("jax") is None:
        yield {"peer": PEER, "skipped": "jax is not installed"}
        return
    os.environ["JAX_PLATFORMS"] = setting.device
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    names = {training.name: training for training in (*SINGLE, *EIGHT, *FIGURE3)}
    names.pop("batch-128-compiled")
    for training in sized(names.values(), setting):
        try:
            yield _measured(training, setting)
        except Exception as problem:
            yield without(training, PEER, problem)


def _measured(training: Training, setting: Setting) -> Row:
    import jax
    import jax.numpy as jnp

    from benchmarks.peers.jax_scan import count_wrong, epoch, to_params, validation_batches

    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if training.precision == "tf32" else "highest")
    data = dataset(training.data, setting)
    x, y = jnp.asarray(data.images.x_train), jnp.asarray(data.images.y_train)
    whole = (jnp.asarray(data.images.x_valid), jnp.asarray(data.images.y_valid))
    batches = [whole] if len(whole[1]) < VALID_BATCH else validation_batches(data.images)
    members = [to_params(xavier(seed, training.hidden)) for seed in range(training.members)]
    training = replace(training, epochs=min(training.epochs, MOST_EPOCHS))
    keys = jax.random.split(jax.random.key(0), (training.epochs, training.members))
    one_epoch, wrong = partial(epoch, batch_size=training.batch, lr=LR), count_wrong
    params = members[0]
    if training.members > 1:
        params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
        one_epoch = jax.vmap(one_epoch, in_axes=(0, 0, None, None))
        wrong = jax.vmap(wrong, in_axes=(0, None, None))
    else:
        keys = keys[:, 0]
    begun = time.perf_counter()
    compiled = jax.jit(one_epoch, donate_argnums=0).lower(params, keys[0], x, y).compile()
    count = jax.jit(wrong).lower(params, *batches[0]).compile()
    preparation, seconds, trained = time.perf_counter() - begun, 0.0, 0.0
    for key in keys:
        begun = time.perf_counter()
        params = jax.block_until_ready(compiled(params, key, x, y))
        trained += time.perf_counter() - begun
        jax.block_until_ready([count(params, *batch) for batch in batches])
        seconds += time.perf_counter() - begun
    name = f"{PEER}, {'one scan' if training.members == 1 else 'vmap over a scan'}"
    return rate_row(training, name, seconds, trained, len(y), preparation_seconds=round(preparation, 2))
