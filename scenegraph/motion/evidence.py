"""What the whole sequence says of every point of a frame: whether its place was seen to be free at other times."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scenegraph.motion import kernels
from scenegraph.motion.views import Views, inverse_poses

Array = NDArray[np.float64]

BINS, STEP = 80, 0.25  # of the table of margins, metres of depth
SURE_MARGIN, SURE_SHARE = 0.05, 0.01  # metres, and share of depth: differences that no depth is too exact for
DEVIATIONS = 3.5  # standard deviations of the difference of two frames that prove nothing
SAMPLED_FRAMES, SAMPLED_POINTS = 60, 400  # from which the noise of depth is estimated
LIMIT = 0.25  # share of depth above which a difference is another surface
QUANTILE, HALF_NORMAL = 0.7, 1.036  # of the positive differences, and where it lies for a normal distribution
LEAST_SAMPLES = 200  # in a bin of depth
GRID = 7  # by GRID points of a frame are looked for in others
LEAST_OVERLAP = 0.08  # share of them that a frame must see to be compared
MOST_VIEWS = 48  # frames that one is compared with
COARSE = 2  # every COARSE-th pixel of every COARSE-th row is examined first


@dataclass(frozen=True, eq=False)
class Points:
    """The points of a reduced frame: pixels (N,) by row, depth (N,) in metres, place (N, 3) in the world."""

    pixels: NDArray[np.int64]
    depth: NDArray[np.float32]
    place: Array

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Points:
        return Points(self.pixels[chosen], self.depth[chosen], np.ascontiguousarray(self.place[chosen]))

    def __len__(self) -> int:
        return len(self.pixels)


class Comparison:
    """Compares the frames of a sequence with each other."""

    def __init__(self, views: Views) -> None:
        self.views = views
        compared = views.compared
        poses = inverse_poses(views.T_world_camera[compared])
        self._arrays = kernels.ViewArrays(views.near, views.far, views.cameras[compared], poses, views.unit)
        self.noise = self._estimated_noise()
        depths = (np.arange(BINS) + 1) * STEP
        table = np.maximum(SURE_MARGIN + SURE_SHARE * depths, DEVIATIONS * self.noise)
        self._margins = kernels.Margins(table.astype(np.float32), STEP)

    def _estimated_noise(self) -> Array:
        """(BINS,) standard deviation in metres of the difference of the depth of two frames, by depth.

        Only frames that see farther than a point count, since occluders are nearer; movers are few.
        """
        views, rng = self.views, np.random.default_rng(0)
        wide = kernels.Margins(np.full(BINS, 1e6, np.float32), STEP)
        count = len(views.times)
        depths, shares = [], []
        for frame in np.unique(np.linspace(0, count - 1, min(count, SAMPLED_FRAMES)).astype(int)):
            points = self.points(int(frame))
            some = points[np.sort(rng.permutation(len(points))[:SAMPLED_POINTS])]
            for number in self._overlapping(points, int(frame), wide)[::6]:
                away = np.zeros(len(some), np.float32)
                kernels.differences(self._arrays, int(number), some.place, away)
                farther = (away > 0) & (away < LIMIT * some.depth)
                depths.append(some.depth[farther])
                shares.append(away[farther])
        return _by_depth(np.concatenate([np.zeros(0), *depths]), np.concatenate([np.zeros(0), *shares]))

    def points(self, frame: int) -> Points:
        """All points of a frame."""
        return Points(*self.views.points(frame))

    def overlapping(self, points: Points, frame: int) -> NDArray[np.int64]:
        """Numbers of the compared frames that see the places of points of a frame; more of those that see more of them."""
        return self._overlapping(points, frame, self._margins)

    def _overlapping(self, points: Points, frame: int, margins: kernels.Margins) -> NDArray[np.int64]:
        height, width = self.views.at.shape[1:]
        rows, columns = (np.linspace(0, size - 1, GRID + 2).astype(int)[1:-1] for size in (height, width))
        wanted = (rows[:, None] * width + columns).ravel()
        place = np.minimum(np.searchsorted(points.pixels, wanted), len(points) - 1)
        some = points[place[points.pixels[place] == wanted] if len(points) else place[:0]]
        seen = np.zeros(len(self.views.compared), np.int32)
        kernels.find_overlap(self._arrays, margins, some.place, some.depth, seen)
        share = seen / max(len(some), 1)
        candidates = np.flatnonzero((share >= LEAST_OVERLAP) & (self.views.compared != frame))
        if len(candidates) <= MOST_VIEWS:
            return candidates
        total = np.cumsum(share[candidates])
        return candidates[np.unique(np.searchsorted(total, (np.arange(MOST_VIEWS) + 0.5) * total[-1] / MOST_VIEWS))]

    def freedom(self, frame: int) -> NDArray[np.float32]:
        """(H, W) how surely the place of each pixel was free at another time: by how many frames in a row more passed through
        it than confirmed it. Of places that are not near one where every other pixel finds any, 0."""
        height, width = self.views.at.shape[1:]
        found, points = np.zeros(height * width, np.float32), self.points(frame)
        if not len(points):
            return found.reshape(height, width)
        chosen = self.overlapping(points, frame)
        coarse = (points.pixels // width % COARSE == 0) & (points.pixels % width % COARSE == 0)
        found[points.pixels[coarse]] = self.weigh(points[coarse], chosen, frame).best
        hint = np.zeros((height, width), np.uint8)
        hint[::COARSE, ::COARSE] = found.reshape(height, width)[::COARSE, ::COARSE] > 0
        near = cv2.dilate(hint, np.ones((2 * COARSE + 1, 2 * COARSE + 1), np.uint8)).ravel()[points.pixels] > 0
        fine = near & ~coarse
        found[points.pixels[fine]] = self.weigh(points[fine], chosen, frame).best
        return found.reshape(height, width)

    def weigh(self, points: Points, chosen: NDArray[np.int64], frame: int) -> kernels.Evidence:
        """What the `chosen` compared frames, in order of time, say of points of a frame."""
        count = len(points)
        sums, counts = np.zeros((2, count), np.float32), np.zeros((2, count), np.int32)
        found = kernels.Evidence(sums[0], sums[1], counts[0], counts[1])
        after = int(np.searchsorted(self.views.compared[chosen], frame))
        kernels.weigh(self._arrays, self._margins, chosen, after, points.place, points.depth, found)
        return found

    def margin(self, depth: float) -> float:
        """Metres by which two frames may differ at a depth."""
        return float(self._margins.table[min(int(depth / STEP), BINS - 1)])


def _by_depth(depth: Array, away: Array) -> Array:
    """(BINS,) noise by depth: as it grows with depth, a bin has at most that of farther ones, and movers near by add none.

    Beyond the farthest bin with enough samples it grows in proportion to the depth.
    """
    bins = np.minimum((depth / STEP).astype(int), BINS - 1)
    found = np.full(BINS, np.inf)
    for k in range(BINS):
        mine = away[(bins >= k - 1) & (bins <= k + 1)]
        if len(mine) >= LEAST_SAMPLES:
            found[k] = float(np.quantile(mine, QUANTILE)) / HALF_NORMAL
    known = np.flatnonzero(np.isfinite(found))
    if not len(known):
        return np.zeros(BINS)
    noise = np.minimum.accumulate(found[::-1])[::-1]
    last = int(known[-1])
    noise[last:] = found[last] * np.arange(last + 1, BINS + 1) / (last + 1)
    return noise
