"""One activation as something to time: the call, what is put back before a sample, its traffic, what backward keeps.

What is timed is what the engine runs: the forward pass into storage that exists, the closed-form gradient written over
the incoming one. Without a closed form it is autograd, which allocates; `storage` says which. Every contestant
of a cell works on the same tensors, so that none has the better addresses.

Shapes: N output elements; z [columns*N], chunk after chunk; h and grad [N].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from relubench.activations.checks.trial import flat_call
from relubench.activations.definition import Activation, fixed, trainable
from relubench.activations.input_copies import remove_input_adapters
from relubench.errors import ComputeError
from relubench.models.random_streams import stream
from relubench.system.compiler import own_code
from relubench.timing.traffic import Traffic

TORCH_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

POOL_BYTES = 2**20
"""In place, a small tensor would be its own output after one call: as many copies as fill this are taken in turn."""

FEW = 2**16
"""Elements on which it is found out what an activation gives and keeps."""

Call = Callable[[], object]
Function = Callable[[Tensor], Tensor]


class Unmeasurable(Exception):
    """The activation has no such form; not a failure."""


@dataclass(slots=True)
class Arena:
    """The tensors of one size and dtype."""

    z: Tensor
    """[most columns * N], unit normal"""
    h: Tensor
    grad_source: Tensor
    grad: Tensor
    other: Tensor
    pool: list[Tensor] = field(default_factory=list)
    """Copies of z's first N for the passes in place."""

    @classmethod
    def make(cls, elements: int, columns: int, dtype: torch.dtype, device: str, seed: int, *, pool: bool) -> Arena:
        def normal(role: str, size: int) -> Tensor:
            return torch.randn(size, generator=stream(seed, role)).to(device=device, dtype=dtype)

        z, source = normal("speed-input", columns * elements), normal("speed-gradient", elements)
        copies = max(1, POOL_BYTES // (elements * dtype.itemsize)) if pool else 0
        # Written once: untouched pages would be given out during the first sample.
        return cls(
            z,
            torch.zeros_like(source),
            source,
            source.clone(),
            source.clone(),
            [z[:elements].clone() for _ in range(copies)],
        )

    @property
    def elements(self) -> int:
        return self.h.numel()

    @property
    def few(self) -> int:
        """Elements that a trial takes."""
        return min(FEW, self.elements)


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What a sample calls, `calls` passes at a time, after `refill`, which is not timed."""

    call: Call
    refill: Call
    traffic: tuple[Traffic, ...]
    storage: str
    """existing, in place, or allocating."""
    kept_bytes: float | None = None
    """Kept for backward, an output element."""
    calls: int = 1
    compile_s: float | None = None


def task(activation: Activation, name: str, arena: Arena, *, compiled: bool = False) -> Task:
    """The pass `name` of an activation on an arena, run once to see that it works.

    Raises Unmeasurable where the activation has no such form, ComputeError where its result has another shape, and
    whatever the activation raises.
    """
    z = arena.z[: activation.columns * arena.elements]
    forms = {
        "forward": _forward,
        "allocating": _allocating,
        "inplace": _inplace,
        "backward": _backward,
        "forward+backward": _both,
    }
    made = forms[name](activation, z, arena, compiled)
    made.refill()
    made.call()
    return made


def _forward(activation: Activation, z: Tensor, arena: Arena, compiled: bool) -> Task:
    function, _ = evaluation(activation, z)
    _check(function(z[: activation.columns * arena.few]), arena.few)
    traffic = (Traffic(reads=activation.columns, writes=1),)
    if compiled:
        seconds, into = _compile(lambda z, out: out.copy_(function(z)), z, arena.h)
        return Task(
            call=lambda: into(z, arena.h), refill=_nothing, traffic=traffic, storage="existing", compile_s=seconds
        )
    out = activation.out
    if out is None:
        return Task(call=lambda: function(z), refill=_nothing, traffic=traffic, storage="allocating")
    return Task(call=lambda: out(z, arena.h, 0), refill=_nothing, traffic=traffic, storage="existing")


def _allocating(activation: Activation, z: Tensor, arena: Arena, compiled: bool) -> Task:
    function, _ = evaluation(activation, z)
    _check(function(z[: activation.columns * arena.few]), arena.few)
    seconds, call = _compile(function, z) if compiled else (None, function)
    traffic = (Traffic(reads=activation.columns, writes=1),)
    return Task(call=lambda: call(z), refill=_nothing, traffic=traffic, storage="allocating", compile_s=seconds)


def _inplace(activation: Activation, z: Tensor, arena: Arena, compiled: bool) -> Task:
    inplace = activation.inplace or _module_in_place(activation, z, arena)
    if inplace is None or compiled:
        raise Unmeasurable("it has no form in place")

    def call() -> None:
        for one in arena.pool:
            inplace(one)

    def refill() -> None:
        for one in arena.pool:
            one.copy_(z)

    traffic = (Traffic(reads=1, writes=1, in_place=True),)
    return Task(call=call, refill=refill, traffic=traffic, storage="in place", calls=len(arena.pool))


def _module_in_place(activation: Activation, z: Tensor, arena: Arena) -> Function | None:
    """A user's module that writes its result over its input, without the copy that it is given elsewhere."""
    if activation.module is None or not activation.copied:
        return None
    function, _ = evaluation(activation, z, bared=True)
    few = z[: arena.few].clone()
    return function if function(few).data_ptr() == few.data_ptr() else None


def _backward(activation: Activation, z: Tensor, arena: Arena, compiled: bool) -> Task:
    traffic = _backward_traffic(activation, z, arena)
    refill = _restore(arena)
    gradient = activation.gradient
    if gradient is None or compiled:
        function, leaves = training(activation, z)
        seconds = None
        if compiled:
            seconds, function = _compile_backward(function, z, leaves, arena, keeps_tape=True)
        with torch.enable_grad():
            x = z.detach().requires_grad_()
            kept = Kept()
            with kept:
                y = function(x)
        _check(y, arena.elements)
        inputs = [x, *leaves]
        return Task(
            call=lambda: torch.autograd.grad(y, inputs, arena.grad, retain_graph=True, allow_unused=True),
            refill=refill,
            traffic=traffic,
            storage="allocating",
            kept_bytes=kept.bytes(leaves) / arena.elements,
            compile_s=seconds,
        )
    h = activation.function(z, dim=0)
    _check(h, arena.elements)
    saved = z if activation.saves == "z" else h
    return Task(
        call=lambda: gradient(arena.grad, saved, 0),
        refill=refill,
        traffic=traffic,
        storage=_storage_of(activation),
        kept_bytes=saved.numel() * saved.element_size() / arena.elements,
    )


def _both(activation: Activation, z: Tensor, arena: Arena, compiled: bool) -> Task:
    traffic = (Traffic(reads=activation.columns, writes=1), *_backward_traffic(activation, z, arena))
    gradient, out = activation.gradient, activation.out
    if gradient is None or out is None or compiled:
        return _both_by_autograd(activation, z, arena, compiled)
    _check(activation.function(z[: activation.columns * arena.few], dim=0), arena.few)
    saves_z = activation.saves == "z"

    def call() -> object:
        h = out(z, arena.h, 0)
        return gradient(arena.grad, z if saves_z else h, 0)

    kept = (activation.columns if saves_z else 1) * z.element_size()
    storage = _storage_of(activation)
    return Task(call=call, refill=_restore(arena), traffic=traffic, storage=storage, kept_bytes=float(kept))


def _both_by_autograd(activation: Activation, z: Tensor, arena: Arena, compiled: bool) -> Task:
    function, leaves = training(activation, z)
    seconds = None
    if compiled:
        seconds, function = _compile_backward(function, z, leaves, arena, keeps_tape=False)
    with torch.enable_grad():
        x = z.detach().requires_grad_()
        kept = Kept()
        with kept:
            # Compiled for all of them, it would be compiled again for few.
            some = x if compiled else x[: activation.columns * arena.few]
            h = function(some)
    elements = arena.elements if compiled else arena.few
    _check(h, elements)
    inputs = [x, *leaves]

    def call() -> object:
        with torch.enable_grad():
            return torch.autograd.grad(function(x), inputs, arena.grad, allow_unused=True)

    return Task(
        call=call,
        refill=_restore(arena),
        traffic=(Traffic(reads=activation.columns, writes=1), *_backward_traffic(activation, z, arena)),
        storage="allocating",
        kept_bytes=kept.bytes(leaves) / elements,
        compile_s=seconds,
    )


def evaluation(activation: Activation, z: Tensor, *, bared: bool = False) -> tuple[Function, list[Tensor]]:
    """f as in evaluation, without noise, and what it learns, in z's dtype; `bared`: its input is no copy."""
    if activation.module is not None:
        module = fixed(activation.module).to(device=z.device, dtype=z.dtype).eval()
        if bared:
            remove_input_adapters(module)
        return flat_call(module, activation), list(trainable(module).values())
    leaves = [torch.tensor([value], dtype=z.dtype, device=z.device) for value in activation.learned]
    return lambda x: activation.function(x, learned=tuple(leaves), dim=0), leaves


def training(activation: Activation, z: Tensor) -> tuple[Function, list[Tensor]]:
    """f as in training, its noise drawn anew by every call, and the tensors that it learns, as leaves of a tape."""
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


class Kept(torch.autograd.graph.saved_tensors_hooks):
    """Notes what autograd saves while the block runs; one storage counts once."""

    def __init__(self) -> None:
        self.storages: dict[int, int] = {}
        super().__init__(self._note, lambda one: one)

    def _note(self, one: Tensor) -> Tensor:
        place = one.untyped_storage().data_ptr()
        # What it is a part of may be larger: only what is saved counts.
        self.storages[place] = max(self.storages.get(place, 0), one.numel() * one.element_size())
        return one

    def bytes(self, leaves: list[Tensor]) -> int:
        """Bytes in all, what is learned left out."""
        learned = {one.untyped_storage().data_ptr() for one in leaves}
        return sum(size for place, size in self.storages.items() if place not in learned)


def _backward_traffic(activation: Activation, z: Tensor, arena: Arena) -> tuple[Traffic, ...]:
    """What a backward pass has to move; nothing where the gradient is handed on as it came (identity)."""
    if activation.columns > 1:
        return (Traffic(reads=activation.columns + 1, writes=activation.columns),)
    if activation.gradient is not None:
        came = arena.grad_source[: arena.few]
        if torch.equal(activation.gradient(came.clone(), z[: arena.few], 0), came):
            return ()
    return (Traffic(reads=2, writes=1, in_place=True),)


def _storage_of(activation: Activation) -> str:
    """Where the gradient of a closed form goes: over the incoming one, unless it needs more columns than that has."""
    return "existing" if activation.columns == 1 else "allocating"


def _restore(arena: Arena) -> Call:
    # Products of slopes would fade or grow over a sample's calls; each sample starts from the same gradient.
    return lambda: arena.grad.copy_(arena.grad_source)


def _nothing() -> None:
    """Nothing has to be put back: the input is not written to."""


def _check(h: object, elements: int) -> None:
    if not isinstance(h, Tensor):
        raise ComputeError(f"it gives {type(h).__name__}, not a tensor", "return one tensor")
    if h.shape != (elements,):
        raise ComputeError(f"it gives shape {tuple(h.shape)} for shape ({elements},)", "an activation keeps the shape")


def _compile(function: Callable[..., Any], *arguments: Tensor) -> tuple[float, Callable[..., Any]]:
    """Seconds of the first call, and the compiled function."""
    import time

    compiled = torch.compile(own_code(function), dynamic=False)
    start = time.perf_counter()
    compiled(*arguments)
    return time.perf_counter() - start, compiled


def _compile_backward(
    function: Callable[[Tensor], Tensor], z: Tensor, leaves: list[Tensor], arena: Arena, *, keeps_tape: bool
) -> tuple[float, Callable[[Tensor], Tensor]]:
    """Seconds of the first forward and backward call, and the compiled forward, whose backward is compiled too."""
    import time

    import torch._functorch.config as backward_config

    compiled = torch.compile(own_code(lambda x: function(x)), dynamic=False)
    start = time.perf_counter()
    if keeps_tape:
        # The backward pass alone is called many times over one tape, which must not give its buffers away; PyTorch
        # looks at this at every call, not only while it compiles.
        backward_config.donated_buffer = False
    with backward_config.patch(donated_buffer=not keeps_tape), torch.enable_grad():
        x = z.detach().requires_grad_()
        torch.autograd.grad(compiled(x), [x, *leaves], arena.grad, allow_unused=True)
    return time.perf_counter() - start, compiled
