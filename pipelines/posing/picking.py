"""Which frames of a recording structure from motion gets: sharp ones, as far apart as the picture moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.frame import SequenceError
from pipelines.posing.plain_recording import PlainRecording

CANDIDATE_RATE = 12.0
"""Frames of a video per second that are looked at; those between hardly differ."""
SHARPNESS_WIDTH, MOTION_WIDTH = 640, 320
"""Pixels to which images are reduced: a smaller one hides blur, a larger one costs time."""
LEAST_MOTION = 0.04
"""Share of the image's width; nearer frames show hardly any parallax."""
LONGEST_GAP = 1.5
"""Seconds after which another frame is picked even where the picture stands still."""
NEIGHBOURHOOD = 4
"""Candidates on either side that sharpness is relative to: a white wall is less sharp than a shelf."""
BLURRED = 0.6
"""Sharpness relative to the neighbours below which a frame that is passed over is called blurred."""
LONGER = 1.05
"""Factor by which stretches are lengthened until they are few enough."""
LOST = 1.0
"""Motion where no point can be followed from one candidate to the next."""
LEAST_FOLLOWED, LEAST_FOLLOWED_SHARE = 8, 0.3
MOST_DIFFERENCE = 12.0
"""Grey levels between the surroundings of a corner and of what it is found at."""
CORNERS = 150


@dataclass(frozen=True, eq=False)
class Looks:
    """What is measured of the candidates: their positions (N,), times (N,) in seconds, sharpness (N,) as the variance of the
    Laplacian, and motion (N,), the share of the width by which the picture moved since the candidate before."""

    positions: NDArray[np.int64]
    times: NDArray[np.float64]
    sharpness: NDArray[np.float64]
    motion: NDArray[np.float64]


def pick(looks: Looks, max_frames: int) -> tuple[list[int], dict[int, str]]:
    """Positions of the frames picked, at most `max_frames`, and the reason for each candidate that is not.

    The recording is cut into stretches of equal motion, and of each the frame that is sharpest compared with its neighbours is
    taken. A stretch keeps its best frame however blurred, since a gap would break the reconstruction.
    """
    count = len(looks.positions)
    if not count:
        return [], {}
    elapsed = np.diff(looks.times, prepend=looks.times[0])
    moved = np.maximum(looks.motion, elapsed * LEAST_MOTION / LONGEST_GAP)
    moved[0] = 0
    progress = np.cumsum(moved)
    step = LEAST_MOTION
    stretch = np.floor(progress / step).astype(int)
    while len(np.unique(stretch)) > max_frames:  # not total / max_frames: a jump fills no stretches
        step *= LONGER
        stretch = np.floor(progress / step).astype(int)
    relative = relative_sharpness(looks.sharpness)
    order = np.lexsort((np.arange(count), -relative, stretch))
    best = order[np.unique(stretch[order], return_index=True)[1]]
    reasons = {
        int(looks.positions[i]): "blurred" if relative[i] < BLURRED else "close to the frames that were picked"
        for i in set(range(count)) - set(best.tolist())
    }
    return sorted(int(looks.positions[i]) for i in best), reasons


def relative_sharpness(sharpness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sharpness (N,) over the median of the neighbours' and its own."""
    padded = np.pad(sharpness, NEIGHBOURHOOD, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURHOOD + 1)
    return np.asarray(sharpness / np.maximum(np.nanmedian(windows, axis=1), 1e-9))


def look_at_recording(
    recording: PlainRecording, progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Looks, dict[int, str]]:
    """Sharpness and motion of the candidates, and the images that cannot be read with the reason. Called with (done, total)."""
    chosen = candidates(recording)
    rows: list[tuple[int, float, float, float]] = []
    broken: dict[int, str] = {}
    before: NDArray[np.uint8] | None = None
    for done, position in enumerate(chosen, 1):
        try:
            grey = cv2.cvtColor(recording.read(position), cv2.COLOR_RGB2GRAY)
        except SequenceError as error:
            broken[position] = str(error)
            continue
        small = reduced(grey, MOTION_WIDTH)
        motion = 0.0 if before is None else motion_between(before, small)
        rows.append((position, float(recording.times[position]), sharpness_of(grey), motion))
        before = small
        progress(done, len(chosen))
    columns = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return Looks(columns[0].astype(np.int64), columns[1], columns[2], columns[3]), broken


def candidates(recording: PlainRecording) -> list[int]:
    """All usable images of a folder; of a video `CANDIDATE_RATE` frames per second."""
    if recording.kind != "video":
        return [i for i in range(len(recording.sources)) if i not in recording.problems]
    ticks = np.floor((recording.times - recording.times[0]) * CANDIDATE_RATE + 1e-6)
    return np.flatnonzero(np.diff(ticks, prepend=-1) > 0).tolist()


def sharpness_of(grey: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of an image (H, W), reduced to `SHARPNESS_WIDTH`."""
    return float(cv2.Laplacian(reduced(grey, SHARPNESS_WIDTH), cv2.CV_32F).var())


def motion_between(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    """Median motion of corners from one image (H, W) to the next, as a share of the width; `LOST` where none can be followed."""
    corners = cv2.goodFeaturesToTrack(before, CORNERS, 0.01, 7)
    if corners is None:
        return LOST
    found, followed, difference = cv2.calcOpticalFlowPyrLK(before, after, corners, None)
    kept = (followed.ravel() == 1) & (difference.ravel() < MOST_DIFFERENCE)
    if kept.sum() < max(LEAST_FOLLOWED, LEAST_FOLLOWED_SHARE * len(corners)):
        return LOST
    moved = np.linalg.norm((found - corners).reshape(-1, 2)[kept], axis=1)
    return float(min(np.median(moved) / before.shape[1], LOST))


def reduced(grey: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """The image (H, W) reduced to a width; a smaller one is left as it is."""
    if grey.shape[1] <= width:
        return grey
    height = max(1, round(grey.shape[0] * width / grey.shape[1]))
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
