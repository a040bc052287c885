"""Depth hints for training: what the map of a first pass might show in a frame, made from the true depth."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SCALE = 0.03
"""Standard deviation of the log scale that a whole frame of a map is off by."""
UNEVENNESS = 0.03
"""The same of what varies within the frame."""
WRONG = 0.3
"""The same of a region that is simply wrong."""
TRUSTED = 0.05
"""Relative error at which a map's confidence has fallen to 1 / e."""


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
