"""What is odd about a user's network: nothing stops, but its author would want to know. One line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from relubench.models.external.calls import NAMES, undisturbed
from relubench.models.external.networks import LOOKED_AT, example
from relubench.models.external.outputs import class_scores, form
from relubench.models.external.trial import PATHS
from relubench.runs.spec import RunSpec

NAMED = 3
"""Names in a line; the others are counted."""

NEAR = 1e-3
"""How near to 1 the probabilities of a softmax sum."""


def oddities(network: nn.Module, spec: RunSpec) -> list[str]:
    """The lines, from one forward in training and one in evaluation."""
    images = example(spec, LOOKED_AT)
    with undisturbed(network), torch.random.fork_rng(devices=[]), _watching(network) as called:
        y, reached = _trained(network, images, spec, seed=0)
        num_reached = len(reached)
        for seed in range(1, PATHS):
            if not reached or not _idle(network, reached):
                break
            # A layer that is left out by chance gets its gradient another time.
            reached |= _trained(network, images, spec, seed)[1]
        with torch.no_grad():
            evaluated = class_scores(network.eval()(images), LOOKED_AT, spec.classes)
    lines = []
    if not isinstance(y, Tensor):
        lines.append(f"its forward gives {form(y)} in training: the class scores among them are trained, nothing else")
    lines += _parameters(network, reached, by_chance=len(reached) > num_reached)
    lines += _ends(evaluated)
    silent = [path for path in called if not called[path]]
    if silent:
        verb = "is" if len(silent) == 1 else "are"
        lines.append(f"{_listed(silent)} {verb} never called: the activation there is not exchanged")
    return lines


def _trained(network: nn.Module, images: Tensor, spec: RunSpec, seed: int) -> tuple[Any, dict[int, Tensor]]:
    """What a training forward gives, and the tensors that a backward pass would give a gradient, by their ids."""
    torch.manual_seed(seed)
    with torch.enable_grad():
        y = network.train()(images)
    return y, {id(leaf): leaf for leaf in _leaves(class_scores(y, LOOKED_AT, spec.classes))}


def _registered(network: nn.Module) -> dict[int, str]:
    """The names of what is trained, by ids."""
    return {id(parameter): name for name, parameter in network.named_parameters() if parameter.requires_grad}


def _idle(network: nn.Module, reached: Mapping[int, Tensor]) -> list[str]:
    """The names of what is trained and got no gradient."""
    return [name for key, name in _registered(network).items() if key not in reached]


def _parameters(network: nn.Module, reached: Mapping[int, Tensor], *, by_chance: bool) -> list[str]:
    """What is trained and not registered, or registered and not trained."""
    registered = _registered(network)
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
    idle = _idle(network, reached)
    if idle and reached:
        verb, them, often = ("gets", "it", "it is") if len(idle) == 1 else ("get", "them", "they are")
        line = f"{_listed(idle)} {verb} no gradient{f' in {PATHS} forwards' if by_chance else ''}: the scores do not"
        lines.append(f"{line} depend on {them}{f', or {often} left out by chance' if by_chance else ''}")
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
