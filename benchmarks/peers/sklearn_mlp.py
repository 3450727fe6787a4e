"""scikit-learn's MLPClassifier with solver sgd, an epoch at a time (partial_fit) so that it can be validated.

It draws its own initial weights: Glorot-uniform as everybody's, the biases too, where the others start from zero.
"""

from __future__ import annotations

import numpy as np
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_info

from benchmarks.mnist import load
from benchmarks.network import CLASSES
from benchmarks.peers.task import Clock, Measurement, Task


def classifier(task: Task) -> MLPClassifier:
    """ReLU, plain SGD at a constant rate, no penalty."""
    return MLPClassifier(
        hidden_layer_sizes=task.hidden,
        activation="relu",
        solver="sgd",
        alpha=0.0,
        batch_size=task.batch_size,
        learning_rate="constant",
        learning_rate_init=task.lr,
        momentum=0.0,
        nesterovs_momentum=False,
        random_state=task.seed,
    )


def run(task: Task) -> Measurement:
    """One network."""
    data = load(task.data_dir, task.images)
    model = classifier(task)
    clock = Clock()
    for _ in range(task.epochs):
        model.partial_fit(data.x_train, data.y_train, classes=np.arange(CLASSES))
        clock.trained()
        clock.validated(1.0 - float(model.score(data.x_valid, data.y_valid)))
    threads = ", ".join(f"{one['internal_api']} {one['num_threads']}" for one in threadpool_info())
    return clock.measurement(threads=threads)
