"""Text that a stored language model writes, character by character."""

from __future__ import annotations

from dataclasses import replace

from relubench.activations import select
from relubench.data.notes import printable
from relubench.errors import UsageError
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store

LENGTH = 600
"""Characters of a sample."""
TEMPERATURE = 0.8
"""Logits are divided by this before a character is drawn: below 1, unlikely characters become rarer still."""
START = b"\n"
"""What stands before the first character."""


def sample_text(store: Store, run: str, length: int = LENGTH, seed: int = 0) -> str:
    """So many characters drawn from a stored run's kept weights, the same for the same seed.

    Bytes that are no UTF-8 are shown as escapes. Raises UsageError where the weights were not kept.
    """
    import torch

    from relubench.models.random_streams import stream
    from relubench.runs.checkpoint import from_bytes
    from relubench.training.calibration import random_text
    from relubench.training.exchange import population_of

    result, content = store.result(run), store.weights_of(run)
    if result is None or content is None:
        raise UsageError(f"run {run} has no weights to draw a text from", "train it again with --keep best --no-cache")
    spec = replace(RunSpec.from_json(result.spec), device="cpu", probe="none")
    tensors, values = from_bytes(content)
    # A window is too little work to share.
    torch.set_num_threads(1)
    with torch.no_grad():
        population = population_of([spec], select([spec.activation])[0], random_text(spec))
        population.load_weights(tensors, values.get("held", ()))
        generator = stream(seed, "text-sample")
        text = list(START)
        while len(text) < length + len(START):
            h = torch.tensor([text[-spec.input_shape[0] :]])
            for layer in population.layers:
                h = layer.forward(h, training=False)
            p = torch.softmax(h[-1] / TEMPERATURE, dim=-1)
            text.append(int(torch.multinomial(p, 1, generator=generator)))
    return printable(bytes(text[len(START) :]).decode("utf-8", "backslashreplace"))
