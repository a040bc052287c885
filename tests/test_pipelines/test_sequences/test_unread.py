"""Files of users that a format does not read are errors that say what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders

from pipelines import open_sequence
from pipelines.frame import SequenceError

READS_NO_CAMERA_FILE = [name for name in folders.WRITERS if name not in ("tum", "icl", "images")]


@pytest.mark.parametrize("name", READS_NO_CAMERA_FILE)
@pytest.mark.parametrize("is_named", [True, False])
def test_camera_file_without_effect_is_an_error(tmp_path: Path, name: str, is_named: bool) -> None:
    format, write = folders.WRITERS[name]
    folder = tmp_path / "seq"
    write(folder)
    folders.write_camera_yaml(folder)
    with pytest.raises(SequenceError) as found:
        open_sequence(f"{format}:{folder}" if is_named else folder)
    assert str(found.value) == (
        f"{folder / 'camera.yaml'}: has no effect: {folder} is read as {format}; remove it (m2h.yaml corrects a camera), or "
        f"name the format images:{folder} and give a pose file"
    )
    (folder / "camera.yaml").write_text("[1")  # nor does one that cannot be read
    with pytest.raises(SequenceError, match="has no effect"):
        open_sequence(folder)


ROOTS = {
    "polycam": "keyframes",
    "record3d": "EXR_RGBD",
    "arkit_scenes": "47331_frames",
    "euroc": "mav0",
    "colmap-text": "sparse/0",
    "colmap-binary": "sparse/0",
}


@pytest.mark.parametrize("name", ROOTS)
def test_files_next_to_those_of_the_format_have_no_effect_either(tmp_path: Path, name: str) -> None:
    """The inner folder can be read on its own, and then they have one."""
    format, write = folders.WRITERS[name]
    folder, root = tmp_path / "seq", tmp_path / "seq" / ROOTS[name]
    write(folder)
    (root / "m2h.yaml").write_text("world_up: [1, 0, 0]\n")
    with pytest.raises(SequenceError) as found:
        open_sequence(folder)
    assert str(found.value) == f"{root / 'm2h.yaml'}: has no effect: {folder} is read; move it there, or read {root}"
    assert open_sequence(root).world_up == (1, 0, 0)
    (root / "m2h.yaml").rename(folder / "m2h.yaml")
    assert open_sequence(folder).world_up == (1, 0, 0)
    folders.write_camera_yaml(root)
    with pytest.raises(SequenceError) as found:
        open_sequence(folder)
    assert str(found.value) == (
        f"{root / 'camera.yaml'}: has no effect: {folder} is read as {format}; remove it (m2h.yaml corrects a camera)"
    )


@pytest.mark.parametrize("by_name", [True, False])
def test_camera_file_with_poses_is_read_next_to_another_format(tmp_path: Path, by_name: bool) -> None:
    folders.write_colmap_text(tmp_path)
    file = "trajectory.txt" if by_name else "mine.txt"
    folders.write_camera_yaml(tmp_path, "" if by_name else f"poses: {file}\n")
    np.savetxt(tmp_path / file, folders.POSES.reshape(-1, 16))
    sequence = open_sequence(tmp_path)
    assert (sequence.format, sequence.is_metric) == ("images", True)
    np.testing.assert_allclose(sequence[1].T_world_camera, folders.POSES[1], atol=1e-9)


def test_camera_file_without_anything_else_asks_for_poses(tmp_path: Path) -> None:
    folders.write_camera_yaml(tmp_path)
    with pytest.raises(SequenceError, match=r"no pose file: expected one of poses\.txt"):
        open_sequence(tmp_path)
