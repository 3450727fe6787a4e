"""The five geometric distortions of NISTP on images uint8 [N, 32, 32] (ink bright, ground 0), each a pure function.

    N images, Y rows, X columns; coordinates in pixels, (0, 0) is the centre of the first pixel

Source of every formula: the generator code of Glorot and colleagues (IFT6266, 2010: slant.py, thick.py,
affine_transform.py, local_elastic_distortions.py, gimp_script.py), where it differs from their report (Bastien et al.
2010, arXiv:1009.3589). It keeps pixels as 8 bits between the modules by cutting off the fraction; so does this.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE = 32
Images = NDArray[np.uint8]
Reals = NDArray[np.float64]
Coordinates = NDArray[np.float32]

EDGE = 2
"""Zeros around an image, so that a pixel read outside of it is 0 without a test."""
ELEMENTS = tuple(
    np.array([[int(digit) for digit in row] for row in text.split("/")], dtype=bool)
    for text in (
        "11",
        "1/1",
        "11/11",
        "010/111/010",
        "111/111",
        "11/11/11",
        "111/111/111",
        "1111/1111/1111",
        "111/111/111/111",
        "00100/01110/11111/01110/00100",
        "1111/1111",
        "11/11/11/11",
    )
)
"""thick.py's structuring elements; an erosion takes one of the first five, a dilation one of the first nine."""
TENTHS = 10
CENTRE, RADIUS = (SIDE - 1) / 2, SIDE / 2
ROUNDING = np.float32(2**-10)
"""Added before a fraction is cut off, since weights in 32 bits sum to one only nearly."""


def slant(images: Images, slope_N: Reals) -> Images:
    """Row y moved right by round(slope y), cyclically, then every row left by round(slope 32 / 2).

    Positive slopes move the lower rows right. Rows wrap around: that is the original's.
    """
    shift_NY = np.rint(slope_N[:, None] * np.arange(SIDE)) - np.rint(slope_N * SIDE / 2)[:, None]
    column = np.arange(SIDE) - shift_NY.astype(np.intp)[:, :, None]
    row = np.arange(len(images) * SIDE, dtype=np.intp).reshape(-1, SIDE, 1)
    return images.reshape(-1).take(row * SIDE + column % SIDE)


def thicken(images: Images, operator_N: NDArray[np.intp], element_N: NDArray[np.intp]) -> Images:
    """Grey dilation (operator 1) or erosion (-1) by ELEMENTS[element], then stretched to (0, the old maximum).

    Operator 0 changes nothing. Beyond the edge the image goes on mirrored (scipy's `reflect`). An image that an erosion
    leaves flat stays as it was: the original divides 0 by 0 there.
    """
    out = images.copy()
    for operator, extreme in ((1, np.maximum), (-1, np.minimum)):
        for element in np.unique(element_N[operator_N == operator]):
            indices = np.flatnonzero((operator_N == operator) & (element_N == element))
            out[indices] = _morph(images[indices], ELEMENTS[element], operator, extreme)
    return out


def _morph(images: Images, element: NDArray[np.bool_], operator: int, extreme: np.ufunc) -> Images:
    height, width = element.shape
    # scipy's centre of an even element lies behind the middle for an erosion, before it for a dilation.
    top, left = (height // 2, width // 2) if operator < 0 else ((height - 1) // 2, (width - 1) // 2)
    padded = np.pad(images, ((0, 0), (top, height - 1 - top), (left, width - 1 - left)), mode="symmetric")
    # Dilation reflects the element; all of them are symmetric about their middle.
    views = [padded[:, y : y + SIDE, x : x + SIDE] for y, x in np.argwhere(element)]
    result = views[0].copy()
    for view in views[1:]:
        extreme(result, view, out=result)
    lowest, highest = (limit(result, axis=(1, 2), keepdims=True) for limit in (np.min, np.max))
    span = highest - lowest
    stretched = (result - lowest) * images.max(axis=(1, 2), keepdims=True).astype(np.uint16)
    # In whole numbers: the fraction is cut off exactly.
    stretched //= np.maximum(span, 1)
    return np.where(span > 0, stretched, images).astype(np.uint8)


def affine(images: Images, coefficients: Reals) -> Images:
    """out(x, y) = in(a x + b y + c, d x + e y + f) by the nearest pixel, 0 outside; coefficients [N, 6] = a to f.

    x and y are measured from the image's upper left corner to pixel centres, as Pillow's AFFINE does; so a and e move
    the image as well as scaling it. The direction is from the new image to the old one.
    """
    a, b, c, d, e, f = coefficients.T[:, :, None, None]
    x, y = np.arange(SIDE)[None, None, :] + 0.5, np.arange(SIDE)[None, :, None] + 0.5
    from_x, from_y = (a * x + c) + b * y, d * x + (e * y + f)
    return _frame(images).take(_cells(from_x, from_y))


def displace(images: Images, field: Coordinates) -> Images:
    """out(x, y) = in(x + field[0], y + field[1]), bilinear, 0 outside; field [N, 2, 32, 32] in pixels."""
    x, y = np.arange(SIDE, dtype=np.float32), np.arange(SIDE, dtype=np.float32)[:, None]
    return _bilinear(images, field[:, 0] + x, field[:, 1] + y)


def elastic_fields(noise: Coordinates, tenths: int) -> Coordinates:
    """Displacements [N, 2, 32, 32] in pixels of complexity tenths / 10, from noise [N, 2, M, M] uniform in [-1, 1].

    With s = complexity^(1/3), alpha = 10 s and sigma = 10 - 7 s: alpha times the noise folded with the normalised
    exp(-((x - w/2) / sigma)^2 - ((y - w/2) / sigma)^2) of w = 1.5 sigma pixels a side (Simard et al. 2003). M must be
    at least `noise_side(tenths)`. Like the original it is cut from the last corner of the folded noise, beyond which
    it is zero: displacements become smaller to the right and below.
    """
    strength = (tenths / TENTHS) ** (1 / 3)
    fold = _folding_matrix(10 - 7 * strength)
    window = noise[:, :, : fold.shape[1], : fold.shape[1]]
    # In 64 bits, then rounded: a product's last bit depends on the machine, and pixels should not.
    return (10 * strength * (fold @ window.astype(np.float64) @ fold.T)).astype(np.float32)


def noise_side(tenths: int) -> int:
    """Rows and columns of noise that `elastic_fields` reads."""
    return _folding_matrix(10 - 7 * (tenths / TENTHS) ** (1 / 3)).shape[1]


def _folding_matrix(sigma: float) -> Reals:
    """[32, M]: the convolution and the crop along one axis; the kernel is a product of one factor for each axis."""
    width = 1.5 * sigma
    kernel = np.exp(-np.square((np.arange(0, width) - width / 2) / sigma))
    kernel /= kernel.sum()
    size = len(kernel)
    # scipy's mode 'same' starts (size - 1) // 2 into the full result; the first noise row read gets number 0.
    ahead = (size - 1) // 2
    rows = SIDE + size - 1 - ahead
    fold = np.zeros((SIDE, rows))
    for y in range(SIDE):
        for k in range(size):
            if (row := y + size - 1 - k) < rows:
                fold[y, row] = kernel[k]
    return fold


def pinch(images: Images, amount_N: Reals) -> Images:
    """GIMP's whirl-pinch without whirl: within r = 16 of the middle, distance d is read from sin(pi d / 2r)^-amount d.

    Positive amounts draw the image in towards the middle, negative ones push it out. Bilinear, 0 outside.
    """
    x, y = np.arange(SIDE) - CENTRE, (np.arange(SIDE) - CENTRE)[:, None]
    distance = np.hypot(x, y)
    inside = distance < RADIUS
    logarithm = np.zeros((SIDE, SIDE))
    logarithm[inside] = np.log(np.sin(np.pi / 2 * distance[inside] / RADIUS))
    # In 64 bits, then rounded: processors differ in the last bit of exp, and pixels should not.
    factor = np.exp(-amount_N[:, None, None] * logarithm)
    from_x, from_y = (np.asarray(factor * coordinate + CENTRE, np.float32) for coordinate in (x, y))
    return _bilinear(images, from_x, from_y)


def _frame(images: Images) -> Images:
    """The images with EDGE zeros on every side."""
    framed = np.zeros((len(images), SIDE + 2 * EDGE, SIDE + 2 * EDGE), np.uint8)
    framed[:, EDGE:-EDGE, EDGE:-EDGE] = images
    return framed


def _cells(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.intp]:
    """Where in the framed images the pixels (floor x, floor y) lie; what is outside lands in the frame."""
    side = SIDE + 2 * EDGE
    column, row = (np.floor(np.clip(coordinate, -EDGE, SIDE)).astype(np.intp) for coordinate in (x, y))
    offset = np.arange(len(x), dtype=np.intp)[:, None, None] * side**2 + (side + 1) * EDGE
    return offset + row * side + column


def _bilinear(images: Images, x: Coordinates, y: Coordinates) -> Images:
    """The images read at (x, y) [N, 32, 32] between their four neighbours, the fraction cut off."""
    x, y = np.clip(x, -EDGE, SIDE), np.clip(y, -EDGE, SIDE)
    cell, right, below = _cells(x, y), 1, SIDE + 2 * EDGE
    across, down = x - np.floor(x), y - np.floor(y)
    framed = _frame(images).astype(np.float32).reshape(-1)
    upper, lower = framed.take(cell), framed.take(cell + below)
    upper += across * (framed.take(cell + right) - upper)
    lower += across * (framed.take(cell + (below + right)) - lower)
    upper += down * (lower - upper)
    return (upper + ROUNDING).astype(np.uint8)
