"""Depth, labels and masks are joined to images by their names, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders

from pipelines import open_sequence
from pipelines.frame import SequenceError
from pipelines.images import write_png
from pipelines.sequences.pairing import (
    by_name,
    changing_numbers,
    depth_by_name,
    files_by_name,
    first_number,
    images_in_pose_order,
)


def paths(names: list[str], folder: str = "x") -> list[Path]:
    return [Path(f"{folder}/{name}.png") for name in names]


def partners(names: list[str], others: list[str]) -> list[str | None]:
    found = files_by_name(paths(names), paths(others), "depth/")
    return [None if other is None else other.stem for other in found]


NAMED = {
    "redwood": ("{i:06d}-{a:012d}", "{i:06d}-{b:012d}"),
    "numbers and times that agree for some": ("{i:06d}-{a:012d}", "{i:06d}-{c:012d}"),
    "camera at the end": ("rgb_{i:04d}_cam2", "depth_{i:04d}_cam2"),
    "size at the end": ("{i:05d}_color_640x480", "{i:05d}_depth_640x480"),
    "another size": ("{i:05d}_color_1296x968", "{i:05d}_depth_640x480"),
    "dotted": ("frame.{i:04d}", "depth.{i:04d}"),
    "other width": ("{i:06d}", "depth{i}"),
    "scene and frame": ("scene12_{i:04d}", "{i:04d}"),
}


@pytest.mark.parametrize("kind", NAMED)
def test_by_the_number_that_changes(kind: str) -> None:
    name, other = NAMED[kind]
    rows = [
        {"i": i + 1, "a": i * 33369, "b": i * 33369 + (86 if i else 0), "c": i * 33369 + (i % 3 == 2)}
        for i in range(12)
    ]
    names, others = [name.format(**row) for row in rows], [other.format(**row) for row in rows]
    assert partners(names, others) == others
    assert partners(names, others[::-1]) == others
    assert partners(names, others[:5]) == others[:5] + [None] * 7
    assert partners(names[3:5], others[3:5]) == others[3:5]


def test_two_cameras_in_one_folder() -> None:
    names = [f"rgb_{i:04d}_cam{c}" for i in range(4) for c in (1, 2)]
    others = [f"depth_{i:04d}_cam{c}" for i in range(4) for c in (1, 2)]
    assert partners(names, others) == others
    assert partners([name for name in names if name.endswith("2")], others) == [o for o in others if o.endswith("2")]


def test_same_names_and_some_missing() -> None:
    assert partners(["a", "b", "c"], ["b"]) == [None, "b", None]
    assert partners(["a.jpg"], ["a.jpg"]) == ["a.jpg"]
    assert files_by_name([Path("a.jpg")], [Path("a.jpg.png")], "masks/") == [Path("a.jpg.png")]  # as COLMAP names masks
    assert files_by_name([], paths(["1"]), "depth/") == []
    assert files_by_name(paths(["1"]), [], "depth/") == [None]


@pytest.mark.parametrize("units", [1e9, 1e6, 1e3])
def test_by_time_where_names_are_times(units: float) -> None:
    times = 1403636580 + np.arange(6) / 10
    names = [str(round(t * units)) for t in times]
    others = [str(round((t + 0.004) * units)) for t in times]
    assert partners(names, others) == others
    assert partners(names, [*others[:2], *others[3:]]) == [*others[:2], None, *others[3:]]
    with pytest.raises(SequenceError, match=r"depth/: no time is within 0\.02 s of an image's"):
        partners(names, [str(round((t + 0.05) * units)) for t in times])


@pytest.mark.parametrize(
    ("names", "others", "expected"),
    [
        (["a_1_5", "a_2_6"], ["d_1_6", "d_2_5"], "more than one number in the names could join them"),
        (["left", "right"], ["near", "far"], "the names do not show which belong"),
        (["1", "2", "3"], ["0", "1", "2"], "is numbered -1 against the images"),
        (["a_10", "a_20"], ["d_11", "d_21"], "is numbered"),
        (["1", "2", "3", "4", "5"], ["0", "1", "2", "4"], "is numbered -1"),
        (["1", "2", "3", "5", "6"], ["0", "1", "3", "4", "5"], "is numbered -1"),
        (["0", "1", "2", "3", "4"], ["1", "2", "4", "5"], r"is numbered \+1"),
        ([f"rgb_{i}_cam2" for i in range(1, 7)], [f"depth_{i}_cam2" for i in range(5)], "is numbered -1"),
        ([str(i) for i in range(1, 21)], [str(i) for i in range(9)], "is numbered -1"),
        ([str(i) for i in range(10, 30)], [str(i) for i in range(15)], "is numbered -10"),
        (["a_0001", "a_0002", "a_0003"], ["b_0101", "b_0117", "b_0203"], "the names do not show which belong"),
    ],
)
def test_ambiguous_names_are_an_error(names: list[str], others: list[str], expected: str) -> None:
    with pytest.raises(SequenceError, match=expected):
        partners(names, others)


def test_the_number_that_changes() -> None:
    assert changing_numbers(paths(["rgb_0003_cam2", "rgb_0004_cam2"])) == [3, 4]
    assert changing_numbers(paths(["1_5", "2_6"])) is None
    assert changing_numbers(paths(["a", "b"])) is None


def test_depth_and_labels_of_other_names(tmp_path: Path) -> None:
    for i in range(folders.COUNT):
        for folder, image in (("color", folders.rgb(i)), ("d", (folders.depth(i) * 1000).astype(np.uint16))):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_png(tmp_path / folder / f"{i + 1:05d}_{folder}_640x480.png", image)
        (tmp_path / "seg").mkdir(exist_ok=True)
        write_png(tmp_path / f"seg/seg_{i + 1}.png", folders.labels(i))
    np.savetxt(tmp_path / "poses.txt", folders.POSES[:, :3].reshape(folders.COUNT, 12))
    folders.write_camera_yaml(tmp_path, "images: color\ndepth: d\nlabels: seg\n")
    sequence = open_sequence(tmp_path)
    for i in range(folders.COUNT):
        np.testing.assert_allclose(sequence[i].recorded.depth, folders.depth(i), atol=2e-3)
        np.testing.assert_array_equal(sequence[i].recorded.labels, folders.labels(i))
    (tmp_path / "seg/seg_1.png").rename(tmp_path / "seg/sky.png")
    (tmp_path / "seg/seg_2.png").rename(tmp_path / "seg/sea.png")
    with pytest.raises(SequenceError, match=r"camera\.yaml: labels: seg/: the names do not show"):
        open_sequence(tmp_path)


def test_two_files_of_one_name_are_an_error() -> None:
    with pytest.raises(SequenceError, match=r"depth/: 1\.npy and 1\.png have the same name"):
        files_by_name(paths(["1", "2"]), [Path("d/1.npy"), Path("d/1.png"), Path("d/2.png")], "depth/")


@pytest.mark.parametrize(
    "names", [["8", "9", "10"], ["0.5", "0.75", "1.25"], ["f_1403636580.5", "f_1403636580.75", "f_1403636581.25"]]
)
def test_images_in_the_order_of_pose_lines(names: list[str]) -> None:
    """By value, not by letters: line i of a pose file belongs to the i-th image."""
    assert [file.stem for file in images_in_pose_order(Path("p.txt"), paths(sorted(names)), 3)] == names


@pytest.mark.parametrize(
    ("names", "others"),
    [
        ([1, 2, 3, 5, 6], [0, 1, 2, 3, 4, 5, 6]),  # images are missing
        ([0, 1, 2, 3, 4], [1, 2, 3, 4]),  # the first depth is
        ([0, 1, 2, 4, 5, 6], [0, 1, 2, 3, 5, 6]),  # one of each
        ([*range(5), *range(6, 40)], [5, 12, 20, 33]),  # few masks, and the image of one is missing
    ],
)
def test_missing_files_are_no_other_numbering(names: list[int], others: list[int]) -> None:
    expected = [str(name) if name in others else None for name in names]
    assert partners([str(name) for name in names], [str(other) for other in others]) == expected


@pytest.mark.parametrize(
    ("images", "depths", "is_noted"), [(10, 5, True), (10, 3, True), (20, 19, False), (10, 10, False)]
)
def test_depth_of_the_first_images_alone_is_noted(images: int, depths: int, is_noted: bool) -> None:
    """Half of the depth is missing, or it was recorded at half the rate: the names do not show it."""
    names, others = paths([f"{i:04d}" for i in range(images)]), paths([f"{i:04d}" for i in range(depths)])
    pairs, notes = depth_by_name(names, others, "depth/")
    assert pairs == others + [None] * (images - depths)
    assert len(notes) == is_noted
    if is_noted:
        assert f"only the first {depths} of {images} images have depth" in notes[0]
    assert depth_by_name(names, others[::2], "depth/")[1] == []


@pytest.mark.parametrize(
    ("numbers", "poses", "expected"),
    [
        ([0, 1, 2], 3, 0),
        ([1, 2, 3], 3, 1),
        ([1, 3], 3, 1),
        ([100, 101, 102], 3, 100),
        ([0, 10, 20], 1000, 0),
        ([10, 20], 1000, 0),
        ([0, 1, 2, 3], 3, 0),
        ([7], 1, 7),
        ([], 3, 0),
        ([1, 2], 3, None),
        ([2, 3], 3, None),
        ([1, 2, 3, 4], 3, None),
    ],
)
def test_the_number_of_the_first_pose(numbers: list[int], poses: int, expected: int | None) -> None:
    assert first_number(numbers, poses) == expected


@pytest.mark.parametrize("prefix", ["", "rgb_"])
def test_decimals_that_lost_a_fraction_of_zeros(prefix: str) -> None:
    """`%g` writes 0.96, 1, 1.04, and 0.6 after 0.56."""
    names = [f"{prefix}{0.52 + 0.04 * i:g}" for i in range(20)]
    assert f"{prefix}1" in names
    files = paths(names)
    assert by_name(sorted(files)) == files
    assert images_in_pose_order(Path("p.txt"), sorted(files), 20) == files
    assert partners(names, names[1:]) == [None, *names[1:]]
    with pytest.raises(SequenceError, match="do not determine the assignment"):
        images_in_pose_order(Path("p.txt"), files, 100)


def test_numbers_after_a_point_that_are_counted() -> None:
    names = [f"1.{i}" for i in range(1, 13)]
    assert [file.stem for file in by_name(paths(names[::-1]))] == names
    assert [file.stem for file in images_in_pose_order(Path("p.txt"), paths(names[::-1]), 12)] == names
