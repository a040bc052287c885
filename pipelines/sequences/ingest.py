"""Write the canonical sequence: a nerfstudio `transforms.json` folder with depth, labels, instances, normals and edges.

The layout is docs/formats.md's; `pipelines.sequences.nerfstudio` reads it back. `transforms.json` is written last, so a folder
without it is unfinished, whatever else it contains.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.files import (
    flush_files,
    make_folder,
    remove_abandoned,
    remove_file,
    remove_folder,
    write_bytes_atomic,
    write_text_atomic,
)
from pipelines.frame import Frame, FrameSequence, SequenceError
from pipelines.images import encode_depth, encode_normals, write_jpeg, write_png
from pipelines.loading import chosen_positions, read_frames
from pipelines.sequences.evidence import evidence_of
from pipelines.sequences.frame_table import write_frame_table
from pipelines.sequences.masks import MASKS
from pipelines.sequences.nerfstudio import FORMAT, NEWEST_VERSION, UNFINISHED
from pipelines.sequences.text import read_json
from pipelines.settings import FramesConfig
from scenegraph.labels import LabelSpace, nyu40

DEPTH_SCALE = 1000.0
"""Stored depth units per metre: millimetres."""
OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


class StoredLayer(NamedTuple):
    """A field of `Predictions`, the folder of its images, its key in a frame's entry, and how an array becomes an image."""

    field: str
    folder: str
    key: str
    encode: Callable[[NDArray[Any]], NDArray[Any]]


LAYERS = (
    StoredLayer("depth", "depth", "depth_file_path", lambda depth: encode_depth(depth, DEPTH_SCALE)),
    StoredLayer("labels", "semantics", "semantics_file_path", lambda labels: labels),
    StoredLayer("instances", "instances", "instances_file_path", lambda instances: instances),
    StoredLayer("normals", "normals", "normals_file_path", encode_normals),
    StoredLayer("edges", "edges", "edges_file_path", lambda edges: np.rint(edges * 255).astype(np.uint8)),
)


class CanonicalWriter:
    """Writes frames into a canonical sequence folder; `close` completes it.

    Parameters
    ----------
    out : the folder; created when missing.
    intrinsics : the camera of the header, without distortion. A frame with another camera has its own keys.
    world_up : unit vector in the frames' world, or None when gravity is unknown.
    label_space : the meaning of labels; required once a frame has labels.
    image_format : `png` is lossless, `jpg` is a fifth of the size.
    overwrite : accept a folder that already contains a canonical sequence; its frames are deleted at once.
    extra : more keys for the header of transforms.json, such as where the frames came from.

    As a context manager it closes on success and leaves an unfinished folder when an exception passes.
    Raises SequenceError when the folder already contains a sequence, or images of another writer.
    """

    def __init__(
        self,
        out: Path,
        intrinsics: Intrinsics,
        *,
        world_up: tuple[float, float, float] | None,
        label_space: LabelSpace | None,
        image_format: Literal["png", "jpg"] = "png",
        overwrite: bool = False,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if intrinsics.is_distorted:
            raise ValueError(
                "CanonicalWriter.intrinsics must have no distortion; frames are undistorted by their reader"
            )
        if image_format not in ("png", "jpg"):
            raise ValueError(f"CanonicalWriter.image_format must be png or jpg, got {image_format!r}")
        self._out = Path(out)
        self._intrinsics, self._world_up, self._label_space = intrinsics, world_up, label_space
        self._image_format, self._extra = image_format, dict(extra or {})
        self._entries: dict[int, dict[str, Any]] = {}
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="canonical-writer")
        self._claim_folder(overwrite=overwrite)

    @property
    def _folders(self) -> list[Path]:
        return [self._out / folder for folder in ("images", MASKS, *(layer.folder for layer in LAYERS))]

    def _claim_folder(self, *, overwrite: bool) -> None:
        """Mark the folder as unfinished and remove the files of an earlier writer; other folders are not touched."""
        header, marker = self._out / "transforms.json", self._out / UNFINISHED
        if header.exists() and not marker.exists() and not (overwrite and _is_ours(header)):
            hint = "it was not written by this program" if overwrite else "remove it or choose another folder"
            raise SequenceError(f"{header}: a sequence already exists; {hint}")
        folders = self._folders
        if not header.exists() and not marker.exists():
            for folder in folders:
                if folder.is_dir() and next(folder.iterdir(), None) is not None:
                    raise SequenceError(f"{folder}: is not empty and not an unfinished sequence; choose another folder")
        make_folder(self._out)
        remove_abandoned(self._out)
        write_text_atomic(marker, "")
        remove_file(header)
        for folder in folders:
            remove_folder(folder)

    def add(self, frame: Frame, *, encoded: tuple[str, bytes] | None = None) -> None:
        """Write the frame's images, named by its index; returns when they are on disk. `encoded` is a suffix and the bytes of a
        file that shows the same image, which is then written as it is.

        Raises ValueError for an index that was added before and for labels without a label space.
        """
        if frame.index in self._entries:
            raise ValueError(f"CanonicalWriter.add: frame {frame.index} was added before")
        if frame.recorded.labels is not None and self._label_space is None:
            raise ValueError(f"CanonicalWriter.add: frame {frame.index} has labels but the writer has no label_space")
        suffix = f".{self._image_format}" if encoded is None else encoded[0]
        image = f"images/{frame.index:06d}{suffix}"
        entry: dict[str, Any] = {
            "file_path": image,
            "timestamp": float(frame.timestamp),
            "transform_matrix": (frame.T_world_camera @ OPENGL_FROM_OPENCV).tolist(),
        }
        if frame.intrinsics != self._intrinsics:
            entry |= intrinsics_keys(frame.intrinsics)
        if encoded is None:
            jobs = [self._pool.submit(self._write, image, frame.rgb)]
        else:
            jobs = [self._pool.submit(self._write_file, image, encoded[1])]
        for layer in LAYERS:
            array = getattr(frame.recorded, layer.field)
            if array is not None:
                entry[layer.key] = f"{layer.folder}/{frame.index:06d}.png"
                jobs.append(self._pool.submit(self._write, entry[layer.key], array, layer.encode))
        if frame.mask is not None:
            entry["mask_path"] = f"{MASKS}/{frame.index:06d}.png"
            jobs.append(self._pool.submit(self._write, entry["mask_path"], np.uint8(255) * frame.mask))
        for job in jobs:
            job.result()
        self._entries[frame.index] = entry

    def close(self) -> None:
        """Write transforms.json with the frames in the order of their indices.

        Raises SequenceError when no frame was added.
        """
        self._pool.shutdown()
        if not self._entries:
            raise SequenceError(f"{self._out}: no frame to write")
        header = {
            "format": FORMAT,
            "version": NEWEST_VERSION,
            **intrinsics_keys(self._intrinsics),
            "world_up": None if self._world_up is None else [float(x) for x in self._world_up],
            "label_space": self._write_label_space(),
            "depth_unit_scale_factor": 1 / DEPTH_SCALE,
            **self._extra,
            "frames": [self._entries[index] for index in sorted(self._entries)],
        }
        for folder in self._folders:
            flush_files(folder)
        write_text_atomic(self._out / "transforms.json", json.dumps(header, indent=1, allow_nan=False) + "\n")
        remove_file(self._out / UNFINISHED)

    def _write_file(self, name: str, data: bytes) -> None:
        make_folder((self._out / name).parent)
        write_bytes_atomic(self._out / name, data, durable=False)

    def _write(
        self, name: str, array: NDArray[Any], encode: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    ) -> None:
        path = self._out / name
        make_folder(path.parent)
        if path.suffix == ".jpg":
            write_jpeg(path, array, durable=False)
        else:
            write_png(path, array if encode is None else encode(array), durable=False)

    def _write_label_space(self) -> str | None:
        """The name of a built-in space, or of the file written for another one."""
        if self._label_space is None:
            return None
        if self._label_space == nyu40():
            return "nyu40"
        classes = [
            {"id": c.id, "name": c.name, "kind": c.kind, "color": list(c.color)} for c in self._label_space.classes
        ]
        text = yaml.safe_dump({"name": self._label_space.name, "classes": classes}, sort_keys=False)
        write_text_atomic(self._out / "label_space.yaml", text)
        return "label_space.yaml"

    def __enter__(self) -> CanonicalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._pool.shutdown()


def _is_ours(header: Path) -> bool:
    try:
        return read_json(header).get("format") == FORMAT
    except SequenceError:
        return False


def intrinsics_keys(intrinsics: Intrinsics) -> dict[str, Any]:
    """nerfstudio's keys of a camera without distortion; its pixel centres lie at +0.5, ours at integers."""
    return {
        "camera_model": "OPENCV",
        "fl_x": intrinsics.fx,
        "fl_y": intrinsics.fy,
        "cx": intrinsics.cx + 0.5,
        "cy": intrinsics.cy + 0.5,
        "w": intrinsics.width,
        "h": intrinsics.height,
        "k1": 0.0,
        "k2": 0.0,
        "p1": 0.0,
        "p2": 0.0,
    }


@dataclass(frozen=True)
class IngestReport:
    """Result of a copy: frames written, and skipped ones with reasons (by index in the sequence)."""

    written: int
    unused: dict[int, str]
    broken: dict[int, str]


def ingest(
    sequence: FrameSequence,
    out: Path,
    *,
    frames: FramesConfig | None = None,
    image_format: Literal["png", "jpg"] = "png",
    overwrite: bool = False,
    extra: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> IngestReport:
    """Copy a readable sequence into a canonical folder: distortion removed, depth on the image's pixels, poses in our
    conventions, with what is known of their unit and of up.

    Parameters
    ----------
    sequence : from `open_sequence`.
    out : the folder; `transforms.json` comes last, so that an interrupted copy is not a sequence. `frames.csv` lists
    every frame of
        the source.
    frames : stride, range, and the share of frames that may be broken.
    image_format : `png` is lossless, `jpg` is a fifth of the size.
    overwrite : accept a folder that already contains a sequence.
    extra : more keys for the header of transforms.json.
    progress : called with (done, total).

    Raises SequenceError when `out` is the sequence itself or already contains one, or too many frames are unreadable.
    """
    if out.resolve() == sequence.path.resolve():
        raise SequenceError(f"{out}: is the sequence itself; choose another folder")
    config = frames or FramesConfig()
    positions = chosen_positions(sequence, config)
    broken: dict[int, str] = {}
    reader = read_frames(sequence, positions, broken, max_broken=config.max_broken * len(positions))
    first = next(reader, None)
    if first is None:
        raise SequenceError(f"{sequence.path}: no frame can be read: {next(iter(broken.values()), '')}")
    origin = {"source": {"name": sequence.name, "format": sequence.format}}
    header: dict[str, Any] = origin | evidence_of(sequence).header() | dict(extra or {})
    if not sequence.is_metric:
        header["is_metric"] = False
    if notes := list(getattr(sequence, "notes", ())):
        header["notes"] = notes
    with CanonicalWriter(
        out,
        first.intrinsics,
        world_up=sequence.world_up,
        label_space=sequence.label_space,
        image_format=image_format,
        overwrite=overwrite,
        extra=header,
    ) as writer:
        for done, frame in enumerate(chain([first], reader), 1):
            writer.add(frame)
            progress(done, len(positions))
        write_frame_table(out / "frames.csv", sequence, set(positions), broken)
    unused = {info.index: info.reason for info in sequence.infos if not info.used}
    return IngestReport(len(positions) - len(broken), unused, broken)
