"""The compiled kernels against the readable definition of fusion, and the sparse storage against a dictionary."""

from __future__ import annotations

import numpy as np
import pytest
from fusion_scenes import CAMERA, random_views

from mapping import TSDFConfig, TSDFVolume
from mapping.threads import run_parts, split
from mapping.tsdf import reference
from mapping.tsdf.blocks import BlockMap, ReachError
from mapping.tsdf.observation import observe

FAR_AWAY = np.array([10**8, -(10**8), 0])
CONFIGS = [
    TSDFConfig(voxel_size=0.05),
    TSDFConfig(voxel_size=0.03, truncation=0.07, max_depth=2.0),
    TSDFConfig(voxel_size=0.08, surface_band=0.3, behind=0.1, min_depth=1.2),
    TSDFConfig(voxel_size=0.05, behind_per_meter=0.2),
    TSDFConfig(voxel_size=0.05, truncation=0.1, behind=0.05, behind_per_meter=0.1, max_depth=3.0),
]


def rows_of(coords):
    return {tuple(row) for row in coords.tolist()}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("config", CONFIGS)
def test_kernels_compute_what_the_reference_defines(config, seed):
    view = random_views(np.random.default_rng(seed), 1)[0]
    frame = observe(config, view.depth, CAMERA, view.T_world_camera, **view.images)
    volume = TSDFVolume(config)
    view.into(volume)
    sums = volume._store.sums()

    band = reference.band_blocks(frame, config)
    part = reference.contribution(frame, band, config)
    observed = part.weight.any(axis=1)
    assert len(rows_of(band[observed]) ^ rows_of(sums.coords)) <= 0.01 * len(band)
    common = sorted(rows_of(band[observed]) & rows_of(sums.coords))
    ours = [index(sums.coords, common), index(band, common)]
    agrees(sums.tsdf[ours[0], 1], part.weight[ours[1]])
    agrees(sums.tsdf[ours[0], 0], part.distance[ours[1]])

    color = np.zeros((len(sums.coords), 512, 4), np.int32)
    color[sums.surface.row, sums.surface.voxel] = sums.surface.color
    agrees(color[ours[0]], part.color[ours[1]], quanta=256)
    for label in np.unique(part.label[part.label > 0]):
        agrees(evidence_of(sums, label)[ours[0]], np.where(part.label == label, part.weight, 0)[ours[1]])

    free = reference.free_blocks(frame, config)
    weight = reference.free_weight(frame, free, band, config)
    seen = weight.any(axis=1)
    common = sorted(rows_of(free[seen]) & rows_of(sums.free_coords))
    assert len(rows_of(free[seen]) ^ rows_of(sums.free_coords)) <= 0.01 * len(free)
    agrees(sums.free[index(sums.free_coords, common)], weight[index(free, common)])


def evidence_of(sums, label):
    """Evidence (B, 512) for a label."""
    evidence, surface = np.zeros((len(sums.coords), 512), np.int32), sums.surface
    here = surface.label_voxel[surface.label == label]
    evidence[surface.row[here], surface.voxel[here]] = surface.evidence[surface.label == label]
    return evidence


def index(coords, wanted):
    place = {tuple(row): i for i, row in enumerate(coords.tolist())}
    return np.array([place[row] for row in wanted])


def agrees(ours, theirs, quanta=2):
    """Equal to rounding, but for the few voxels that fall on the border of two pixels or of the band."""
    assert theirs.any()
    assert (np.abs(ours - theirs) > quanta).mean() < 1e-3


@pytest.mark.parametrize("config", CONFIGS)
def test_the_samples_of_a_ray_cover_its_band(config):
    offsets = reference.band_offsets(config)
    assert offsets[0] == -config.truncation_distance
    assert offsets[-1] == config.farthest_behind
    assert 0 in offsets
    assert 0 < np.diff(offsets).min() <= np.diff(offsets).max() <= 4 * config.voxel_size + 1e-12


def test_a_band_too_narrow_to_grow_is_the_same_for_both_kernels():
    """At a millimetre a metre no pixel's band grows beyond the three voxels that are measured anyway."""
    volumes = [TSDFVolume(TSDFConfig(voxel_size=0.05, behind_per_meter=growth)) for growth in (0.0, 0.001)]
    for view in random_views(np.random.default_rng(5), 3):
        for volume in volumes:
            view.into(volume)
    fixed, grown = (volume._store.sums() for volume in volumes)
    for name in ("coords", "free_coords", "free"):
        np.testing.assert_array_equal(getattr(fixed, name), getattr(grown, name))
    agrees(fixed.tsdf, grown.tsdf)


@pytest.mark.parametrize("seed", range(3))
def test_block_map_numbers_blocks_like_a_dictionary(seed):
    rng = np.random.default_rng(seed)
    blocks, numbers = BlockMap(), {}
    for _ in range(5):
        coords = (rng.integers(-9, 9, (700, 3)) + FAR_AWAY).astype(np.int32)
        rows = blocks.insert(coords)
        expected = [numbers.setdefault(tuple(row), len(numbers)) for row in coords.tolist()]
        assert rows.tolist() == expected
    assert blocks.count == len(numbers)
    np.testing.assert_array_equal(blocks.coords, list(numbers))
    wanted = (rng.integers(-12, 12, (500, 3)) + FAR_AWAY).astype(np.int32)
    assert blocks.find(wanted).tolist() == [numbers.get(tuple(row), -1) for row in wanted.tolist()]
    assert (np.diff(blocks.order()[np.argsort(blocks.order())]) != 0).all()


def test_block_map_refuses_what_it_cannot_reach():
    blocks = BlockMap()
    blocks.insert(np.array([[0, 0, 0]], np.int32))
    with pytest.raises(ReachError, match="1048576 blocks"):
        blocks.insert(np.array([[0, 1 << 20, 0]], np.int32))
    assert blocks.count == 1
    assert blocks.find(np.array([[0, 1 << 30, 0], [0, 0, 0]], np.int32)).tolist() == [-1, 0]


def test_frames_too_far_apart_are_refused_and_change_nothing(tmp_path):
    near, far = random_views(np.random.default_rng(0), 2)
    far.T_world_camera[0, 3] = 1e6
    volume = TSDFVolume(TSDFConfig(voxel_size=0.05))
    near.into(volume)
    volume.save(tmp_path / "before.npz")
    with pytest.raises(ValueError, match="first one fused"):
        far.into(volume)
    volume.save(tmp_path / "after.npz")
    assert (tmp_path / "before.npz").read_bytes() == (tmp_path / "after.npz").read_bytes()


def test_many_labels_in_one_block_are_all_kept():
    rng = np.random.default_rng(0)
    view = random_views(rng, 1)[0]
    labels = rng.integers(1, 60000, view.depth.shape).astype(np.uint16)
    volume = TSDFVolume(TSDFConfig(voxel_size=0.03))
    volume.integrate(view.depth, CAMERA, view.T_world_camera, labels=labels)
    sums = volume._store.sums()
    assert len(np.unique(sums.surface.label)) > 1000
    frame = observe(volume.config, view.depth, CAMERA, view.T_world_camera, labels=labels)
    part = reference.contribution(frame, sums.coords, volume.config)
    total, names = np.zeros(part.weight.shape, np.int64), np.zeros(part.label.shape, np.uint16)
    at = sums.surface.row[sums.surface.label_voxel], sums.surface.voxel[sums.surface.label_voxel]
    total[at], names[at] = sums.surface.evidence, sums.surface.label
    assert (total != np.where(part.label > 0, part.weight, 0)).mean() < 1e-3
    assert (names != part.label).mean() < 1e-3


def test_parts_cover_the_range_and_keep_their_order():
    assert split(10, 3) == [(0, 3), (3, 6), (6, 10)]
    assert split(1, 3) == [(0, 0), (0, 0), (0, 1)]
    assert run_parts(lambda part: part * part, 4) == [0, 1, 4, 9]


def test_an_error_in_a_part_is_raised():
    def work(part):
        if part == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_parts(work, 2)
