"""Keras 3 on its JAX backend: Sequential, compile, fit."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import time

import keras

from benchmarks.mnist import load
from benchmarks.network import INPUTS, Weights, batch_sizes, xavier
from benchmarks.peers.task import VALID_BATCH, Clock, Measurement, Task


def build(weights: Weights, lr: float) -> keras.Sequential:
    """Dense layers with these initial weights, compiled with plain SGD."""
    widths = [len(bias) for _, bias in weights]
    hidden = [keras.layers.Dense(width, activation="relu") for width in widths[:-1]]
    model = keras.Sequential([keras.Input((INPUTS,)), *hidden, keras.layers.Dense(widths[-1])])
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate=lr),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    set_weights(model, weights)
    return model


def set_weights(model: keras.Sequential, weights: Weights) -> None:
    """Keras keeps W as [I, O]."""
    model.set_weights([one for weight, bias in weights for one in (weight.T, bias)])


class Laps(keras.callbacks.Callback):
    """Tells the clock where training and validation end."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.clock.restart()

    def on_test_begin(self, logs: dict | None = None) -> None:
        self.clock.trained()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.clock.validated(1.0 - (logs or {})["val_accuracy"])


def run(task: Task) -> Measurement:
    """One network; fit has compiled everything before the clock starts, and the weights are put back."""
    keras.utils.set_random_seed(task.seed)
    data = load(task.data_dir, task.images)
    weights = xavier(task.seed, task.hidden)
    model = build(weights, task.lr)
    valid = (data.x_valid, data.y_valid)

    def fit(images: int, epochs: int, callbacks: list[keras.callbacks.Callback]) -> None:
        model.fit(
            data.x_train[:images],
            data.y_train[:images],
            batch_size=task.batch_size,
            epochs=epochs,
            validation_data=valid,
            validation_batch_size=VALID_BATCH,
            callbacks=callbacks,
            verbose=0,
        )

    started = time.perf_counter()
    for size in batch_sizes(task.images, task.batch_size):
        fit(size, 1, [])
    set_weights(model, weights)
    compile_seconds = time.perf_counter() - started
    clock = Clock()
    fit(task.images, task.epochs, [Laps(clock)])
    return clock.measurement(threads="XLA's own pool", compile_seconds=compile_seconds)
