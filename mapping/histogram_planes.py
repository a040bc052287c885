"""Planes of a building: peaks of weighted histograms, dominant directions, horizontal and vertical surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d

Array = NDArray[np.float64]

QUARTER = np.pi / 2
UPRIGHT_SIN = np.sin(np.deg2rad(20.0))


class Peak(NamedTuple):
    """A concentration of weight at a position of a histogram."""

    position: float
    weight: float


@dataclass(frozen=True, eq=False)
class Plane:
    """The points p with `normal @ p = offset`; the normal (3,) has unit length and points into free space. `area` in square
    metres."""

    normal: Array
    offset: float
    area: float

    def distance(self, points: ArrayLike) -> Array:
        """Signed distances (...) of points (..., 3), positive on the free side."""
        return np.asarray(np.asarray(points, dtype=np.float64) @ self.normal - self.offset)


def weighted_peaks(
    values: ArrayLike, weights: ArrayLike, *, bin_size: float, separation: float, min_weight: float
) -> list[Peak]:
    """Positions on a line where weight concentrates, in increasing order.

    The histogram of `values` (N,) is smoothed by one bin; its local maxima are taken from the highest down, each of which
    suppresses others within `separation`. The position of a peak is then the weighted mean of the values around it, so that it
    does not depend on the borders of bins; its weight is that within half a separation. Peaks of less than `min_weight` are
    dropped.
    """
    values, weights = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if len(values) == 0:
        return []
    low = np.floor(values.min() / bin_size) - 4
    index = (values / bin_size - low).astype(np.int64)
    histogram = gaussian_filter1d(np.bincount(index, weights, minlength=int(index.max()) + 5), 1.0, mode="constant")
    is_peak = (histogram > 0) & (histogram >= np.roll(histogram, 1)) & (histogram > np.roll(histogram, -1))
    candidates = np.flatnonzero(is_peak)
    candidates = candidates[np.argsort(-histogram[candidates], kind="stable")]
    order = np.argsort(values, kind="stable")
    ordered, running = values[order], np.concatenate([[0.0], np.cumsum(weights[order])])
    moments = np.concatenate([[0.0], np.cumsum((weights * values)[order])])
    peaks: list[Peak] = []
    for candidate in candidates:
        position = (candidate + 0.5 + low) * bin_size
        for _ in range(3):
            start, stop = np.searchsorted(ordered, [position - 1.5 * bin_size, position + 1.5 * bin_size])
            mass = running[stop] - running[start]
            position = (moments[stop] - moments[start]) / mass if mass > 0 else position
        if any(abs(position - peak.position) < separation for peak in peaks):
            continue
        start, stop = np.searchsorted(ordered, [position - separation / 2, position + separation / 2])
        peaks.append(Peak(float(position), float(running[stop] - running[start])))
    return sorted(peak for peak in peaks if peak.weight >= min_weight)


def dominant_yaw(normals: ArrayLike, areas: ArrayLike) -> tuple[float, float]:
    """Direction in (-pi/4, pi/4] of the walls, and the share of upright surface that lies along it within 5 degrees.

    normals (N, 3) with z up; only those of upright faces are used, and all four directions of a rectangular building are one.
    The share is 0 without upright faces.
    """
    normals, areas = np.asarray(normals, dtype=np.float64), np.asarray(areas, dtype=np.float64)
    upright = np.abs(normals[:, 2]) < UPRIGHT_SIN
    if not areas[upright].sum() > 0:
        return 0.0, 0.0
    angles = np.arctan2(normals[upright, 1], normals[upright, 0]) % QUARTER
    weights = areas[upright]
    bins = 180
    histogram = np.bincount((angles / QUARTER * bins).astype(np.int64) % bins, weights, minlength=bins)
    yaw = (int(np.argmax(gaussian_filter1d(histogram, 2.0, mode="wrap"))) + 0.5) * QUARTER / bins
    for width in np.deg2rad([6.0, 4.0, 3.0, 3.0]):
        off = _wrapped(angles - yaw)
        near = np.abs(off) < width
        yaw += float(np.average(off[near], weights=weights[near])) if weights[near].sum() > 0 else 0.0
    near = np.abs(_wrapped(angles - yaw)) < np.deg2rad(5.0)
    yaw = float(_wrapped(np.array([yaw]))[0])
    return yaw, float(weights[near].sum() / weights.sum())


def vertical_planes(centers: ArrayLike, normals: ArrayLike, areas: ArrayLike, *, min_area: float) -> list[Plane]:
    """Upright planes with at least `min_area`, largest first.

    Upright faces vote for a direction (all 360 degrees, since the two sides of a wall are two planes), and those of a direction
    for an offset; the plane is then fitted to its faces, which do not vote again. centers, normals (N, 3), areas (N,).
    """
    centers, normals, areas = (np.asarray(a, dtype=np.float64) for a in (centers, normals, areas))
    left = np.abs(normals[:, 2]) < UPRIGHT_SIN
    angles = np.arctan2(normals[:, 1], normals[:, 0])
    planes: list[Plane] = []
    for yaw in _azimuth_peaks(angles[left], areas[left], min_area):
        normal = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        near = np.flatnonzero(left & (np.abs(_wrapped(angles - yaw, 2 * np.pi)) < np.deg2rad(15.0)))
        offsets = centers[near] @ normal
        for peak in weighted_peaks(offsets, areas[near], bin_size=0.02, separation=0.12, min_weight=min_area):
            taken = near[np.abs(offsets - peak.position) < 0.06]
            planes.append(_fitted(normal, centers[taken], areas[taken]))
            left[taken] = False
    return sorted(planes, key=lambda plane: -plane.area)


def _fitted(normal: Array, centers: Array, areas: Array) -> Plane:
    """The upright least-squares plane through faces whose common normal is about `normal`."""
    mean = np.average(centers[:, :2], axis=0, weights=areas)
    spread = centers[:, :2] - mean
    values, vectors = np.linalg.eigh(np.einsum("n,ni,nj->ij", areas, spread, spread))
    if values[1] > 25 * values[0]:  # long enough for its direction to be more accurate than that of the normals
        across = vectors[:, 0] * np.sign(vectors[:, 0] @ normal[:2])
        if across @ normal[:2] > np.cos(np.deg2rad(5.0)):
            normal = np.array([across[0], across[1], 0.0])
    return Plane(normal, float(mean @ normal[:2]), float(areas.sum()))


def assign_to_planes(
    planes: Sequence[Plane], centers: ArrayLike, normals: ArrayLike, *, max_distance: float, max_angle: float
) -> NDArray[np.int64]:
    """Index (N,) of the nearest plane of each face, -1 for a face farther than `max_distance` or turned by `max_angle`
    radians."""
    centers, normals = np.asarray(centers, dtype=np.float64), np.asarray(normals, dtype=np.float64)
    best, nearest = np.full(len(centers), -1), np.full(len(centers), max_distance)
    for index, plane in enumerate(planes):
        distance = np.abs(plane.distance(centers))
        closer = (distance < nearest) & (normals @ plane.normal > np.cos(max_angle))
        best[closer], nearest[closer] = index, distance[closer]
    return best


def _azimuth_peaks(angles: Array, areas: Array, min_area: float) -> list[float]:
    """Directions of the upright faces, heaviest first."""
    bins, fine = 360, 4
    index = ((angles + np.pi) / (2 * np.pi) * bins * fine).astype(np.int64) % (bins * fine)
    weights = np.bincount(index, areas, minlength=bins * fine)
    means = np.bincount(index, areas * angles, minlength=bins * fine) / np.maximum(weights, 1e-12)
    histogram = gaussian_filter1d(weights.reshape(bins, fine).sum(axis=1), 2.0, mode="wrap")
    peaks: list[float] = []
    while histogram.max() * 5 >= min_area:  # a peak smoothed by 2 bins is about five bins wide
        best = int(np.argmax(histogram))
        yaw = (best + 0.5) / bins * 2 * np.pi - np.pi
        for width in np.deg2rad([4.0, 3.0, 3.0]):
            off = _wrapped(means - yaw, 2 * np.pi)
            near = (np.abs(off) < width) & (weights > 0)
            yaw += float(np.average(off[near], weights=weights[near])) if near.any() else 0.0
        peaks.append(yaw)
        histogram[np.arange(best - 8, best + 9) % bins] = 0.0
    return peaks


def turned_yaw(yaw: float) -> float:
    """A difference of directions in radians to the nearest of four at right angles, in (-pi/4, pi/4]."""
    return float(_wrapped(np.array(yaw)))


def _wrapped(angles: Array, period: float = QUARTER) -> Array:
    """Angles in (-period/2, period/2]."""
    return np.asarray(period / 2 - (period / 2 - angles) % period)
