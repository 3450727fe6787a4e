"""Where somebody else's network calls an activation between two linear layers, and from which parameters these come.

A gated activation needs several inputs a unit, so the linear layer in front of it has to give more, and the one behind
it to take fewer. Both are found in autograd's graph of a forward in which every exchanged activation is one node of its
own: so it does not matter whether they are modules (nn.Linear), functions (F.linear) or products (x @ w + b).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from relubench.models.external.activation_swap import ActivationSwap
from relubench.models.external.calls import CallSite, undisturbed
from relubench.models.external.outputs import class_scores

VIEWS = ("ViewBackward0", "UnsafeViewBackward0", "CloneBackward0", "AliasBackward0", "ToCopyBackward0")
"""Nodes that keep every row of a tensor together, where the size of the last dimension stays."""
DROPOUT = ("MulBackward0", "DivBackward0", "NativeDropoutBackward0")
"""Nodes of dropout: a product with what is not trained."""
SWAPS = ("TBackward0", "TransposeBackward0", "PermuteBackward0", "NumpyTBackward0")
PRODUCTS = ("AddmmBackward0", "MmBackward0")
SHARED = "the linear layer beside it is shared: its weights are used elsewhere, too"
LEAF = "torch::autograd::AccumulateGrad"
SPOKEN = {
    "ConvolutionBackward0": "a convolution",
    "NativeBatchNormBackward0": "a batch norm",
    "NativeLayerNormBackward0": "a layer norm",
    "AddBackward0": "a sum",
    "MulBackward0": "a product",
    "CopyBackwards": "a result that is written over its input",
}


class NotLinearError(Exception):
    """Why an activation does not stand between two linear layers that are its own."""


@dataclass(frozen=True, slots=True)
class LinearLayer:
    """A product of rows with a weight, and the bias that is added."""

    weight: nn.Parameter
    by_columns: bool
    """Whether the weight is [in, out], as in x @ w; nn.Linear's is [out, in]."""
    bias: nn.Parameter | None = None

    @property
    def out_axis(self) -> int:
        """The weight's axis of outputs."""
        return int(self.by_columns)

    @property
    def in_axis(self) -> int:
        """The weight's axis of inputs."""
        return 1 - self.out_axis


@dataclass(frozen=True, slots=True)
class LinearBlock:
    """An activation of so many units between two linear layers."""

    use: CallSite
    units: int
    first: LinearLayer
    second: LinearLayer


class _Marker(torch.autograd.Function):
    """h = z, as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        return z.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class _WeightCalls(TorchFunctionMode):
    """Counts the calls that compute something of each parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[int, int] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and getattr(func, "__name__", "") != "__get__":
            for value in (*args, *(kwargs or {}).values()):
                if isinstance(value, nn.Parameter) and value is not result:
                    self.calls[id(value)] = self.calls.get(id(value), 0) + 1
        return result


def linear_blocks(
    network: nn.Module, uses: Sequence[CallSite], images: Tensor, merged: Sequence[str], classes: int
) -> Iterator[LinearBlock | tuple[CallSite, str]]:
    """For each exchanged place, in order, the block that it is in, or the place and why it is in none.

    Training and evaluation have to agree. The network is left as it was.
    """
    graphs = [_Graph(network, uses, images.clone(), merged, classes, training) for training in (True, False)]
    for place, use in enumerate(use for use in uses if not use.kept):
        try:
            in_training, in_evaluation = (graph.block(place, use) for graph in graphs)
            if in_training != in_evaluation:
                raise NotLinearError("training and evaluation use different layers there")
            yield in_training
        except NotLinearError as reason:
            yield use, str(reason)


class _Graph:
    """Autograd's graph of one forward."""

    def __init__(
        self,
        network: nn.Module,
        uses: Sequence[CallSite],
        images: Tensor,
        merged: Sequence[str],
        classes: int,
        training: bool,
    ) -> None:
        exchanged = [use for use in uses if not use.kept]
        self.markers: list[list[tuple[Any, int]]] = [[] for _ in exchanged]

        def marking(calls: list[tuple[Any, int]]) -> Any:
            def mark(z: Tensor) -> Tensor:
                h = _Marker.apply(z)
                calls.append((h.grad_fn, z.shape[-1] if z.dim() else 0))
                return h

            return mark

        swap = ActivationSwap(network, uses, [marking(calls) for calls in self.markers], merged)
        self.weights = _WeightCalls()
        try:
            with undisturbed(network), torch.random.fork_rng(devices=[]), torch.enable_grad(), self.weights, swap:
                swap.start()
                y = class_scores(network.train(training)(images), len(images), classes)
        finally:
            swap.places.remove()
        self.consumers: dict[Any, list[Any]] = {}
        """Node -> the nodes that read its result; every node of the graph is a key."""
        self._follow(y.grad_fn if y is not None else None)

    def _follow(self, root: Any) -> None:
        waiting = [root] if root is not None else []
        self.consumers |= {node: [] for node in waiting}
        while waiting:
            node = waiting.pop()
            for source, _ in node.next_functions:
                if source is None:
                    continue
                if source not in self.consumers:
                    self.consumers[source] = []
                    waiting.append(source)
                self.consumers[source].append(node)

    def block(self, place: int, use: CallSite) -> LinearBlock:
        """The block around the activation of that number; raises NotLinearError where it is in none."""
        if len(self.markers[place]) != 1:
            raise NotLinearError("its calls are no one place: their number depends on the batch")
        marker, units = self.markers[place][0]
        if marker not in self.consumers:
            raise NotLinearError("the class scores do not depend on it")
        return LinearBlock(use, units, self._in_front(marker, units), self._behind(marker, units))

    def _in_front(self, marker: Any, units: int) -> LinearLayer:
        """The layer that gives the activation's input, and its bias: a part of the product, or added to it."""
        what, bias = "its input", None
        node = self._below(marker.next_functions[0][0], units, what)
        if node is not None and node.name() == "AddBackward0":
            sources = [source for source, _ in node.next_functions]
            vectors = [source for source in sources if _is_vector(source)]
            if len(vectors) == 1:
                self._check_lone(node, what)
                bias = vectors[0]
                node = self._below(next(source for source in sources if source is not bias), units, what)
        if node is None or node.name() not in PRODUCTS:
            raise NotLinearError(f"{what} does not come straight from a linear layer: {_spoken(node)} stands there")
        self._check_lone(node, what)
        if node.name() == "AddmmBackward0":
            bias = node.next_functions[0][0]
            if not _is_vector(bias):
                raise NotLinearError(f"{what} does not come straight from a linear layer: a sum stands there")
        layer = self._layer(node, bias)
        if layer.weight.shape[layer.out_axis] != units:
            raise NotLinearError(f"{what} is only a part of what a linear layer gives")
        return layer

    def _behind(self, marker: Any, units: int) -> LinearLayer:
        """The layer that the activation's result goes into; dropout may stand between."""
        what, source = "its result", marker
        node = self._reader(marker, what)
        while (name := node.name()) in VIEWS or (name in DROPOUT and _is_lone(node)):
            if name in VIEWS:
                _check_rows(node, units, what)
            node, source = self._reader(node, what), node
        if node.name() not in PRODUCTS or _factors(node)[0] is not source:
            raise NotLinearError(f"{what} does not go straight into a linear layer: {_spoken(node)} stands there")
        layer = self._layer(node, None)
        if layer.weight.shape[layer.in_axis] != units:
            raise NotLinearError(f"{what} is laid out anew, so that its units do not stay side by side")
        return layer

    def _below(self, node: Any, units: int, what: str) -> Any:
        """The node under views that keep the units side by side."""
        while node is not None and node.name() in VIEWS:
            self._check_lone(node, what)
            _check_rows(node, units, what)
            node = node.next_functions[0][0]
        return node

    def _layer(self, product: Any, bias: Any) -> LinearLayer:
        """The layer of a product, whose parameters must be used nowhere else."""
        node, by_columns = _factors(product)[1], True
        while node is not None and node.name() in SWAPS:
            self._check_lone(node)
            by_columns = not by_columns
            node = node.next_functions[0][0]
        if node is None or node.name() != LEAF or node.variable.dim() != 2:
            raise NotLinearError("the weights of the linear layer beside it are computed, or are not trained")
        for leaf in (node, *([bias] if bias is not None else [])):
            self._check_lone(leaf)
            if self.weights.calls.get(id(leaf.variable), 0) > 1:
                raise NotLinearError(SHARED)
        return LinearLayer(node.variable, by_columns, bias.variable if bias is not None else None)

    def _reader(self, node: Any, what: str) -> Any:
        self._check_lone(node, what)
        return self.consumers[node][0]

    def _check_lone(self, node: Any, what: str = "") -> None:
        """Raises NotLinearError where more than one thing is made of a result, or of weights (`what` is empty)."""
        if len(self.consumers[node]) > 1:
            raise NotLinearError(f"{what} is used elsewhere, too" if what else SHARED)


def _factors(product: Any) -> tuple[Any, Any]:
    """The nodes of the rows and of the weight that are multiplied."""
    first = int(product.name() == "AddmmBackward0")
    return product.next_functions[first][0], product.next_functions[first + 1][0]


def _check_rows(node: Any, units: int, what: str) -> None:
    sizes = getattr(node, "_saved_self_sym_sizes", None)
    if sizes is not None and (not sizes or sizes[-1] != units):
        raise NotLinearError(f"{what} is laid out anew, so that its units do not stay side by side")


def _is_lone(node: Any) -> bool:
    """Whether a product has one factor that depends on anything trained."""
    return sum(source is not None for source, _ in node.next_functions) == 1


def _is_vector(node: Any) -> bool:
    return node is not None and node.name() == LEAF and node.variable.dim() == 1


def _spoken(node: Any) -> str:
    return SPOKEN.get(name := node.name() if node is not None else "the input", name.removesuffix("Backward0"))
