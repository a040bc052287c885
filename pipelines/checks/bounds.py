"""Whether a sequence and the settings of its map fit together: maps that would take hours and show nothing are refused."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.distance_field import MAX_CELLS
from mapping.tsdf.tsdf_config import TSDFConfig
from pipelines.frame import FrameSequence, SequenceError
from pipelines.loading import chosen_positions
from pipelines.settings import PipelineConfig
from scenegraph.graph_config import SceneGraphConfig

MOST_VOXELS_PER_PIXEL = 20.0
"""Voxels that a pixel covers at the greatest depth: with more of them surfaces are dots, and most of the work is for nothing."""
MOST_VIEWS_PER_STEP = 10.0
"""Steps between successive frames, in multiples of the greatest depth, with which no two frames see the same."""
MOST_VIEWS_PER_JUMP = 100.0
"""The largest of these steps, likewise: what lies between costs memory and is not mapped."""
MOST_PLAN_CELLS = 25_000_000
"""Of the floor plan of a whole map, which takes some fifty bytes of memory per cell: 250 x 250 m in cells of 5 cm."""
MOST_GROWTH = 4.0
"""Times that the cells of free space, of which there are at most MAX_CELLS, may become longer than the settings say."""


def check_bounds(sequence: FrameSequence, config: PipelineConfig) -> None:
    """Raises SequenceError for voxels that are too small for the chosen frames, and for cameras that are too far apart.

    The second is not checked where the settings say to trust the sequence, nor where the unit of its poses is not known.
    """
    infos = [sequence.infos[position] for position in chosen_positions(sequence, config.frames)]
    problem = next(
        (text for camera in {info.intrinsics for info in infos} if (text := voxel_problem(camera, config.tsdf))), ""
    )
    scale = config.align.pose_scale or (1.0 if sequence.is_metric else None)
    if not problem and scale is not None and not config.check.trust:
        places = [info.T_world_camera[:3, 3] * scale for info in infos if info.T_world_camera is not None]
        problem = step_problem(np.array(places).reshape(-1, 3), config.tsdf)
    if problem:
        raise SequenceError(f"{sequence.path}: {problem}")


def voxel_problem(camera: Intrinsics, config: TSDFConfig) -> str:
    """Why the voxels are too small for images of a camera, empty when they are not."""
    pixel = config.max_depth / min(camera.fx, camera.fy)
    least = pixel / MOST_VOXELS_PER_PIXEL
    if config.voxel_size >= least:
        return ""
    return (
        f"tsdf.voxel_size={config.voxel_size:g} is too small for {camera.width}x{camera.height} images, whose pixels cover "
        f"{pixel:.3g} m at tsdf.max_depth={config.max_depth:g}: use voxels of at least {least:.2g} m, a smaller "
        "tsdf.max_depth or larger images"
    )


def extent_problem(size: NDArray[np.float64], config: SceneGraphConfig) -> str:
    """Why a map of a size (3,) in metres is too large for a scene graph, empty when it is not.

    Poses that are wrong stretch it: its rooms would take all memory, or be found in cells of metres.
    """
    plan, cell = config.rooms.plan_cell, config.places.cell_size
    is_flat = float(size[0] * size[1]) <= MOST_PLAN_CELLS * plan**2
    if is_flat and float(np.prod(size + 3 * cell)) <= MAX_CELLS * (MOST_GROWTH * cell) ** 3:
        return ""
    return (
        f"the map spans {size[0]:.0f} x {size[1]:.0f} x {size[2]:.0f} m, too much for floor plans in cells of "
        f"graph.rooms.plan_cell={plan:g} m and free space in cells of graph.places.cell_size={cell:g} m: are poses wrong, or in "
        "a different unit from metres? If they are right, make both larger"
    )


def step_problem(places: NDArray[np.float64], config: TSDFConfig) -> str:
    """Why cameras at `places` (N, 3), in metres and in order, have no common view, empty when they may have."""
    if len(places) < 3:
        return ""
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    step, jump = float(np.median(steps)), float(steps.max())
    reach = f"but depth is used up to tsdf.max_depth={config.max_depth:g} m"
    if step > MOST_VIEWS_PER_STEP * config.max_depth:
        return (
            f"successive cameras are {step:.3g} m apart, {reach}: are the poses in a different unit from metres? Give it with "
            "--scale METRES_PER_UNIT, or --trust the sequence"
        )
    if jump > MOST_VIEWS_PER_JUMP * config.max_depth:
        return (
            f"the camera jumps by {jump:.3g} m from one frame to the next, {reach}: are some poses wrong? Leave these frames "
            "out with --range A:B, or --trust the sequence"
        )
    return ""
