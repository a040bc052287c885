"""Numba kernels of the camera: motion blur, vignetting, tone curve and noise."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.arrays import Float32Array, Float64Array, UInt8Array
from pipelines.synth.rendering.kernels.compiling import pixel_kernel

SHARP = 0.02
"""Pixels of motion without blur."""
SHORT = 1.0
"""Pixels of motion for which three samples are enough; longer ones get five."""


class FilmSettings(NamedTuple):
    """Width and height of the picture, exposure, share of the light lost in the corners, standard deviation of the noise in
    dark parts, and the number that makes each frame's noise different."""

    width: int
    height: int
    exposure: float
    vignetting: float
    noise: float
    key: int


class Curves(NamedTuple):
    """Display value (N,) by the square root of light from 0 to 4; (2^n,) quantiles of the normal distribution."""

    tone: NDArray[np.float32]
    normal: NDArray[np.float32]


@pixel_kernel
def image_motion(
    first: int,
    last: int,
    directions: Float64Array,
    depth: Float32Array,
    T: Float64Array,
    focal: Float64Array,
    out: Float32Array,
) -> None:
    """Fill out (K, 2) with how far (pixels) points at depths (K,) along camera directions (K, 3) move in the image of a camera
    that stands at T (3, 4), transform from this camera to that one; focal (2,) in pixels."""
    for k in range(first, last):
        z = depth[k]
        x, y = z * directions[k, 0], z * directions[k, 1]
        c = T[2, 0] * x + T[2, 1] * y + T[2, 2] * z + T[2, 3]
        if z > 0.0 and c > 1e-3:
            out[k, 0] = focal[0] * ((T[0, 0] * x + T[0, 1] * y + T[0, 2] * z + T[0, 3]) / c - directions[k, 0])
            out[k, 1] = focal[1] * ((T[1, 0] * x + T[1, 1] * y + T[1, 2] * z + T[1, 3]) / c - directions[k, 1])


@pixel_kernel
def blur_along(first: int, last: int, linear: Float32Array, flow: Float32Array, out: Float32Array) -> None:
    """Fill rows of out (H, W, 3) with the mean of the picture along the motion (H, W, 2) of each pixel, from half of it
    before to half of it after; borders are repeated."""
    height, width = linear.shape[0], linear.shape[1]
    for v in range(first, last):
        for u in range(width):
            du, dv = float(flow[v, u, 0]), float(flow[v, u, 1])
            length = max(abs(du), abs(dv))
            r, g, b = float(linear[v, u, 0]), float(linear[v, u, 1]), float(linear[v, u, 2])
            reach = 0 if length < SHARP else (1 if length < SHORT else 2)
            for n in range(1, reach + 1):
                for side in range(-1, 2, 2):
                    share = side * n / (2.0 * reach)
                    x = min(width - 1.0, max(0.0, u + share * du))
                    y = min(height - 1.0, max(0.0, v + share * dv))
                    j, i = min(int(x), width - 2), min(int(y), height - 2)
                    x, y = x - j, y - i
                    p, q = (1 - x) * (1 - y), x * (1 - y)
                    s, t = (1 - x) * y, x * y
                    r += p * linear[i, j, 0] + q * linear[i, j + 1, 0]
                    r += s * linear[i + 1, j, 0] + t * linear[i + 1, j + 1, 0]
                    g += p * linear[i, j, 1] + q * linear[i, j + 1, 1]
                    g += s * linear[i + 1, j, 1] + t * linear[i + 1, j + 1, 1]
                    b += p * linear[i, j, 2] + q * linear[i, j + 1, 2]
                    b += s * linear[i + 1, j, 2] + t * linear[i + 1, j + 1, 2]
            scale = 1.0 / (2 * reach + 1)
            out[v, u, 0], out[v, u, 1], out[v, u, 2] = scale * r, scale * g, scale * b


@pixel_kernel
def expose(
    first: int, last: int, linear: Float32Array, settings: FilmSettings, curves: Curves, out: UInt8Array
) -> None:
    """Fill rows of out (H, W, 3) uint8 with the picture of linear light.

    The noise is hashed from pixel and key (splitmix64's finaliser) and decreases towards bright parts.
    """
    width, height, key = settings.width, settings.height, settings.key
    exposure, vignetting, noise = settings.exposure, settings.vignetting, settings.noise
    end, bits = len(curves.tone) - 1, len(curves.normal) - 1
    for i in range(first, last):
        for j in range(width):
            x, y = 2.0 * j / max(1, width - 1) - 1.0, 2.0 * i / max(1, height - 1) - 1.0
            off = 0.5 * (x * x + y * y)
            factor = exposure * (1.0 - vignetting * off * off)
            h = (np.uint64(i * width + j) + np.uint64(key)) * np.uint64(0x9E3779B97F4A7C15)
            h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            h = h ^ (h >> np.uint64(31))
            for c in range(3):
                root = math.sqrt(max(0.0, linear[i, j, c] * factor)) * (0.25 * end)
                value = curves.tone[min(end, int(root + 0.5))]
                grain = curves.normal[int((h >> np.uint64(20 * c)) & np.uint64(bits))]
                value += noise * grain * (1.2 - value * (0.8 / 255))
                out[i, j, c] = int(min(255.0, max(0.0, value)) + 0.5)
