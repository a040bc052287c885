"""The sums that make up a volume, and their file: a versioned npz without pickled objects."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from mapping.available_memory import available_bytes
from mapping.files import atomic_path
from mapping.reading.arrays import read_npz
from mapping.reading.documents import parse_json
from mapping.tsdf.surface import SurfaceSums
from mapping.tsdf.tsdf_config import TSDFConfig

FORMAT = "m2h-tsdf-volume"
VERSION = 2
VOXELS = 512
OF_THE_MACHINE = ("threads", "max_memory")
"""Settings that do not change the contents of a volume; its file omits them."""


class VolumeError(ValueError):
    """An unreadable volume file, or volumes that cannot be merged; the message names the file and the field."""


@dataclass(frozen=True, eq=False)
class VolumeSums:
    """The contents of a volume, in an order that does not depend on how it was made.

    Adding the sums of two volumes block by block gives the sums of all their frames. Blocks are sorted by coordinate; only
    blocks, voxels and labels with sums other than 0 are listed.
    """

    coords: NDArray[np.int32]
    """(B, 3) coordinates of blocks of measured voxels."""
    tsdf: NDArray[np.int32]
    """(B, 2, 512) sums of weight times distance over truncation, and of weight."""
    surface: SurfaceSums
    """Colour and label evidence of the voxels near surfaces; their blocks are rows of `coords`."""
    free_coords: NDArray[np.int32]
    """(F, 3) coordinates of blocks of free-space cells."""
    free: NDArray[np.int32]
    """(F, 512) sums of weight of the rays that passed through."""


class ArrayLayout(NamedTuple):
    """Type of an array of the file, the shape of one row, and the array that has as many rows."""

    dtype: type
    row_shape: tuple[int, ...]
    rows_of: str


SHAPES = {
    "coords": ArrayLayout(np.int32, (3,), "coords"),
    "tsdf": ArrayLayout(np.int32, (2, VOXELS), "coords"),
    "row": ArrayLayout(np.int32, (), "row"),
    "voxel": ArrayLayout(np.uint16, (), "row"),
    "color": ArrayLayout(np.int32, (4,), "row"),
    "lost": ArrayLayout(np.int32, (), "row"),
    "label_voxel": ArrayLayout(np.int32, (), "label_voxel"),
    "label": ArrayLayout(np.uint16, (), "label_voxel"),
    "evidence": ArrayLayout(np.int32, (), "label_voxel"),
    "free_coords": ArrayLayout(np.int32, (3,), "free_coords"),
    "free": ArrayLayout(np.int32, (VOXELS,), "free_coords"),
}


def write_volume(path: str | Path, config: TSDFConfig, sums: VolumeSums) -> None:
    """Write a volume; the same volume gives the same bytes."""
    settings = {name: value for name, value in asdict(config).items() if name not in OF_THE_MACHINE}
    header = json.dumps({"format": FORMAT, "version": VERSION, "config": settings}, sort_keys=True)
    arrays: dict[str, NDArray[Any]] = {"header": np.frombuffer(header.encode(), np.uint8)}
    arrays |= {"coords": sums.coords, "tsdf": sums.tsdf, **sums.surface._asdict()}
    arrays |= {"free_coords": sums.free_coords, "free": sums.free}
    write_arrays(path, arrays)


def write_arrays(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an npz file; the same arrays in the same order give the same bytes."""
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def read_volume(path: str | Path) -> tuple[TSDFConfig, VolumeSums]:
    """Read what `write_volume` wrote. Raises VolumeError in one line that names the file and the problem."""
    path = Path(path)
    if not path.is_file():
        raise VolumeError(f"{path}: no such file")
    arrays = read_npz(path, VolumeError, most=available_bytes())
    config = _read_header(path, arrays.pop("header", None))
    unknown, missing = sorted(arrays.keys() - SHAPES.keys()), sorted(SHAPES.keys() - arrays.keys())
    if unknown or missing:
        raise VolumeError(f"{path}: missing arrays {missing}, unknown arrays {unknown}")
    for name, layout in SHAPES.items():
        array, expected = arrays[name], (len(arrays[layout.rows_of]), *layout.row_shape)
        if array.dtype != layout.dtype or array.shape != expected:
            wanted = f"{np.dtype(layout.dtype).name} {expected}"
            raise VolumeError(f"{path}: {name} must be {wanted}, got {array.dtype} {array.shape}")
    surface = SurfaceSums(**{name: arrays.pop(name) for name in SurfaceSums._fields})
    sums = VolumeSums(**arrays, surface=surface)
    _check_order(path, sums)
    return config, sums


def _read_header(path: Path, raw: NDArray[Any] | None) -> TSDFConfig:
    text = b"{}" if raw is None or raw.dtype != np.uint8 else raw.tobytes()
    header = parse_json(text.decode("utf-8", "replace"), f"{path}: header", VolumeError)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise VolumeError(f"{path}: not a volume file, expected header format {FORMAT!r}")
    if header.get("version") != VERSION:
        raise VolumeError(f"{path}: version must be {VERSION}, got {header.get('version')}")
    try:
        return TypeAdapter(TSDFConfig).validate_python(header.get("config"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise VolumeError(f"{path}: header config {where}: {first['msg']}") from error


def _check_order(path: Path, sums: VolumeSums) -> None:
    for name in ("coords", "free_coords"):
        dx, dy, dz = np.diff(getattr(sums, name).astype(np.int64), axis=0).T
        if not ((dx > 0) | (dx == 0) & ((dy > 0) | (dy == 0) & (dz > 0))).all():
            raise VolumeError(f"{path}: {name} must be sorted and distinct")
    surface = sums.surface
    for name, count in (("row", len(sums.coords)), ("voxel", VOXELS), ("label_voxel", len(surface.row))):
        numbers = getattr(surface, name)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < count:
            raise VolumeError(f"{path}: {name} must be in 0..{count - 1}, got {numbers.min()}..{numbers.max()}")
    voxels = surface.row.astype(np.int64) * VOXELS + surface.voxel
    labels = surface.label_voxel.astype(np.int64) << 16 | surface.label
    if not (np.diff(voxels) > 0).all() or not (np.diff(labels) > 0).all() or (surface.label == 0).any():
        raise VolumeError(f"{path}: (row, voxel) and (label_voxel, label) must increase and labels must not be 0")
