"""How fast this machine pre-trains a layer: a few steps on random images, whose errors nobody reads."""

from __future__ import annotations

import time

import torch

from relubench.activations import ActivationChoice
from relubench.runs.spec import RunSpec
from relubench.training.calibration import STEPS, random_images
from relubench.training.pretraining.greedy import LayerTraining


@torch.no_grad()
def layer_images_per_second(spec: RunSpec, choice: ActivationChoice, seconds: float) -> float:
    """Images a second of the first layer of the run's stack, timed for `seconds` after a first round of steps."""
    assert spec.stack is not None
    if spec.threads:
        torch.set_num_threads(spec.threads)
    torch.set_flush_denormal(True)
    training = LayerTraining(spec, choice, random_images(spec), 0, [])
    index = torch.arange(min(STEPS * spec.stack.batch_size, training.data.n_train), device=spec.device)
    training.train_rows(index)
    num_images, start = 0, time.perf_counter()
    while True:
        training.train_rows(index)
        num_images += len(index)
        passed = time.perf_counter() - start
        if passed >= seconds:
            # Reading the error waits for a device that is still at work.
            return num_images / (passed if float(training.error) == 0.0 else time.perf_counter() - start)
