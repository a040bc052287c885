"""Occupancy grids and free space of a run, read as the programs do for which they are."""

import io

import numpy as np
import pytest
import yaml
from box_room import FURNITURE, ROOM_SIZE
from helpers import m2h
from PIL import Image

from scenegraph import load_scene_graph


def map_server(yaml_path):
    """Occupancy (H, W) from the bottom row up, -1 unknown, 0 free, 100 occupied, with resolution and origin, by the rules of the
    map_server's documentation for `trinary`."""
    entries = yaml.safe_load(yaml_path.read_text())
    image = np.asarray(Image.open(yaml_path.parent / entries["image"]).convert("L"), dtype=float)
    share = (255 - image) / 255 if not entries["negate"] else image / 255
    grid = np.full(image.shape, -1)
    grid[share > entries["occupied_thresh"]] = 100
    grid[share < entries["free_thresh"]] = 0
    return grid[::-1], entries["resolution"], np.array(entries["origin"])


def value_at(grid, resolution, origin, x, y):
    column, row = np.floor((np.array([x, y]) - origin[:2]) / resolution).astype(int)
    return grid[row, column]


def box_of(graph, label):
    return next(node.box for _, node in graph.nodes("object") if node.label == label)


def test_the_occupancy_grid_shows_floor_furniture_and_what_is_not_known(box_run, tmp_path):
    out = tmp_path / "grids"
    m2h("export", box_run, out, "--to", "occupancy")
    assert sorted(p.name for p in out.iterdir()) == ["F0.pgm", "F0.yaml"]
    grid, resolution, origin = map_server(out / "F0.yaml")
    graph = load_scene_graph(box_run / "scene_graph.json")
    assert resolution == 0.05
    assert origin[2] == 0.0
    bed = box_of(graph, "bed")
    assert value_at(grid, resolution, origin, 1.0, 0.8) == 0
    assert value_at(grid, resolution, origin, *bed.center[:2]) == 100
    assert value_at(grid, resolution, origin, -0.1, -0.9) == -1, "the floor under the camera was never in view"
    for corner in (origin[:2] + 0.03, origin[:2] + resolution * np.array(grid.shape[::-1]) - 0.03):
        assert value_at(grid, resolution, origin, *corner) == -1
    floor = ROOM_SIZE[0] * ROOM_SIZE[1] - sum(size[0] * size[1] for size, _ in FURNITURE.values())
    assert 0.5 * floor < (grid == 0).sum() * resolution**2 < floor


def test_a_low_robot_passes_under_what_a_person_does_not(box_run, tmp_path):
    for height in (0.3, 1.8):
        m2h("export", box_run, tmp_path / f"{height}", "--to", "occupancy", "--height", height)
    low, high = (map_server(tmp_path / f"{height}" / "F0.yaml")[0] for height in (0.3, 1.8))
    assert ((low == 100) <= (high == 100)).all()
    text = m2h("export", box_run, tmp_path / "x", "--to", "occupancy", "--height", "9", code=1).stderr
    assert text == "m2h: --height 9: expected metres from 0.2 to 2.3\n"
    assert not (tmp_path / "x").exists()
    assert "has no effect" in m2h("export", box_run, tmp_path / "x", "--to", "ply", "--height", "1", code=1).stderr


def test_free_space_is_read_by_numpy_alone(box_run, tmp_path):
    m2h("export", box_run, tmp_path, "--to", "free_space")
    with np.load(io.BytesIO((tmp_path / "free_space.npz").read_bytes()), allow_pickle=False) as file:
        arrays = dict(file)
    names = {"format", "version", "state", "distance", "origin", "cell_size", "T_input_world"}
    assert set(arrays) == names
    assert str(arrays["format"]) == "m2h-free-space"
    graph = load_scene_graph(box_run / "scene_graph.json")
    state, size = arrays["state"], float(arrays["cell_size"])

    def cell(point):
        return tuple(np.floor((point - arrays["origin"]) / size).astype(int))

    assert state[cell(np.array([1.0, 0.8, 1.2]))] == 1
    bed = box_of(graph, "bed")
    on_top = np.array([*bed.center[:2], bed.center[2] + bed.size[2] / 2])
    assert 2 in state[cell(on_top - [0, 0, 0.1])[0], cell(on_top)[1], cell(on_top)[2] - 1 : cell(on_top)[2] + 2]
    assert arrays["distance"].shape == state.shape
    assert (arrays["distance"][state == 2] < size).all()
    above = on_top + np.array([0, 0, 0.6])
    assert arrays["distance"][cell(above)] == pytest.approx(0.6, abs=size)
    assert 0.5 * np.prod(ROOM_SIZE) < (state == 1).sum() * size**3 < np.prod(ROOM_SIZE)
