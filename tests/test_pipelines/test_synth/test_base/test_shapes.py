"""Solids against their volumes in closed form; all are closed and oriented outwards."""

import numpy as np
import pytest
from mesh_checks import assert_closed, assert_outward

from pipelines.synth.base import shapes

BEND = np.column_stack((np.linspace(0, 1, 30), 0.1 * np.sin(9 * np.linspace(0, 1, 30))))
SHAPES = {
    "box": shapes.box((0.0, 0.0, 0.0), (1.0, 2.0, 3.0)),
    "block": shapes.block((1.0, 2.0, 0.5), (3.0, 0.0, 1.0)),
    "prism": shapes.prism([(0, 0), (2, 0), (2, 1), (0, 1)], 0.0, 2.0),
    "extrude_x": shapes.extrude_x([(0, 0), (1, 0), (1, 1)], 0.0, 2.0),
    "lathe": shapes.lathe([(0.2, 0), (0.3, 0.5), (0.25, 0.5), (0.15, 0.1)]),
    "cylinder": shapes.cylinder(0.5, -1.0, 1.0),
    "cone": shapes.cylinder(0.5, 0.0, 1.0, top_radius=0.2),
    "sphere": shapes.sphere(0.5, (1, 2, 3), 48),
    "tube": shapes.tube([(0, 0, 0), (0, 0, 1), (0, 1, 2)], 0.1),
    "ring": shapes.ring([(1.0, 0.0), (1.2, 0.0), (1.2, 0.1), (1.0, 0.1)], 200),
    "rounded_box": shapes.rounded_box((1.0, 2.0, 0.4), 0.1, 2),
    "rounded_box_1": shapes.rounded_box((1.0, 2.0, 0.4), 0.1),
    "cushion": shapes.cushion((1.0, 1.0, 0.3)),
    "tray": shapes.tray((1.0, 0.8, 0.5), 0.1, 0.05),
    "ribbon": shapes.ribbon(BEND, 0.01, 0.0, 2.0),
    "blade": shapes.blade([(0, 0, 0), (0.1, 0, 0.2), (0.3, 0, 0.3)], [0.02, 0.05, 0.005], 0.002),
}
VOLUMES = {
    "box": (6.0, 1e-12),
    "block": (1.0, 1e-12),
    "prism": (4.0, 1e-12),
    "extrude_x": (1.0, 1e-12),
    "cylinder": (np.pi * 0.25 * 2, 0.03),
    "cone": (np.pi / 3 * (0.25 + 0.1 + 0.04), 0.03),
    "sphere": (np.pi / 6, 0.01),
    "ring": (np.pi * (1.44 - 1.0) * 0.1, 0.001),
    "tray": (0.4 - 0.8 * 0.6 * 0.45, 1e-9),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_closed_and_look_outwards(name):
    shape = SHAPES[name]
    assert_closed(shape.faces, name)
    assert_outward(shape.vertices, shape.faces, name)


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes(name):
    volume, tolerance = VOLUMES[name]
    assert shapes.signed_volume(SHAPES[name].vertices, SHAPES[name].faces) == pytest.approx(volume, rel=tolerance)


@pytest.mark.parametrize("name", ["rounded_box", "rounded_box_1", "cushion", "tray", "block"])
def test_sizes_are_full_and_the_base_is_at_the_centre(name):
    low, high = SHAPES[name].bounds
    sizes = {
        "rounded_box": (1, 2, 0.4),
        "rounded_box_1": (1, 2, 0.4),
        "cushion": (1, 1, 0.3),
        "tray": (1, 0.8, 0.5),
        "block": (1, 2, 0.5),
    }
    np.testing.assert_allclose(high - low, sizes[name], atol=1e-9)
    assert low[2] == pytest.approx(1.0 if name == "block" else 0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("axis", "point", "image"), [("x", (0, 1, 0), (0, 0, 1)), ("y", (0, 0, 1), (1, 0, 0)), ("z", (1, 0, 0), (0, 1, 0))]
)
def test_rotations_are_right_handed(axis, point, image):
    shape = shapes.Shape(np.array([point], dtype=float), np.zeros((0, 3), np.int32)).rotated(axis, np.pi / 2)
    np.testing.assert_allclose(shape.vertices[0], image, atol=1e-12)


def test_merging_keeps_volume_and_closedness():
    parts = [SHAPES["box"], SHAPES["sphere"].moved(9.0), SHAPES["ring"].scaled(2.0, 2.0, 1.0)]
    merged = shapes.merge(parts)
    assert_closed(merged.faces)
    assert shapes.signed_volume(merged.vertices, merged.faces) == pytest.approx(
        sum(shapes.signed_volume(p.vertices, p.faces) for p in parts)
    )
