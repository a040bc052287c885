"""What runs out, or stops half-way, leaves a volume that is whole and says what it contains."""

from __future__ import annotations

import numpy as np
import pytest
from fusion_scenes import CAMERA, plane_depth, random_views

from mapping import TSDFConfig, TSDFVolume
from mapping.tsdf import fusion, surface
from mapping.tsdf.spill import RowMemory
from mapping.tsdf.volume import FusionError


def fused(views, **settings):
    volume = TSDFVolume(TSDFConfig(voxel_size=0.03, **settings))
    for view in views:
        view.into(volume)
    return volume


def test_threads_that_run_out_of_records_continue_with_more(monkeypatch, tmp_path):
    views = random_views(np.random.default_rng(3), 4)
    fused(views, threads=1).save(tmp_path / "plenty")
    monkeypatch.setattr(fusion, "RECORDS_PER_BLOCK", 0)
    for name in ("ARENA_RECORDS", "ARENA_MORE"):
        monkeypatch.setattr(surface, name, 1)
    calls = []
    reserve = fusion.Fuser._reserve_records
    monkeypatch.setattr(fusion.Fuser, "_reserve_records", lambda self, new: (calls.append(new), reserve(self, new)))
    fused(views, threads=3).save(tmp_path / "scarce")
    assert len(calls) > len(views)
    assert (tmp_path / "plenty").read_bytes() == (tmp_path / "scarce").read_bytes()


@pytest.mark.parametrize("array", ["tsdf", "records", "free"])
def test_a_volume_that_cannot_grow_is_as_it_was(monkeypatch, tmp_path, array):
    views = random_views(np.random.default_rng(4), 2)
    volume = fused(views[:1])
    volume.save(tmp_path / "before")
    grow = RowMemory.with_rows

    def refuse(self, name, rows, count):
        if name == array:
            raise MemoryError(f"no more {name}")
        return grow(self, name, rows, count)

    with monkeypatch.context() as patch:
        patch.setattr(RowMemory, "with_rows", refuse)
        patch.setattr(surface, "ARENA_RECORDS", 1)
        patch.setattr(fusion, "RECORDS_PER_BLOCK", 1 << 20)
        with pytest.raises(MemoryError):
            views[1].into(volume)
    volume.save(tmp_path / "after")
    assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()
    views[1].into(volume)
    volume.save(tmp_path / "later")
    fused(views).save(tmp_path / "both")
    assert (tmp_path / "later").read_bytes() == (tmp_path / "both").read_bytes()


def test_weight_counts_what_was_measured_and_what_was_looked_through():
    T, heavy = np.eye(4), np.full((CAMERA.height, CAMERA.width), 256, np.float32)
    volume = TSDFVolume(TSDFConfig(voxel_size=0.1))
    near, far = (plane_depth(T, (0, 0, 1), distance) for distance in (1.5, 3.5))

    def look(frames):
        for frame in range(frames):
            volume.integrate(near if frame < 300 else far, CAMERA, T, weight=heavy)

    with pytest.raises(FusionError, match="it can hold 100000"):
        look(600)
    assert (volume.blocks().weight >= 0).all()
    points = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 9)] * 2, np.linspace(0.5, 3.3, 57)), axis=-1).reshape(-1, 3)
    assert volume.sample(points)[1].max() <= 100000


def test_a_view_too_large_for_its_voxels_is_refused_in_one_line():
    volume = TSDFVolume(TSDFConfig(voxel_size=0.002, max_depth=200.0))
    depth = np.full((CAMERA.height, CAMERA.width), 150.0, np.float32)
    with pytest.raises(FusionError, match="use larger voxels or a smaller max_depth"):
        volume.integrate(depth, CAMERA, np.eye(4))


def test_merging_takes_little_more_than_it_contains():
    views = random_views(np.random.default_rng(6), 2)
    whole, other = fused(views[:1]), fused(views[1:])
    for _ in range(6):
        before = whole._store.surface._taken
        whole.merge(other)
    assert whole._store.surface._taken == before, "room that is left is used again"
