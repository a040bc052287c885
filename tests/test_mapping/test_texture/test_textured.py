"""Textures from images of a room whose colours are a function of place: they look like the images, whatever is wrong in some."""

import cv2
import numpy as np
import pytest
from apartments import box
from helpers import box_mesh

from mapping.camera import Intrinsics
from mapping.mesh.mesh import Mesh, concatenate
from mapping.mesh.raycast import MeshCaster
from mapping.se3 import look_at
from mapping.texture.charts import Spot2D, edge_neighbours, packed
from mapping.texture.choice import agreeing, exposures
from mapping.texture.textured import textured
from mapping.texture.views import TextureView, sharpness_of, sightings

CAMERA = Intrinsics(150.0, 150.0, 119.5, 89.5, 240, 180)
BLOCK = ((-0.4, 0.6, 0.0), (0.4, 1.2, 0.9))


def colors_of(points):
    """The colour (N, 3) of places: a pattern with edges of a few centimetres that no vertex colour of a coarse mesh can have."""
    checks = np.sin(points * 9.0).sum(axis=-1) > 0
    slow = 0.5 + 0.5 * np.sin(points @ np.array([[1.1, 0.3, 0.7], [0.4, 1.3, 0.2], [0.8, 0.5, 1.2]]))
    return np.clip(70 + 90 * slow + 50 * checks[..., None], 0, 255)


@pytest.fixture(scope="module")
def room():
    """A room of 4 x 3 x 2.5 m and a block in it, in triangles of 10 cm."""
    inside = box((-2, -1.5, 0), (2, 1.5, 2.5), "wall", step=0.1)
    block = box(*BLOCK, "table", step=0.1)
    mesh = concatenate(
        [Mesh(inside.vertices, np.ascontiguousarray(inside.faces[:, ::-1])), Mesh(block.vertices, block.faces)]
    )
    colors = np.rint(colors_of(mesh.vertices)).astype(np.uint8)
    return Mesh(mesh.vertices, mesh.faces, colors)


def photograph(caster, T, gain=1.0):
    depth, _ = caster.cast(CAMERA, T)
    points = (CAMERA.rays() * depth[..., None]) @ T[:3, :3].T + T[:3, 3]
    return np.rint(np.clip(colors_of(points) * gain, 0, 255)).astype(np.uint8), depth


def poses(count, shift=0.0):
    angles = 2 * np.pi * (np.arange(count) + shift) / count
    eyes = np.stack([0.9 * np.cos(angles), 0.5 * np.sin(angles) - 0.5, 1.3 + 0.2 * np.cos(3 * angles)], axis=1)
    out = np.stack([np.cos(angles), np.sin(angles), -0.35 + 0.3 * np.sin(2 * angles)], axis=1)
    return [look_at(eye, eye + way) for eye, way in zip(eyes, out, strict=True)]


def views_of(room, count=24, gains=None):
    caster = MeshCaster(room)
    gains = np.ones(count) if gains is None else gains
    return [TextureView(CAMERA, T, *photograph(caster, T, gain)) for T, gain in zip(poses(count), gains, strict=True)]


def drawn(found, T):
    """A picture (H, W, 3) of a textured map from a camera, and where it has a texture (H, W)."""
    meshes = [Mesh(page.vertices, page.faces) for page in found.pages]
    starts = np.cumsum([0, *(len(mesh.faces) for mesh in meshes)])
    caster = MeshCaster(concatenate([*meshes, Mesh(found.rest.vertices, found.rest.faces)]))
    rays = CAMERA.rays() @ T[:3, :3].T
    _, faces, weights = caster.cast_rays(np.broadcast_to(T[:3, 3], rays.shape), rays)
    picture, known = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), np.zeros(faces.shape, bool)
    for page, start, end in zip(found.pages, starts[:-1], starts[1:], strict=True):
        here = (faces >= start) & (faces < end)
        uv = (page.pixels[page.faces[faces[here] - start]] * weights[here][..., None]).sum(axis=1).astype(np.float32)
        parts = [cv2.remap(page.image, part[:, None], None, cv2.INTER_LINEAR)[:, 0] for part in np.array_split(uv, 8)]
        picture[here] = np.concatenate(parts)
        known |= here
    return picture, known


def error(found, room, T):
    """The mean difference to the photograph where there is a texture, and how much of the picture that is."""
    picture, known = drawn(found, T)
    truth, _ = photograph(MeshCaster(room), T)
    return np.abs(picture.astype(float) - truth)[known].mean(), known.mean()


def test_a_textured_room_looks_like_a_photograph_that_it_was_not_made_of(room):
    found = textured(room, views_of(room))
    faces = sum(len(page.faces) for page in found.pages)
    assert faces + len(found.rest.faces) == len(room.faces)
    for T in poses(5, shift=0.4):
        difference, share = error(found, room, T)
        assert difference < 8
        assert share > 0.9
    assert all(max(page.image.shape) <= 4096 for page in found.pages)


def test_different_exposures_leave_no_seams(room):
    gains = np.where(np.arange(24) % 2, 1.25, 0.8)
    views = views_of(room, gains=gains)
    caster = MeshCaster(room)
    seen = [sightings(caster, view) for view in views]
    for mesh in (room, Mesh(room.vertices, room.faces)):
        factors = exposures(mesh, seen)[:, 0] * gains
        assert factors == pytest.approx(np.full(24, factors.mean()), rel=0.06)
    assert error(textured(room, views), room, poses(5, shift=0.4)[1])[0] < 14


def test_what_stands_before_the_room_in_some_images_is_not_painted_on_it(room):
    views = views_of(room)
    for view in views[::4]:
        view.rgb[30:150, 90:150] = (255, 0, 255)  # without depth: only the other images tell
    plain = [TextureView(view.camera, view.T_world_camera, view.rgb) for view in views]
    found = textured(room, plain)
    magenta = np.concatenate(
        [(np.abs(page.image.astype(int) - (255, 0, 255)).max(axis=2) < 60).ravel() for page in found.pages]
    )
    shown = [drawn(found, T)[0] for T in poses(12)]
    painted = np.mean([(np.abs(picture.astype(int) - (255, 0, 255)).max(axis=2) < 60).mean() for picture in shown])
    assert painted < 0.003
    assert magenta.mean() < 0.1  # what lies around charts may be in the atlas, but nowhere on the surface


def test_depth_and_masks_keep_pixels_out(room):
    (view,) = views_of(room, 1)
    caster = MeshCaster(room)
    every = sightings(caster, view).faces
    near = view.depth.copy()
    near[:, :120] -= 1.0
    moved_in = TextureView(view.camera, view.T_world_camera, view.rgb, near)
    mask = np.ones(near.shape, bool)
    mask[:, :120] = False
    masked = TextureView(view.camera, view.T_world_camera, view.rgb, view.depth, mask)
    for other in (moved_in, masked):
        rest = sightings(caster, other).faces
        assert 0 < len(rest) < len(every)
        pixels = view.pixels(room.vertices[room.faces[rest]].mean(axis=1))
        assert pixels[:, 0].min() > 118


def test_hidden_and_averted_faces_are_not_seen(room):
    caster = MeshCaster(room)
    eye = np.array([0, -1.2, 0.5])
    T = look_at(eye, np.array([0, 1.0, 0.5]))
    seen = sightings(caster, TextureView(CAMERA, T, *photograph(caster, T)))
    middles = room.vertices[room.faces[seen.faces]].mean(axis=1)
    behind = (np.abs(middles[:, 0]) < 0.3) & (middles[:, 1] > 1.4) & (middles[:, 2] < 0.6)
    assert not behind.any(), "the wall behind the block"
    back = (np.abs(middles[:, 1] - BLOCK[1][1]) < 1e-6) & (np.abs(middles[:, 0]) < 0.4) & (middles[:, 2] < 0.9)
    assert not back.any(), "the far side of the block"
    assert ((np.abs(middles[:, 1] - BLOCK[0][1]) < 1e-6) & (np.abs(middles[:, 0]) < 0.4)).any()


def test_quality_falls_with_distance_and_angle():
    wall = box((-2, 2, 0), (2, 2.2, 2), "wall", step=0.2)
    caster = MeshCaster(Mesh(wall.vertices, wall.faces))
    blank = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)

    def total(eye):
        found = sightings(caster, TextureView(CAMERA, look_at(np.array(eye, float), np.array([0, 2.0, 1.0])), blank))
        middle = np.linalg.norm(wall.vertices[wall.faces[found.faces]].mean(axis=1) - [0, 2, 1], axis=1) < 0.3
        return found.quality[middle].sum()

    assert total([0, 0, 1]) > 1.5 * total([0, -2, 1])
    assert total([0, 0, 1]) > 1.5 * total([1.7, 1.0, 1])


def test_a_blurred_image_is_less_sharp():
    rgb = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    assert sharpness_of(cv2.GaussianBlur(rgb, (0, 0), 2)) < 0.2 * sharpness_of(rgb)


def test_a_colour_that_others_do_not_see_is_left_out(room):
    caster = MeshCaster(room)
    T = poses(1)[0]
    rgb, depth = photograph(caster, T)
    seen = [sightings(caster, TextureView(CAMERA, T, rgb, depth)) for _ in range(4)]
    wrong = sightings(caster, TextureView(CAMERA, T, 255 - rgb, depth))
    kept = agreeing(room, [*seen, wrong], np.ones((5, 3)), edge_neighbours(room))
    assert all(each.all() for each in kept[:4])
    assert kept[4].mean() < 0.35


def test_rectangles_do_not_overlap():
    rng = np.random.default_rng(0)
    sizes = [tuple(size) for size in rng.integers(1, 40, (200, 2)).tolist()]
    spots, pages = packed(sizes, 128)
    used = [np.zeros((128, 128), int) for _ in pages]
    for (width, height), spot in zip(sizes, spots, strict=True):
        used[spot.page][spot.top : spot.top + height, spot.left : spot.left + width] += 1
        assert spot.left + width <= pages[spot.page][0] <= 128
        assert spot.top + height <= pages[spot.page][1] <= 128
    assert all(page.max() == 1 for page in used)
    assert packed([(128, 128)], 128)[0] == [Spot2D(0, 0, 0)]


def test_a_mesh_that_no_view_sees_is_left_as_it_is(room):
    T = look_at(np.array([10.0, 0, 1]), np.array([20.0, 0, 1]))
    found = textured(room, [TextureView(CAMERA, T, np.zeros((180, 240, 3), np.uint8))])
    assert found.pages == ()
    assert found.rest is room


def test_neighbours_share_an_edge():
    mesh = box_mesh()
    pairs = edge_neighbours(mesh)
    assert len(pairs) == 18
    assert all(len(set(mesh.faces[a]) & set(mesh.faces[b])) == 2 for a, b in pairs)
