"""The contents of a sequence, and whether its conventions are right: all checks before fusion."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.files import write_text_atomic
from mapping.se3 import transform_points
from mapping.tsdf.tsdf_config import TSDFConfig
from pipelines.frame import Frame, FrameSequence, SequenceError, depth_notes
from pipelines.sequences.convention_check import (
    Score,
    candidate_conventions,
    fitted_depth_scale,
    grid_points,
    score_by_depth,
    score_by_images,
)
from pipelines.sequences.conventions import OVERRIDE_FILE, Convention, read_overrides
from pipelines.sequences.recorded import RecordedSequence

Array = NDArray[np.float64]
Verdict = Literal["right", "wrong", "unclear"]
SAMPLES = 40
"""Number of frames that are decoded for statistics."""
PAIRS = 12
LONGEST_STEP = 16
"""Greatest number of frames between the two of a pair."""
LARGEST_TURN_DEG = {"depth": 12.0, "images": 3.0}
"""Greatest rotation between the frames of a pair where possible; it is the same under every convention."""
CLOSE = 0.96
"""A usual depth scale is accepted when its fit is at least this share of the best scale's fit."""
LEAST_FIT = {"depth": 0.5, "images": 0.12}
"""Fit below which even the best convention is not accepted."""
BLUR_SHARE = 0.4
"""A frame whose sharpness is below this share of the median is blurred."""
JUMP_FACTOR, JUMP_METRES = 10.0, 0.5
BLOCK_VOXELS = 8
BLOCK_BYTES = 16 * 1024
"""Memory of a block of a volume with colour and one or two labels: six sums of four bytes per voxel, two more per label."""


@dataclass(frozen=True)
class Gap:
    """A gap in time: the frame before it and its length in seconds."""

    after: int
    seconds: float


@dataclass(frozen=True)
class DepthStatistics:
    """Over the sampled frames: share of pixels with depth and its 5th, 50th and 95th percentile in metres."""

    coverage: float
    near: float
    median: float
    far: float


@dataclass(frozen=True)
class MapEstimate:
    """Estimated number of blocks of 8^3 voxels at surfaces, and the memory of a volume of them."""

    voxel_size: float
    blocks: int
    memory_mb: float


@dataclass(frozen=True)
class Inspection:
    """What `inspect_sequence` found; `to_json` for programs, `lines` for users.

    reasons counts why frames are not used, broken lists sampled frames that cannot be decoded; cameras counts frames by camera;
    frame_rate is images per second (the median step); scores are conventions and how well they fit, best first; evidence is
    what they were measured with; verdict is about `assumed`, and `undecided` are conventions that fit as well as the best.
    """

    name: str
    format: str
    path: str
    frames: int
    used: int
    reasons: dict[str, int]
    broken: dict[int, str]
    cameras: tuple[tuple[Intrinsics, int], ...]
    duration: float
    frame_rate: float | None
    gaps: tuple[Gap, ...]
    jumps: tuple[int, ...]
    trajectory_length: float
    world_up: tuple[float, float, float] | None
    depth: DepthStatistics | None
    blurred: float
    assumed: Convention
    evidence: Literal["depth", "images", "none"]
    scores: tuple[Score, ...]
    verdict: Verdict
    undecided: tuple[Convention, ...]
    estimate: MapEstimate | None
    notes: tuple[str, ...]

    @property
    def best(self) -> Score | None:
        """The best convention, None without evidence."""
        return self.scores[0] if self.scores else None

    @property
    def assumed_score(self) -> Score | None:
        """The score of the convention that the reader assumed."""
        return next((score for score in self.scores if score.convention == self.assumed), None)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        data = asdict(self)
        data["cameras"] = [{**asdict(camera), "frames": count} for camera, count in self.cameras]
        data["broken"] = {str(index): reason for index, reason in self.broken.items()}
        data["scores"] = [{k: v for k, v in score.items() if k != "fits"} for score in data["scores"][:10]]
        return data

    def lines(self) -> list[str]:
        """A report of about a dozen lines."""
        return [
            f"{self.name}: {self.format}, {self.used} of {self.frames} frames are usable",
            *(f"  not used: {count} x {reason}" for reason, count in self.reasons.items()),
            *(f"  broken: frame {index}: {reason}" for index, reason in self.broken.items()),
            *(_camera_line(camera, count) for camera, count in self.cameras),
            self._time_line(),
            *(f"  gap of {gap.seconds:.2f} s after frame {gap.after}" for gap in self.gaps[:5]),
            *([f"  poses jump before frames {', '.join(map(str, self.jumps[:10]))}"] if self.jumps else []),
            f"up: {'not known' if self.world_up is None else ' '.join(f'{x:g}' for x in self.world_up)}",
            *self._picture_lines(),
            *self._convention_lines(),
            *(f"note: {note}" for note in self.notes),
        ]

    def _time_line(self) -> str:
        rate = "one frame" if self.frame_rate is None else f"{self.frame_rate:.1f} frames per second"
        return f"time: {self.duration:.1f} s, {rate}, {len(self.gaps)} gaps; path {self.trajectory_length:.2f} m"

    def _picture_lines(self) -> list[str]:
        lines = [f"sharpness: {100 * self.blurred:.0f} % of the sampled frames are blurred"]
        if self.depth is None:
            return [*lines, "depth: none"]
        d = self.depth
        lines.append(
            f"depth: {100 * d.coverage:.0f} % of pixels, {d.near:.2f} / {d.median:.2f} / {d.far:.2f} m (5 / 50 / 95 %)"
        )
        if self.estimate is not None:
            e = self.estimate
            lines.append(f"map: about {e.blocks} blocks, {e.memory_mb:.0f} MB at {100 * e.voxel_size:g} cm voxels")
        return lines

    def _convention_lines(self) -> list[str]:
        lines = [f"assumed: {self.assumed.describe()}"]
        best, assumed = self.best, self.assumed_score
        if best is None or assumed is None:
            return [*lines, "conventions: no evidence (no two frames overlap)"]
        what = "depth" if self.evidence == "depth" else "image features"
        fits = f"{100 * assumed.agreement:.0f} % of {what} agree between frames"
        if self.verdict == "unclear":
            return [*lines, f"conventions: UNCLEAR, no reading fits ({fits} as assumed)"]
        if self.verdict == "wrong":
            better = f"{100 * best.agreement:.0f} % for {best.convention.describe()}"
            return [*lines, f"conventions: WRONG, {fits} as assumed, but {better}; `--fix` writes {OVERRIDE_FILE}"]
        others = "; ".join(convention.describe() for convention in self.undecided)
        doubt = f"; too little motion to rule out: {others}" if others else ""
        return [*lines, f"conventions: right, {fits}{doubt}"]


def inspect_sequence(sequence: FrameSequence, *, voxel_size: float = 0.04) -> Inspection:
    """Examine a sequence and test the usual pose directions, camera axes and depth scales on its own frames.

    `voxel_size` in metres is for the estimate of memory. Frames that cannot be decoded are listed; raises SequenceError
    when none can be.
    """
    used = [i for i, info in enumerate(sequence.infos) if info.used]
    reader = _Sampler(sequence)
    frames = [frame for i in _spread(used, SAMPLES) if (frame := reader.frame(i)) is not None]
    if not frames:
        raise SequenceError(
            f"{sequence.path}: none of {len(reader.broken)} sampled frames can be read: {reader.first_reason()}"
        )
    assumed = sequence.convention if isinstance(sequence, RecordedSequence) else Convention()
    evidence, scores = _test_conventions(reader, used, assumed)
    verdict, undecided = _judge(evidence, scores, assumed)
    times = np.array([sequence.infos[i].timestamp for i in used])
    positions = np.array([pose[:3, 3] for i in used if (pose := sequence.infos[i].T_world_camera) is not None])
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    return Inspection(
        name=sequence.name,
        format=sequence.format,
        path=str(sequence.path),
        frames=len(sequence),
        used=len(used),
        reasons=dict(Counter(info.reason.partition("(")[0].strip() for info in sequence.infos if not info.used)),
        broken=reader.broken,
        cameras=tuple(Counter(frame.intrinsics for frame in frames).items()),
        duration=float(np.ptp(times)),
        frame_rate=float(1 / np.median(np.diff(times))) if len(times) > 1 and np.ptp(times) > 0 else None,
        gaps=_gaps(used, times),
        jumps=_jumps(used, steps),
        trajectory_length=float(steps.sum()),
        world_up=sequence.world_up,
        depth=_depth_statistics(frames),
        blurred=_blurred_share(frames),
        assumed=assumed,
        evidence=evidence,
        scores=scores,
        verdict=verdict,
        undecided=undecided,
        estimate=_estimate(frames, voxel_size),
        notes=(sequence.notes if isinstance(sequence, RecordedSequence) else ()) + depth_notes(sequence.infos),
    )


def write_fix(sequence: FrameSequence, inspection: Inspection) -> Path | None:
    """Write `m2h.yaml` with the convention that fits best into the sequence's folder; None when the assumed one is accepted.

    Other entries of an existing file are kept. Raises SequenceError when the folder cannot be written.
    """
    if inspection.verdict != "wrong" or inspection.best is None:
        return None
    folder = sequence.path if sequence.path.is_dir() else sequence.path.parent
    best = inspection.best.convention
    entries: dict[str, Any] = {
        "pose_convention": best.pose_direction,
        "camera_axes": best.camera_axes,
        "depth_scale": best.depth_scale,
    }
    up = read_overrides(folder).world_up
    if up is not None:
        entries["world_up"] = list(up)
    path = folder / OVERRIDE_FILE
    try:
        write_text_atomic(path, yaml.safe_dump(entries, sort_keys=False))
    except OSError as error:
        raise SequenceError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


class _Sampler:
    """Reads each frame once and records which are unreadable."""

    def __init__(self, sequence: FrameSequence) -> None:
        self.sequence = sequence
        self.broken: dict[int, str] = {}
        self._frames: dict[int, Frame] = {}

    def frame(self, index: int) -> Frame | None:
        if index not in self._frames and index not in self.broken:
            try:
                self._frames[index] = self.sequence[index]
            except SequenceError as error:
                self.broken[index] = str(error)
        return self._frames.get(index)

    def pairs(self, used: list[int], largest_turn_deg: float) -> list[tuple[Frame, Frame]]:
        """Frames spread over the sequence, each with the farthest later one rotated by no more than the limit, or the next."""
        pairs = []
        for start in _spread(list(range(len(used) - 1)), PAIRS):
            a = used[start]
            partner = None
            for b in used[start + 1 : start + 1 + LONGEST_STEP]:
                if partner is not None and self._turn_deg(a, b) > largest_turn_deg:
                    break
                partner = b
            if partner is not None and (first := self.frame(a)) and (second := self.frame(partner)):
                pairs.append((first, second))
        return pairs

    def first_reason(self) -> str:
        return next(iter(self.broken.values()), "")

    def _turn_deg(self, a: int, b: int) -> float:
        T_a, T_b = self.sequence.infos[a].T_world_camera, self.sequence.infos[b].T_world_camera
        assert T_a is not None
        assert T_b is not None
        cosine = (np.trace(T_a[:3, :3].T @ T_b[:3, :3]) - 1) / 2
        return float(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))


def _test_conventions(
    reader: _Sampler, used: list[int], assumed: Convention
) -> tuple[Literal["depth", "images", "none"], tuple[Score, ...]]:
    """The evidence of the scores, and the scores, best first (of equal ones the assumed first)."""
    pairs = reader.pairs(used, LARGEST_TURN_DEG["depth"])
    pairs = [(a, b) for a, b in pairs if a.recorded.depth is not None and b.recorded.depth is not None]
    if pairs:
        scores = score_by_depth(pairs, assumed, candidate_conventions(assumed, depth=True))
        best = max(scores, key=lambda score: score.fit)
        fitted = fitted_depth_scale(pairs, assumed, best.convention)
        if best.fit < CLOSE * fitted.fit:  # none of the usual scales: poses are in another unit
            scores.append(fitted)
        return "depth", tuple(sorted(scores, key=lambda score: -score.fit))
    pairs = reader.pairs(used, LARGEST_TURN_DEG["images"])
    by_images = score_by_images(pairs, assumed, candidate_conventions(assumed, depth=False))
    if by_images is None:
        return "none", ()
    return "images", tuple(sorted(by_images, key=lambda score: -score.fit))


def _judge(evidence: str, scores: tuple[Score, ...], assumed: Convention) -> tuple[Verdict, tuple[Convention, ...]]:
    """The verdict on the assumed convention, and which others fit as well as the best."""
    if not scores or scores[0].fit < LEAST_FIT[evidence]:
        return "unclear", ()
    best, *others = scores
    close = [best.convention, *(score.convention for score in others if not best.is_better_than(score))]
    verdict: Verdict = "right" if assumed in close else "wrong"
    kept = assumed if verdict == "right" else best.convention
    return verdict, tuple(convention for convention in close if convention != kept)


def _spread(items: list[int], count: int) -> list[int]:
    """At most `count` of the items, evenly spread, including the first and the last."""
    if len(items) <= count:
        return items
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, count).round().astype(int))]


def _gaps(used: list[int], times: Array) -> tuple[Gap, ...]:
    """Steps of more than three times the median step, longest first."""
    steps = np.diff(times)
    if not len(steps):
        return ()
    long = [Gap(used[i], float(steps[i])) for i in np.flatnonzero(steps > 3 * np.median(steps))]
    return tuple(sorted(long, key=lambda gap: -gap.seconds))


def _jumps(used: list[int], steps: Array) -> tuple[int, ...]:
    """Frames that lie far from the one before them: more than ten median steps and half a metre."""
    if not len(steps):
        return ()
    far = np.flatnonzero((steps > JUMP_FACTOR * np.median(steps)) & (steps > JUMP_METRES))
    return tuple(used[i + 1] for i in far)


def _depth_statistics(frames: list[Frame]) -> DepthStatistics | None:
    depths = [frame.recorded.depth[::4, ::4] for frame in frames if frame.recorded.depth is not None]
    values = np.concatenate([depth[depth > 0] for depth in depths]) if depths else np.zeros(0)
    if not len(values):
        return None
    near, median, far = (float(x) for x in np.percentile(values, [5, 50, 95]))
    return DepthStatistics(len(values) / sum(depth.size for depth in depths), near, median, far)


def _blurred_share(frames: list[Frame]) -> float:
    """Share of frames far less sharp than the median, by the variance of the Laplacian at 320 pixels width."""
    sharpness = []
    for frame in frames:
        gray = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY)
        height = max(1, round(320 * gray.shape[0] / gray.shape[1]))
        small = cv2.resize(gray, (320, height), interpolation=cv2.INTER_AREA)
        sharpness.append(float(cv2.Laplacian(small, cv2.CV_32F).var()))
    return float(np.mean(np.array(sharpness) < BLUR_SHARE * np.median(sharpness)))


def _estimate(frames: list[Frame], voxel_size: float) -> MapEstimate | None:
    """Blocks seen by the sampled frames, plus Chao's estimate (1984) of the unseen ones: f1^2 / 2 f2 from the numbers
    seen once and twice."""
    keys = [_block_keys(frame, voxel_size) for frame in frames if frame.recorded.depth is not None]
    if not keys:
        return None
    _, counts = np.unique(np.concatenate(keys), return_counts=True)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    unseen = once * (once - 1) / (2 * (twice + 1))
    blocks = round(len(counts) + unseen)
    return MapEstimate(voxel_size, blocks, blocks * BLOCK_BYTES / 2**20)


def _block_keys(frame: Frame, voxel_size: float) -> NDArray[np.int64]:
    """Distinct blocks (N,) within a truncation of four voxels of a frame's surfaces, three times 21 bits of coordinates."""
    points = grid_points(frame, 4)
    points = points[points[:, 2] < TSDFConfig().max_depth]
    reach = 4 * voxel_size / np.maximum(points[:, 2:], 1e-6)
    world = transform_points(frame.T_world_camera, np.concatenate([points * (1 + k * reach) for k in (-1, 0, 1)]))
    coords = np.floor(world / (BLOCK_VOXELS * voxel_size)).astype(np.int64) + (1 << 20)
    return np.unique(coords[:, 0] << 42 | coords[:, 1] << 21 | coords[:, 2])


def _camera_line(camera: Intrinsics, count: int) -> str:
    fov = np.rad2deg(2 * np.arctan(0.5 * camera.width / camera.fx))
    return (
        f"camera: {camera.width}x{camera.height}, fx {camera.fx:.2f} fy {camera.fy:.2f} cx {camera.cx:.2f} "
        f"cy {camera.cy:.2f} ({fov:.0f} degrees wide), {count} of the sampled frames"
    )
