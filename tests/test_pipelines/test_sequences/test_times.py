"""Time stamps in any unit since 1970, and stamps that were rounded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders

from pipelines import open_sequence
from pipelines.frame import SequenceError
from pipelines.images import write_png
from pipelines.sequences.times import stamps_in_names, to_seconds

START = 1403636580.25
UNITS = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}
POSE = "{stamp} {x} 0 0 0 0 0 1\n"


@pytest.mark.parametrize("unit", UNITS)
def test_units_by_magnitude(unit: str) -> None:
    times = START + np.arange(4) * 0.05
    np.testing.assert_allclose(to_seconds(times * UNITS[unit], "t.txt"), times, atol=1e-6, rtol=0)


def test_small_numbers_are_seconds() -> None:
    np.testing.assert_array_equal(to_seconds([0.0, 17.5, np.nan], "t.txt"), [0.0, 17.5, np.nan])


@pytest.mark.parametrize(
    ("gap", "unit", "likely"),
    [
        (33.3, "s", "likely in ms"),
        (33_333.3, "s", "likely in us"),
        (33_333_333.3, "s", "likely in ns"),
        (1e-5, "s", "in no known unit"),
        (33.3, "us", "likely in ms"),
        (33_333_333.3, "us", "likely in ns"),
        (33.3, "ns", "likely in ms"),
        (33_333.3, "ns", "likely in us"),
    ],
)
@pytest.mark.parametrize("start", [0.0, 5e9])
def test_times_since_another_start_in_another_unit_are_an_error(
    gap: float, unit: str, likely: str, start: float
) -> None:
    with pytest.raises(
        SequenceError, match=rf"list: time stamps are [\d.e+-]+ {unit} apart in the median.*{likely}; write"
    ):
        to_seconds(start + np.arange(5) * gap, "list", unit=unit)


def test_times_that_are_close_or_far_apart_and_right() -> None:
    assert to_seconds([0.0, 5000.0, 5000.1, 5000.2], "list")[1] == 5000.0  # a pause
    pairs = np.repeat(np.arange(4) * 0.1, 2) + np.tile([0, 2e-5], 4)  # of two cameras
    np.testing.assert_array_equal(to_seconds(pairs, "list"), pairs)
    minutes = np.arange(5) * 300.0  # between photos: times since 1970 show their unit, and so do files that state it
    np.testing.assert_array_equal(to_seconds(START + minutes, "list"), START + minutes)
    np.testing.assert_allclose(to_seconds((START + minutes) * 1e6, "list"), START + minutes)
    np.testing.assert_array_equal(to_seconds(minutes, "list", states_unit=True), minutes)
    with pytest.raises(SequenceError, match=r"300 s apart in the median, expected 0\.0009 to 5 s"):
        to_seconds(minutes, "list")
    with pytest.raises(
        SequenceError, match=r"33333 s apart in the median, expected 0 to 1000 s: they are likely in us"
    ):
        to_seconds(np.arange(5) * 33333.0, "list", states_unit=True)


@pytest.mark.parametrize(("start", "unit"), [(900.0, "ns"), (1.0, "ns"), (2000.0, "us"), (1e6, "us")])
def test_clocks_that_started_with_the_machine_are_not_times_since_1970(start: float, unit: str) -> None:
    """Numbers of nanoseconds an hour after the start are those of milliseconds in the year 2000."""
    times = start + np.arange(9) / 30
    np.testing.assert_allclose(to_seconds(times * UNITS[unit], "t.txt", unit=unit), times, rtol=1e-12)


def restamp(path: Path, name: str, since: float, unit: float) -> None:
    """Give a folder of a format the stamps `since`, and 0.25 s and 0.5 s later, as whole numbers in a unit."""
    stamps = [round((since + 0.25 * i) * unit) for i in range(folders.COUNT)]
    if name == "polycam":
        for folder in (path / "keyframes").iterdir():
            for stamp, file in zip(stamps, sorted(folder.iterdir()), strict=True):
                file.rename(file.with_stem(str(stamp)))
    elif name == "record3d":
        file = path / "EXR_RGBD/metadata.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"frameTimestamps": stamps}))
    elif name == "stray_scanner":
        lines = [line.split(",") for line in (path / "odometry.csv").read_text().splitlines()]
        rows = [[str(stamp), *line[1:]] for stamp, line in zip(stamps, lines[1:], strict=True)]
        (path / "odometry.csv").write_text("\n".join(map(",".join, [lines[0], *rows])))
    elif name == "nerfstudio":
        header = json.loads((path / "transforms.json").read_text())
        header["frames"] = [frame | {"timestamp": stamp} for frame, stamp in zip(header["frames"], stamps, strict=True)]
        (path / "transforms.json").write_text(json.dumps(header))
    elif name == "euroc":
        for file in path.rglob("data.csv"):
            head, *lines = file.read_text().splitlines()
            rows = [f"{stamp},{line.partition(',')[2]}" for stamp, line in zip(stamps, lines, strict=True)]
            file.write_text("\n".join([head, *rows]))
    else:
        folder = path / "47331_frames"
        for inner in (entry for entry in folder.iterdir() if entry.is_dir()):
            for stamp, file in zip(stamps, sorted(inner.iterdir()), strict=True):
                file.rename(file.with_name(f"47331_{stamp}{file.suffix}"))
        rows = np.loadtxt(folder / "lowres_wide.traj")
        rows[:, 0] = stamps
        np.savetxt(folder / "lowres_wide.traj", rows, fmt="%.17g")


OWN_UNITS = {"polycam": "us", "euroc": "ns"}
STAMPED = ["polycam", "euroc", "record3d", "stray_scanner", "nerfstudio", "arkit_scenes"]


@pytest.mark.parametrize("name", STAMPED)
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_units_of_every_format_with_stamps(tmp_path: Path, name: str, unit: str) -> None:
    folders.WRITERS[name][1](tmp_path / "since_1970")
    restamp(tmp_path / "since_1970", name, START, UNITS[unit])
    sequence = open_sequence(tmp_path / "since_1970")
    np.testing.assert_allclose([info.timestamp - START for info in sequence.infos], [0, 0.25, 0.5], atol=1e-6)
    np.testing.assert_allclose(sequence.infos[1].T_world_camera, folders.POSES[1], atol=1e-6)
    folders.WRITERS[name][1](tmp_path / "seq")
    restamp(tmp_path / "seq", name, 93.0, UNITS[unit])
    if unit == OWN_UNITS.get(name, "s"):
        infos = open_sequence(tmp_path / "seq").infos
        np.testing.assert_allclose([info.timestamp for info in infos], [93, 93.25, 93.5])
    else:
        with pytest.raises(SequenceError, match=rf"seq.*: time stamps are .* apart .*likely in {unit}; write"):
            open_sequence(tmp_path / "seq")


@pytest.mark.parametrize("source", ["times", "names", "tum"])
def test_milliseconds_of_image_lists_are_an_error(tmp_path: Path, source: str) -> None:
    if source == "tum":
        folders.write_tum(tmp_path)
        lines = [line.split() for line in (tmp_path / "rgb.txt").read_text().splitlines() if line[0] != "#"]
        listed = [f"{(float(stamp) % 1000) * 1e3:.1f} {name}\n" for stamp, name in lines]
        (tmp_path / "rgb.txt").write_text("".join(listed))
    else:
        folders.write_posed_images(tmp_path)
        (tmp_path / "t.txt").write_text("0\n33.3\n66.7\n")
        folders.write_camera_yaml(tmp_path, "times: t.txt\n" if source == "times" else "")
        for i, file in enumerate(sorted((tmp_path / "images").iterdir()) if source == "names" else []):
            file.rename(file.with_stem(f"{33.3 * i:.1f}"))
    with pytest.raises(SequenceError, match=r"(t\.txt|0\.0\.png|rgb\.txt): time stamps are .* s apart .*likely in ms"):
        open_sequence(tmp_path)


def test_numbers_of_images_are_no_times(tmp_path: Path) -> None:
    """Poses of ICL-NUIM by the numbers of images, of which there may be every twentieth."""
    folders.write_icl(tmp_path)
    (truth,) = tmp_path.glob("*.gt.freiburg")
    lines = [line.split() for line in truth.read_text().splitlines()]
    truth.write_text("".join(" ".join([str(20 * int(float(line[0]))), *line[1:]]) + "\n" for line in lines))
    for folder in ("rgb", "depth"):
        for file in sorted((tmp_path / folder).iterdir(), reverse=True):
            file.rename(file.with_stem(str(20 * int(file.stem))))
    pairs = [line.split() for line in (tmp_path / "associations.txt").read_text().splitlines()]
    numbers = [20 * int(pair[0]) for pair in pairs]
    (tmp_path / "associations.txt").write_text("".join(f"{n} depth/{n}.png {n} rgb/{n}.png\n" for n in numbers))
    infos = open_sequence(tmp_path).infos
    assert all(info.used for info in infos)
    assert [info.timestamp for info in infos] == [n / 30 for n in numbers]


@pytest.mark.parametrize("stamp", [3.2e14, 1e13, 5e20])
def test_other_large_numbers_are_an_error(stamp: float) -> None:
    with pytest.raises(SequenceError, match=r"t\.txt: .* is not a time stamp in seconds, nor a time since 1970"):
        to_seconds([stamp], "t.txt")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1403636580000000", "1403636580650000"], [1403636580, 1403636580.65]),
        (["1403636580000000000"], [1403636580]),
        (["1403636580000"], [1403636580]),
        (["1403636580.5", "1403636581.5"], [1403636580.5, 1403636581.5]),
        (["frame_1403636580.5", "frame_1403636581.5"], [1403636580.5, 1403636581.5]),
        (["0.05", "0.10"], [0.05, 0.1]),
        (["000001", "000002"], None),
        (["frame_0.05"], None),
        (["frame.0001"], None),
        (["1403636580000000", "1403636580"], None),
        (["000002-000000033369"], None),
    ],
)
def test_names_that_are_times(names: list[str], expected: list[float] | None) -> None:
    found = stamps_in_names([Path(f"{name}.png") for name in names])
    assert (found is None) == (expected is None)
    if expected is not None:
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def write_tum(path: Path, stamp: str, count: int = 10, header: str = "# t\n") -> None:
    """Images 0.3 s apart, and poses with stamps of that format."""
    listed = truth = header
    (path / "rgb").mkdir(parents=True)
    for i in range(count):
        t = START + 0.3 * i
        write_png(path / f"rgb/{t:.6f}.png", folders.rgb(0))
        listed += f"{t:.6f} rgb/{t:.6f}.png\n"
        truth += POSE.format(stamp=stamp.format(t=t, ns=round(t * 1e9), us=round(t * 1e6)), x=i)
    (path / "rgb.txt").write_text(listed)
    (path / "groundtruth.txt").write_text(truth)
    folders.write_camera_yaml(path)


@pytest.mark.parametrize("stamp", ["{t:.6f}", "{ns}", "{us}", "{t:.3f}"])
def test_stamps_of_poses_in_another_unit(tmp_path: Path, stamp: str) -> None:
    write_tum(tmp_path / "seq", stamp)
    sequence = open_sequence(tmp_path / "seq")
    assert all(info.used for info in sequence.infos)
    assert sequence.infos[7].T_world_camera is not None
    assert sequence.infos[7].T_world_camera[0, 3] == 7


@pytest.mark.parametrize("stamp", ["{t:g}", "{t:.6e}"])
def test_rounded_stamps_of_poses_are_an_error(tmp_path: Path, stamp: str) -> None:
    write_tum(tmp_path / "seq", stamp)
    with pytest.raises(SequenceError, match=r"groundtruth\.txt: 9 of 10 poses repeat the time stamp .* were rounded"):
        open_sequence(tmp_path / "seq")


def test_rounded_stamps_of_images_are_an_error(tmp_path: Path) -> None:
    write_tum(tmp_path / "seq", "{t:.6f}")
    listed = [line.split() for line in (tmp_path / "seq/rgb.txt").read_text().splitlines()[1:]]
    (tmp_path / "seq/rgb.txt").write_text("".join(f"{float(stamp):.0f} {name}\n" for stamp, name in listed[1:]))
    folders.write_camera_yaml(tmp_path / "seq", "max_gap: 1\n")
    with pytest.raises(SequenceError, match="images repeat the time stamp of another one"):
        open_sequence(tmp_path / "seq")


def test_times_that_miss_are_named_with_the_amount(tmp_path: Path) -> None:
    write_tum(tmp_path / "seq", "{t:.6f}")
    truth = (tmp_path / "seq/groundtruth.txt").read_text().replace("14036365", "14036370")
    (tmp_path / "seq/groundtruth.txt").write_text(truth)
    with pytest.raises(SequenceError, match=r"none of 10 frames are usable: 10 before the first pose \(500\.00 s\)"):
        open_sequence(tmp_path / "seq")


@pytest.mark.parametrize(
    "comment",
    [
        "# timestamp tx ty tz qw qx qy qz\n",
        "#timestamp [ns], p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z []\n",
        "# qw, qx, qy, qz\n",
        "# ground truth\n# time x y z q_w q_x q_y q_z\n",
        "# timestamp, position (x y z), quaternion (w x y z)\n",
        "# t x y z w x y z\n",
        "# Hamilton quaternion, scalar first\n",
        "# wxyz\n",
        "# secs x y z rw rx ry rz\n",
    ],
)
def test_order_of_the_quaternion_that_a_comment_names(tmp_path: Path, comment: str) -> None:
    folders.write_tum(tmp_path / "seq")
    rows = [line.split() for line in (tmp_path / "seq/groundtruth.txt").read_text().splitlines()[1:]]
    w_first = "".join(" ".join([*row[:4], row[7], *row[4:7]]) + "\n" for row in rows)
    (tmp_path / "seq/groundtruth.txt").write_text(comment + w_first)
    for i, info in enumerate(open_sequence(tmp_path / "seq").infos):
        np.testing.assert_allclose(info.T_world_camera, folders.POSES[i], atol=1e-6)


@pytest.mark.parametrize(
    "comment", ["# position (x y z), quaternion (x, y, z, w)\n", "# xyzw\n", "# a walk (2) of w\n"]
)
def test_comments_that_leave_the_order_as_it_is(tmp_path: Path, comment: str) -> None:
    folders.write_tum(tmp_path / "seq")
    rows = (tmp_path / "seq/groundtruth.txt").read_text().splitlines()[1:]
    (tmp_path / "seq/groundtruth.txt").write_text(comment + "\n".join(rows) + "\n")
    for i, info in enumerate(open_sequence(tmp_path / "seq").infos):
        np.testing.assert_allclose(info.T_world_camera, folders.POSES[i], atol=1e-6)


def test_other_columns_that_a_header_names(tmp_path: Path) -> None:
    folders.write_tum(tmp_path / "seq")
    rows = [line.split() for line in (tmp_path / "seq/groundtruth.txt").read_text().splitlines()[1:]]
    moved = "".join(",".join([*row[1:4], *row[4:], row[0]]) + "\n" for row in rows)
    (tmp_path / "seq/groundtruth.txt").write_text("x,y,z,qx,qy,qz,qw,timestamp\n" + moved)
    for i, info in enumerate(open_sequence(tmp_path / "seq").infos):
        np.testing.assert_allclose(info.T_world_camera, folders.POSES[i], atol=1e-6)


def test_quaternions_are_normalised_up_to_a_hundredth(tmp_path: Path) -> None:
    folders.write_tum(tmp_path / "seq")
    lines = (tmp_path / "seq/groundtruth.txt").read_text().splitlines()[1:]
    rows = [[float(x) for x in line.split()] for line in lines]

    def write(factor: float) -> None:
        np.savetxt(tmp_path / "seq/groundtruth.txt", [[*row[:4], *(factor * x for x in row[4:])] for row in rows])

    for factor in (0.995, 1.01001):
        write(factor)
        for i, info in enumerate(open_sequence(tmp_path / "seq").infos):
            np.testing.assert_allclose(info.T_world_camera, folders.POSES[i], atol=1e-6)
    write(1.02)
    with pytest.raises(SequenceError, match=r"groundtruth\.txt: the quaternion of pose 1 of 3 has length 1\.02"):
        open_sequence(tmp_path / "seq")


@pytest.mark.parametrize(
    ("stems", "expected"),
    [
        (["0.96", "1", "1.04"], [0.96, 1, 1.04]),
        (["0.5", "1.0", "1.25", "10.0"], [0.5, 1, 1.25, 10]),
        (["1403636580.5", "1403636581", "1403636581.25"], [1403636580.5, 1403636581, 1403636581.25]),
        (["0", "1", "2"], None),
        (["1.8", "1.9", "1.10"], None),
        (["0.5", "b"], None),
    ],
)
def test_names_of_decimals_and_whole_numbers(stems: list[str], expected: list[float] | None) -> None:
    found = stamps_in_names([Path(f"{stem}.png") for stem in stems])
    assert (None if found is None else found.tolist()) == expected
