"""An entry that a file of a sequence has twice is an error: the last one would count, and the first be lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import sequence_folders as folders

from pipelines import open_sequence
from pipelines.frame import SequenceError


@pytest.mark.parametrize(
    ("name", "file", "entry"),
    [
        ("images", "camera.yaml", "fx"),
        ("tum", "camera.yaml", "fx"),
        ("euroc", "mav0/cam0/sensor.yaml", "rate_hz"),
        ("7scenes", "m2h.yaml", "depth_scale"),
    ],
)
def test_yaml(tmp_path: Path, name: str, file: str, entry: str) -> None:
    folders.WRITERS[name][1](tmp_path / "a")
    path = tmp_path / "a" / file
    before = path.read_text() if path.is_file() else ""
    path.write_text(f"{before}\n{entry}: 1000\n{entry}: 1000\n")
    with pytest.raises(
        SequenceError, match=rf"{path.name}: not readable as YAML: '{entry}' appears twice, again in line"
    ):
        open_sequence(tmp_path / "a")


@pytest.mark.parametrize(
    ("name", "file", "entry"),
    [
        ("nerfstudio", "transforms.json", "fl_x"),
        ("replica", "cam_params.json", "fx"),
        ("polycam", "keyframes/corrected_cameras/93000000.json", "fx"),
        ("record3d", "EXR_RGBD/metadata.json", "fps"),
    ],
)
def test_json(tmp_path: Path, name: str, file: str, entry: str) -> None:
    folders.WRITERS[name][1](tmp_path / "a")
    path = tmp_path / "a" / file
    path.write_text(path.read_text().replace(f'"{entry}"', f'"{entry}": 30, "{entry}"', 1))
    with pytest.raises(SequenceError, match=rf"{path.name}: not readable as JSON: the name '{entry}' appears twice"):
        open_sequence(tmp_path / "a")
