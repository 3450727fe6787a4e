"""The perturbation pipeline of NISTP: slant, thickness, affine, local elastic, pinch, with random parameters.

Image k of a stream depends on the stream and on k alone: its random numbers are words 20k to 20k + 19 of a
counter-based generator (Philox), so blocks may be of any size and come in any order.

As in the generator code of 2010 (IFT6266, option -t 1, -m 0.7):
- the complexity of every module is drawn anew for every image, from U[0, 0.7];
- 51 displacement fields a tenth of complexity serve a file of 819,200 images.
Otherwise than in that code, a module's random numbers do not depend on the modules before it.

Pinch is part of NISTP as its authors describe it, and of this pipeline. In the stored version of their code the counter
is raised before it is compared, so that the fifth module works on a copy that is thrown away: whether the published
NISTP is pinched depends on the version that made it.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relubench.data.perturbations import distortions
from relubench.data.perturbations.distortions import SIDE, Images, Reals

PIPELINE_VERSION = 1
"""Part of every digest: raise it when the same images would come out otherwise."""
MAX_COMPLEXITY = 0.7
BLOCK = 128
"""Images at a time, as many as fit into a processor's second-level cache."""
FILE = 819_200
"""Images of one file of the original code, which share their displacement fields."""
FIELDS = 51
"""Displacement fields for each tenth of complexity."""
ERODERS, DILATERS = 5, 9
"""The numbers of structuring elements that complexity 1 can take."""
WORDS = 20
"""Random numbers of one image; a multiple of the 4 that Philox gives for each counter."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A sequence of perturbations: one for each name and seed."""

    name: str
    seed: int

    def words(self, role: str, first_number: int, count: int) -> NDArray[np.uint64]:
        """`count` random words of a role from number `first_number` on, a multiple of 4."""
        key = hashlib.sha256(f"nistp {role} {self.name} {self.seed}".encode()).digest()[:16]
        generator = np.random.Philox(key=int.from_bytes(key, "little"), counter=first_number // 4)
        return np.asarray(generator.random_raw(count))


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of the distortions of N images."""

    slope: Reals
    """Of the slant, in pixels a row."""
    operator: NDArray[np.intp]
    """Of the thickness: 1 dilation, -1 erosion, 0 neither."""
    element: NDArray[np.intp]
    coefficients: Reals
    """Of the affine map, [N, 6]."""
    tenths: NDArray[np.intp]
    """Of the elastic displacement."""
    field: NDArray[np.intp]
    pinch: Reals


def perturb(images: Images, stream: Stream, first_number: int = 0, *, max_complexity: float = MAX_COMPLEXITY) -> Images:
    """Images first_number, first_number + 1, ... of the stream, made of the originals uint8 [N, 32, 32]."""
    out = np.empty_like(images)
    start = 0
    while start < len(images):
        # No block reaches into another file: one bank of fields serves all of it.
        stop = min(start + BLOCK, start + FILE - (first_number + start) % FILE, len(images))
        out[start:stop] = _perturb_block(images[start:stop], stream, first_number + start, max_complexity)
        start = stop
    return out


def _perturb_block(images: Images, stream: Stream, first_number: int, max_complexity: float) -> Images:
    parameters = draw(stream, first_number, len(images), max_complexity)
    images = distortions.slant(images, parameters.slope)
    images = distortions.thicken(images, parameters.operator, parameters.element)
    images = distortions.affine(images, parameters.coefficients)
    images = distortions.displace(images, _bank(stream, first_number // FILE)[parameters.tenths, parameters.field])
    return distortions.pinch(images, parameters.pinch)


def draw(stream: Stream, first_number: int, count: int, max_complexity: float = MAX_COMPLEXITY) -> Parameters:
    """The parameters of images first to first + count - 1, as the modules' regenerate_parameters draw them.

    With c a module's complexity and u uniform in [-1/2, 1/2]: slope +-U[0, c]; with e = ceil(5c) and d = ceil(9c) an
    erosion with probability e / (d + e + 1), a dilation with d / (d + e + 1), by one of the first e or d elements;
    affine a, e = 1 + 0.8cu, b, d = 0.8cu, c, f = 9cu; tenths = floor(10c); pinch U[-c, 0.7c].
    """
    words = stream.words("parameters", first_number * WORDS, count * WORDS).reshape(count, WORDS)
    uniform = (words >> np.uint64(11)) * 2.0**-53
    c_slant, c_thick, c_affine, c_elastic, c_pinch = max_complexity * uniform[:, :5].T
    angle, sign, choice, element, field, squeeze = uniform[:, 5:11].T
    eroders, dilaters = np.ceil(ERODERS * c_thick), np.ceil(DILATERS * c_thick)
    total = dilaters + eroders + 1
    operator = np.where(choice >= 1 - dilaters / total, 1, np.where(choice >= 1 / total, -1, 0))
    reach = np.choose(operator + 1, (eroders, np.zeros(count), dilaters))
    ranges = np.array((0.8, 0.8, 9.0) * 2) * c_affine[:, None]
    return Parameters(
        slope=angle * c_slant * np.where(sign < 0.5, -1, 1),
        operator=operator.astype(np.intp),
        element=(element * reach).astype(np.intp),
        coefficients=np.array((1, 0, 0, 0, 1, 0)) + ranges * (uniform[:, 11:17] - 0.5),
        tenths=np.minimum((c_elastic * distortions.TENTHS).astype(np.intp), distortions.TENTHS - 1),
        field=(field * FIELDS).astype(np.intp),
        pinch=c_pinch * (1.7 * squeeze - 1),
    )


@functools.lru_cache(maxsize=4)
def _bank(stream: Stream, file: int) -> distortions.Coordinates:
    """The displacement fields [tenth, FIELDS, 2, 32, 32] of one file's images; those of tenth 0 move nothing."""
    bank = np.zeros((distortions.TENTHS, FIELDS, 2, SIDE, SIDE), np.float32)
    for tenths in range(1, distortions.TENTHS):
        side = distortions.noise_side(tenths)
        count = FIELDS * 2 * side * side
        words = stream.words(f"field {file} {tenths}", 0, count)
        noise = ((words >> np.uint64(40)) * np.float32(2.0**-23) - 1).astype(np.float32)
        bank[tenths] = distortions.elastic_fields(noise.reshape(FIELDS, 2, side, side), tenths)
    return bank
