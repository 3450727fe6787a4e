"""One real training step of somebody else's network, before any run: what it takes, and what it does not.

The step has the batch size, layout, precision, device and optimizer of the runs. Images lie with their channels last in
memory, which is fastest on a processor; a network that does not take that (`x.view` behind a convolution) gets them in
rows. A network whose number of calls follows the batch gets its places merged; one that takes no image alone
(batch normalisation) is never given one.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from relubench.activations import ActivationChoice
from relubench.activations.definition import check_same_parameters, trainable
from relubench.errors import ComputeError, UsageError
from relubench.models.external.calls import count_calls, undisturbed
from relubench.models.external.forward_errors import short
from relubench.models.external.networks import LOOKED_AT, as_layer, draw_network, example, uses_of
from relubench.models.external.outputs import class_scores
from relubench.models.external.torchvision_names import of_torchvision
from relubench.models.family import EXTERNAL_EVALUATION_IMAGES
from relubench.models.optimizers import build_optimizer
from relubench.runs.spec import RunSpec
from relubench.system.device_kinds import DEVICES
from relubench.system.user_code.records import sample

PATHS = 8
"""Training forwards whose calls are counted: a network may leave layers out by chance."""
CLOSE = 1e-3
"""How far class scores of the two layouts may differ, relative to the largest."""


def merged_paths(network: nn.Module, spec: RunSpec) -> tuple[str, ...]:
    """Modules whose number of calls of activations follows the size of the batch, or chance."""
    if of_torchvision(spec.model):
        return ()
    merged: set[str] = set()
    for training, size in ((True, spec.batch_size), (False, EXTERNAL_EVALUATION_IMAGES)):
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                sizes = [LOOKED_AT] * (PATHS if training else 1) + [size]
                few, *repeats, many = (
                    count_calls(network, example(spec, num_images), training) for num_images in sizes
                )
        except Exception as problem:
            where = "a training step" if training else "an evaluation"
            raise UsageError(
                f"{spec.model} takes {LOOKED_AT} images, and fails in {where} of {size}: {short(problem)}",
                "let forward take batches of any size",
            ) from problem
        merged |= {path for path in (*few, *many) if few.get(path) != many.get(path)}
        merged |= {path for counts in repeats for path in few.keys() & counts.keys() if few[path] != counts[path]}
    return tuple(sorted(merged))


def needs_pairs(network: nn.Module, spec: RunSpec) -> bool:
    """Whether it does not train on one image alone."""
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), undisturbed(network):
            scores = class_scores(network.train()(example(spec, 1)), 1, spec.classes)
    except Exception:
        return True
    return scores is None or scores.shape != (1, spec.classes)


def layout_of(spec: RunSpec, choice: ActivationChoice) -> str:
    """The layout that the network trains in: '' for channels last, else 'contiguous'; UsageError where in neither."""
    channels_last = attempt(spec, choice)
    if channels_last is None and _same_scores(spec):
        return ""
    in_rows = replace(spec, layout="contiguous")
    problem = attempt(in_rows, choice) if len(spec.input_shape) == 3 else channels_last
    if problem is None:
        return "contiguous"
    if isinstance(problem, UsageError | ComputeError):
        raise UsageError(f"{spec.model}: {problem.message}", problem.hint) from problem
    raise UsageError(
        f"{spec.model} with {choice.label} failed in a training step of {spec.batch_size} images: {short(problem)}",
        "train it for a step in plain PyTorch first; --debug shows where it failed",
    ) from problem


def attempt(spec: RunSpec, choice: ActivationChoice) -> Exception | None:
    """What goes wrong in one training step and one evaluation; None if nothing does."""
    try:
        _step(spec, choice, laid_out(example(spec, spec.batch_size), spec))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as problem:
        return problem
    return None


@torch.no_grad()
def _step(spec: RunSpec, choice: ActivationChoice, x: Tensor) -> None:
    network, _ = draw_network(spec)
    layer = as_layer(network, uses_of(network, spec), spec, choice)
    update = build_optimizer(
        layer.parameters,
        name=spec.optimizer,
        rates=[spec.lr],
        momentum=spec.momentum,
        decay=spec.weight_decay,
        batched=False,
        learned_rate=spec.act_lr,
    )
    update.set_factor(1.0)
    sample()
    parameters_before = trainable(network)
    scores = layer.forward(x, training=True)
    check_same_parameters(parameters_before, network, spec.model)
    sample()
    layer.backward(torch.softmax(scores, dim=-1) / len(scores), update, first=True)
    update.finish()
    layer.forward(x[:LOOKED_AT], training=False)
    sample()


def laid_out(x: Tensor, spec: RunSpec) -> Tensor:
    """Images as `Images` gives them out: on the device, their channels last."""
    x = x.to(spec.device)
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 and DEVICES[spec.device].channels_last else x


@torch.no_grad()
def _same_scores(spec: RunSpec) -> bool:
    """Whether both layouts give the same class scores: code that reads memory by its strides does not fail."""
    if of_torchvision(spec.model) or len(spec.input_shape) != 3:
        return True
    last, rows = (_scores(replace(spec, layout=layout)) for layout in (None, "contiguous"))
    if last is None or rows is None or not bool(torch.isfinite(rows).all()):
        return True
    return float((last - rows).abs().max()) <= CLOSE * max(1.0, float(rows.abs().max()))


def _scores(spec: RunSpec) -> Tensor | None:
    network, _ = draw_network(spec)
    x = example(spec, LOOKED_AT)
    if spec.layout is None:
        network, x = network.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return class_scores(network.eval()(x), len(x), spec.classes)
