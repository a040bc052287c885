"""From plain images to a posed folder: what is written, what is listed, what is done again, and what is refused."""

import builtins
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from textured_wall import CAMERA, Wall

from m2h import Predictions
from mapping.se3 import inverse, transform_points
from pipelines.cli import main
from pipelines.frame import SequenceError, poses_of
from pipelines.images import write_png
from pipelines.posing import level_surfaces
from pipelines.posing import pose_recording as posing
from pipelines.posing.adjusted_sequence import AdjustedSequence
from pipelines.posing.carried_height import CameraHeight
from pipelines.posing.furniture_heights import corrected_by_heights
from pipelines.posing.joining import JoinedPart
from pipelines.posing.open_or_pose import open_or_pose
from pipelines.posing.pose_recording import pose_recording
from pipelines.posing.reconstruction import MissingExtraError, Reconstruction, image_pairs, import_pycolmap
from pipelines.posing.report import notes_of
from pipelines.posing.scale_estimate import CARRIED_HEIGHT, SCENE_DEVIATION, ScaleEstimate, SparseView
from pipelines.sequences.detect import open_sequence
from pipelines.sequences.evidence import evidence_of
from pipelines.settings import PosingConfig
from pipelines.workspace import WorkspaceError

UNIT = 2.5
"""Metres in one unit of the reconstruction."""
LOST = "000003.png"
COUNT = 9
PARTS = (JoinedPart(3, ""), JoinedPart(2, "only 4 common points agree"))


class Network:
    """The truth as a network, which sees no floor and recognises nothing more in images that are turned."""

    record = SimpleNamespace(label_space="nyu40")

    def __init__(self, depth_alone):
        self.depth_alone = depth_alone

    def __call__(self, rgb):
        return SimpleNamespace(labels=np.ones(rgb.shape[:2], np.uint8))

    def label_logs(self, rgb):
        return np.full((2, *rgb.shape[:2]), np.log(0.5), np.float32)


@pytest.fixture
def wall(tmp_path, monkeypatch):
    """A folder of images of a wall; structure from motion and the network are replaced by the truth, one frame is lost."""
    truth = Wall(COUNT, spacing=0.15)
    folder = tmp_path / "walk"
    folder.mkdir()
    for i in range(COUNT):
        write_png(folder / f"{i:06d}.png", truth[i].rgb)
    calls = []

    def reconstruct(images, names, work, **options):
        calls.append((list(names), options))
        assert all((images / name).is_file() for name in names)
        found, views = {}, {}
        for name in names:
            if name == LOST:
                continue
            i = int(name[:-4])
            T = truth.infos[i].T_world_camera.copy()
            T[:3, 3] /= UNIT
            rows, columns = np.meshgrid(np.arange(4, 56, 8), np.arange(4, 76, 8), indexing="ij")
            pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float)
            views[name] = SparseView(pixels, truth.depth(i)[rows.ravel(), columns.ravel()] / UNIT)
            found[name] = T
        return Reconstruction(CAMERA, found, views, PARTS)

    def predict(rgb, camera):
        assert camera == CAMERA
        (i,) = (i for i in range(COUNT) if np.array_equal(truth[i].rgb, rgb))
        return truth.depth(i)

    monkeypatch.setattr(posing, "reconstruct", reconstruct)
    monkeypatch.setattr(posing, "import_pycolmap", lambda command: None)
    monkeypatch.setattr(posing, "focal_from_exif", lambda path: None)
    monkeypatch.setattr("m2h.infer.Predictor.from_checkpoint", lambda *_: Network(predict))
    return SimpleNamespace(folder=folder, truth=truth, calls=calls)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_photos_that_phones_store_on_their_side_are_posed_and_kept_upright(wall, tmp_path, monkeypatch, turns):
    """With masks as programs write them that know of the orientation, and that do not."""
    used = np.full((60, 80), 255, np.uint8)
    used[:20, :30] = 0
    (wall.folder / "masks").mkdir()
    for i in range(COUNT):
        write_png(wall.folder / f"{i:06d}.png", np.rot90(wall.truth[i].rgb, -turns))
        known = turns % 2 == 1 and i % 2 == 1
        write_png(wall.folder / "masks" / f"{i:06d}.png", used if known else np.rot90(used, -turns))
    monkeypatch.setattr("pipelines.posing.plain_recording.turns_to_upright_shown", lambda *_: turns)
    pose_recording(wall.folder, tmp_path / "out", PosingConfig(), command="m2h poses")
    sequence = open_sequence(tmp_path / "out")
    for i, info in enumerate(sequence.infos):
        truth = wall.truth.infos[int(info.image[-10:-4])]
        np.testing.assert_allclose(info.T_world_camera, truth.T_world_camera, atol=1e-4)
        assert info.intrinsics == CAMERA
        frame = sequence[i]
        np.testing.assert_array_equal(frame.mask, used > 0)
        seen = wall.truth[int(info.image[-10:-4])].rgb
        assert np.abs(frame.rgb[used > 0].astype(int) - seen[used > 0]).mean() < 12  # as JPEG


def test_poses_are_in_metres_and_what_is_lost_is_listed(wall, tmp_path):
    out = tmp_path / "out"
    report = pose_recording(wall.folder, out, PosingConfig(), command="m2h poses")
    assert (report.picked, report.posed, report.unregistered, report.parts) == (COUNT, COUNT - 1, (LOST,), PARTS)
    header = json.loads((out / "transforms.json").read_text())
    assert header["scale_source"] == "network"
    assert header["scale_spread"] == pytest.approx(0, abs=1e-3)
    assert header["scale_deviation"] == report.scale_deviation
    assert header["world_up"] is None
    sequence = open_sequence(out)
    assert sequence.world_up is None
    assert list(sequence.notes) == notes_of(report)
    assert evidence_of(sequence).scale_note() == "estimated (network), ± 30%"
    assert sequence.notes[0] == "scale estimated from the network's depth, ± 30% (two standard deviations)"
    assert sequence.notes[1:] == (
        f"1 of {COUNT} picked frames have no pose and are not mapped: {LOST}",
        "parts that did not connect were joined to the largest one by what both show (frames: 3)",
        "parts of the recording that cannot be proved to connect to the largest one were omitted "
        "(2 frames: only 4 common points agree)",
    )
    for info in sequence.infos:
        truth = wall.truth.infos[int(info.image[-10:-4])]
        np.testing.assert_allclose(info.T_world_camera, truth.T_world_camera, atol=1e-4)
        assert info.intrinsics == CAMERA
    table = (out / "frames.csv").read_text()
    assert f"{LOST},0,{posing.NOT_REGISTERED}" in table
    assert table.count("\n") == COUNT + 1
    assert {path.name for path in tmp_path.iterdir()} == {"walk", "out"}  # nothing temporary is left


def test_the_height_of_a_carried_camera_is_part_of_the_scale_and_said(wall, tmp_path, monkeypatch):
    above = CameraHeight(height=1.6 / UNIT, spread=0.02, points=500)
    monkeypatch.setattr(posing, "camera_height", lambda *_: above)
    report = pose_recording(wall.folder, tmp_path / "out", PosingConfig(), command="m2h poses")
    factor = (CARRIED_HEIGHT / 1.6) ** (225 / 421)  # of deviations of 15 and 14 %
    assert report.carried_height == pytest.approx(1.6 * factor, abs=2e-3)
    assert notes_of(report)[0] == (
        "scale estimated from the network's depth, a camera that a person carried, assumed at 1.45 m above the floor "
        f"(here {report.carried_height:.2f} m), ± 20% (two standard deviations)"
    )
    assert json.loads((tmp_path / "out/transforms.json").read_text())["scale_source"] == "network, carried height"
    first = open_sequence(tmp_path / "out").infos[1].T_world_camera[:3, 3]
    np.testing.assert_allclose(first, wall.truth.infos[1].T_world_camera[:3, 3] * factor, atol=2e-3)
    again = pose_recording(wall.folder, tmp_path / "out", PosingConfig(), command="m2h poses")
    assert again == replace(report, up_to_date=True)


def test_level_surfaces_are_part_of_the_scale_and_said(wall, tmp_path, monkeypatch):
    asked = []

    def views(sequence, up):
        asked.append((sequence, up))
        return (lambda frame: Predictions(depth=np.full(frame.rgb.shape[:2], 2.0, np.float32))), None

    monkeypatch.setattr(level_surfaces, "level_heights", lambda mesh, cameras, floor: [0.64])
    report = pose_recording(wall.folder, tmp_path / "out", PosingConfig(), command="m2h poses", views=views)
    correction = corrected_by_heights([0.64], SCENE_DEVIATION)
    assert report.surfaces == pytest.approx((0.64 * correction.factor,), abs=1e-3)
    assert report.scale_deviation == pytest.approx(2 * correction.deviation, abs=1e-4)
    assert notes_of(report)[0].startswith(
        "scale estimated from the network's depth, furniture of usual height (level surfaces 0.7"
    )
    (sequence, up) = asked[0]
    assert len(sequence.infos) == COUNT
    assert up[1] < 0  # the wall's cameras have y down
    assert json.loads((tmp_path / "out/transforms.json").read_text())["scale_source"] == "network, furniture"
    first = open_sequence(tmp_path / "out").infos[1].T_world_camera[:3, 3]
    np.testing.assert_allclose(first, wall.truth.infos[1].T_world_camera[:3, 3] * correction.factor, atol=2e-3)
    again = pose_recording(wall.folder, tmp_path / "out", PosingConfig(), command="m2h poses", views=views)
    assert again == replace(report, up_to_date=True)


@pytest.mark.parametrize("turned", [0, COUNT // 2])
def test_cameras_held_every_way_have_no_up_in_common(wall, tmp_path, turned):
    asked = []

    def views(sequence, up):
        asked.append(up)
        return (lambda frame: Predictions(depth=np.full(frame.rgb.shape[:2], 2.0, np.float32))), None

    matrices = poses_of(wall.truth)
    matrices[:turned, :3, :2] *= -1  # upside down
    sequence = AdjustedSequence(wall.truth, dict(enumerate(matrices)), wall.truth.infos[0].intrinsics)
    posing._surfaces(sequence, views, 0, lambda what, done, total: None)
    assert (asked == [None]) == (turned > 0)


def test_masks_are_used_and_copied(wall, tmp_path):
    (wall.folder / "mask").mkdir()
    used = np.full(wall.truth[0].rgb.shape[:2], 255, np.uint8)
    used[:20] = 0
    for i in range(1, COUNT):
        write_png(wall.folder / f"mask/{i:06d}.png", used)
    out = tmp_path / "out"
    given = []

    def reconstruct(images, names, work, **options):
        given.extend(sorted(path.name for path in (work / "masks").iterdir()))
        return found(images, names, work, **options)

    found, posing.reconstruct = posing.reconstruct, reconstruct  # the fixture puts it back
    pose_recording(wall.folder, out, PosingConfig(), command="")
    assert given == [f"{i:06d}.png.png" for i in range(1, COUNT)]
    sequence = open_sequence(out)
    assert sequence[0].mask is None
    np.testing.assert_array_equal(sequence[1].mask, used > 0)
    assert any(note.startswith(f"{COUNT - 1} of {COUNT} images have a mask") for note in sequence.notes)


def test_a_second_call_does_nothing_and_other_images_are_not_overwritten(wall, tmp_path):
    out = tmp_path / "out"
    first = pose_recording(wall.folder, out, PosingConfig(), command="")
    assert pose_recording(wall.folder, out, PosingConfig(), command="") == replace(first, up_to_date=True)
    assert len(wall.calls) == 1
    with pytest.raises(SequenceError, match="exists and is not the result of these images"):
        pose_recording(wall.folder, out, PosingConfig(max_frames=6), command="")
    again = pose_recording(wall.folder, out, PosingConfig(max_frames=6), command="", replace=True)
    assert (again.picked, again.up_to_date) == (len(wall.calls[1][0]), False)
    assert again.picked <= 6


def test_a_stopped_call_leaves_no_result_and_is_resumed(wall, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(posing, "_scale", stop)
        with pytest.raises(KeyboardInterrupt):
            pose_recording(wall.folder, out, PosingConfig(), command="")
    assert not out.exists()
    monkeypatch.setattr(posing, "look_at_recording", None)  # what was picked is known
    pose_recording(wall.folder, out, PosingConfig(), command="")
    assert open_sequence(out).infos


def test_hardly_anything_registered_is_an_error(wall, tmp_path, monkeypatch):
    alone = Reconstruction(CAMERA, {LOST: np.eye(4)}, {}, ())
    monkeypatch.setattr(posing, "reconstruct", lambda *_, **__: alone)
    with pytest.raises(SequenceError, match=r"walk: structure from motion poses only 1 of 9 frames"):
        pose_recording(wall.folder, tmp_path / "out", PosingConfig(), command="")
    assert not (tmp_path / "out").exists()


def test_without_reliable_points_there_is_no_scale_and_no_result(wall, tmp_path, monkeypatch):
    empty = SparseView(np.zeros((0, 2)), np.zeros(0))
    names = [f"{i:06d}.png" for i in range(COUNT)]
    bare = Reconstruction(CAMERA, dict.fromkeys(names, np.eye(4)), dict.fromkeys(names, empty), ())
    monkeypatch.setattr(posing, "reconstruct", lambda *_, **__: bare)
    with pytest.raises(SequenceError, match="the scale cannot be estimated"):
        pose_recording(wall.folder, tmp_path / "out", PosingConfig(), command="")
    assert not (tmp_path / "out").exists()


def test_a_picture_that_stands_still_is_refused(wall, tmp_path):
    for i in range(COUNT):
        write_png(wall.folder / f"{i:06d}.png", wall.truth[0].rgb)
    with pytest.raises(SequenceError, match="the picture moves too little or the images are too few"):
        pose_recording(wall.folder, tmp_path / "out", PosingConfig(), command="")


def test_the_lens_is_removed_and_the_size_restored(wall, tmp_path, monkeypatch):
    """Structure from motion saw images of half the size through a lens."""
    truth = posing.reconstruct

    def reconstruct(images, names, work, **options):
        found = truth(images, names, work, **options)
        return replace(found, camera=replace(CAMERA.resized(40, 30), distortion=(0.01, 0.0, 0.0, 0.0)))

    monkeypatch.setattr(posing, "reconstruct", reconstruct)
    monkeypatch.setattr(posing, "_reduced_size", lambda size, config: (40, 30))
    views_at_half = ScaleEstimate(UNIT, 0.1, 8)
    monkeypatch.setattr(posing, "_scale", lambda *_: views_at_half)
    pose_recording(wall.folder, tmp_path / "out", PosingConfig(), command="")
    frame = open_sequence(tmp_path / "out")[0]
    assert frame.rgb.shape == (60, 80, 3)
    assert frame.intrinsics == CAMERA


def test_a_run_poses_plain_images_once(wall, tmp_path):
    run = tmp_path / "run"
    asked = {"command": "m2h run", "progress": lambda *_: None}
    first = open_or_pose(str(wall.folder), run, PosingConfig(), **asked)
    second = open_or_pose(str(wall.folder), run, PosingConfig(), **asked)
    assert len(wall.calls) == 1
    assert first.name == second.name == "walk"
    assert (run / "posed" / "transforms.json").is_file()
    assert not list(run.glob(".posed*"))
    shutil.copytree(wall.folder, tmp_path / "second")
    with pytest.raises(WorkspaceError, match=r"contains a map of walk .* not of second; .* --overwrite"):
        open_or_pose(str(tmp_path / "second"), run, PosingConfig(), **asked)
    assert len(wall.calls) == 1
    assert open_or_pose(str(tmp_path / "second"), run, PosingConfig(), overwrite=True, **asked).name == "second"
    assert len(wall.calls) == 2
    assert open_or_pose(str(run / "posed"), tmp_path / "other", PosingConfig(), **asked).format == "nerfstudio"
    assert not (tmp_path / "other").exists()


def test_without_the_extra_the_commands_to_type_are_shown(wall, tmp_path, monkeypatch):
    real = builtins.__import__

    def no_pycolmap(name, *args, **options):
        if name == "pycolmap":
            raise ImportError("No module named 'pycolmap'")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", no_pycolmap)
    monkeypatch.setattr(posing, "import_pycolmap", import_pycolmap)
    with pytest.raises(MissingExtraError):
        pose_recording(wall.folder, tmp_path / "out", PosingConfig(), command="")
    for command in (["poses", wall.folder, tmp_path / "out"], ["run", wall.folder, "--out", tmp_path / "run"]):
        words = [str(word) for word in command]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 1
        assert "Type: pip install 'm2h-mapping[sfm]' and then: m2h " + " ".join(words) in result.output
        assert "Traceback" not in result.output


def test_pairs_are_neighbours_and_a_few_images_all_with_all():
    assert image_pairs(3) == [(0, 1), (0, 2), (1, 2)]
    few, many = image_pairs(50), image_pairs(400)
    assert len(few) == 50 * 49 // 2
    assert len(many) < 400 * 13 + 50 * 49 / 2
    assert {(0, 399), (10, 11), (10, 18)} <= set(many)
    assert all(i < j for i, j in many)


def test_sparse_views_of_pycolmap_are_where_a_camera_without_lens_sees_them():
    """A scene made by pycolmap itself: poses, camera and points in our conventions."""
    pycolmap = pytest.importorskip("pycolmap", reason="needs the extra sfm")
    from pipelines.posing import reconstruction

    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs = options.num_cameras_per_rig = 1
    options.num_frames_per_rig, options.num_points3D = 6, 60
    options.camera_model_id, options.camera_params = pycolmap.CameraModelId.SIMPLE_RADIAL, [1280.0, 512.0, 384.0, 0.05]
    model = pycolmap.synthesize_dataset(options)
    camera = reconstruction._intrinsics(next(iter(model.cameras.values())))
    assert (camera.cx, camera.cy, camera.distortion) == (511.5, 383.5, (0.05, 0.0, 0.0, 0.0))
    for image in reconstruction._registered(model):
        view, T = reconstruction._view(model, image), reconstruction._pose(image)
        xyz = np.array([point.xyz for point in model.points3D.values() if point.track.length() >= 3])
        expected = transform_points(inverse(T), xyz)
        seen = np.isin(np.round(expected[:, 2], 6), np.round(view.depths, 6))
        np.testing.assert_allclose(
            np.sort(camera.undistorted().project(expected[seen])[:, 0]), np.sort(view.pixels[:, 0])
        )
        point = next(p for p in image.get_observation_points2D())
        T_camera = transform_points(inverse(T), model.points3D[point.point3D_id].xyz[None])
        np.testing.assert_allclose(camera.project(T_camera)[0], point.xy - 0.5, atol=1e-6)


@pytest.mark.full
def test_a_synthetic_walk_without_poses_gets_them(tmp_path):
    pytest.importorskip("pycolmap", reason="needs the extra sfm")
    from bench_poses import trajectory_error

    from pipelines.synth.simulate import SynthConfig, simulate

    simulate(tmp_path / "walk", SynthConfig(seed=61, frames=160, width=640, height=480, world={"rooms": 1}))
    truth = open_sequence(tmp_path / "walk")
    plain = tmp_path / "plain"
    plain.mkdir()
    for i in range(28, 62):
        (plain / f"{i:06d}.png").symlink_to(tmp_path / "walk" / "images" / f"{i:06d}.png")
    report = pose_recording(plain, tmp_path / "posed", PosingConfig(), command="")
    found = open_sequence(tmp_path / "posed")
    numbers = [28 + int(info.image[-10:-4]) for info in found.infos]
    positions = np.stack([info.T_world_camera[:3, 3] for info in found.infos])
    true = np.stack([truth.infos[i].T_world_camera[:3, 3] for i in numbers])
    path = np.linalg.norm(np.diff(true, axis=0), axis=1).sum()
    assert report.posed >= 0.7 * report.picked
    error = trajectory_error(positions, true)
    assert error.rmse < 0.03 * path
    assert error.scale == pytest.approx(1, rel=0.25)
