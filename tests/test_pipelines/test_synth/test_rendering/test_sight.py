"""Visible faces against ray casting, and frames rendered in parallel."""

import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from synth_worlds import BOX, at, body, box_world, cube

from mapping.camera import Intrinsics
from mapping.se3 import look_at
from pipelines.synth.base.shapes import block, sphere
from pipelines.synth.rendering.casting import Caster
from pipelines.synth.rendering.lighting import LightingConfig
from pipelines.synth.rendering.people_light import Moving
from pipelines.synth.rendering.render import Renderer
from pipelines.synth.rendering.sight import Sight, make_layer
from pipelines.synth.rendering.surfaces import local_surfaces, world_surfaces
from pipelines.synth.rendering.threads import in_order

CAMERA = Intrinsics(65.0, 60.0, 39.5, 29.5, 80, 60)
POSE = look_at((0.6, 0.5, 1.5), (3.0, 2.2, 0.6))
SHIFTS = np.array([[0.0, 0.0], [-0.35, 0.2], [0.5, -0.5]])


def furnished():
    things = [
        cube(7, 0.8, at(3.0, 2.2)),
        body(8, BOX, [sphere(0.4, segments=24)], at(2.0, 2.4, 1.0)),
        body(9, BOX, [block((0.9, 0.5, 0.02))], at(1.0, 0.6, 1.45, 0.6)),  # from next to the eye to behind it
    ]
    return world_surfaces(box_world(furniture=things).bodies, 0)


@pytest.mark.parametrize("eye", [(0.6, 0.5, 1.5), (4.6, 3.7, 0.3), (1.9, 2.3, 1.05)])
def test_drawing_sees_what_ray_casting_sees(eye):
    surfaces, pose = furnished(), look_at(eye, (2.4, 2.1, 0.7))
    sight = Sight(CAMERA, pose, make_layer(surfaces), None)
    drawn = sight.draw(SHIFTS)
    for s, shift in enumerate(SHIFTS):
        directions = sight.directions.reshape(-1, 3) + np.append(shift / [CAMERA.fx, CAMERA.fy], 0.0)
        dirs = directions @ pose[:3, :3].T
        rays = np.concatenate([np.tile(eye, (len(dirs), 1)), dirs], axis=1).astype(np.float32)
        hits = Caster(surfaces).cast(rays)
        face, nearness = drawn.face[s].ravel(), drawn.nearness[s].ravel()
        assert (face >= 0).all()
        assert (face == hits.face).mean() > 0.999  # the caster is of single precision: it may miss a border by a hair
        np.testing.assert_allclose(1 / nearness, hits.t, rtol=2e-5)
        traced = sight.traced(directions, nearness, face)
        curved = (face == hits.face) & ~make_layer(surfaces).look.table.is_flat[face]
        assert curved.any()
        np.testing.assert_allclose(traced.uv[curved], hits.uv[curved], atol=2e-3)


def test_only_wanted_pixels_are_drawn():
    sight = Sight(CAMERA, POSE, make_layer(furnished()), None)
    wanted = np.random.default_rng(0).random((60, 80)) < 0.2
    some, whole = sight.draw(SHIFTS, wanted), sight.draw(SHIFTS)
    np.testing.assert_array_equal(some.face, np.where(wanted, whole.face, -1))
    np.testing.assert_array_equal(some.nearness, np.where(wanted, whole.nearness, 0.0))


def test_no_ray_slips_through_between_faces():
    """Every direction from inside a round shell meets it, however its facets lie to the pixels."""
    shell = local_surfaces([body(7, BOX, [sphere(1.0, segments=40)], np.eye(4))])
    rng = np.random.default_rng(1)
    for _ in range(8):
        eye = 0.3 * rng.standard_normal(3)
        assert (Sight(CAMERA, look_at(eye, rng.standard_normal(3)), make_layer(shell), None).draw().face >= 0).all()


def test_faces_of_what_moves_count_on():
    static = make_layer(world_surfaces(box_world(furniture=[cube(7, 0.8, at(3.0, 2.2))]).bodies, 0))
    mover = make_layer(local_surfaces([cube(50, 0.3, at(0, 0))]).posed(at(2.2, 1.4)[None]), static)
    sight = Sight(CAMERA, POSE, static, mover)
    drawn = sight.draw()
    traced = sight.traced(sight.directions.reshape(-1, 3), drawn.nearness.ravel(), drawn.face.ravel())
    assert traced.moving.any()
    np.testing.assert_array_equal(traced.moving, drawn.face.ravel() >= len(static.surfaces.faces))
    assert traced.face[traced.moving].max() < len(mover.surfaces.faces)


def test_a_distorted_camera_is_rejected():
    with pytest.raises(ValueError, match="distortion"):
        Renderer(box_world(), 0).view(replace(CAMERA, distortion=(0.1, 0.0, 0.0, 0.0)), POSE)


def test_smoothed_borders_are_the_mean_of_what_is_around_them():
    """Between a lit box and the floor, a smoothed pixel lies between the two; away from borders nothing changes."""
    renderer = Renderer(
        box_world(furniture=[cube(7, 0.8, at(3.0, 2.2))]), 0, LightingConfig(step=0.2, rays=8, bounces=1)
    )
    surfaces = local_surfaces([cube(50, 0.3, at(0, 0))]).posed(at(2.0, 1.6)[None])
    moving = Moving(surfaces, np.full((1, 6, 3), 0.3, np.float32), np.zeros((0, 4)), np.array([[2.0, 1.6, 0.2]]))
    for mover in (None, moving):
        plain, view = renderer.color(CAMERA, POSE, mover, smooth=False)
        smooth, _ = renderer.color(CAMERA, POSE, mover)
        same = np.abs(smooth - plain).max(axis=2) < 1e-6
        assert same.mean() > 0.6
        assert not same[view.edge_kinds != 0].all()
        padded = np.pad(plain, ((1, 1), (1, 1), (0, 0)), mode="edge")
        around = np.stack([padded[i : i + 60, j : j + 80] for i in range(3) for j in range(3)])
        inside = (smooth >= around.min(axis=0) - 0.02) & (smooth <= around.max(axis=0) + 0.02)
        assert inside.mean() > 0.995


def test_work_comes_in_order_and_stops_when_left():
    started, lock = [], threading.Lock()

    def work(k):
        with lock:
            started.append(k)
        return k * k

    with closing(in_order(work, 40)) as results:
        assert list(results) == [k * k for k in range(40)]
    started.clear()
    with closing(in_order(work, 400)) as results:
        assert next(results) == 0
    assert 0 < len(started) < 100

    def fail(k):
        if k == 3:
            raise RuntimeError("stop here")
        return k

    with pytest.raises(RuntimeError, match="stop here"), closing(in_order(fail, 10)) as results:
        list(results)
