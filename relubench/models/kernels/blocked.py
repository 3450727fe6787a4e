"""The passes for batches of several blocks of samples: rows of W in groups, products in registers.

Now the arithmetic is what a step costs, and what counts is how often a number is loaded for a product. All three
products are made of one tile, the same few numbers times the same few vectors, summed over inputs, outputs or samples
in registers; what they are summed over is cut so that it stays in the first cache while the tiles change. A group of
rows stays in the second cache from the gradient of its inputs to its update.

The gradient below sums over outputs, which lie along a row. So delta is turned once, and a piece of a group after the
other.

Shapes, beside those of relubench.models.kernels.dense: turned [C, T], delta by columns, T = B padded to whole vectors;
packed [workers, I, T]; turned_w [workers, PIECE, R], R the rows of W that are turned at once.
"""

from __future__ import annotations

from relubench.models.kernels import panels, sparse
from relubench.models.kernels.emit import I64, LINE, Kernel, Value, VectorType, word
from relubench.models.kernels.layout import (
    TILE,
    Tiling,
    in_strips,
    listed_rows,
    load_row,
    nonzero_rows,
    own_columns,
    own_sum,
    packed_batch,
    rate_of,
    row_starts,
    turn_rows,
    weight_at,
    width_for,
)
from relubench.models.kernels.masks import keep_masks_of_rows, mostly_zeros

GROUP = 48
"""Rows of W in a group, about."""
PIECE = 128
"""Columns of W that are turned at once."""


def turned_rows(numbers: VectorType, tiling: Tiling) -> int:
    """R: rows of W that are turned at once, a strip of the gradient below."""
    return width_for(numbers, tiling.block) * numbers.lanes


def products(k: Kernel, tiling: Tiling) -> None:
    """sums += x W in this worker's columns, by whichever way suits the zeros in x."""
    thin = mostly_zeros(k, tiling, lambda sample: _sample(k, "x", sample), word(0), k["inputs"])
    k.store_word(k.b.zext(thin, I64), *_thin_inputs(k))
    with k.b.if_else(thin) as (then, otherwise):
        with then:
            sparse.add_products(k, tiling, lambda sample: _sample(k, "x", sample))
        with otherwise:
            listed_products(k, tiling)


def _sample(k: Kernel, name: str, sample: Value) -> Value:
    """Where a sample of x or delta begins."""
    return k.b.gep(k.numbers_at(name), [k.times(sample, k["x_stride" if name == "x" else "stride"])])


def _thin_inputs(k: Kernel) -> tuple[Value, Value]:
    """Where it stands whether the zeros of x are left out one by one."""
    return k.words_at("counts"), k.add(k.times(k.worker, LINE), word(1))


def listed_products(k: Kernel, tiling: Tiling) -> None:
    """sums += x W over the listed rows, in this worker's columns."""
    if tiling.panels:
        panels.listed_products(k, tiling)
        return
    (rows, packed), samples = nonzero_rows(k, tiling), packed_batch(k.numbers, tiling)
    height = _group(k, tiling)

    def group(first: Value, _: list[Value]) -> None:
        last = k.least(k.add(first, word(height)), listed_rows(k))

        def strip(column: Value, vectors: int) -> None:
            columns = [k.add(column, word(number * k.numbers.lanes)) for number in range(vectors)]

            def block(sample: Value, _: list[Value]) -> None:
                samples_of_block = [k.add(sample, word(number)) for number in range(tiling.block)]
                sum_places = [own_sum(k, own_sample, col) for own_sample in samples_of_block for col in columns]

                def tile(place: Value, sums: list[Value]) -> list[Value]:
                    values = k.b.gep(packed, [k.add(k.times(place, samples), sample)])
                    for row, start in enumerate(row_starts(k, rows, place, TILE)):
                        weights = [k.load_vector(*weight_at(k, start, col)) for col in columns]
                        xs = (k.load(values, word(row * samples + number)) for number in range(tiling.block))
                        sums = k.products(xs, weights, sums)
                    return sums

                _store(k, sum_places, k.loop(first, last, TILE, tile, [k.load_vector(*where) for where in sum_places]))

            k.loop(word(0), word(tiling.padded), tiling.block, block)

        in_strips(k, *own_columns(k), width_for(k.numbers, tiling.block), strip)

    k.loop(word(0), listed_rows(k), height, group)


def backward(k: Kernel, tiling: Tiling, first: bool, by_zeros: bool) -> None:
    """below = delta W^T (unless first) and W += rate x^T delta, in this worker's columns.

    `by_zeros`: whether zeros may be left out one by one.
    """
    thin, thin_inputs = (None if first else _thin_delta(k, tiling)), k.load_word(*_thin_inputs(k))
    height = (
        word(_group(k, tiling)) if thin is None else k.b.select(thin, word(_tall(k, tiling)), word(_group(k, tiling)))
    )
    if thin is not None:
        with k.b.if_then(k.b.not_(thin)):
            _turn_delta(k, tiling)

    if tiling.panels:
        _copy_delta(k, tiling, thin_inputs)

    def group(start: Value, _: list[Value]) -> None:
        last = k.least(k.add(start, height), listed_rows(k))
        if thin is not None:
            with k.b.if_else(thin) as (then, otherwise):
                with then:
                    sparse.gradients_below(k, tiling, start)
                with otherwise:
                    k.loop(start, last, turned_rows(k.numbers, tiling), lambda row, _: _gradients_below(k, tiling, row))
        if not by_zeros:
            _update_rows(k, tiling, start, last)
            return
        with k.b.if_else(k.b.icmp_signed("==", thin_inputs, word(1))) as (then, otherwise):
            with then:
                sparse.update_rows(k, tiling, start, last)
            with otherwise:
                _update_rows(k, tiling, start, last)

    k.loop(word(0), listed_rows(k), height, group)
    if thin is not None:
        _nothing_below(k, tiling)


def _copy_delta(k: Kernel, tiling: Tiling, thin_inputs: Value) -> None:
    """Panels of delta, as wide as the strips that the update goes by."""
    with k.b.if_else(k.b.icmp_signed("==", thin_inputs, word(1))) as (then, otherwise):
        with then:
            keep_masks_of_rows(k, tiling)
            panels.copy_delta(k, tiling, lambda strip: sparse.in_strips(k, tiling, strip))
        with otherwise:
            panels.copy_delta(k, tiling, lambda strip: panels.in_own_strips(k, tiling, strip))


def _thin_delta(k: Kernel, tiling: Tiling) -> Value:
    """Whether the zeros of this worker's columns of delta are left out one by one."""
    thin = mostly_zeros(k, tiling, lambda sample: _sample(k, "delta", sample), *own_columns(k))
    return k.b.and_(thin, k.b.icmp_signed(">=", k["inputs"], word(_tall(k, tiling))))


def _tall(k: Kernel, tiling: Tiling) -> int:
    """Rows of W that are turned at once where zeros are left out."""
    return tiling.tall * k.numbers.lanes


def _nothing_below(k: Kernel, tiling: Tiling) -> None:
    """A worker without columns has a part of the gradient below all the same, which would keep the step before's."""
    left, right = own_columns(k)
    size = k.b.select(k.b.icmp_signed("<", left, right), word(0), k.times(k["below_stride"], tiling.padded))
    part = k.times(k.worker, k["below_part"])
    lanes = k.numbers.lanes

    def nothing(place: Value, _: list[Value]) -> None:
        k.store_vector(k.zeros(), k.numbers_at("below"), k.add(part, place))

    k.loop(word(0), size, lanes, nothing)


def _turn_delta(k: Kernel, tiling: Tiling) -> None:
    """This worker's columns of delta, as rows."""
    if tiling.panels:
        panels.turn_delta(k, tiling)
        return
    samples, lanes, turned = packed_batch(k.numbers, tiling), k.numbers.lanes, k.numbers_at("turned")

    def column(place: Value, _: list[Value]) -> None:
        def square(sample: Value, _: list[Value]) -> None:
            rows = [load_row(k, "delta", k.add(sample, word(lane)), place) for lane in range(lanes)]
            for lane, vector in enumerate(k.transposed(rows)):
                k.store_vector(vector, turned, k.add(k.times(k.add(place, word(lane)), samples), sample))

        k.loop(word(0), word(samples), lanes, square)

    k.loop(*own_columns(k), lanes, column)


def _gradients_below(k: Kernel, tiling: Tiling, row: Value) -> None:
    """below[all, R rows] = delta W[R rows]^T in this worker's columns: a piece is turned, then all blocks meet it."""
    (left, right), height, samples = own_columns(k), turned_rows(k.numbers, tiling), packed_batch(k.numbers, tiling)
    below, turned = k.numbers_at("below"), k.numbers_at("turned")
    transposed_rows = k.b.gep(k.numbers_at("turned_w"), [k.times(k.worker, k["turned_part"])])
    part = k.add(k.times(k.worker, k["below_part"]), row)
    strips = [word(number) for number in range(0, height, k.numbers.lanes)]

    def piece(start: Value, _: list[Value]) -> None:
        last = k.least(k.add(start, word(PIECE)), right)
        begins = k.b.icmp_signed("==", start, left)
        turn_rows(k, row, start, last, len(strips), transposed_rows)

        def block(sample: Value, _: list[Value]) -> None:
            at = [
                k.add(part, k.times(k.add(sample, word(number)), k["below_stride"])) for number in range(tiling.block)
            ]
            below_places = [(below, k.add(line_start, strip)) for line_start in at for strip in strips]
            if tiling.panels:
                panels.add_gradients(k, tiling, (start, last), sample, below_places)
                return

            def column(place: Value, sums: list[Value]) -> list[Value]:
                line = k.times(k.b.sub(place, start), height)
                weights = [k.load_vector(transposed_rows, k.add(line, strip)) for strip in strips]
                deltas = k.b.gep(turned, [k.add(k.times(place, samples), sample)])
                return k.products((k.load(deltas, word(number)) for number in range(tiling.block)), weights, sums)

            before = [k.b.select(begins, k.zeros(), k.load_vector(*where)) for where in below_places]
            _store(k, below_places, k.loop(start, last, 1, column, before))

        k.loop(word(0), word(tiling.padded), tiling.block, block)

    k.loop(left, right, PIECE, piece)


def _update_rows(k: Kernel, tiling: Tiling, start: Value, last: Value) -> None:
    """W[start : last] += rate x[all, start : last]^T delta, the sums over the samples in registers."""
    if tiling.panels:
        panels.update_rows(k, tiling, start, last)
        return
    (rows, packed), samples, rate = nonzero_rows(k, tiling), packed_batch(k.numbers, tiling), rate_of(k)

    def strip(column: Value, vectors: int) -> None:
        columns = [k.add(column, word(number * k.numbers.lanes)) for number in range(vectors)]

        def tile(place: Value, _: list[Value]) -> None:
            values = k.b.gep(packed, [k.times(place, samples)])

            def one_sample(sample: Value, sums: list[Value]) -> list[Value]:
                inputs = k.b.gep(values, [sample])
                xs = (k.load(inputs, word(row * samples)) for row in range(TILE))
                return k.products(xs, [load_row(k, "delta", sample, col) for col in columns], sums)

            sums = k.loop(word(0), word(tiling.padded), 1, one_sample, [k.zeros()] * (TILE * vectors))
            row_begins = row_starts(k, rows, place, TILE)
            weights = [weight_at(k, row_begin, col) for row_begin in row_begins for col in columns]
            updated = [k.fma(rate, total, k.load_vector(*at)) for total, at in zip(sums, weights, strict=True)]
            _store(k, weights, updated)

        k.loop(start, last, TILE, tile)

    in_strips(k, *own_columns(k), width_for(k.numbers, TILE), strip)


def _group(k: Kernel, tiling: Tiling) -> int:
    """Rows in a group: whole tiles, and as often as R fits in."""
    height = turned_rows(k.numbers, tiling)
    return height * max(1, GROUP // height)


def _store(k: Kernel, wheres: list[tuple[Value, Value]], vectors: list[Value]) -> None:
    for where, vector in zip(wheres, vectors, strict=True):
        k.store_vector(vector, *where)
