"""A wrong camera, and images of other frames, are found and told; advice names the entries that fit."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders

from mapping.se3 import inverse
from pipelines import open_sequence
from pipelines.checks.advice import advice
from pipelines.checks.inspection import fix_entries, inspect_sequence, write_fix
from pipelines.checks.sampler import FrameSampler
from pipelines.checks.sequence_check import check_sequence
from pipelines.scaled import ScaledSequence

POSES = folders.room_poses(12)


@pytest.mark.parametrize("factor", [0.85, 1.1, 1.15])
def test_wrong_focal_length_is_measured_and_corrected(tmp_path: Path, factor: float) -> None:
    path, poses = tmp_path / "seq", folders.room_poses(24)
    folders.write_room(path, poses, poses, depth_scale=None)
    camera = folders.ROOM_CAMERA
    np.savetxt(path / "K.txt", replace(camera, fx=camera.fx * factor, fy=camera.fy * factor).matrix)
    sequence = open_sequence(path)
    found = inspect_sequence(sequence).check
    assert found.contradictions == []
    assert found.focal_length is not None
    assert found.focal_length.is_wrong
    assert found.focal_length.found == pytest.approx(camera.fx, rel=0.015)
    assert "the focal length is given as" in " ".join(found.doubts)
    write_fix(sequence, inspect_sequence(sequence))
    corrected = open_sequence(path)
    assert corrected.infos[0].intrinsics.fx == pytest.approx(camera.fx, rel=0.015)
    assert corrected.infos[0].intrinsics.fy == pytest.approx(camera.fy, rel=0.015)
    again = inspect_sequence(corrected).check.focal_length
    assert again is not None
    assert not again.is_wrong


def test_images_that_belong_to_other_depth_are_told(tmp_path: Path) -> None:
    """Depth and poses go together, and images are those of other frames."""
    path, poses = tmp_path / "seq", folders.room_poses(24)
    folders.write_room(path, poses, poses, detail=25.0)
    assert inspect_sequence(open_sequence(path)).check.doubts == []
    images = sorted((path / "images").iterdir())
    pictures = [image.read_bytes() for image in images]
    for image, picture in zip(images, [*pictures[7:], *pictures[:7]], strict=True):
        image.write_bytes(picture)
    check = inspect_sequence(open_sequence(path)).check
    assert check.conventions.evidence == "depth"
    said = [*check.contradictions, *check.doubts]
    for sentences in (said, check.lines()):
        assert any("depth agrees with the poses, but only" in text for text in sentences)
    assert 0 <= check.to_json()["agreement_of_images"] < 0.3


@pytest.mark.parametrize("scale", [0.8, 2.0])
def test_advice_with_a_given_scale_names_the_entries(tmp_path: Path, scale: float) -> None:
    """`m2h inspect --fix` would write what fits without the scale."""
    folders.write_room(tmp_path / "seq", inverse(POSES), POSES)
    sequence = ScaledSequence(open_sequence(tmp_path / "seq"), scale)
    check = check_sequence(sequence, FrameSampler(sequence, list(range(len(sequence)))))
    said = advice(check)
    assert "`pose_convention: world_to_camera` in m2h.yaml" in said
    assert float(re.search(r"`--scale ([0-9.]+)` maps in the unit of depth", said)[1]) == pytest.approx(1, rel=0.02)
    assert float(re.search(r"`depth_scale: ([0-9.]+)` in m2h.yaml", said)[1]) == pytest.approx(1000 / scale, rel=0.02)
    assert "--fix" not in said
    assert "--fix" in advice(replace(check, pose_scale=1.0))


@pytest.mark.parametrize("change", [{"fy": 1.12}, {"cx": 1.15}])
def test_no_focal_length_is_claimed_where_another_camera_fits(tmp_path: Path, change: dict[str, float]) -> None:
    path, poses = tmp_path / "seq", folders.room_poses(48)
    folders.write_room(path, poses, poses, depth_scale=None, detail=25.0)
    camera = folders.ROOM_CAMERA
    given = replace(camera, **{name: factor * getattr(camera, name) for name, factor in change.items()})
    np.savetxt(path / "K.txt", given.matrix)
    found = inspect_sequence(open_sequence(path))
    check = found.check
    assert (check.contradictions, check.focal_length) == ([], None)
    assert check.camera is not None
    assert check.camera.found == pytest.approx((camera.fx, camera.fy, camera.cx, camera.cy), rel=0.02)
    assert any(text.startswith("the camera is given as") for text in check.doubts)
    assert not any("the focal length is given" in text for text in check.doubts)
    assert any(line.startswith("the camera is given as") for line in found.lines())
    assert check.to_json()["camera"]["by"] == "images"
    assert "focal_length" not in fix_entries(found)
