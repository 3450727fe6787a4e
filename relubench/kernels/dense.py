"""The passes through one dense layer, y = x W + b, each of which reads the weights once.

At a small batch the weights' traffic is what a step costs. `forward` reads each weight once for the whole batch.
`backward` takes a row of W from memory, makes from it the gradient of the input, updates it, and puts it back: two
reads and a write in all, where three products take three reads, two writes and the gradient's storage. For batches of
more than one block of samples the same is done with a few rows at a time, which stay in the cache between the two.

Rows of W belong to inputs, so that a row whose input is zero in the whole batch (the border of a digit) is neither read
nor updated: both would leave every bit as it is.

A worker has columns of W to itself in all passes, in storage of their own: a line that another core has written takes
long to come, and a core fetches lines ahead that it never needs, whoever writes them. For the same reason each worker
packs all of x, sums y apart from the others, and makes its own part of the gradient below; the parts are then added,
always in the same order.

Shapes: B batch, in blocks of `block` samples, padded to whole blocks; I inputs, O outputs, C = O padded to whole
vectors, D the most columns of a worker. W [workers, I+1, D], its last row unused; b [C]; x [B, I]; y, delta [B, C];
sums [workers, B, C]; below [workers, B, I+1 or more], the sum in the first; packed [workers, I, B].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from relubench.kernels.emit import I64, LINE, Kernel, Numbers, Value, word
from relubench.kernels.team import meet

WORDS = (
    *("team", "workers", "batch", "x", "x_stride", "inputs", "skip", "segment", "rows", "packed", "counts"),
    *("w", "w_part", "w_stride", "b", "stride", "sums", "sums_part", "y", "delta"),
    *("below", "below_part", "below_stride", "rate"),
)
"""What a layer's kernels are called with. `skip`: 1 to leave out inputs that are zero in the whole batch. `segment`:
rows of a list and of packed inputs, of which each worker has its own. `rate`: the address of minus the learning rate.
Parts (from one worker to the next) and strides (from one row to the next) are in numbers; `stride` is C."""

MOST_BLOCK = 12
"""Samples in a block: two vectors of sums for each, and what they are made of, fill 32 registers."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a batch is cut into blocks."""

    block: int
    blocks: int

    @property
    def padded(self) -> int:
        return self.block * self.blocks

    @property
    def tile(self) -> int:
        """Rows of W that are taken at once; lists of rows are padded to a multiple of it."""
        return 8 if self.blocks == 1 else 12


def plan(batch: int) -> Plan:
    """One block up to 12 samples; beyond that blocks of 8, 10 or 12, whichever leave the least over."""
    if batch <= MOST_BLOCK:
        return Plan(batch, 1)
    # Each block costs about two samples' time on top.
    size = min((8, 10, 12), key=lambda one: -(-batch // one) * (one + 2))
    return Plan(size, -(-batch // size))


def emit_forward(module: ir.Module, numbers: Numbers, cut: Plan) -> None:
    """forward: pack x, then y = x W + b."""
    k = Kernel(module, "forward", numbers, WORDS)
    _pack(k, cut)
    multiply(k, cut, listed_products)
    k.b.ret_void()


def emit_backward(module: ir.Module, numbers: Numbers, cut: Plan, *, first: bool) -> None:
    """backward, or backward_first: below = delta W^T (unless first), W += rate x^T delta, b += rate sum(delta)."""
    k = Kernel(module, "backward_first" if first else "backward", numbers, WORDS)
    update_bias(k, cut)
    if cut.blocks == 1:
        _rows_at_once(k, cut, first)
    else:
        _tiles(k, cut, first)
    if not first:
        meet(k, k.words_at("team"))
        _add_parts(k, cut)
    k.b.ret_void()


# -- packing -----------------------------------------------------------------------------------------------------------


def _pack(k: Kernel, cut: Plan) -> None:
    """The inputs as packed [listed inputs, B], and the list of their rows; padded with the unused row."""
    b, rows, packed = k.b, *_listed(k, cut)
    x, batch = k.numbers_at("x"), k["batch"]
    dense = b.icmp_signed("==", k["skip"], word(0))

    def one_input(place: Value, carried: list[Value]) -> list[Value]:
        at = k.times(carried[0], cut.padded)

        def samples(sample: Value, found: list[Value]) -> list[Value]:
            some = found[0]
            for number in range(cut.block):
                # Beyond the batch the last sample is repeated: its delta there is zero.
                wanted = k.add(sample, word(number))
                last = b.sub(batch, word(1))
                there = b.select(b.icmp_signed("<", wanted, last), wanted, last)
                value = k.load(x, k.add(k.times(there, k["x_stride"]), place))
                k.store(value, packed, k.add(at, wanted))
                some = b.or_(some, b.fcmp_unordered("!=", value, ir.Constant(k.numbers.scalar, 0.0)))
            return [some]

        (listed,) = k.loop(word(0), word(cut.padded), cut.block, samples, [dense])
        k.store_word(place, rows, carried[0])
        return [k.add(carried[0], b.zext(listed, I64))]

    (count,) = k.loop(word(0), k["inputs"], 1, one_input, [word(0)])
    k.store_word(count, k.words_at("counts"), k.times(k.worker, LINE))
    padded = k.times(b.udiv(k.add(count, word(cut.tile - 1)), word(cut.tile)), cut.tile)

    def nothing(place: Value, carried: list[Value]) -> None:
        k.store_word(k["inputs"], rows, place)
        at = k.times(place, cut.padded)
        k.loop(word(0), word(cut.padded), 1, lambda n, _: k.store(_zero(k), packed, k.add(at, n)))

    k.loop(count, padded, 1, nothing)


def _listed(k: Kernel, cut: Plan) -> tuple[Value, Value]:
    """Where this worker's list of rows and its packed inputs begin."""
    first = k.times(k.worker, k["segment"])
    rows = k.b.gep(k.words_at("rows"), [first])
    return rows, k.b.gep(k.numbers_at("packed"), [k.times(first, cut.padded)])


def _count(k: Kernel) -> Value:
    return k.load_word(k.words_at("counts"), k.times(k.worker, LINE))


def _zero(k: Kernel) -> ir.Constant:
    return ir.Constant(k.numbers.scalar, 0.0)


# -- forward -----------------------------------------------------------------------------------------------------------


def multiply(k: Kernel, cut: Plan, add_products: Callable[[Kernel, Plan], None]) -> None:
    """y = x W + b in this worker's columns; `add_products` adds x W to the sums, which begin as b."""
    left, right = columns(k)

    def begin(column: Value, _: list[Value]) -> None:
        value = k.load_vector(k.numbers_at("b"), column)
        k.loop(word(0), word(cut.padded), 1, lambda sample, _: k.store_vector(value, *sum_at(k, sample, column)))

    def end(column: Value, _: list[Value]) -> None:
        k.loop(
            *(word(0), word(cut.padded), 1),
            lambda sample, _: _store(k, k.load_vector(*sum_at(k, sample, column)), "y", sample, column),
        )

    k.loop(left, right, k.numbers.lanes, begin)
    add_products(k, cut)
    k.loop(left, right, k.numbers.lanes, end)


def listed_products(k: Kernel, cut: Plan) -> None:
    """sums += x W over the listed rows: a tile of rows stays in the cache while all blocks of samples meet it."""
    rows, packed = _listed(k, cut)

    def tile(place: Value, _: list[Value]) -> None:
        starts = row_starts(k, rows, place, cut.tile)
        values = k.b.gep(packed, [k.times(place, cut.padded)])

        def block(sample: Value, _: list[Value]) -> None:
            def sums(column: Value, vectors: int) -> None:
                _add_products(k, cut, starts, k.b.gep(values, [sample]), sample, column, vectors)

            _in_strips(k, *columns(k), _width(k, cut.block), sums)

        k.loop(word(0), word(cut.padded), cut.block, block)

    k.loop(word(0), _count(k), cut.tile, tile)


def _add_products(
    k: Kernel, cut: Plan, starts: list[Value], values: Value, sample: Value, column: Value, vectors: int
) -> None:
    """sums[block, strip] += x[block, tile] W[tile, strip], in registers."""
    places = [k.add(column, word(number * k.numbers.lanes)) for number in range(vectors)]
    samples = [k.add(sample, word(number)) for number in range(cut.block)]
    sums = [[k.load_vector(*sum_at(k, one, place)) for place in places] for one in samples]
    for row, start in enumerate(starts):
        weights = [k.load_vector(*weight_at(k, start, place)) for place in places]
        for number, mine in enumerate(sums):
            x = k.spread(k.load(values, word(row * cut.padded + number)))
            mine[:] = [k.fma(x, weight, total) for weight, total in zip(weights, mine, strict=True)]
    for one, mine in zip(samples, sums, strict=True):
        for place, total in zip(places, mine, strict=True):
            k.store_vector(total, *sum_at(k, one, place))


def sum_at(k: Kernel, sample: Value, column: Value) -> tuple[Value, Value]:
    """Base and place of a vector of this worker's own sums: in a common y, one core would fetch the other's ahead."""
    part = k.times(k.worker, k["sums_part"])
    return k.numbers_at("sums"), k.add(part, k.times(sample, k["stride"]), column)


# -- backward ----------------------------------------------------------------------------------------------------------


def update_bias(k: Kernel, cut: Plan) -> None:
    """b += rate * sum over samples of delta, in this worker's columns."""
    left, right = columns(k)
    rate = rate_of(k)

    def column(place: Value, _: list[Value]) -> None:
        (total,) = k.loop(
            *(word(0), word(cut.padded), 1),
            lambda sample, sums: [k.b.fadd(sums[0], load_sample(k, "delta", sample, place))],
            [k.zeros()],
        )
        bias = k.numbers_at("b")
        k.store_vector(k.fma(rate, total, k.load_vector(bias, place)), bias, place)

    k.loop(left, right, k.numbers.lanes, column)


def _rows_at_once(k: Kernel, cut: Plan, first: bool) -> None:
    """One block of samples: a row of W is read once for the gradient of its input and for its update."""
    rows, packed = _listed(k, cut)
    rate, (left, right) = rate_of(k), columns(k)

    def row(place: Value, _: list[Value]) -> None:
        number = k.load_word(rows, place)
        (start,) = row_starts(k, rows, place, 1)
        values = k.b.gep(packed, [k.times(place, cut.padded)])
        steps = [k.b.fmul(rate, k.spread(k.load(values, word(one)))) for one in range(cut.block)]

        def strip(column: Value, sums: list[Value]) -> list[Value]:
            weight = updated = k.load_vector(*weight_at(k, start, column))
            found = []
            for one, step in enumerate(steps):
                delta = load_sample(k, "delta", word(one), column)
                if not first:
                    found.append(k.fma(delta, weight, sums[one]))
                updated = k.fma(step, delta, updated)
            k.store_vector(updated, *weight_at(k, start, column))
            return found

        none = [] if first else [k.zeros()] * cut.block
        for one, total in enumerate(k.loop(left, right, k.numbers.lanes, strip, none)):
            _store_below(k, k.total(total), word(one), number)

    k.loop(word(0), _count(k), 1, row)


def _tiles(k: Kernel, cut: Plan, first: bool) -> None:
    """Several blocks of samples: a tile of rows is read from the cache for all gradients, then for its update."""
    rows, packed = _listed(k, cut)

    def tile(place: Value, _: list[Value]) -> None:
        if not first:
            _gradients_below(k, cut, rows, place)
        _update_rows(k, cut, row_starts(k, rows, place, cut.tile), k.b.gep(packed, [k.times(place, cut.padded)]))

    k.loop(word(0), _count(k), cut.tile, tile)


def _gradients_below(k: Kernel, cut: Plan, rows: Value, place: Value) -> None:
    """below[all, tile] = delta W[tile]^T in this worker's columns, a few samples and rows at a time."""
    left, right = columns(k)
    height, samples = (4 if k.numbers.registers == 32 else 2), cut.block // 2

    def few(row: Value, _: list[Value]) -> None:
        starts = row_starts(k, rows, row, height)
        numbers = [k.load_word(rows, k.add(row, word(one))) for one in range(height)]

        def block(sample: Value, _: list[Value]) -> None:
            some = [k.add(sample, word(one)) for one in range(samples)]

            def strip(column: Value, sums: list[Value]) -> list[Value]:
                weights = [k.load_vector(*weight_at(k, start, column)) for start in starts]
                deltas = [load_sample(k, "delta", one, column) for one in some]
                pairs = [(delta, weight) for delta in deltas for weight in weights]
                return [k.fma(*pair, total) for pair, total in zip(pairs, sums, strict=True)]

            sums = k.loop(left, right, k.numbers.lanes, strip, [k.zeros()] * (height * samples))
            pairs = [(one, number) for one in some for number in numbers]
            for (one, number), total in zip(pairs, sums, strict=True):
                _store_below(k, k.total(total), one, number)

        k.loop(word(0), word(cut.padded), samples, block)

    k.loop(place, k.add(place, word(cut.tile)), height, few)


def _update_rows(k: Kernel, cut: Plan, starts: list[Value], values: Value) -> None:
    """W[tile] += rate x[all, tile]^T delta, the sums over the samples in registers."""
    rate = rate_of(k)

    def strip(column: Value, vectors: int) -> None:
        places = [k.add(column, word(number * k.numbers.lanes)) for number in range(vectors)]

        def one_sample(sample: Value, sums: list[Value]) -> list[Value]:
            deltas = [load_sample(k, "delta", sample, place) for place in places]
            mine = k.b.gep(values, [sample])
            xs = [k.spread(k.load(mine, word(row * cut.padded))) for row in range(len(starts))]
            pairs = [(x, delta) for x in xs for delta in deltas]
            return [k.fma(*pair, total) for pair, total in zip(pairs, sums, strict=True)]

        sums = k.loop(word(0), word(cut.padded), 1, one_sample, [k.zeros()] * (len(starts) * vectors))
        wheres = [weight_at(k, start, place) for start in starts for place in places]
        for where, total in zip(wheres, sums, strict=True):
            k.store_vector(k.fma(rate, total, k.load_vector(*where)), *where)

    _in_strips(k, *columns(k), _width(k, cut.tile), strip)


def _add_parts(k: Kernel, cut: Plan) -> None:
    """The parts of the gradient below, added into the first: each worker some columns of it."""
    below, lanes = k.numbers_at("below"), k.numbers.lanes
    left, right = share(k, k.b.udiv(k["below_stride"], word(lanes)))

    def column(place: Value, _: list[Value]) -> None:
        def one_sample(sample: Value, _: list[Value]) -> None:
            where = k.add(k.times(sample, k["below_stride"]), place)

            def part(number: Value, sums: list[Value]) -> list[Value]:
                return [k.b.fadd(sums[0], k.load_vector(below, k.add(where, k.times(number, k["below_part"]))))]

            (total,) = k.loop(word(1), k["workers"], 1, part, [k.load_vector(below, where)])
            k.store_vector(total, below, where)

        k.loop(word(0), word(cut.padded), 1, one_sample)

    several = k.b.select(k.b.icmp_signed(">", k["workers"], word(1)), right, left)
    k.loop(k.times(left, lanes), k.times(several, lanes), lanes, column)


# -- what all of them use ----------------------------------------------------------------------------------------------


def _width(k: Kernel, height: int) -> int:
    """Vectors beside each other in a tile of sums of that height."""
    return 2 if 2 * height <= k.numbers.registers - 4 else 1


def _in_strips(k: Kernel, left: Value, right: Value, width: int, strip: Callable[[Value, int], None]) -> None:
    """strip(column, vectors) for strips `width` vectors wide, then for what is left over."""
    wide = width * k.numbers.lanes
    whole = k.add(left, k.times(k.b.udiv(k.b.sub(right, left), word(wide)), wide))
    k.loop(left, whole, wide, lambda column, _: strip(column, width))
    if width > 1:
        k.loop(whole, right, k.numbers.lanes, lambda column, _: strip(column, 1))


def columns(k: Kernel) -> tuple[Value, Value]:
    """This worker's share of the outputs, in whole vectors."""
    first, last = share(k, k.b.udiv(k["stride"], word(k.numbers.lanes)))
    return k.times(first, k.numbers.lanes), k.times(last, k.numbers.lanes)


def share(k: Kernel, units: Value) -> tuple[Value, Value]:
    """Where this worker's share begins and ends when `units` are dealt out."""
    first, last = (k.b.udiv(k.times(units, k.add(k.worker, word(more))), k["workers"]) for more in (0, 1))
    return first, last


def row_starts(k: Kernel, rows: Value, place: Value, count: int) -> list[Value]:
    """Where the next rows of the list would begin in this worker's part of W if it had all columns."""
    part = k.b.sub(k.times(k.worker, k["w_part"]), columns(k)[0])
    return [k.add(part, k.times(k.load_word(rows, k.add(place, word(row))), k["w_stride"])) for row in range(count)]


def weight_at(k: Kernel, start: Value, column: Value) -> tuple[Value, Value]:
    """Base and place of a vector of W."""
    return k.numbers_at("w"), k.add(start, column)


def rate_of(k: Kernel) -> Value:
    return k.spread(k.load(k.numbers_at("rate"), word(0)))


def load_sample(k: Kernel, name: str, sample: Value, column: Value) -> Value:
    """A vector of y or delta."""
    return k.load_vector(k.numbers_at(name), k.add(k.times(sample, k["stride"]), column))


def _store(k: Kernel, value: Value, name: str, sample: Value, column: Value) -> None:
    k.store_vector(value, k.numbers_at(name), k.add(k.times(sample, k["stride"]), column))


def _store_below(k: Kernel, value: Value, sample: Value, row: Value) -> None:
    """Into this worker's part of the gradient below."""
    part = k.times(k.worker, k["below_part"])
    k.store(value, k.numbers_at("below"), k.add(part, k.times(sample, k["below_stride"]), row))
