import numpy as np
import pytest
from apartments import LABELS, box

from mapping import Intrinsics
from mapping.se3 import look_at, yaw_rotation
from scenegraph.boxes import box_iou
from scenegraph.nodes import OrientedBox
from scenegraph.objects.sampled_boxes import LEAST_SAMPLES, sampled_box
from scenegraph.objects.samples import (
    MOST_OF_LABEL,
    PixelSamples,
    PlacedSamples,
    SampleCollector,
    SampledFrame,
    image_segments,
)

CAMERA = Intrinsics(40, 40, 31.5, 23.5, 64, 48)
CHAIR, TABLE, WALL = (LABELS.id_of(name) for name in ("chair", "table", "wall"))


def frame(depth=None, labels=None, edges=None, pose=None):
    depth = np.full((48, 64), 2.0, np.float32) if depth is None else depth
    labels = np.full((48, 64), CHAIR, np.uint16) if labels is None else labels
    return SampledFrame(depth, labels, edges, CAMERA, np.eye(4) if pose is None else pose)


def pieces(seen):
    segment = image_segments(seen, LABELS.mask_of_kind("object", seen.labels) & (seen.depth > 0))
    return segment, len(np.unique(segment[segment > 0]))


def test_a_segment_ends_where_the_label_changes():
    labels = np.full((48, 64), CHAIR, np.uint16)
    labels[:, 32:] = TABLE
    segment, count = pieces(frame(labels=labels))
    assert count == 2
    assert len(np.unique(segment[:, :31])) == len(np.unique(segment[:, 32:])) == 1
    assert (segment[:, 31] == 0).all()


def test_a_segment_ends_at_a_step_in_depth_but_not_on_a_steep_surface():
    depth = np.full((48, 64), 2.0, np.float32)
    depth[:, 32:] = 2.3
    assert pieces(frame(depth))[1] == 2
    steep = np.broadcast_to(1.0 / np.linspace(1.0, 0.1, 64), (48, 64)).astype(
        np.float32
    )  # a plane seen at a grazing angle
    assert np.diff(steep[0]).max() > 0.2
    assert pieces(frame(steep))[1] == 1


def test_a_segment_ends_at_an_edge_that_closes_and_not_at_one_with_a_gap():
    edges = np.zeros((48, 64), np.float32)
    edges[:, 20] = 0.9
    assert pieces(frame(edges=edges))[1] == 2
    edges[24, 20] = 0.2
    assert pieces(frame(edges=edges))[1] == 1


def test_what_is_no_object_has_no_segment():
    labels = np.full((48, 64), WALL, np.uint16)
    labels[10:20, 10:20] = CHAIR
    segment, count = pieces(frame(labels=labels))
    assert count == 1
    assert not segment[labels == WALL].any()


def test_collected_pixels_are_points_of_the_world_with_segments_of_their_own_frame():
    pose = look_at(np.array([1.0, 2.0, 1.5]), np.array([3.0, 2.0, 1.5]))
    collector = SampleCollector(LABELS)
    collector.add(frame(pose=pose))
    collector.add(frame(labels=np.full((48, 64), WALL, np.uint16)))
    collector.add(frame(pose=pose))
    samples = collector.samples()
    assert np.allclose(samples.points[:, 0], 3.0, atol=1e-5)  # the plane 2 m before the camera
    assert 0.8 * MOST_OF_LABEL < len(samples.points) / 2 < 1.2 * MOST_OF_LABEL
    assert samples.spans == pytest.approx(2.0 / 40)
    assert sorted(np.unique(samples.segments)) == [1, 2]
    assert samples.frame_of_segment.tolist() == [-1, 0, 2]


def test_without_pixels_of_objects_there_are_no_samples():
    collector = SampleCollector(LABELS)
    collector.add(frame(labels=np.full((48, 64), WALL, np.uint16)))
    assert collector.samples() is None


def samples_at(points, label=CHAIR, span=0.005):
    count = len(points)
    return PixelSamples(
        np.asarray(points, np.float32),
        np.full(count, label, np.uint16),
        np.ones(count, np.int32),
        np.full(count, span, np.float32),
        np.array([-1, 0], np.int32),
    )


def test_a_sample_belongs_to_the_nearest_vertex_of_its_label_within_reach():
    vertices = np.array([[0, 0, 0], [0.1, 0, 0], [0.11, 0, 0], [5, 5, 5.0]])
    labels = np.array([CHAIR, CHAIR, TABLE, CHAIR], np.uint16)
    samples = samples_at([[0.11, 0, 0], [0.01, 0, 0], [1, 1, 1], [0.02, 0, 0]])
    placed = PlacedSamples.of(samples, vertices, labels, np.arange(4), 0.05)
    chosen, position = placed.of_vertices(np.array([1, 0]))
    assert chosen.tolist() == [0, 1, 3]
    assert position.tolist() == [0, 1, 1]
    assert not len(placed.of_vertices(np.array([2, 3]))[0])


def surface_points(low, high, rng, count=400):
    """Points on the sides of a box."""
    points = rng.uniform(low, high, (count, 3))
    side, axis = rng.integers(2, size=count), rng.integers(3, size=count)
    points[np.arange(count), axis] = np.where(side, np.asarray(high)[axis], np.asarray(low)[axis])
    return points


def test_the_sides_of_a_thin_box_lie_where_pixels_show_them():
    low, high, rng = np.array([0.0, 0.0, 0.7]), np.array([0.2, 0.14, 0.72]), np.random.default_rng(0)
    blurred = box(low - 0.03, high + 0.03, "books", step=0.02)
    truth = OrientedBox((low + high) / 2, high - low, np.eye(3))
    given = OrientedBox((low + high) / 2, high - low + 0.06, np.eye(3))
    samples = samples_at(surface_points(low, high, rng), LABELS.id_of("books"))
    every = np.arange(len(blurred.vertices))
    placed = PlacedSamples.of(samples, blurred.vertices, blurred.labels, every, 0.06)
    assert box_iou(given, truth) < 0.25
    assert box_iou(sampled_box(placed, every, blurred.vertices, given, 0.002), truth) > 0.9
    few = samples_at(surface_points(low, high, rng, LEAST_SAMPLES - 1), LABELS.id_of("books"))
    placed = PlacedSamples.of(few, blurred.vertices, blurred.labels, every, 0.06)
    assert sampled_box(placed, every, blurred.vertices, given, 0.002) is given


def test_a_side_that_no_sampled_frame_saw_stays():
    low, high, rng = np.array([0.0, 0.0, 0.0]), np.array([1.0, 0.5, 0.5]), np.random.default_rng(0)
    mesh = box(low, high, "dresser", step=0.04)
    points = surface_points(low, high, rng, 2000)
    samples = samples_at(points[points[:, 0] < 0.6], LABELS.id_of("dresser"))
    every = np.arange(len(mesh.vertices))
    placed = PlacedSamples.of(samples, mesh.vertices, mesh.labels, every, 0.06)
    found = sampled_box(placed, every, mesh.vertices, OrientedBox((low + high) / 2, high - low, np.eye(3)), 0.002)
    assert found.size[0] == pytest.approx(1.0, abs=0.01)


def test_a_box_is_turned_as_pixels_show_it():
    rng, rotation, books = np.random.default_rng(0), yaw_rotation(0.5), LABELS.id_of("books")
    points = surface_points([-0.15, -0.05, 0], [0.15, 0.05, 0.03], rng) @ rotation.T
    every = np.arange(len(points))
    placed = PlacedSamples.of(samples_at(points, books), points, np.full(len(points), books, np.uint16), every, 0.06)
    loose = OrientedBox(np.array([0, 0, 0.015]), np.array([0.31, 0.24, 0.03]), np.eye(3))
    found = sampled_box(placed, every, points, loose, 0.002)
    assert box_iou(found, OrientedBox(np.array([0, 0, 0.015]), np.array([0.3, 0.1, 0.03]), rotation)) > 0.9
