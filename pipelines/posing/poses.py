"""A video or a folder of images to a canonical posed folder in metres; all of it or nothing appears."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics, undistort
from mapping.files import make_folder, move, remove_abandoned, remove_folder, write_text_atomic
from mapping.reading.files import read_bytes
from pipelines.frame import SequenceError
from pipelines.images import write_png
from pipelines.posing.joining import JoinedPart
from pipelines.posing.picking import look_at_recording, pick
from pipelines.posing.reconstruction import (
    CameraDepth,
    Reconstruction,
    focal_from_exif,
    import_pycolmap,
    reconstruct,
)
from pipelines.posing.recording import PlainRecording, open_plain
from pipelines.posing.scale import ScaleEstimate, estimate_scale
from pipelines.sequences.conventions import Convention
from pipelines.sequences.ingest import ingest
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence
from pipelines.sequences.text import read_json
from pipelines.settings import FramesConfig, PosingConfig
from pipelines.workspace import digest, folder_fingerprint

VERSION = 2
"""Counts changes of the code that change the result, so that older results are not taken for it."""
LEAST_REGISTERED = 5
FEW_SHARE = 0.5
NOT_REGISTERED = "not registered by structure from motion"
SHOWN_NAMES = 12
HEADER = "transforms.json"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class PosesReport:
    """What is in a posed folder: frames picked and posed, the names of those without a pose, what became of the models besides
    the largest one, the relative deviation of the metres per unit, and whether it was there already."""

    picked: int
    posed: int
    unregistered: tuple[str, ...]
    parts: tuple[JoinedPart, ...]
    scale_deviation: float
    up_to_date: bool


def pose_recording(
    path: Path,
    out: Path,
    config: PosingConfig,
    *,
    command: str,
    replace: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> PosesReport:
    """Write the posed frames of a video or a folder of images to `out`, or nothing where it has them already.

    Parameters
    ----------
    path : a video file or a folder of images.
    out : the canonical folder, which appears when it is complete. Its world is that of structure from motion, with unknown up.
    config : how many frames, of which size.
    command : what the user typed, to be shown where pycolmap is missing.
    replace : whether another result in `out` is replaced.
    progress : called with (what, done, total).

    Pictures, features and matches are kept next to `out` until it is complete, so that a stopped call is resumed.
    Raises SequenceError when the recording cannot be read, hardly anything is registered, the scale cannot be estimated, or
    `out` has something else; MissingExtraError without pycolmap.
    """
    key = digest(VERSION, str(path.resolve()), folder_fingerprint(path), config.max_frames, config.image_size)
    work = _work_folder_of(out)
    if found := _finished(out, key):
        remove_folder(work)
        return found
    if out.exists() and not replace and (not out.is_dir() or any(out.iterdir())):
        raise SequenceError(f"{out}: exists and is not the result of these images; remove it or choose another folder")
    import_pycolmap(command)
    recording = open_plain(path)
    make_folder(out.parent)
    _prepare_work(work, key)
    picked, reasons = _picked(recording, config, work, progress)
    camera_images = _write_pictures(recording, picked, config, work, progress)
    depth_of = _depth_predictor(camera_images)
    found_model = reconstruct(
        camera_images,
        [_name(position) for position in picked],
        work,
        focal=_first_focal(recording, picked, config),
        depth_of=depth_of,
        command=command,
        progress=progress,
    )
    _check_registered(path, found_model, len(picked))
    scale = _scale(path, found_model, depth_of, progress)
    report = _write(recording, (picked, reasons), found_model, scale, (out, work, key), progress)
    remove_folder(work)
    return report


def _finished(out: Path, key: str) -> PosesReport | None:
    """What is in `out` when it is the result with this key."""
    try:
        header = read_json(out / HEADER)["posing"]
        if header["key"] != key:
            return None
        names = tuple(header["unregistered"])
        others = tuple(JoinedPart(int(part["images"]), str(part["reason"])) for part in header["parts"])
        posed, deviation = int(header["posed"]), float(header["scale_deviation"])
    except (ValueError, KeyError, TypeError):
        return None
    return PosesReport(posed + len(names), posed, names, others, deviation, up_to_date=True)


def _work_folder_of(out: Path) -> Path:
    """The folder for what a stopped call needs to be resumed."""
    return out.parent / f".{out.name}.work"


def _prepare_work(work: Path, key: str) -> None:
    """Make the folder for what a stopped call needs; that of other images or settings is removed."""
    marker = work / "key"
    if work.exists() and not (marker.is_file() and read_bytes(marker, SequenceError) == key.encode()):
        remove_folder(work)
    make_folder(work)
    remove_abandoned(work, below=True)
    write_text_atomic(marker, key)


def _picked(
    recording: PlainRecording, config: PosingConfig, work: Path, progress: Progress
) -> tuple[list[int], dict[int, str]]:
    """Positions of the frames picked, and the reasons of the candidates that are not; from a file where a call was stopped."""
    path = work / "picked.json"
    if path.is_file():
        try:
            data = read_json(path)
            return [int(position) for position in data["picked"]], {int(k): str(v) for k, v in data["reasons"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SequenceError(
                f"{path}: is not what an earlier call wrote ({error}); remove the folder {work}"
            ) from error
    looks, broken = look_at_recording(recording, lambda done, total: progress("frames", done, total))
    picked, reasons = pick(looks, config.max_frames)
    if len(picked) < LEAST_REGISTERED:
        raise SequenceError(
            f"{recording.path}: the picture moves too little or the images are too few: {len(picked)} frames to choose from, "
            f"at least {LEAST_REGISTERED} are needed"
        )
    reasons |= broken | recording.problems
    write_text_atomic(path, json.dumps({"picked": picked, "reasons": reasons}))
    return picked, reasons


def _write_pictures(
    recording: PlainRecording, picked: list[int], config: PosingConfig, work: Path, progress: Progress
) -> Path:
    """The picked frames in `work`/images, grown no larger than `config.image_size`; returns that folder."""
    folder = work / "images"
    make_folder(folder)
    width, height = _reduced_size(recording.size, config)
    for done, position in enumerate(picked, 1):
        target = folder / _name(position)
        if not target.exists():
            rgb = recording.read(position)
            if (rgb.shape[1], rgb.shape[0]) != (width, height):
                rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
            write_png(target, rgb)
        progress("pictures", done, len(picked))
    return folder


def _reduced_size(size: tuple[int, int], config: PosingConfig) -> tuple[int, int]:
    share = min(1.0, config.image_size / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def _name(position: int) -> str:
    return f"{position:06d}.png"


def _first_focal(recording: PlainRecording, picked: list[int], config: PosingConfig) -> float | None:
    """The focal length in pixels of the reduced pictures from the first picked image's EXIF data, where it has any."""
    source = recording.sources[picked[0]]
    focal = focal_from_exif(source) if isinstance(source, Path) else None
    if focal is None:
        return None
    return focal * max(_reduced_size(recording.size, config)) / max(recording.size)


def _check_registered(path: Path, found: Reconstruction, picked: int) -> None:
    if len(found.poses) < LEAST_REGISTERED:
        raise SequenceError(
            f"{path}: structure from motion poses only {len(found.poses)} of {picked} frames, at least {LEAST_REGISTERED} are "
            "needed: the camera must move sideways, slowly, past surfaces with texture"
        )


def _depth_predictor(images: Path) -> CameraDepth:
    """The shipped network's depth (H, W) in metres of a single image by its name, without the lens of the camera."""
    from m2h.infer import InferenceConfig, Predictor
    from m2h.weights import DEFAULT_NAME
    from pipelines.images import read_rgb

    @cache
    def predictor() -> Predictor:
        return Predictor.from_checkpoint(DEFAULT_NAME, InferenceConfig(tasks=("depth",)))

    def predict(name: str, camera: Intrinsics) -> NDArray[np.float32]:
        pixels = np.asarray(undistort(read_rgb(images / name), camera))
        return predictor().depth_alone(pixels, camera.undistorted())

    return predict


def _scale(path: Path, found: Reconstruction, depth_of: CameraDepth, progress: Progress) -> ScaleEstimate:
    """Metres per unit by the shipped network's depth of single images; raises SequenceError where it cannot be estimated."""
    names = sorted(found.views)
    asked = 0

    def predict(i: int) -> NDArray[np.float32]:
        nonlocal asked
        asked += 1
        progress("scale", min(asked, len(names) - 1), len(names))
        return depth_of(names[i], found.camera)

    scale = estimate_scale([found.views[name] for name in names], predict)
    progress("scale", len(names), len(names))
    if scale is None:
        raise SequenceError(f"{path}: the scale cannot be estimated: too few frames with enough reliable sparse points")
    return scale


def _write(
    recording: PlainRecording,
    chosen: tuple[list[int], dict[int, str]],
    found: Reconstruction,
    scale: ScaleEstimate,
    places: tuple[Path, Path, str],
    progress: Progress,
) -> PosesReport:
    """The canonical folder by way of the readers, so that images are undistorted as any others and frames.csv lists all."""
    picked, reasons = chosen
    out, work, key = places
    camera = found.camera.resized(*recording.size)
    records = []
    for position, source in enumerate(recording.sources):
        matrix = found.poses.get(_name(position))
        if matrix is not None:
            matrix = matrix.copy()
            matrix[:3, 3] *= scale.scale
        reason = "" if matrix is not None else reasons.get(position, "")
        if matrix is None and not reason:
            reason = NOT_REGISTERED if position in set(picked) else "not looked at: close to the next candidate"
        records.append(FrameRecord(source, float(recording.times[position]), matrix, camera, problem=reason))
    # Opened from the hidden folder, so that no m2h.yaml next to the images changes what was found.
    sequence = RecordedSequence(work, recording.kind, records, Details(Convention()))
    lost = tuple(recording.shown(info.index) for info in sequence.infos if info.reason == NOT_REGISTERED)
    report = PosesReport(len(picked), len(found.poses), lost, found.parts, round(scale.deviation, 4), up_to_date=False)
    sequence.name, sequence.notes = recording.name, tuple(notes_of(report))
    partial = work / "posed"
    ingest(
        sequence,
        partial,
        frames=FramesConfig(max_broken=0),
        image_format="jpg",
        overwrite=True,
        progress=lambda done, total: progress("posed frames", done, total),
        extra=_header(report, scale, key),
    )
    remove_folder(out)
    move(partial, out)
    return report


def _header(report: PosesReport, scale: ScaleEstimate, key: str) -> dict[str, Any]:
    """What transforms.json says of the origin of its poses."""
    return {
        "scale_source": "network",
        "scale_spread": round(scale.spread, 4),
        "posing": {
            "key": key,
            "posed": report.posed,
            "unregistered": list(report.unregistered),
            "parts": [asdict(part) for part in report.parts],
            "units_per_metre": round(1 / scale.scale, 6),
            "scale_deviation": report.scale_deviation,
        },
    }


def notes_of(report: PosesReport) -> list[str]:
    """What a user should know of posed frames."""
    notes = [f"scale estimated from the network's depth, ± {report.scale_deviation:.0%} (two standard deviations)"]
    if report.unregistered:
        shown = ", ".join(report.unregistered[:SHOWN_NAMES]) + (
            ", ..." if len(report.unregistered) > SHOWN_NAMES else ""
        )
        notes.append(
            f"{len(report.unregistered)} of {report.picked} picked frames have no pose and are not mapped: {shown}"
        )
    if joined := [part.images for part in report.parts if not part.reason]:
        notes.append(
            f"parts that did not connect were joined to the largest one by what both show (frames: {_listed(joined)})"
        )
    if apart := [part for part in report.parts if part.reason]:
        shown = "; ".join(f"{part.images} frames: {part.reason}" for part in apart)
        notes.append(
            f"parts of the recording that cannot be proved to connect to the largest one were left out ({shown})"
        )
    return notes


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(sizes, reverse=True)))
