"""Rendered stereo pairs of simple bodies, a substitute for NORB's photographs where they are missing. Torch-free.

A body is six ellipsoids, seen from afar (orthographic) by two cameras a few degrees apart, under one of six lamps. A
class is a plan of the ellipsoids, a toy ("instance") a variation of it that its number fixes.

Shape suffixes: N images, K ellipsoids, H height, W width, 3 the axes: to the right, upwards, towards the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SEED = 20110411
VERGENCE = np.radians(6.0)
"""The angle between the two cameras."""
HALF_VIEW = 1.25
"""Half the side of the picture, in the units of PLANS."""
EMPTY = 5
"""The class without a body."""

_WHEELS = [(x, y) for x in (-0.42, 0.42) for y in (-0.26, 0.26)]
PLANS = np.array(
    [
        # Animal, human, plane, truck, car: centre and radii of each ellipsoid; x is forward, y sideways, z upwards.
        [(0, 0, 0.1, 0.55, 0.22, 0.25), (0.6, 0, 0.35, 0.2, 0.15, 0.18)]
        + [(x, y / 2, -0.3, 0.09, 0.09, 0.32) for x, y in _WHEELS],
        [(0, 0, 0.1, 0.15, 0.25, 0.4), (0, 0, 0.65, 0.15, 0.15, 0.18)]
        + [(0, y, z, 0.09, 0.09, 0.38) for y, z in ((-0.12, -0.5), (0.12, -0.5), (-0.32, 0.1), (0.32, 0.1))],
        [(0, 0, 0, 0.75, 0.13, 0.13), (0.05, 0, 0, 0.18, 0.8, 0.05)]
        + [(-0.6, 0, 0.05, 0.1, 0.3, 0.04), (-0.62, 0, 0.15, 0.1, 0.04, 0.2)]
        + [(0.1, y, -0.08, 0.15, 0.06, 0.06) for y in (-0.35, 0.35)],
        [(-0.2, 0, 0.1, 0.5, 0.28, 0.38), (0.5, 0, 0, 0.22, 0.26, 0.28)]
        + [(x, y, -0.33, 0.15, 0.07, 0.15) for x, y in _WHEELS],
        [(0, 0, -0.1, 0.7, 0.3, 0.18), (-0.05, 0, 0.12, 0.35, 0.25, 0.18)]
        + [(x, y, -0.22, 0.15, 0.06, 0.15) for x, y in _WHEELS],
    ],
    np.float32,
)  # fmt: skip

LAMPS = np.array(
    [(0, 0.6, 0.8), (-0.7, 0.3, 0.6), (0.7, 0.3, 0.6), (0, -0.2, 1), (-0.5, 0.8, 0.3), (0.5, 0.8, 0.3)], np.float32
)
"""The directions of the lamps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Poses:
    """The contents of N pictures: int [N] each, and the jitter float [N, 6] (zeros: none).

    Jitter: shift to the right and upwards, brightness, contrast, size, rotation; each from -1 to 1.
    """

    label: np.ndarray
    instance: np.ndarray
    elevation: np.ndarray
    """0 to 8: 30 to 70 degrees."""
    azimuth: np.ndarray
    """0, 2, ..., 34: tens of degrees."""
    lighting: np.ndarray
    jitter: np.ndarray

    def take(self, part: slice | np.ndarray) -> Poses:
        """Some of the pictures."""
        names = ("label", "instance", "elevation", "azimuth", "lighting", "jitter")
        return Poses(**{name: getattr(self, name)[part] for name in names})


def photograph(poses: Poses, size: int, clutter: bool, draw: np.random.RandomState) -> np.ndarray:
    """uint8 [N, 2, size, size]: both cameras' pictures; `draw` gives the clutter and the sensors' noise."""
    centre, shape, albedo, view_of_picture = _ellipsoids_in_view(poses)
    n = len(poses.label)
    ground = np.full((n, 4, 4), 0.25, np.float32)
    if clutter:
        assert len(view_of_picture) == len(centre), "with jitter, no two pictures show the same"
        more_centre, more_shape = _clutter(n, draw)
        centre, shape = np.concatenate([centre, more_centre], 1), np.concatenate([shape, more_shape], 1)
        ground = draw.uniform(0.1, 0.6, ground.shape).astype(np.float32)
    lamp = 0.7 * albedo[:, None] * (LAMPS / np.linalg.norm(LAMPS, axis=1, keepdims=True))[poses.lighting]
    jitter = poses.jitter.astype(np.float32)[:, :, None, None]
    pictures = np.empty((n, 2, size, size), np.uint8)
    for view, angle in enumerate((-VERGENCE / 2, VERGENCE / 2)):
        about = _about_upright(angle)
        normal = _surfaces(centre @ about.T, about @ shape @ about.T, size)
        grey = (lamp[:, None] @ normal.reshape(len(normal), 3, -1)[view_of_picture]).reshape(n, size, size)
        np.maximum(grey, 0, out=grey)
        grey += 0.3 * albedo[:, None, None]
        behind = (normal == 0).all(axis=1)[view_of_picture]
        np.copyto(grey, _ground(ground, size, 0.05 * angle / VERGENCE), where=behind)
        grey = (grey - 0.5) * (1 + 0.3 * jitter[:, 3]) + (0.5 + 0.1 * jitter[:, 2])
        noise = np.frombuffer(draw.bytes(grey.size), np.uint8).reshape(grey.shape) & 7
        pictures[:, view] = np.clip(240 * grey, 0, 248).astype(np.uint8) + noise
    return pictures


def _ellipsoids_in_view(poses: Poses) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ellipsoids as a camera between the two sees them: centres [M, K, 3], shapes [M, K, 3, 3], albedo [N], which [N].

    A point p is inside where (p - centre) @ shape @ (p - centre) < 1. M counts what differs in more than the lamp:
    picture i shows the ellipsoids `which[i]`.
    """
    columns = np.column_stack([poses.label, poses.instance, poses.elevation, poses.azimuth, poses.jitter])
    _, first_pictures, view_of_picture = np.unique(columns, axis=0, return_index=True, return_inverse=True)
    views = poses.take(first_pictures)
    centre, radii, _ = _bodies(views.label, views.instance)
    up, round_ = np.radians(30 + 5 * views.elevation), np.radians(10 * views.azimuth)
    roll = np.radians(5 * views.jitter[:, 5])
    right = np.stack([-np.sin(round_), np.cos(round_), 0 * up], -1)
    towards = np.stack([np.cos(up) * np.cos(round_), np.cos(up) * np.sin(round_), np.sin(up)], -1)
    upwards = np.cross(towards, right)
    right, upwards = (
        np.cos(roll)[:, None] * right + np.sin(roll)[:, None] * upwards,
        np.cos(roll)[:, None] * upwards - np.sin(roll)[:, None] * right,
    )
    turn = np.stack([right, upwards, towards], 1).astype(np.float32)
    size = (1 + 0.2 * views.jitter[:, 4]).astype(np.float32)[:, None, None]
    centre = centre @ turn.transpose(0, 2, 1) * size
    centre[..., :2] += 0.2 * views.jitter[:, None, :2].astype(np.float32)
    axes = turn[:, None] / (radii * size)[:, :, None, :]
    return centre, axes @ axes.transpose(0, 1, 3, 2), _bodies(poses.label, poses.instance)[2], view_of_picture.ravel()


def _bodies(label: np.ndarray, instance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres and radii [N, K, 3] and albedo [N] of each toy; where there is none the ellipsoids are out of sight."""
    draw = np.random.RandomState(SEED)
    stretch = draw.uniform(0.9, 1.1, (len(PLANS), 10, 1, 3))
    fatness = draw.uniform(0.85, 1.15, (len(PLANS), 10, PLANS.shape[1], 1))
    shade = draw.uniform(0.8, 1.0, (len(PLANS) + 1, 10))
    centre = (PLANS[:, None, :, :3] * stretch).astype(np.float32)
    radii = (PLANS[:, None, :, 3:] * stretch * fatness).astype(np.float32)
    toy = np.minimum(label, len(PLANS) - 1)
    centres = centre[toy, instance] + np.where(label == EMPTY, 100.0, 0.0)[:, None, None].astype(np.float32)
    return centres, radii[toy, instance], shade[label, instance].astype(np.float32)


def _clutter(n: int, draw: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Three small ellipsoids a picture, around the middle and behind it: centres [N, 3, 3] and shapes [N, 3, 3, 3]."""
    angle, distance = draw.uniform(0, 2 * np.pi, (n, 3)), draw.uniform(0.75, 1.2, (n, 3))
    centre = np.stack([distance * np.cos(angle), distance * np.sin(angle), np.full((n, 3), -0.5)], -1)
    shape = draw.uniform(0.12, 0.4, (n, 3, 3))[..., None] ** -2.0 * np.eye(3)
    return centre.astype(np.float32), shape.astype(np.float32)


def _about_upright(angle: float) -> np.ndarray:
    """The rotation by `angle` about the upward axis, [3, 3]."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([(c, 0, s), (0, 1, 0), (-s, 0, c)], np.float32)


def _surfaces(centre: np.ndarray, shape: np.ndarray, size: int) -> np.ndarray:
    """Unit normals float32 [M, 3, H, W] of the nearest ellipsoid's surface at every pixel; zeros where there is none.

    Along the line of sight each ellipsoid is a quadratic; its larger root is the depth of the surface.
    """
    place = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1) * HALF_VIEW
    nearest = np.full((len(centre), size, size), -np.inf, np.float32)
    normal = np.zeros((len(centre), 3, size, size), np.float32)
    for k in range(centre.shape[1]):
        c, q = centre[:, k, :, None, None], shape[:, k, :, :, None, None]
        x, y = place[None, None, :] - c[:, 0], -place[None, :, None] - c[:, 1]
        half = q[:, 0, 2] * x + q[:, 1, 2] * y
        constant = q[:, 0, 0] * x * x + 2 * q[:, 0, 1] * x * y + q[:, 1, 1] * y * y - 1
        under = half * half - q[:, 2, 2] * constant
        z = (np.sqrt(np.maximum(under, 0)) - half) / q[:, 2, 2]
        depth = np.where(under > 0, z + c[:, 2], -np.inf)
        wins = depth > nearest
        np.copyto(nearest, depth, where=wins)
        for axis in range(3):
            np.copyto(normal[:, axis], q[:, axis, 0] * x + q[:, axis, 1] * y + q[:, axis, 2] * z, where=wins)
    length = np.sqrt((normal * normal).sum(axis=1, keepdims=True))
    return normal / np.maximum(length, 1e-12)


def _ground(coarse: np.ndarray, size: int, shift: float) -> np.ndarray:
    """The coarse grey levels [N, 4, 4], interpolated to [N, size, size], shifted sideways by a share of the picture."""
    knots = coarse.shape[-1] - 1

    def weights(offset: float) -> np.ndarray:
        at = np.clip((np.arange(size) + 0.5) / size + offset, 0, 1) * knots
        return np.maximum(1 - np.abs(at[:, None] - np.arange(knots + 1)), 0).astype(np.float32)

    return weights(0.0) @ coarse @ weights(shift).T
