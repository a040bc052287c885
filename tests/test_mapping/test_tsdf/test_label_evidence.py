"""The evidence of all labels at the vertices of a volume's mesh."""

import numpy as np
import pytest
from fusion_scenes import CAMERA, plane_depth

from mapping import TSDFConfig, TSDFVolume
from mapping.se3 import look_at

POSE = look_at([0.0, 0.0, 2.0], [0.0, 0.0, 0.0])
DEPTH = plane_depth(POSE, (0, 0, 1), 0.01)


def volume_of(*frames):
    """A volume that sees one plane, at z = 0.01 m, with an image of labels and a weight per frame."""
    volume = TSDFVolume(TSDFConfig(voxel_size=0.05))
    for labels, weight in frames:
        labels = np.broadcast_to(np.asarray(labels, np.uint8), DEPTH.shape)
        volume.integrate(DEPTH, CAMERA, POSE, labels=labels, weight=np.full(DEPTH.shape, weight, np.float32))
    return volume


def dense(evidence, count):
    table = np.zeros((count, 256))
    table[evidence.point, evidence.label] = evidence.weight
    return table


def test_every_label_has_the_weight_of_its_frames():
    volume = volume_of((5, 1.0), (7, 0.5), (0, 1.0), (255, 0.25), (7, 0.25))
    mesh = volume.extract_mesh(min_weight=0.1)
    found = dense(volume.label_evidence(mesh.vertices), len(mesh.vertices))
    assert len(mesh.vertices) > 500
    assert set(np.flatnonzero(found.any(axis=0))) == {5, 7, 255}
    np.testing.assert_allclose(found[:, 7], 0.75 * found[:, 5], rtol=1e-3)
    np.testing.assert_allclose(found[:, 255], 0.25 * found[:, 5], rtol=1e-3)
    inner = np.abs(mesh.vertices[:, :2]).max(axis=1) < 0.4
    np.testing.assert_allclose(found[inner, 5], 1.0, rtol=0.05)  # the voxel behind the plane weighs a little less
    assert (mesh.labels == 5).all()


def test_labels_belong_to_where_they_were_seen():
    left = np.arange(CAMERA.width) < CAMERA.width // 2
    volume = volume_of((np.where(left, 3, 9), 1.0))
    mesh = volume.extract_mesh(min_weight=0.1)
    pixel = CAMERA.project((mesh.vertices - POSE[:3, 3]) @ POSE[:3, :3])[:, 0]
    found = dense(volume.label_evidence(mesh.vertices), len(mesh.vertices))
    for label, side in ((3, pixel < CAMERA.width / 2 - 8), (9, pixel > CAMERA.width / 2 + 8)):
        assert side.sum() > 200
        np.testing.assert_array_equal(np.flatnonzero(found[side].any(axis=0)), [label])


@pytest.mark.parametrize("labels", [0, 4])
def test_there_is_none_where_there_is_no_surface_or_no_label(labels):
    volume = volume_of((labels, 1.0))
    away = volume.label_evidence(np.array([[0.0, 0.0, 1.0], [50.0, 0.0, 0.0]]))
    assert not len(away.point)
    on_plane = volume.label_evidence(volume.extract_mesh(min_weight=0.1).vertices)
    assert bool(len(on_plane.point)) is (labels > 0)


def test_entries_are_sorted_and_survive_saving(tmp_path):
    volume = volume_of((5, 1.0), (2, 0.5))
    volume.save(tmp_path / "volume.npz")
    mesh = volume.extract_mesh(min_weight=0.1)
    found = volume.label_evidence(mesh.vertices)
    again = TSDFVolume.load(tmp_path / "volume.npz").label_evidence(mesh.vertices)
    keys = found.point * 65536 + found.label
    assert (np.diff(keys) > 0).all()
    for name in ("point", "label", "weight"):
        np.testing.assert_array_equal(getattr(found, name), getattr(again, name))
