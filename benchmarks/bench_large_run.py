"""Memory of what is asked of a large map: 20,000 frames, 200 objects in every room, a volume of 2 GB.

    python benchmarks/bench_large_run.py [--frames N] [--rooms N] [--objects N] [--blocks N]

A run folder and a sequence of that size are made without mapping anything: rooms in rows with boxes in a grid, a floor that is
one layer of blocks. Every command is a process of its own, of which the peak of resident memory and the processor time are
reported. Exits with 1 when one fails or needs more than LIMIT_GIB.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common import machine, table, write_json
from numpy.typing import NDArray

from mapping.files import scratch_folder, write_text_atomic
from mapping.mesh.io import write_mesh
from mapping.mesh.mesh import Mesh
from mapping.tsdf.grid import WEIGHT_UNIT
from mapping.tsdf.surface import SurfaceSums
from mapping.tsdf.tsdf_config import TSDFConfig
from mapping.tsdf.volume_io import VOXELS, VolumeSums, write_volume
from pipelines.workspace import Workspace
from scenegraph.files.json_io import save_scene_graph
from scenegraph.graph import SceneGraph
from scenegraph.labels import nyu40
from scenegraph.nodes import AgentNode, BuildingNode, ObjectNode, OrientedBox, PlaceNode, RoomNode, StoreyNode

ROOT = Path(__file__).parents[1]
LIMIT_GIB = 4.0
ROOM = 8.0
"""Metres of the side of a room."""
VERTICES_A_ROOM = 100_000
CLASSES = ("chair", "table", "books", "box", "lamp")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--rooms", type=int, default=20)
    parser.add_argument("--objects", type=int, default=200, help="in every room [200]")
    parser.add_argument("--blocks", type=int, default=175_000, help="of the volume, 12 KiB each [175000: 2 GB]")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "large_run.json")
    options = parser.parse_args()
    with scratch_folder() as folder:
        run, sequence = folder / "run", folder / "sequence"
        # By another process: a command starts as a copy of this one, whose memory would count as its peak.
        maker = multiprocessing.get_context("spawn").Process(target=write_all, args=(run, sequence, options))
        maker.start()
        maker.join()
        if maker.exitcode:
            sys.exit("the run folder could not be made")
        rows = [measured(name, command) for name, command in commands(run, sequence).items()]
        sizes = {path.name: path.stat().st_size for path in sorted(run.iterdir()) if path.is_file()}
    print(table(("command", "GiB", "seconds of CPU"), [(row["command"], row["gib"], row["cpu_s"]) for row in rows]))
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    write_json(options.out, {"machine": machine(), "settings": settings, "bytes": sizes, "commands": rows})
    sys.exit(any(row["code"] or row["gib"] > LIMIT_GIB for row in rows))


def commands(run: Path, sequence: Path) -> dict[str, list[str]]:
    """By a name, the arguments of Python."""
    m2h = ["-m", "pipelines"]
    load = "from mapping import TSDFVolume; v = TSDFVolume.load({!r}); print(v.memory_bytes)".format(
        str(run / "volume.npz")
    )
    view = (
        "from pathlib import Path; from pipelines.views.serving import serve; from pipelines.workspace import load_run\n"
        f"serve(*load_run(Path({str(run)!r})), host='127.0.0.1', port=18642).stop()"
    )
    exports = {
        f"export {form}": [*m2h, "export", str(run), "--to", form] for form in ("glb", "html", "csv", "spark_dsg")
    }
    return {
        "query": [*m2h, "query", str(run), "--label", "chair", "--room", "R3", "--json"],
        "query --path": [*m2h, "query", str(run), "--path", "R0", "R7"],
        "open the sequence": [
            "-c",
            f"from pipelines import open_sequence; print(len(open_sequence({str(sequence)!r})))",
        ],
        **exports,
        "view": ["-c", view],
        "load the volume": ["-c", load],
    }


def measured(name: str, arguments: list[str]) -> dict[str, Any]:
    """A command with its peak of resident memory in GiB, its seconds of processor time, its exit code, and the number that it
    prints last."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([sys.executable, *arguments], stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        last = (output.read().decode("utf-8", "replace").splitlines() or [""])[-1]
    found: dict[str, Any] = {
        "gib": round(usage.ru_maxrss / 2**20, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
    }
    print(f"{name}: {found} {last}", file=sys.stderr, flush=True)
    if last.isdecimal():
        found["output"] = last
    return {"command": name, **found, "code": process.returncode}


def write_all(run: Path, sequence: Path, options: argparse.Namespace) -> None:
    """A run folder and a sequence of the size that is asked for."""
    write_run(run, options)
    write_sequence(sequence, options.frames)


def write_run(folder: Path, options: argparse.Namespace) -> None:
    """The files of a finished run that commands read."""
    Workspace(folder).save()
    graph = graph_of(options.rooms, options.objects, options.frames)
    save_scene_graph(graph, folder / "scene_graph.json")
    write_mesh(mesh_of(options.rooms), folder / "mesh.ply")
    write_volume(folder / "volume.npz", TSDFConfig(voxel_size=0.02), sums_of(options.blocks))


def graph_of(rooms: int, objects: int, frames: int) -> SceneGraph:
    """Rooms in a row with doors, objects and places in a grid, and a pose of the camera for every frame."""
    space = nyu40()
    graph = SceneGraph(space)
    storey = graph.add(StoreyNode((0.0, 2.5)), parent=graph.add(BuildingNode()))
    number, before = 0, ""
    for room in range(rooms):
        low = np.array([room * ROOM, 0.0])
        corners = low + ROOM * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        middle = np.array([*(low + ROOM / 2), 1.2])
        key = graph.add(RoomNode("living_room", middle, corners, (0.0, 2.5), ROOM**2), parent=storey)
        place = graph.add(PlaceNode(middle, 1.0), parent=key)
        if before:
            graph.connect(before, place, kind="place_edge", clearance=0.9)
        before = place
        for at in grid(objects) * ROOM:
            number += 1
            center = np.array([*(low + at), 0.25])
            box = OrientedBox(center, np.array([0.3, 0.3, 0.5]), np.eye(3))
            label = CLASSES[number % len(CLASSES)]
            graph.add(ObjectNode(label, space.id_of(label), center, box, views=5, number=number), parent=key)
    for frame in range(frames):
        position = np.array([rooms * ROOM * frame / frames, ROOM / 2, 1.5])
        graph.add(AgentNode(frame / 30, position, np.array([0.0, 0.0, 0.0, 1.0])))
    return graph


def grid(count: int) -> NDArray[np.float64]:
    """(count, 2) points of the unit square."""
    side = int(np.ceil(np.sqrt(count)))
    return (np.stack(np.divmod(np.arange(count), side), axis=1) + 0.5) / side


def mesh_of(rooms: int) -> Mesh:
    """A floor with colours, labels and numbers of objects."""
    side = int(np.sqrt(VERTICES_A_ROOM))
    u, v = (index.ravel() for index in np.indices((side * rooms, side)))
    vertices = np.stack([u * ROOM / side, v * ROOM / side, np.zeros(len(u))], axis=1)
    corner = np.arange(len(u)).reshape(side * rooms, side)
    a, b = corner[:-1, :-1].ravel(), corner[1:, :-1].ravel()
    c, d = corner[1:, 1:].ravel(), corner[:-1, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)]).astype(np.int32)
    colors = np.stack([u % 256, v % 256, (u + v) % 256], axis=1).astype(np.uint8)
    return Mesh(vertices, faces, colors, np.full(len(u), 2, np.uint16), (u // 40).astype(np.uint32))


def sums_of(blocks: int) -> VolumeSums:
    """A layer of blocks with a floor in the middle of each, coloured and labelled, and the free space above it."""
    side = int(np.ceil(np.sqrt(blocks)))
    x, y = np.divmod(np.arange(blocks, dtype=np.int32), side)
    coords = np.stack([x, y, np.zeros(blocks, np.int32)], axis=1)
    height = np.arange(VOXELS, dtype=np.int32) % 8 - 4
    tsdf = np.zeros((blocks, 2, VOXELS), np.int32)
    tsdf[:, 0], tsdf[:, 1] = 8 * WEIGHT_UNIT * height // 4, 8 * WEIGHT_UNIT
    near = np.flatnonzero(height == 0).astype(np.uint16)
    row = np.repeat(np.arange(blocks, dtype=np.int32), len(near))
    count = len(row)
    surface = SurfaceSums(
        row=row,
        voxel=np.tile(near, blocks),
        color=np.full((count, 4), 256, np.int32),
        lost=np.zeros(count, np.int32),
        label_voxel=np.arange(count, dtype=np.int32),
        label=np.full(count, 2, np.uint16),
        evidence=np.full(count, WEIGHT_UNIT, np.int32),
    )
    free = np.full((blocks, VOXELS), WEIGHT_UNIT, np.int32)
    return VolumeSums(coords, tsdf, surface, coords, free)


def write_sequence(folder: Path, frames: int) -> None:
    """A canonical sequence whose images are one file under many names."""
    (folder / "images").mkdir(parents=True)
    image = folder / "images" / "first.png"
    cv2.imwrite(str(image), np.full((12, 16, 3), 90, np.uint8))
    header: dict[str, Any] = {"camera_model": "PINHOLE", "fl_x": 20, "fl_y": 20, "cx": 7.5, "cy": 5.5, "w": 16, "h": 12}
    header["frames"] = []
    for frame in range(frames):
        name = f"images/{frame:06d}.png"
        os.link(image, folder / name)
        pose = [[1, 0, 0, frame / 100], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
        header["frames"].append({"file_path": name, "timestamp": frame / 30, "transform_matrix": pose})
    write_text_atomic(folder / "transforms.json", json.dumps(header))


if __name__ == "__main__":
    main()
