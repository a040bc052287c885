"""Typical boxes of the objects of rendered rooms, as the table of scenegraph/objects/typical_boxes.py has them.

    python tools/typical_boxes.py [--worlds 80] [--models /usr/share/sweethome3d/furniture]

furnishes synthetic flats without rendering them, every second one with furniture of the catalogues, groups the boxes of each
class by size and height above the floor, and prints the median of each group with its share.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from pipelines.synth.base.world import Body, World
from pipelines.synth.generate import WorldConfig, generate_world
from scenegraph.labels import nyu40
from scenegraph.objects.typical_boxes import BASE_SPREAD, THINNEST

Array = NDArray[np.float64]
ROOMS = 3
FIRST_SEED = 70_100
MOST_GROUPS = 6
LENGTH_SPREAD = 0.3
"""Of the log of a length within a group: of furniture itself, less than that of boxes of maps."""
NEAR = 0.8
"""Mean distance of the boxes of a group, in spreads, below which more groups add nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=80)
    parser.add_argument("--models", type=Path, help="folder of OBJ furniture catalogues")
    options = parser.parse_args()
    boxes: dict[str, list[Array]] = defaultdict(list)
    for seed in range(FIRST_SEED, FIRST_SEED + options.worlds):
        world = generate_world(WorldConfig(rooms=ROOMS, models=options.models if seed % 2 else None), seed)
        for body in world.bodies:
            if body.is_object and body.box(0) is not None:
                boxes[nyu40().name_of(body.label_id)].append(box_above_floor(world, body))
    for name in sorted(boxes):
        for middle, share in groups_of(np.array(boxes[name])):
            print(f"{name:16}", *(f"{length:5.2f}" for length in middle), f"{share:5.2f}")


def box_above_floor(world: World, body: Body) -> Array:
    """Long side, short side, height, and metres of the base above the floor of its storey."""
    box = body.box(0)
    assert box is not None
    base = box.center[2] - box.size[2] / 2
    floor = max((low for low, _ in world.storeys if low < base + 0.5), default=0.0)
    return np.array([box.size[:2].max(), box.size[:2].min(), box.size[2], base - floor])


def groups_of(boxes: Array) -> list[tuple[Array, float]]:
    """The median box of each group of boxes (N, 4), and the share of the boxes in it."""
    lengths = np.log(np.maximum(boxes[:, :3], THINNEST)) / LENGTH_SPREAD
    features = np.column_stack([lengths, boxes[:, 3] / BASE_SPREAD])
    for count in range(1, MOST_GROUPS + 1):
        middles, group = kmeans2(features, count, minit="++", seed=0, iter=30)
        if np.linalg.norm(features - middles[group], axis=1).mean() < NEAR:
            break
    return [(np.median(boxes[group == k], axis=0), float((group == k).mean())) for k in np.unique(group)]


if __name__ == "__main__":
    main()
