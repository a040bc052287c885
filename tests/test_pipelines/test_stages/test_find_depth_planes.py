"""The planes stage: when it applies, what it writes, and the depth that later stages get."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from box_room import write_box_room

from mapping.depth.depth_planes import Surface
from pipelines.config import config_from_mapping
from pipelines.sequences.detect import open_sequence
from pipelines.settings import PipelineConfig
from pipelines.sources.source import DepthOrigin, open_source
from pipelines.stages.context import RunContext
from pipelines.stages.find_depth_planes import find_surface_planes
from pipelines.stages.planes_file import PLANES_FILE, read_planes
from pipelines.workspace import Workspace, WorkspaceError


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room") / "room"
    write_box_room(folder, frames=24)
    return open_sequence(str(folder))


def guessed(room):
    """The recorded depth and labels as a network's: off by noise that is the same over a block of pixels, no normals."""
    recorded = open_source("recorded", room)

    def predict(frame):
        seen = recorded.predict(frame)
        blocks = np.random.default_rng(frame.index).normal(0, 0.06, (12, 16))
        noise = np.kron(blocks, np.ones((40, 40)))[: seen.depth.shape[0], : seen.depth.shape[1]]
        confidence = np.full(seen.depth.shape, 0.2, np.float32)
        return replace(seen, depth=(seen.depth * np.exp(noise)).astype(np.float32), confidence=confidence)

    return replace(recorded, predict=predict, predicts_labels=True, depth_from=DepthOrigin.POSES)


def context_of(room, source, out, mode="auto"):
    config = config_from_mapping(PipelineConfig, {"planes": mode}, "test")
    context = RunContext(Workspace(out), room, source, config, lambda *progress: None)
    context.workspace.path("levelling.json").write_text(f'{{"T_input_world": {np.eye(4).tolist()}}}')
    return context


def test_predicted_depth_of_a_room_lies_on_its_planes(room, tmp_path):
    context = context_of(room, guessed(room), tmp_path / "run")
    record = find_surface_planes(context)
    assert record.summary["applied"]
    assert record.summary["floor"] == 1
    assert record.summary["wall"] >= 2
    errors = {"on planes": [], "levelled": []}
    for corrected, found in errors.items():
        for frame in context.posed_frames([3, 9, 17], corrected=corrected):
            truth = room[frame.index].recorded.depth
            known = truth > 0
            found.append(np.abs(frame.predictions.depth[known] / truth[known] - 1))
            assert (frame.predictions.confidence.max() > 0.2) == (corrected == "on planes")
    assert np.concatenate(errors["on planes"]).mean() < 0.5 * np.concatenate(errors["levelled"]).mean()


def test_no_floor_is_placed_where_a_table_or_a_mixture_of_both_is_called_floor(room, tmp_path):
    """The floor of the room lies 0.5 m above where levelling found the lowest one."""
    context = context_of(room, guessed(room), tmp_path / "run")
    assert find_surface_planes(context).summary["floor"] == 1
    (plane,) = [each for each in read_planes(context.path(PLANES_FILE)) if each.kind is Surface.FLOOR]
    T = np.eye(4)
    T[2, 3] = plane.plane.offset - 0.5
    for area, floors in ((0.3, 0), (0.01, 1)):  # with little of a floor nothing is known of where it is
        levelled = context_of(room, guessed(room), tmp_path / f"run{floors}")
        text = json.dumps({"T_input_world": T.tolist(), "floor_area": area})
        levelled.workspace.path("levelling.json").write_text(text)
        assert find_surface_planes(levelled).summary["floor"] == floors


def test_measured_depth_is_left_alone(room, tmp_path):
    context = context_of(room, open_source("recorded", room), tmp_path / "run")
    assert find_surface_planes(context).summary["applied"] is False
    assert read_planes(tmp_path / "run" / PLANES_FILE) == []
    (frame,) = context.posed_frames([3])
    np.testing.assert_array_equal(frame.predictions.depth, room[3].recorded.depth)


def test_the_file_of_planes_is_read_as_it_was_written(room, tmp_path):
    find_surface_planes(context_of(room, guessed(room), tmp_path / "run"))
    planes = read_planes(tmp_path / "run" / PLANES_FILE)
    assert planes
    for each in planes:
        assert np.linalg.norm(each.plane.normal) == pytest.approx(1)
        on_it = each.plane.normal * each.plane.offset
        assert each.cells.any()
        assert each.plane.distance(on_it) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"floor"', '"lamp"'),
        ('"first_cell": [', '"first_cell": [1e30, '),
        ('"cells": ["', '"cells": ["2'),
        ('"normal": [', '"normal": [7.0, '),
    ],
)
def test_a_damaged_file_of_planes_is_refused(room, tmp_path, old, new):
    find_surface_planes(context_of(room, guessed(room), tmp_path / "run"))
    path = tmp_path / "run" / PLANES_FILE
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises((WorkspaceError, ValueError), match=r"planes\.json: planes\[0\]"):
        read_planes(path)
