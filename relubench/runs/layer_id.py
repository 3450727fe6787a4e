"""The id of a pre-trained layer: a digest of all that its weights depend on, the layers below included. Torch-free."""

from __future__ import annotations

import hashlib
import json

from relubench.runs.spec import RunSpec

RUN_FIELDS = (
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
"""Fields of a run that its pre-training depends on: none that concerns labels or fine-tuning."""


def layer_id(spec: RunSpec, layer: int) -> str:
    """The id of the run's pre-trained layer: 's' and 15 hexadecimal digits of a SHA-256.

    The id of the layer below enters it, so that runs whose settings agree up to a layer share that layer.
    """
    assert spec.stack is not None
    if spec.stack.source:
        return _hashed_name({"source": spec.stack.source, "layer": layer})
    facts = {name: getattr(spec, name) for name in RUN_FIELDS} | spec.stack.facts(layer)
    # Pre-training reads no labels, so that runs with few and with many of them share its layers.
    images = spec.data_digest if spec.images_digest is None else spec.images_digest
    facts |= {"images": images, "units": spec.hidden[layer], "layer": layer}
    return _hashed_name({**facts, "below": layer_id(spec, layer - 1) if layer else ""})


def _hashed_name(facts: dict[str, object]) -> str:
    return "s" + hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:15]
