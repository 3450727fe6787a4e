"""What names a pre-trained layer: all that its weights depend on, the layers below it included. Torch-free."""

from __future__ import annotations

import hashlib
import json

from relubench.runs.spec import RunSpec

_OF_RUN = (
    "activation",
    "activation_digest",
    "input_shape",
    "match",
    "init",
    "sign_flip",
    "precision",
    "seed",
    "device",
    "device_name",
    "threads",
    "torch",
    "engine",
)
"""Fields of a run that its pre-training depends on; all that concerns labels and fine-tuning is left out."""


def layer_id(spec: RunSpec, layer: int) -> str:
    """The name of the run's pre-trained layer: 's' and 15 hexadecimal digits of a SHA-256.

    A layer's name contains that of the layer below, so stacks that agree up to a layer share it.
    """
    assert spec.stack is not None
    if spec.stack.source:
        return _named({"source": spec.stack.source, "layer": layer})
    facts = {name: getattr(spec, name) for name in _OF_RUN} | spec.stack.facts(layer)
    # Labels are of no account: fine-tunings on few and on many of them share a stack.
    images = spec.data_digest if spec.images_digest is None else spec.images_digest
    facts |= {"images": images, "units": spec.hidden[layer], "layer": layer}
    return _named({**facts, "below": layer_id(spec, layer - 1) if layer else ""})


def _named(facts: dict[str, object]) -> str:
    return "s" + hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:15]
