"""`m2h synth`: a synthetic world, a camera that walks through it, and its ground truth, as sequences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from mapping.camera import Intrinsics
from mapping.files import atomic_folder, make_folder, remove_abandoned, write_text_atomic
from mapping.reading.documents import read_json
from pipelines.synth.base.world import World
from pipelines.synth.generate import WorldConfig, generate_world
from pipelines.synth.motion.camera_path import plan_camera
from pipelines.synth.motion.people import plan_people
from pipelines.synth.rendering.lighting import LightingConfig
from pipelines.synth.rendering.optics import OpticsConfig
from pipelines.synth.rendering.render import Renderer
from pipelines.synth.truth import largest_number
from pipelines.synth.write import Progress, Visit, write_visit

HEADER = "synth.json"
VERSION = 2
"""Version of the renderer: raised when a configuration renders differently, so that older folders are not taken for finished."""
FRAME_RATE = 3.0
"""Frames per second where their number is not given: about 80 per room, with at most half an image of rotation between two."""
CAMERA_STREAM, PEOPLE_STREAM = 1, 2


class SynthError(ValueError):
    """Raised for a synthetic sequence that cannot be made or written; the message names the folder or setting."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SynthConfig:
    """Settings of a synthetic sequence."""

    seed: int = Field(default=0, ge=0)
    """Another seed, another world, path, people and noise."""
    people: int = Field(default=0, ge=0, le=20)
    """Number of people who walk about."""
    frames: int | None = Field(default=None, ge=2)
    """Frames per visit, evenly over the walk; None takes three per second, about 80 per room."""
    width: int = Field(default=320, ge=16, le=4096)
    """Pixels."""
    height: int = Field(default=240, ge=16, le=4096)
    """Pixels."""
    fov_deg: float = Field(default=64.0, gt=10, lt=150)
    """Horizontal angle of view in degrees."""
    image_format: Literal["png", "jpg"] = "png"
    """Format of the colour images; png is lossless."""
    world: WorldConfig = Field(default_factory=WorldConfig)
    """The world."""
    lighting: LightingConfig = Field(default_factory=LightingConfig)
    """The light."""
    optics: OpticsConfig = Field(default_factory=OpticsConfig)
    """The camera's imperfections."""

    @property
    def camera(self) -> Intrinsics:
        """Square pixels, the principal point in the centre."""
        focal = self.width / 2 / np.tan(np.deg2rad(self.fov_deg) / 2)
        return Intrinsics(focal, focal, (self.width - 1) / 2, (self.height - 1) / 2, self.width, self.height)


def simulate(out: Path, config: SynthConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Render a world into OUT, or into OUT/visit_0 and OUT/visit_1 when it has two visits; all of it or nothing appears.

    Returns `{"frames": all frames, "visits": n, "sequences": [folders], "rendered": whether anything had to be done}`.
    A folder that already contains the result of the same configuration is left unchanged.

    Raises SynthError when OUT contains anything else.
    """
    out = Path(out)
    report: Progress = progress or (lambda what, done, total: None)
    header = {
        "format": "m2h-synth",
        "version": VERSION,
        "config": TypeAdapter(SynthConfig).dump_python(config, mode="json"),
    }
    if out.is_dir() and any(out.iterdir()):
        return {**_finished(out, header), "rendered": False}
    if out.exists() and not out.is_dir():
        raise SynthError(f"{out}: is a file; expected a folder that is empty or does not exist")
    make_folder(out.parent)
    remove_abandoned(out.parent)
    with atomic_folder(out) as partial:
        world = generate_world(config.world, config.seed)
        frames = 0
        for number in range(world.visits):
            folder = partial / f"visit_{number}" if world.visits > 1 else partial
            visit = _plan_visit(world, number, config, report)
            frames += len(visit.times)
            write_visit(folder, visit, report, image_format=config.image_format, extra={"synth": header["config"]})
        result = _result(out, world.visits, frames)
        write_text_atomic(partial / HEADER, json.dumps({**header, "frames": frames}, indent=1) + "\n")
    return {**result, "rendered": True}


def _plan_visit(world: World, number: int, config: SynthConfig, report: Progress) -> Visit:
    """Everything about a visit except its images."""
    report("prepare", 0, 3)
    renderer = Renderer(world, number, config.lighting)
    report("prepare", 1, 3)
    rng = np.random.default_rng([config.seed, number, CAMERA_STREAM])
    path = plan_camera(world, number, renderer.surfaces, renderer.caster, config.camera, rng)
    report("prepare", 2, 3)
    people = None
    if config.people:
        rng = np.random.default_rng([config.seed, number, PEOPLE_STREAM])
        people = plan_people(world, number, config.people, path, largest_number(world.bodies) + 1, rng)
    report("prepare", 3, 3)
    count = config.frames or max(2, round(FRAME_RATE * path.duration))
    times = np.round(path.frame_times(count), 6)
    return Visit(world, number, renderer, config.camera, path, times, people, config.optics, config.seed)


def _result(out: Path, visits: int, frames: int) -> dict[str, Any]:
    folders = [out / f"visit_{number}" for number in range(visits)] if visits > 1 else [out]
    return {"frames": frames, "visits": visits, "sequences": [str(folder) for folder in folders]}


def _finished(out: Path, header: dict[str, Any]) -> dict[str, Any]:
    """The result that a folder contains; raises SynthError unless the same configuration made it."""
    try:
        found = read_json(out / HEADER, SynthError)
    except SynthError:
        found = None
    if not isinstance(found, dict) or found.get("format") != header["format"]:
        raise SynthError(f"{out}: is not empty and contains no synthetic sequence; expected an empty folder or none")
    if {key: found.get(key) for key in header} != header:
        raise SynthError(f"{out / HEADER}: was made with other settings; remove the folder or choose another")
    return _result(out, header["config"]["world"]["visits"], int(found["frames"]))
