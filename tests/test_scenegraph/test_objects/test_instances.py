import numpy as np
import pytest
from apartments import LABELS, Apartment, box, chair

from mapping.mesh.mesh import concatenate
from scenegraph.faces import Faces
from scenegraph.graph_config import ObjectConfig
from scenegraph.objects.extract import extract_objects
from scenegraph.objects.instances import contracted
from scenegraph.objects.samples import PixelSamples

FRAMES = 8


def views(mesh, label, segment_of):
    """Samples of frames that all see the vertices of a label; segment_of(points, normals, frame) numbers their pieces from 1."""
    inside = mesh.labels == LABELS.id_of(label)
    points, normals = mesh.vertices[inside], mesh.vertex_normals()[inside]
    points = np.concatenate([points, points + 0.004])
    normals = np.concatenate([normals, normals])
    segments, frames, number = [], [-1], 0
    for frame in range(FRAMES):
        found = segment_of(points, normals, frame)
        segments.append(found + number)
        number += int(found.max())
        frames += [frame] * int(found.max())
    count = len(points) * FRAMES
    return PixelSamples(
        np.tile(points, (FRAMES, 1)).astype(np.float32),
        np.full(count, LABELS.id_of(label), np.uint16),
        np.concatenate(segments).astype(np.int32),
        np.full(count, 0.005, np.float32),
        np.array(frames, np.int32),
    )


def room(thing):
    flat = Apartment([(0, 0, 5, 4)])
    flat.furnish(thing)
    return flat.mesh()


def facing(normals):
    """Number from 0 of the direction in which each normal points."""
    return 2 * np.argmax(np.abs(normals), axis=1) + (
        np.take_along_axis(normals, np.argmax(np.abs(normals), axis=1)[:, None], 1)[:, 0] > 0
    )


def objects_of(mesh, samples=None):
    return extract_objects(Faces.of(mesh), LABELS, ObjectConfig(), floors=(0.0,), samples=samples)[0]


CABINETS = box((1, 0.02, 0), (1.9, 0.6, 1.1), "cabinet", step=0.04)
"""Two cabinets side by side, which a map shows as one."""


def test_two_cabinets_are_two_where_frames_show_a_seam_on_every_side():
    samples = views(CABINETS, "cabinet", lambda p, n, _: 1 + facing(n) + 6 * (p[:, 0] > 1.45))
    assert len(objects_of(CABINETS)) == 1
    found = objects_of(CABINETS, samples)
    assert [node.label for node in found] == ["cabinet", "cabinet"]
    assert sorted(node.box.center[0] for node in found) == pytest.approx([1.225, 1.675], abs=0.04)


def test_creases_alone_do_not_make_two_of_a_cabinet():
    samples = views(CABINETS, "cabinet", lambda p, n, _: 1 + facing(n))
    assert len(objects_of(CABINETS, samples)) == 1


def test_a_seam_that_most_frames_do_not_see_does_not_count():
    def segment(points, normals, frame):
        return 1 + facing(normals) + 6 * ((points[:, 0] > 1.45) & (frame < 3))

    assert len(objects_of(CABINETS, views(CABINETS, "cabinet", segment))) == 1


def test_a_part_too_small_to_be_an_object_stays_with_its_neighbour():
    samples = views(CABINETS, "cabinet", lambda p, n, _: 1 + facing(n) + 6 * (p[:, 0] > 1.8))
    assert len(objects_of(CABINETS, samples)) == 1


def test_two_chairs_side_by_side_are_two_without_any_frames():
    pair = concatenate([chair(2.0, 1.0), chair(2.452, 1.0)])
    found = objects_of(room(pair))
    assert [node.label for node in found] == ["chair", "chair"]
    assert sorted(node.box.center[0] for node in found) == pytest.approx([2.0, 2.452], abs=0.04)


def test_an_armchair_is_one():
    parts = [
        box((2.0, 1.0, 0.1), (2.9, 1.55, 0.44), "chair", step=0.03),
        box((2.0, 1.0, 0.1), (2.16, 1.55, 0.62), "chair", step=0.03),
        box((2.74, 1.0, 0.1), (2.9, 1.55, 0.62), "chair", step=0.03),
        box((2.0, 1.4, 0.1), (2.9, 1.55, 0.85), "chair", step=0.03),
    ]
    assert len(objects_of(room(concatenate(parts)))) == 1


def test_a_crown_that_nothing_holds_belongs_to_its_pot():
    pot = box((1, 1, 0), (1.3, 1.3, 0.3), "otherprop", step=0.04)
    crown = box((0.9, 0.9, 0.7), (1.4, 1.4, 1.1), "otherprop", step=0.04)
    assert len(objects_of(room(concatenate([pot, crown])))) == 1
    board = box((0.8, 0.8, 0.66), (1.5, 1.5, 0.7), "shelves", step=0.04)
    shelf = room(concatenate([pot, board]))
    assert len([node for node in objects_of(shelf) if node.label == "otherprop"]) == 1


def test_contraction_keeps_apart_what_disagrees_in_sum():
    pairs = np.array([[0, 1], [1, 2], [2, 3], [0, 2], [1, 3]])
    part = contracted(pairs, np.array([2.0, 0.5, 2.0, -1.0, -1.0]), 4)
    assert part[0] == part[1] != part[2] == part[3]
    assert len(np.unique(contracted(pairs, np.array([2.0, 3.0, 2.0, -1.0, -1.0]), 4))) == 1
    assert contracted(np.zeros((0, 2), np.int64), np.zeros(0), 3).tolist() == [0, 1, 2]
