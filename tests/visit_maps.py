"""Maps of visits to a room of blocks, fused from exact images: what the comparison of visits takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from walkers import INTRINSICS, Block, camera, render

from mapping.tsdf.tsdf_config import TSDFConfig
from mapping.tsdf.volume import TSDFVolume
from scenegraph.boxes import box_around
from scenegraph.graph import SceneGraph
from scenegraph.labels import nyu40
from scenegraph.nodes import ObjectNode
from scenegraph.visits.space import VisitMap

SPACE = nyu40()
EYES = ((-3.0, -3.0, 1.6), (3.0, -3.0, 1.6), (3.0, 3.0, 1.6), (-3.0, 3.0, 1.6), (0.0, -3.5, 1.6), (0.0, 3.5, 1.6))
EDGE = 0.06  # metres around a block within which surface is its own


def block(label: str, center: Sequence[float], size: Sequence[float]) -> Block:
    """A block on the floor, or with a centre of three numbers anywhere."""
    x, y, *z = center
    low_z = z[0] - size[2] / 2 if z else 0.0
    low = (x - size[0] / 2, y - size[1] / 2, low_z)
    return Block(low, (x + size[0] / 2, y + size[1] / 2, low_z + size[2]), SPACE.id_of(label))


def visit_of(blocks: Sequence[Block], eyes: Sequence[Sequence[float]] = EYES, target=(0.0, 0.0, 0.6)) -> VisitMap:
    """The map of a room with these blocks, seen from some eyes; an object O0, O1, ... for each block of which there is surface,
    boxed as it was seen."""
    volume = TSDFVolume(TSDFConfig(voxel_size=0.05, max_depth=12.0, threads=1))
    for eye in eyes:
        pose = camera(eye, target)
        view = render([], blocks, 0.0, pose)
        volume.integrate(view.depth, INTRINSICS, pose, labels=view.labels)
    mesh = volume.extract_mesh(min_weight=0.5)
    numbers = np.zeros(len(mesh.vertices), np.uint32)
    graph = SceneGraph(SPACE)
    for number, each in enumerate(blocks, start=1):
        low, high = np.array(each.low) - EDGE, np.array(each.high) + EDGE
        inside = ((mesh.vertices >= low) & (mesh.vertices <= high)).all(axis=1) & (mesh.labels == each.label)
        if inside.sum() < 10:
            continue
        numbers[inside] = number
        box = box_around(mesh.vertices[inside])
        name = SPACE.name_of(each.label)
        graph.add(
            ObjectNode(name, each.label, box.center, box, {name: 1.0}, views=5, number=number), key=f"O{number - 1}"
        )
    return VisitMap(graph, replace(mesh, objects=numbers), volume)
