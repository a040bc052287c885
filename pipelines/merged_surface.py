"""What several visits saw together: the sum of their volumes, and the surface of what was there on some visits only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mapping.mesh.mesh import Mesh
from pipelines.stages.graph_mesh import TransientSurface
from scenegraph.visits.diff_config import DiffConfig
from scenegraph.visits.items import Candidate, as_changed, items_of
from scenegraph.visits.joined_presence import PlacedVisit, visit_points

if TYPE_CHECKING:
    from mapping.tsdf.volume import TSDFVolume

Array = NDArray[np.float64]

LEAST_COUNT = 12
"""Points known to the other visit without which nothing is said of an object."""
AROUND = 0.08
"""Metres around the points of an object within which the surface of its class belongs to it."""
SAME = 0.06
"""Metres between the surfaces of one object in two visits."""
SAME_SHARE = 0.6


@dataclass(frozen=True, eq=False)
class ChangingSurface:
    """Surface of something that some visits saw gone: as the visit of number `owner` saw it, and the numbers of the visits that
    saw it gone."""

    owner: int
    surface: TransientSurface
    gone_in: frozenset[int]


def changing_surfaces(visits: Sequence[PlacedVisit], config: DiffConfig | None = None) -> list[ChangingSurface]:
    """All that one visit has and another one saw gone, each thing once, from the visit that saw most of it."""
    config = config or DiffConfig()
    found: list[tuple[int, int, TransientSurface]] = []
    for i in range(len(visits)):
        for j in range(len(visits)):
            if i != j:
                found += [(i, j, _surface(visits[i], item)) for item in _gone(visits[i], visits[j], config)]
    found.sort(key=lambda entry: -len(entry[2].mesh.vertices))
    chosen: list[ChangingSurface] = []
    for owner, other, surface in found:
        at = next((k for k, known in enumerate(chosen) if _is_same(surface.mesh, known.surface.mesh)), None)
        if at is None:
            chosen.append(ChangingSurface(owner, surface, frozenset({other})))
        else:
            known = chosen[at]
            chosen[at] = ChangingSurface(known.owner, known.surface, known.gone_in | {other})
    return [each for each in chosen if len(each.surface.mesh.faces)]


def _gone(visit: PlacedVisit, other: PlacedVisit, config: DiffConfig) -> list[Candidate]:
    """Objects of a visit, and parts of them, that another visit saw gone."""
    assert visit.visit.volume is not None
    mine = items_of(visit.visit, visit.T_world_visit, other.space)
    theirs = items_of(other.visit, other.T_world_visit, visit.space)
    items = as_changed(mine, theirs, visit.visit.volume.config.voxel_size, config)
    return [item for item in items if item.is_absent(config) and item.count >= LEAST_COUNT]


def _surface(visit: PlacedVisit, item: Candidate) -> TransientSurface:
    """The surface of an item: of the vertices of its class next to its points."""
    mesh, volume = visit.visit.mesh, visit.visit.volume
    assert mesh is not None
    assert mesh.objects is not None
    assert volume is not None
    labels = {node.number for _, node in visit.visit.graph.nodes("object") if node.label == item.node.label}
    away = cKDTree(item.points).query(visit_to_world(visit, mesh.vertices), distance_upper_bound=AROUND)[0]
    belongs = np.isfinite(away) & np.isin(mesh.objects, sorted(labels))
    part = mesh.submesh(belongs[mesh.faces].all(axis=1))
    part = Mesh(part.vertices, part.faces, colors=part.colors, labels=part.labels, confidence=part.confidence)
    return TransientSurface(part.transformed(visit.T_world_visit), volume, part.vertices)


def visit_to_world(visit: PlacedVisit, points: Array) -> Array:
    """Points (N, 3) of a visit in the common world."""
    from mapping.se3 import transform_points

    return transform_points(visit.T_world_visit, points)


def _is_same(mesh: Mesh, known: Mesh) -> bool:
    """Whether most of a surface lies on one that is known."""
    if not len(mesh.vertices) or not len(known.vertices):
        return False
    near = cKDTree(known.vertices).query(mesh.vertices, distance_upper_bound=SAME)[0]
    return bool(np.isfinite(near).mean() >= SAME_SHARE)


def summed_volume(
    visits: Sequence[PlacedVisit],
    changing: Sequence[ChangingSurface],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> TSDFVolume:
    """The sum of all volumes in the lattice of the first, each without what it saw of things that another visit saw gone: that
    visit knows what is behind them."""
    total: TSDFVolume | None = None
    for number, visit in enumerate(visits):
        volume = visit.visit.volume
        assert volume is not None
        points = [each.surface.mesh.vertices for each in changing if number not in each.gone_in]
        if points:
            reach = volume.config.behind_distance
            volume = volume.without(visit_points(visit, np.concatenate(points)), reach)
        if not np.array_equal(visit.T_world_visit, np.eye(4)):
            volume = volume.transformed(visit.T_world_visit)
        if total is None:
            total = volume.transformed(np.eye(4)) if volume is visit.visit.volume else volume
        else:
            total.merge(volume)
        progress(number + 1, len(visits))
    assert total is not None
    return total
