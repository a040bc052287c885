"""COLMAP reconstructions, text and binary: world-to-camera quaternions (w first), OpenCV axes, pixel centres at +0.5.

The scale is arbitrary: COLMAP does not know metres. Of several models under `sparse/` the one with the most images is
used; every image of the folder that it did not register becomes an unused frame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.reading.files import read_bytes, read_lines
from pipelines.frame import SequenceError
from pipelines.images import IMAGE_SUFFIXES
from pipelines.sequences.cameras import Lens, camera_for_images
from pipelines.sequences.conventions import Convention, matrices_from_quaternions
from pipelines.sequences.masks import MASK_FOLDERS
from pipelines.sequences.pairing import name_order
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence
from pipelines.sequences.text import content_lines, natural_key, slashed

ASSUMED_RATE = 30.0
MOST_BINARY = 2 << 30
"""Bytes of a file of the model."""
MODEL_FOLDERS = ("sparse", "colmap/sparse", ".")
IMAGE_FOLDERS = ("images", "../images", "../../images", "../../../images")

CAMERA_MODELS: tuple[tuple[str, int], ...] = (
    ("SIMPLE_PINHOLE", 3),
    ("PINHOLE", 4),
    ("SIMPLE_RADIAL", 4),
    ("RADIAL", 5),
    ("OPENCV", 8),
    ("OPENCV_FISHEYE", 8),
    ("FULL_OPENCV", 12),
    ("FOV", 5),
    ("SIMPLE_RADIAL_FISHEYE", 4),
    ("RADIAL_FISHEYE", 5),
    ("THIN_PRISM_FISHEYE", 12),
)
"""COLMAP's models by number, with their counts of parameters."""
ONE_FOCAL_LENGTH = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
UNSUPPORTED = ("FOV", "THIN_PRISM_FISHEYE")


@dataclass(frozen=True)
class RegisteredImage:
    """One line of the model: name, camera id, translation and rotation world-to-camera, and the image's own number."""

    name: str
    camera: int
    translation: tuple[float, ...]
    quat_wxyz: tuple[float, ...]
    number: int = 0


def open_colmap(path: Path) -> RecordedSequence:
    """A COLMAP project (`sparse/0`, `images/`) or a model folder; raises SequenceError naming the file and the line."""
    folders = model_folders(path)
    if not folders:
        raise SequenceError(
            f"{path}: not a COLMAP model: expected cameras and images as .bin or .txt here or in sparse/0"
        )
    models = [(folder, read_registered(folder)) for folder in folders]
    folder, registered = largest_model(models)
    if not registered:
        raise SequenceError(f"{folder}: the model has no registered image")
    cameras = read_cameras(folder)
    if not cameras:
        raise SequenceError(f"{folder}: the model has no camera")
    images = _image_folder(path, folder, registered)
    found = sorted({image.name for image in registered} | _all_images(images))
    names = [found[i] for i in name_order([Path(name) for name in found])]
    quat_xyzw = np.roll([image.quat_wxyz for image in registered], -1, axis=1)
    matrices = matrices_from_quaternions([image.translation for image in registered], quat_xyzw, str(folder))
    known = {image.name: (image, matrix) for image, matrix in zip(registered, matrices, strict=True)}
    any_camera = next(iter(cameras.values()))
    records = [_record(images / name, i, known.get(name), (cameras, any_camera)) for i, name in enumerate(names)]
    notes = [
        "no metric scale: COLMAP's unit is arbitrary",
        f"no time stamps: {ASSUMED_RATE:g} images per second assumed",
    ]
    if len(models) > 1:
        notes.append(f"{len(models)} models found, using {folder.name} with {len(registered)} images")
    details = Details(Convention("world_to_camera"), is_metric=False, notes=tuple(notes), root=folder)
    return RecordedSequence(path, "colmap", records, details)


def largest_model(models: list[tuple[Path, list[RegisteredImage]]]) -> tuple[Path, list[RegisteredImage]]:
    """The model with the most images; of equal ones the first."""
    return max(models, key=lambda model: len(model[1]))


def model_folders(path: Path) -> list[Path]:
    """Folders of reconstructions of a project, in the order of their names."""
    found: list[Path] = []
    for name in MODEL_FOLDERS:
        base = path / name
        inner = sorted(base.iterdir(), key=lambda p: natural_key(p.name)) if base.is_dir() and name != "." else []
        found += [folder for folder in (base, *inner) if _model_suffix(folder)]
    return found


def read_cameras(folder: Path) -> dict[int, Intrinsics]:
    """Cameras by id; raises SequenceError naming the file and the camera."""
    suffix = _model_suffix(folder)
    path = folder / f"cameras{suffix}"
    entries = _cameras_binary(path) if suffix == ".bin" else _cameras_text(path)
    return {
        entry.number: _intrinsics(entry.model, entry.size, entry.values, f"{path}: camera {entry.number}")
        for entry in entries
    }


def read_registered(folder: Path) -> list[RegisteredImage]:
    """The registered images of a model; raises SequenceError naming the file and the line."""
    suffix = _model_suffix(folder)
    path = folder / f"images{suffix}"
    return list(_images_binary(path) if suffix == ".bin" else _images_text(path))


def _model_suffix(folder: Path) -> str:
    """`.bin` or `.txt` of the model in the folder, empty when there is none; binary wins."""
    for suffix in (".bin", ".txt"):
        if (folder / f"cameras{suffix}").is_file() and (folder / f"images{suffix}").is_file():
            return suffix
    return ""


def _record(
    path: Path,
    index: int,
    known: tuple[RegisteredImage, NDArray[np.float64]] | None,
    cameras: tuple[dict[int, Intrinsics], Intrinsics],
) -> FrameRecord:
    time = index / ASSUMED_RATE
    if known is None:
        return FrameRecord(path, time, None, cameras[1], problem="not registered by COLMAP")
    image, matrix = known
    if image.camera not in cameras[0]:
        raise SequenceError(f"{path}: COLMAP's camera {image.camera} is not in its cameras file")
    problem = "" if path.is_file() else "image file is missing"
    return FrameRecord(path, time, matrix, cameras[0][image.camera], problem=problem)


def _image_folder(path: Path, folder: Path, registered: list[RegisteredImage]) -> Path:
    """The folder of the images: the first candidate that has one of the registered ones."""
    candidates = [path / "images", *(folder / name for name in IMAGE_FOLDERS), path]
    for candidate in candidates:
        if any((candidate / image.name).is_file() for image in registered):
            return candidate
    return path / "images"


def _all_images(folder: Path) -> set[str]:
    files = folder.rglob("*") if folder.is_dir() else ()
    names = [file.relative_to(folder) for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    return {name.as_posix() for name in names if not any(part.lower() in MASK_FOLDERS for part in name.parts[:-1])}


def _intrinsics(model: str, size: tuple[int, int], values: tuple[float, ...], where: str) -> Intrinsics:
    counts = dict(CAMERA_MODELS)
    if model not in counts or model in UNSUPPORTED:
        supported = ", ".join(name for name in counts if name not in UNSUPPORTED)
        raise SequenceError(f"{where}: model {model} is not supported; supported are {supported}")
    if len(values) != counts[model]:
        raise SequenceError(f"{where}: model {model} has {counts[model]} parameters, found {len(values)}")
    if model in ONE_FOCAL_LENGTH:
        values = (values[0], *values)
    fx, fy = values[:2]
    cx, cy = values[2:4]
    coefficients = values[4:]
    padded = (*coefficients, *[0.0] * (4 - len(coefficients)))  # OpenCV takes at least four
    lens: Lens = (padded if any(padded) else (), "opencv")
    if "FISHEYE" in model:
        lens = (padded, "fisheye")
    return camera_for_images((fx, fy, cx - 0.5, cy - 0.5), size, where, lens=lens, states_size=True)


class CameraEntry(NamedTuple):
    """A camera as it is in the file: its number, the name of its model, (width, height) and the model's parameters."""

    number: int
    model: str
    size: tuple[int, int]
    values: tuple[float, ...]


def _cameras_text(path: Path) -> Iterator[CameraEntry]:
    for number, line in content_lines(path):
        fields = line.split()
        try:
            camera, width, height = int(fields[0]), int(fields[2]), int(fields[3])
            yield CameraEntry(camera, fields[1], (width, height), tuple(map(float, fields[4:])))
        except (ValueError, IndexError):
            raise SequenceError(f"{path} line {number}: expected `id MODEL width height parameters`") from None


def _images_text(path: Path) -> Iterator[RegisteredImage]:
    """Two lines per image, as COLMAP reads them: the line after an image's is that of its points, empty when it has none;
    empty lines and comments are skipped only where an image is expected."""
    lines = iter(enumerate(map(str.strip, read_lines(path, SequenceError)), 1))
    for number, line in lines:
        if not line or line.startswith("#"):
            continue
        fields = line.split(maxsplit=9)
        try:
            values = tuple(map(float, fields[1:8]))
            yield RegisteredImage(slashed(fields[9]), int(fields[8]), values[4:], values[:4], int(fields[0]))
            _check_points(next(lines, (number + 1, ""))[1])
        except _NoPoints:
            raise SequenceError(
                f"{path} line {number + 1}: expected the points of the image above as `x y id ...`; an image without points has "
                "an empty line"
            ) from None
        except (ValueError, IndexError):
            raise SequenceError(
                f"{path} line {number}: expected `id qw qx qy qz tx ty tz camera name`, found {line[:60]!r}"
            ) from None


class _NoPoints(Exception):
    """A line that should have points has something else."""


def _check_points(line: str) -> None:
    fields = line.split()
    try:
        if len(fields) % 3 == 0:
            _ = [int(field) for field in fields[2::3]], [float(field) for field in fields]
            return
    except ValueError:
        pass
    raise _NoPoints


class BinaryFile:
    """A little-endian file read from front to back."""

    def __init__(self, path: Path) -> None:
        self.data = read_bytes(path, SequenceError, most=MOST_BINARY)
        self.path, self.at = path, 0

    def take(self, layout: str) -> tuple[float, ...]:
        try:
            values = struct.unpack_from("<" + layout, self.data, self.at)
        except struct.error:
            raise self.truncated() from None
        self.skip(struct.calcsize("<" + layout))
        return values

    def skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self.data):
            raise self.truncated()

    def text(self) -> str:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise self.truncated()
        text = self.data[self.at : end].decode("utf-8", errors="replace")
        self.at = end + 1
        return text

    def truncated(self) -> SequenceError:
        return SequenceError(f"{self.path}: ends in the middle of an entry ({len(self.data)} bytes)")


def _cameras_binary(path: Path) -> Iterator[CameraEntry]:
    file = BinaryFile(path)
    for _ in range(int(file.take("Q")[0])):
        camera, model, *size = map(int, file.take("iiQQ"))
        if not 0 <= model < len(CAMERA_MODELS):
            raise SequenceError(f"{path}: camera {camera}: model number {model} is not known")
        name, count = CAMERA_MODELS[model]
        yield CameraEntry(camera, name, (size[0], size[1]), file.take(f"{count}d"))


def _images_binary(path: Path) -> Iterator[RegisteredImage]:
    file = BinaryFile(path)
    for _ in range(int(file.take("Q")[0])):
        values = file.take("i7di")
        name = slashed(file.text())
        file.skip(24 * int(file.take("Q")[0]))  # x, y as doubles and a point number each
        yield RegisteredImage(name, int(values[8]), values[5:8], values[1:5], int(values[0]))
