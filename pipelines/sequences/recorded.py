"""A sequence on disk: one record per image, pixels decoded when a frame is requested.

A format's module lists records and their conventions; everything shared by formats happens here: poses are converted, images
are undistorted, intrinsics follow the image's real size, depth and labels are resampled to the image's pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.camera import Intrinsics
from mapping.text import table_html
from pipelines import images
from pipelines.frame import Frame, FrameInfo, SequenceError
from pipelines.sequences.conventions import (
    OVERRIDE_FILE,
    Convention,
    Overrides,
    read_overrides,
    rigid_pose,
    unit_vector,
)
from pipelines.sequences.corrections import corrected_camera, with_pose_times_moved
from pipelines.sequences.evidence import WorldEvidence
from pipelines.sequences.found_masks import mask_notes, masks_of, places_of_masks, with_found_masks
from pipelines.sequences.plausible import check_depth_scale, without_far_poses
from pipelines.sequences.resampling import checked, fitted, layer, like_image, ray_lengths, resampled
from pipelines.sequences.times import LATEST_TIME
from pipelines.sequences.unread import check_unread_files, unread_depth_notes
from pipelines.sequences.video import VideoFrame
from pipelines.turning import like_shown, turned_array
from scenegraph.labels import LabelSpace

Array = NDArray[np.float64]
MOST_REPEATED = 0.5
"""Share of the usable images that may have the time stamp of another one, as both images of a pair of cameras have."""


@dataclass(frozen=True, eq=False)
class FrameRecord:
    """One image that was found or listed, and its files.

    matrix is the (4, 4) pose as stored; None and `problem` when there is none. intrinsics belong to the image and hold for any
    resampled copy of it. depth_intrinsics is set when the depth camera has its own, at the same place as the colour camera;
    else depth covers the same view as the image. depth_confidence is an image of the depth camera that is 0 where depth is not
    to be trusted. mask is an image of the same view that is black where nothing of the frame may be used. turns are the quarter
    turns counter-clockwise by which the stored image is turned when it is read; all else is of the turned image. A `problem` is
    the reason why the frame is unusable.
    """

    image: Path | VideoFrame
    timestamp: float
    matrix: Array | None
    intrinsics: Intrinsics
    depth: Path | None = None
    depth_intrinsics: Intrinsics | None = None
    depth_confidence: Path | None = None
    mask: Path | None = None
    labels: Path | None = None
    instances: Path | None = None
    normals: Path | None = None
    edges: Path | None = None
    turns: int = 0
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Details:
    """Properties of all frames of a format.

    is_metric is False where nothing says that poses are in metres; evidence says what metres and up follow from where no
    recording states them.
    label_map turns stored labels into ids of `label_space`;
    notes inform the user (assumed times, no metric scale).
    reads_camera_file says that the format reads `camera.yaml`, which has no effect in the others. root is the folder of the
    format's own files where they are not in the sequence's.
    """

    convention: Convention = field(default_factory=Convention)
    world_up: tuple[float, float, float] | None = None
    is_metric: bool = True
    evidence: WorldEvidence = field(default_factory=WorldEvidence)
    label_space: LabelSpace | None = None
    label_map: NDArray[Any] | None = None
    notes: tuple[str, ...] = ()
    reads_camera_file: bool = False
    root: Path | None = None


class RecordedSequence:
    """A FrameSequence over records; `convention` is that of its files and `notes` inform the user.

    `folder` may contain an `m2h.yaml` that overrides the format's convention, and masks of the images in `masks/` or `mask/`,
    which may also lie between it and the images.
    Records are ordered by time; of equal times the first is used.
    Raises SequenceError when there is no image, and, with the counted reasons, when none is usable.
    """

    def __init__(self, folder: Path, format: str, records: Sequence[FrameRecord], details: Details) -> None:
        check_unread_files(folder, format, details.root or folder, reads_camera_file=details.reads_camera_file)
        overrides = read_overrides(folder)
        for entry in ("depth_scale", "depth_kind") if not any(record.depth for record in records) else ():
            if getattr(overrides, entry) not in (None, getattr(details.convention, entry)):
                raise SequenceError(f"{folder / OVERRIDE_FILE}: {entry} has no effect: the sequence has no depth")
        self.name, self.path, self.format = folder.resolve().name, folder, format
        self.convention = overrides.applied_to(details.convention)
        if any(record.depth for record in records):
            check_depth_scale(self.convention.depth_scale, str(folder))
        up = overrides.world_up or details.world_up
        self.world_up = None if up is None else self.convention.world_vector(unit_vector(up))
        self.is_metric = details.is_metric
        self.evidence = replace(details.evidence, up_source="") if overrides.world_up else details.evidence
        self._details, self.label_space = details, details.label_space
        places = places_of_masks([record.image for record in records], folder, details.root or folder)
        masked = _with_found_masks(records, places)
        self._records = tuple(sorted(masked, key=lambda record: record.timestamp))
        self.notes = (*details.notes, *mask_notes([record.mask for record in masked], places, _files_of(masked)))
        if not any("depth is not read" in note for note in details.notes):
            self.notes += unread_depth_notes(folder, format, details.root or folder, _files_of(masked))
        self._sizes = _stored_sizes(self._records)
        self._first_sizes: dict[tuple[int, int], tuple[int, int]] = {}
        for record, size in zip(self._records, self._sizes, strict=True):
            self._first_sizes.setdefault(_size_of(record.intrinsics), size)
        self._records = tuple(self._with_corrected_camera(record, overrides) for record in self._records)
        infos = _one_a_time([self._info(i, record) for i, record in enumerate(self._records)], folder)
        self.infos = with_pose_times_moved(without_far_poses(infos), overrides.time_offset)
        self._check_usable()

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Frame:
        """The i-th frame, decoded now; raises SequenceError naming the file when it is unused or unreadable."""
        index = range(len(self._records))[index]
        record, info = self._records[index], self.infos[index]
        if not info.used or info.T_world_camera is None:
            raise SequenceError(f"{self.path / info.image}: frame {index} is not used: {info.reason}")
        rgb = record.image.read_rgb() if isinstance(record.image, VideoFrame) else images.read_rgb(record.image)
        rgb = turned_array(rgb, record.turns)
        lens = fitted(record.intrinsics, (rgb.shape[1], rgb.shape[0]), info.image)
        pinhole = lens.undistorted()
        recorded = Predictions(
            depth=self._depth(record, lens),
            labels=self._labels(record, lens),
            instances=None if record.instances is None else self._instances(record.instances, lens),
            normals=None if record.normals is None else layer(record.normals, images.read_normals, lens),
            edges=None if record.edges is None else layer(record.edges, images.read_edges, lens, blend=True),
        )
        rgb = np.asarray(like_image(rgb, lens, blend=True), dtype=np.uint8)
        mask = _mask(record, lens)
        frame = Frame(index, info.timestamp, rgb, pinhole, info.T_world_camera, recorded)
        return frame if mask is None else frame.masked(mask)

    def _repr_html_(self) -> str:
        """Format, frames, camera and notes as a table for notebooks."""
        used = [info for info in self.infos if info.used]
        seconds, camera = used[-1].timestamp - used[0].timestamp, used[0].intrinsics
        rows = [
            ("format", self.format),
            ("frames", f"{len(used)} of {len(self.infos)} usable, {sum(info.has_depth for info in used)} with depth"),
            ("duration", f"{seconds:.1f} s"),
            ("camera", f"{camera.width}x{camera.height}, fx {camera.fx:.1f}, fy {camera.fy:.1f}"),
            ("poses", f"in metres {self.evidence.scale_note()}".strip() if self.is_metric else "in an unknown unit"),
            ("labels", self.label_space.name if self.label_space else "none"),
        ]
        return table_html(self.name, ("", ""), rows, "; ".join(self.notes))

    def files(self, index: int) -> FrameRecord:
        """The record of the i-th frame."""
        return self._records[index]

    def _with_corrected_camera(self, record: FrameRecord, overrides: Overrides) -> FrameRecord:
        """The record with corrections, which are in pixels of the first image of its camera."""
        camera = record.intrinsics
        corrected = corrected_camera(camera, self._first_sizes[_size_of(camera)][0], overrides, str(self.path))
        return record if corrected == camera else replace(record, intrinsics=corrected)

    def _info(self, index: int, record: FrameRecord) -> FrameInfo:
        if not abs(record.timestamp) < LATEST_TIME:
            shown = self._shown(record.image)
            raise SequenceError(f"{self.path}: {shown}: {record.timestamp:g} is not a time stamp in seconds")
        T, reason = rigid_pose(record.matrix)
        reason = record.problem or reason
        pose = None if T is None else self.convention.T_world_camera(T)
        shown, has_depth = self._shown(record.image), record.depth is not None
        camera = fitted(record.intrinsics, self._sizes[index], shown).undistorted()
        return FrameInfo(
            index, record.timestamp, shown, not reason, reason, pose, camera, has_depth, _bytes_of(record.image)
        )

    def _shown(self, image: Path | VideoFrame) -> str:
        path = image.path if isinstance(image, VideoFrame) else image
        shown = path.relative_to(self.path).as_posix() if path.is_relative_to(self.path) else str(path)
        return f"{shown}#{image.number}" if isinstance(image, VideoFrame) else shown

    def _check_usable(self) -> None:
        if not self.infos:
            raise SequenceError(f"{self.path}: no image found in this {self.format} sequence")
        if not any(info.used for info in self.infos):
            reasons = Counter(info.reason.partition("(")[0].strip() for info in self.infos)
            examples = {info.reason.partition("(")[0].strip(): _example(info) for info in reversed(self.infos)}
            summary = ", ".join(f"{count} {examples[reason]}" for reason, count in reasons.most_common(3))
            raise SequenceError(f"{self.path}: none of {len(self.infos)} frames are usable: {summary}")

    def _depth(self, record: FrameRecord, lens: Intrinsics) -> NDArray[np.float32] | None:
        if record.depth is None:
            return None
        depth = images.read_depth(record.depth, self.convention.depth_scale)
        if record.depth_confidence is not None:
            confidence = images.read_labels(record.depth_confidence)
            if confidence.shape != depth.shape:
                raise SequenceError(f"{record.depth_confidence}: is {confidence.shape}, but its depth is {depth.shape}")
            depth[confidence == 0] = 0
        size = (depth.shape[1], depth.shape[0])
        if self.convention.depth_kind == "ray":
            depth = depth / ray_lengths((record.depth_intrinsics or lens).resized(*size))
        if record.depth_intrinsics is not None:
            source = fitted(record.depth_intrinsics, size, str(record.depth))
            if source != lens.undistorted():
                return np.asarray(resampled(depth, lens.undistorted(), source), dtype=np.float32)
            return depth
        return np.asarray(like_image(checked(depth, lens, record.depth), lens), dtype=np.float32)

    def _labels(self, record: FrameRecord, lens: Intrinsics) -> NDArray[Any] | None:
        if record.labels is None:
            return None
        labels = layer(record.labels, images.read_labels, lens)
        table = self._details.label_map
        return labels if table is None else table[np.minimum(labels, len(table) - 1)]

    def _instances(self, path: Path, lens: Intrinsics) -> NDArray[np.uint16]:
        return np.asarray(layer(path, images.read_labels, lens), dtype=np.uint16)


def _mask(record: FrameRecord, lens: Intrinsics) -> NDArray[np.bool_] | None:
    """(H, W) where the image may be used, None for everywhere: not where its mask is black, nor where it is transparent."""
    size = (lens.width, lens.height)
    used = None
    if record.mask is not None:
        stored = like_shown(images.read_mask(record.mask), record.turns, size)
        used = like_image(checked(stored, lens, record.mask), lens) > 0
    opacity = None if isinstance(record.image, VideoFrame) else images.read_opacity(record.image)
    if opacity is None:
        return used
    opaque = np.asarray(like_image(turned_array(opacity, record.turns), lens) > 0)
    return opaque if used is None else used & opaque


def with_masks(records: Sequence[FrameRecord], folder: Path) -> list[FrameRecord]:
    """The records, those without a mask with theirs in a folder; raises SequenceError when the names do not show which belongs
    to which image."""
    masks = masks_of([record.image for record in records], [record.mask for record in records], folder)
    return [replace(record, mask=mask) for record, mask in zip(records, masks, strict=True)]


def _with_found_masks(records: Sequence[FrameRecord], places: Sequence[Path]) -> list[FrameRecord]:
    """The records, with masks of the sequence's folders where they have none of their own."""
    used = _files_of([replace(record, mask=None) for record in records])
    masks = with_found_masks([record.image for record in records], [record.mask for record in records], places, used)
    return [replace(record, mask=mask) for record, mask in zip(records, masks, strict=True)]


def _files_of(records: Sequence[FrameRecord]) -> list[Path]:
    """The files of all layers."""
    return [value for record in records for value in vars(record).values() if isinstance(value, Path)]


def _stored_sizes(records: Sequence[FrameRecord]) -> tuple[tuple[int, int], ...]:
    """(width, height) of each image on disk, which may be a resampled copy of what its camera describes.

    An image that cannot be read, or has another shape than its camera, has the size of the first one of its camera that can, else
    the camera's own: reading the frame then says what is wrong.
    """
    by_camera: dict[tuple[int, int], tuple[int, int]] = {}
    found = [None if record.problem else _stored_size(record) for record in records]
    for record, size in zip(records, found, strict=True):
        if size is not None:
            by_camera.setdefault(_size_of(record.intrinsics), size)
    cameras = [_size_of(record.intrinsics) for record in records]
    return tuple(size or by_camera.get(camera, camera) for size, camera in zip(found, cameras, strict=True))


def _stored_size(record: FrameRecord) -> tuple[int, int] | None:
    """(width, height) of an image on disk by its header, None where it is unreadable or of another shape than its camera."""
    try:
        image = record.image
        stored = image.video.size() if isinstance(image, VideoFrame) else images.image_size(image)
        stored = stored if record.turns % 2 == 0 else stored[::-1]
        return _size_of(fitted(record.intrinsics, stored, str(image)))
    except SequenceError:
        return None


def _size_of(intrinsics: Intrinsics) -> tuple[int, int]:
    return intrinsics.width, intrinsics.height


def _bytes_of(image: Path | VideoFrame) -> int:
    return image.stat().st_size if isinstance(image, Path) and image.is_file() else 0


def _example(info: FrameInfo) -> str:
    """The reason why a frame is unusable, with the path of an image that is missing."""
    return f"{info.reason} ({info.image})" if info.reason == "image file is missing" else info.reason


def _one_a_time(infos: list[FrameInfo], folder: Path) -> tuple[FrameInfo, ...]:
    """The frames; of usable ones with the same time stamp only the first stays usable.

    Raises SequenceError when that would drop more than half of them: then the stamps were rounded.
    """
    checked: list[FrameInfo] = []
    latest, repeated = -np.inf, 0
    for info in infos:
        if info.used and info.timestamp <= latest:
            info = replace(info, used=False, reason="time stamp of another frame")
            repeated += 1
        elif info.used:
            latest = info.timestamp
        checked.append(info)
    usable = sum(info.used for info in infos)
    if repeated > MOST_REPEATED * usable:
        raise SequenceError(
            f"{folder}: {repeated} of {usable} images repeat the time stamp of another one ({latest:.12g} s): "
            "stamps were rounded; write them with more digits"
        )
    return tuple(checked)


def depth_size(path: Path) -> tuple[int, int]:
    """(width, height) of a depth image of any kind; raises SequenceError naming it when it cannot be read."""
    if path.suffix.lower() in images.IMAGE_SUFFIXES:
        return images.image_size(path)
    height, width = images.read_depth(path, 1.0).shape
    return width, height
