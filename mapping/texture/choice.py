"""Which view shows each face: the best one, of those that agree on its colour, the same as the next faces' where possible.

As in Waechter, Moehrle and Goesele, "Let There Be Color!" (2014), sections 3.1 to 3.3, with a coarse start and local updates in
place of their graph cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mapping.mesh.mesh import Mesh
from mapping.texture.views import Sightings

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

DARK, BRIGHT = 12.0, 243.0
"""Colours between these say how a view is exposed."""
LARGEST_GAIN = 0.7
"""Of the logarithm of a view's exposure."""
LEAST_DEVIATION, MOST_DEVIATION, DEVIATIONS = 18.0, 60.0, 2.5
"""A view that shows a face in another colour than the others do is left out: by more than so many median deviations, which are
between the first two."""
FEW = 3
"""Views of a face from which their median is its colour."""
QUITE_ANOTHER = 2.0
"""Times that, from which the faces around it are left out, too."""
CELL = 0.6
"""Metres: faces of one cell and direction begin with one view."""
TOGETHER = 0.6
"""What a neighbour of the same view adds, as a logarithm of quality."""
ROUNDS = 12


def exposures(mesh: Mesh, seen: Sequence[Sightings]) -> Array:
    """(N, 3) factors by which the colours of N views are to be multiplied, so that they agree on what they show together.

    Colours of the mesh count as much as all views together: errors of many neighbours in a row would add up without them.
    """
    faces = len(mesh.faces)
    fused = None if mesh.colors is None else np.log(np.maximum(mesh.colors[mesh.faces].mean(axis=1), DARK))
    gains = np.zeros((len(seen), 3))
    usable = [((s.colors > DARK) & (s.colors < BRIGHT)).all(axis=1) for s in seen]
    logs = [np.log(s.colors[good]) for s, good in zip(seen, usable, strict=True)]
    rows = [s.faces[good] for s, good in zip(seen, usable, strict=True)]
    if not any(len(each) for each in rows):
        return np.ones((len(seen), 3))
    every = np.concatenate(rows)
    counts = np.bincount(every, minlength=faces)
    for _ in range(ROUNDS):
        corrected = np.concatenate([log + gain for log, gain in zip(logs, gains, strict=True)])
        sums = np.stack([np.bincount(every, corrected[:, k], minlength=faces) for k in range(3)], axis=1)
        means: Array = sums / np.maximum(counts, 1)[:, None]
        if fused is not None:
            means = (means + fused) / 2
        for number, (log, row) in enumerate(zip(logs, rows, strict=True)):
            shared = counts[row] > (1 if fused is None else 0)
            if shared.sum() >= 10:
                gains[number] = np.median(means[row[shared]] - log[shared], axis=0)
        if fused is None:
            gains -= np.median(gains, axis=0)
    return np.exp(np.clip(gains, -LARGEST_GAIN, LARGEST_GAIN))


def agreeing(mesh: Mesh, seen: Sequence[Sightings], gains: Array, neighbours: Ints) -> list[NDArray[np.bool_]]:
    """For each view, which of its sightings (S,) show a face in the colour that most others show it in.

    What is next to a face in quite another colour is not taken from that view either: it shows a part of the same thing.
    neighbours (E, 2) are pairs of faces that share an edge.
    """
    faces = len(mesh.faces)
    every = np.concatenate([s.faces for s in seen])
    colors = np.concatenate([s.colors * gain for s, gain in zip(seen, gains, strict=True)])
    usual = np.stack([_medians(every, colors[:, k], faces) for k in range(3)], axis=1)
    if mesh.colors is not None:  # it is of all frames: better than the word of one or two
        few = np.bincount(every, minlength=faces) < FEW
        usual[few] = mesh.colors[mesh.faces[few]].mean(axis=1)
    away = np.abs(colors - usual[every]).max(axis=1)
    allowed = np.clip(DEVIATIONS * _medians(every, away, faces), LEAST_DEVIATION, MOST_DEVIATION)[every]
    ends = np.cumsum([len(s.faces) for s in seen])[:-1]
    kept = []
    for s, off, limit in zip(seen, np.split(away, ends), np.split(allowed, ends), strict=True):
        wrong = np.zeros(faces, bool)
        wrong[s.faces[off > QUITE_ANOTHER * limit]] = True
        adjacent = np.zeros(faces, bool)
        for a, b in (neighbours.T, neighbours.T[::-1]):
            adjacent[a[wrong[b]]] = True
        kept.append((off <= limit) & ~adjacent[s.faces])
    return kept


def chosen_views(
    mesh: Mesh, seen: Sequence[Sightings], kept: Sequence[NDArray[np.bool_]], neighbours: Ints
) -> NDArray[np.int64]:
    """(F,) the number of the view of each face, -1 for none.

    neighbours (E, 2) are pairs of faces that share an edge.
    """
    table = _Qualities(seen, kept, len(mesh.faces))
    views = table.best_of_cells(_cells(mesh))
    links = np.concatenate([neighbours, neighbours[:, ::-1]])
    for round_number in range(ROUNDS):
        # Only half of the faces at a time, so that neighbours do not change places for ever.
        active = (np.arange(len(mesh.faces)) * 2654435761 // 65536 + round_number) % 2 == 0
        views = table.improved(views, links, active)
    return views


class _Qualities:
    """The logarithms of the qualities of views for faces, as a table that is sorted by face and then by view."""

    def __init__(self, seen: Sequence[Sightings], kept: Sequence[NDArray[np.bool_]], faces: int) -> None:
        face = np.concatenate([s.faces[k] for s, k in zip(seen, kept, strict=True)])
        view = np.concatenate([np.full(int(k.sum()), n) for n, k in enumerate(kept)]).astype(np.int64)
        quality = np.concatenate([s.quality[k] for s, k in zip(seen, kept, strict=True)])
        order = np.lexsort((view, face))
        self.faces, self.count = faces, len(seen)
        self.face, self.view = face[order], view[order]
        self.quality = np.log(np.maximum(quality[order], 1e-3))
        self.keys = self.face * self.count + self.view

    def best_of_cells(self, cells: Ints) -> Ints:
        """(F,) the view that is best for all faces of a cell together, where it sees the face, else the best one for it."""
        best = self._best(self.face, self.quality, self.faces)
        top = np.full(self.faces, -np.inf)
        np.maximum.at(top, self.face, self.quality)
        pairs, index = np.unique(cells[self.face] * self.count + self.view, return_inverse=True)
        # A view counts by how near it comes to the best one for each face that it sees.
        near = np.exp(self.quality - top[self.face])
        gain = np.bincount(index.ravel(), near, minlength=len(pairs)).astype(np.float64)
        of_cell = self._best(pairs // self.count, gain, int(cells.max(initial=0)) + 1, pairs % self.count)
        wanted = of_cell[cells]
        return np.where(np.isfinite(self.value(np.arange(self.faces), wanted)), wanted, best)

    def improved(self, views: Ints, links: Ints, active: NDArray[np.bool_]) -> Ints:
        """The views after each active face has taken the best of its own and its neighbours', with a bonus for equal ones."""
        faces = np.arange(self.faces)
        to, other = links.T
        pairs, counts = np.unique(to * (self.count + 1) + views[other] + 1, return_counts=True)
        face, candidate = pairs // (self.count + 1), pairs % (self.count + 1) - 1
        score = self.value(face, candidate) + TOGETHER * counts
        same = np.zeros(self.faces)
        own = candidate == views[face]
        same[face[own]] = counts[own]
        current = self.value(faces, views) + TOGETHER * same
        best = self._best(face, score, self.faces, candidate)
        top = np.full(self.faces, -np.inf)
        np.maximum.at(top, face, score)
        return np.where(active & (top > current) & (best >= 0), best, views)

    def value(self, faces: Ints, views: Ints) -> Array:
        """The logarithm of the quality of views for faces, minus infinity where they do not see them."""
        keys = faces * self.count + views
        at = np.minimum(np.searchsorted(self.keys, keys), max(len(self.keys) - 1, 0))
        if not len(self.keys):
            return np.full(len(faces), -np.inf)
        return np.where((self.keys[at] == keys) & (views >= 0), self.quality[at], -np.inf)

    def _best(self, groups: Ints, score: Array, count: int, values: Ints | None = None) -> Ints:
        """(count,) of each group the value, by default the view, with the highest score; -1 for a group without any."""
        values = self.view if values is None else values
        order = np.lexsort((values, -score, groups))
        first = np.unique(groups[order], return_index=True)
        best = np.full(count, -1, np.int64)
        best[first[0]] = values[order[first[1]]]
        return best


def _cells(mesh: Mesh) -> Ints:
    """(F,) numbers of cells of faces that are near to each other and look in the same of six directions."""
    corners, vectors = mesh.vertices[mesh.faces].mean(axis=1), mesh.face_vectors()
    axis = np.abs(vectors).argmax(axis=1)
    facing = 2 * axis + (vectors[np.arange(len(vectors)), axis] < 0)
    keys = np.column_stack([np.floor(corners / CELL).astype(np.int64), facing])
    return np.asarray(np.unique(keys, axis=0, return_inverse=True)[1].ravel())


def _medians(groups: Ints, values: Array, count: int) -> Array:
    """(count,) the median of the values of each group, 0 for one without any."""
    order = np.lexsort((values, groups))
    sizes = np.bincount(groups, minlength=count)
    starts = np.cumsum(sizes) - sizes
    middle = np.minimum(starts + sizes // 2, max(len(values) - 1, 0))
    return np.where(sizes > 0, values[order][middle], 0.0) if len(values) else np.zeros(count)
