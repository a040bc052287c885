"""A mesh made anew where the volume has changed is the mesh of the whole volume, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from fusion_scenes import CAMERA, View, plane_depth, random_views

from mapping import TSDFConfig, TSDFVolume
from mapping.tsdf import spill
from mapping.tsdf.mesh_updater import MeshUpdater
from mapping.tsdf.observation import observe
from mapping.tsdf.reference import band_blocks
from mapping.tsdf.spill import CHUNK
from mapping.tsdf.volume import FusionError

MIN_WEIGHT = 0.3


def volume_of(views, **settings):
    volume = TSDFVolume(TSDFConfig(voxel_size=0.06, **settings))
    for view in views:
        view.into(volume)
    return volume


def assert_whole(updater, volume, min_weight=MIN_WEIGHT):
    """The updater's mesh is that of a full extraction, bit for bit; returns its number of faces."""
    ours, whole = updater.extract_mesh(min_weight=min_weight), volume.extract_mesh(min_weight=min_weight)
    assert ours.vertices.tobytes() == whole.vertices.tobytes()
    np.testing.assert_array_equal(ours.faces, whole.faces)
    for name, array in whole.vertex_fields().items():
        assert getattr(ours, name).tobytes() == array.tobytes(), name
    return len(whole.faces)


def spread(views, step=20.0):
    """The views moved so far apart along x that none sees what another sees."""
    for number, view in enumerate(views):
        view.T_world_camera[0, 3] += step * number
    return views


def near_blocks(volume, view):
    """The measured blocks that are those of a view's band or next to them, by the reference implementation."""
    band = band_blocks(observe(volume.config, view.depth, CAMERA, view.T_world_camera), volume.config)
    there = {tuple(block) for block in volume.blocks(carved=False).coords.tolist()}
    offsets = [np.subtract(offset, 1) for offset in np.ndindex(3, 3, 3)]
    return there & {tuple(block) for block in np.concatenate([band + offset for offset in offsets]).tolist()}


@pytest.mark.parametrize("carve", [False, True])
@pytest.mark.parametrize("images", [(), ("rgb", "labels", "weight")])
@pytest.mark.parametrize("seed", range(3))
def test_any_sequence_of_changes_gives_the_whole_mesh(seed, images, carve, tmp_path):
    rng = np.random.default_rng(seed)
    views = [View(v.depth, v.T_world_camera, {n: v.images[n] for n in images}) for v in random_views(rng, 10)]
    volume, inside, outside = volume_of(views[:3], carve=carve), [0, 1, 2], list(range(3, len(views)))
    updater, faces = MeshUpdater(volume), []
    for action in rng.permutation(["integrate"] * 5 + ["remove"] * 4 + ["merge"] * 3 + ["load", "nothing"]):
        if action == "integrate" and outside:
            inside.append(outside.pop(rng.integers(len(outside))))
            views[inside[-1]].into(volume)
        elif action == "remove" and inside:
            outside.append(inside.pop(rng.integers(len(inside))))
            views[outside[-1]].out_of(volume)
        elif action == "merge" and outside:
            inside.append(outside.pop())
            volume.merge(volume_of([views[inside[-1]]], carve=carve))
        elif action == "load":
            volume.save(tmp_path / "volume.npz")
            volume = TSDFVolume.load(tmp_path / "volume.npz")
            updater = MeshUpdater(volume)
        faces.append(assert_whole(updater, volume))
    assert max(faces) > 500
    assert len(set(faces)) > 5


def test_blocks_on_a_border_come_and_go():
    """A wall that grows block by block in every direction and shrinks again."""
    T = np.eye(4)
    depth = plane_depth(T, (0.1, 0.2, 1), 1.5)
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    strips = [np.where((u // 40 == a) & (v // 40 == b), depth, 0) for a, b in np.ndindex(4, 3)]
    views = [View(strip.astype(np.float32), T, {}) for strip in strips]
    volume = volume_of([], carve=True)
    updater, order = MeshUpdater(volume), np.random.default_rng(0).permutation(len(views))
    counts = []
    for number in order:
        views[number].into(volume)
        counts.append(assert_whole(updater, volume))
    for number in order[::-1][1:]:
        views[number].out_of(volume)
        counts.append(assert_whole(updater, volume))
    assert counts[: len(order) - 1] != counts[len(order) :]
    for number in order[:-1]:
        views[number].into(volume)
    assert_whole(updater, volume)


def test_an_emptied_volume_has_no_mesh():
    view = random_views(np.random.default_rng(1), 1)[0]
    volume = volume_of([])
    updater = MeshUpdater(volume)
    assert assert_whole(updater, volume) == 0
    view.into(volume)
    assert assert_whole(updater, volume) > 100
    view.out_of(volume)
    assert assert_whole(updater, volume) == 0


def test_only_what_changed_and_its_neighbours_are_made_again():
    views = spread(random_views(np.random.default_rng(2), 4))
    volume = volume_of(views)
    updater = MeshUpdater(volume)
    assert_whole(updater, volume)
    everything = len(volume.blocks(carved=False).coords)
    assert updater.recomputed == everything
    assert_whole(updater, volume)
    assert updater.recomputed == 0
    views[2].into(volume)
    assert_whole(updater, volume)
    assert 0 < updater.recomputed <= len(near_blocks(volume, views[2])) < 0.5 * everything


def test_free_space_changes_the_blocks_that_it_covers():
    """A wall is looked through, to one far behind it: its blocks change although no frame measures them again."""
    T = np.eye(4)
    near, far = (View(plane_depth(T, (0, 0, 1), z), T, {}) for z in (0.7, 2.8))
    aside = random_views(np.random.default_rng(3), 1)[0]
    aside.T_world_camera[0, 3] += 40.0
    volume = volume_of([near, aside], carve=True)
    updater = MeshUpdater(volume)
    before = assert_whole(updater, volume, min_weight=0.0)
    far.into(volume)
    after = updater.extract_mesh(min_weight=0.0)
    here, elsewhere = (len(near_blocks(volume, view)) for view in (near, aside))
    assert here < updater.recomputed <= len(volume.blocks(carved=False).coords) - elsewhere
    assert len(after.faces) != before
    assert_whole(updater, volume, min_weight=0.0)


def test_a_refused_removal_changes_nothing():
    views = random_views(np.random.default_rng(4), 3)
    volume = volume_of(views[:2], carve=True)
    updater = MeshUpdater(volume)
    before = updater.extract_mesh(min_weight=MIN_WEIGHT)
    with pytest.raises(FusionError, match="cannot be removed"):
        views[2].out_of(volume)
    assert_whole(updater, volume)
    np.testing.assert_array_equal(updater.extract_mesh(min_weight=MIN_WEIGHT).faces, before.faces)


def test_another_least_weight_makes_everything_again():
    views = random_views(np.random.default_rng(5), 3)
    volume = volume_of(views[:2])
    updater = MeshUpdater(volume)
    faces = [assert_whole(updater, volume, min_weight) for min_weight in (1.0, 0.1, 0.5, 0.5)]
    assert faces[0] < faces[2] < faces[1]
    assert updater.recomputed == 0
    views[2].into(volume)
    assert_whole(updater, volume, 0.1)
    assert updater.recomputed == len(volume.blocks(carved=False).coords)


def test_several_updaters_of_one_volume_do_not_disturb_each_other():
    views = random_views(np.random.default_rng(6), 4)
    volume = volume_of(views[:1])
    often, seldom = MeshUpdater(volume), MeshUpdater(volume)
    assert_whole(seldom, volume)
    for view in views[1:]:
        view.into(volume)
        assert_whole(often, volume)
    assert_whole(seldom, volume)


def test_a_volume_on_disk_is_updated_too(monkeypatch):
    monkeypatch.setattr(spill, "CHUNK", 1 << 14)
    views = spread(random_views(np.random.default_rng(7), 5))
    volume = volume_of(views[:4], max_memory=5 * CHUNK)
    updater = MeshUpdater(volume)
    assert_whole(updater, volume)
    views[4].into(volume)
    views[0].out_of(volume)
    assert_whole(updater, volume)
    assert updater.extract_mesh(min_weight=MIN_WEIGHT).vertices.tobytes() == (
        volume_of(views[1:]).extract_mesh(min_weight=MIN_WEIGHT).vertices.tobytes()
    )


def test_any_number_of_threads_gives_the_same_mesh():
    views = random_views(np.random.default_rng(8), 3)
    one, many = volume_of(views[:2], threads=1), volume_of(views[:2], threads=3)
    updater = MeshUpdater(one)
    assert_whole(updater, many)
    for volume in (one, many):
        views[2].into(volume)
    assert_whole(updater, many)


def test_meshes_share_what_is_kept_and_stay_as_they_were():
    views = spread(random_views(np.random.default_rng(9), 2))
    volume = volume_of(views)
    updater = MeshUpdater(volume)
    first = updater.extract_mesh(min_weight=MIN_WEIGHT)
    vertices, faces = first.vertices.copy(), first.faces.copy()
    per_vertex = sum(array.nbytes for array in (first.vertices, *first.vertex_fields().values()))
    assert per_vertex < updater.memory_bytes < 1.5 * per_vertex + 200 * len(volume.blocks(carved=False).coords)
    views[0].into(volume)
    updater.extract_mesh(min_weight=MIN_WEIGHT)
    np.testing.assert_array_equal(first.vertices, vertices)
    np.testing.assert_array_equal(first.faces, faces)
    with pytest.raises(ValueError, match="read-only"):
        first.vertices[0] = 0
    volume.extract_mesh(min_weight=MIN_WEIGHT).vertices[0] = 0  # nobody else has that one
