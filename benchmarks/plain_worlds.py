"""Synthetic worlds with exact truth and plain colours: no light is computed, so that a world takes seconds.

For benchmarks in which images matter little: images show one colour per body and, of people, one above and one below the hip.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from m2h import Predictions
from mapping.files import make_folder
from mapping.mesh.io import write_mesh
from mapping.se3 import transform_points
from pipelines.frame import Frame
from pipelines.sequences.ingest import CanonicalWriter
from pipelines.synth.generate import generate_world
from pipelines.synth.motion.camera_path import plan_camera
from pipelines.synth.motion.people import People, plan_people
from pipelines.synth.rendering.people_light import Moving
from pipelines.synth.rendering.render import Renderer, TrueView
from pipelines.synth.simulate import CAMERA_STREAM, FRAME_RATE, PEOPLE_STREAM, SynthConfig
from pipelines.synth.truth import Seen, count_pixels, largest_number, truth_graph, truth_mesh
from scenegraph.files.json_io import save_scene_graph
from scenegraph.labels import nyu40

HIP = 0.95
"""Metres over the feet at which the colour of a person's clothes changes."""
PERSON = nyu40().id_of("person")


def write_plain_world(folder: Path, config: SynthConfig) -> Path:
    """The world of `m2h synth` with these settings as a sequence with truth; the folder is kept when it is there already."""
    if (folder / "ground_truth" / "scene_graph.json").is_file():
        return folder
    world = generate_world(config.world, config.seed)
    renderer = Renderer(world, 0)
    streams = [np.random.default_rng([config.seed, 0, stream]) for stream in (CAMERA_STREAM, PEOPLE_STREAM)]
    path = plan_camera(world, 0, renderer.surfaces, renderer.caster, config.camera, streams[0])
    first = largest_number(world.bodies) + 1
    people = plan_people(world, 0, config.people, path, first, streams[1]) if config.people else None
    times = np.round(path.frame_times(config.frames or max(2, round(FRAME_RATE * path.duration))), 6)
    poses, most = path.poses(times), first + config.people
    pixels = np.zeros((len(times), most + 1), np.int64)
    colors = np.random.default_rng([config.seed, 7]).integers(40, 220, (2, most + 1, 3)).astype(np.float64)
    with CanonicalWriter(folder, config.camera, world_up=(0.0, 0.0, 1.0), label_space=nyu40()) as writer:
        for index, (time, pose) in enumerate(zip(times.tolist(), poses, strict=True)):
            view = renderer.view(config.camera, pose, _moving(people, time))
            rgb = _painted(view, config, pose, colors)
            recorded = Predictions(view.depth, view.labels, normals=view.normals, instances=view.instances)
            writer.add(Frame(index, time, rgb, config.camera, pose, replace(recorded, edges=view.edges)))
            pixels[index] = count_pixels(view.instances, most)
    make_folder(folder / "ground_truth")
    write_mesh(truth_mesh(renderer.surfaces), folder / "ground_truth" / "mesh.ply", object_property="instance")
    save_scene_graph(
        truth_graph(world, 0, people, Seen(times, poses, pixels)), folder / "ground_truth" / "scene_graph.json"
    )
    return folder


def _moving(people: People | None, time: float) -> Moving | None:
    """The people as `Renderer.view` wants them, without light."""
    if people is None:
        return None
    surfaces = people.surfaces(time)
    cubes = np.zeros((len(surfaces.numbers), 6, 3), np.float32)
    return Moving(surfaces, cubes, people.balls(time), people.centers(time))


def _painted(view: TrueView, config: SynthConfig, pose: NDArray[np.float64], colors: NDArray[np.float64]) -> NDArray:
    """(H, W, 3) uint8: the colour of each pixel's body, darker where the surface turns away."""
    points = transform_points(pose, config.camera.rays() * view.depth[..., None].astype(np.float64))
    shade = 0.5 - 0.5 * np.minimum(view.normals[..., 2], 0)
    upper = np.ones(view.depth.shape, np.int64)
    person = view.labels == PERSON
    for number in np.unique(view.instances[person]):
        own = view.instances == number
        upper[own] = points[own][:, 2] % 2.8 > HIP
    image = colors[upper, view.instances] * shade[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)


def without_people(exact: Predictions) -> Predictions:
    """The predictions with people unknown: neither label nor number."""
    assert exact.labels is not None
    assert exact.instances is not None
    person = exact.labels == PERSON
    return replace(
        exact,
        labels=np.where(person, 0, exact.labels).astype(exact.labels.dtype),
        instances=np.where(person, 0, exact.instances).astype(exact.instances.dtype),
    )


def measured_depth(depth: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Depth as a structured-light camera gives it.

    Noise grows with the square of depth (Nguyen et al., 3DIM 2012: 1.2 mm + 1.9 mm (z - 0.4 m)^2), is correlated over pixels,
    silhouettes are off by a pixel, and a fiftieth of the pixels, in spots, is unknown.
    """
    height, width = depth.shape
    v, u = np.mgrid[:height, :width]
    moved = rng.integers(-1, 2, (2, height, width)) * (rng.random((height, width)) < 0.3)
    shifted = depth[np.clip(v + moved[0], 0, height - 1), np.clip(u + moved[1], 0, width - 1)]
    sigma = 0.0012 + 0.0019 * (shifted - 0.4) ** 2
    noisy = shifted + sigma * rng.standard_normal(depth.shape)
    holes = distance_transform_edt(rng.random(depth.shape) > 0.004) <= 1.0
    return np.where((depth > 0) & ~holes, noisy, 0).astype(np.float32)
