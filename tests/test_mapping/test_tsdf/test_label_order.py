"""Where a voxel had more labels than it keeps, the sum of parts gets the labels that fusion in one go has."""

import numpy as np
import pytest
from fusion_scenes import CAMERA, View, orbit, sphere_depth

from mapping.tsdf.label_order import (
    CrowdedVoxels,
    frame_evidence,
    read_evidence,
    with_labels_in_order,
    write_evidence,
)
from mapping.tsdf.tsdf_config import TSDFConfig
from mapping.tsdf.volume import TSDFVolume
from mapping.tsdf.volume_io import VolumeError, write_volume

CONFIG = TSDFConfig(voxel_size=0.04, threads=2)
LABELS, FRAMES = 11, 14


@pytest.fixture(scope="module")
def views():
    """Frames of a sphere whose labels are noise."""
    rng = np.random.default_rng(5)
    poses = orbit(200, 2.0)[:FRAMES]  # all from above
    found = []
    for pose in poses:
        labels = rng.integers(0, LABELS, (CAMERA.height, CAMERA.width)).astype(np.uint8)
        images = {"labels": labels, "rgb": rng.integers(0, 255, (*labels.shape, 3)).astype(np.uint8)}
        found.append(View(sphere_depth(pose, 0.7), pose, images))
    return found


def volume_of(views):
    volume = TSDFVolume(CONFIG)
    for view in views:
        view.into(volume)
    return volume


@pytest.fixture(scope="module")
def whole(views, tmp_path_factory):
    volume = volume_of(views)
    path = tmp_path_factory.mktemp("whole") / "volume.npz"
    volume.save(path)
    return path.read_bytes(), volume.sums()


def sum_of(views, cuts):
    """The volumes of spans of the frames, added up from the last to the first."""
    parts = [volume_of(views[first:stop]) for first, stop in zip((0, *cuts), (*cuts, FRAMES), strict=True)]
    total = parts.pop()
    while parts:
        total.merge(parts.pop())
    return total.sums()


@pytest.mark.parametrize("cuts", [(7,), (3, 4, 11), tuple(range(1, FRAMES))])
def test_parts_in_any_order_end_in_the_same_bytes(views, whole, tmp_path, cuts):
    sums = sum_of(views, cuts)
    crowded = CrowdedVoxels.of(sums)
    assert len(crowded) > 500
    write_volume(tmp_path / "sum.npz", CONFIG, sums)
    assert (tmp_path / "sum.npz").read_bytes() != whole[0]  # or the test shows nothing
    write_evidence(tmp_path / "evidence.npz", [frame_evidence(crowded, volume_of([view]).sums()) for view in views])
    ordered = with_labels_in_order(sums, crowded, read_evidence(tmp_path / "evidence.npz"))
    write_volume(tmp_path / "ordered.npz", CONFIG, ordered)
    assert (tmp_path / "ordered.npz").read_bytes() == whole[0]


def test_the_order_of_frames_matters_so_they_are_kept_in_it(views, whole):
    crowded = CrowdedVoxels.of(whole[1])
    frames = [frame_evidence(crowded, volume_of([view]).sums()) for view in views]
    turned = with_labels_in_order(whole[1], crowded, frames[::-1])
    assert turned.surface.evidence.tolist() != whole[1].surface.evidence.tolist()


def test_without_crowded_voxels_nothing_is_done(views):
    sums = volume_of([views[0]._replace(images={"rgb": views[0].images["rgb"]})]).sums()
    crowded = CrowdedVoxels.of(sums)
    assert len(crowded) == 0
    assert with_labels_in_order(sums, crowded, []) is sums


def test_evidence_of_other_frames_is_refused(views, whole):
    crowded = CrowdedVoxels.of(whole[1])
    with pytest.raises(VolumeError, match=r"is not that of the .* crowded voxels"):
        with_labels_in_order(whole[1], crowded, [frame_evidence(crowded, volume_of([views[0]]).sums())])


@pytest.mark.parametrize("name", ["ends", "voxel"])
def test_a_damaged_file_of_evidence_is_refused(views, whole, tmp_path, name):
    crowded = CrowdedVoxels.of(whole[1])
    write_evidence(tmp_path / "evidence.npz", [frame_evidence(crowded, volume_of([views[0]]).sums())])
    with np.load(tmp_path / "evidence.npz") as file:
        arrays = {key: array[1:] if key == name else array for key, array in file.items()}
    np.savez(tmp_path / "evidence.npz", **arrays)
    with pytest.raises(VolumeError, match=r"evidence\.npz: ends: expected"):
        read_evidence(tmp_path / "evidence.npz")
