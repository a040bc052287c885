"""The readers on recorded data with known properties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mapping.se3 import transform_points
from pipelines import open_sequence
from pipelines.frame import Frame, FrameSequence
from pipelines.sequences.recorded import RecordedSequence

DATA = Path(__file__).parents[3].parent / "shared" / "data"


def opened(name: str) -> RecordedSequence:
    if not (DATA / name).is_dir():
        pytest.skip(f"recorded sequence {name} is not there")
    sequence = open_sequence(DATA / name)
    assert isinstance(sequence, RecordedSequence)
    return sequence


def agreement(a: Frame, b: Frame) -> float:
    """Share of a's depth points, seen by b, whose depth b confirms within 5 %."""
    assert a.recorded.depth is not None
    assert b.recorded.depth is not None
    points = (a.intrinsics.rays() * a.recorded.depth[..., None])[::4, ::4][a.recorded.depth[::4, ::4] > 0]
    seen = transform_points(np.linalg.inv(b.T_world_camera) @ a.T_world_camera, points)
    uv = b.intrinsics.project(seen)
    inside = (
        np.isfinite(uv).all(axis=1) & (uv > -0.5).all(axis=1) & (uv < np.array(b.rgb.shape[1::-1]) - 0.5).all(axis=1)
    )
    u, v = np.rint(uv[inside]).astype(int).T
    there = b.recorded.depth[v, u]
    expected = seen[inside, 2]
    return float(np.mean(np.abs(there - expected)[there > 0] < 0.05 * expected[there > 0]))


def mean_agreement(sequence: FrameSequence, step: int) -> float:
    used = [info.index for info in sequence.infos if info.used]
    starts = used[:: max(1, len(used) // 6)][:6]
    pairs = [(i, used[used.index(i) + step]) for i in starts if used.index(i) + step < len(used)]
    return float(np.mean([agreement(sequence[i], sequence[j]) for i, j in pairs]))


def test_hololens() -> None:
    sequence = opened("hololens_office")
    assert (sequence.format, len(sequence), sequence.world_up) == ("hololens", 200, (0, 1, 0))
    assert all(info.used for info in sequence.infos)
    frame = sequence[17]
    assert frame.rgb.shape == (360, 540, 3)
    assert frame.intrinsics.fx == pytest.approx(495.5677570093457)
    np.testing.assert_allclose(sequence[0].T_world_camera[:3, 3], [-1.94312, 0.112344, 4.67999])
    assert mean_agreement(sequence, 5) > 0.95


def test_redkitchen() -> None:
    sequence = opened("redkitchen")
    assert (sequence.format, len(sequence), sequence.world_up) == ("7scenes", 200, None)
    assert sequence.infos[1].timestamp == 4 / 30
    depth = sequence[0].recorded.depth
    assert depth is not None
    assert 0 < depth.max() < 10  # 65535 is not a depth
    assert mean_agreement(sequence, 5) > 0.85


def test_tum() -> None:
    sequence = opened("tum_fr1_desk")
    used = [info for info in sequence.infos if info.used]
    assert (sequence.format, len(sequence), len(used)) == ("tum", 613, 9)
    assert {info.reason for info in sequence.infos if not info.used} == {"image file is missing"}
    assert used[0].timestamp == 1305031453.359684
    assert all(sequence[info.index].recorded.depth is not None for info in used)
    assert mean_agreement(sequence, 4) > 0.93
