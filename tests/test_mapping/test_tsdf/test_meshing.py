"""The mesh of a volume: which surface is omitted."""

import numpy as np

from mapping import Intrinsics, TSDFConfig, TSDFVolume


def test_faint_surface_is_omitted_only_next_to_well_seen_surface():
    """A wall whose left half five frames are sure of and whose right half is a guess; another guess stands 20 m away."""
    camera = Intrinsics(50.0, 50.0, 31.5, 23.5, 64, 48)
    volume = TSDFVolume(TSDFConfig(voxel_size=0.05))
    depth = np.full((48, 64), 2.0, np.float32)
    weight = np.where(np.arange(64) < 32, 1.0, 0.02) * np.ones((48, 1))
    here = np.eye(4)
    here[:3, 3] = [2.5, 2.5, 0.0]
    for _ in range(5):
        volume.integrate(depth, camera, here, weight=weight.astype(np.float32))
    away = np.eye(4)
    away[0, 3] = 20.0
    volume.integrate(depth, camera, away, weight=np.full((48, 64), 0.05, np.float32))
    everything = volume.extract_mesh(min_weight=0.005)
    trimmed = volume.extract_mesh(min_weight=0.005, min_share=0.05)
    x = trimmed.vertices[:, 0]
    assert everything.vertices[:, 0][everything.vertices[:, 0] < 10].max() > 3.5
    assert x[x < 10].max() < 2.6
    assert x[x < 10].min() < 1.5
    assert (x > 10).sum() == (everything.vertices[:, 0] > 10).sum() > 0
    assert len(volume.extract_mesh(min_weight=0.005, min_share=0.0).faces) == len(everything.faces)
