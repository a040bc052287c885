"""Depth that a folder has belongs to its frames, or an error or a note says that it is not read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders

from pipelines import open_sequence
from pipelines.frame import SequenceError


def rename(path: Path, pattern: str, name: str) -> None:
    """Give files other names, in which `{0}` is the stem of the old one and `{1}` its last six digits."""
    for file in sorted(path.glob(pattern)):
        file.rename(file.with_stem(name.format(file.stem, file.stem[-6:])))


def check_depth(path: Path) -> None:
    sequence = open_sequence(path)
    for i in range(folders.COUNT):
        np.testing.assert_allclose(sequence[i].recorded.depth, folders.depth(i), atol=1e-3)
    assert not any("not read" in note for note in sequence.notes)


@pytest.mark.parametrize(
    ("name", "pattern", "renamed"),
    [
        ("polycam", "keyframes/depth/*.png", "depth_{0}"),
        ("replica", "results/depth*.png", "depth_{1}"),
        ("stray_scanner", "depth/*.png", "{0}_depth_256"),
        ("stray_scanner", "confidence/*.png", "{0}_confidence_256"),
    ],
)
def test_depth_of_other_names_is_paired(tmp_path: Path, name: str, pattern: str, renamed: str) -> None:
    folders.WRITERS[name][1](tmp_path)
    rename(tmp_path, pattern, renamed)
    check_depth(tmp_path)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("polycam", "keyframes/depth"), ("replica", "results"), ("stray_scanner", "depth"), ("tum", "depth")],
)
def test_depth_of_names_that_leave_it_open_is_an_error(tmp_path: Path, name: str, pattern: str) -> None:
    folders.WRITERS[name][1](tmp_path)
    (tmp_path / "depth.txt").unlink(missing_ok=True)
    files = [
        file for file in sorted((tmp_path / pattern).iterdir()) if name != "replica" or file.stem.startswith("depth")
    ]
    for file, letter in zip(files, "abc", strict=True):
        file.rename(file.with_stem(f"depth_{letter}"))
    with pytest.raises(SequenceError, match=rf"{pattern}.*images are named as .*, these as depth_a\.png"):
        open_sequence(tmp_path)


def test_tum_without_a_list_of_depth(tmp_path: Path) -> None:
    folders.write_tum(tmp_path)
    (tmp_path / "depth.txt").unlink()
    check_depth(tmp_path)


def test_arkit_scenes_depth_of_other_times_is_an_error(tmp_path: Path) -> None:
    folders.write_arkit_scenes(tmp_path)
    for file in (tmp_path / "47331_frames/lowres_depth").iterdir():
        file.rename(file.with_stem(f"47331_{float(file.stem[6:]) + 0.01:.3f}"))
    with pytest.raises(
        SequenceError, match=r"lowres_depth: no depth image is within 0\.005 s .*_91\.250.* as 47331_91\.260"
    ):
        open_sequence(tmp_path)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("images", "to use them name the folder as depth in camera.yaml"),
        ("nerfstudio", "to use them give frames a depth_file_path"),
        ("colmap-text", "COLMAP projects are read without depth; to use it write a transforms.json"),
    ],
)
def test_depth_that_nothing_names_is_noted(tmp_path: Path, name: str, remedy: str) -> None:
    folders.WRITERS[name][1](tmp_path)
    if name == "images":
        folders.write_camera_yaml(tmp_path)
    elif name == "nerfstudio":
        header = json.loads((tmp_path / "transforms.json").read_text())
        for frame in header["frames"]:
            del frame["depth_file_path"]
        (tmp_path / "transforms.json").write_text(json.dumps(header))
    else:
        folders.write_hololens(tmp_path / "other")
        (tmp_path / "other/depth").rename(tmp_path / "depth")
    sequence = open_sequence(tmp_path)
    assert not any(info.has_depth for info in sequence.infos)
    example = sorted((tmp_path / "depth").iterdir())[0].name
    image = sequence.infos[0].image
    expected = f"depth/: 3 depth files are not read: no frame uses one (such as depth/{example} for {image}); {remedy}"
    assert [note for note in sequence.notes if "not read" in note] == [expected]


@pytest.mark.parametrize("name", folders.WRITERS)
def test_depth_that_is_read_is_not_noted(tmp_path: Path, name: str) -> None:
    folders.WRITERS[name][1](tmp_path / "seq")
    assert not any("depth files are not read" in note for note in open_sequence(tmp_path / "seq").notes)


@pytest.mark.parametrize(("name", "listing"), [("tum", "depth.txt"), ("icl", "associations.txt")])
def test_depth_that_is_listed_and_missing_is_noted(tmp_path: Path, name: str, listing: str) -> None:
    folders.WRITERS[name][1](tmp_path)
    files = sorted((tmp_path / "depth").iterdir())
    assert not any("missing" in note for note in open_sequence(tmp_path).notes)
    files[0].unlink()
    assert any(
        note.startswith(f"{listing}: 1 of {len(files)} depth files are missing")
        for note in open_sequence(tmp_path).notes
    )
    for file in files[1:]:
        file.unlink()
    sequence = open_sequence(tmp_path)
    expected = f"{listing}: {len(files)} of {len(files)} depth files are missing (such as depth/{files[0].name})"
    assert expected in sequence.notes
    assert not any(info.has_depth for info in sequence.infos)
