"""Boundary evaluation as on BSDS and NYUDv2: non-maximum suppression, thinning, one-to-one matching within a distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, map_coordinates

Numbers = NDArray[np.int64]

SMOOTHING_RADIUS = 4  # pixels, of the triangle filter before the orientation is taken
NMS_MARGIN = 1.01  # a pixel survives a neighbour that is up to this factor stronger
BORDER = 5  # pixels over which edges fade out towards the image border


def suppress_non_maxima(edges: NDArray[np.floating]) -> NDArray[np.float64]:
    """Edge strength (H, W) in [0, 1] with all pixels set to 0 that have a stronger neighbour across the edge.

    The steps and constants of the structured edges toolbox (Dollar and Zitnick, PAMI 2015), except that the direction across
    the edge is the exact principal direction of the smoothed map's second derivatives, not the toolbox's approximation.
    """
    strength = np.asarray(edges, dtype=np.float64)
    steps = np.arange(1, SMOOTHING_RADIUS + 2)
    triangle = np.concatenate([steps, steps[-2::-1]]) / (SMOOTHING_RADIUS + 1) ** 2
    smooth = convolve1d(convolve1d(strength, triangle, axis=0), triangle, axis=1)
    dy, dx = np.gradient(smooth)
    dxy, dxx = np.gradient(dx)
    dyy = np.gradient(dy, axis=0)
    # The angle is that of the algebraically larger curvature; across an edge it is the one that is larger in size: negative on
    # the crest, positive at its feet.
    across = 0.5 * np.arctan2(2 * dxy, dxx - dyy) + np.where(dxx + dyy < 0, np.pi / 2, 0.0)
    v, u = np.indices(strength.shape)
    kept = np.ones(strength.shape, dtype=bool)
    for side in (-1, 1):
        neighbour = map_coordinates(
            strength, [v + side * np.sin(across), u + side * np.cos(across)], order=1, mode="nearest"
        )
        kept &= strength * NMS_MARGIN >= neighbour
    fade_v, fade_u = (np.minimum(np.minimum(np.arange(n), np.arange(n)[::-1]) / BORDER, 1.0) for n in strength.shape)
    return np.where(kept, strength, 0.0) * fade_v[:, None] * fade_u


def thin(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask (H, W) worn down to lines one pixel wide that keep its topology (Guo and Hall 1989, algorithm A1)."""
    padded = np.pad(np.asarray(mask, dtype=bool), 1)
    flat, width = padded.ravel(), padded.shape[1]
    # East first, then counter-clockwise with y up, as the paper numbers its neighbours.
    neighbours = np.array([1, 1 - width, -width, -1 - width, -1, width - 1, width, width + 1])
    pixels = np.flatnonzero(flat)
    while True:
        before = len(pixels)
        for deletable in _DELETABLE:
            code = flat[pixels[:, None] + neighbours] @ _BITS
            gone = deletable[code]
            flat[pixels[gone]] = False
            pixels = pixels[~gone]
        if len(pixels) == before:
            return padded[1:-1, 1:-1]


class EdgeMatcher:
    """Largest one-to-one matchings of predicted pixels to the true pixels of one image, `max_distance` pixels apart at most.

    The matching is greedy by distance first and then made as large as can be with augmenting paths (Berge 1957), found for all
    free pixels at once by a breadth-first forest (Azad, Buluc and Pothen 2016), level by level in numpy. Each call starts from
    what is left of the matching before, which makes a series of thresholds cheap and changes no result: the largest number
    of pairs is unique.
    """

    def __init__(self, truth: NDArray[np.bool_], max_distance: float) -> None:
        self._reach = int(max_distance)
        dv, du = np.indices((2 * self._reach + 1, 2 * self._reach + 1)) - self._reach
        squared = dv**2 + du**2
        near = squared <= max_distance**2
        width = truth.shape[1] + 2 * self._reach
        nearest_first = np.argsort(squared[near], kind="stable")
        # The images are padded, so that a step in the flat array never leaves its row unnoticed.
        self._steps = (dv * width + du)[near][nearest_first]
        self._truth = np.pad(truth, self._reach).ravel()
        self._partner_of_predicted = np.full(len(self._truth), -1)
        self._partner_of_truth = np.full(len(self._truth), -1)

    def count(self, predicted: NDArray[np.bool_]) -> int:
        """The greatest possible number of pairs of a predicted (H, W) and a true pixel, each pixel in at most one."""
        mask = np.pad(predicted, self._reach).ravel()
        lost = np.flatnonzero((self._partner_of_predicted >= 0) & ~mask)
        self._partner_of_truth[self._partner_of_predicted[lost]] = -1
        self._partner_of_predicted[lost] = -1
        self._match_nearest(mask)
        self._match_all(mask)
        return int((self._partner_of_predicted >= 0).sum())

    def _match_nearest(self, mask: NDArray[np.bool_]) -> None:
        """Pairs of free pixels at distance 0, then 1, and so on; those of one step cannot be in each other's way."""
        free = np.flatnonzero(mask & (self._partner_of_predicted < 0))
        free_truth = self._truth & (self._partner_of_truth < 0)
        for step in self._steps:
            hit = free_truth[free + step]
            pixels = free[hit]
            self._partner_of_predicted[pixels] = pixels + step
            self._partner_of_truth[pixels + step] = pixels
            free_truth[pixels + step] = False
            free = free[~hit]

    def _match_all(self, mask: NDArray[np.bool_]) -> None:
        """Augment until no path is left, from the side with fewer free pixels."""
        free_predicted = (mask & (self._partner_of_predicted < 0)).sum()
        if free_predicted <= (self._truth & (self._partner_of_truth < 0)).sum():
            sides = mask, self._partner_of_predicted, self._truth, self._partner_of_truth
        else:
            sides = self._truth, self._partner_of_truth, mask, self._partner_of_predicted
        while _augment(*sides, self._steps):  # the steps go both ways, so they serve either side
            pass


def _augment(
    left: NDArray[np.bool_], left_partner: Numbers, right: NDArray[np.bool_], right_partner: Numbers, steps: Numbers
) -> bool:
    """Grow alternating trees from all free left pixels; swap the pairs along one path of each tree that ends at a free right
    pixel. Trees share no pixel, so their paths do not either. False when there is none."""
    unseen, came_from = right.copy(), np.full(len(left), -1)
    root, is_done = np.full(len(left), -1), np.zeros(len(left), dtype=bool)
    frontier = np.flatnonzero(left & (left_partner < 0))
    root[frontier] = frontier
    ends = [frontier[:0]]
    while len(frontier):
        neighbour = frontier[:, None] + steps
        reached = unseen[neighbour]
        new, first = np.unique(neighbour[reached], return_index=True)
        came_from[new] = np.repeat(frontier, reached.sum(axis=1))[first]
        unseen[new] = False
        tree = root[came_from[new]]
        is_free = right_partner[new] < 0
        finished, first = np.unique(tree[is_free], return_index=True)
        ends.append(new[is_free][first])
        is_done[finished] = True
        inner = ~is_free & ~is_done[tree]
        frontier = right_partner[new[inner]]
        root[frontier] = tree[inner]
    tips = np.concatenate(ends)
    found = len(tips) > 0
    while len(tips):
        starts = came_from[tips]
        before = left_partner[starts]
        left_partner[starts], right_partner[tips] = tips, starts
        tips = before[before >= 0]
    return found


def _deletable_tables() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For all 256 neighbourhoods whether the centre may go, in the first and in the second half of a round."""
    x = (np.arange(256) >> np.arange(8)[:, None]) & 1 == 1  # x[0] is the paper's x1, and so on around the centre
    sides, corners, next_sides = x[0::2], x[1::2], np.roll(x[0::2], -1, axis=0)
    crossings = (~sides & (corners | next_sides)).sum(axis=0)
    fewest = np.minimum((sides | corners).sum(axis=0), (corners | next_sides).sum(axis=0))
    simple = (crossings == 1) & (fewest >= 2) & (fewest <= 3)
    return simple & ~((x[1] | x[2] | ~x[7]) & x[0]), simple & ~((x[5] | x[6] | ~x[3]) & x[4])


_DELETABLE = _deletable_tables()
_BITS = 1 << np.arange(8)
