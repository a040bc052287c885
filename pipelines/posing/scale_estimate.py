"""The metres in one unit of poses that have none, from depth that a network predicts of single images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mapping.depth.pose_scale import LEAST_POINTS, pose_scale_from_points
from mapping.evenly import evenly
from pipelines.posing.furniture_heights import corrected_by_heights

Array = NDArray[np.float64]
LEAST_VIEWS = 3
MOST_VIEWS = 48
SCENE_DEVIATION = 0.15
"""Relative standard deviation of what all views of one place share, which is not in their spread: in the mean over 16 images the
shipped network's depth of single ones is off by -21, +5 and +9 % at the corners of three recordings (script not kept)."""
CARRIED_HEIGHT, CARRIED_DEVIATION = 1.45, 0.14
"""Metres above the floor at which people carry a camera, in the hand or on the head, and the relative standard deviation: 1.2
to 1.7 m are not quite 1.3 deviations."""
MOST_DEVIATIONS = 2.5
"""Deviations by which both may differ: beyond, nobody carried the camera, or what was taken for the floor is none."""


@dataclass(frozen=True, eq=False)
class SparseView:
    """Sparse points in an image: pixels (n, 2) as (u, v), and their depths (n,) along the camera's z axis in the poses' unit."""

    pixels: Array
    depths: Array


@dataclass(frozen=True)
class ScaleEstimate:
    """Metres in one unit of the poses.

    spread is the relative deviation of the scales of single views, of which there are `views`. carried_height is the height of
    the camera above the floor in metres, where it is part of the evidence that a person carried it; surfaces are the heights of
    level surfaces above the floor, where it is part of the evidence that furniture has standard ones, and after_surfaces is the
    relative standard deviation that is left with these.
    """

    scale: float
    spread: float
    views: int
    carried_height: float | None = None
    surfaces: tuple[float, ...] = ()
    after_surfaces: float = 0.0

    @property
    def deviation(self) -> float:
        """How far the scale may be off, relative: two standard deviations of what the views share and of their mean, and of the
        height at which a camera is carried, where that is known; of the standard heights of furniture, where these are."""
        if self.surfaces:
            return 2 * self.after_surfaces
        variance = SCENE_DEVIATION**2 + self.spread**2 / self.views
        if self.carried_height is not None:
            variance = 1 / (1 / variance + 1 / CARRIED_DEVIATION**2)
        return float(2 * variance**0.5)

    @property
    def evidence(self) -> tuple[str, ...]:
        """What the unit was estimated by, in a few words each."""
        carried = () if self.carried_height is None else ("carried height",)
        return ("network", *carried, *(("furniture",) if self.surfaces else ()))

    def with_surfaces(self, heights: Sequence[float]) -> ScaleEstimate:
        """The estimate that heights of level surfaces in metres, by this scale, correct."""
        found = corrected_by_heights(heights, self.deviation / 2)
        if found is None or found.deviation >= self.deviation / 2:  # between two furnishings nothing is known better
            return self
        carried = None if self.carried_height is None else found.factor * self.carried_height
        surfaces = tuple(found.factor * height for height in heights)
        return replace(
            self,
            scale=found.factor * self.scale,
            carried_height=carried,
            surfaces=surfaces,
            after_surfaces=found.deviation,
        )

    def with_height(self, height: float) -> ScaleEstimate:
        """The estimate that the height of the cameras above the floor, in the unit of the poses, makes surer: the mean of both
        logarithms by their variances. As it is where they differ too much for a camera that a person carried."""
        variance = (self.deviation / 2) ** 2
        difference = float(np.log(CARRIED_HEIGHT / height / self.scale))
        if abs(difference) > MOST_DEVIATIONS * (variance + CARRIED_DEVIATION**2) ** 0.5:
            return self
        scale = self.scale * float(np.exp(difference * variance / (variance + CARRIED_DEVIATION**2)))
        return replace(self, scale=scale, carried_height=height * scale)


def estimate_scale(
    views: Sequence[SparseView], predict: Callable[[int], NDArray[np.float32]], *, most_views: int = MOST_VIEWS
) -> ScaleEstimate | None:
    """The scale at which predicted depth agrees with the depths of sparse points; None where fewer than three views have any.

    Parameters
    ----------
    views : the points that each image observed.
    predict : the depth (H, W) in metres, 0 unknown, of the image of `views[i]`.
    most_views : how many images are predicted, spread over those with enough points.

    The scale is that of `pose_scale_from_points`.
    """
    useful = [i for i, view in enumerate(views) if (view.depths > 0).sum() >= LEAST_POINTS]
    ratios = [ratios_of(views[i], predict(i)) for i in evenly(useful, most_views)]
    compared = sum(len(ratio) >= LEAST_POINTS for ratio in ratios)
    found = pose_scale_from_points(ratios)
    if found is None or compared < LEAST_VIEWS:
        return None
    return ScaleEstimate(found.scale, found.spread or 0.0, compared)


def log_scale_of(view: SparseView, depth: NDArray[np.float32]) -> float | None:
    """The median of log(predicted depth / depth of the point); None where too few points lie on predicted depth (H, W)."""
    ratios = ratios_of(view, depth)
    return float(np.median(np.log(ratios))) if len(ratios) >= LEAST_POINTS else None


def ratios_of(view: SparseView, depth: NDArray[np.float32]) -> Array:
    """Predicted depth (H, W) over that of the point (n,), where the points lie on predicted depth."""
    height, width = depth.shape
    pixels = np.rint(view.pixels).astype(int)
    inside = ((pixels >= 0) & (pixels < [width, height])).all(axis=1) & (view.depths > 0)
    predicted = depth[pixels[inside, 1], pixels[inside, 0]].astype(np.float64)
    known = predicted > 0
    return np.asarray(predicted[known] / view.depths[inside][known])
