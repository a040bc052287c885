"""Numba kernels: the procedural textures. Each takes a point in the body's frame and gives a linear-light RGB albedo.

Patterns that lie in a surface use two of the point's coordinates, chosen by the face's normal (u horizontal, v up or, on level
faces, along y); patterns that fill space use all three. `width` is the size of a pixel on the surface in metres: what is finer
is faded out instead of aliasing. `strength` scales the variation, `scale` is metres per period.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.arrays import Float64Array
from mapping.compiling import kernel
from pipelines.synth.rendering.kernels.compiling import pixel_kernel
from pipelines.synth.rendering.kernels.noise import fade, fractal_noise, hash01, step, value_noise

Color = tuple[float, float, float]
Paint = tuple[Color, Color, float]
"""First and second colour, and how far the pattern mixes from the first to the second."""

PLAIN = 0
WOOD = 1
PLANKS = 2
TILES = 3
CARPET = 4
FABRIC = 5
STRIPES = 6
CHECKER = 7
MARBLE = 8
BRICK = 9
PAINTING = 10
BOOKS = 11
NOISE = 12
PLASTER = 13
SPECKLE = 14
LEAVES = 15
METAL = 16
SCREEN = 17
TEXT = 18
RUG = 19


BOOKS_MEAN = (0.20, 0.19, 0.17)
"""Mean colour of a shelf of books from afar."""


class MaterialTable(NamedTuple):
    """Materials (M,) as arrays in linear light: what the shading kernels read."""

    kind: NDArray[np.int64]
    color: NDArray[np.float64]
    color2: NDArray[np.float64]
    scale: NDArray[np.float64]
    strength: NDArray[np.float64]
    specular: NDArray[np.float64]
    emission: NDArray[np.float64]
    seed: NDArray[np.int64]


@kernel(inline="always")
def _mix(a: Color, b: Color, t: float) -> Color:
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


@kernel(inline="always")
def _times(a: Color, s: float) -> Color:
    return (a[0] * s, a[1] * s, a[2] * s)


@kernel(inline="always")
def _line(x: float, half: float, width: float) -> float:
    """1 within `half` of a whole number, 0 elsewhere, as a pixel of `width` sees it (all in periods)."""
    distance = abs(x - math.floor(x + 0.5))
    spread = max(width, 1e-6)
    covered = min(1.0, max(0.0, (half - distance) / spread + 0.5))
    seen = fade(1.0, width)
    return covered * min(1.0, 2.0 * half / spread) * seen + 2.0 * half * (1.0 - seen)


@kernel()
def palette(t: float) -> Color:
    """A muted or strong colour for a number in [0, 1): the dyes of book spines and paintings."""
    turn = (t * 13.7) % 1.0
    hue = 6.0 * turn * turn * (1.0 if turn < 0.8 else 0.9)  # reds and ochres more often than the rest
    depth = 0.15 + 0.65 * ((t * 37.7) % 1.0)
    light = 0.05 + 0.45 * ((t * 91.3) % 1.0) ** 2
    r = min(1.0, max(0.0, abs(hue - 3.0) - 1.0))
    g = min(1.0, max(0.0, 2.0 - abs(hue - 2.0)))
    b = min(1.0, max(0.0, 2.0 - abs(hue - 4.0)))
    return (
        light * (1 - depth + depth * r),
        light * (1 - depth + depth * g),
        light * (1 - depth + depth * b),
    )


@kernel()
def _wood(x: float, y: float, z: float, width: float, seed: int) -> float:
    """Share of late wood: wavy rings about an axis far off, stretched along the grain (x)."""
    wobble = fractal_noise(0.12 * x + 17.0, 0.5 * y, 0.5 * z, 3, 0.5 * width, seed)
    ring = 1.6 * math.sqrt((y + 4.3) ** 2 + (z + 2.7) ** 2) + 2.4 * wobble
    phase = ring - math.floor(ring)
    bands = 0.45 + (phase * phase * step(1.0, 0.25, 2.0 - phase) - 0.3) * fade(0.6, width)
    streaks = fractal_noise(0.3 * x, 9.0 * y, 9.0 * z, 2, 9.0 * width, seed + 5)
    return 0.6 * bands + 0.4 * streaks


@kernel()
def _planks(u: float, v: float, width: float, seed: int) -> tuple[float, float]:
    """(tone in [0, 1], share of joint) of boards one wide along v and seven long along u."""
    row = math.floor(v)
    shift = 7.0 * hash01(row, 3, 0, seed)
    board = math.floor((u + shift) / 7.0)
    tone = hash01(row, board, 1, seed)
    grain = _wood(u * 0.4 + 40.0 * tone, 0.4 * (v - row) + 7.0 * tone, 0.3, 0.4 * width, seed + row * 13 + board)
    joint = max(_line(v, 0.018, width), _line((u + shift) / 7.0, 0.0026, width / 7.0))
    return 0.55 * tone + 0.45 * grain, joint


@kernel()
def _brick(u: float, v: float, width: float, seed: int) -> tuple[float, float]:
    """(tone, share of mortar) of bricks one long and a third high in running bond."""
    row = math.floor(3.0 * v)
    x = u + 0.5 * (row % 2)
    tone = 0.5 + (hash01(math.floor(x), row, 2, seed) - 0.5) * fade(0.5, width)
    tone = 0.6 * tone + 0.4 * fractal_noise(9 * u, 9 * v, 0.0, 3, 9 * width, seed)
    mortar = max(_line(x, 0.025, width), _line(3.0 * v, 0.075, 3.0 * width))
    return tone, mortar


@kernel()
def _landscape(u: float, v: float, width: float, seed: int) -> Color:
    """Sky over hills over a meadow, v in about [-0.5, 0.5]."""
    pick = hash01(seed, 1, 2, 9)
    sky = _mix((0.75, 0.55, 0.35), (0.18, 0.38, 0.72), min(1.0, max(0.0, v + 0.2 + 0.9 * pick)))
    cloud = fractal_noise(3 * u, 7 * v, 0.0, 4, 7 * width, seed)
    color = _mix(sky, (0.85, 0.82, 0.78), step(0.6, 0.2, cloud))
    for k in range(3):
        ridge = 0.12 - 0.16 * k + 0.25 * (fractal_noise(u * (2.0 + k), 3.7 * k, 0.0, 4, 3 * width, seed + 31 * k) - 0.5)
        ground = _times(_mix((0.10, 0.22, 0.30), (0.16, 0.25, 0.05), 0.5 * k), 1.3 - 0.3 * k)
        shade = fractal_noise(12 * u, 12 * v, 1.0 * k, 3, 12 * width, seed + k)
        color = _mix(color, _times(ground, 0.5 + shade), step(0.0, 0.01 + width, ridge - v))
    return color


@kernel()
def _abstract(u: float, v: float, width: float, seed: int) -> Color:
    """Patches of paint: nearest of jittered points, each its own colour, thin dark seams."""
    x, y = (
        3.1 * u + fractal_noise(2 * u, 2 * v, 4.0, 2, width, seed),
        3.1 * v + fractal_noise(2 * u, 2 * v, 9.0, 2, width, seed),
    )
    best, second, which = 9.0, 9.0, 0.0
    for i in range(-1, 2):
        for j in range(-1, 2):
            cx, cy = math.floor(x) + i, math.floor(y) + j
            px = cx + hash01(cx, cy, 0, seed)
            py = cy + hash01(cx, cy, 1, seed)
            distance = math.sqrt((x - px) ** 2 + (y - py) ** 2)
            if distance < best:
                second, best, which = best, distance, hash01(cx, cy, 2, seed)
            elif distance < second:
                second = distance
    stroke = 0.7 + 0.6 * fractal_noise(8 * u, 30 * v, 0.0, 3, 30 * width, seed)
    return _times(palette(which), stroke * (0.35 + 0.65 * step(0.05, 0.03 + 3 * width, second - best)) * 1.6)


@kernel()
def _books(u: float, v: float, width: float, seed: int) -> Color:
    """Spines in a row: cells of unequal width along u (about one per book), with bands, lettering and dark gaps."""
    cell = math.floor(u)
    left = cell + 0.35 * (hash01(cell, 0, 0, seed) - 0.5)
    right = cell + 1 + 0.35 * (hash01(cell + 1, 0, 0, seed) - 0.5)
    if u < left:
        cell, right = cell - 1, left
        left = cell + 0.35 * (hash01(cell, 0, 0, seed) - 0.5)
    elif u >= right:
        cell, left = cell + 1, right
        right = cell + 1 + 0.35 * (hash01(cell + 1, 0, 0, seed) - 0.5)
    color = palette(hash01(cell, 1, 0, seed))
    band = 4.0 * hash01(cell, 2, 0, seed) + 1.0
    stripe = _line(v / (2.0 + band), 0.04, width / (2.0 + band))
    color = _mix(color, (0.7, 0.62, 0.4), 0.7 * stripe * step(0.4, 0.01, hash01(cell, 3, 0, seed)))
    middle = abs((u - left) / (right - left) - 0.5)
    letters = step(0.55, 0.1, value_noise(4.0 * u, 3.0 * v, 0.0, seed + 7)) * step(-0.22, 0.02, -middle)
    color = _mix(color, (0.8, 0.78, 0.7), 0.3 * letters * fade(0.5, width))
    color = _times(color, 1.0 - 0.85 * step(0.44, 0.02 + width, middle) * fade(1.0, width))
    return _mix(BOOKS_MEAN, color, min(1.0, 0.15 + fade(1.5, width)))


@kernel()
def _screen(u: float, v: float, width: float, seed: int) -> Color:
    """A window system: a background, a few panels with lines of text, a bar below."""
    color = _mix((0.02, 0.05, 0.14), (0.06, 0.16, 0.32), min(1.0, max(0.0, 0.5 + v)))
    for k in range(3):
        cx, cy = 0.7 * (hash01(k, 0, 0, seed) - 0.5), 0.5 * (hash01(k, 1, 0, seed) - 0.4)
        w, h = 0.14 + 0.2 * hash01(k, 2, 0, seed), 0.1 + 0.18 * hash01(k, 3, 0, seed)
        inside = step(0.0, 0.01 + width, w - abs(u - cx)) * step(0.0, 0.01 + width, h - abs(v - cy))
        line = _line((v - cy) * 24.0, 0.25, width * 24.0) * step(0.45, 0.1, value_noise(40 * u, 24 * v, 1.0 * k, seed))
        paper = _mix((0.85, 0.85, 0.85), palette(hash01(k, 4, 0, seed)), 0.8 * line * step(0.02, 0.01, w - abs(u - cx)))
        color = _mix(color, paper, inside)
    return color


@kernel()
def _rug(u: float, v: float, a: Color, b: Color, width: float, seed: int) -> Color:
    """An oriental rug: lozenges and bands mirrored about the middle, u and v in periods from it."""
    x, y = abs(u), abs(v)
    lozenge = (x + y) % 1.0
    t = 0.5 + (step(0.5, 0.04 + 2 * width, lozenge) - 0.5) * fade(1.0, 2 * width)
    color = _mix(a, b, t)
    accent = palette(hash01(math.floor(x + y), 0, 0, seed))
    ornament = _line(2 * x, 0.12, 2 * width) * _line(2 * y, 0.12, 2 * width)
    pile = 0.85 + 0.3 * fractal_noise(60 * u, 60 * v, 0.0, 2, 60 * width, seed)
    return _times(_mix(color, accent, ornament), pile)


@kernel()
def _flat_pattern(kind: int, u: float, v: float, paint: Paint, w: float, seed: int) -> Color:
    """The textures that lie in the surface; u, v and the pixel width w in periods."""
    a, b, strength = paint
    if kind == PLANKS:
        tone, joint = _planks(u, v, w, seed)
        return _times(_mix(a, b, strength * tone), 1.0 - 0.75 * joint)
    if kind == TILES:
        tone = hash01(math.floor(u), math.floor(v), 0, seed)
        vein = fractal_noise(3 * u, 3 * v, 5.0 * tone, 3, 3 * w, seed)
        face = _times(a, 1.0 + strength * (0.25 * (tone - 0.5) + 0.3 * (vein - 0.5)))
        return _mix(face, b, max(_line(u, 0.012, w), _line(v, 0.012, w)))
    if kind == STRIPES:
        t = step(0.25, w, abs(u - math.floor(u + 0.5))) * fade(1.0, w) + 0.5 * (1.0 - fade(1.0, w))
        return _mix(a, b, strength * t)
    if kind == CHECKER:
        even = float((math.floor(u) + math.floor(v)) % 2)
        near = min(abs(u - math.floor(u + 0.5)), abs(v - math.floor(v + 0.5)))
        seen = fade(1.0, w) * min(1.0, 0.5 + near / max(w, 1e-6))
        return _mix(a, b, strength * (0.5 + (even - 0.5) * seen))
    if kind == BRICK:
        tone, mortar = _brick(u, v, w, seed)
        return _mix(_times(a, 1.0 + strength * (tone - 0.5)), b, mortar)
    if kind == PAINTING:
        drawn = _landscape(u, v, w, seed) if hash01(seed, 0, 0, 7) < 0.5 else _abstract(u, v, w, seed)
        return _mix(a, drawn, strength)
    if kind == BOOKS:
        return _mix(a, _books(u, v, w, seed), strength)
    if kind == SCREEN:
        return _mix(a, _screen(u, v, w, seed), strength)
    if kind == RUG:
        return _rug(u, v, a, _mix(a, b, strength), w, seed)
    lines = _line(v, 0.16, w) * step(0.35, 0.1, value_noise(2.5 * u, math.floor(v + 0.5), 0.0, seed)) * fade(1.0, w)
    return _mix(a, b, strength * (lines + 0.25 * (1.0 - fade(1.0, w))))  # TEXT


@kernel()
def _solid_pattern(kind: int, x: float, y: float, z: float, w: float, seed: int) -> float:
    """The textures that fill space as a share of the second colour; x, y, z and the pixel width w in periods."""
    if kind == WOOD:
        return _wood(x, y, z, w, seed)
    if kind == CARPET:
        return 0.6 * fractal_noise(x, y, z, 3, w, seed) + 0.4 * fractal_noise(
            0.07 * x, 0.07 * y, 0.07 * z, 2, 0.07 * w, seed
        )
    if kind == FABRIC:
        weave = math.sin(6.2831853 * x) * math.sin(6.2831853 * y) + math.sin(6.2831853 * z) * math.sin(
            6.2831853 * (x + y)
        )
        cloth = fractal_noise(0.3 * x, 0.3 * y, 0.3 * z, 4, 0.3 * w, seed)
        return 0.5 + 0.18 * weave * fade(1.0, w) + 0.9 * (cloth - 0.5)
    if kind == MARBLE:
        turbulence = fractal_noise(x, y, z, 5, w, seed)
        vein = abs(math.sin(3.1415927 * (x + 0.6 * y + 0.4 * z) + 7.0 * turbulence))
        return 0.75 * (0.23 + (0.77 - math.sqrt(vein)) * fade(1.0, w)) + 0.25 * turbulence
    if kind == SPECKLE:
        grain = value_noise(x, y, z, seed) * 0.6 + 0.4 * value_noise(2.3 * x, 2.3 * y, 2.3 * z, seed + 3)
        return 0.45 + (step(0.58, 0.06, grain) - 0.3) * fade(1.0, w)
    if kind == LEAVES:
        blotch = fractal_noise(x, y, z, 4, w, seed)
        return 0.7 * blotch + 0.3 * fractal_noise(9 * x, 9 * y, 2 * z, 2, 9 * w, seed)
    if kind == METAL:
        return fractal_noise(0.4 * x, 22 * y, 22 * z, 2, 22 * w, seed)
    if kind == PLASTER:
        return 0.65 * fractal_noise(0.4 * x, 0.4 * y, 0.4 * z, 3, 0.4 * w, seed) + 0.35 * fractal_noise(
            14 * x, 14 * y, 14 * z, 2, 14 * w, seed
        )
    return fractal_noise(x, y, z, 5, w, seed)  # NOISE


@pixel_kernel
def albedo(materials: MaterialTable, m: int, p: Color, n: Color, width: float) -> Color:
    """Linear RGB reflectance in [0.005, 0.95] of material m of a `MaterialTable` at body point p (metres) with body normal n."""
    kind, seed = materials.kind[m], materials.seed[m]
    scale, strength = materials.scale[m], materials.strength[m]
    a = (materials.color[m, 0], materials.color[m, 1], materials.color[m, 2])
    b = (materials.color2[m, 0], materials.color2[m, 1], materials.color2[m, 2])
    w = width / scale
    along_x, along_y, along_z = abs(n[0]), abs(n[1]), abs(n[2])
    if kind == PLAIN:
        soft = fractal_noise(p[0] / 0.7, p[1] / 0.7, p[2] / 0.7, 2, width / 0.7, seed)
        color = _times(a, 1.0 + 0.08 * strength * (soft - 0.5))
    elif kind in (WOOD, CARPET, FABRIC, NOISE, MARBLE, PLASTER, SPECKLE, LEAVES, METAL):
        x, y, z = p[0] / scale, p[1] / scale, p[2] / scale
        if kind in (WOOD, METAL) and along_z < 0.7:  # the grain of upright boards is vertical
            x, z = z, x
        color = _mix(a, b, strength * min(1.0, max(0.0, _solid_pattern(kind, x, y, z, w, seed))))
    else:
        u, v = p[0], p[1]
        if along_x >= along_y and along_x > along_z:
            u, v = p[1], p[2]
        elif along_y > along_x and along_y > along_z:
            u, v = p[0], p[2]
        color = _flat_pattern(kind, u / scale, v / scale, (a, b, strength), w, seed)
    return (
        min(0.95, max(0.005, color[0])),
        min(0.95, max(0.005, color[1])),
        min(0.95, max(0.005, color[2])),
    )


@kernel()
def mean_albedo(materials: MaterialTable, samples: int) -> Float64Array:
    """(M, 3) mean over samples x samples points of two periods of an upright plane."""
    out = np.zeros((len(materials.kind), 3))
    for m in range(len(out)):
        for i in range(samples):
            for j in range(samples):
                u, v = 2.0 * (i / samples - 0.5) * materials.scale[m], 2.0 * (j / samples - 0.5) * materials.scale[m]
                color = albedo(materials, m, (u, 0.05, v), (0.0, -1.0, 0.0), 0.0)
                for axis in range(3):
                    out[m, axis] += color[axis] / (samples * samples)
    return out
