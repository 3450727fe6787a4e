"""The passes of a restricted Boltzmann machine through its weights, laid out as in relubench.models.kernels.dense.

    up            y = v W + b; by that module's products, the inputs packed already
    up_sparse     the same of data that is mostly zeros (images of digits): x [B, I], its zeros left out one by one
    mean          mean = sigmoid(y)
    draw          the same, and drawn = 1 with that probability, else 0
    down          each worker's part of W drawn^T
    gather        below [I, B] = W drawn^T + c, after down
    gather_sigmoid  below = sigmoid(W drawn^T + c), after down
    update        W += rate v^T delta, b += rate sum(delta): dense's `backward_first`
    update_sparse the same of data that is mostly zeros, v^T [I, B]

The visible side of a dense product is kept as [I, B], which is how it is read: nothing is packed, and all workers share
one list of all rows (`segment` is 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from llvmlite import ir

from relubench.models.kernels import layout, masks, sparse
from relubench.models.kernels.dense import listed_products, update_bias
from relubench.models.kernels.emit import I32, I64, Kernel, Value, VectorType, word
from relubench.models.kernels.layout import (
    MANY,
    Tiling,
    choose_tiling,
    load_row,
    multiply,
    own_columns,
    packed_batch,
    rate_of,
    row_starts,
    share_of,
    weight_at,
)

WORDS = (*layout.WORDS, "mean", "drawn", "key", "c", "v", "v_part", "v_stride", "parts", "parts_part")
"""What the kernels are called with. `v`: for update_sparse the data, rows `v_stride` numbers apart; for up_sparse
storage for x, each worker's own. `mean` and `drawn` beyond the batch are left alone: zeros. `parts`: storage for each
worker's part of `below`, and a vector more."""


def even_tiling(batch: int, registers: int) -> Tiling:
    """How a batch is cut where there are so many registers: `down` takes half a block of samples at once."""
    tiling = choose_tiling(batch + batch % 2, registers)
    return tiling if not tiling.panels else Tiling(6, -(-batch // 6))


def emit_up(module: ir.Module, numbers: VectorType, tiling: Tiling) -> None:
    k = Kernel(module, "up", numbers, WORDS)
    multiply(k, tiling, listed_products)
    k.b.ret_void()


def emit_up_sparse(module: ir.Module, numbers: VectorType, tiling: Tiling) -> None:
    k = Kernel(module, "up_sparse", numbers, WORDS)
    _copy_rows(k)
    rows = _own_rows(k)
    multiply(
        k,
        tiling,
        lambda k, _: sparse.add_products(k, tiling, lambda sample: k.b.gep(rows, [k.times(sample, k["v_stride"])])),
    )
    k.b.ret_void()


def emit_down(module: ir.Module, numbers: VectorType, tiling: Tiling) -> None:
    """down: each worker's part, the rows in the order of the list."""
    k = Kernel(module, "down", numbers, WORDS)
    _own_part(k, tiling)
    k.b.ret_void()


def emit_gather(module: ir.Module, numbers: VectorType, tiling: Tiling, *, sigmoid_: bool) -> None:
    """gather, gather_sigmoid: after `down` its parts become one."""
    k = Kernel(module, "gather_sigmoid" if sigmoid_ else "gather", numbers, WORDS)
    _add_parts(k, tiling, (lambda x: sigmoid(k, x)) if sigmoid_ else lambda x: x)
    k.b.ret_void()


def emit_update_sparse(module: ir.Module, numbers: VectorType, tiling: Tiling) -> None:
    """A row of W at a time; one whose input is zero in the whole batch is left alone."""
    k = Kernel(module, "update_sparse", numbers, WORDS)
    update_bias(k, tiling)
    rate, weights = rate_of(k), sparse.own_weights(k)

    def strip(column: Value, vectors: int) -> None:
        deltas, some_weights = (k.b.gep(address, [column]) for address in (k.numbers_at("delta"), weights))

        def row(number: Value, _: list[Value]) -> None:
            values = k.b.gep(k.numbers_at("v"), [k.times(number, k["v_stride"])])
            at = k.b.gep(some_weights, [k.times(number, k["w_stride"])])

            def samples_of_mask(first: Value, _: list[Value]) -> None:
                def add(bit: Value, before: list[Value]) -> list[Value]:
                    sample = k.add(first, bit)
                    step = k.b.fmul(rate, k.broadcast(k.load(values, sample)))
                    delta_vectors = k.load_vectors(k.b.gep(deltas, [k.times(sample, k["stride"])]), vectors)
                    return [k.fma(step, delta, total) for delta, total in zip(delta_vectors, before, strict=True)]

                mask = masks.mask_of(k, values, first, k["batch"])
                with k.b.if_then(k.b.icmp_unsigned("!=", mask, word(0))):
                    k.store_vectors(masks.over_bits(k, mask, add, k.load_vectors(at, vectors)), at)

            k.loop(word(0), k["batch"], masks.MASK, samples_of_mask)

        k.loop(word(0), k["inputs"], 1, row)

    sparse.in_strips(k, tiling, strip)
    k.b.ret_void()


def emit_mean(module: ir.Module, numbers: VectorType, *, sampled: bool) -> None:
    """mean, draw: a sample's and column's random number depends on them and on the key alone, not on who draws it."""
    k = Kernel(module, "draw" if sampled else "mean", numbers, WORDS)
    b, lanes = k.b, numbers.lanes
    vector = ir.VectorType(I32, lanes)
    key = [b.trunc(k["key"], I32), b.trunc(b.lshr(k["key"], word(32)), I32)]
    ones, nothing = ir.Constant(numbers.vector, [1.0] * lanes), ir.Constant(vector, [0] * lanes)

    def column(place: Value, _: list[Value]) -> None:
        at = b.add(_spread(k, b.trunc(place, I32)), ir.Constant(vector, list(range(lanes))))

        def four(sample: Value, _: list[Value]) -> None:
            bits = philox(k, [at, _spread(k, b.trunc(sample, I32)), nothing, nothing], key) if sampled else []
            for number in range(4):
                own_sample = k.add(sample, word(number))
                where = k.add(k.times(own_sample, k["stride"]), place)
                with b.if_then(b.icmp_signed("<", own_sample, k["batch"])):
                    mean = sigmoid(k, k.load_vector(k.numbers_at("y"), where))
                    k.store_vector(mean, k.numbers_at("mean"), where)
                    if sampled:
                        on = b.fcmp_ordered("<", _uniform(k, bits[number]), mean)
                        k.store_vector(b.select(on, ones, k.zeros()), k.numbers_at("drawn"), where)

        k.loop(word(0), k["batch"], 4, four)

    k.loop(*own_columns(k), lanes, column)
    b.ret_void()


def _uniform(k: Kernel, bits: Value) -> Value:
    """Numbers from 0 to below 1, in steps of 2^-24, from the upper 24 of 32 random bits."""
    lanes = k.numbers.lanes
    upper = k.b.lshr(bits, ir.Constant(bits.type, [8] * lanes))
    return k.b.fmul(k.b.sitofp(upper, k.numbers.vector), _number(k, 2.0**-24))


def sigmoid(k: Kernel, x: Value) -> Value:
    """1 / (1 + e^-x), to 2e-7 of its value; NaN of NaN.

    e^t = 2^n e^r, n the nearest whole number to t / log 2: adding 1.5 * 2^23 rounds to it.
    """
    b, lanes = k.b, k.numbers.lanes
    whole_bits = ir.VectorType(I32, lanes)
    t = b.fneg(x)
    for bound, sign in ((87.0, ">"), (-87.0, "<")):
        t = b.select(b.fcmp_ordered(sign, t, _number(k, bound)), _number(k, bound), t)
    shift = _number(k, 12582912.0)
    shifted = k.fma(t, _number(k, 1.0 / math.log(2.0)), shift)
    n = b.fsub(shifted, shift)
    r = k.fma(n, _number(k, -0.693359375), t)
    r = k.fma(n, _number(k, 2.12194440e-4), r)
    power = _number(k, 1.0 / 720.0)
    for divisor in (120.0, 24.0, 6.0, 2.0, 1.0, 1.0):
        power = k.fma(power, r, _number(k, 1.0 / divisor))
    exponent = b.shl(b.bitcast(shifted, whole_bits), ir.Constant(whole_bits, [23] * lanes))
    grown = b.bitcast(b.add(b.bitcast(power, whole_bits), exponent), k.numbers.vector)
    result = b.fdiv(_number(k, 1.0), b.fadd(_number(k, 1.0), grown))
    return b.select(b.fcmp_unordered("uno", x, x), x, result)


def _number(k: Kernel, value: float) -> ir.Constant:
    """A vector of it."""
    return ir.Constant(k.numbers.vector, [value] * k.numbers.lanes)


def philox(k: Kernel, counter: Sequence[Value], key: Sequence[Value]) -> list[Value]:
    """Philox-4x32-10 (Salmon et al. 2011): four vectors of 32 random bits from four counters and two words of key."""
    b, lanes = k.b, k.numbers.lanes
    double_width = ir.VectorType(I64, lanes)

    def product(factor: int, value: Value) -> tuple[Value, Value]:
        """Its high and its low half."""
        double_product = b.mul(b.zext(value, double_width), ir.Constant(double_width, [factor] * lanes))
        high = b.lshr(double_product, ir.Constant(double_width, [32] * lanes))
        return b.trunc(high, value.type), b.trunc(double_product, value.type)

    c, (low, high) = list(counter), key
    for _ in range(10):
        first, second = product(0xD2511F53, c[0]), product(0xCD9E8D57, c[2])
        keys = [_spread(k, word_) for word_ in (low, high)]
        c = [b.xor(b.xor(second[0], c[1]), keys[0]), second[1], b.xor(b.xor(first[0], c[3]), keys[1]), first[1]]
        low, high = (b.add(part, ir.Constant(I32, more)) for part, more in ((low, 0x9E3779B9), (high, 0xBB67AE85)))
    return c


# -- products ----------------------------------------------------------------------------------------------------------


def _copy_rows(k: Kernel) -> None:
    """x into this worker's own storage, in one go: a line that another core has written takes long to come."""
    x, v, lanes = k.numbers_at("x"), _own_rows(k), k.numbers.lanes
    end_of_vectors = k.times(k.b.udiv(k["inputs"], word(lanes)), lanes)

    def one_sample(sample: Value, _: list[Value]) -> None:
        source, target = k.times(sample, k["x_stride"]), k.times(sample, k["v_stride"])

        def vector(place: Value, _: list[Value]) -> None:
            k.store_vector(k.load_vector(x, k.add(source, place)), v, k.add(target, place))

        def number(place: Value, _: list[Value]) -> None:
            k.store(k.load(x, k.add(source, place)), v, k.add(target, place))

        k.loop(word(0), end_of_vectors, lanes, vector)
        k.loop(end_of_vectors, k["inputs"], 1, number)

    k.loop(word(0), k["batch"], 1, one_sample)


def _own_rows(k: Kernel) -> Value:
    return k.b.gep(k.numbers_at("v"), [k.times(k.worker, k["v_part"])])


def _own_part(k: Kernel, tiling: Tiling) -> None:
    """`down` with this worker's columns of W, a few rows and half a block of samples at a time."""
    left, right = own_columns(k)
    samples, line = tiling.block // 2, packed_batch(k.numbers, tiling)
    height = 4 if k.numbers.registers == MANY or samples <= 3 else 2
    own_parts = k.b.gep(k.numbers_at("parts"), [k.times(k.worker, k["parts_part"])])

    def few(row: Value, _: list[Value]) -> None:
        starts = row_starts(k, k.words_at("rows"), row, height)

        def block(sample: Value, _: list[Value]) -> None:
            block_samples = [k.add(sample, word(number)) for number in range(samples)]

            def strip(column: Value, sums: list[Value]) -> list[Value]:
                weights = [k.load_vector(*weight_at(k, start, column)) for start in starts]
                deltas = [load_row(k, "drawn", block_sample, column) for block_sample in block_samples]
                pairs = [(delta, weight) for weight in weights for delta in deltas]
                return [k.fma(*pair, total) for pair, total in zip(pairs, sums, strict=True)]

            sums = k.loop(left, right, k.numbers.lanes, strip, [k.zeros()] * (height * samples))
            places = [(number, block_sample) for number in range(height) for block_sample in block_samples]
            for (number, block_sample), total in zip(places, sums, strict=True):
                k.store(
                    k.horizontal_sum(total), own_parts, k.add(k.times(k.add(row, word(number)), line), block_sample)
                )

        k.loop(word(0), word(tiling.padded), samples, block)

    k.loop(word(0), k["inputs"], height, few)


def _add_parts(k: Kernel, tiling: Tiling, mean: Callable[[Value], Value]) -> None:
    """below = mean(sum of the workers' parts + c): each worker a share of the rows."""
    b, lanes, parts, below = k.b, k.numbers.lanes, k.numbers_at("parts"), k.numbers_at("below")

    def row(number: Value, _: list[Value]) -> None:
        first, bias = k.times(number, packed_batch(k.numbers, tiling)), k.broadcast(k.load(k.numbers_at("c"), number))
        for start in range(0, tiling.padded, lanes):
            place = k.add(first, word(start))

            def part(worker: Value, sums: list[Value], place: Value = place) -> list[Value]:
                return [b.fadd(sums[0], k.load_vector(parts, k.add(place, k.times(worker, k["parts_part"]))))]

            (total,) = k.loop(word(0), k["workers"], 1, part, [bias])
            means = mean(total)
            if start + lanes > tiling.padded:
                # What follows is the next row's, which may be another worker's.
                for lane in range(tiling.padded - start):
                    k.store(b.extract_element(means, ir.Constant(I32, lane)), below, k.add(place, word(lane)))
            else:
                k.store_vector(means, below, place)

    k.loop(*share_of(k, k["inputs"]), 1, row)


def _spread(k: Kernel, number: Value) -> Value:
    """A vector of that 32-bit number in every lane."""
    lanes = k.numbers.lanes
    vector = ir.VectorType(I32, lanes)
    first = k.b.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(I32, 0))
    return k.b.shuffle_vector(first, first, ir.Constant(vector, [0] * lanes))
