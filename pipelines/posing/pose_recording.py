"""A video or a folder of images to a canonical posed folder in metres; all of it or nothing appears."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.files import make_folder, move, remove_abandoned, remove_folder, write_text_atomic
from mapping.reading.files import read_bytes
from pipelines.frame import FrameSequence, SequenceError, poses_of
from pipelines.images import read_mask, write_png
from pipelines.posing.carried_height import camera_height
from pipelines.posing.level_surfaces import Predict, surface_heights
from pipelines.posing.picking import look_at_recording, pick
from pipelines.posing.plain_recording import PlainRecording, open_plain
from pipelines.posing.reconstruction import (
    Reconstruction,
    focal_from_exif,
    import_pycolmap,
    reconstruct,
)
from pipelines.posing.report import PosesReport, evidence_for, finished_report, header_of, notes_of, report_of
from pipelines.posing.scale_estimate import ScaleEstimate, estimate_scale
from pipelines.posing.single_images import SingleImages
from pipelines.reduced import reduced
from pipelines.sequences.conventions import Convention
from pipelines.sequences.ingest import ingest
from pipelines.sequences.masks import MASKS
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence
from pipelines.sequences.text import read_json
from pipelines.settings import FramesConfig, PosingConfig
from pipelines.spacing import LONGEST_SIDE
from pipelines.turning import like_shown, turned_pose
from pipelines.workspace import digest, folder_fingerprint
from scenegraph.labels import LabelSpace

VERSION = 4
"""Counts changes of the code that change the result, so that older results are not taken for it; also of how the shipped network
is asked and of how surfaces are levelled."""
PICTURES = "images"
"""The folder of the pictures from which poses are found, in that of a stopped call."""
LEAST_REGISTERED = 5
NOT_REGISTERED = "not registered by structure from motion"
Progress = Callable[[str, int, int], None]
LEAST_COMMON_UP = 0.2
"""Length of the mean of the images' up directions below which they have none in common."""
Views = Callable[[FrameSequence, tuple[float, float, float] | None], tuple[Predict, LabelSpace | None]]
"""Opens what predicts depth and labels of a posed sequence with about this up direction, by neighbouring frames."""


def pose_recording(
    path: Path,
    out: Path,
    config: PosingConfig,
    *,
    command: str,
    views: Views | None = None,
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
    views : what shows the surfaces whose heights are evidence of the unit; None to do without.
    replace : whether another result in `out` is replaced.
    progress : called with (what, done, total).

    Pictures, features and matches are kept next to `out` until it is complete, so that a stopped call is resumed.
    Raises SequenceError when the recording cannot be read, hardly anything is registered, the scale cannot be estimated, or
    `out` has something else; MissingExtraError without pycolmap.
    """
    key = _key_of(path, config, looks_at_surfaces=views is not None)
    work = _work_folder_of(out)
    if found := finished_report(out, key):
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
    names = [_name(position) for position in picked]
    single = SingleImages(camera_images, names)
    found_model = reconstruct(
        camera_images,
        names,
        work,
        focal=_first_focal(recording, picked, config),
        depth_of=single.depth,
        command=command,
        progress=progress,
    )
    _check_registered(path, found_model, len(picked))
    scale = _scale(path, found_model, single, progress)
    chosen = (picked, reasons)
    if views is not None:
        sequence = _sequence(recording, chosen, found_model, scale, work)
        scale = scale.with_surfaces(_surfaces(reduced(sequence, LONGEST_SIDE), views, single.turns, progress))
    sequence = _sequence(recording, chosen, found_model, scale, work)
    report = _write(recording, sequence, found_model, scale, (out, work, key), progress)
    remove_folder(work)
    return report


def _key_of(path: Path, config: PosingConfig, *, looks_at_surfaces: bool) -> str:
    """Changes where the result would."""
    settings = (config.max_frames, config.image_size, looks_at_surfaces)
    return digest(VERSION, str(path.resolve()), folder_fingerprint(path), *settings)


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
    """The picked frames in `work`/images, grown no larger than `config.image_size`, and their masks in `work`/masks; returns the
    first folder."""
    folder = work / PICTURES
    make_folder(folder)
    width, height = _reduced_size(recording.size, config)
    for done, position in enumerate(picked, 1):
        target = folder / _name(position)
        if not target.exists():
            rgb = recording.read(position)
            if (rgb.shape[1], rgb.shape[0]) != (width, height):
                rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
            write_png(target, rgb)
        if recording.masks:
            _write_mask(recording, position, work / MASKS / f"{_name(position)}.png", (width, height))
        progress("pictures", done, len(picked))
    return folder


def _write_mask(recording: PlainRecording, position: int, target: Path, size: tuple[int, int]) -> None:
    """The mask of a picture of (width, height), where COLMAP looks for it."""
    path = recording.masks[position]
    if path is not None and not target.exists():
        make_folder(target.parent)
        shown = like_shown(read_mask(path), recording.turns_of(position), recording.size)
        write_png(target, np.asarray(cv2.resize(shown, size, interpolation=cv2.INTER_NEAREST_EXACT)))


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


def _scale(path: Path, found: Reconstruction, single: SingleImages, progress: Progress) -> ScaleEstimate:
    """Metres per unit by the shipped network's depth of single images and the height of a carried camera above the floor that it
    shows; raises SequenceError where the depth does not determine it."""
    names = sorted(found.views)
    asked = 0

    def advance() -> None:
        nonlocal asked
        asked += 1
        progress("scale", min(asked, 2 * len(names) - 1), 2 * len(names))

    def depth_of(i: int) -> NDArray[np.float32]:
        advance()
        return single.depth(names[i], found.camera)

    def floor_of(i: int) -> NDArray[np.bool_]:
        advance()
        return single.floor(names[i], found.camera)

    views, poses = [found.views[name] for name in names], np.array([found.poses[name] for name in names])
    scale = estimate_scale(views, depth_of)
    if scale is None:
        raise SequenceError(f"{path}: the scale cannot be estimated: too few frames with enough reliable sparse points")
    above = camera_height([found.camera.undistorted()] * len(names), poses, views, floor_of)
    progress("scale", 2 * len(names), 2 * len(names))
    return scale if above is None else scale.with_height(above.height)


def _surfaces(sequence: FrameSequence, views: Views, turns: int, progress: Progress) -> list[float]:
    """Heights in metres of level surfaces above the floor, of a sequence whose images stand upright after so many turns."""
    used = [position for position, info in enumerate(sequence.infos) if info.used]
    upright = np.array([turned_pose(T, turns) for T in poses_of(sequence)])
    up = -upright[used][:, :3, 1].mean(axis=0)
    known = np.linalg.norm(up) > LEAST_COMMON_UP
    predict, space = views(sequence, (float(up[0]), float(up[1]), float(up[2])) if known else None)
    return surface_heights(
        sequence,
        upright,
        predict,
        space,
        positions=used,
        progress=lambda done, count: progress("surfaces", done, count),
    )


def _sequence(
    recording: PlainRecording,
    chosen: tuple[list[int], dict[int, str]],
    found: Reconstruction,
    scale: ScaleEstimate,
    work: Path,
) -> RecordedSequence:
    """The recording with poses in metres, by way of the readers, so that images are undistorted as any others."""
    picked, reasons = chosen
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
        mask = recording.masks[position] if recording.masks else None
        time, turns = float(recording.times[position]), recording.turns_of(position)
        records.append(FrameRecord(source, time, matrix, camera, mask=mask, turns=turns, problem=reason))
    # Opened from the hidden folder, so that no m2h.yaml next to the images changes what was found, and no masks are sought.
    return RecordedSequence(work / PICTURES, recording.kind, records, Details(Convention()))


def _write(
    recording: PlainRecording,
    sequence: RecordedSequence,
    found: Reconstruction,
    scale: ScaleEstimate,
    places: tuple[Path, Path, str],
    progress: Progress,
) -> PosesReport:
    """The canonical folder, in which frames.csv lists all images."""
    out, work, key = places
    lost = tuple(recording.shown(info.index) for info in sequence.infos if info.reason == NOT_REGISTERED)
    report = report_of(found, lost, scale)
    sequence.name, sequence.notes = recording.name, (*notes_of(report), *sequence.notes)
    sequence.evidence = evidence_for(report, scale)
    partial = work / "posed"
    ingest(
        sequence,
        partial,
        frames=FramesConfig(max_broken=0),
        image_format="jpg",
        overwrite=True,
        progress=lambda done, total: progress("posed frames", done, total),
        extra=header_of(report, scale, key),
    )
    remove_folder(out)
    move(partial, out)
    return report
