"""Smooth corrections of depth images: a field of log scale over the image and a shift of inverse depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DepthField:
    """The correction of the depth of a frame: `1 / corrected = exp(-f(u, v)) / depth + shift`.

    nodes (rows, columns) are values of the log scale f, evenly spaced from border to border of the image, bilinear in between;
    shift is in 1/m.
    """

    nodes: Array
    shift: float = 0.0

    @property
    def scale(self) -> float:
        """The mean scale over the image."""
        rows, columns = self.nodes.shape
        weight = hats(64, rows).mean(axis=0)[:, None] * hats(64, columns).mean(axis=0)
        return float(np.exp((weight * self.nodes).sum()))

    @property
    def unevenness(self) -> float:
        """Standard deviation of the log scale over the nodes."""
        return float(self.nodes.std())

    def log_scale(self, shape: tuple[int, int]) -> Array:
        """The field f at the pixels of an image (H, W)."""
        return hats(shape[0], self.nodes.shape[0]) @ self.nodes @ hats(shape[1], self.nodes.shape[1]).T

    def __call__(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Corrected depth (H, W) float32; unknown (0) stays unknown, and what the shift moves beyond infinity becomes so."""
        known = np.isfinite(depth) & (depth > 0)
        factor = np.exp(-self.log_scale((depth.shape[0], depth.shape[1])))
        inverse = np.divide(factor, depth, out=np.zeros(depth.shape), where=known) + self.shift
        known &= inverse > 0
        return np.divide(1.0, inverse, out=np.zeros(depth.shape), where=known).astype(np.float32)


def hats(size: int, nodes: int) -> Array:
    """(size, nodes) weights of linear interpolation at pixel centres between nodes evenly spaced from border to border."""
    if nodes == 1:
        return np.ones((size, 1))
    place = (np.arange(size) + 0.5) / size * (nodes - 1)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(nodes)), 0.0)


def field_covariance(
    rows: int, columns: int, aspect: float, *, scale_deviation: float, field_deviation: float, length: float
) -> Array:
    """Prior covariance (K, K) of the K = rows * columns nodes: a common scale, and a smooth field about it.

    `aspect` is the image's height over its width, `length` the correlation length (a bell, one standard deviation) in widths.
    """
    y, x = np.meshgrid(np.linspace(0, aspect, rows), np.linspace(0, 1, columns), indexing="ij")
    square = (x.reshape(-1, 1) - x.reshape(-1)) ** 2 + (y.reshape(-1, 1) - y.reshape(-1)) ** 2
    smooth = field_deviation**2 * np.exp(-0.5 * square / length**2)
    rest = 1e-3 * field_deviation**2 + 1e-8  # keeps the inverse finite
    return np.asarray(scale_deviation**2 + smooth + rest * np.eye(len(square)))
