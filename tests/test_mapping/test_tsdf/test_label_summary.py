"""What a voxel remembers of its labels: exact up to six of them, and within the stated bound beyond."""

from __future__ import annotations

import numpy as np
import pytest
from fusion_scenes import CAMERA, plane_depth

from mapping import TSDFConfig, TSDFVolume
from mapping.tsdf.kernels import surface as kernels
from mapping.tsdf.layout import KEPT, LOST, MORE

CONFIG = TSDFConfig(voxel_size=0.1)
POSE = np.eye(4)
DEPTH = plane_depth(POSE, (0, 0, 1), 1.5)


class Voxel:
    """One voxel's counters, compared with the truth."""

    def __init__(self):
        self.records, self.more = np.zeros((1, 8), np.int32), np.zeros((2, 8), np.int32)
        self.room, self.truth, self.ever = np.array([0, 0, 1, 2], np.int64), {}, 0

    def add(self, label, weight):
        kernels.add_evidence(self.records, 0, self.more, np.int32(label), np.int32(weight), self.room)
        self.truth[label] = self.truth.get(label, 0) + weight
        self.ever += max(weight, 0)

    def estimates(self):
        row = self.records[0, MORE]
        found = {}
        for m in range(KEPT if row else kernels.INLINE):
            evidence = kernels.evidence_of.py_func(self.records, 0, self.more, row, m)
            if evidence:
                name = int(kernels.name_of.py_func(self.records, 0, self.more, row, m))
                assert name not in found
                found[name] = int(evidence)
        return found

    @property
    def lost(self):
        return int(self.more[self.records[0, MORE], LOST])

    def best(self):
        return int(kernels.best_label(self.records, self.more, 0)[0])


@pytest.mark.parametrize("seed", range(5))
def test_up_to_six_labels_are_exact_whatever_comes_and_goes(seed):
    rng = np.random.default_rng(seed)
    voxel, labels = Voxel(), rng.choice(65535, KEPT, replace=False) + 1
    for _ in range(300):
        label, weight = rng.choice(labels), int(rng.integers(1, 1 << 14))
        if rng.random() < 0.3 and voxel.truth.get(label, 0) > 0:
            weight = -int(rng.integers(1, voxel.truth[label] + 1))
        voxel.add(label, weight)
        assert voxel.estimates() == {int(k): v for k, v in voxel.truth.items() if v}
    assert voxel.lost == 0


@pytest.mark.parametrize("seed", range(20))
def test_of_many_labels_none_is_stated_too_high_nor_too_low_by_more_than_the_bound(seed):
    rng = np.random.default_rng(seed)
    voxel, labels = Voxel(), rng.integers(1, 60000, 60)
    share = rng.dirichlet(np.full(60, 0.15))
    for _ in range(1500):
        voxel.add(int(rng.choice(labels, p=share)), int(rng.integers(1, 1 << 14)))
        estimates = voxel.estimates()
        assert len(estimates) <= KEPT
        assert 0 <= voxel.lost <= voxel.ever / (KEPT + 1)
    for label, true in voxel.truth.items():
        assert true - voxel.lost <= estimates.get(label, 0) <= true
    ranked = sorted(voxel.truth.values())
    if ranked[-1] - ranked[-2] > voxel.lost:  # far enough ahead to be told for sure
        assert voxel.truth[voxel.best()] == ranked[-1]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_taken_out_of_a_full_voxel_leaves_it_within_the_bound(seed):
    rng = np.random.default_rng(seed)
    voxel, history = Voxel(), []
    for _ in range(400):
        if history and rng.random() < 0.4:
            label, weight = history.pop(int(rng.integers(len(history))))
            voxel.add(label, -weight)
        else:
            history.append((int(rng.integers(1, 30)), int(rng.integers(1, 1 << 14))))
            voxel.add(*history[-1])
    for label, true in voxel.truth.items():
        assert true - voxel.lost <= voxel.estimates().get(label, 0) <= true


def labelled(values):
    """A volume that sees one wall with one label after the other."""
    volume = TSDFVolume(CONFIG)
    for value in values:
        volume.integrate(DEPTH, CAMERA, POSE, labels=np.full(DEPTH.shape, value, np.uint16))
    return volume


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_summaries_of_parts_merge_within_the_bound_and_files_keep_them(parts, tmp_path):
    values = np.random.default_rng(parts).choice([5, 5, 5, 5, *range(10, 30)], 60).tolist()
    merged = TSDFVolume(CONFIG)
    for part in range(parts):
        merged.merge(labelled(values[part::parts]))
    merged.save(tmp_path / "volume.npz")
    surface, loaded = merged._store.sums().surface, TSDFVolume.load(tmp_path / "volume.npz")._store.sums().surface
    for name in surface._fields:
        np.testing.assert_array_equal(getattr(surface, name), getattr(loaded, name))
    assert surface.lost.max() > 0
    total = labelled(values[:1])._store.sums().surface.evidence.astype(np.int64)
    assert (surface.lost <= len(values) * total / (KEPT + 1)).all()
    for label in set(values):
        stated = np.zeros(len(surface.row), np.int64)
        stated[surface.label_voxel[surface.label == label]] = surface.evidence[surface.label == label]
        assert (stated <= values.count(label) * total).all()
        assert (stated >= values.count(label) * total - surface.lost).all()
    mesh = merged.extract_mesh()
    assert (mesh.labels == 5).all()


def test_a_mask_of_a_frame_can_be_taken_out(tmp_path):
    rng = np.random.default_rng(0)
    mask = rng.random(DEPTH.shape) < 0.3
    images = {"rgb": rng.integers(0, 256, (*DEPTH.shape, 3), dtype=np.uint8), "labels": 1 + mask.astype(np.uint8)}
    weight = rng.random(DEPTH.shape, dtype=np.float32)
    whole, rest = TSDFVolume(CONFIG), TSDFVolume(CONFIG)
    whole.integrate(DEPTH, CAMERA, POSE, weight=weight, **images)
    whole.remove(DEPTH, CAMERA, POSE, weight=np.where(mask, weight, 0), **images)
    rest.integrate(DEPTH, CAMERA, POSE, weight=np.where(mask, 0, weight), **images)
    a, b = whole._store.sums(), rest._store.sums()
    np.testing.assert_array_equal(a.tsdf, b.tsdf)
    np.testing.assert_array_equal(a.free, b.free)
    for name in a.surface._fields:
        np.testing.assert_array_equal(getattr(a.surface, name), getattr(b.surface, name))
