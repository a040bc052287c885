"""Volume files: written and read without loss, and refused in one line when they are anything else."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from faults import largest_file
from fusion_scenes import random_views

from mapping import TSDFConfig, TSDFVolume
from mapping.tsdf.volume_io import VolumeError

CONFIG = TSDFConfig(voxel_size=0.06, truncation=0.2, max_depth=4.0)


@pytest.fixture(scope="module")
def volume():
    result = TSDFVolume(CONFIG)
    for view in random_views(np.random.default_rng(0), 3):
        view.into(result)
    return result


@pytest.fixture
def saved(volume, tmp_path):
    volume.save(tmp_path / "volume.npz")
    return tmp_path / "volume.npz"


def test_saving_and_loading_changes_nothing(volume, saved, tmp_path):
    loaded = TSDFVolume.load(saved)
    assert loaded.config == CONFIG
    loaded.save(tmp_path / "again.npz")
    assert saved.read_bytes() == (tmp_path / "again.npz").read_bytes()
    for a, b in zip(
        vars(volume.extract_mesh(min_weight=0.2)).values(),
        vars(loaded.extract_mesh(min_weight=0.2)).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_a_loaded_volume_goes_on_like_the_first(volume, saved, tmp_path):
    view = random_views(np.random.default_rng(1), 1)[0]
    loaded, other = TSDFVolume.load(saved), TSDFVolume.load(saved)
    view.into(loaded)
    view.into(other)
    view.out_of(other)
    other.save(tmp_path / "b.npz")
    assert saved.read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_nothing_else_is_left_in_the_folder(saved):
    assert [path.name for path in saved.parent.iterdir()] == ["volume.npz"]


@pytest.mark.parametrize("size", [0, 10, 1_000, 5_000])
def test_a_full_disk_is_said_with_the_file(volume, tmp_path, size):
    with largest_file(size), pytest.raises(OSError, match=r"volume\.npz: cannot be written \(File too large\)"):
        volume.save(tmp_path / "volume.npz")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_volume_can_be_saved(tmp_path):
    TSDFVolume(CONFIG).save(tmp_path / "empty.npz")
    assert len(TSDFVolume.load(tmp_path / "empty.npz").blocks().coords) == 0


def load_error(path):
    with pytest.raises(VolumeError) as error:
        TSDFVolume.load(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_cut_files_are_refused(saved, share):
    os.truncate(saved, int(share * saved.stat().st_size))
    assert "not readable as .npz" in load_error(saved)


def test_damaged_files_are_refused(saved):
    data = bytearray(saved.read_bytes())
    data[len(data) // 2] ^= 0xFF
    saved.write_bytes(data)
    load_error(saved)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.npz"
    assert "no such file" in load_error(path)
    path.write_text("hello")
    assert "not readable as .npz" in load_error(path)
    np.savez(path, points=np.zeros(3))
    assert "expected header format" in load_error(path)
    np.savez(path, header=np.array([None, "x"], dtype=object))
    assert "Python objects, which are not read" in load_error(path)


def header(**changes):
    fields = {
        "format": "m2h-tsdf-volume",
        "version": 2,
        "config": {"voxel_size": 0.06, "truncation": 0.2, "max_depth": 4.0},
    }
    return np.frombuffer(json.dumps(fields | changes).encode(), np.uint8)


CHANGES = {
    "version must be 2, got 1": {"header": header(version=1)},
    "expected header format": {"header": header(format="mesh")},
    "not readable as JSON": {"header": np.frombuffer(b"{", np.uint8)},
    "header config voxel_size": {"header": header(config={"voxel_size": -1})},
    "header config voxels": {"header": header(config={"voxels": 1})},
    "missing arrays ['tsdf']": {"tsdf": None},
    "unknown arrays ['extra']": {"extra": np.zeros(1)},
    "tsdf must be int32": {"tsdf": lambda a: a.astype(np.int64)},
    "color must be int32": {"color": lambda a: a[:-1]},
    "coords must be sorted": {"coords": lambda a: a[::-1]},
    "free_coords must be sorted": {"free_coords": lambda a: a[::-1]},
    "row must be in": {"row": lambda a: a + 100000},
    "voxel must be in": {"voxel": lambda a: a + 512},
    "label_voxel must be in": {"label_voxel": lambda a: a - 1},
    "(row, voxel) and (label_voxel, label) must increase": {"voxel": lambda a: np.zeros_like(a)},
    "labels must not be 0": {"label": lambda a: np.zeros_like(a)},
}


@pytest.mark.parametrize("message", CHANGES)
def test_what_is_wrong_is_named(saved, message):
    with np.load(saved) as archive:
        arrays = dict(archive)
    arrays["header"] = header()
    for name, change in CHANGES[message].items():
        if change is None:
            del arrays[name]
        else:
            arrays[name] = change(arrays[name]) if callable(change) else change
    np.savez(saved, **arrays)
    assert message in load_error(saved)
