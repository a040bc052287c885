"""Laws of fusion: known shapes come out where they are, and a volume is a sum of frames."""

from __future__ import annotations

import numpy as np
import pytest
from fusion_scenes import CAMERA, orbit, plane_depth, random_views, sphere_depth

from mapping import Intrinsics, TSDFConfig, TSDFVolume
from mapping.se3 import look_at
from mapping.tsdf.volume import FusionError

CONFIG = TSDFConfig(voxel_size=0.06)
GROWING = TSDFConfig(voxel_size=0.06, behind_per_meter=0.15)
BOTH = pytest.mark.parametrize("config", [CONFIG, GROWING], ids=["fixed", "growing"])
RADIUS = 0.5


def sphere_volume(voxel_size=0.04, **settings):
    volume = TSDFVolume(TSDFConfig(voxel_size=voxel_size, **settings))
    for T in orbit(24, 1.6):
        volume.integrate(sphere_depth(T, RADIUS), CAMERA, T)
    return volume


def fused(views, config=CONFIG):
    volume = TSDFVolume(config)
    for view in views:
        view.into(volume)
    return volume


def file_bytes(volume, path):
    volume.save(path)
    return path.read_bytes()


def euler_and_edge_uses(mesh):
    edges = np.sort(np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]), axis=1)
    unique, uses = np.unique(edges, axis=0, return_counts=True)
    return len(mesh.vertices) - len(unique) + len(mesh.faces), set(uses.tolist())


@pytest.mark.parametrize("voxel_size", [0.04, 0.02])
def test_a_sphere_has_its_radius_and_is_closed(voxel_size):
    mesh = sphere_volume(voxel_size).extract_mesh(min_weight=0.5)
    radius = np.linalg.norm(mesh.vertices, axis=1)
    assert abs(radius.mean() - RADIUS) < 0.1 * voxel_size
    assert radius.std() < 0.1 * voxel_size
    assert np.abs(radius - RADIUS).max() < 0.4 * voxel_size
    assert euler_and_edge_uses(mesh) == (2, {2})
    assert (np.einsum("ij,ij->i", mesh.face_normals(), mesh.vertices[mesh.faces[:, 0]]) > 0).all()
    assert mesh.face_areas().min() > 0


def test_a_plane_seen_head_on_is_exact():
    volume = TSDFVolume(TSDFConfig(voxel_size=0.04))
    T = np.eye(4)
    volume.integrate(plane_depth(T, (0, 0, 1), 1.234), CAMERA, T)
    mesh = volume.extract_mesh(min_weight=0.5)
    assert len(mesh.faces) > 1000
    np.testing.assert_allclose(mesh.vertices[:, 2], 1.234, atol=1e-5)
    np.testing.assert_allclose(mesh.face_normals(), np.broadcast_to([0, 0, -1.0], (len(mesh.faces), 3)), atol=1e-3)


def test_slanted_planes_are_within_a_tenth_of_a_voxel():
    normal = np.array([0.4, -0.5, 1.0]) / np.linalg.norm([0.4, -0.5, 1.0])
    volume = TSDFVolume(TSDFConfig(voxel_size=0.04))
    for x in np.linspace(-0.1, 0.1, 7):
        T = look_at((x, 2 * x, 0), (0, x, 2.0), up=(0, -1, 0))
        volume.integrate(plane_depth(T, normal, 1.5), CAMERA, T)
    error = volume.extract_mesh(min_weight=3).vertices @ normal - 1.5
    assert np.sqrt((error**2).mean()) < 0.1 * 0.04


def test_signed_distance_is_positive_in_front_and_negative_behind():
    T = np.eye(4)
    volume = TSDFVolume(TSDFConfig(voxel_size=0.05))
    volume.integrate(plane_depth(T, (0, 0, 1), 2.0), CAMERA, T)
    depths = np.array([1.0, 1.9, 2.0, 2.1, 2.5])
    distance, weight = volume.sample(np.stack([0 * depths, 0 * depths, depths], axis=1))
    np.testing.assert_allclose(distance, [0.2, 0.1, 0, -0.1, 0], atol=1e-4)
    assert (weight[:3] == 1).all()
    assert 0 < weight[3] < 1  # the drop-off behind the surface
    assert weight[4] == 0


def test_the_band_behind_a_surface_grows_with_its_depth():
    volume, T = TSDFVolume(TSDFConfig(voxel_size=0.05, behind_per_meter=0.2)), np.eye(4)
    volume.integrate(plane_depth(T, (0, 0, 1), 3.025), CAMERA, T)
    z, behind = 3.025 + 0.05 * np.arange(-3, 12), 0.2 * 3.025  # on sample points, up to the last voxel of the band
    distance, weight = volume.sample(np.stack([np.full(15, 0.025), np.full(15, 0.025), z], axis=1))
    np.testing.assert_allclose(distance, np.clip(3.025 - z, -0.2, 0.2), atol=1e-4)
    np.testing.assert_allclose(weight, np.clip((behind + 3.025 - z) / (behind - 0.05), 0, 1), atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_a_wall_of_noisy_depth_is_one_sheet_where_the_band_grows_with_the_noise(seed):
    """Every frame calls the wall, 2 m to 4.5 m away, 6 % too far or too near and bends it smoothly by 2 %."""
    volumes = [TSDFVolume(TSDFConfig(voxel_size=0.05, behind_per_meter=growth)) for growth in (0.0, 0.2)]
    rng, v = np.random.default_rng(seed), np.linspace(0, 3, CAMERA.height)[:, None]
    for distance in np.repeat(np.linspace(2.0, 4.5, 10), 3):
        T = np.eye(4)
        T[2, 3] = -distance
        wrong = 1 + 0.06 * rng.standard_normal() + 0.02 * np.sin(v + rng.uniform(0, 6))
        for volume in volumes:
            volume.integrate((plane_depth(T, (0, 0, 1), 0.0) * wrong).astype(np.float32), CAMERA, T)
    sheets, offset = [], []
    for mesh in (volume.extract_mesh(min_weight=1) for volume in volumes):
        seen_by_all = (np.abs(mesh.vertices[mesh.faces].mean(axis=1)[:, :2]) < 0.8).all(axis=1)
        sheets.append(mesh.face_areas()[seen_by_all].sum() / 1.6**2)
        offset.append(np.sqrt((mesh.vertices[:, 2] ** 2).mean()))
    assert sheets[0] > 1.1
    assert abs(sheets[1] - 1) < 0.02
    assert offset[1] < 0.4 * offset[0]


def test_weight_falls_linearly_behind_the_surface():
    T = np.eye(4)
    volume = TSDFVolume(TSDFConfig(voxel_size=0.05, truncation=0.25, behind=0.25))
    volume.integrate(plane_depth(T, (0, 0, 1), 2.025), CAMERA, T)
    z = 2.025 + 0.05 * np.arange(1, 4)  # on sample points behind the surface
    _, weight = volume.sample(np.stack([np.full(3, 0.025), np.full(3, 0.025), z], axis=1))
    np.testing.assert_allclose(weight, (0.25 - 0.05 * np.arange(1, 4)) / 0.2, atol=1e-3)


def test_the_order_of_frames_does_not_matter(tmp_path):
    views = random_views(np.random.default_rng(1), 6)
    a, b = fused(views), fused([views[i] for i in (3, 0, 5, 1, 4, 2)])
    assert file_bytes(a, tmp_path / "a.npz") == file_bytes(b, tmp_path / "b.npz")
    ours, theirs = a.extract_mesh(min_weight=0.1), b.extract_mesh(min_weight=0.1)
    assert len(ours.faces) > 500
    np.testing.assert_array_equal(ours.faces, theirs.faces)
    for name, array in ours.vertex_fields().items():
        np.testing.assert_array_equal(array, getattr(theirs, name))


@BOTH
@pytest.mark.parametrize("parts", [2, 3, 7])
def test_merged_parts_equal_the_sequence(parts, config, tmp_path):
    views = random_views(np.random.default_rng(parts), 7)
    whole, merged = fused(views, config), TSDFVolume(config)
    for part in range(parts):
        merged.merge(fused(views[part::parts], config))
    assert file_bytes(whole, tmp_path / "a.npz") == file_bytes(merged, tmp_path / "b.npz")
    assert TSDFVolume.load(tmp_path / "a.npz").config == config


@BOTH
def test_a_removed_frame_was_never_fused(config, tmp_path):
    views = random_views(np.random.default_rng(3), 5)
    volume, never = fused(views, config), fused(views[:2], config)
    for view in views[2:]:
        view.out_of(volume)
    assert file_bytes(volume, tmp_path / "a.npz") == file_bytes(never, tmp_path / "b.npz")
    a, b = volume.blocks(), never.blocks()
    np.testing.assert_array_equal(a.coords, b.coords)
    np.testing.assert_array_equal(a.weight, b.weight)
    for view in views[:2]:
        view.out_of(volume)
    assert len(volume.blocks().coords) == 0
    assert len(volume.extract_mesh().vertices) == 0


def test_removing_a_frame_that_is_not_there_is_refused_and_changes_nothing(tmp_path):
    inside, outside = random_views(np.random.default_rng(4), 2)
    volume = fused([inside])
    before = file_bytes(volume, tmp_path / "a.npz")
    with pytest.raises(FusionError, match="cannot be removed"):
        outside.out_of(volume)
    assert file_bytes(volume, tmp_path / "a.npz") == before


@pytest.mark.parametrize("label_type", [np.uint8, np.uint16])
def test_threads_do_not_change_a_bit(label_type, tmp_path):
    views = random_views(np.random.default_rng(5), 3, label_type=label_type)
    files = []
    for threads in (1, 2, 3):
        volume = fused(views, TSDFConfig(voxel_size=0.03, threads=threads))
        files.append(file_bytes(volume, tmp_path / f"{threads}.npz"))
    assert files[0] == files[1] == files[2]


def test_labels_and_colours_of_a_two_coloured_sphere():
    volume = TSDFVolume(TSDFConfig(voxel_size=0.04))
    for number, T in enumerate(orbit(30, 1.6)):
        depth = sphere_depth(T, RADIUS)
        world = (CAMERA.rays() * depth[..., None]) @ T[:3, :3].T + T[:3, 3]
        labels = np.where(depth > 0, np.where(world[..., 2] > 0, 7, 300), 0).astype(np.uint16)
        if number % 3 == 0:
            labels[labels > 0] = 9  # one view in three is wrong
        rgb = np.where(world[..., 2:] > 0, [200, 40, 10], [10, 60, 250]).astype(np.uint8)
        volume.integrate(depth, CAMERA, T, rgb=rgb, labels=labels)
    mesh = volume.extract_mesh(min_weight=1)
    upper, lower = mesh.vertices[:, 2] > 0.06, mesh.vertices[:, 2] < -0.06
    assert (mesh.labels[upper] == 7).mean() > 0.97
    assert (mesh.labels[lower] == 300).mean() > 0.97
    np.testing.assert_allclose(np.median(mesh.colors[upper], axis=0), [200, 40, 10], atol=1)
    np.testing.assert_allclose(np.median(mesh.colors[lower], axis=0), [10, 60, 250], atol=1)
    assert ((mesh.confidence > 0) & (mesh.confidence < 1)).all()
    blocks = volume.blocks()
    assert set(np.unique(blocks.labels).tolist()) <= {0, 7, 9, 300}


def test_a_heavier_weight_counts_for_more():
    T, one = np.eye(4), np.ones((CAMERA.height, CAMERA.width), np.float32)
    volume = TSDFVolume(TSDFConfig(voxel_size=0.05))
    volume.integrate(2.0 * one, CAMERA, T, weight=3 * one)
    volume.integrate(2.04 * one, CAMERA, T, weight=one)
    z = volume.extract_mesh(min_weight=0.5).vertices[:, 2]
    np.testing.assert_allclose(z, 2.01, atol=1e-3)
    nothing = TSDFVolume(TSDFConfig(voxel_size=0.05))
    nothing.integrate(2.0 * one, CAMERA, T, weight=0 * one)
    assert len(nothing.blocks().coords) == 0


def test_range_weight_is_the_fourth_power_of_depth():
    T, one = np.eye(4), np.ones((CAMERA.height, CAMERA.width), np.float32)
    volume = TSDFVolume(TSDFConfig(voxel_size=0.05, range_weight=True))
    volume.integrate(2.0 * one, CAMERA, T)
    assert volume.sample([[0, 0, 1.95]])[1][0] == pytest.approx(1 / 16, rel=1e-2)


def test_space_in_front_of_a_surface_is_free():
    T = np.eye(4)
    carved, band = TSDFVolume(TSDFConfig(voxel_size=0.05)), TSDFVolume(TSDFConfig(voxel_size=0.05, carve=False))
    for volume in (carved, band):
        volume.integrate(plane_depth(T, (0, 0, 1), 2.5), CAMERA, T)
    points = np.stack([np.zeros(9), np.zeros(9), np.linspace(0.3, 2.1, 9)], axis=1)
    distance, weight = carved.sample(points)
    assert (weight > 0).all()
    np.testing.assert_allclose(distance, 0.2, atol=1e-6)
    assert (band.sample(points)[1] == 0).sum() >= 7
    assert len(carved.blocks(carved=False).coords) == len(band.blocks().coords) < len(carved.blocks().coords)
    np.testing.assert_array_equal(carved.extract_mesh().vertices, band.extract_mesh().vertices)


def test_depth_beyond_the_greatest_is_free_space_and_no_surface():
    T = np.eye(4)
    volume = TSDFVolume(TSDFConfig(voxel_size=0.05, max_depth=2.0))
    volume.integrate(plane_depth(T, (0, 0, 1), 3.0), CAMERA, T)
    assert len(volume.blocks(carved=False).coords) == 0
    assert volume.sample([[0, 0, 1.0]])[1][0] == 1
    assert volume.sample([[0, 0, 2.0]])[1][0] == 0


def test_what_later_frames_look_through_disappears():
    T = np.eye(4)
    wall, obstacle = plane_depth(T, (0, 0, 1), 2.5), plane_depth(T, (0, 0, 1), 1.2)
    carved, band = TSDFVolume(TSDFConfig(voxel_size=0.05)), TSDFVolume(TSDFConfig(voxel_size=0.05, carve=False))
    for volume in (carved, band):
        volume.integrate(obstacle, CAMERA, T)
        for _ in range(6):
            volume.integrate(wall, CAMERA, T)
    assert (band.extract_mesh().vertices[:, 2] < 2).any()
    assert not (carved.extract_mesh().vertices[:, 2] < 2).any()


def test_blocks_say_where_their_voxels_are():
    volume = sphere_volume(0.05, carve=False)
    blocks = volume.blocks()
    assert blocks.coords.dtype == np.int32
    assert (np.lexsort(blocks.coords.T[::-1]) == np.arange(len(blocks.coords))).all()
    grid = np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), axis=-1)
    points = (8 * blocks.coords[:, None, None, None] + grid + 0.5) * 0.05
    near = (blocks.weight > 5) & (np.abs(blocks.distance) < 0.1)
    error = np.linalg.norm(points, axis=-1) - RADIUS - blocks.distance
    assert near.sum() > 500
    assert (
        np.abs(error[near]).max() < 0.06
    )  # projective distance is longer than the shortest, never by more than this here
    low, high = volume.bounds()
    assert (low < -0.5).all()
    assert (high > 0.5).all()
    assert (high - low < 2.5).all()


def test_arguments_are_not_changed():
    view = random_views(np.random.default_rng(6), 1)[0]
    for array in (view.depth, view.T_world_camera, *view.images.values()):
        array.setflags(write=False)
    volume = TSDFVolume(CONFIG)
    view.into(volume)
    view.out_of(volume)


def test_maps_far_from_the_origin_are_as_good():
    shift = np.array([5e5, 4e6, 300.0])
    shift = np.round(shift / (8 * 0.04)) * 8 * 0.04
    near, far = sphere_volume(0.04), TSDFVolume(TSDFConfig(voxel_size=0.04))
    for T in orbit(24, 1.6):
        moved = T.copy()
        moved[:3, 3] += shift
        far.integrate(sphere_depth(T, RADIUS), CAMERA, moved)
    here, there = near.extract_mesh(), far.extract_mesh()
    radius = np.linalg.norm(there.vertices - shift, axis=1)
    assert abs(len(here.faces) - len(there.faces)) < 0.01 * len(here.faces)
    assert np.abs(radius - RADIUS).max() < 0.4 * 0.04


def test_empty_volume():
    volume = TSDFVolume()
    assert len(volume.extract_mesh().faces) == 0
    assert volume.sample([[0, 0, 0]])[1][0] == 0
    assert volume.blocks().distance.shape == (0, 8, 8, 8)
    with pytest.raises(FusionError, match="empty"):
        volume.bounds()
    volume.integrate(np.zeros((CAMERA.height, CAMERA.width), np.float32), CAMERA, np.eye(4))
    assert len(volume.blocks().coords) == 0


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 200)])
def test_small_images_are_fused(shape):
    camera = Intrinsics(20.0, 20.0, shape[1] / 2, shape[0] / 2, shape[1], shape[0])
    volume = TSDFVolume(TSDFConfig(voxel_size=0.2))
    volume.integrate(np.full(shape, 2.0, np.float32), camera, np.eye(4))
    blocks = volume.blocks()
    assert (blocks.weight > 0).any()
    assert volume.render(camera, np.eye(4)).depth.shape == shape


def test_depth_that_is_no_number_is_unknown():
    depth = plane_depth(np.eye(4), (0, 0, 1), 2.0)
    odd = depth.copy()
    odd[::3], odd[1::3, ::2] = np.nan, np.inf
    odd[2::3, 1::2] = -1
    zero = np.where(np.isfinite(odd) & (odd > 0), odd, 0).astype(np.float32)
    volumes = [TSDFVolume(CONFIG), TSDFVolume(CONFIG)]
    for volume, image in zip(volumes, (odd, zero), strict=True):
        volume.integrate(image, CAMERA, np.eye(4))
    np.testing.assert_array_equal(volumes[0].blocks().weight, volumes[1].blocks().weight)
    np.testing.assert_array_equal(volumes[0].extract_mesh().vertices, volumes[1].extract_mesh().vertices)


def test_memory_grows_with_what_is_seen():
    views = random_views(np.random.default_rng(7), 4)
    sizes = [fused(views[:n]).memory_bytes for n in (0, 1, 4)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_images_of_wider_types_give_the_same_volume():
    view = random_views(np.random.default_rng(8), 1)[0]
    labels = np.full(view.depth.shape, 300, np.uint16)
    volumes = [TSDFVolume(CONFIG), TSDFVolume(CONFIG)]
    volumes[0].integrate(view.depth, CAMERA, view.T_world_camera, labels=labels)
    volumes[1].integrate(view.depth.astype(np.float64), CAMERA, view.T_world_camera, labels=labels.astype(np.int64))
    meshes = [volume.extract_mesh() for volume in volumes]
    np.testing.assert_array_equal(meshes[0].vertices, meshes[1].vertices)
    np.testing.assert_array_equal(meshes[0].labels, meshes[1].labels)


@pytest.mark.parametrize("thickness", [0.12, 0.2])
def test_thin_walls_seen_from_both_sides_keep_their_thickness(thickness):
    volume = TSDFVolume(TSDFConfig(voxel_size=0.04, behind=0.08))
    for side in (1, -1):
        for x in (-0.2, 0.0, 0.2):
            T = look_at((x, 0.1, 1.5 * side), (0, 0, 0), up=(0, 1, 0))
            volume.integrate(plane_depth(T, (0, 0, side), thickness / 2), CAMERA, T)
    z = volume.extract_mesh(min_weight=1).vertices[:, 2]
    np.testing.assert_allclose(z[z > 0], thickness / 2, atol=0.004)
    np.testing.assert_allclose(z[z < 0], -thickness / 2, atol=0.004)
