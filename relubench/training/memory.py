"""The memory that a network takes while it trains, predicted from its shape: it decides how many are batched.

Torch-free.
"""

from __future__ import annotations

import math

from relubench.activations import ActivationChoice
from relubench.models.architecture import architecture_of, layer_shapes, output_places
from relubench.models.backend import network_question, uses_kernels
from relubench.models.backends.question import LARGE
from relubench.models.families import family_of
from relubench.models.family import EXTERNAL_EVALUATION_IMAGES, LayerShape
from relubench.models.optimizer_table import OPTIMIZERS
from relubench.runs.spec import ExternalModel, RunSpec
from relubench.system.device_kinds import DEVICES

FLOAT_BYTES = 4

CHUNK_IMAGES = 1024
"""Training images gathered at once; a chunk holds as many whole batches as fit, at least one."""

CODE_BYTES = 512_000_000
"""The outputs of the layers below are stored while a layer is pre-trained if they take no more than this."""

EVALUATION_VALUES = 4_000_000
"""Input values gathered at once for an evaluation, over all members."""

EVALUATION_IMAGES = 2000
"""Images in a batch of an evaluation, at most."""

CACHED_IMAGES = 250
"""The same for convolutional networks on a processor, whose activations then stay in the cache."""

COMPILER_BYTES = 100_000_000
"""What the compiler of kernels leaves in a process."""

VECTOR_NUMBERS = 32
"""Float32 numbers that an element-wise function takes at once, at most: two registers of AVX-512."""

MOST_SIDE_BY_SIDE = 32
"""Small networks that are trained side by side on one thread; more gain nothing."""

BASE_BYTES = 450_000_000
"""A process that has imported torch."""


def chunk_factor(spec: RunSpec) -> int:
    """How many chunks are gathered as one: kernels need a fiftieth of one's time to start and to end."""
    return 2 if uses_kernels(spec) else 1


def member_bytes(spec: RunSpec, inputs_per_unit: int) -> int:
    """Bytes that one network adds to a process: parameters, optimizer state, best weights, activations, a chunk.

    What the libraries take for themselves at first use, 15 to 60 MB on a processor, is not in it.
    """
    if spec.foreign is not None:
        return _external_bytes(spec, spec.foreign)
    arch = architecture_of(spec)
    inputs = math.prod(spec.input_shape)
    shapes = layer_shapes(arch, spec.input_shape)
    outputs = spec.classes * output_places(arch, spec.input_shape)
    values = inputs + sum(_stage_values(shape, inputs_per_unit) for shape in shapes) + 3 * outputs
    chunk = max(CHUNK_IMAGES * chunk_factor(spec), spec.batch_size)
    compiler = COMPILER_BYTES if uses_kernels(spec) else 0
    codes = CODE_BYTES if spec.stack is not None and spec.stack.layers > 1 else 0
    return (
        FLOAT_BYTES * (_copies(spec) * spec.parameters + values * spec.batch_size + 2 * chunk * inputs)
        + codes
        + compiler
    )


def evaluation_images(inputs: int, *, convolutional: bool, device: str, members: int = 1, places: int = 1) -> int:
    """Images of `inputs` values each that are evaluated at once by every member; of a text, windows of so many places
    that are as many rows."""
    most = CACHED_IMAGES if convolutional and DEVICES[device].is_processor else EVALUATION_IMAGES
    return max(1, min(most // places, EVALUATION_VALUES // (inputs * members)))


def evaluation_bytes(spec: RunSpec, inputs_per_unit: int, examples: int = EVALUATION_IMAGES) -> int:
    """Bytes that an evaluation takes on top, whatever the number of members: a stage's input, z and h of one batch."""
    if spec.foreign is not None:
        return spec.foreign.evaluation_bytes * min(EXTERNAL_EVALUATION_IMAGES, examples)
    inputs = math.prod(spec.input_shape)
    arch = architecture_of(spec)
    convolutional, places = family_of(spec.model).can("images"), output_places(arch, spec.input_shape)
    images = evaluation_images(inputs, convolutional=convolutional, device=spec.device, places=places)
    shapes = layer_shapes(arch, spec.input_shape)
    stages = [shape.pixels * (shape.inputs + shape.units * (_inputs(shape, inputs_per_unit) + 1)) for shape in shapes]
    # A text's outputs are larger than its layers: logits, their logarithms once for the loss and once for the score.
    head = 3 * places * spec.classes if places > 1 else 0
    return FLOAT_BYTES * min(examples, images) * max(inputs, head, *stages)


def shares_steps(spec: RunSpec, choice: ActivationChoice) -> bool:
    """Whether the network's steps can be batched with those of others that differ in seed or penalty, to the same bits.

    So it is where PyTorch or oneDNN multiplies a small mlp on one thread, and where a function of vectors meets whole
    ones only: at the end of a tensor PyTorch computes single numbers in another way. `training.side_by_side` tries it.
    """
    question = network_question(spec)
    if question is None or question.kind != "sgd" or question.weights >= LARGE or spec.threads != 1:
        return False
    is_special = choice.kind != "table" or choice.learned or spec.parts_digest is not None or spec.norm != "none"
    is_special = is_special or spec.exchange is not None
    fills_vectors = all(spec.batch_size * width % VECTOR_NUMBERS == 0 for width in spec.hidden)
    return not is_special and fills_vectors and not uses_kernels(spec)


def members_that_fit(spec: RunSpec, inputs_per_unit: int, memory: int) -> int:
    """How many networks fit into `memory` bytes of a device side by side: at least one; one if they are not batched."""
    if not family_of(spec.model).can("batched"):
        return 1
    free = 0.8 * memory - evaluation_bytes(spec, inputs_per_unit)
    return max(1, int(free // member_bytes(spec, inputs_per_unit)))


def _copies(spec: RunSpec) -> int:
    """Tensors of a parameter's size: itself, the best epoch's, the optimizer's state and gradients, the kernels'."""
    return 2 + 2 * int(uses_kernels(spec)) + OPTIMIZERS[spec.optimizer].tensors + int(spec.momentum > 0)


def _external_bytes(spec: RunSpec, network: ExternalModel) -> int:
    """As `member_bytes`; autograd holds all gradients at once before the optimizer takes them."""
    chunk = max(CHUNK_IMAGES, spec.batch_size) * math.prod(spec.input_shape)
    return (
        FLOAT_BYTES * ((_copies(spec) + 1) * network.parameters + 2 * chunk) + network.training_bytes * spec.batch_size
    )


def fitting_workers(heaviest: int, memory: int) -> int:
    """How many worker processes fit into the memory of the machine, each with a network of that many bytes."""
    return max(1, int(0.8 * memory // (BASE_BYTES + heaviest)))


def _stage_values(shape: LayerShape, inputs_per_unit: int) -> int:
    """The float values of one example that training keeps of a hidden stage: its input, z, h and their gradients."""
    return shape.pixels * (shape.units * (2 * _inputs(shape, inputs_per_unit) + 2) + shape.inputs) + shape.saved


def _inputs(shape: LayerShape, inputs_per_unit: int) -> int:
    """Pre-activations of each unit of a stage."""
    return inputs_per_unit if shape.compared else 1
