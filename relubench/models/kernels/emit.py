"""What kernels are written with: LLVM's instructions as loops, vectors and atomic counters.

A kernel is a function (args, worker) of an array of 64-bit words, which its maker fills with addresses and sizes, and
of the number of the thread that runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

I32, I64 = ir.IntType(32), ir.IntType(64)
WORDS = I64.as_pointer()
KERNEL = ir.FunctionType(ir.VoidType(), [WORDS, I64])

LINE = 8
"""Words in a cache line."""

IMPATIENCE = 1024
"""Looks at a counter, 50 nanoseconds each, before the thread offers its core to another. Offering it sooner gives a
busy neighbour a slice of milliseconds for a wait of microseconds; a longer look keeps a helper from its core."""

Value = Any
"""What an instruction computes: llvmlite's own classes are not annotated."""

Body = Callable[[Value, list[Value]], Sequence[Value] | None]


@dataclass(frozen=True, slots=True)
class VectorType:
    """The kind of number that kernels compute with, and the registers that hold vectors of them."""

    double: bool
    lanes: int
    """Numbers in a vector."""
    registers: int
    pause: str
    """The instruction that a waiting thread repeats; may be empty."""

    @property
    def scalar(self) -> ir.Type:
        return ir.DoubleType() if self.double else ir.FloatType()

    @property
    def vector(self) -> ir.VectorType:
        return ir.VectorType(self.scalar, self.lanes)

    @property
    def bytes(self) -> int:
        return 8 if self.double else 4


def word(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


class Kernel:
    """One function in the making; its methods append to it, and return the value that they compute."""

    def __init__(
        self, module: ir.Module, name: str, numbers: VectorType, words: Sequence[str] = (), kind: Any = KERNEL
    ) -> None:
        self.module, self.numbers = module, numbers
        self.function = ir.Function(module, kind, name)
        self.b: Any = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.args, *rest = self.function.args
        self.worker = rest[0] if rest else word(0)
        self.words = {argument: self.load_word(self.args, word(place)) for place, argument in enumerate(words)}

    def __getitem__(self, name: str) -> Value:
        """The argument of that name, a word."""
        return self.words[name]

    def numbers_at(self, name: str) -> Value:
        """The argument of that name, as the address of numbers."""
        return self.b.inttoptr(self.words[name], self.numbers.scalar.as_pointer())

    def words_at(self, name: str) -> Value:
        return self.b.inttoptr(self.words[name], WORDS)

    # -- sizes -------------------------------------------------------------------------------------------------------

    def least(self, left: Value, right: Value) -> Value:
        return self.b.select(self.b.icmp_signed("<", left, right), left, right)

    def add(self, *values: Value) -> Value:
        total = values[0]
        for value in values[1:]:
            total = self.b.add(total, value)
        return total

    def times(self, left: Value, right: Value | int) -> Value:
        return self.b.mul(left, word(right) if isinstance(right, int) else right)

    # -- memory ------------------------------------------------------------------------------------------------------

    def load_word(self, base: Value, place: Value) -> Value:
        return self.b.load(self.b.gep(base, [place]))

    def store_word(self, value: Value, base: Value, place: Value) -> None:
        self.b.store(value, self.b.gep(base, [place]))

    def load(self, base: Value, place: Value) -> Value:
        """One number."""
        return self.b.load(self.b.gep(base, [place]))

    def store(self, value: Value, base: Value, place: Value) -> None:
        self.b.store(value, self.b.gep(base, [place]))

    def load_vector(self, base: Value, place: Value) -> Value:
        vector = self.b.load(self._vector_at(base, place))
        vector.align = self.numbers.bytes
        return vector

    def load_short(self, base: Value, place: Value, count: int) -> Value:
        """So many numbers, fewer than a vector has lanes or as many."""
        kind = ir.VectorType(self.numbers.scalar, count)
        vector = self.b.load(self.b.bitcast(self.b.gep(base, [place]), kind.as_pointer()))
        vector.align = self.numbers.bytes
        return vector

    def load_part(self, base: Value, place: Value, stop: Value) -> Value:
        """A vector whose lanes from `stop` on, counted like the place, are not read and 0."""
        lanes, kind = self.numbers.lanes, f"v{self.numbers.lanes}f{8 * self.numbers.bytes}"
        numbered = ir.Constant(ir.VectorType(I64, lanes), [word(lane) for lane in range(lanes)])
        inside = self.b.icmp_signed("<", numbered, self._words(self.b.sub(stop, place)))
        at = self._vector_at(base, place)
        signature = ir.FunctionType(self.numbers.vector, [at.type, I32, inside.type, self.numbers.vector])
        load = self._intrinsic(f"llvm.masked.load.{kind}.p0", signature)
        return self.b.call(load, [at, ir.Constant(I32, self.numbers.bytes), inside, self.zeros()])

    def store_vector(self, value: Value, base: Value, place: Value) -> None:
        at = self.b.bitcast(self.b.gep(base, [place]), value.type.as_pointer())
        self.b.store(value, at).align = self.numbers.bytes

    def prefetch(self, base: Value, place: Value) -> None:
        """Ask for the cache line of that number; whether it may be read does not matter."""
        address = self.b.bitcast(self.b.gep(base, [place]), ir.IntType(8).as_pointer())
        signature = ir.FunctionType(ir.VoidType(), [address.type, I32, I32, I32])
        self.b.call(
            self._intrinsic("llvm.prefetch.p0", signature), [address, *(ir.Constant(I32, v) for v in (0, 3, 1))]
        )

    def load_vectors(self, address: Value, count: int) -> list[Value]:
        """The first so many vectors from there on."""
        vectors = self.b.bitcast(address, self.numbers.vector.as_pointer())
        loaded = [self.b.load(self.b.gep(vectors, [word(number)])) for number in range(count)]
        for vector in loaded:
            vector.align = self.numbers.bytes
        return loaded

    def store_vectors(self, values: Sequence[Value], address: Value) -> None:
        """One after the other from there on."""
        vectors = self.b.bitcast(address, self.numbers.vector.as_pointer())
        for place, value in enumerate(values):
            self.b.store(value, self.b.gep(vectors, [word(place)])).align = self.numbers.bytes

    def _vector_at(self, base: Value, place: Value) -> Value:
        return self.b.bitcast(self.b.gep(base, [place]), self.numbers.vector.as_pointer())

    # -- vectors -----------------------------------------------------------------------------------------------------

    def zeros(self) -> Value:
        return ir.Constant(self.numbers.vector, [0.0] * self.numbers.lanes)

    def broadcast(self, number: Value) -> Value:
        """A vector of that number in every lane."""
        nothing = ir.Constant(self.numbers.vector, ir.Undefined)
        first = self.b.insert_element(nothing, number, ir.Constant(I32, 0))
        return self.b.shuffle_vector(first, nothing, _lanes([0] * self.numbers.lanes))

    def fma(self, left: Value, right: Value, plus: Value) -> Value:
        """left*right + plus, rounded once."""
        vector, kind = self.numbers.vector, f"v{self.numbers.lanes}f{8 * self.numbers.bytes}"
        return self.b.call(
            self._intrinsic(f"llvm.fma.{kind}", ir.FunctionType(vector, [vector] * 3)), [left, right, plus]
        )

    def _intrinsic(self, name: str, signature: ir.FunctionType) -> Value:
        return self.module.globals.get(name) or ir.Function(self.module, signature, name)

    def _words(self, value: Value) -> Value:
        """A vector of that word in as many lanes as a vector of numbers has."""
        kind = ir.VectorType(I64, self.numbers.lanes)
        first = self.b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
        return self.b.shuffle_vector(first, ir.Constant(kind, ir.Undefined), _lanes([0] * self.numbers.lanes))

    def part(self, vector: Value, first: int, count: int) -> Value:
        """Lanes first...first + count of the vector."""
        return self.b.shuffle_vector(vector, vector, _lanes(range(first, first + count)))

    def horizontal_sum(self, vector: Value) -> Value:
        """The sum over the lanes, by halves: always in the same order."""
        lanes = self.numbers.lanes
        while lanes > 1:
            lanes //= 2
            low = self.b.shuffle_vector(vector, vector, _lanes(range(lanes)))
            high = self.b.shuffle_vector(vector, vector, _lanes(range(lanes, 2 * lanes)))
            vector = self.b.fadd(low, high)
        return self.b.extract_element(vector, ir.Constant(I32, 0))

    def products(self, factors: Iterable[Value], vectors: Sequence[Value], sums: Sequence[Value]) -> list[Value]:
        """The sums with each number among the factors times each vector added, vector by vector."""
        remaining_sums = iter(sums)
        broadcasts = (self.broadcast(factor) for factor in factors)
        return [self.fma(broadcast, vector, next(remaining_sums)) for broadcast in broadcasts for vector in vectors]

    def transposed(self, rows: Sequence[Value]) -> list[Value]:
        """The columns of as many vectors as each has lanes, by halves woven into each other."""
        lanes, half = self.numbers.lanes, self.numbers.lanes // 2
        weave = [
            _lanes([lane + lanes * odd for lane in range(start, start + half) for odd in (0, 1)]) for start in (0, half)
        ]
        for _ in range(lanes.bit_length() - 1):
            rows = [self.b.shuffle_vector(rows[row], rows[row + half], how) for row in range(half) for how in weave]
        return list(rows)

    # -- control -----------------------------------------------------------------------------------------------------

    def loop(
        self, start: Value, stop: Value, step: int | Value, body: Body, carried: Sequence[Value] = ()
    ) -> list[Value]:
        """body(place, values) for place = start, start+step... below stop; the values go from turn to turn."""
        b, before = self.b, self.b.block
        head, inside, after = (b.append_basic_block(name) for name in ("head", "body", "after"))
        b.branch(head)
        b.position_at_end(head)
        place = b.phi(I64)
        place.add_incoming(start, before)
        values = [b.phi(value.type) for value in carried]
        for phi, value in zip(values, carried, strict=True):
            phi.add_incoming(value, before)
        b.cbranch(b.icmp_signed("<", place, stop), inside, after)
        b.position_at_end(inside)
        results = body(place, list(values)) or ()
        place.add_incoming(b.add(place, word(step) if isinstance(step, int) else step), b.block)
        for phi, result in zip(values, results, strict=True):
            phi.add_incoming(result, b.block)
        b.branch(head)
        b.position_at_end(after)
        return list(values)

    def wait(self, counter: Value, least: Value, offer: Value) -> None:
        """Wait until the word at `counter` is `least` or more; `offer` is the address of a function () -> int."""
        b, before = self.b, self.b.block
        look, again, yielding, after = (b.append_basic_block(name) for name in ("look", "again", "offer", "after"))
        b.branch(look)
        b.position_at_end(look)
        looks = b.phi(I64)
        looks.add_incoming(word(0), before)
        reached = b.icmp_signed(">=", b.load_atomic(counter, "acquire", 8), least)
        b.cbranch(reached, after, again)
        b.position_at_end(again)
        if self.numbers.pause:
            b.asm(ir.FunctionType(ir.VoidType(), []), self.numbers.pause, "~{memory}", [], True)
        more = b.add(looks, word(1))
        looks.add_incoming(more, again)
        b.cbranch(b.icmp_signed("<", more, word(IMPATIENCE)), look, yielding)
        b.position_at_end(yielding)
        b.call(b.inttoptr(offer, ir.FunctionType(I32, []).as_pointer()), [])
        looks.add_incoming(word(0), yielding)
        b.branch(look)
        b.position_at_end(after)

    def count(self, counter: Value, more: int = 1) -> Value:
        """Add to the word at `counter`, so that whoever sees the sum sees what was written before; its old value."""
        return self.b.atomic_rmw("add", counter, word(more), "acq_rel")


def _lanes(places: Sequence[int] | range) -> ir.Constant:
    return ir.Constant(ir.VectorType(I32, len(places)), [ir.Constant(I32, place) for place in places])
