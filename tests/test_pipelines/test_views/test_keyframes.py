"""Images of a recording for the report: those that lie on their side are turned upright, with all that belongs to them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mapping.se3 import inverse
from pipelines.sequences.detect import open_sequence
from pipelines.turning import TurnedSequence
from pipelines.views.keyframes import find_keyframes
from pipelines.workspace import load_run


def keyframes_of(run, sequence):
    """Those of every third frame of a sequence that was mapped in a run."""
    mesh, graph = load_run(run)
    T_world_input = inverse(graph.T_input_world)
    positions = {info.index: position for position, info in enumerate(sequence.infos) if position % 3 == 0}
    infos = [sequence.infos[position] for position in positions.values()]
    cameras = {info.index: (info.intrinsics, T_world_input @ info.T_world_camera) for info in infos}

    def frames_at(indices):
        for index in indices:
            frame = sequence[positions[index]]
            moved = replace(frame, T_world_camera=T_world_input @ frame.T_world_camera)
            yield SimpleNamespace(**vars(moved), predictions=moved.recorded)

    return find_keyframes(mesh, graph, cameras, frames_at)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_images_are_upright_however_the_camera_was_held(box_room, box_run, turns):
    sequence = open_sequence(str(box_room))
    upright = keyframes_of(box_run, sequence)
    held = keyframes_of(box_run, TurnedSequence(sequence, np.full(len(sequence), turns)))
    assert len(upright["frames"]) == len(held["frames"]) > 3
    assert set(upright["objects"]) == set(held["objects"])
    for expected, found in zip(upright["frames"], held["frames"], strict=True):
        for name in ("index", "width", "height", "fx", "fy", "cx", "cy", "shows", "image", "depth", "labels"):
            assert found[name] == expected[name], name
        # A quaternion and its negative are one rotation.
        assert abs(np.dot(found["rotation"], expected["rotation"])) == pytest.approx(1, abs=1e-5)
