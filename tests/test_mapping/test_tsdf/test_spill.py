"""Volumes larger than the memory they may take: the same bytes, with what was not used lately on disk."""

from __future__ import annotations

import numpy as np
import pytest
from fusion_scenes import random_views

from mapping import TSDFConfig, TSDFVolume
from mapping.tsdf import spill
from mapping.tsdf.spill import CHUNK, RowFile, RowMemory, SpillError

CAP = 5 * CHUNK


@pytest.fixture
def fine(monkeypatch):
    """Chunks of a few blocks, so that little is kept in memory besides what is used."""
    monkeypatch.setattr(spill, "CHUNK", 1 << 14)


def fused(views, **settings):
    volume = TSDFVolume(TSDFConfig(voxel_size=0.03, **settings))
    for view in views:
        view.into(volume)
    return volume


def spread_views(count):
    """Views of places so far apart that none is seen twice."""
    views = random_views(np.random.default_rng(2), count)
    for number, view in enumerate(views):
        view.T_world_camera[0, 3] += 20.0 * number
    return views


def test_a_capped_volume_holds_the_same_and_stays_below_its_cap(fine, tmp_path):
    views = spread_views(6)
    whole, capped = fused(views), fused(views, max_memory=CAP)
    assert capped._store.memory.resident_bytes <= CAP < 0.4 * whole.memory_bytes
    for name, volume in (("a", whole), ("b", capped)):
        volume.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    meshes = [volume.extract_mesh(min_weight=0.1) for volume in (whole, capped)]
    np.testing.assert_array_equal(meshes[0].vertices, meshes[1].vertices)
    np.testing.assert_array_equal(meshes[0].labels, meshes[1].labels)


def test_frames_come_out_of_a_capped_volume_and_parts_merge(fine, tmp_path):
    views = spread_views(3)
    capped, never = fused(views[:2], max_memory=CAP), fused(views[1:])
    capped.merge(fused(views[2:]))
    views[0].out_of(capped)  # long out of memory
    for name, volume in (("a", never), ("b", capped)):
        volume.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_loaded_volume_keeps_to_a_cap(fine, tmp_path):
    views = spread_views(5)
    fused(views[:4]).save(tmp_path / "first")
    volume = TSDFVolume.load(tmp_path / "first", max_memory=CAP)
    views[4].into(volume)
    assert volume._store.memory.resident_bytes < 0.6 * volume.memory_bytes  # the last frame alone is above the cap
    for name, other in (("a", fused(views)), ("b", volume)):
        other.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert TSDFVolume.load(tmp_path / "a").config.max_memory is None


def test_what_was_let_go_of_is_read_again():
    file = RowFile((256,), np.int32)
    array = file.grow(np.zeros((0, 256), np.int32), 5000)
    array[:] = np.arange(5000)[:, None]
    file.release(np.arange(len(file.used)))
    np.testing.assert_array_equal(array[:, 7], np.arange(5000))
    grown = file.grow(array, 20000)
    np.testing.assert_array_equal(grown[:5000, 0], np.arange(5000))
    assert not grown[5000:].any()
    grown[0, 0] = 9
    assert array[0, 0] == 9  # both are views of one file


def test_the_chunks_unused_for_longest_go_first():
    memory = RowMemory(3 * CHUNK)
    rows = CHUNK // 4096
    memory.with_rows("tsdf", np.zeros((0, 1024), np.int32), 8 * rows)
    for chunk in (0, 1, 2, 0, 3):
        memory.touch({"tsdf": np.arange(chunk * rows, (chunk + 1) * rows)})
    assert np.flatnonzero(memory._files["tsdf"].used).tolist() == [0, 3]
    assert memory.resident_bytes == 2 * CHUNK


def test_without_a_cap_there_are_no_files():
    volume = fused(random_views(np.random.default_rng(1), 1))
    assert not volume._store.memory._files
    assert not volume._store.memory.spills


def test_a_full_disk_is_said_in_one_line(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spill.mmap, "mmap", full)
    with pytest.raises(SpillError, match="no space for 1048576 bytes of the volume"):
        RowFile((4,), np.int32).grow(np.zeros((0, 4), np.int32), 3)


def test_the_cap_must_be_positive():
    with pytest.raises(ValueError, match="max_memory"):
        TSDFConfig(max_memory=0)


def test_a_disk_that_is_nearly_full_is_told_of_before_it_is_written_to(monkeypatch):
    class Disk:
        f_frsize, f_bavail = 1, 3 * CHUNK

    file = RowFile((1,), np.uint8)
    monkeypatch.setattr(spill.os, "fstatvfs", lambda descriptor: Disk, raising=False)
    rows = file.grow(np.zeros((0, 1), np.uint8), 2 * CHUNK)
    rows = file.grow(rows, 2 * CHUNK + 1)
    assert 2 * CHUNK < len(rows) <= 3 * CHUNK, "twice as many would not fit, as many as are needed do"
    with pytest.raises(SpillError, match="no space for"):
        file.grow(rows, 3 * CHUNK + 1)
