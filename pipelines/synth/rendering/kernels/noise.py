"""Numba kernels: deterministic hashing and band-limited noise (no tables, no state)."""

from __future__ import annotations

import math

import numpy as np

from mapping.compiling import kernel


@kernel(inline="always")
def hash01(x: int, y: int, z: int, seed: int) -> float:
    """A uniform number in [0, 1) for a lattice point: splitmix64's finaliser over mixed coordinates."""
    h = (
        np.uint64(x) * np.uint64(0x9E3779B97F4A7C15)
        ^ np.uint64(y) * np.uint64(0xC2B2AE3D27D4EB4F)
        ^ np.uint64(z) * np.uint64(0x165667B19E3779F9)
        ^ np.uint64(seed) * np.uint64(0xD6E8FEB86659FD93)
    )
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    h = h ^ (h >> np.uint64(31))
    return float(h >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@kernel(inline="always")
def smooth(t: float) -> float:
    """Hermite step 3 t^2 - 2 t^3 of a number in [0, 1]."""
    return t * t * (3.0 - 2.0 * t)


@kernel(inline="always")
def step(edge: float, width: float, x: float) -> float:
    """0 below edge, 1 above, with a ramp of `width` about it: a step as a pixel of that width sees it."""
    return min(1.0, max(0.0, (x - edge) / max(width, 1e-9) + 0.5))


@kernel(inline="always")
def fade(wavelength: float, width: float) -> float:
    """How much of a pattern a pixel of `width` still resolves: 1 where it is fine, 0 where it would alias."""
    return min(1.0, max(0.0, 2.0 - 4.0 * width / wavelength))


@kernel(inline="always")
def _scramble(h: np.uint64) -> float:
    """A number in [0, 1) of mixed coordinates: one round of a multiplicative hash, enough for noise."""
    h = (h ^ (h >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return float((h ^ (h >> np.uint64(32))) & np.uint64(0xFFFFFF)) * (1.0 / 16777216.0)


@kernel()
def value_noise(x: float, y: float, z: float, seed: int) -> float:
    """Smooth noise in [0, 1] with features of size one."""
    ix, iy, iz = math.floor(x), math.floor(y), math.floor(z)
    fx, fy, fz = smooth(x - ix), smooth(y - iy), smooth(z - iz)
    kx, ky, kz = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
    x0 = np.uint64(ix) * kx ^ np.uint64(seed) * np.uint64(0xD6E8FEB86659FD93)
    x1 = np.uint64(ix + 1) * kx ^ np.uint64(seed) * np.uint64(0xD6E8FEB86659FD93)
    y0, y1 = np.uint64(iy) * ky, np.uint64(iy + 1) * ky
    z0, z1 = np.uint64(iz) * kz, np.uint64(iz + 1) * kz
    near = _scramble(x0 ^ y0 ^ z0) * (1 - fx) + _scramble(x1 ^ y0 ^ z0) * fx
    far = _scramble(x0 ^ y1 ^ z0) * (1 - fx) + _scramble(x1 ^ y1 ^ z0) * fx
    bottom = near * (1 - fy) + far * fy
    near = _scramble(x0 ^ y0 ^ z1) * (1 - fx) + _scramble(x1 ^ y0 ^ z1) * fx
    far = _scramble(x0 ^ y1 ^ z1) * (1 - fx) + _scramble(x1 ^ y1 ^ z1) * fx
    return bottom * (1 - fz) + (near * (1 - fy) + far * fy) * fz


@kernel()
def fractal_noise(x: float, y: float, z: float, octaves: int, width: float, seed: int) -> float:
    """Octaves of value noise about 0.5, the coarsest of size one; octaves finer than a pixel of `width` fade away."""
    total, norm = 0.0, 0.0
    amplitude, size = 1.0, 1.0
    for k in range(octaves):
        norm += amplitude
        seen = fade(size, width)
        if seen > 0.0:
            total += amplitude * seen * (value_noise(x / size, y / size, z / size, seed + 101 * k) - 0.5)
        amplitude *= 0.5
        size *= 0.5
    return 0.5 + total / norm * 1.6
