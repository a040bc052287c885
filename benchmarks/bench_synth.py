"""Speed of synthetic worlds: seconds of each stage before the first frame, milliseconds of each stage after it.

    python benchmarks/bench_synth.py [--size 320x240] [--rooms 4] [--people 0 2] [--frames 60]

The world is seed 7's. `whole` is rendering and writing together, as in `m2h synth`: frames in parallel, one thread per
core, with depth, labels, instances, normals, edges and ground truth. `frames_per_second` is wall time; `processor_ms_per_frame`
over `cores_busy` explains it, and is valid on a busy machine too. The stages are those of a
single frame. Compilation and caches are warmed up before.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, noise, summarise, time_calls, write_json

from m2h import Predictions
from pipelines.frame import Frame
from pipelines.sequences.ingest import CanonicalWriter
from pipelines.synth.generate import WorldConfig, generate_world
from pipelines.synth.motion.camera_path import plan_camera
from pipelines.synth.motion.people import plan_people
from pipelines.synth.rendering.optics import develop, motion_blur
from pipelines.synth.rendering.render import Renderer
from pipelines.synth.simulate import SynthConfig, simulate
from pipelines.synth.truth import largest_number
from pipelines.synth.write import Visit, write_visit
from scenegraph.labels import nyu40

SEED = 7
REPEAT = 20


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """The result of a call, and its seconds."""
    start = time.perf_counter()
    result = call()
    return result, round(time.perf_counter() - start, 3)


def plan(config: SynthConfig) -> tuple[Visit, dict[str, float]]:
    """Everything before the first frame, and its seconds."""
    seconds = {}
    world, seconds["generate_world"] = timed(lambda: generate_world(config.world, config.seed))
    renderer, seconds["bake_light"] = timed(lambda: Renderer(world, 0, config.lighting))
    path, seconds["plan_camera"] = timed(
        lambda: plan_camera(world, 0, renderer.surfaces, renderer.caster, config.camera, np.random.default_rng(SEED))
    )
    people = None
    if config.people:
        people, seconds["plan_people"] = timed(
            lambda: plan_people(
                world, 0, config.people, path, largest_number(world.bodies) + 1, np.random.default_rng(SEED)
            )
        )
    times = path.frame_times(config.frames or 60)
    return Visit(world, 0, renderer, config.camera, path, times, people, config.optics, config.seed), seconds


def stages(visit: Visit, folder: Path) -> dict[str, dict[str, float]]:
    """Milliseconds of the stages of a frame, over frames of the walk in turn."""
    poses = visit.path.poses(visit.times)
    turn = iter(np.resize(np.arange(len(poses)), 100_000))
    renderer, camera = visit.renderer, visit.camera

    def over_frames(call: Callable[[int], object]) -> dict[str, float]:
        return summarise(time_calls(lambda: call(int(next(turn))), repeat=REPEAT, warmup=3))

    pictures = {
        k: renderer.color(camera, poses[k], visit.moving(float(visit.times[k]))) for k in range(0, len(poses), 7)
    }
    known = sorted(pictures)

    def camera_effects(k: int) -> object:
        linear, view = pictures[known[k % len(known)]]
        blurred = motion_blur(linear, view.depth, camera, np.eye(4))
        return develop(blurred, 1.0, visit.optics, np.random.default_rng(k))

    writer = CanonicalWriter(folder, camera, world_up=(0.0, 0.0, 1.0), label_space=nyu40())
    index = iter(range(100_000))

    def write(k: int) -> object:
        linear, view = pictures[known[k % len(known)]]
        rgb = develop(linear, 1.0, visit.optics, np.random.default_rng(k))
        known_too = Predictions(
            view.depth, view.labels, normals=view.normals, edges=view.edges, instances=view.instances
        )
        number = next(index)
        return writer.add(Frame(number, float(number), rgb, camera, poses[k], known_too))

    result = {
        "people_at_a_time": over_frames(lambda k: visit.moving(float(visit.times[k]))),
        "truth_only": over_frames(lambda k: renderer.view(camera, poses[k], visit.moving(float(visit.times[k])))),
        "color_and_truth": over_frames(lambda k: renderer.color(camera, poses[k], visit.moving(float(visit.times[k])))),
        "camera_effects": over_frames(camera_effects),
        "develop_and_write": over_frames(write),
    }
    writer.close()
    return result


def whole(visit: Visit, folder: Path) -> dict[str, float]:
    """Frames per second of rendering and writing a visit, ground truth included."""
    start = time.process_time()
    _, seconds = timed(lambda: write_visit(folder, visit, lambda *_: None, image_format="png", extra={}))
    processor = time.process_time() - start
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {
        "frames_per_second": round(len(visit.times) / seconds, 2),
        "processor_ms_per_frame": round(1e3 * processor / len(visit.times), 1),
        "cores_busy": round(processor / seconds, 2),
        "kilobytes_per_frame": round(size / len(visit.times) / 1e3, 1),
    }


def main() -> None:
    """Measure and write benchmarks/results/synth.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", default=["320x240"], metavar="WxH")
    parser.add_argument("--rooms", type=int, default=4)
    parser.add_argument("--people", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--out", default="benchmarks/results/synth.json")
    options = parser.parse_args()
    report: dict[str, Any] = {"machine": machine(), "seed": SEED, "rooms": options.rooms, "frames": options.frames}
    load: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch, noise(load):
        tiny = SynthConfig(people=1, frames=4, width=64, height=48, world=WorldConfig(rooms=1))
        simulate(Path(scratch) / "warm", tiny)  # compiles the kernels
        for size in options.size:
            width, _, height = size.partition("x")
            for people in options.people:
                world = WorldConfig(rooms=options.rooms)
                config = SynthConfig(SEED, people, options.frames, int(width), int(height), world=world)
                visit, seconds = plan(config)
                name = f"{size}, {people} people"
                folder = Path(scratch) / name
                report[name] = {
                    "whole": whole(visit, folder / "whole"),
                    "before_first_frame_s": seconds,
                    "stages": stages(visit, folder / "stages"),
                }
                print(name, report[name]["whole"], seconds, flush=True)
                for stage, figures in report[name]["stages"].items():
                    print(f"  {stage:<20} {figures['median_ms']:8.1f} ms", flush=True)
    write_json(options.out, {**report, "load": load})


if __name__ == "__main__":
    main()
