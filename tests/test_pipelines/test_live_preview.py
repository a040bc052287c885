"""A run that is watched: what is shown, in which order, and the recording of it."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import m2h

from pipelines import live_preview, open_sequence, run
from pipelines.stages.watching import watched_by


class Notebook:
    """A watcher that notes what it is shown."""

    def __init__(self):
        self.predictions, self.frames = [], []

    def predicted(self, frame, predictions):
        self.predictions.append(frame.index)

    def fused(self, frame, volume, done, total):
        self.frames.append((frame.index, done, total, len(volume.extract_mesh().faces)))


@pytest.mark.slow
def test_every_fused_frame_is_shown_with_the_map_so_far(box_room, tmp_path):
    watcher = Notebook()
    with watched_by(watcher):
        run(open_sequence(box_room), tmp_path / "run", until="fuse")
    assert [entry[:3] for entry in watcher.frames] == [(i, i + 1, 30) for i in range(30)]
    faces = [entry[3] for entry in watcher.frames]
    assert 0 < faces[0] < faces[-1]
    assert watcher.predictions == []  # recorded depth is read with the frames
    with watched_by(Notebook()) as _:
        run(open_sequence(box_room), tmp_path / "run", until="fuse")  # up to date: nothing to show
    assert len(watcher.frames) == 30


@pytest.mark.slow
def test_what_is_predicted_is_shown(box_room, tmp_path, monkeypatch):
    (tmp_path / "fixed.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    watcher = Notebook()
    with watched_by(watcher):
        run(open_sequence(box_room), tmp_path / "run", source="fixed:open_fixed", until="predict")
    assert watcher.predictions == list(range(30))


SOURCE = """
from pipelines import DepthOrigin, Source


def open_fixed(argument, sequence, config):
    return Source("fixed", lambda frame: frame.recorded, "1", None, DepthOrigin.SENSOR, is_costly=True)
"""


def test_without_the_extra_one_line_says_what_to_do(box_room, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    result = m2h("run", box_room, "--out", tmp_path / "run", "--rerun", code=1)
    assert "--rerun needs the package rerun" in result.stderr
    assert "pip install 'm2h-mapping[rerun]'" in result.stderr


def test_a_screen_is_needed_for_a_window(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(live_preview.sys, "platform", "linux")
    assert not live_preview.has_screen()
    monkeypatch.setenv("DISPLAY", ":0")
    assert live_preview.has_screen()


@pytest.mark.slow
def test_the_recording_has_frames_depth_camera_and_mesh(box_room, tmp_path, monkeypatch):
    pytest.importorskip("rerun", reason="needs the extra [rerun]")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    out = tmp_path / "run"
    m2h("fuse", box_room, "--out", out, "--range", "0:6", "--rerun", "-q")
    rrd = [sys.executable, "-m", "rerun", "rrd"]
    subprocess.run([*rrd, "verify", out / "preview.rrd"], check=True, capture_output=True)
    text = subprocess.run([*rrd, "print", out / "preview.rrd"], check=True, capture_output=True, text=True).stdout
    for entity in (
        "world/camera",
        "world/camera/view/image",
        "world/camera/view/depth",
        "world/camera_path",
        "world/mesh",
    ):
        assert f"/{entity}" in text
    assert not [path.name for path in out.iterdir() if path.name.startswith(".m2h")]
    assert np.all([(out / name).is_file() for name in ("volume.npz", "preview.rrd")])
