"""One activation as a timed call: the call, the refill before a sample, its traffic, the bytes kept for backward.

The calls are those of training: the forward pass into existing storage, the analytic gradient written over the incoming
one. Without an analytic gradient it is autograd, which allocates; `storage` says which. All candidates of a cell work
on the same tensors (`buffers`).

Shapes: N output elements; z [columns*N], chunk after chunk; h and grad [N].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from relubench.activations.checks.trial import flat_call
from relubench.activations.definition import Activation, fixed, trainable
from relubench.activations.input_copies import remove_input_adapters
from relubench.errors import ComputeError
from relubench.models.random_streams import stream
from relubench.timing.buffers import Buffers
from relubench.timing.compilation import compile_backward, compile_forward
from relubench.timing.traffic import Traffic

Call = Callable[[], object]
Function = Callable[[Tensor], Tensor]


class Unmeasurable(Exception):
    """The activation has no such form, which is not a failure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TimedCall:
    """The call of a sample, which makes `calls` passes; `refill`, which is not timed, comes before each sample."""

    call: Call
    refill: Call
    traffic: tuple[Traffic, ...]
    storage: str
    """existing, in place, or allocating."""
    kept_bytes: float | None = None
    """Bytes for each output element that are kept for backward."""
    calls: int = 1
    compile_s: float | None = None


def timed_call(activation: Activation, name: str, buffers: Buffers, *, compiled: bool = False) -> TimedCall:
    """The timed call of the pass `name` of an activation, called once to see that it works.

    Raises Unmeasurable where the activation has no such form, ComputeError where its result has another shape, and
    whatever the activation raises.
    """
    z = buffers.z[: activation.inputs_per_unit * buffers.elements]
    forms = {
        "forward": _forward,
        "allocating": _allocating,
        "inplace": _inplace,
        "backward": _backward,
        "forward+backward": _forward_backward,
    }
    built = forms[name](activation, z, buffers, compiled)
    built.refill()
    built.call()
    return built


def _forward(activation: Activation, z: Tensor, buffers: Buffers, compiled: bool) -> TimedCall:
    function, _ = evaluation(activation, z)
    _check(function(z[: activation.inputs_per_unit * buffers.few]), buffers.few)
    traffic = (Traffic(reads=activation.inputs_per_unit, writes=1),)
    if compiled:
        seconds, into = compile_forward(lambda z, out: out.copy_(function(z)), z, buffers.h)
        return TimedCall(
            call=lambda: into(z, buffers.h), refill=_no_refill, traffic=traffic, storage="existing", compile_s=seconds
        )
    out = activation.out
    if out is None:
        return TimedCall(call=lambda: function(z), refill=_no_refill, traffic=traffic, storage="allocating")
    return TimedCall(call=lambda: out(z, buffers.h, 0), refill=_no_refill, traffic=traffic, storage="existing")


def _allocating(activation: Activation, z: Tensor, buffers: Buffers, compiled: bool) -> TimedCall:
    function, _ = evaluation(activation, z)
    _check(function(z[: activation.inputs_per_unit * buffers.few]), buffers.few)
    seconds, call = compile_forward(function, z) if compiled else (None, function)
    traffic = (Traffic(reads=activation.inputs_per_unit, writes=1),)
    return TimedCall(call=lambda: call(z), refill=_no_refill, traffic=traffic, storage="allocating", compile_s=seconds)


def _inplace(activation: Activation, z: Tensor, buffers: Buffers, compiled: bool) -> TimedCall:
    inplace = activation.inplace or _module_in_place(activation, z, buffers)
    if inplace is None or compiled:
        raise Unmeasurable("it has no form in place")

    def call() -> None:
        for z_copy in buffers.pool:
            inplace(z_copy)

    def refill() -> None:
        for z_copy in buffers.pool:
            z_copy.copy_(z)

    traffic = (Traffic(reads=1, writes=1, in_place=True),)
    return TimedCall(call=call, refill=refill, traffic=traffic, storage="in place", calls=len(buffers.pool))


def _module_in_place(activation: Activation, z: Tensor, buffers: Buffers) -> Function | None:
    """The function of a user's module that writes its result over its input, without the copy made elsewhere."""
    if activation.module is None or not activation.copied:
        return None
    function, _ = evaluation(activation, z, bared=True)
    few = z[: buffers.few].clone()
    return function if function(few).data_ptr() == few.data_ptr() else None


def _backward(activation: Activation, z: Tensor, buffers: Buffers, compiled: bool) -> TimedCall:
    traffic = _backward_traffic(activation, z, buffers)
    refill = _restore(buffers)
    gradient = activation.gradient
    if gradient is None or compiled:
        function, leaves = training(activation, z)
        seconds = None
        if compiled:
            seconds, function = compile_backward(function, z, leaves, buffers, keeps_tape=True)
        with torch.enable_grad():
            x = z.detach().requires_grad_()
            saved_bytes = SavedTensorBytes()
            with saved_bytes:
                y = function(x)
        _check(y, buffers.elements)
        inputs = [x, *leaves]
        return TimedCall(
            call=lambda: torch.autograd.grad(y, inputs, buffers.grad, retain_graph=True, allow_unused=True),
            refill=refill,
            traffic=traffic,
            storage="allocating",
            kept_bytes=saved_bytes.bytes(leaves) / buffers.elements,
            compile_s=seconds,
        )
    h = activation.function(z, dim=0)
    _check(h, buffers.elements)
    saved = z if activation.saves == "z" else h
    return TimedCall(
        call=lambda: gradient(buffers.grad, saved, 0),
        refill=refill,
        traffic=traffic,
        storage=_storage_of(activation),
        kept_bytes=saved.numel() * saved.element_size() / buffers.elements,
    )


def _forward_backward(activation: Activation, z: Tensor, buffers: Buffers, compiled: bool) -> TimedCall:
    traffic = (Traffic(reads=activation.inputs_per_unit, writes=1), *_backward_traffic(activation, z, buffers))
    gradient, out = activation.gradient, activation.out
    if gradient is None or out is None or compiled:
        return _forward_backward_by_autograd(activation, z, buffers, compiled)
    _check(activation.function(z[: activation.inputs_per_unit * buffers.few], dim=0), buffers.few)
    saves_z = activation.saves == "z"

    def call() -> object:
        h = out(z, buffers.h, 0)
        return gradient(buffers.grad, z if saves_z else h, 0)

    saved_bytes = (activation.inputs_per_unit if saves_z else 1) * z.element_size()
    storage = _storage_of(activation)
    return TimedCall(
        call=call, refill=_restore(buffers), traffic=traffic, storage=storage, kept_bytes=float(saved_bytes)
    )


def _forward_backward_by_autograd(activation: Activation, z: Tensor, buffers: Buffers, compiled: bool) -> TimedCall:
    function, leaves = training(activation, z)
    seconds = None
    if compiled:
        seconds, function = compile_backward(function, z, leaves, buffers, keeps_tape=False)
    with torch.enable_grad():
        x = z.detach().requires_grad_()
        saved_bytes = SavedTensorBytes()
        with saved_bytes:
            # If it was compiled for all elements, a part of them would compile it again.
            x_part = x if compiled else x[: activation.inputs_per_unit * buffers.few]
            h = function(x_part)
    elements = buffers.elements if compiled else buffers.few
    _check(h, elements)
    inputs = [x, *leaves]

    def call() -> object:
        with torch.enable_grad():
            return torch.autograd.grad(function(x), inputs, buffers.grad, allow_unused=True)

    return TimedCall(
        call=call,
        refill=_restore(buffers),
        traffic=(Traffic(reads=activation.inputs_per_unit, writes=1), *_backward_traffic(activation, z, buffers)),
        storage="allocating",
        kept_bytes=saved_bytes.bytes(leaves) / elements,
        compile_s=seconds,
    )


def evaluation(activation: Activation, z: Tensor, *, bared: bool = False) -> tuple[Function, list[Tensor]]:
    """f as in evaluation, without noise, and its learned parameters, in z's dtype; `bared`: its input is no copy."""
    if activation.module is not None:
        module = fixed(activation.module).to(device=z.device, dtype=z.dtype).eval()
        if bared:
            remove_input_adapters(module)
        return flat_call(module, activation), list(trainable(module).values())
    leaves = [torch.tensor([value], dtype=z.dtype, device=z.device) for value in activation.learned]
    return lambda x: activation.function(x, learned=tuple(leaves), dim=0), leaves


def training(activation: Activation, z: Tensor) -> tuple[Function, list[Tensor]]:
    """f as in training, with new noise in every call, and its learned parameters, as leaves of autograd's graph."""
    if activation.module is not None:
        module = fixed(activation.module).to(device=z.device, dtype=z.dtype).eval()
        call = flat_call(module, activation)
        module.train()
        return call, list(trainable(module).values())
    leaves = [torch.tensor([value], dtype=z.dtype, device=z.device).requires_grad_() for value in activation.learned]
    generator = stream(0, "speed-noise", device=z.device.type)
    draw = activation.draw

    def function(x: Tensor) -> Tensor:
        noise = draw(x.shape, generator) if draw is not None else None
        return activation.function(x, learned=tuple(leaves), noise=noise, dim=0)

    return function, leaves


class SavedTensorBytes(torch.autograd.graph.saved_tensors_hooks):
    """Counts the bytes that autograd saves while the block runs; one storage counts once."""

    def __init__(self) -> None:
        self.storages: dict[int, int] = {}
        super().__init__(self._note, lambda tensor: tensor)

    def _note(self, tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage().data_ptr()
        # The storage may be larger than the tensor: only what is saved counts.
        self.storages[address] = max(self.storages.get(address, 0), tensor.numel() * tensor.element_size())
        return tensor

    def bytes(self, leaves: list[Tensor]) -> int:
        """All saved bytes except those of the learned parameters."""
        learned = {leaf.untyped_storage().data_ptr() for leaf in leaves}
        return sum(size for address, size in self.storages.items() if address not in learned)


def _backward_traffic(activation: Activation, z: Tensor, buffers: Buffers) -> tuple[Traffic, ...]:
    """The traffic of a backward pass; () where the gradient passes unchanged (identity)."""
    if activation.inputs_per_unit > 1:
        return (Traffic(reads=activation.inputs_per_unit + 1, writes=activation.inputs_per_unit),)
    if activation.gradient is not None:
        grad = buffers.grad_source[: buffers.few]
        if torch.equal(activation.gradient(grad.clone(), z[: buffers.few], 0), grad):
            return ()
    return (Traffic(reads=2, writes=1, in_place=True),)


def _storage_of(activation: Activation) -> str:
    """Where the analytic gradient is written: over the incoming one, unless an output has several inputs."""
    return "existing" if activation.inputs_per_unit == 1 else "allocating"


def _restore(buffers: Buffers) -> Call:
    # Products of slopes would shrink or grow over a sample's calls; each sample starts from the same gradient.
    return lambda: buffers.grad.copy_(buffers.grad_source)


def _no_refill() -> None:
    """Does nothing: the input is not written to."""


def _check(h: object, elements: int) -> None:
    if not isinstance(h, Tensor):
        raise ComputeError(f"it gives {type(h).__name__}, not a tensor", "return one tensor")
    if h.shape != (elements,):
        raise ComputeError(f"it gives shape {tuple(h.shape)} for shape ({elements},)", "an activation keeps the shape")
