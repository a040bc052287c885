"""The contents of a sequence, and whether its conventions are right: all checks before fusion."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.files import write_text_atomic
from mapping.se3 import transform_points
from mapping.tsdf.tsdf_config import TSDFConfig
from pipelines.checks.advice import entries_that_fit
from pipelines.checks.conventions import grid_points
from pipelines.checks.sampler import FrameSampler
from pipelines.checks.sequence_check import DepthAlone, SequenceCheck, check_sequence
from pipelines.frame import Frame, FrameSequence, SequenceError, depth_notes
from pipelines.sequences.conventions import OVERRIDE_FILE, read_overrides
from pipelines.sequences.evidence import WorldEvidence, evidence_of
from pipelines.sequences.recorded import RecordedSequence

Array = NDArray[np.float64]
SAMPLES = 40
"""Number of frames that are decoded for statistics."""
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
    frame_rate is images per second (the median step); check is what the frames say of conventions, times and the focal length.
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
    is_metric: bool
    evidence: WorldEvidence
    depth: DepthStatistics | None
    blurred: float
    check: SequenceCheck
    estimate: MapEstimate | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        data = asdict(self)
        data["cameras"] = [{**asdict(camera), "frames": count} for camera, count in self.cameras]
        data["broken"] = {str(index): reason for index, reason in self.broken.items()}
        data["check"] = self.check.to_json()
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
            *self._unit_lines(),
            self._up_line(),
            *self._picture_lines(),
            f"read as: {self.check.conventions.assumed.describe()}",
            *self.check.lines(),
            *([f"`--fix` writes what fits to {OVERRIDE_FILE}"] if fix_entries(self) else []),
            *(f"note: {note}" for note in self.notes),
        ]

    def _up_line(self) -> str:
        if self.world_up is None:
            return "up: not known"
        source = self.evidence.up_source
        found = f" (found by an earlier map from {source})" if source else ""
        return f"up: {' '.join(f'{x:g}' for x in self.world_up)}{found}"

    def _unit_lines(self) -> list[str]:
        """Nothing where poses are read as metres without depth: the check tells how far that is proved."""
        if not self.is_metric:
            return ["unit of the poses: not known"]
        if self.evidence.scale_source:
            return [f"unit of the poses: metre, {self.evidence.scale_note() or 'as a user gave it'}"]
        return ["unit of the poses: metre"] if self.depth is not None else []

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


def inspect_sequence(
    sequence: FrameSequence, *, voxel_size: float = 0.04, depth_alone: DepthAlone | None = None
) -> Inspection:
    """Examine a sequence and test the usual conventions, the poses' times, the focal length and the unit on its own frames.

    `voxel_size` in metres is for the estimate of memory, `depth_alone` is a network's depth of single images. Frames that cannot
    be decoded are listed; raises SequenceError when none can be.
    """
    used = [i for i, info in enumerate(sequence.infos) if info.used]
    sampler = FrameSampler(sequence, used)
    frames = sampler.frames(SAMPLES)
    if not frames:
        raise SequenceError(
            f"{sequence.path}: none of {len(sampler.broken)} sampled frames can be read: {sampler.first_reason()}"
        )
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
        broken=sampler.broken,
        cameras=tuple(Counter(frame.intrinsics for frame in frames).items()),
        duration=float(np.ptp(times)),
        frame_rate=float(1 / np.median(np.diff(times))) if len(times) > 1 and np.ptp(times) > 0 else None,
        gaps=_gaps(used, times),
        jumps=_jumps(used, steps),
        trajectory_length=float(steps.sum()),
        world_up=sequence.world_up,
        is_metric=sequence.is_metric,
        evidence=evidence_of(sequence),
        depth=_depth_statistics(frames),
        blurred=_blurred_share(frames),
        check=check_sequence(sequence, sampler, metric=sequence.is_metric, depth_alone=depth_alone),
        estimate=_estimate(frames, len(used), voxel_size),
        notes=(sequence.notes if isinstance(sequence, RecordedSequence) else ()) + depth_notes(sequence.infos),
    )


def fix_entries(inspection: Inspection) -> dict[str, Any]:
    """The entries of `m2h.yaml` with which the sequence is read as it fits best; empty where nothing is to be corrected."""
    check = inspection.check
    entries = entries_that_fit(check)
    focal, cameras = check.focal_length, [camera for camera, _ in inspection.cameras]
    # One focal length stands for those of all frames where these hardly differ.
    if focal is not None and focal.is_wrong and all(camera.is_like(cameras[0]) for camera in cameras):
        entries["focal_length"] = round(focal.found, 1)
        if focal.k1:
            entries["k1"] = round(focal.k1, 4)
    return entries


def write_fix(sequence: FrameSequence, inspection: Inspection) -> Path | None:
    """Write what fits best into `m2h.yaml` in the sequence's folder; None when nothing is to be corrected.

    Other entries of an existing file are kept. Raises SequenceError when the folder cannot be written.
    """
    entries = fix_entries(inspection)
    if not entries:
        return None
    folder = sequence.path if sequence.path.is_dir() else sequence.path.parent
    path = folder / OVERRIDE_FILE
    if _has_lens(sequence):
        entries.pop("k1", None)
    there = {key: value for key, value in asdict(read_overrides(folder)).items() if value is not None}
    if "time_offset" in entries:
        entries["time_offset"] += there.get("time_offset", 0.0)
    merged = {key: list(value) if isinstance(value, tuple) else value for key, value in (there | entries).items()}
    try:
        write_text_atomic(path, yaml.safe_dump(merged, sort_keys=False))
    except OSError as error:
        raise SequenceError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


def _has_lens(sequence: FrameSequence) -> bool:
    """Whether the images of a sequence are distorted by what its files or its m2h.yaml say already."""
    if not isinstance(sequence, RecordedSequence):
        return False
    return any(sequence.files(i).intrinsics.is_distorted for i in range(len(sequence)))


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


def _estimate(frames: list[Frame], used: int, voxel_size: float) -> MapEstimate | None:
    """Blocks seen by the sampled frames, plus those that the rest of the used ones will see.

    Chao's estimate (1984) of the unseen from the numbers seen once and twice, f1^2 / 2 f2, as far as that many more frames
    reach (Colwell et al., 2012, equation 9).
    """
    keys = [_block_keys(frame, voxel_size) for frame in frames if frame.recorded.depth is not None]
    if not keys:
        return None
    _, counts = np.unique(np.concatenate(keys), return_counts=True)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    unseen = once * (once - 1) / (2 * (twice + 1))
    reached = 1 - (1 - once / max(len(keys) * unseen, once, 1)) ** max(used - len(keys), 0)
    blocks = round(len(counts) + unseen * reached)
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
