"""The second pass: the map of the first one is shown to the network in every frame, and it predicts again.

After DoubleTake (Sayed et al., ECCV 2024), whose second pass over a finished map this is.
"""

from __future__ import annotations

import numpy as np

from m2h import Predictions
from mapping.camera import Intrinsics
from mapping.tsdf.volume import TSDFVolume
from pipelines.frame import Frame
from pipelines.sources.source import Hint
from pipelines.stages.context import RunContext
from pipelines.stages.fuse import fuse_frame
from pipelines.stages.prepare import store_answers
from pipelines.workspace import VOLUME_FILE, StageRecord, digest

FIRST_FOLDER = "first_pass"
HINT_WIDTH = 160
"""Pixels across a hint: the network takes it at a quarter of its input's size."""
TRUSTED_WEIGHT = 2.0
"""Fused weight at which a hint's confidence is 1 - 1/e."""


def fuse_first(context: RunContext) -> StageRecord:
    """The first pass's predictions in a volume, in the unit and the world of the sequence's poses."""
    volume = TSDFVolume(context.config.tsdf)
    count = len(context.positions)
    for done, frame in enumerate(context.posed_frames(corrected="as given")):
        fuse_frame(volume, frame, config=context.config, source=context.source)
        context.advance(done + 1, count)
    volume.save(context.path(VOLUME_FILE))
    return StageRecord({"text": f"{count} frames, volume {volume.memory_bytes / 2**20:.0f} MiB"})


def predict_again(context: RunContext) -> StageRecord:
    """The predictions of every frame, given what the first pass's volume shows in it."""
    volume = TSDFVolume.load(context.workspace.path(FIRST_FOLDER) / VOLUME_FILE)
    ask = context.source.predict_hinted
    assert ask is not None

    def predict(frame: Frame) -> Predictions:
        return ask(frame, hint_of(volume, frame))

    return store_answers(context, predict, digest(context.key, context.source.fingerprint))


def hint_of(volume: TSDFVolume, frame: Frame) -> Hint:
    """What the volume shows in a frame, at the frame's size."""
    camera = frame.intrinsics
    small = camera.resized(HINT_WIDTH, max(1, round(HINT_WIDTH * camera.height / camera.width)))
    shown = volume.render(small, frame.T_world_camera)
    confidence = np.where(shown.depth > 0, 1 - np.exp(-shown.weight / TRUSTED_WEIGHT), 0).astype(np.float32)
    rows, columns = nearest_pixels(small, camera)
    return Hint(shown.depth[rows[:, None], columns], confidence[rows[:, None], columns])


def nearest_pixels(small: Intrinsics, camera: Intrinsics) -> tuple[np.ndarray, np.ndarray]:
    """The rows (H,) and columns (W,) of the small image whose pixels lie nearest to those of the camera's image."""
    rows = ((np.arange(camera.height) + 0.5) * small.height / camera.height).astype(int)
    columns = ((np.arange(camera.width) + 0.5) * small.width / camera.width).astype(int)
    return rows, columns
