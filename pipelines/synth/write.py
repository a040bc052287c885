"""One visit of a camera to a world as a canonical sequence folder with ground truth."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.camera import Intrinsics
from mapping.files import make_folder
from mapping.mesh.io import write_mesh
from mapping.se3 import inverse
from pipelines.frame import Frame
from pipelines.sequences.ingest import CanonicalWriter
from pipelines.synth.base.world import World
from pipelines.synth.motion.camera_path import CameraPath
from pipelines.synth.motion.people import People
from pipelines.synth.rendering.optics import OpticsConfig, develop, meter, motion_blur, plan_exposures
from pipelines.synth.rendering.people_light import Moving
from pipelines.synth.rendering.render import Renderer
from pipelines.synth.rendering.threads import in_order
from pipelines.synth.truth import Seen, count_pixels, largest_number, truth_graph, truth_mesh
from scenegraph.files.json_io import save_scene_graph
from scenegraph.labels import nyu40

Array = NDArray[np.float64]
Progress = Callable[[str, int, int], None]

METERING_WIDTH = 40
"""Width in pixels of the images from which the exposure is planned."""


@dataclass(frozen=True, eq=False)
class Visit:
    """A camera in a world at one visit: scene, poses, times and settings."""

    world: World
    number: int
    renderer: Renderer
    camera: Intrinsics
    path: CameraPath
    times: Array
    people: People | None
    optics: OpticsConfig
    seed: int

    def moving(self, time: float) -> Moving | None:
        """The people at a time, with the light around them."""
        if self.people is None:
            return None
        centers = self.people.centers(time)
        surfaces = self.people.surfaces(time)
        cubes = np.repeat(self.renderer.probe(centers), len(surfaces.numbers) // len(centers), axis=0)
        return Moving(surfaces, cubes, self.people.balls(time), centers)


def write_visit(
    folder: Path, visit: Visit, progress: Progress, *, image_format: Literal["png", "jpg"], extra: dict[str, Any]
) -> None:
    """Render all frames of a visit into a new sequence folder and write its ground truth.

    `extra` are further keys of its transforms.json, which also has the `credits` of catalogue models where there are any.
    """
    if visit.world.credits:
        extra = {**extra, "credits": list(visit.world.credits)}
    poses = visit.path.poses(visit.times)
    exposures = _exposures(visit, poses)
    most = largest_number(visit.world.bodies) + (0 if visit.people is None else len(visit.people.walkers))
    pixels = np.zeros((len(poses), most + 1), np.int64)
    writer = CanonicalWriter(
        folder, visit.camera, world_up=(0.0, 0.0, 1.0), label_space=nyu40(), image_format=image_format, extra=extra
    )

    def make(index: int) -> NDArray[np.int64]:
        frame = render_frame(visit, index, poses[index], float(exposures[index]))
        assert frame.recorded.instances is not None
        writer.add(frame)
        return count_pixels(frame.recorded.instances, most)

    with writer, closing(in_order(make, len(poses))) as counts:
        for index, pixels[index] in enumerate(counts):
            progress("render", index + 1, len(poses))
    truth = folder / "ground_truth"
    make_folder(truth)
    write_mesh(truth_mesh(visit.renderer.surfaces), truth / "mesh.ply", object_property="instance")
    graph = truth_graph(visit.world, visit.number, visit.people, Seen(visit.times, poses, pixels))
    save_scene_graph(graph, truth / "scene_graph.json")


def render_frame(visit: Visit, index: int, pose: Array, exposure: float) -> Frame:
    """One frame with its complete truth."""
    time = float(visit.times[index])
    linear, view = visit.renderer.color(visit.camera, pose, visit.moving(time))
    if visit.optics.shutter > 0:
        ends = np.clip([time - visit.optics.shutter / 2, time + visit.optics.shutter / 2], 0.0, visit.path.duration)
        start, end = visit.path.poses(ends)
        linear = motion_blur(linear, view.depth, visit.camera, inverse(end) @ start)
    rng = np.random.default_rng([visit.seed, visit.number, index])
    return Frame(
        index,
        time,
        develop(linear, exposure, visit.optics, rng),
        visit.camera,
        pose,
        Predictions(view.depth, view.labels, normals=view.normals, edges=view.edges, instances=view.instances),
    )


def _exposures(visit: Visit, poses: Array) -> Array:
    small = visit.camera.resized(
        METERING_WIDTH, max(1, round(METERING_WIDTH * visit.camera.height / visit.camera.width))
    )

    def measure(index: int) -> float:
        return meter(visit.renderer.color(small, poses[index], smooth=False)[0])

    with closing(in_order(measure, len(poses))) as brightness:
        return plan_exposures(list(brightness), visit.times)
