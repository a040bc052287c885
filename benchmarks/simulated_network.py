"""Simulated network predictions: the exact depth, normals and edges of a rendered frame with the errors of monocular estimates.

The errors that matter for a map are not noise. A network may predict a whole frame 5 % too far, its left half 3 % nearer,
and do nearly the same in the next frame; it blends depth smoothly between the two sides of a silhouette, and its
normals are off by a few degrees over whole surfaces. All errors are drawn from one generator, frame by frame in order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy.ndimage import gaussian_filter, maximum_filter, zoom
from scipy.special import ndtri

from m2h import Predictions

Floats = NDArray[np.float32]

REFERENCE_WIDTH = 320
"""Image width for which lengths in pixels are given; they scale with the image."""
SURE_SIGMA = 0.02
"""The relative error of depth at which the confidence has fallen to 0.6."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MonocularConfig:
    """Errors of a network; the defaults are those of good indoor networks."""

    scale: float = Field(default=0.05, ge=0)
    """Standard deviation of a frame's scale, drawn anew for each frame."""
    bias: float = Field(default=0.03, ge=0)
    """Standard deviation of the smooth relative error across the image."""
    bias_length: float = Field(default=0.25, gt=0)
    """Correlation length of that error as a share of the image's width."""
    persistence: float = Field(default=0.9, ge=0, lt=1)
    """Correlation of the smooth errors of depth and normals between neighbouring frames."""
    noise: float = Field(default=0.005, ge=0)
    """Standard deviation of the fine relative error, a few pixels wide."""
    bleeding_px: float = Field(default=2.0, ge=0)
    """Standard deviation of the blur across silhouettes, in pixels of an image 320 across."""
    normal_lean_deg: float = Field(default=3.0, ge=0)
    """Standard deviation of the smooth part of the normals' error about each image axis."""
    normal_noise_deg: float = Field(default=3.0, ge=0)
    """Standard deviation of the fine part of the normals' error."""
    edge_blur_px: float = Field(default=1.0, ge=0)
    """Blur of the edge probabilities, in pixels of an image 320 across."""
    edge_misses: float = Field(default=0.1, ge=0, le=1)
    """Share of the image in which edges are missed."""
    confidence: bool = True
    """Whether there is a confidence of the depth: lower where depth bleeds, itself noisy."""


class MonocularNetwork:
    """A network with these errors; call it on the exact predictions of the frames of a sequence, in order."""

    def __init__(self, config: MonocularConfig, rng: Generator) -> None:
        self.config = config
        self._rng = rng
        self._slow: NDArray[np.float64] | None = None

    def __call__(self, exact: Predictions) -> Predictions:
        """The prediction for a frame with that exact depth, normals and edges; labels and instances are kept.

        Raises ValueError when one of the three is missing.
        """
        if exact.depth is None or exact.normals is None or exact.edges is None:
            raise ValueError("a simulated network needs the exact depth, normals and edges")
        config, size = self.config, exact.depth.shape
        pixel = size[1] / REFERENCE_WIDTH
        scale = 1 + config.scale * self._rng.standard_normal()
        bias, *tilt = self._persistent(size)
        fine = config.noise * smooth_field(self._rng, size, 3 * pixel)
        bled, mixed = bleed(exact.depth, exact.edges, config.bleeding_px * pixel)
        wrong = np.exp(config.bias * bias + fine) * max(scale, 0.5)
        depth = np.where(exact.depth > 0, bled * wrong, 0).astype(np.float32)
        return Predictions(
            depth=depth,
            labels=exact.labels,
            label_confidence=exact.label_confidence,
            normals=self._tilt(exact.normals, tilt, pixel),
            edges=self._edges(exact.edges, pixel),
            confidence=self._confidence(mixed, size, pixel) if config.confidence else None,
            instances=exact.instances,
        )

    def _persistent(self, size: tuple[int, ...]) -> NDArray[np.float64]:
        """(3, H, W) smooth fields of unit variance: of depth and of the normals about both axes."""
        length, keep = self.config.bias_length * size[1], self.config.persistence
        new = np.stack(
            [smooth_field(self._rng, size, length), *(smooth_field(self._rng, size, length / 2) for _ in "xy")]
        )
        self._slow = new if self._slow is None else keep * self._slow + np.sqrt(1 - keep**2) * new
        return self._slow

    def _tilt(self, normals: Floats, tilt: Sequence[NDArray[np.float64]], pixel: float) -> Floats:
        size = normals.shape[:2]
        smooth, fine = np.deg2rad(self.config.normal_lean_deg), np.deg2rad(self.config.normal_noise_deg)
        angles = [smooth * tilt[axis] + fine * smooth_field(self._rng, size, pixel) for axis in range(2)]
        blurred = np.stack([gaussian_filter(normals[..., c], pixel) for c in range(3)], axis=-1).astype(np.float64)
        turned = blurred + np.cross(np.stack([*angles, np.zeros(size)], axis=-1), blurred)
        length = np.linalg.norm(turned, axis=-1, keepdims=True)
        known = normals.any(axis=-1, keepdims=True) & (length > 0.1)
        return np.divide(turned, length, out=np.zeros_like(turned), where=known).astype(np.float32)

    def _edges(self, edges: Floats, pixel: float) -> Floats:
        blur = self.config.edge_blur_px * pixel
        wide = gaussian_filter(edges, blur) * (1 + 1.5 * blur)  # a line one pixel wide keeps most of its height
        missed = smooth_field(self._rng, edges.shape, 12 * pixel) > normal_quantile(1 - self.config.edge_misses)
        found = np.where(missed, 0.2, 1.0) * np.minimum(wide, 0.97)
        unsure = 0.05 * np.abs(smooth_field(self._rng, edges.shape, 2 * pixel))
        return np.clip(found + unsure, 0, 1).astype(np.float32)

    def _confidence(self, mixed: Floats, size: tuple[int, ...], pixel: float) -> Floats:
        sure = np.exp(-0.5 * np.minimum(mixed / SURE_SIGMA, 3.0) ** 2)
        unsure = 0.9 + 0.1 * smooth_field(self._rng, size, 8 * pixel)
        return np.clip((0.1 + 0.9 * sure) * unsure, 0.02, 1).astype(np.float32)


def bleed(depth: Floats, edges: Floats, blur_px: float) -> tuple[Floats, Floats]:
    """Depth (H, W) blended across the silhouettes, and the relative error (H, W) of each pixel.

    A silhouette is an edge where the depth steps by more than 3 %; within two standard deviations of it depth changes smoothly.
    """
    if blur_px == 0:
        return depth, np.zeros_like(depth)
    far = np.where(depth > 0, depth, depth.max(initial=1.0))
    step = maximum_filter(far, 3) > 1.03 * -maximum_filter(-far, 3)
    near_edge = gaussian_filter((step & (maximum_filter(edges, 3) > 0.5)).astype(np.float32), blur_px)
    share = np.clip(near_edge * (2.5 * blur_px), 0, 1)
    mixed = far * (1 - share) + gaussian_filter(far, blur_px) * share
    return mixed.astype(np.float32), np.abs(mixed / far - 1).astype(np.float32)


def smooth_field(rng: Generator, size: tuple[int, ...], length_px: float) -> NDArray[np.float64]:
    """A random field (H, W) of zero mean and unit variance with a Gaussian correlation of `length_px` pixels.

    It is drawn on a sufficiently fine grid, with a margin, so that the image is a window of a stationary field.
    """
    cell = max(length_px / 4, 1.0)
    sigma = length_px / cell / np.sqrt(2)  # blurred white noise correlates over sqrt(2) times the blur
    margin = int(np.ceil(3 * sigma)) + 1
    coarse = rng.standard_normal([int(np.ceil(n / cell)) + 2 * margin + 2 for n in size[:2]])
    blurred = gaussian_filter(coarse, sigma, mode="wrap")[margin:-margin, margin:-margin]
    if cell > 1:
        blurred = zoom(blurred, cell, order=1)
    return np.asarray(blurred[: size[0], : size[1]] * (2 * np.sqrt(np.pi) * sigma))


def normal_quantile(share: float) -> float:
    """The value below which that share of a normal distribution lies."""
    return float(ndtri(share))
