"""Heights of level surfaces as evidence of the unit of poses."""

from dataclasses import replace

import numpy as np
import pytest
from apartments import box, table, two_rooms
from helpers import random_se3

from mapping.se3 import transform_points
from pipelines.posing.furniture_heights import STANDARD, corrected_by_heights, level_heights
from pipelines.posing.scale_estimate import CARRIED_HEIGHT, ScaleEstimate

ANY_UNIT = random_se3(np.random.default_rng(3))


def scaled(mesh, poses, scale):
    """The mesh and the cameras in a world of another unit and other axes."""
    moved = replace(mesh, vertices=transform_points(ANY_UNIT, scale * mesh.vertices))
    cameras = poses.copy()
    cameras[:, :3, 3] *= scale
    return moved, ANY_UNIT @ cameras


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.25])
def test_heights_of_tables_and_counters_are_found_in_any_unit(scale):
    flat = two_rooms().furnish(table((1.5, 1.2, 0))).furnish(box((5, 0.1, 0), (6.6, 0.7, 0.9), "cabinet"))
    mesh, poses = scaled(flat.mesh(step=0.1), flat.cameras(), scale)
    assert sorted(level_heights(mesh, poses, None)) == pytest.approx([0.74 * scale, 0.9 * scale], abs=0.02)


def test_without_a_floor_there_are_no_heights():
    flat = two_rooms()
    mesh, poses = flat.mesh(step=0.1), flat.cameras()
    assert level_heights(mesh, poses, None) == []
    upright = np.abs(mesh.face_normals()[:, 2]) < 0.5
    walls = replace(mesh, faces=mesh.faces[upright])
    assert level_heights(walls, poses, None) == []
    assert level_heights(replace(mesh, faces=mesh.faces[:0]), poses, None) == []


@pytest.mark.parametrize("error", [0.85, 0.9, 1.0, 1.1, 1.15])
@pytest.mark.parametrize("true", [(0.735,), (0.74, 0.91), (0.45, 0.75)])
def test_furniture_of_standard_height_corrects_a_scale(error, true):
    found = corrected_by_heights([height * error for height in true], deviation=0.15)
    before, after = abs(np.log(error)), abs(np.log(error * found.factor))
    assert after < (max(before / 2, 0.05) if len(true) > 1 else before + 0.06)  # one may be a table or a counter
    assert after < 2 * found.deviation
    assert found.deviation < (0.11 if len(true) > 1 else 0.16)


def test_a_surface_of_no_standard_height_says_little():
    found = corrected_by_heights([1.3], deviation=0.05)
    assert found.factor == pytest.approx(1, abs=0.02)
    assert found.deviation == pytest.approx(0.05, rel=0.2)
    assert corrected_by_heights([], deviation=0.05) is None
    assert sum(share for _, _, share in STANDARD) == pytest.approx(1)


@pytest.mark.parametrize("height", [0.3, 0.588, 1.3])
def test_heights_between_those_of_furniture_change_nothing(height):
    alone = ScaleEstimate(2.0, 0.1, 48)
    assert alone.with_surfaces([height]) == alone


def test_the_estimate_states_what_is_left_of_its_uncertainty():
    alone = ScaleEstimate(2.0, 0.1, 48)
    assert alone.with_surfaces([]) == alone
    carried = alone.with_height(CARRIED_HEIGHT / 2.0)
    found = carried.with_surfaces([0.65])
    factor = found.scale / 2.0
    assert factor == pytest.approx(0.735 / 0.65, abs=0.06)
    assert found.surfaces == pytest.approx((0.65 * factor,))
    assert found.carried_height == pytest.approx(CARRIED_HEIGHT * factor)
    assert found.deviation < carried.deviation
