"""Packing: the inputs of a batch in the order in which the products read them, and the list of their rows.

Shapes: as in relubench.models.kernels.dense and relubench.models.kernels.blocked.
"""

from __future__ import annotations

from llvmlite import ir

from relubench.models.kernels.emit import I32, I64, Kernel, Value, word
from relubench.models.kernels.layout import Tiling, end_of_list, nonzero_rows, packed_batch
from relubench.models.kernels.panels import store_by_blocks


def pack_block(k: Kernel, tiling: Tiling) -> None:
    """The inputs as packed [listed inputs, B], and the list of their rows; padded with the unused row."""
    b, rows, packed = k.b, *nonzero_rows(k, tiling)
    x, batch = k.numbers_at("x"), k["batch"]
    dense = b.icmp_signed("==", k["skip"], word(0))

    def one_input(place: Value, carried: list[Value]) -> list[Value]:
        at = k.times(carried[0], tiling.padded)

        def samples(sample: Value, nonzero: list[Value]) -> list[Value]:
            any_nonzero = nonzero[0]
            for number in range(tiling.block):
                # Beyond the batch the last sample is repeated: its delta there is zero.
                padded_sample = k.add(sample, word(number))
                last = b.sub(batch, word(1))
                clamped = b.select(b.icmp_signed("<", padded_sample, last), padded_sample, last)
                value = k.load(x, k.add(k.times(clamped, k["x_stride"]), place))
                k.store(value, packed, k.add(at, padded_sample))
                any_nonzero = b.or_(any_nonzero, b.fcmp_unordered("!=", value, ir.Constant(k.numbers.scalar, 0.0)))
            return [any_nonzero]

        (any_nonzero,) = k.loop(word(0), word(tiling.padded), tiling.block, samples, [dense])
        k.store_word(place, rows, carried[0])
        return [k.add(carried[0], b.zext(any_nonzero, I64))]

    (count,) = k.loop(word(0), k["inputs"], 1, one_input, [word(0)])
    end_of_list(k, tiling, count)


def pack_blocks(k: Kernel, tiling: Tiling) -> None:
    """The inputs as packed [listed inputs, T], and the list of their rows; padded with the unused row.

    Square after square is turned. What is not listed is overwritten by the next row.
    """
    lanes, samples, (rows, packed) = k.numbers.lanes, packed_batch(k.numbers, tiling), nonzero_rows(k, tiling)

    def columns(column: Value, carried: list[Value]) -> list[Value]:
        nonzero = _somewhere(k, column)
        places = [carried[0]]
        for lane in range(lanes):
            inside = k.b.icmp_signed("<", k.add(column, word(lane)), k["inputs"])
            k.store_word(k.add(column, word(lane)), rows, places[-1])
            places.append(k.add(places[-1], k.b.zext(k.b.and_(inside, nonzero[lane]), I64)))

        def square(sample: Value, _: list[Value]) -> None:
            vectors = [_samples_inputs(k, k.add(sample, word(lane)), column) for lane in range(lanes)]
            for place, vector in zip(places, k.transposed(vectors), strict=False):
                if tiling.panels:
                    store_by_blocks(k, tiling, vector, (packed, k["segment"]), place, sample)
                else:
                    k.store_vector(vector, packed, k.add(k.times(place, samples), sample))

        k.loop(word(0), word(samples), lanes, square)
        return [places[-1]]

    (count,) = k.loop(word(0), k["inputs"], lanes, columns, [word(0)])
    end_of_list(k, tiling, count)


def _somewhere(k: Kernel, column: Value) -> list[Value]:
    """Of the inputs of a vector, which are listed: all, or those that are not zero in the whole batch."""
    dense = k.b.icmp_signed("==", k["skip"], word(0))

    def sample(place: Value, nonzero: list[Value]) -> list[Value]:
        return [k.b.or_(nonzero[0], k.b.fcmp_unordered("!=", _samples_inputs(k, place, column), k.zeros()))]

    none = ir.Constant(ir.VectorType(ir.IntType(1), k.numbers.lanes), [0] * k.numbers.lanes)
    looked_at = k.b.select(dense, word(0), k["batch"])
    (nonzero,) = k.loop(word(0), looked_at, 1, sample, [none])
    return [k.b.or_(dense, k.b.extract_element(nonzero, ir.Constant(I32, lane))) for lane in range(k.numbers.lanes)]


def _samples_inputs(k: Kernel, sample: Value, column: Value) -> Value:
    """A vector of x; beyond the batch its last sample's, whose delta there is zero."""
    clamped = k.least(sample, k.b.sub(k["batch"], word(1)))
    row = k.b.gep(k.numbers_at("x"), [k.times(clamped, k["x_stride"])])
    return k.load_part(row, column, k["inputs"])
