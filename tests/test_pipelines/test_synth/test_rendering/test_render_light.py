"""Light, textures and the resulting image."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synth_worlds import BOX, FLOOR, GREY, WINDOW, at, body, box_world, cube

from mapping.camera import Intrinsics
from mapping.se3 import look_at
from pipelines.synth.base.shapes import block
from pipelines.synth.base.world import Light, Material
from pipelines.synth.rendering.casting import Caster
from pipelines.synth.rendering.kernels.noise import fractal_noise, hash01, value_noise
from pipelines.synth.rendering.kernels.texture import albedo
from pipelines.synth.rendering.lighting import LightingConfig, bake, probe_light
from pipelines.synth.rendering.optics import KEY, OpticsConfig, develop, meter, motion_blur, plan_exposures
from pipelines.synth.rendering.people_light import Moving
from pipelines.synth.rendering.render import Renderer
from pipelines.synth.rendering.surfaces import local_surfaces, world_surfaces
from pipelines.synth.rendering.textures import TEXTURES, material_table, mean_albedo

CAMERA = Intrinsics(65.0, 65.0, 39.5, 29.5, 80, 60)
POSE = look_at((0.6, 0.5, 1.5), (3.0, 2.2, 0.6))
LAMP = Light(np.array([2.5, 2.0, 2.2]), (5.0, 4.0, 3.0))
DIRECT = LightingConfig(step=0.1, rays=4, bounces=0, sun=0, ambient=0)
QUICK = LightingConfig(step=0.15, rays=12, bounces=2)
PERFECT = OpticsConfig(noise=0, vignetting=0, shutter=0, wobble=0)


def floor_light(world, config, points):
    """(P, 3) direct and indirect irradiance at the floor nodes next to points (P, 2)."""
    surfaces = world_surfaces(world.bodies, 0)
    light = bake(surfaces, world.lights, world.sun_direction, config).light_map
    face = int(np.flatnonzero(surfaces.labels[surfaces.face_body] == FLOOR)[0])
    chart = light.charts.face_chart[face]
    ij = np.rint(np.asarray(points) / config.step).astype(int) - light.charts.origin[chart]
    node = light.charts.offset[chart] + ij[:, 0] * light.charts.size[chart, 1] + ij[:, 1]
    return light.direct[node], light.indirect[node]


def test_a_lamp_follows_the_inverse_square_and_the_cosine():
    points = np.array([(2.5, 2.0), (1.0, 2.0), (4.0, 3.5)])
    direct, indirect = floor_light(box_world(lights=[LAMP]), DIRECT, points)
    to_lamp = LAMP.position - np.column_stack([points, np.zeros(3)])
    distance = np.linalg.norm(to_lamp, axis=1)
    expected = (to_lamp[:, 2] / distance**3)[:, None] * np.array(LAMP.intensity)
    np.testing.assert_allclose(direct, expected, rtol=0.01)
    assert not indirect.any()


def test_a_table_throws_a_shadow():
    table = body(7, BOX, [block((1.0, 1.0, 0.05))], at(2.5, 2.0, 0.7))
    points = np.array([(2.5, 2.0), (2.3, 1.8), (0.5, 0.5)])
    direct, _ = floor_light(box_world(furniture=[table], lights=[LAMP]), DIRECT, points)
    assert not direct[:2].any()
    assert (direct[2] > 0.05).all()


def test_walls_pass_light_on_and_no_more_than_they_get():
    world = box_world(lights=[LAMP])
    points = np.array([(2.5, 2.0), (1.0, 3.0)])
    _, once = floor_light(world, replace(QUICK, bounces=1), points)
    _, often = floor_light(world, replace(QUICK, bounces=6), points)
    assert (once > 0.02).all()
    assert (often > once).all()
    # Albedo 0.5 everywhere: all further bounces together are at most once again the first (a geometric series).
    assert (often < 2.2 * once).all()


def test_a_window_lights_its_room_and_the_sun_shines_through_it():
    pane = body(
        7, WINDOW, [block((0.02, 1.4, 1.2))], at(0.012, 2.0, 0.9), material=Material((0.9, 0.9, 0.9), emission=4.0)
    )
    world = replace(box_world(furniture=[pane]), sun_direction=np.array([0.8, 0.0, -0.6]))
    # Sun through the middle of the pane (z = 1.5) meets the floor two metres in.
    points = np.array([(2.1, 2.0), (2.1, 0.4), (4.8, 3.8)])
    direct, indirect = floor_light(world, replace(QUICK, bounces=0), points)
    np.testing.assert_allclose(direct[0], 9.0 * 0.6 * np.array([1.0, 0.9, 0.75]), rtol=0.01)
    assert not direct[1:].any()
    assert indirect[0].min() > 3 * indirect[2].min() > 0


def test_probes_see_the_lit_side():
    world = box_world(lights=[Light(np.array([2.5, 2.0, 0.3]), (5.0, 5.0, 5.0))])
    surfaces = world_surfaces(world.bodies, 0)
    light = bake(surfaces, world.lights, world.sun_direction, QUICK)
    cube_light = probe_light(light, surfaces, Caster(surfaces), np.array([[2.5, 2.0, 1.0]]))
    assert cube_light.shape == (1, 6, 3)
    assert (
        cube_light[0, 5].min() > 2 * cube_light[0, 4].max() > 0
    )  # from below, where the lamp is, more than from above


def test_pictures_have_light_and_shadow_where_they_should_be():
    table = body(7, BOX, [block((1.2, 0.8, 0.05))], at(2.5, 2.0, 0.7))
    renderer = Renderer(box_world(furniture=[table], lights=[LAMP]), 0, QUICK)
    linear, view = renderer.color(CAMERA, POSE)
    assert linear.shape == (60, 80, 3)
    assert np.isfinite(linear).all()
    points = (CAMERA.rays() * view.depth[..., None]) @ POSE[:3, :3].T + POSE[:3, 3]
    floor = view.instances == 1
    under = floor & (np.abs(points[..., 0] - 2.5) < 0.45) & (np.abs(points[..., 1] - 2.0) < 0.3)
    outside = floor & (np.abs(points[..., 0] - 2.5) > 1.0)
    assert under.sum() > 10
    assert linear[under].mean() < 0.4 * linear[outside].mean()


def test_people_are_lit_and_throw_shadows():
    renderer = Renderer(box_world(lights=[LAMP]), 0, QUICK)
    person = local_surfaces([body(50, 31, [block((0.4, 0.4, 1.7))], np.eye(4))]).posed(at(2.5, 2.4)[None])
    center = np.array([[2.5, 2.4, 0.85]])
    moving = Moving(person, np.full((1, 6, 3), 0.1, np.float32), np.array([[2.5, 2.4, 0.3, 0.15]]), center)
    pose = look_at((0.5, 1.0, 1.6), (2.5, 2.6, 0.5))
    empty, _ = renderer.color(CAMERA, pose)
    linear, view = renderer.color(CAMERA, pose, moving)
    mine = view.instances == 50
    assert mine.sum() > 50
    assert linear[mine].mean() > 0.01
    assert np.ptp(linear[mine].mean(axis=1)) > 0.05  # lit and shaded sides
    points = (CAMERA.rays() * view.depth[..., None]) @ pose[:3, :3].T + pose[:3, 3]
    shadow = (
        (view.instances == 1) & (np.abs(points[..., 0] - 2.5) < 0.15) & (points[..., 1] > 2.7) & (points[..., 1] < 3.2)
    )
    far = (view.instances == 1) & (points[..., 1] < 1.0)
    assert shadow.sum() > 5
    assert linear[shadow].mean() < 0.7 * empty[shadow].mean()
    np.testing.assert_allclose(linear[far], empty[far], rtol=0.15)


SCRIPT = """
import sys
sys.path[:0] = sys.argv[1:]
from test_render_light import same_bytes
print(same_bytes())
"""


def same_bytes():
    textured = Material((0.5, 0.3, 0.2), (0.2, 0.1, 0.1), "wood", 0.2, 0.7)
    renderer = Renderer(box_world(furniture=[cube(7, 0.7, at(3.0, 2.2), material=textured)], lights=[LAMP]), 0, QUICK)
    linear, view = renderer.color(CAMERA, POSE)
    picture = develop(linear, 1.0, OpticsConfig(), np.random.default_rng(3))
    parts = [linear, picture, view.depth, view.labels, view.instances, view.normals, view.edge_kinds]
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def test_the_same_world_gives_the_same_bytes_in_another_process():
    folder = Path(__file__).parent
    paths = [str(path) for path in (folder, folder.parents[2], folder.parents[3])]
    other = subprocess.run([sys.executable, "-c", SCRIPT, *paths], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == same_bytes()


@pytest.mark.parametrize("name", TEXTURES)
def test_textures_are_colours_that_repeat_exactly_and_fade_with_distance(name):
    material = Material((0.7, 0.4, 0.2), (0.1, 0.3, 0.5), name, 0.1, 1.0, seed=5)
    table = material_table([material])
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (400, 3))
    for normal in ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0)):
        near, again, far = (
            np.array([albedo(table, 0, tuple(p), normal, width) for p in points]) for width in (1e-4, 1e-4, 0.5)
        )
        assert ((near >= 0) & (near <= 1)).all()
        np.testing.assert_array_equal(near, again)
        if name not in ("painting", "screen", "plain"):  # those have one picture, or no pattern
            assert far.std(axis=0).max() <= 0.75 * near.std(axis=0).max() + 0.01
            np.testing.assert_allclose(far.mean(axis=0), near.mean(axis=0), atol=0.12)
    assert mean_albedo(table).shape == (1, 3)


def test_materials_are_checked():
    with pytest.raises(ValueError, match=r"Material\.texture 'velvet' is unknown; known are plain, wood"):
        material_table([Material((0.5, 0.5, 0.5), texture="velvet")])
    with pytest.raises(ValueError, match=r"Material\.scale"):
        material_table([replace(GREY, scale=0.0)])


def test_noise_is_uniform_smooth_and_bounded():
    values = np.array([hash01(i, 7, -3, 11) for i in range(4000)])
    assert abs(values.mean() - 0.5) < 0.02
    np.testing.assert_allclose(np.histogram(values, 10, (0, 1))[0], 400, atol=80)
    line = np.array([value_noise(x, 0.3, 5.1, 2) for x in np.linspace(-3, 3, 601)])
    assert ((line >= 0) & (line <= 1)).all()
    assert np.abs(np.diff(line)).max() < 0.02
    assert fractal_noise(0.37, 0.2, 0.1, 5, 10.0, 1) == 0.5  # wider than every octave


def test_exposure_brings_rooms_to_the_same_brightness():
    assert meter(np.full((4, 4, 3), 0.05, np.float32)) == pytest.approx(0.05)
    exposures = plan_exposures([0.05] * 40 + [0.8] * 40, np.arange(80) / 3)
    exposed = exposures[[0, -1]] * [0.05, 0.8]
    assert exposed[0] < exposed[1] < 4 * exposed[0]  # dark rooms stay darker, but far less so than by a factor of 16
    assert np.abs(np.diff(np.log(exposures))).max() < 0.5
    assert plan_exposures([KEY] * 3, np.arange(3.0)) == pytest.approx([1.0] * 3)
    assert plan_exposures([KEY], np.zeros(1)) == pytest.approx([1.0])


def test_a_perfect_camera_is_monotonous_and_the_default_one_is_not():
    ramp = np.repeat(np.linspace(0, 2, 64, dtype=np.float32)[None, :, None], 3, axis=2).repeat(32, axis=0)
    clean = develop(ramp, 1.0, PERFECT, np.random.default_rng(0))
    assert (clean == clean[:1]).all()
    assert (np.diff(clean[0, :, 0].astype(int)) >= 0).all()
    assert clean[0, 0, 0] == 0
    assert clean[0, -1, 0] > 220
    grainy = develop(ramp, 1.0, OpticsConfig(vignetting=0, wobble=0), np.random.default_rng(0)).astype(int)
    assert 0.5 < (grainy - clean)[:, 1:].std() < 3
    dim = develop(
        np.full((33, 33, 3), 0.3, np.float32), 1.0, replace(PERFECT, vignetting=0.5), np.random.default_rng(0)
    )
    assert dim[0, 0, 0] < dim[16, 16, 0]


def test_motion_blurs_along_the_motion():
    picture = np.zeros((60, 80, 3), np.float32)
    picture[:, 40:] = 1.0
    depth, still, moved = np.full((60, 80), 2.0, np.float32), np.eye(4), np.eye(4)
    moved[0, 3] = 0.2  # 0.2 m at 2 m is 6.5 pixels
    np.testing.assert_allclose(motion_blur(picture, depth, CAMERA, still), picture, atol=1e-6)
    blurred = motion_blur(picture, depth, CAMERA, moved)
    soft = (blurred[30, :, 0] > 0.01) & (blurred[30, :, 0] < 0.99)
    assert 5 <= soft.sum() <= 8
    assert (np.diff(blurred[30, :, 0]) >= -1e-6).all()
    np.testing.assert_allclose(motion_blur(picture, 0 * depth, CAMERA, moved), picture, atol=1e-6)
