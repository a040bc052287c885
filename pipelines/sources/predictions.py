"""Predictions on disk: one file per frame, written atomically; also read from another model's output."""

from __future__ import annotations

import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.files import atomic_path
from mapping.reading.arrays import read_npz

FIELDS = tuple(field.name for field in fields(Predictions))
HALF = (
    "label_confidence",
    "normals",
    "edges",
    "confidence",
)  # known to a few percent: half precision is more than enough


RANGES = {"depth": (0.0, 1e6), "normals": (-1.01, 1.01)}
"""Least and greatest values of the others than those from 0 to 1."""


class PredictionError(ValueError):
    """A stored prediction that cannot be read: the message names the file and the field."""


def prediction_path(folder: Path, index: int) -> Path:
    """The file of the frame with that index."""
    return folder / f"{index:06d}.npz"


def stored_frames(folder: Path) -> list[int]:
    """The indices of the frames of which the folder has predictions, in order."""
    return sorted(int(path.stem) for path in folder.glob("*.npz") if path.stem.isdecimal())


def write_predictions(folder: Path, index: int, predictions: Predictions) -> None:
    """Store what is known of one frame; confidences, normals and edges in half precision, depth in full.

    The file is on the disk after `flush_files`. Only labels are compressed: predicted depth and normals shrink by a third, in
    twice the time of a prediction.
    """
    arrays = {name: getattr(predictions, name) for name in FIELDS if getattr(predictions, name) is not None}
    arrays = {name: array.astype(np.float16) if name in HALF else array for name, array in arrays.items()}
    with atomic_path(prediction_path(folder, index), durable=False) as temporary:
        _write_arrays(temporary, arrays)


def _write_arrays(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    """An npz file whose whole numbers are compressed, and nothing else."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED if array.dtype.kind in "ui" else zipfile.ZIP_STORED
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_predictions(path: Path) -> Predictions:
    """One stored frame; raises PredictionError for what is no such file."""
    if not path.exists():
        raise PredictionError(f"{path}: is missing; every used frame needs one")
    return _predictions_from_arrays(read_npz(path, PredictionError, names=FIELDS), path)


def _predictions_from_arrays(arrays: dict[str, NDArray[np.generic]], path: Path) -> Predictions:
    floats = {
        name: array.astype(np.float32) for name, array in arrays.items() if np.issubdtype(array.dtype, np.floating)
    }
    if "normals" in floats:  # half precision shortens unit vectors by up to 0.1 %
        length = np.linalg.norm(floats["normals"], axis=-1, keepdims=True)
        floats["normals"] = np.divide(
            floats["normals"], length, out=np.zeros_like(floats["normals"]), where=length > 0.5
        )
    for name, array in floats.items():
        low, high = RANGES.get(name, (0.0, 1.0))
        if array.size and not (array.min() >= low and array.max() <= high):
            raise PredictionError(
                f"{path}: {name} must be numbers from {low:g} to {high:g}, got {array.min():g} to {array.max():g}"
            )
    try:
        return Predictions(**{**arrays, **floats})  # type: ignore[arg-type]
    except ValueError as error:
        raise PredictionError(f"{path}: {error}") from error
