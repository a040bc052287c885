"""Depth hints for training: those that images gave, and what the map of a first pass might show, made from the true depth."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from m2h.data.sample import Sample

Floats = NDArray[np.float32]

SCALE = 0.03
"""Standard deviation of the log scale that a whole frame of a map is off by."""
UNEVENNESS = 0.03
"""The same of what varies within the frame."""
WRONG = 0.3
"""The same of a region that is simply wrong."""
TRUSTED = 0.05
"""Relative error at which a map's confidence has fallen to 1 / e."""
FOUND_SHARE = 0.75
"""Share of the samples with a hint of their own that are shown it."""
HIDDEN = (0.0, 0.6)
"""Shares between which the blocks lie that are taken out of a found hint in every second sample."""
BLOCKS = (3, 9)
"""Blocks along each side of the image, of which some are taken out."""


def training_hint(sample: Sample, rng: Generator) -> Floats:
    """(2, H, W) depth and confidence for a sample: its own hint, often with blocks taken out, or one made from its depth."""
    if sample.hint is not None and rng.random() < FOUND_SHARE:
        hint = np.ascontiguousarray(sample.hint.transpose(2, 0, 1))
        return hint if rng.random() < 0.5 else without_blocks(hint, rng)
    if sample.depth is None:
        return np.zeros((2, *sample.rgb.shape[:2]), np.float32)
    return corrupted_hint(sample.depth, rng)


def without_blocks(hint: Floats, rng: Generator) -> Floats:
    """A hint (2, H, W) with rectangles of it unknown: what lies there has to be inferred from its surroundings."""
    grid = rng.integers(*BLOCKS, 2)
    kept = (rng.random(grid) >= rng.uniform(*HIDDEN)).astype(np.float32)
    shape = hint.shape[:0:-1]
    return hint * cv2.resize(kept, shape, interpolation=cv2.INTER_NEAREST_EXACT)


def corrupted_hint(depth: Floats, rng: Generator) -> Floats:
    """(2, H, W) depth and confidence as a map might show them, 0 unknown, from true depth (H, W) in metres.

    Off in scale, uneven, smoothed as fused surfaces are, with holes, and now and then wrong in a region whose confidence does not
    show it.
    """
    height, width = depth.shape
    known = depth > 0
    log = np.log(np.where(known, depth, 1.0)).astype(np.float32)
    error = np.float32(rng.normal(0, SCALE)) + _smooth_field(rng, depth.shape, 6) * np.float32(UNEVENNESS)
    size = int(rng.integers(1, 4)) * 2 + 1
    share = cv2.blur(known.astype(np.float32), (size, size))
    smoothed = cv2.blur(np.where(known, log, 0).astype(np.float32), (size, size)) / np.maximum(share, 1e-6)
    confidence = np.exp(-np.abs(error) / TRUSTED) * rng.uniform(0.5, 1.0)
    if rng.random() < 0.3:
        rows, columns = np.sort(rng.integers(0, height, 2)), np.sort(rng.integers(0, width, 2))
        error[rows[0] : rows[1], columns[0] : columns[1]] += np.float32(rng.normal(0, WRONG))
    holes = _smooth_field(rng, depth.shape, int(rng.integers(3, 10))) < rng.uniform(-1.5, 0.5)
    hint = np.where(known & ~holes, np.exp(smoothed + error), 0)
    noisy = np.clip(confidence + 0.15 * _smooth_field(rng, depth.shape, 5), 0.05, 1)
    return np.stack([hint, np.where(hint > 0, noisy, 0)]).astype(np.float32)


def _smooth_field(rng: Generator, shape: tuple[int, ...], cells: int) -> Floats:
    """A random field (H, W) of about unit deviation that varies over 1 / `cells` of the image."""
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), dtype=np.float32)
