"""What is odd about a user's network: nothing stops, but its author would want to know. One line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from relubench.models.external.calls import NAMES, undisturbed
from relubench.models.external.networks import LOOKED_AT, example
from relubench.models.external.outputs import class_scores, form
from relubench.runs.spec import RunSpec

NAMED = 3
"""Names in a line; the others are counted."""

NEAR = 1e-3
"""How near to 1 the probabilities of a softmax sum."""


def oddities(network: nn.Module, spec: RunSpec) -> list[str]:
    """The lines, from one forward in training and one in evaluation."""
    images = example(spec, LOOKED_AT)
    with undisturbed(network), torch.random.fork_rng(devices=[]), _watching(network) as called:
        torch.manual_seed(0)
        with torch.enable_grad():
            y = network.train()(images)
        with torch.no_grad():
            evaluated = class_scores(network.eval()(images), LOOKED_AT, spec.classes)
    scores = class_scores(y, LOOKED_AT, spec.classes)
    lines = []
    if not isinstance(y, Tensor):
        lines.append(f"its forward gives {form(y)} in training: the class scores among them are trained, nothing else")
    lines += _parameters(network, scores)
    lines += _ends(evaluated)
    silent = [path for path in called if not called[path]]
    if silent:
        verb = "is" if len(silent) == 1 else "are"
        lines.append(f"{_listed(silent)} {verb} never called: the activation there is not exchanged")
    return lines


def _parameters(network: nn.Module, scores: Tensor | None) -> list[str]:
    """What is trained and not registered, or registered and not trained."""
    registered = {id(parameter): name for name, parameter in network.named_parameters() if parameter.requires_grad}
    reached = {id(leaf): leaf for leaf in _leaves(scores)}
    hidden = {key: leaf for key, leaf in reached.items() if key not in registered}
    lines = []
    if hidden:
        trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
        total = trained + sum(leaf.numel() for leaf in hidden.values())
        where = _listed(list(_holders(network, set(hidden)))) or "a place outside of its modules"
        lines.append(
            f"{trained:,} of {total:,} parameters are trained: the others lie in {where}, which PyTorch does not see "
            "(use nn.ModuleList, nn.ModuleDict or nn.Parameter)"
        )
    idle = [name for key, name in registered.items() if key not in reached]
    if idle and reached:
        verb, them = ("gets", "it") if len(idle) == 1 else ("get", "them")
        lines.append(f"{_listed(idle)} {verb} no gradient: the scores do not depend on {them}")
    return lines


def _leaves(scores: Tensor | None) -> Iterator[Tensor]:
    """The tensors that a backward pass would give a gradient."""
    waiting = [scores.grad_fn] if scores is not None and scores.grad_fn is not None else []
    visited: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if isinstance(leaf := getattr(node, "variable", None), Tensor):
            yield leaf
        waiting += [next_node for next_node, _ in node.next_functions]


def _holders(network: nn.Module, hidden: set[int]) -> Iterator[str]:
    """Attributes of the modules that hold one of these tensors outside of PyTorch's own registers."""
    for path, module in network.named_modules():
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules") and any(
                id(tensor) in hidden for tensor in _tensors(value, 0)
            ):
                yield f"{path}.{name}".strip(".")


def _tensors(value: Any, depth: int) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, nn.Module):
        yield from value.parameters()
    elif isinstance(value, (list, tuple, set, dict)) and depth < NAMED:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item, depth + 1)


def _ends(scores: Tensor | None) -> list[str]:
    """Whether the network ends in a softmax."""
    if scores is None or scores.dim() != 2:
        return []
    if bool((scores >= 0).all()) and bool(((scores.sum(1) - 1).abs() < NEAR).all()):
        return [
            "its class scores sum to 1, as behind a softmax: the loss takes a softmax itself, so it learns slowly; "
            "leave it out of forward"
        ]
    if bool((scores.logsumexp(1).abs() < NEAR).all()):
        return ["its class scores are logarithms of probabilities (log_softmax): the loss takes them as they are"]
    return []


@contextmanager
def _watching(network: nn.Module) -> Iterator[dict[str, bool]]:
    """Whether each module of torch.nn that is an activation is called inside, by `module(x)` or `module.forward(x)`."""
    called: dict[str, bool] = {}
    watched: list[nn.Module] = []

    def forward(path: str, original: Any, *inputs: Any) -> Any:
        called[path] = True
        return original(*inputs)

    for path, module in network.named_modules():
        if type(module).__module__ == "torch.nn.modules.activation" and type(module).__name__.lower() in _ACTIVATIONS:
            called[path] = False
            module.forward = partial(forward, path, module.forward)
            watched.append(module)
    try:
        yield called
    finally:
        for module in watched:
            del module.forward


_ACTIVATIONS = {name.replace("_", "") for name in NAMES}


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
